"""The archive itself: its catalogue, the collection there, an item of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pystac

from sarcube.acquisition.catalogs.asking import own_address
from sarcube.acquisition.catalogs.items import read_item
from sarcube.acquisition.doctor.asking import Answer, ask, host_of, refused
from sarcube.acquisition.doctor.findings import Finding, Trouble, printable
from sarcube.acquisition.files.connections import joined, show_url
from sarcube.acquisition.files.patience import Failure
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import POLARISATIONS, polarisation_asset, read_scene
from sarcube.errors import SarcubeError

COLLECTION = "sentinel-1-rtc"
_SEARCH = re.compile(r"https://api\.stacspec\.org/v1\.\d+\.\d+[^/]*/item-search")


@dataclass(frozen=True)
class Catalogue:
    """A STAC API: where it begins, and where it is searched."""

    url: str
    search: str
    answers: list[Answer] = field(default_factory=list)


def open_catalogue(url: str, answers: list[Answer]) -> tuple[Finding, Catalogue]:
    """Ask a STAC API for its landing page; every answer that came is added to `answers`."""
    answer = ask(url)
    answers.append(answer)
    document = _json(answer, "the catalogue")
    conforms = document.get("conformsTo")
    if not isinstance(conforms, list) or not any(_SEARCH.match(str(one)) for one in conforms):
        kind = printable(document.get("type", "JSON without a type"), most=30)
        raise Trouble(
            f"{show_url(url)} is no STAC API that can be searched: it is {kind}, its conformsTo names no item-search",
            "give the address of the landing page, such as https://host/api/stac/v1; download a static catalogue and "
            "give its folder",
        )
    links = document.get("links")
    search = next(
        (
            str(link.get("href", ""))
            for link in (links if isinstance(links, list) else [])
            if isinstance(link, dict) and link.get("rel") == "search"
        ),
        "",
    )
    try:
        search = own_address(joined(f"{url.rstrip('/')}/", search or "search"), api=url)
    except Failure:
        raise Trouble(
            f"the catalogue sends searches to another host, {printable(host_of(search))}; that is not asked",
            "give the address that it names itself",
        ) from None
    return Finding("catalogue", "well", f"{answer.url} is a STAC API and answers"), Catalogue(url, search, answers)


def find_collection(catalogue: Catalogue) -> Finding:
    """Ask whether the catalogue has the collection that `search` asks for by default."""
    base = catalogue.url.rstrip("/")
    answer = ask(f"{base}/collections/{COLLECTION}")
    catalogue.answers.append(answer)
    if answer.status != HTTPStatus.NOT_FOUND:
        _json(answer, f"the collection {COLLECTION}")
        return Finding("collection", "well", f"{COLLECTION} is there")
    listed = _json(ask(f"{base}/collections"), "the list of collections").get("collections")
    ids = [
        printable(one.get("id"), most=40)
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, dict)
    ]
    names = ", ".join(ids[:8]) + (f" and {len(ids) - 8} others" if len(ids) > 8 else "") if ids else "none at all"
    raise Trouble(
        f"the catalogue has no collection {COLLECTION}; it has {names}",
        "search another catalogue, or another collection of this one: sc.search(collection=...)",
    )


def newest_item(catalogue: Catalogue) -> tuple[Finding, str]:
    """Search for one item, read it as `load` does, and return the address of a file of it."""
    answer = ask(f"{catalogue.search}?{urlencode({'collections': COLLECTION, 'limit': 1})}")
    catalogue.answers.append(answer)
    features = _json(answer, "the search").get("features")
    if not isinstance(features, list):
        raise Trouble("a search gives no list of items", "report it to who runs the catalogue")
    if not features or not isinstance(features[0], dict):
        raise Trouble(f"a search finds no item at all in {COLLECTION}", "search another catalogue")
    advice = "docs/access.md says what an item must hold; tell who runs the catalogue"
    try:
        item = read_item(features[0], file=answer.url, base=catalogue.url)
        scene = read_scene(item)
    except SarcubeError as error:
        raise Trouble(f"an item of it cannot be used: {printable(error, most=300)}", advice) from error
    asset = _asset(item)
    if asset is None:
        raise Trouble(f'the item "{printable(item.id)}" has no vv, vh, hh or hv', advice)
    if not is_url(asset.href):
        raise Trouble(f'the item "{printable(item.id)}" has a file at no http(s) address', advice)
    words = f'an item can be read: "{printable(item.id)}", {scene.time:%Y-%m-%d}, track {scene.track}'
    if any(raster.grid is None for raster in scene.rasters.values()):
        words += "; it does not say where its pixels lie, so every file is opened before a cube can be planned"
    return Finding("items", "well", words), asset.href


def _asset(item: pystac.Item) -> pystac.Asset | None:
    found = (polarisation_asset(item, name) for name in POLARISATIONS)
    return next((asset for asset in found if asset is not None), None)


def _json(answer: Answer, what: str) -> Mapping[str, Any]:
    """Return an answer's object."""
    if answer.status != HTTPStatus.OK:
        raise refused(answer, what)
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        kind = printable(answer.headers.get("Content-Type", "of no kind"), most=40)
        raise Trouble(
            f"{what} at {answer.url} answers something that is no JSON ({kind})",
            "a login page of the network may be in between: open any page in a browser; else check the address",
        ) from None
    if not isinstance(document, dict):
        raise Trouble(
            f"{what} at {answer.url} answers a {type(document).__name__}, expected an object", "check the address"
        )
    return document
