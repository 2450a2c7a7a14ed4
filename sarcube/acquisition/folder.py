"""Items for a folder of RTC GeoTIFFs that nobody has catalogued: from names, tags and headers.

Names that are understood:

- OPERA RTC-S1: `OPERA_L2_RTC-S1_T137-292319-IW2_20211119T015858Z_20250830T120333Z_S1A_30_v1.0_VV.tif`: burst (its
  first number is the relative orbit), start, processing time, platform, pixel size, version, polarisation.
- HyP3 RTC: `S1A_IW_20210101T015858_DVP_RTC30_G_gpuned_1234_VV.tif`: platform, mode, start, polarisations and orbit
  type, pixel size, software, six flags (g gamma0 or s sigma0; p power, a amplitude or d decibel; ...), identifier.
- Planetary Computer: `S1A_IW_GRDH_1SDV_START_END_ORBIT_DATATAKE_DCEC/measurement/iw-vv.rtc.tiff`, or a file named
  after its item, `S1A_IW_GRDH_1SDV_START_END_ORBIT_DATATAKE_rtc_vv.tiff`.
"""

import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyproj
import pystac
import shapely

from sarcube.acquisition.files.headers import open_geotiff, read_grid
from sarcube.acquisition.scenes import POLARISATIONS, Grid
from sarcube.errors import InputError, ReadError

logger = logging.getLogger(__name__)

_OPERA = re.compile(
    r"(?P<id>OPERA_L2_RTC-S1_(?P<burst>T(?P<orbit>\d{3})-\d{6}-IW\d)_(?P<start>\d{8}T\d{6})Z_(?P<processed>\d{8}T\d{6})Z"
    r"_(?P<platform>S1[A-D])_\d+_v[\d.]+)_(?P<polarisation>VV|VH|HH|HV)\.tiff?",
    re.IGNORECASE,
)
_HYP3 = re.compile(
    r"(?P<id>(?P<platform>S1[A-D])_(?:IW|EW|S\d)_(?P<start>\d{8}T\d{6})_[SD][VH][PRO]_RTC\d+_[A-Z]_"
    r"(?P<radiometry>[gs])(?P<scale>[pad])\w{4}_[0-9A-F]{4})_(?P<polarisation>VV|VH|HH|HV)\.tiff?",
    re.IGNORECASE,
)
_GRD = (
    r"(?P<id>(?P<platform>S1[A-D])_(?:IW|EW)_GRD[HM]_1S[SD][VH]_(?P<start>\d{8}T\d{6})_(?P<end>\d{8}T\d{6})"
    r"_\d{6}_(?P<datatake>[0-9A-F]{6}))"
)
_PC_FOLDER = re.compile(
    _GRD + r"(?:_[0-9A-F]{4})?(?:_rtc)?/(?:measurement/)?iw-(?P<polarisation>vv|vh|hh|hv)\.rtc\.tiff?", re.IGNORECASE
)
_PC_FILE = re.compile(
    _GRD + r"(?:_[0-9A-F]{4})?(?:_rtc)?_(?P<polarisation>vv|vh|hh|hv)(?:\.rtc)?\.tiff?", re.IGNORECASE
)
_RADIOMETRY = {"g": "gamma0", "s": "sigma0"}
_SCALE = {"p": "power", "a": "amplitude", "d": "decibel"}
_NAMES = "OPERA RTC-S1, HyP3 RTC or Planetary Computer sentinel-1-rtc names"

# Sentinel-1 crosses the equator northward at 18:00 local mean solar time and southward at 06:00. The hour drifts with
# latitude, by less than three hours (orbit and swath) up to here.
_LATITUDE_OF_KNOWN_HOUR = 75.0


@dataclass(frozen=True)
class _File:
    path: Path
    item_id: str
    polarisation: str
    platform: str
    start: datetime
    end: datetime | None
    processed: datetime | None
    burst: str | None
    datatake: str | None
    relative_orbit: int | None
    orbit_state: str | None
    grid: Grid


def items_from_folder(
    folder: str | Path, *, orbit_state: str | None = None, relative_orbit: int | None = None
) -> pystac.ItemCollection:
    """Make items for a folder of RTC GeoTIFFs without a catalogue; subfolders are searched too.

    Track, time, platform and polarisation come from the names and the tags of the files. Where nothing says whether
    a pass is ascending, the local solar time does: Sentinel-1 passes ascending around 18:00 and descending around
    06:00. The relative orbit is never computed from the absolute one.

    Parameters
    ----------
    folder : str or Path
        Files with OPERA RTC-S1, HyP3 RTC or Planetary Computer names; others (masks, DEMs) are passed over.
    orbit_state : {"ascending", "descending"}, optional
        The pass direction of all files, where their names and tags do not give it.
    relative_orbit : int, optional
        The relative orbit of all files, where their names and tags do not give it (HyP3, Planetary Computer).

    Returns
    -------
    pystac.ItemCollection
        One item per acquisition and processing, sorted by time, then id, with absolute paths.

    Raises
    ------
    InputError
        If there is no such folder or no file whose name is understood, the track cannot be known, an argument
        contradicts a file, or the pixels are not gamma0 in linear power.
    ReadError
        If a file cannot be read or has no georeference.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no folder at {folder}")
    if orbit_state not in (None, "ascending", "descending"):
        raise InputError(f'orbit_state must be "ascending" or "descending", not {orbit_state!r}')
    if relative_orbit is not None and not 1 <= relative_orbit <= 175:
        raise InputError(f"relative_orbit must be a number from 1 to 175, not {relative_orbit!r}")

    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".tif", ".tiff") and p.is_file())
    groups: dict[str, list[_File]] = defaultdict(list)
    for path in paths:
        match = _match(path)
        if match is None:
            logger.info("passed over %s: its name is none of the RTC products'", path)
            continue
        file = _read(path.resolve(), match)
        groups[file.item_id].append(file)
    if not groups:
        raise InputError(
            f"no RTC file in {folder}: expected GeoTIFFs with {_NAMES}, found {len(paths)} GeoTIFFs"
            + (f" such as {paths[0].name}" if paths else "")
        )
    items = [_item(files, orbit_state=orbit_state, relative_orbit=relative_orbit) for files in groups.values()]
    items.sort(key=lambda item: (str(item.properties["start_datetime"]), item.id))
    return pystac.ItemCollection(items, clone_items=False)


def _match(path: Path) -> re.Match[str] | None:
    return (
        _OPERA.fullmatch(path.name)
        or _HYP3.fullmatch(path.name)
        or _PC_FILE.fullmatch(path.name)
        or next((m for depth in (2, 3) if (m := _PC_FOLDER.fullmatch("/".join(path.parts[-depth:])))), None)
    )


def _read(path: Path, match: re.Match[str]) -> _File:
    """Read what one file says of itself: its name first, then its tags."""
    name = match.groupdict()
    radiometry, scale = (name.get("radiometry") or "g").lower(), (name.get("scale") or "p").lower()
    if (radiometry, scale) != ("g", "p"):
        raise InputError(
            f"{path} holds {_RADIOMETRY[radiometry]} in {_SCALE[scale]}; expected gamma0 in power "
            '(HyP3: radiometry="gamma0", scale="power")'
        )
    with open_geotiff(str(path), owner=f'item "{name["id"]}"') as dataset:
        tags = {key.upper(): value for key, value in dataset.tags().items()}
        grid = read_grid(dataset, owner=f'item "{name["id"]}"')
    burst = name.get("burst")
    tagged_orbit = tags.get("TRACK_NUMBER", tags.get("RELATIVE_ORBIT_NUMBER", tags.get("RELATIVE_ORBIT")))
    orbit = name.get("orbit") or tagged_orbit
    return _File(
        path=path,
        item_id=name["id"] + ("" if burst or name.get("radiometry") else "_rtc"),
        polarisation=name["polarisation"].lower(),
        platform=f"SENTINEL-{name['platform'][1:].upper()}",
        start=_tagged_time(tags, "ZERO_DOPPLER_START_TIME", path) or _compact_time(name["start"]),
        end=_tagged_time(tags, "ZERO_DOPPLER_END_TIME", path)
        or (_compact_time(name["end"]) if "end" in name else None),
        processed=_compact_time(name["processed"]) if "processed" in name else _tiff_time(tags),
        burst=burst,
        datatake=name.get("datatake"),
        relative_orbit=_orbit_number(orbit, path),
        orbit_state=_tagged_state(tags, path),
        grid=grid,
    )


def _item(files: list[_File], *, orbit_state: str | None, relative_orbit: int | None) -> pystac.Item:
    first = files[0]
    polarisations = [file.polarisation for file in files]
    if len(set(polarisations)) < len(files):
        raise InputError(
            f'several files are "{first.item_id}" in one polarisation: {", ".join(str(file.path) for file in files)}; '
            "keep one"
        )
    area = _area(first.grid)
    orbit = _agreed(first, "relative_orbit", {file.relative_orbit for file in files}, relative_orbit)
    state = _agreed(first, "orbit_state", {file.orbit_state for file in files}, orbit_state)
    if state is None:
        state = _state_by_hour(first, area)
    if orbit is None or state is None:
        missing = " and ".join(
            name for name, value in (("relative_orbit=", orbit), ("orbit_state=", state)) if value is None
        )
        raise InputError(
            f"the track of {first.path} cannot be known: neither its name nor its tags say it; pass {missing} "
            "(the same for all such files: put files of different tracks into different folders)"
        )
    properties: dict[str, object] = {
        "start_datetime": _iso(first.start),
        "end_datetime": _iso(first.end or first.start),
        "platform": first.platform,
        "constellation": "Sentinel-1",
        "sat:orbit_state": state,
        "sat:relative_orbit": orbit,
        "sar:polarizations": [p.upper() for p in POLARISATIONS if p in polarisations],
        **_projection(first.grid),
    }
    if first.processed is not None:
        properties["processing:datetime"] = _iso(first.processed)
    if first.burst is not None:
        properties["s1:burst_id"] = first.burst
    if first.datatake is not None:
        properties["s1:datatake_id"] = str(int(first.datatake, 16))
    item = pystac.Item(
        id=first.item_id,
        geometry=shapely.geometry.mapping(area),
        bbox=list(area.bounds),
        datetime=first.start if first.end is None else first.start + (first.end - first.start) / 2,
        properties=properties,
    )
    for file in files:
        # Crops of one scene may differ in size: what differs is said of the asset.
        fields = {} if file.grid == first.grid else _projection(file.grid)
        asset = pystac.Asset(str(file.path), media_type=pystac.MediaType.GEOTIFF, roles=["data"], extra_fields=fields)
        item.add_asset(file.polarisation, asset)
    return item


def _agreed(file: _File, argument: str, known: set[object], given: object) -> object:
    """Return the one value that files and argument agree on, or None if nobody knows it."""
    values = {value for value in (*known, given) if value is not None}
    if len(values) > 1:
        raise InputError(
            f"{argument} of {file.path} is contradictory: {' and '.join(sorted(map(str, values)))}; "
            "an argument holds for all files of the folder"
        )
    return next(iter(values), None)


def _state_by_hour(file: _File, area: shapely.Polygon) -> str | None:
    longitude, latitude = area.centroid.x, area.centroid.y
    if abs(latitude) > _LATITUDE_OF_KNOWN_HOUR:
        return None
    start = file.start
    hour = (start.hour + start.minute / 60 + longitude / 15) % 24
    state = "ascending" if hour >= 12 else "descending"
    logger.info("%s: %.1f h local solar time, so %s", file.path.name, hour, state)
    return state


def _area(grid: Grid) -> shapely.Polygon:
    """Return the outline of a grid in degrees, with points along its sides."""
    a, b, c, d, e, f = grid.transform
    rows, columns = grid.shape
    steps = np.linspace(0, 1, 6)[:-1]
    x = np.concatenate([steps, np.ones(5), 1 - steps, np.zeros(5)]) * columns
    y = np.concatenate([np.zeros(5), steps, np.ones(5), 1 - steps]) * rows
    to_degrees = pyproj.Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(a * x + b * y + c, d * x + e * y + f)
    return shapely.Polygon(np.column_stack([longitude, latitude]))


def _projection(grid: Grid) -> dict[str, object]:
    crs = {"proj:code": grid.crs} if grid.crs.startswith("EPSG:") else {"proj:wkt2": grid.crs}
    return {**crs, "proj:transform": list(grid.transform), "proj:shape": list(grid.shape)}


def _orbit_number(text: str | None, path: Path) -> int | None:
    if text is None:
        return None
    if not text.strip().isdecimal() or not 1 <= int(text) <= 175:
        raise ReadError(f"{path}: the relative orbit must be a number from 1 to 175, not {text!r}")
    return int(text)


def _tagged_state(tags: dict[str, str], path: Path) -> str | None:
    text = tags.get("ORBIT_PASS_DIRECTION", tags.get("ORBIT_DIRECTION"))
    if text is None:
        return None
    state = {"a": "ascending", "d": "descending"}.get(text.strip().lower()[:1])
    if state is None:
        raise ReadError(f"{path}: the tagged pass direction must be ascending or descending, not {text!r}")
    return state


def _tagged_time(tags: dict[str, str], key: str, path: Path) -> datetime | None:
    if key not in tags:
        return None
    try:
        time = datetime.fromisoformat(tags[key].strip())
    except ValueError as error:
        raise ReadError(f"{path}: tag {key} must be an ISO 8601 time, not {tags[key]!r}") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _tiff_time(tags: dict[str, str]) -> datetime | None:
    """Return when the file was made; of two processings of one scene the later one is better."""
    text = tags.get("TIFFTAG_DATETIME")
    try:
        return None if text is None else datetime.strptime(text, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None  # free text in many writers


def _compact_time(text: str) -> datetime:
    return datetime.strptime(text.upper(), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _iso(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
