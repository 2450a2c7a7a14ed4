"""What an item says about its scene; which scenes are one pass, which are the same acquisition twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pystac

from sarcube.errors import InputError

POLARISATIONS = ("vv", "vh", "hh", "hv")

# Slices of a pass follow each other within a second and a pass over land ends within minutes; the next pass of a
# platform on the same track comes 12 days later.
_PASS_GAP = timedelta(minutes=5)
# Start and end of one acquisition move by fractions of a second from one processing to the next; slices are 25 s apart.
_SAME_ACQUISITION = timedelta(seconds=2)


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a file lie: CRS (EPSG code or WKT), affine (a, b, c, d, e, f), shape (rows, columns)."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Raster:
    """The file of one polarisation; `grid` is what the item says of it, None if it says nothing."""

    href: str
    grid: Grid | None


@dataclass(frozen=True)
class Scene:
    """One item, read: what happened when, and where its files are. Times are UTC."""

    id: str
    time: datetime
    start: datetime
    end: datetime
    orbit_state: str
    relative_orbit: int
    platform: str
    burst: str
    processed: datetime | None
    rasters: Mapping[str, Raster]

    @property
    def track(self) -> str:
        """Track name: letter of the orbit state and relative orbit, such as "D164"."""
        return track_name(self.orbit_state, self.relative_orbit)


def track_name(orbit_state: str, relative_orbit: int) -> str:
    """Return the name of a track: ("descending", 164) -> "D164"."""
    return f"{orbit_state[0].upper()}{relative_orbit:03d}"


def item_time(item: pystac.Item) -> datetime:
    """Return the moment of an item (UTC): its datetime, or the start where it has only start and end.

    Raises
    ------
    InputError
        If the item has neither.
    """
    moment = item.datetime or _moment(item, "start_datetime")
    if moment is None:
        raise InputError(f'item "{item.id}" has neither datetime nor start_datetime')
    return _utc(moment)


def read_scene(item: pystac.Item) -> Scene:
    """Read what the loader needs from an item's properties; both `proj:epsg` and `proj:code` are understood.

    Raises
    ------
    InputError
        If the track is not in the item, or a property that is there makes no sense.
    """
    time = item_time(item)
    start = _moment(item, "start_datetime") or time
    return Scene(
        id=item.id,
        time=time,
        start=start,
        end=_moment(item, "end_datetime") or start,
        orbit_state=_orbit_state(item),
        relative_orbit=_relative_orbit(item),
        platform=str(item.properties.get("platform", "unknown")).upper(),
        burst=str(item.properties.get("s1:burst_id", "")),
        processed=next(
            (t for name in ("processing:datetime", "updated", "created") if (t := _moment(item, name)) is not None),
            None,
        ),
        rasters={
            name: Raster(asset.href, _grid(item, asset))
            for name in POLARISATIONS
            if (asset := polarisation_asset(item, name)) is not None
        },
    )


def polarisation_asset(item: pystac.Item, polarisation: str) -> pystac.Asset | None:
    """Return the asset of a polarisation ("vv"), whatever the case of its key, or None."""
    return next((asset for key, asset in item.assets.items() if key.lower() == polarisation), None)


def drop_duplicates(scenes: Iterable[Scene]) -> tuple[list[Scene], list[tuple[Scene, Scene]]]:
    """Keep one processing of every acquisition: the newest, by id where no processing time is known.

    Returns
    -------
    kept : list of Scene
        Sorted by start, then id.
    dropped : list of (Scene, Scene)
        What was dropped, and what was kept in its stead.
    """
    families: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda s: (s.start, s.id)):
        family = next((f for f in reversed(families) if _is_same_acquisition(f[0], scene)), None)
        if family is None:
            families.append([scene])
        else:
            family.append(scene)
    kept: list[Scene] = []
    dropped: list[tuple[Scene, Scene]] = []
    for family in families:
        best = max(family, key=_newness)
        kept.append(best)
        dropped.extend((scene, best) for scene in family if scene is not best)
    return sorted(kept, key=lambda s: (s.start, s.id)), dropped


def group_passes(scenes: Iterable[Scene]) -> list[tuple[Scene, ...]]:
    """Group scenes into passes: one platform flying over once on one track.

    Returns
    -------
    list of tuple of Scene
        Sorted by time, then track, then platform; the scenes of a pass by id.
    """
    passes: list[list[Scene]] = []
    for scene in sorted(scenes, key=lambda s: (s.track, s.platform, s.start, s.id)):
        last = passes[-1] if passes else None
        if last and _lane(last[0]) == _lane(scene) and scene.start - max(s.end for s in last) <= _PASS_GAP:
            last.append(scene)
        else:
            passes.append([scene])
    passes.sort(key=lambda group: (pass_time(group), group[0].track, group[0].platform))
    return [tuple(sorted(group, key=lambda s: s.id)) for group in passes]


def pass_time(scenes: Sequence[Scene]) -> datetime:
    """Return the time of a pass: that of its earliest scene."""
    return min(scene.time for scene in scenes)


def _lane(scene: Scene) -> tuple[str, str]:
    return scene.track, scene.platform


def _is_same_acquisition(a: Scene, b: Scene) -> bool:
    return (
        _lane(a) == _lane(b)
        and a.burst == b.burst
        and abs(a.start - b.start) <= _SAME_ACQUISITION
        and abs(a.end - b.end) <= _SAME_ACQUISITION
    )


def _newness(scene: Scene) -> tuple[datetime, str]:
    return scene.processed or datetime.min.replace(tzinfo=UTC), scene.id


def _orbit_state(item: pystac.Item) -> str:
    state = str(item.properties.get("sat:orbit_state", "")).lower()
    if state not in ("ascending", "descending"):
        raise InputError(
            f'item "{item.id}": sat:orbit_state must be "ascending" or "descending", '
            f"not {item.properties.get('sat:orbit_state')!r}"
        )
    return state


def _relative_orbit(item: pystac.Item) -> int:
    orbit = item.properties.get("sat:relative_orbit")
    try:
        number = int(orbit)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = 0
    if not 1 <= number <= 175:
        raise InputError(f'item "{item.id}": sat:relative_orbit must be a number from 1 to 175, not {orbit!r}')
    return number


def _moment(item: pystac.Item, name: str) -> datetime | None:
    value = item.properties.get(name)
    if value is None or isinstance(value, datetime):
        return None if value is None else _utc(value)
    try:
        return _utc(datetime.fromisoformat(str(value)))
    except ValueError as error:
        raise InputError(f'item "{item.id}": {name} must be an ISO 8601 time, not {value!r}') from error


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _grid(item: pystac.Item, asset: pystac.Asset) -> Grid | None:
    """Read the projection fields; what the asset says goes before what the item says."""
    fields: dict[str, Any] = {}
    for source in (item.properties, asset.extra_fields):
        if any(source.get(name) is not None for name in ("proj:code", "proj:epsg", "proj:wkt2")):
            fields |= {"proj:code": None, "proj:epsg": None, "proj:wkt2": None}
        fields |= {name: value for name, value in source.items() if name.startswith("proj:") and value is not None}
    epsg = fields.get("proj:epsg")
    crs = fields.get("proj:code") or (f"EPSG:{epsg}" if epsg else None) or fields.get("proj:wkt2")
    transform, shape = fields.get("proj:transform"), fields.get("proj:shape")
    if crs is None or transform is None or shape is None:
        return None
    try:
        a, b, c, d, e, f = (float(value) for value in transform[:6])
        rows, columns = (int(value) for value in shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f'item "{item.id}": proj:transform must be 6 or 9 numbers and proj:shape two, '
            f"not {transform!r} and {shape!r}"
        ) from error
    return Grid(str(crs), (a, b, c, d, e, f), (rows, columns))
