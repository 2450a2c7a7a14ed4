"""Search for the scenes around an event: in a folder, a file, a collection in memory or a STAC API."""

import json
import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
import pystac_client
import requests
import shapely
from pystac_client.exceptions import APIError

from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.acquisition.scenes import POLARISATIONS, item_time, polarisation_asset
from sarcube.errors import InputError, NoSceneError, ReadError
from sarcube.events import Event

logger = logging.getLogger(__name__)

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
_COLLECTION = "sentinel-1-rtc"
_LOOK_AROUND = timedelta(days=90)  # how far an API is asked for the nearest scenes when there is none
_SECOND = timedelta(seconds=1)

Window = tuple[datetime, datetime]


def search(
    event: Event,
    *,
    pre_days: float = 60,
    post_days: float = 12,
    catalog: str | Path | pystac.ItemCollection | None = None,
    orbit_state: str | None = None,
    relative_orbit: int | None = None,
) -> pystac.ItemCollection:
    """Find the scenes that touch an event's area in its windows of time.

    Parameters
    ----------
    event : Event
        Place and moment. A scene at the very moment of the event belongs to neither window.
    pre_days, post_days : float
        Length of the windows before and after the event, in days.
    catalog : str, Path or pystac.ItemCollection, optional
        A folder with a static STAC catalogue, the path of a catalogue or ItemCollection in JSON, a collection in
        memory, or the URL of a STAC API. Default: the Planetary Computer's `sentinel-1-rtc`.
    orbit_state : {"ascending", "descending"}, optional
        Only this pass direction.
    relative_orbit : int, optional
        Only this relative orbit, 1 to 175.

    Returns
    -------
    pystac.ItemCollection
        Sorted by time, then id; the hrefs of the polarisations are absolute.

    Raises
    ------
    NoSceneError
        If nothing is found; says what the catalogue holds instead.
    InputError
        If the catalogue is none, or an item's href may not be opened.
    ReadError
        If a file of the catalogue is broken, or the API does not answer.
    """
    if orbit_state not in (None, "ascending", "descending"):
        raise InputError(f'orbit_state must be "ascending" or "descending", not {orbit_state!r}')
    windows = event.pre_window(pre_days), event.post_window(post_days)
    area = area_of(event.bbox)
    source = PLANETARY_COMPUTER if catalog is None else catalog
    # Names the catalogue in messages: a collection in memory would print all its items.
    name = "the collection in memory" if isinstance(source, pystac.ItemCollection) else str(source)

    candidates = _candidates(source, event, windows)
    found = [
        item
        for item in candidates
        if _in_windows(item, windows) and _touches(item, area) and _is_on_track(item, orbit_state, relative_orbit)
    ]
    if not found:
        if is_url(name):
            candidates = _query(name, event, [(windows[0][0] - _LOOK_AROUND, windows[1][1] + _LOOK_AROUND)])
        raise NoSceneError(_nothing_found(name, event, windows, area, candidates, orbit_state, relative_orbit))
    found.sort(key=lambda item: (item_time(item), item.id))
    logger.info("%d scenes for event %s in %s", len(found), event.name, name)
    return pystac.ItemCollection(found, clone_items=False)


def area_of(bbox: tuple[float, float, float, float]) -> shapely.Geometry:
    """Return the area of a box in degrees; west greater than east crosses the antimeridian and gives two boxes."""
    west, south, east, north = bbox
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))


def footprint(item: pystac.Item) -> shapely.Geometry:
    """Return the area of an item in degrees: its geometry, or its bbox where it has none.

    Raises
    ------
    ReadError
        If the geometry cannot be read, or there is neither.
    """
    if item.geometry is None:
        if item.bbox is None:
            raise ReadError(f'item "{item.id}" has neither geometry nor bbox')
        west, south, east, north = item.bbox if len(item.bbox) == 4 else (*item.bbox[:2], *item.bbox[3:5])
        return area_of((west, south, east, north))
    try:
        geometry = shapely.from_geojson(json.dumps(item.geometry))
    except shapely.errors.ShapelyError as error:
        raise ReadError(f'item "{item.id}" has a geometry that cannot be read: {error}') from error
    return geometry if geometry.is_valid else shapely.make_valid(geometry)


def _candidates(
    source: str | Path | pystac.ItemCollection, event: Event, windows: tuple[Window, Window]
) -> list[pystac.Item]:
    if isinstance(source, pystac.ItemCollection):
        return [_with_absolute_hrefs(item.clone(), base=item.get_self_href()) for item in source]
    if is_url(str(source)):
        return _query(str(source), event, list(windows))
    return list(_read_static(Path(source)))


def _query(url: str, event: Event, windows: Iterable[Window]) -> list[pystac.Item]:
    """Ask a STAC API; one question per window and side of the antimeridian."""
    found: dict[str, pystac.Item] = {}
    try:
        client = pystac_client.Client.open(url)
        for part in shapely.get_parts(area_of(event.bbox)):
            for start, end in windows:
                # An API is asked in whole seconds; what is too much is sorted out here, as for every catalogue.
                span = (start - _SECOND, end + _SECOND)
                answer = client.search(collections=[_COLLECTION], bbox=part.bounds, datetime=span, limit=200)
                for item in answer.items():
                    found[item.id] = _with_absolute_hrefs(item, base=item.get_self_href() or url)
    except (APIError, requests.RequestException) as error:
        raise ReadError(
            f"the catalogue {url} did not answer: {error}; without a network give catalog= a folder of staged scenes"
        ) from error
    return list(found.values())


def _read_static(path: Path) -> Iterator[pystac.Item]:
    """Walk a static catalogue by its links, never leaving its folder."""
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
            yield _item(document, file, root)
        elif kind == "FeatureCollection":
            for feature in document.get("features", []):
                yield _item(feature, file, root)
        elif kind in ("Catalog", "Collection"):
            waiting += [
                resolve_href(str(link.get("href", "")), owner=f"catalogue {file}", base=file, root=root)
                for link in document.get("links", [])
                if link.get("rel") in ("child", "item")
            ]
        else:
            raise ReadError(f"{file} is no STAC: its type is {kind!r}, not Catalog, Collection, Feature(Collection)")


def _read_json(file: str) -> dict[str, Any]:
    if is_url(file):
        raise InputError(f"the catalogue links to {file}: a catalogue in files must hold its items; stage it first")
    try:
        document = json.loads(Path(file).read_bytes())
    except (OSError, ValueError) as error:
        raise ReadError(f"cannot read the catalogue file {file}: {error}") from error
    if not isinstance(document, dict):
        raise ReadError(f"{file} is no STAC: expected an object, found a {type(document).__name__}")
    return document


def _item(document: dict[str, Any], file: str, root: Path) -> pystac.Item:
    try:
        item = pystac.Item.from_dict(document, href=file, preserve_dict=False)
    except (pystac.STACError, pystac.STACTypeError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{file} holds an item that cannot be read: {error!r}") from error
    # Links lead to where nobody has looked; pystac would follow them when the item is copied or written.
    item.remove_hierarchical_links()
    return _with_absolute_hrefs(item, base=file, root=root)


def _with_absolute_hrefs(item: pystac.Item, *, base: str | None, root: Path | None = None) -> pystac.Item:
    for polarisation in POLARISATIONS:
        asset = polarisation_asset(item, polarisation)
        if asset is not None:
            asset.href = resolve_href(asset.href, owner=f'item "{item.id}" ({polarisation})', base=base, root=root)
    return item


def _in_windows(item: pystac.Item, windows: tuple[Window, Window]) -> bool:
    time, (pre, post) = item_time(item), windows
    return pre[0] <= time < pre[1] or post[0] < time <= post[1]


def _touches(item: pystac.Item, area: shapely.Geometry) -> bool:
    return bool(shapely.intersects(footprint(item), area))


def _is_on_track(item: pystac.Item, orbit_state: str | None, relative_orbit: int | None) -> bool:
    properties = item.properties
    return (orbit_state is None or properties.get("sat:orbit_state") == orbit_state) and (
        relative_orbit is None or properties.get("sat:relative_orbit") == relative_orbit
    )


def _nothing_found(
    name: str,
    event: Event,
    windows: tuple[Window, Window],
    area: shapely.Geometry,
    candidates: list[pystac.Item],
    orbit_state: str | None,
    relative_orbit: int | None,
) -> str:
    (pre_start, pre_end), (post_start, post_end) = windows
    asked = [f"bbox {event.bbox}"]
    asked += [f"{orbit_state} passes"] if orbit_state else []
    asked += [f"relative orbit {relative_orbit}"] if relative_orbit is not None else []
    lines = [
        f'no scene for event "{event.name}" in {name}: searched {pre_start:%Y-%m-%d %H:%M} to {pre_end:%Y-%m-%d %H:%M} '
        f"and {post_start:%Y-%m-%d %H:%M} to {post_end:%Y-%m-%d %H:%M} UTC, {', '.join(asked)}."
    ]
    here = [item for item in candidates if _touches(item, area)]
    timely = [item for item in candidates if _in_windows(item, windows)]
    if not candidates:
        span = f" within {_LOOK_AROUND.days} days of these windows" if is_url(name) else ""
        lines.append(f"It holds no scene at all{span}.")
    elif not here:
        lines.append(
            f"It holds {len(candidates)} scenes, none of them over this area ({len(timely)} in these windows)."
        )
    else:
        other = sum(_in_windows(item, windows) for item in here)
        if other:
            lines.append(f"It holds {other} scenes over this area in these windows on other tracks.")
        else:
            times = [item_time(item) for item in here]
            earlier = [time for time in times if time < pre_start]
            later = [time for time in times if time > post_end]
            between = len(times) - len(earlier) - len(later)
            lines.append(
                f"It holds {len(here)} scenes over this area outside these windows"
                + (f", the last before them at {max(earlier):%Y-%m-%d %H:%M}" if earlier else "")
                + (f", the first after them at {min(later):%Y-%m-%d %H:%M}" if later else "")
                + (f", {between} at or between the ends of the event" if between else "")
                + "; make pre_days or post_days longer."
            )
    return " ".join(lines)
