"""Simulated scenes written the way the archive holds them, flaws included.

Items look like Planetary Computer's `sentinel-1-rtc`; each says `sarcube:simulated`, and so does every file.
[M] marks numbers that are remembered, not verified.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import MemoryFile
from rasterio.warp import transform_geom

from sarcube.cube.geometry.look import pixel_centres
from sarcube.errors import InputError
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]

NODATA = -32768.0
COLLECTION = "sentinel-1-rtc"
FLAWS = (
    "nodata",  # an oblique swath edge with nodata
    "zeros",  # zero-filled border and a zero-filled part
    "slices",  # one pass in two slices that overlap
    "duplicate",  # an older processing of one acquisition, 0.4 dB off
    "vv_only",  # a date without VH
    "offset_grid",  # a date whose grid lies a third of a pixel aside
    "shift",  # a date displaced by two pixels
    "two_zones",  # a date in the neighbouring UTM zone
    "fringe",  # an oblique swath edge with a fringe of weak noise along it
)
# What a user meets in most events; a displaced date and a second zone are rarer.
USUAL_FLAWS = FLAWS[:6]


@dataclass(frozen=True)
class Acquisition:
    """One pass of a track over the area."""

    track: str
    relative_orbit: int
    orbit_state: str
    day: int
    time: datetime
    cycle: int


@dataclass(frozen=True)
class _Scene:
    """What becomes one item."""

    start: datetime
    end: datetime
    bands: dict[str, Field]
    geobox: GeoBox
    unique: str


def flaw_days(seed: int, flaws: Sequence[str], acquisitions: Sequence[Acquisition]) -> dict[str, int]:
    """Which day of one track each flaw falls on; no two on one day where there are days enough.

    Raises
    ------
    InputError
        For a flaw that is not in `FLAWS`.
    """
    unknown = sorted(set(flaws) - set(FLAWS))
    if unknown:
        raise InputError(f"unknown flaws {', '.join(unknown)}; the archive's are {', '.join(FLAWS)}")
    rng = stream(seed, "flaws", acquisitions[0].track)
    before = [int(d) for d in rng.permutation([a.day for a in acquisitions if a.day < 0])]
    after = [int(d) for d in rng.permutation([a.day for a in acquisitions if a.day > 0])]
    days: dict[str, int] = {}
    others = [flaw for flaw in FLAWS if flaw != "shift"]
    for flaw in flaws:
        if flaw == "shift":  # after the event: there it looks like a change everywhere
            days[flaw] = after[0]
        else:  # by its own place in the list, so that adding one never moves another
            days[flaw] = before[others.index(flaw) % len(before)]
    return days


def write_acquisition(
    folder: Path, acquisition: Acquisition, bands: dict[str, Field], geobox: GeoBox, *, seed: int, flaws: dict[str, int]
) -> list[Path]:
    """Write one pass as one or two items with their files; return the paths of the items."""
    rng = stream(seed, "archive", acquisition.track, acquisition.day)
    here = {flaw for flaw, day in flaws.items() if day == acquisition.day}
    bands = {pol: values.copy() for pol, values in bands.items()}
    if "shift" in here:
        bands = {pol: _displace(values, 2, 1) for pol, values in bands.items()}
    if "nodata" in here:
        rows, columns = np.indices(geobox.shape)
        outside = columns + 0.2 * rows < 0.12 * geobox.shape[1]
        for values in bands.values():
            values[outside] = NODATA
    if "fringe" in here:
        _add_fringe(bands, seed, acquisition)
    if "zeros" in here:
        row, column = (int(rng.integers(n // 4, n // 2)) for n in geobox.shape)
        for values in bands.values():
            values[:12] = 0
            values[row : row + geobox.shape[0] // 10, column : column + geobox.shape[1] // 8] = 0
    if "vv_only" in here:
        bands.pop("vh")
    if "offset_grid" in here:
        geobox = GeoBox(geobox.shape, geobox.affine * Affine.translation(0.34, -0.29), geobox.crs)
    if "two_zones" in here:
        bands, geobox = _neighbouring_zone(bands, geobox)
    start = acquisition.time
    scene = _Scene(start, start + timedelta(seconds=25), bands, geobox, f"{int(rng.integers(0x8000, 0x10000)):04X}")
    scenes = _two_slices(scene) if "slices" in here else [scene]
    if "duplicate" in here:
        older = {pol: np.where(v > 0, v * np.float32(10**0.04), v) for pol, v in bands.items()}
        scenes.append(replace(scene, bands=older, unique=f"{int(rng.integers(0, 0x8000)):04X}"))
    return [_write_item(folder, acquisition, scene) for scene in scenes]


def write_catalog(folder: Path, items: Sequence[Path], *, description: str) -> Path:
    """Write the static catalogue above the items; return its path."""
    root = folder / "catalog.json"
    collection = folder / COLLECTION / "collection.json"
    contents = [json.loads(path.read_text()) for path in items]
    boxes = np.array([item["bbox"] for item in contents])
    times = sorted(item["properties"]["datetime"] for item in contents)
    _dump(
        collection,
        {
            "type": "Collection",
            "id": COLLECTION,
            "stac_version": "1.0.0",
            "description": description,
            "license": "CC0-1.0",
            "sarcube:simulated": True,
            "extent": {
                "spatial": {"bbox": [[*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist()]]},
                "temporal": {"interval": [[times[0], times[-1]]]},
            },
            "links": [
                {"rel": "root", "href": "../catalog.json", "type": "application/json"},
                {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
                *(
                    {"rel": "item", "href": f"./{p.parent.name}/{p.name}", "type": "application/geo+json"}
                    for p in items
                ),
            ],
        },
    )
    _dump(
        root,
        {
            "type": "Catalog",
            "id": "sarcube-simulated",
            "stac_version": "1.0.0",
            "description": description,
            "links": [
                {"rel": "root", "href": "./catalog.json", "type": "application/json"},
                {"rel": "child", "href": f"./{COLLECTION}/collection.json", "type": "application/json"},
            ],
        },
    )
    return root


def write_raster(path: Path, values: Field, geobox: GeoBox, *, nodata: float, **tags: str) -> None:
    """Write one band as a Cloud Optimized GeoTIFF, deflated, tiles of 512, with overviews."""
    # Through memory: a short write to a full disk is then Python's error, which GDAL may only log.
    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            width=geobox.shape[1],
            height=geobox.shape[0],
            count=1,
            dtype="float32",
            crs=str(geobox.crs),
            transform=geobox.affine,
            nodata=nodata,
            compress="deflate",
            level=1,
            predictor="FLOATING_POINT",
            blocksize=512,
            num_threads=2,
            overview_resampling="average",
        ) as target:
            target.write(values, 1)
            target.update_tags(SIMULATED="yes, by sarcube; not a measurement", **tags)
        path.write_bytes(memory.getbuffer())


def _write_item(folder: Path, acquisition: Acquisition, scene: _Scene) -> Path:
    pols = [p for p in ("vv", "vh") if p in scene.bands]
    # Absolute orbit of Sentinel-1A: relative = (absolute - 73) mod 175 + 1.
    absolute = 72 + acquisition.relative_orbit + 175 * acquisition.cycle
    datatake = absolute * 5
    mode = "1SDV" if len(pols) == 2 else "1SSV"
    product = f"S1A_IW_GRDH_{mode}_{scene.start:%Y%m%dT%H%M%S}_{scene.end:%Y%m%dT%H%M%S}_{absolute:06d}_{datatake:06X}"
    name = f"{product}_{scene.unique}_rtc"
    home = folder / COLLECTION / name
    home.mkdir(parents=True, exist_ok=True)
    for pol in pols:
        write_raster(home / f"iw-{pol}.rtc.tiff", scene.bands[pol], scene.geobox, nodata=NODATA, POLARISATION=pol)
    footprint = shapely.geometry.box(*scene.geobox.boundingbox.bbox)
    geometry = transform_geom(str(scene.geobox.crs), "EPSG:4326", footprint.__geo_interface__)
    affine = scene.geobox.affine
    middle = scene.start + (scene.end - scene.start) / 2
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": COLLECTION,
        "bbox": list(shapely.geometry.shape(geometry).bounds),
        "geometry": geometry,
        "stac_extensions": [
            "https://stac-extensions.github.io/sar/v1.0.0/schema.json",
            "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "properties": {
            "datetime": f"{middle:%Y-%m-%dT%H:%M:%S.%f}Z",
            "start_datetime": f"{scene.start:%Y-%m-%dT%H:%M:%S.%f}Z",
            "end_datetime": f"{scene.end:%Y-%m-%dT%H:%M:%S.%f}Z",
            "sarcube:simulated": True,
            "platform": "SENTINEL-1A",
            "constellation": "Sentinel-1",
            "proj:epsg": int(str(scene.geobox.crs).removeprefix("EPSG:")),
            "proj:bbox": list(scene.geobox.boundingbox.bbox),
            "proj:shape": list(scene.geobox.shape),
            "proj:transform": [*affine[:6], 0.0, 0.0, 1.0],
            "sat:orbit_state": acquisition.orbit_state,
            "sat:relative_orbit": acquisition.relative_orbit,
            "sat:absolute_orbit": absolute,
            "s1:datatake_id": str(datatake),
            "sar:instrument_mode": "IW",
            "sar:frequency_band": "C",
            "sar:center_frequency": 5.405,
            "sar:product_type": "GRD",
            "sar:polarizations": [p.upper() for p in pols],
            "sar:observation_direction": "right",
            "sar:looks_equivalent_number": 4.4,
            "sar:pixel_spacing_range": 10,
            "sar:pixel_spacing_azimuth": 10,
            "sar:resolution_range": 20,
            "sar:resolution_azimuth": 22,
        },
        "assets": {
            pol: {
                "href": f"./iw-{pol}.rtc.tiff",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "title": f"{pol.upper()}: simulated gamma naught, linear power",
                "raster:bands": [{"nodata": NODATA, "data_type": "float32", "spatial_resolution": 10.0}],
            }
            for pol in pols
        },
        "links": [
            {"rel": "root", "href": "../../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../collection.json", "type": "application/json"},
            {"rel": "collection", "href": "../collection.json", "type": "application/json"},
        ],
    }
    path = home / f"{name}.json"
    _dump(path, item)
    return path


def _two_slices(scene: _Scene) -> list[_Scene]:
    """Cut a pass across its flight, 30 rows of overlap."""
    rows = scene.geobox.shape[0]
    cut = rows // 2
    middle = scene.start + timedelta(seconds=25)
    upper, lower = slice(0, cut + 15), slice(cut - 15, rows)
    return [
        replace(
            scene,
            start=start,
            end=start + timedelta(seconds=25),
            bands={pol: values[part] for pol, values in scene.bands.items()},
            geobox=scene.geobox[part, :],
        )
        for start, part in ((scene.start, upper), (middle, lower))
    ]


def _add_fringe(bands: dict[str, Field], seed: int, acquisition: Acquisition) -> None:
    """Border noise, in place: 1 to 8 pixels along an oblique edge of nodata hold noise 20 to 30 dB below the ground.

    GRD products before March 2018 have it: Ali et al. 2018, IEEE JSTARS 11, 777. Width and strength are [M].
    """
    rng = stream(seed, "fringe", acquisition.track, acquisition.day)  # of its own: other flaws draw what they drew
    shape = next(iter(bands.values())).shape
    rows, columns = np.indices(shape)
    inward = 0.93 * shape[1] - columns - 0.15 * rows  # pixels from the edge, which is on the other side than nodata's
    ragged = 1 + 7 * rng.random((shape[0], 1), dtype=np.float32)
    fringe = (inward > 0) & (inward <= ragged)
    for values in bands.values():
        ground = np.median(values[values > 0])
        noise = ground * 10 ** (-rng.uniform(2, 3, shape)) * rng.gamma(4.4, 1 / 4.4, shape)
        values[fringe] = noise[fringe]
        values[inward <= 0] = NODATA


def _displace(values: Field, rows: int, columns: int) -> Field:
    moved = np.full_like(values, NODATA)
    moved[rows:, columns:] = values[:-rows, :-columns]
    return moved


def _neighbouring_zone(bands: dict[str, Field], geobox: GeoBox) -> tuple[dict[str, Field], GeoBox]:
    """The same ground on the 10 m grid of the next UTM zone, nearest pixels."""
    epsg = int(str(geobox.crs).removeprefix("EPSG:"))
    zone = epsg % 100
    other = epsg + 1 if zone < 60 else epsg - 59
    target = GeoBox.from_bbox(
        geobox.extent.to_crs(f"EPSG:{other}").boundingbox, f"EPSG:{other}", resolution=geobox.resolution.x
    )
    columns, rows = np.meshgrid(np.arange(float(target.shape[1])), np.arange(float(target.shape[0])))
    x, y = pixel_centres(target, rows, columns)
    x, y = pyproj.Transformer.from_crs(other, epsg, always_xy=True).transform(x, y)
    corner, pixel = geobox.affine, float(geobox.resolution.x)
    column, row = (x - corner.c) / pixel, (corner.f - y) / pixel
    inside = (column >= 0) & (row >= 0) & (column < geobox.shape[1]) & (row < geobox.shape[0])
    moved = {}
    for pol, values in bands.items():
        moved[pol] = np.full(target.shape, NODATA, np.float32)
        moved[pol][inside] = values[row[inside].astype(int), column[inside].astype(int)]
    return moved, target


def _dump(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1))
