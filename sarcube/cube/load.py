"""From items to a lazy cube: one grid, one time step per pass, one read per step, polarisation and block."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pystac
import rioxarray  # noqa: F401  registers cube.rio
import xarray as xr
from dask.array.core import normalize_chunks
from odc.geo.geobox import GeoBox

from sarcube.acquisition.files.headers import open_geotiff, read_grid
from sarcube.acquisition.hrefs import resolve_href
from sarcube.acquisition.scenes import Grid, Raster, Scene, drop_duplicates, group_passes, read_scene
from sarcube.cube.describe import band_attributes, coordinates, record
from sarcube.cube.grid import Bounds, bounds_in_degrees, choose_geobox, geobox_like, grid_of, outline_bounds
from sarcube.cube.lazy import lazy_band, numbered
from sarcube.cube.reading.mosaic import Reading
from sarcube.cube.reading.native import Source
from sarcube.cube.reading.resample import METHODS
from sarcube.errors import AreaError, BandError, InputError, NoSceneError

logger = logging.getLogger(__name__)

BANDS = ("vv", "vh")
ENGINES = ("native", "odc", "stackstac")
_BORDER_FRINGE = 8  # native pixels: how far border noise reaches into a swath
_WIDEST_FRINGE = 1000  # each block is read with that much around it
_BLOCK = 1024  # pixels along a side: 4 MiB of float32, four tiles of a usual COG

_Pass = tuple[Scene, ...]
_Sources = dict[str, tuple[Source, ...]]


def load(
    items: Iterable[pystac.Item],
    *,
    bbox: Bounds | None = None,
    geobox: GeoBox | None = None,
    like: xr.Dataset | xr.DataArray | None = None,
    resolution: float = 10,
    crs: str | int | None = None,
    chunks: Mapping[str, int] | None = None,
    resampling: str = "nearest",
    engine: str = "native",
    border_fringe: int | None = None,
    on_error: str = "raise",
    drop: Iterable[str] = (),
) -> xr.Dataset:
    """Open items as one lazy cube of gamma0 in linear power.

    A pixel is valid where it is finite, > 0, not nodata and not in a border's fringe; this is decided on the file's own
    pixels. Files on the cube's grid are copied, others resampled. The slices of one pass become one time step, the
    first valid value in the order of their ids; of an acquisition that was processed twice the newest is taken. Tracks
    are never mixed in a time step. A pixel that is NaN says why (see `sarcube.cube.holes`).

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        What `search` or `items_from_folder` returned.
    bbox : (west, south, east, north), optional
        Area in degrees. Default: all that the items cover.
    geobox : odc.geo.geobox.GeoBox, optional
        The exact grid, north-up in a projected CRS, instead of `bbox`, `resolution` and `crs`.
    like : xarray.Dataset or xarray.DataArray, optional
        Something that lies on the exact grid, such as another cube, instead of `geobox`.
    resolution : float
        Size of a pixel in metres.
    crs : str or int, optional
        Projected CRS. Default: the UTM zone that most items use.
    chunks : mapping of str to int, optional
        Pixels along `y` and `x` and steps along `time` of a chunk, -1 for all. Default: 1024, 1024 and 1. It changes
        no value.
    resampling : {"nearest", "bilinear", "average"}
        How files that are not on the cube's grid come onto it, in power, after the holes are known. "nearest": the
        file's pixel that holds the centre. "bilinear": between the valid ones of the four pixels around the centre.
        "average": the mean over the pixel's area, where half of it or more is valid.
    engine : {"native", "odc", "stackstac"}
        What reads the files. The others are there to compare with: they erode no border fringe and skip no error.
    border_fringe : int, optional
        Pixels of a file to leave out along thick areas without data, where a swath's edge holds noise; see
        `sarcube.cube.reading.fringe`. Default: 8; with another engine than "native" it can only be 0.
    on_error : {"raise", "skip"}
        "skip": a file that cannot be read leaves holes where no other slice is valid, each saying why, and a warning.
        An item that says nothing of its grid and whose header cannot be read is an error all the same: nobody knows
        where its holes would be.
    drop : iterable of str
        Ids of items to leave out.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), float32 `vv` and `vh`, NaN where not valid. A polarisation that no item has is absent; on
        a date without it, it is NaN and `attrs["missing_polarisations"]` says so. Coordinates along time:
        `scene_track`, `orbit_state`, `relative_orbit`, `platform`, `item_ids` (joined by commas). Nothing is read
        before it is computed; a file that cannot be read raises `ReadError` then. The same items and arguments give
        the same names of Dask's tasks, in every process.

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
    if sum(grid is not None for grid in (geobox, like)) + (bbox is not None or crs is not None) > 1:
        raise InputError("give geobox= alone, or like= alone, or bbox=, resolution= and crs=")
    if like is not None:
        geobox = geobox_like(like)
    reading = _reading(engine, resampling, border_fringe, on_error)
    items, dropped_on_request = _without(list(items), drop)
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

    groups = [_contributing(group, sources) for group, sources in steps]
    shape = (len(steps), *target.shape)
    blocks = normalize_chunks((1, sizes.get("y", _BLOCK), sizes.get("x", _BLOCK)), shape=shape, dtype=np.float32)
    if engine == "native":
        arrays = {
            band: lazy_band(
                band,
                [numbered(s.get(band, ()), g) for (_, s), g in zip(steps, groups, strict=True)],
                target,
                blocks,
                reading,
            )
            for band in bands
        }
    else:
        from sarcube.cube.engines import read_with_engine  # slow to import, and seldom wanted

        by_id = {item.id: item for item in items}
        arrays = read_with_engine(
            engine,
            [[by_id[scene.id] for scene in group] for group in groups],
            bands=bands,
            geobox=geobox,
            blocks=blocks[1:],
            resampling=resampling,
        )
    if (along_time := sizes.get("time", 1)) != 1:
        arrays = {band: array.rechunk({0: along_time}) for band, array in arrays.items()}
    variables = {band: (("time", "y", "x"), arrays[band], band_attributes(band)) for band in bands}
    cube = xr.Dataset(variables, coords=coordinates(groups, geobox))
    cube.attrs = record(groups, bands, dropped, left_out)
    cube.attrs |= {
        "dropped_on_request": dropped_on_request,
        "engine": engine,
        "resampling": resampling,
        "border_fringe": reading.border_fringe,
        "on_error": on_error,
    }
    if any(item.properties.get("sarcube:simulated") for item in items):
        cube.attrs["simulated"] = True  # shown wherever the data are
    return cube


def _reading(engine: str, resampling: str, border_fringe: int | None, on_error: str) -> Reading:
    """Check how to read."""
    for name, value, choices in (
        ("engine", engine, ENGINES),
        ("resampling", resampling, tuple(METHODS)),
        ("on_error", on_error, ("raise", "skip")),
    ):
        if value not in choices:
            raise InputError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    if border_fringe is None:
        border_fringe = _BORDER_FRINGE if engine == "native" else 0
    is_number = isinstance(border_fringe, int | np.integer) and not isinstance(border_fringe, bool)
    if not is_number or not 0 <= border_fringe <= _WIDEST_FRINGE:
        raise InputError(f"border_fringe must be a number of pixels, 0 to {_WIDEST_FRINGE}, not {border_fringe!r}")
    if engine != "native" and border_fringe:
        raise InputError(f'engine "{engine}" erodes no border fringe: leave border_fringe out, or take "native"')
    if engine != "native" and on_error == "skip":
        raise InputError(f'engine "{engine}" cannot say which pixels it skipped: take "native", or on_error="raise"')
    return Reading(resampling, int(border_fringe), on_error)


def _without(items: list[pystac.Item], drop: Iterable[str]) -> tuple[list[pystac.Item], list[str]]:
    """Leave out the items that nobody wants; also return their ids, sorted."""
    unwanted = {drop} if isinstance(drop, str) else set(drop)
    known = {item.id for item in items}
    for name in sorted(map(str, unwanted - known)):
        near = ", ".join(get_close_matches(name, sorted(known), n=3)) or "no item has a name like it"
        raise InputError(f'drop= names "{name}", which is not among the {len(known)} items; near: {near}')
    kept = [item for item in items if item.id not in unwanted]
    if unwanted and not kept:
        raise NoSceneError(f"drop= leaves none of the {len(items)} items")
    return kept, sorted(unwanted)


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
