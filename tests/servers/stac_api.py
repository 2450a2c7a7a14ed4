"""A STAC API on pgstac: uvicorn behind a socket, nginx before it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from servers.database import Database
from servers.programs import HERE, STAC_PYTHON, Program
from servers.web import Web

COLLECTIONS = ("sentinel-1-rtc", "sentinel-1-grd", "cop-dem-glo-30")


class StacApi:
    """A running API with empty collections."""

    def __init__(self, folder: Path) -> None:
        socket = folder / "api.sock"
        self.web = Web("api", folder, socket=socket)
        self._database = Database(folder)
        try:
            for name in COLLECTIONS:
                self._database.call("create_collection", _collection(name))
            options = ["--factory", "--app-dir", HERE, "--uds", socket, "--no-access-log", "--log-level", "warning"]
            self._program = Program(
                "api",
                [STAC_PYTHON, "-m", "uvicorn", "stac_app:create", *options],
                folder=folder,
                variables={**self._database.variables(in_address=True), "PYTHONDONTWRITEBYTECODE": "1"},
            )
        except BaseException:
            self._database.stop()
            raise
        self._socket = socket

    def wait(self) -> None:
        """Wait until it answers."""
        self._program.wait_until(self._socket.exists)

    def add(self, items: Iterable[dict[str, Any]], collection: str) -> None:
        """Load items, or load them anew."""
        documents = [{**item, "collection": collection} for item in items]
        if documents:
            self._database.call("upsert_items", documents)

    def remove(self, ids: Iterable[str], collection: str) -> None:
        self._database.remove(ids, collection)

    def clear(self) -> None:
        """Remove all items."""
        self._database.sql("truncate items;")

    def stop(self) -> None:
        self.web.stop()
        self._program.stop()
        self._database.stop()


def _collection(name: str) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [["2014-01-01T00:00:00Z", None]]}}
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": f"{name}, of the tests",
        "license": "proprietary",
        "extent": extent,
        "links": [],
    }
