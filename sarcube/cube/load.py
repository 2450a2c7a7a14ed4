"""From items to a lazy cube: one grid, one time step per pass, one read per step, polarisation and block."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import pystac
import rioxarray  # noqa: F401  registers cube.rio
import xarray as xr
from dask.array.core import normalize_chunks
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.acquisition.headers import open_geotiff, read_grid
from sarcube.acquisition.hrefs import resolve_href
from sarcube.acquisition.scenes import Grid, Raster, Scene, drop_duplicates, group_passes, pass_time, read_scene
from sarcube.cube.grid import Bounds, bounds_in_degrees, choose_geobox, grid_of, outline_bounds
from sarcube.cube.read import Block, Floats, Source, mosaic
from sarcube.errors import AreaError, BandError, InputError, NoSceneError

logger = logging.getLogger(__name__)

BANDS = ("vv", "vh")
_BLOCK = 1024  # pixels along a side: 4 MiB of float32, four tiles of a usual COG

_Pass = tuple[Scene, ...]
_Sources = dict[str, tuple[Source, ...]]


def load(
    items: Iterable[pystac.Item],
    *,
    bbox: Bounds | None = None,
    geobox: GeoBox | None = None,
    resolution: float = 10,
    crs: str | int | None = None,
    chunks: Mapping[str, int] | None = None,
) -> xr.Dataset:
    """Open items as one lazy cube of gamma0 in linear power.

    A pixel is valid where it is finite, > 0 and not nodata; this is decided on the file's own pixels. Files on the
    cube's grid are copied; others give each pixel the value of the file's pixel that holds its centre (nearest). The
    slices of one pass become one time step, the first valid value in the order of their ids; of an acquisition that
    was processed twice the newest is taken. Tracks are never mixed in a time step.

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        What `search` or `items_from_folder` returned.
    bbox : (west, south, east, north), optional
        Area in degrees. Default: all that the items cover.
    geobox : odc.geo.geobox.GeoBox, optional
        The exact grid, north-up in a projected CRS, instead of `bbox`, `resolution` and `crs`.
    resolution : float
        Size of a pixel in metres.
    crs : str or int, optional
        Projected CRS. Default: the UTM zone that most items use.
    chunks : mapping of str to int, optional
        Pixels along `y` and `x` and steps along `time` of a chunk, -1 for all. Default: 1024, 1024 and 1. It changes
        no value.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), float32 `vv` and `vh`, NaN where not valid. A polarisation that no item has is absent; on
        a date without it, it is NaN and `attrs["missing_polarisations"]` says so. Coordinates along time:
        `scene_track`, `orbit_state`, `relative_orbit`, `platform`, `item_ids` (joined by commas). Nothing is read
        before it is computed; a file that cannot be read raises `ReadError` then.

    Raises
    ------
    NoSceneError
        If there are no items.
    BandError
        If no item has VV or VH.
    AreaError
        If no item covers any of the area.
    InputError
        If an argument or an item cannot be used.
    ReadError
        If an item says nothing of its grid and its file's header cannot be read.
    """
    if geobox is not None and (bbox is not None or crs is not None):
        raise InputError("give geobox= alone, or bbox=, resolution= and crs=")
    scenes, left_out = _with_bands([read_scene(item) for item in items])
    kept, dropped = drop_duplicates(scenes)
    for old, new in dropped:
        known = old.processed is not None and new.processed is not None
        kind = "a newer processing" if known else "another processing, by its id the later one,"
        logger.warning('dropped item "%s": "%s" is %s of the same acquisition', old.id, new.id, kind)

    steps = [(group, _sources(group)) for group in group_passes(kept)]
    grids = [source.grid for _, sources in steps for slices in sources.values() for source in slices]
    if geobox is None:
        geobox = choose_geobox(grids, bbox=bbox, resolution=resolution, crs=crs)
    target = grid_of(geobox)
    everything = steps
    steps = [(group, covering) for group, sources in steps if (covering := _covering(sources, target))]
    if not steps:
        raise AreaError(
            f"no item covers any of the area: it is {bounds_in_degrees([target])} (west, south, east, north in "
            f"degrees), the items cover {bounds_in_degrees(grids)}"
        )
    if len(steps) < len(everything):
        logger.info("%d of %d passes lie beside the area", len(everything) - len(steps), len(everything))
    bands = [band for band in BANDS if any(band in sources for _, sources in steps)]
    sizes = dict(chunks or {})
    if unknown := set(sizes) - {"time", "y", "x"}:
        raise InputError(f"chunks must be sizes along time, y and x; {', '.join(sorted(unknown))} is none of them")

    variables = {
        band: (
            ("time", "y", "x"),
            _lazy(band, [sources.get(band, ()) for _, sources in steps], target, sizes),
            _attrs(band),
        )
        for band in bands
    }
    groups = [_contributing(group, sources) for group, sources in steps]
    cube = xr.Dataset(variables, coords=_coordinates(groups, geobox))
    cube.attrs = _record(groups, bands, dropped, left_out)
    if any(item.properties.get("sarcube:simulated") for item in items):
        cube.attrs["simulated"] = True  # shown wherever the data are
    return cube


def _with_bands(scenes: Sequence[Scene]) -> tuple[list[Scene], list[Scene]]:
    if not scenes:
        raise NoSceneError("there are no items to load; search found none, or the collection is empty")
    usable = [scene for scene in scenes if any(band in scene.rasters for band in BANDS)]
    left_out = [scene for scene in scenes if scene not in usable]
    if not usable:
        found = sorted({name for scene in scenes for name in scene.rasters})
        raise BandError(f"no item has VV or VH; the items have {', '.join(found).upper() or 'no polarisation at all'}")
    for scene in left_out:
        logger.warning('left out item "%s": it has neither VV nor VH', scene.id)
    return usable, left_out


def _sources(group: _Pass) -> _Sources:
    sources: _Sources = {}
    for band in BANDS:
        slices = tuple(_source(scene.id, scene.rasters[band]) for scene in group if band in scene.rasters)
        if slices:
            sources[band] = slices
    return sources


def _source(item: str, raster: Raster) -> Source:
    owner = f'item "{item}"'
    href = resolve_href(raster.href, owner=owner)
    if raster.grid is not None:
        return Source(item, href, raster.grid)
    with open_geotiff(href, owner=owner) as dataset:
        return Source(item, href, read_grid(dataset, owner=owner))


def _covering(sources: _Sources, target: Grid) -> _Sources:
    """Keep the files that can hold a pixel of the target."""
    covering = {
        band: tuple(source for source in slices if _overlaps(source.grid, target)) for band, slices in sources.items()
    }
    return {band: slices for band, slices in covering.items() if slices}


def _overlaps(grid: Grid, target: Grid) -> bool:
    left, bottom, right, top = outline_bounds(grid, grid.crs)
    west, south, east, north = outline_bounds(target, grid.crs)
    return left < east and west < right and bottom < north and south < top


def _contributing(group: _Pass, sources: _Sources) -> _Pass:
    names = {source.item for slices in sources.values() for source in slices}
    return tuple(scene for scene in group if scene.id in names)


def _record(
    groups: Sequence[_Pass], bands: Sequence[str], dropped: Sequence[tuple[Scene, Scene]], left_out: Sequence[Scene]
) -> dict[str, Any]:
    """Return what the cube says of where it comes from, and of what it does not hold."""
    return {
        "Conventions": "CF-1.11",
        "title": "Sentinel-1 gamma0, radiometrically terrain corrected",
        "items": [scene.id for group in groups for scene in group],
        "duplicates_dropped": [f"{old.id} (kept: {new.id})" for old, new in dropped],
        "items_without_vv_and_vh": [scene.id for scene in left_out],
        "missing_polarisations": [
            f"{pass_time(group):%Y-%m-%dT%H:%M:%S}Z {group[0].track}: {band}"
            for group in groups
            for band in bands
            if any(band not in scene.rasters for scene in group)
        ],
    }


def _lazy(band: str, steps: Sequence[tuple[Source, ...]], target: Grid, sizes: Mapping[str, int]) -> da.Array:
    """Make the lazy (time, y, x) array of a band: one task per step and block, whatever the chunk along time."""
    shape = (len(steps), *target.shape)
    blocks = normalize_chunks((1, sizes.get("y", _BLOCK), sizes.get("x", _BLOCK)), shape=shape, dtype=np.float32)
    array: da.Array = da.map_blocks(
        _read_step,
        steps=tuple(steps),
        target=target,
        chunks=blocks,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
        token=f"read-{band}",
    )
    along_time = sizes.get("time", 1)
    return array if along_time == 1 else array.rechunk({0: along_time})


def _read_step(
    *, steps: Sequence[tuple[Source, ...]], target: Grid, block_info: Mapping[Any, Any] | None = None
) -> Floats:
    assert block_info is not None
    (step, _), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    return mosaic(steps[step], target, Block(y0, y1, x0, x1))[np.newaxis]


def _attrs(band: str) -> dict[str, str]:
    return {
        "units": "1",
        "long_name": f"gamma0 backscatter, {band.upper()}, linear power, terrain-flattened",
        "polarization": band.upper(),
        "grid_mapping": "spatial_ref",
    }


def _coordinates(groups: Sequence[_Pass], geobox: GeoBox) -> dict[str, Any]:
    space: dict[Any, xr.DataArray] = dict(xr_coords(geobox))
    for name, direction in (("x", "easting"), ("y", "northing")):
        space[name].attrs |= {"long_name": direction, "standard_name": f"projection_{name}_coordinate"}
    times = [np.datetime64(pass_time(group).replace(tzinfo=None), "ns") for group in groups]
    firsts = [group[0] for group in groups]
    orbits = np.array([scene.relative_orbit for scene in firsts], np.int16)
    return {
        **space,
        "time": ("time", np.array(times, "M8[ns]"), {"standard_name": "time", "long_name": "time of the pass, UTC"}),
        "scene_track": _texts([scene.track for scene in firsts], "track: pass direction and relative orbit"),
        "orbit_state": _texts([scene.orbit_state for scene in firsts], "pass direction"),
        "relative_orbit": ("time", orbits, {"units": "1", "long_name": "relative orbit number"}),
        "platform": _texts([scene.platform for scene in firsts], "satellite"),
        "item_ids": _texts([",".join(scene.id for scene in group) for group in groups], "items, joined by commas"),
    }


def _texts(values: Sequence[str], long_name: str) -> tuple[str, Any, dict[str, str]]:
    return "time", np.array(values, dtype=object), {"long_name": long_name}
