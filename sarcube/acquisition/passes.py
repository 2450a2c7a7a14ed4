"""Passes over a place: which platform flew over on which track, when, and how much of the place it imaged."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pystac
import shapely

from sarcube.acquisition.catalogs.areas import area_of, footprint
from sarcube.acquisition.scenes import POLARISATIONS, Scene, drop_duplicates, group_passes, pass_time, read_scene

# Two archives cut one pass into different slices, minutes apart at most; the next on that track comes 12 days later.
_SAME_PASS = timedelta(minutes=5)


@dataclass(frozen=True)
class Pass:
    """One platform flying over a place once; `time` is UTC, `covered` the share of the place, above 0 and up to 1."""

    track: str
    platform: str
    time: datetime
    polarisations: frozenset[str]
    covered: float


def passes_over(items: Iterable[pystac.Item], bbox: tuple[float, float, float, float]) -> list[Pass]:
    """Return the passes that imaged some of a box: slices of a pass are one, and so are two processings of a scene.

    Parameters
    ----------
    items : iterable of pystac.Item
        Those that lie beside the box are passed over.
    bbox : tuple of float
        West, south, east, north in degrees; west greater than east crosses the antimeridian.

    Returns
    -------
    list of Pass
        Sorted by time, then track, then platform. Shares are of areas in degrees.

    Raises
    ------
    InputError
        If an item does not say its track.
    ReadError
        If the outline of an item cannot be read.
    """
    area = area_of(bbox)
    inside: dict[str, shapely.Geometry] = {}
    scenes = []
    for item in items:
        scene = read_scene(item)
        part = shapely.intersection(footprint(item), area)
        if shapely.area(part) > 0:
            inside[scene.id] = part
            scenes.append(scene)
    kept, _ = drop_duplicates(scenes)
    return [_pass(group, [inside[scene.id] for scene in group], area) for group in group_passes(kept)]


def same_pass(a: Pass, b: Pass) -> bool:
    """Whether two archives speak of the same pass: track, platform and, within minutes, time."""
    return a.track == b.track and a.platform == b.platform and is_near(a.time, b.time)


def is_near(a: datetime, b: datetime) -> bool:
    """Whether two times can be of the same pass."""
    return abs(a - b) <= _SAME_PASS


def in_wide_swath(item: pystac.Item) -> bool:
    """Whether a scene was taken in the mode that RTC scenes are made of; an item that does not say is believed."""
    return bool(item.properties.get("sar:instrument_mode", "IW") == "IW")


def _pass(scenes: tuple[Scene, ...], parts: list[shapely.Geometry], area: shapely.Geometry) -> Pass:
    names = {name for scene in scenes for name in scene.rasters}
    return Pass(
        track=scenes[0].track,
        platform=scenes[0].platform.replace("SENTINEL-", "S"),
        time=pass_time(scenes),
        polarisations=frozenset(name for name in POLARISATIONS if name in names),
        # Rounding in the union of slices must not make more than all of it.
        covered=min(1.0, float(shapely.area(shapely.union_all(parts)) / shapely.area(area))),
    )
