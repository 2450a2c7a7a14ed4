"""The catalogue of a staged folder: static STAC that says where it was staged for, and what every file holds."""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac

from sarcube.acquisition.catalogs.items import read_item
from sarcube.acquisition.scenes import item_time
from sarcube.acquisition.staging.area import Bounds
from sarcube.acquisition.staging.clip import WORK
from sarcube.acquisition.staging.pieces import PARTS, make_folder, sync_folder, write_whole
from sarcube.errors import InputError, ReadError

logger = logging.getLogger(__name__)

CATALOG = "catalog.json"
COLLECTION = "sentinel-1-rtc"
_COLLECTION_FILE = "collection.json"
_AREA = "sarcube:area"
_UNSTAGED = "sarcube:unstaged"
_DUPLICATES = "sarcube:duplicates"
_SIMULATED = "sarcube:simulated"

Document = dict[str, Any]


@dataclass
class Shelf:
    """What a staged folder's catalogue says; `items` and `names` by id of the item."""

    folder: Path
    area: Bounds
    items: dict[str, Document] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unstaged: list[Document] = field(default_factory=list)
    duplicates: list[Document] = field(default_factory=list)

    def home(self, name: str) -> Path:
        """Return the folder of an item, by its name."""
        return self.folder / COLLECTION / name

    def assets(self, item: str) -> dict[str, Document]:
        """Return what the catalogue says of the files of an item, by their names in lower case."""
        return {key.lower(): asset for key, asset in self.items.get(item, {}).get("assets", {}).items()}


def read_shelf(folder: Path, area: Bounds) -> Shelf:
    """Read the catalogue of a folder that is to hold scenes for an area; it need not be there.

    An item's document that is missing or broken is as if it were not listed: it is staged again.

    Raises
    ------
    InputError
        If the folder was staged for another area, or holds a catalogue of something else.
    ReadError
        If the catalogue itself is broken.
    """
    shelf = Shelf(folder, area)
    path = folder / CATALOG
    if not path.exists():
        return shelf
    catalog = _read(path)
    said = catalog.get(_AREA)
    if said is None:
        raise InputError(
            f"{folder} holds another catalogue, no staged scenes; it is left as it is: choose another folder"
        )
    if list(said) != list(area):
        raise InputError(
            f"{folder} holds scenes for the area {tuple(said)}, asked for was {area} (west, south, east, north in "
            "degrees); choose another folder, or leave the area as it is"
        )
    shelf.unstaged, shelf.duplicates = list(catalog.get(_UNSTAGED, [])), list(catalog.get(_DUPLICATES, []))
    for link in _read(folder / COLLECTION / _COLLECTION_FILE).get("links", []):
        if link.get("rel") == "item":
            try:
                _, name, file = str(link["href"]).split("/")
                document = _read(shelf.home(name) / file)
                shelf.items[str(document["id"])] = document
                shelf.names[str(document["id"])] = name
            except (ReadError, KeyError, ValueError) as error:
                logger.warning("%s; the item is staged again", error)
    return shelf


def write_shelf(shelf: Shelf, changed: Iterable[str]) -> None:
    """Write the documents of some items, then the collection, the catalogue last: each is there whole or not at all."""
    for item in changed:
        name = shelf.names[item]
        _write(shelf, shelf.home(name) / f"{name}.json", shelf.items[item])
    _write(shelf, shelf.folder / COLLECTION / _COLLECTION_FILE, _collection(shelf))
    _write(shelf, shelf.folder / CATALOG, _catalog(shelf))


def items_of(shelf: Shelf, ids: Iterable[str]) -> list[pystac.Item]:
    """Return some items as a search in the folder finds them, sorted by time, then id."""
    items = []
    for one in ids:
        file = str(shelf.home(shelf.names[one]) / f"{shelf.names[one]}.json")
        items.append(read_item(shelf.items[one], file=file, base=file, root=shelf.folder))
    return sorted(items, key=lambda item: (item_time(item), item.id))


def _read(path: Path) -> Document:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"cannot read {path} of the staged scenes: {error}") from error
    if not isinstance(document, dict):
        raise ReadError(f"{path} of the staged scenes is no STAC: expected an object")
    return document


def _write(shelf: Shelf, path: Path, document: Document) -> None:
    content = json.dumps(document, indent=1).encode() + b"\n"
    if path.exists() and path.read_bytes() == content:
        return
    work = shelf.folder / PARTS / WORK
    make_folder(work)
    make_folder(path.parent)
    write_whole(work / path.name, content)
    (work / path.name).replace(path)
    sync_folder(path.parent)


def _catalog(shelf: Shelf) -> Document:
    return {
        "type": "Catalog",
        "id": "sarcube-staged",
        "stac_version": "1.0.0",
        "description": "Sentinel-1 scenes staged by sarcube: clipped copies for one area",
        **_marks(shelf),
        _AREA: list(shelf.area),
        _UNSTAGED: shelf.unstaged,
        _DUPLICATES: shelf.duplicates,
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": "application/json"},
            {"rel": "child", "href": f"./{COLLECTION}/{_COLLECTION_FILE}", "type": "application/json"},
        ],
    }


def _collection(shelf: Shelf) -> Document:
    items = [shelf.items[item] for item in sorted(shelf.items, key=lambda item: (_time(shelf.items[item]), item))]
    return {
        "type": "Collection",
        "id": COLLECTION,
        "stac_version": "1.0.0",
        "description": "Clipped copies of scenes: whole blocks around the area, pixels as in their sources",
        "license": "other",
        **_marks(shelf),
        "extent": {
            "spatial": {"bbox": [list(shelf.area)]},
            "temporal": {"interval": [[_time(items[0]), _time(items[-1])]]},
        },
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
            *(
                {"rel": "item", "href": f"./{name}/{name}.json", "type": "application/geo+json"}
                for name in (shelf.names[item["id"]] for item in items)
            ),
        ],
    }


def _marks(shelf: Shelf) -> Document:
    """Simulated scenes say so wherever one looks."""
    simulated = any(item["properties"].get(_SIMULATED) for item in shelf.items.values())
    return {_SIMULATED: True} if simulated else {}


def _time(document: Document) -> str:
    properties = document["properties"]
    moment = datetime.fromisoformat(str(properties.get("datetime") or properties["start_datetime"]))
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"
