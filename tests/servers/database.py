"""PostgreSQL with pgstac, reached through a socket in its folder and by nothing else."""

import json
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from servers.programs import STAC_PYTHON, Program, is_root, postgresql, run

# Nothing of it is needed after a crash.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "max_connections": "20",
    "shared_buffers": "16MB",
}
_NEW = (
    "--username=postgres",
    "--auth-local=trust",
    "--auth-host=reject",
    "--no-sync",
    "--locale=C.UTF-8",
    "--encoding=UTF8",
)


class Database:
    """A running PostgreSQL, with pgstac in it."""

    def __init__(self, folder: Path) -> None:
        programs = postgresql()
        assert programs is not None
        self._psql = programs / "psql"
        self._folder = folder / "postgresql"
        self._folder.mkdir()
        user = None
        if is_root():  # PostgreSQL refuses to run as root
            user = "postgres"
            shutil.chown(self._folder, user)
        data = self._folder / "data"
        run(
            [programs / "initdb", "--pgdata", data, *_NEW],
            user=user,
        )
        settings = {"listen_addresses": "", "unix_socket_directories": str(self._folder), **_FAST}
        self._program = Program(
            "postgresql",
            [
                programs / "postgres",
                "-D",
                data,
                *(part for pair in settings.items() for part in ("-c", "=".join(pair))),
            ],
            folder=folder,
            user=user,
            stop_by=signal.SIGQUIT,  # at once, its children with it
        )
        try:
            self._program.wait_until(self._answers)
            self.sql("create extension postgis; create extension btree_gist;")
            run([STAC_PYTHON, "-m", "pypgstac.pypgstac", "migrate"], variables=self.variables())
        except BaseException:
            self.stop()
            raise

    def variables(self, *, in_address: bool = False) -> dict[str, str]:
        """Return the settings of a client; the API puts the host into an address."""
        host = quote(str(self._folder), safe="") if in_address else str(self._folder)
        names = {"PGHOST": host, "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres", "PGPASSWORD": "none"}
        return {**names, "HOME": str(self._folder)}

    def sql(self, statements: str) -> str:
        """Run statements in one transaction and return what comes back."""
        options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--single-transaction"]
        variables = {**self.variables(), "PGOPTIONS": "-c search_path=pgstac,public -c client_min_messages=warning"}
        return run([self._psql, *options, "--set=ON_ERROR_STOP=1"], text=statements, variables=variables).strip()

    def call(self, function: str, argument: Any) -> None:
        """Call a function of pgstac with a JSON argument."""
        self.sql(f"select {function}({_quoted(json.dumps(argument))}::jsonb);")

    def remove(self, ids: Iterable[str], collection: str) -> None:
        wanted = ", ".join(_quoted(name) for name in ids)
        if wanted:
            self.sql(f"delete from items where collection = {_quoted(collection)} and id in ({wanted});")

    def stop(self) -> None:
        self._program.stop()

    def _answers(self) -> bool:
        try:
            return self.sql("select 1;") == "1"
        except RuntimeError:
            return False


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
