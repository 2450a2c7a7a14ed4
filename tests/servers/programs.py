"""Which programs the servers are, how they are started, and that none outlives the tests."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import which
from urllib.request import ProxyHandler, build_opener

_ROOT = Path(__file__).resolve().parents[2]
STAC_PYTHON = _ROOT / ".servers" / "bin" / "python"
NGINX_MODULES = Path("/usr/lib/nginx/modules")
HERE = Path(__file__).resolve().parent

open_directly = build_opener(ProxyHandler({})).open  # never through a proxy


def postgresql() -> Path | None:
    """Return the folder of the newest PostgreSQL that has PostGIS."""
    found = [
        folder
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if Path("/usr/share/postgresql", folder.parent.name, "extension/postgis.control").exists()
    ]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def missing() -> str | None:
    """Return why the servers cannot be started on this machine, or None."""
    lacks = [
        name
        for name, there in (
            ("PostgreSQL with PostGIS", postgresql() is not None),
            ("nginx", which("nginx", path=_path()) is not None),
            ("nginx's Perl module", (NGINX_MODULES / "ngx_http_perl_module.so").exists()),
            ("a STAC API in .servers/", (_ROOT / ".servers" / ".ready").exists()),
            ("setpriv", which("setpriv", path=_path()) is not None),
        )
        if not there
    ]
    return f"the servers need {', '.join(lacks)}: run `make servers`, it says what is in the way" if lacks else None


def is_root() -> bool:
    return os.geteuid() == 0


class Program:
    """A process that ends with the tests, at the latest when these are killed; its output is a log."""

    def __init__(
        self,
        name: str,
        command: Iterable[object],
        *,
        folder: Path,
        user: str | None = None,
        stop_by: signal.Signals = signal.SIGKILL,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name, self._stop_by = name, stop_by
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # The signal comes when the thread that starts it ends: start none from a thread.
                as_user(user, "--pdeathsig", stop_by.name.removeprefix("SIG")) + [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=_environment(variables),
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Wait until it is ready; otherwise say what its log says."""
        end = time.monotonic() + seconds
        while not ready():
            code = self._process.poll()
            if code is not None or time.monotonic() > end:
                how = f"ended ({code})" if code is not None else f"did not start within {seconds:.0f} s"
                self.stop()
                tail = self.log.read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} {how}; the end of its log:\n{tail}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, by force if it does not end in ten seconds."""
        with suppress(ProcessLookupError):
            self._process.send_signal(self._stop_by)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


def run(
    command: Iterable[object],
    *,
    user: str | None = None,
    text: str | None = None,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end, at most a minute, and return what it says."""
    done = subprocess.run(
        as_user(user) + [str(part) for part in command],
        input=text or "",
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env=_environment(variables),
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(done.args[:6])} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    return done.stdout


def as_user(user: str | None, *options: str) -> list[str]:
    """Return the start of a command line that runs the rest as another user; None for the same."""
    if user is not None:
        options = ("--reuid", user, "--regid", user, "--init-groups", *options)
    return ["setpriv", *options, "--"] if options else []


def free_port() -> int:
    """Return a port that nobody listens to, below those that the system gives to outgoing connections."""
    for _ in range(100):
        port = random.randrange(20_000, 32_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20000 and 32000 in 100 attempts")


def listens(port: int) -> bool:
    """Return whether somebody accepts connections to a port."""
    with socket.socket() as trial:
        trial.settimeout(5)
        return trial.connect_ex(("127.0.0.1", port)) == 0


def _environment(variables: Mapping[str, str] | None) -> dict[str, str]:
    """Nothing of the caller's settings reaches a server: no proxy, no PG variables, no Python path."""
    return {"PATH": _path(), "LC_ALL": "C.UTF-8", "TZ": "UTC", **(variables or {})}


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
