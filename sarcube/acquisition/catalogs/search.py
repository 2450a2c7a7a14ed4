"""Search for the scenes around an event: in a folder, a file, a collection in memory or a STAC API."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pystac

from sarcube.acquisition.catalogs.find import PLANETARY_COMPUTER as PLANETARY_COMPUTER
from sarcube.acquisition.catalogs.find import Source, candidates, find, is_large
from sarcube.acquisition.catalogs.reasons import LOOK_AROUND, nothing_found
from sarcube.acquisition.catalogs.wanted import Wanted
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import POLARISATIONS, item_time
from sarcube.errors import InputError, NoSceneError, ReadError
from sarcube.events import Event

logger = logging.getLogger(__name__)


def search(
    event: Event,
    *,
    pre_days: float = 60,
    post_days: float = 12,
    catalog: str | Path | pystac.ItemCollection | None = None,
    orbit_state: str | None = None,
    relative_orbit: int | None = None,
    polarisations: Sequence[str] | None = None,
    collection: str = "sentinel-1-rtc",
) -> pystac.ItemCollection:
    """Find the scenes that touch an event's area in its windows of time.

    Parameters
    ----------
    event : Event
        Place and moment. A scene at the very moment of the event belongs to neither window.
    pre_days, post_days : float
        Length of the windows before and after the event, in days.
    catalog : str, Path or pystac.ItemCollection, optional
        A folder with a static STAC catalogue, the path of a catalogue or ItemCollection in JSON, stac-geoparquet (a
        file, or a folder of them), a collection in memory, or the URL of a STAC API. Default: the Planetary
        Computer. What an API answers is kept for ten minutes; if it does not answer, what it answered to the same
        question earlier is used, with a warning.
    orbit_state : {"ascending", "descending"}, optional
        Only this pass direction.
    relative_orbit : int, optional
        Only this relative orbit, 1 to 175.
    polarisations : sequence of {"vv", "vh", "hh", "hv"}, optional
        Only scenes that have all of these, in upper or lower case.
    collection : str
        Only scenes of this collection, and those of files that name none.

    Returns
    -------
    pystac.ItemCollection
        Sorted by time, then id; hrefs are absolute, and without signatures that have expired. Its
        `extra_fields["sarcube:search"]` say how it was found: `pre_days`, `post_days`, `catalog`, `collection`, and
        `answered`, when the catalogue told (UTC).

    Raises
    ------
    NoSceneError
        If nothing is found; says what the catalogue holds instead.
    InputError
        If the catalogue is none, what is asked for makes no sense, or an item's href may not be opened.
    ReadError
        If a file of the catalogue is broken, or the API does not answer.
    """
    wanted = _wanted(event, pre_days, post_days, orbit_state, relative_orbit, polarisations, collection)
    source = PLANETARY_COMPUTER if catalog is None else catalog
    name = _name(source)

    timely, answered = find(source, collection=collection, bbox=event.bbox, spans=wanted.windows)
    found = [
        item for item in timely if wanted.is_timely(item) and wanted.is_on_track(item) and wanted.is_polarised(item)
    ]
    if not found:
        whole = not is_large(source)
        raise NoSceneError(nothing_found(name, wanted, _held(source, wanted, whole), whole=whole))
    found.sort(key=lambda item: (item_time(item), item.id))
    logger.info("%d scenes for event %s in %s", len(found), event.name, name)
    told = {
        "pre_days": pre_days,
        "post_days": post_days,
        "catalog": name,
        "collection": collection,
        "answered": answered.isoformat(timespec="seconds"),
    }
    return pystac.ItemCollection(found, clone_items=False, extra_fields={"sarcube:search": told})


def _wanted(
    event: Event,
    pre_days: float,
    post_days: float,
    orbit_state: str | None,
    relative_orbit: int | None,
    polarisations: Sequence[str] | None,
    collection: str,
) -> Wanted:
    if orbit_state not in (None, "ascending", "descending"):
        raise InputError(f'orbit_state must be "ascending" or "descending", not {orbit_state!r}')
    if relative_orbit is not None and relative_orbit not in range(1, 176):
        raise InputError(f"relative_orbit must be a number from 1 to 175, not {relative_orbit!r}")
    names = [polarisations] if isinstance(polarisations, str) else list(polarisations or ())
    names = [str(name).lower() for name in names]
    if polarisations is not None and not (names and set(names) <= set(POLARISATIONS)):
        raise InputError(
            f'polarisations must be some of {", ".join(POLARISATIONS)}, such as ("vv", "vh"), not {polarisations!r}'
        )
    windows = event.pre_window(pre_days), event.post_window(post_days)
    return Wanted(event, windows, orbit_state, relative_orbit, tuple(names), collection)


def _name(source: Source) -> str:
    """Name a catalogue in messages: a collection in memory would print all its items, a URL what may be a secret."""
    if isinstance(source, pystac.ItemCollection):
        return "the collection in memory"
    return show_url(str(source)) if is_url(str(source)) else str(source)


def _held(source: Source, wanted: Wanted, whole: bool) -> list[pystac.Item] | str:
    """Return what a catalogue holds: all of it, or what lies near; or why it could not be asked."""
    (start, _), (_, end) = wanted.windows
    spans = [(start - LOOK_AROUND, end + LOOK_AROUND)]
    try:
        held, _ = candidates(
            source,
            collection=wanted.collection,
            bbox=None if whole else wanted.event.bbox,
            spans=None if whole else spans,
        )
    except ReadError as error:
        return str(error)
    return held
