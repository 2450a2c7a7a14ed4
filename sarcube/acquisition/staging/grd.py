"""The GRD product that a scene was made from: its item, and where its annotation lies."""

import json
import logging
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pystac

from sarcube.acquisition.catalogs.asking import Question, ask
from sarcube.acquisition.catalogs.find import Source, catalog_of, find_items
from sarcube.acquisition.catalogs.items import read_item
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.files.patience import Failure
from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.acquisition.scenes import POLARISATIONS, read_scene
from sarcube.acquisition.signing import unsigned
from sarcube.errors import InputError, ReadError

logger = logging.getLogger(__name__)

COLLECTION = "sentinel-1-grd"
_RELATION = "derived_from"
_MOST_BYTES = 1 << 24  # of an item
_AROUND = timedelta(seconds=60)  # of a scene's own time, in which its product is looked for


def source_grd(item: pystac.Item, *, catalog: Source | None) -> pystac.Item | None:
    """Return the item of the GRD product that a scene was made from.

    By the scene's link `derived_from`; where there is none, or nothing behind it, by its id in the collection
    sentinel-1-grd of a catalogue, and of the STAC API that the item came from.

    Parameters
    ----------
    item : pystac.Item
        Of the scene; its links are read, never followed by pystac.
    catalog : str, Path or pystac.ItemCollection, optional
        Where the collection is looked for first.

    Returns
    -------
    pystac.Item or None
        None, logged, if there is none any more. Hrefs are absolute.

    Raises
    ------
    ReadError
        If a catalogue does not answer, and no other has it: the product may be there.
    """
    api = catalog_of(item)
    sources = [source for source in (catalog, None if api == catalog else api) if source is not None]
    silent: ReadError | None = None
    for look in (partial(_linked, item, catalog), *(partial(_searched, item, source) for source in sources)):
        try:
            found = look()
        except ReadError as error:
            if error.kind in ("no_connection", "throttled"):
                silent = silent or error
            else:  # what is broken or refused is as good as not there
                logger.info("%s", error)
        else:
            if found is not None:
                return found
    if silent is not None:
        raise silent
    logger.info("%s: the GRD product it was made from is in no catalogue", item.id)
    return None


def annotation_hrefs(grd: pystac.Item) -> list[str]:
    """Return where the annotation of a GRD product may lie, the best first: co-polarised before cross-polarised.

    What the asset `schema-product-vv` says comes first, then the place that the layout of the Planetary Computer gives
    it: where the product holds an annotation of radio interference too (from March 2022 on), the asset names that one
    instead, or leaves the folder out (microsoft/PlanetaryComputer #313).
    """
    found = []
    product = _product_folder(grd)
    mode = str(grd.properties.get("sar:instrument_mode", "IW")).lower()
    said = {str(name).lower() for name in grd.properties.get("sar:polarizations", [])} | {*grd.assets}
    for polarisation in ("vv", "hh", "vh", "hv"):
        asset = grd.assets.get(f"schema-product-{polarisation}")
        if asset is not None and not _file_name(asset.href).startswith("rfi-"):
            found.append(asset.href)
        if product is not None and (asset is not None or polarisation in said):
            found.append(f"{product}/annotation/{mode}-{polarisation}.xml")
    return list(dict.fromkeys(found))


def _linked(item: pystac.Item, catalog: Source | None) -> pystac.Item | None:
    link = next((link for link in item.links if link.rel == _RELATION), None)
    if link is None:
        logger.info("%s does not say which product it was made from (no link %s)", item.id, _RELATION)
        return None
    if not isinstance(link.target, str):
        return link.target if isinstance(link.target, pystac.Item) else None
    owner = f'the GRD product of item "{item.id}"'
    root = Path(catalog) if isinstance(catalog, str | Path) and Path(catalog).is_dir() else None
    try:
        href = resolve_href(link.target, owner=owner, base=item.get_self_href(), root=root)
    except InputError as error:  # an address that is not opened
        logger.warning("%s", error)
        return None
    return read_item(_document(href, owner), file=show_url(href) if is_url(href) else href, base=href, root=root)


def _searched(item: pystac.Item, catalog: Source) -> pystac.Item | None:
    if item.bbox is None:
        return None
    scene = read_scene(item)
    west, south, east, north = item.bbox if len(item.bbox) == 4 else (*item.bbox[:2], *item.bbox[3:5])
    candidates = find_items(
        catalog,
        collection=COLLECTION,
        bbox=(west, south, east, north),
        spans=[(scene.start - _AROUND, scene.end + _AROUND)],
    )
    name = item.id.removesuffix("_rtc")
    # The catalogue's ids lack the product's unique last part, other archives' have it.
    names = {name, name.rpartition("_")[0]}
    return next((found for found in candidates if found.id in names or found.id.rpartition("_")[0] == name), None)


def _document(href: str, owner: str) -> dict[str, Any]:
    """Read an item's JSON from the web or a file."""
    if is_url(href):
        answer = ask(Question(href), api=href, is_answer=lambda document: document.get("type") == "Feature")
        if isinstance(answer, Failure):
            raise ReadError(f"cannot read {show_url(href)}, {owner}: {answer}", kind=answer.kind)
        return answer
    try:
        with Path(href).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        document = json.loads(content)
    except FileNotFoundError as error:
        raise ReadError(f"there is no {href}, {owner}", kind="not_found") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"cannot read {href}, {owner}: {error}") from error
    if len(content) > _MOST_BYTES or not isinstance(document, dict):
        raise ReadError(f"{href}, {owner}, is no STAC item")
    return document


def _product_folder(grd: pystac.Item) -> str | None:
    """Return the product's folder: what stands before the part of an address that is named like the item."""
    for key in ("safe-manifest", *POLARISATIONS, *(f"schema-product-{name}" for name in POLARISATIONS)):
        if key not in grd.assets:
            continue
        parts = unsigned(grd.assets[key].href).partition("?")[0].split("/")
        for number, part in enumerate(parts[:-1]):
            if part.upper().startswith(grd.id.upper()):
                return "/".join(parts[: number + 1])
    return None


def _file_name(href: str) -> str:
    return (urlsplit(href).path if is_url(href) else href).rpartition("/")[2].lower()
