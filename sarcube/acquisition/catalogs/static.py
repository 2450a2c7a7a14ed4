"""Catalogues in files: a static STAC catalogue, an ItemCollection or an item in JSON."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pystac

from sarcube.acquisition.catalogs.items import read_item
from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.errors import InputError, ReadError

logger = logging.getLogger(__name__)


def read_static(path: Path) -> Iterator[pystac.Item]:
    """Walk a static catalogue by its links, never leaving its folder.

    Raises
    ------
    InputError
        If there is no catalogue, or it leads out of its folder.
    ReadError
        If a file of it cannot be read.
    """
    start = path
    if path.is_dir():
        start = next((p for p in (path / "catalog.json", path / "collection.json") if p.is_file()), path)
    if not start.is_file():
        raise InputError(
            f"no STAC catalogue at {path}: expected a folder with catalog.json or collection.json, such a file, or an "
            "ItemCollection in JSON; for a folder of GeoTIFFs without a catalogue use sarcube.items_from_folder"
        )
    root = start.parent
    waiting, seen = [str(start.resolve())], set()
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        document = _read_json(file)
        kind = document.get("type")
        if kind == "Feature":
            yield read_item(document, file=file, base=file, root=root)
        elif kind == "FeatureCollection":
            if any(link.get("rel") == "next" for link in _listed(document, "links", file)):
                logger.warning("%s is one page of a longer answer: what is on the others is not in it", file)
            for feature in _listed(document, "features", file):
                yield read_item(feature, file=file, base=file, root=root)
        elif kind in ("Catalog", "Collection"):
            # What is read next is taken from the end.
            waiting += [
                resolve_href(str(link.get("href", "")), owner=f"catalogue {file}", base=file, root=root)
                for link in reversed(_listed(document, "links", file))
                if link.get("rel") in ("child", "item")
            ]
        else:
            raise ReadError(f"{file} is no STAC: its type is {kind!r}, not Catalog, Collection, Feature(Collection)")


def _listed(document: dict[str, Any], name: str, file: str) -> list[dict[str, Any]]:
    entries = document.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReadError(f"{file} is no STAC: its {name} must be a list of objects")
    return entries


def _read_json(file: str) -> dict[str, Any]:
    if is_url(file):
        raise InputError(f"the catalogue links to {file}: a catalogue in files must hold its items; stage it first")
    try:
        document = json.loads(Path(file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"cannot read the catalogue file {file}: {error}") from error
    if not isinstance(document, dict):
        raise ReadError(f"{file} is no STAC: expected an object, found a {type(document).__name__}")
    return document
