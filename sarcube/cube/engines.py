"""Other readers behind the same call: odc-stac and stackstac, to compare the native one with.

Each block of each file is one eager call of the engine, so that an error names its file, any chunks will do, and what
is valid and which slice of a pass comes first is decided here, the same for both. They are references: no border
fringe is eroded, and where they resample they mask afterwards.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any

import dask.array as da
import numpy as np
import odc.stac
import pystac
import rasterio
import stackstac
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.windows import Window

from sarcube.acquisition.files.headers import open_geotiff, read_grid, read_window
from sarcube.acquisition.files.ranges import show_url
from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.acquisition.scenes import Grid, read_scene
from sarcube.cube.grid import grid_of, outline_bounds
from sarcube.cube.holes import Floats, Hole, hole_value
from sarcube.cube.reading.native import Source, check_header
from sarcube.cube.reading.place import Block, covered
from sarcube.cube.reading.validity import blank, fill_holes, mark_holes
from sarcube.errors import InputError, ReadError

_GDAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}  # as in the native reader
_TIE = 1e-6  # of a pixel: what decides a tie and is no distance
_ROOM = 16  # pixels around what a block needs of a file: GDAL takes a wider kernel where a file ends
_BAND = "band"
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # both engines want one, neither result depends on it


@dataclass(frozen=True)
class _File:
    """A file of an item, and where the item says that its pixels lie; None if it says nothing."""

    item: str
    href: str
    grid: Grid | None


def read_with_engine(
    engine: str,
    steps: Sequence[Sequence[pystac.Item]],
    *,
    bands: Sequence[str],
    geobox: GeoBox,
    blocks: tuple[tuple[int, ...], tuple[int, ...]],
    resampling: str,
) -> dict[str, da.Array]:
    """Make the lazy arrays of a cube that another engine reads.

    Only finite values > 0 are kept; of the slices of a pass the first such value in the order given. A file is first
    opened as the native engine opens it, so that a missing or stale one is the same error.

    With nearest, and where the grids are parallel, the values are those of the native engine. Across projections GDAL
    approximates the transformation to an eighth of a pixel, so that a few pixels get their neighbour's value.
    With bilinear and average these engines mask after resampling, so that a zero darkens its neighbours; GDAL widens
    the kernel where a file ends; and odc-stac moves a file by up to a twentieth of a pixel instead of resampling it.

    Parameters
    ----------
    engine : str
        "odc" (odc.stac.load) or "stackstac".
    steps : sequence of sequences of pystac.Item
        The passes, and of each its slices.
    bands : sequence of str
        Polarisations, such as "vv".
    geobox : odc.geo.geobox.GeoBox
        North-up, in a projected CRS.
    blocks : (tuple of int, tuple of int)
        Chunk sizes along y and x.
    resampling : str
        "nearest", "bilinear" or "average".

    Returns
    -------
    dict of str to dask.array.Array
        Per band (time, y, x) float32, linear power, a step a chunk; NaN where not valid or not in an item.

    Raises
    ------
    InputError
        If the engine or resampling is none of these, the geobox cannot be used, or an item has an address that is not
        opened.
    ReadError
        On computing, if a file cannot be read or is not where its item says.
    """
    if engine not in _ENGINES:
        raise InputError(f'engine must be one of {", ".join(_ENGINES)} here, not "{engine}"')
    if resampling not in _RESAMPLING:
        raise InputError(f'resampling must be one of {", ".join(_RESAMPLING)}, not "{resampling}"')
    target = grid_of(geobox)
    if engine == "stackstac" and not target.crs.startswith("EPSG:"):
        raise InputError("stackstac needs a CRS with an EPSG code; the geobox has none: use another engine")
    chunks = ((1,) * len(steps), *blocks)
    return {
        band: da.map_blocks(
            _read_step,
            engine=engine,
            steps=tuple(_files(step, band) for step in steps),
            target=target,
            resampling=resampling,
            chunks=chunks,
            dtype=np.float32,
            meta=np.empty((0, 0, 0), np.float32),
            token=f"read-{engine}-{band}",
        )
        for band in bands
    }


def _files(step: Sequence[pystac.Item], band: str) -> tuple[_File, ...]:
    scenes = [scene for scene in map(read_scene, step) if band in scene.rasters]
    return tuple(
        _File(scene.id, resolve_href(raster.href, owner=f'item "{scene.id}"'), raster.grid)
        for scene in scenes
        for raster in (scene.rasters[band],)
    )


def _read_step(
    *,
    engine: str,
    steps: Sequence[tuple[_File, ...]],
    target: Grid,
    resampling: str,
    block_info: Mapping[Any, Any] | None = None,
) -> Floats:
    assert block_info is not None
    (step, _), (y0, y1), (x0, x1) = block_info[None]["array-location"]
    block = Block(y0, y1, x0, x1)
    if not steps[step]:
        return blank(block.shape, Hole.NOT_MEASURED)[np.newaxis]
    first, *others = steps[step]
    values = _read_file(engine, first, target, block, resampling)
    for file in others:
        fill_holes(values, _read_file(engine, file, target, block, resampling))
    return values[np.newaxis]


def _read_file(engine: str, file: _File, target: Grid, block: Block, resampling: str) -> Floats:
    """Read what one file holds of a block, (y, x) float32: holes say why, as far as the engine lets it be known."""
    owner = f'item "{file.item}"'
    shown = show_url(file.href) if is_url(file.href) else file.href
    box = GeoBox(block.shape, Affine(*target.transform) * Affine.translation(block.x0, block.y0), target.crs)
    with _opened(file, owner, box) as (path, grid):
        try:
            with rasterio.Env(**_GDAL):
                values = _ENGINES[engine](path, grid, box, resampling)
        except (RasterioError, RuntimeError, OSError) as error:  # stackstac's own are RuntimeError
            raise ReadError(f"{engine} cannot read {shown} of {owner}: {error.__cause__ or error}") from error
        if values.shape != block.shape:
            raise ReadError(f"{engine} read {values.shape} pixels of {shown} of {owner}, expected {block.shape}")
    values = mark_holes(np.ascontiguousarray(values), nodata=None)
    values[np.isnan(values) & ~covered(grid, target, block)] = hole_value(Hole.OUTSIDE)
    return values


@contextmanager
def _opened(file: _File, owner: str, box: GeoBox) -> Iterator[tuple[str, Grid]]:
    """Check a file and give the path that an engine is to open, and the grid of what is there.

    What lies on a web server the engine gets as a file in memory that holds the part it needs: our own reader notices
    what GDAL's client may take for zeros.
    """
    with open_geotiff(file.href, owner=owner) as dataset:
        grid = read_grid(dataset, owner=owner)
        check_header(dataset, Source(file.item, file.href, file.grid or grid))
        if not is_url(file.href):
            yield file.href, grid
            return
        window = _window(grid, grid_of(box))
        values = read_window(dataset, window)
        nodata = dataset.nodata
    origin = Affine(*grid.transform) * Affine.translation(window.col_off, window.row_off)
    profile = {"height": window.height, "width": window.width, "count": 1, "dtype": values.dtype, "nodata": nodata}
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", crs=grid.crs, transform=origin, **profile) as part:
            part.write(values, 1)
        yield memory.name, Grid(grid.crs, tuple(origin[:6]), values.shape)


def _window(source: Grid, target: Grid) -> Window:
    """Return the pixels of a file that a block can need, with room for any kernel; one pixel where it needs none."""
    bounds = outline_bounds(target, source.crs)
    rows, columns = source.shape
    if not all(map(math.isfinite, bounds)):
        return Window(0, 0, columns, rows)
    inverse = ~Affine(*source.transform)
    corners = [inverse * corner for corner in product(bounds[::2], bounds[1::2])]
    across, down = zip(*corners, strict=True)
    spans = []
    for places, size, pixels in ((across, columns, target.shape[1]), (down, rows, target.shape[0])):
        room = _ROOM + 2 * (max(places) - min(places)) / pixels
        first = min(max(math.floor(min(places) - room), 0), size - 1)
        spans.append((first, min(max(math.ceil(max(places) + room), first + 1), size)))
    (x0, x1), (y0, y1) = spans
    return Window(x0, y0, x1 - x0, y1 - y0)


def _read_odc(path: str, grid: Grid, block: GeoBox, resampling: str) -> Floats:
    if resampling == "nearest":
        # Of two pixels equally near it rounds to the even one, so that the blocks would decide; we take the further
        # along each axis, and stackstac does.
        block = GeoBox(block.shape, block.affine * Affine.translation(_TIE, _TIE), block.crs)
    item = pystac.Item(
        id=_BAND,
        geometry=None,
        bbox=None,
        datetime=_ANY_TIME,
        properties={
            "proj:code" if grid.crs.startswith("EPSG:") else "proj:wkt2": grid.crs,
            "proj:transform": list(grid.transform),
            "proj:shape": list(grid.shape),
        },
        stac_extensions=["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
    )
    item.add_asset(_BAND, pystac.Asset(path, media_type="image/tiff", roles=["data"]))
    cube = odc.stac.load(
        [item],
        bands=[_BAND],
        geobox=block,
        resampling=resampling,
        dtype="float32",
        use_overviews=False,  # they are averages, whatever the resampling
        fail_on_error=True,
    )
    values: Floats = cube[_BAND].to_numpy()[0]
    return values


def _read_stackstac(path: str, grid: Grid, block: GeoBox, resampling: str) -> Floats:
    # A plain dict: from a pystac item it would look for proj:epsg, which pystac renames.
    epsg = int(grid.crs.removeprefix("EPSG:")) if grid.crs.startswith("EPSG:") else None
    item = {
        "id": _BAND,
        "bbox": list(outline_bounds(grid, "EPSG:4326")),
        "properties": {
            "datetime": _ANY_TIME.isoformat(),
            "proj:epsg": epsg,
            "proj:transform": list(grid.transform),
            "proj:shape": list(grid.shape),
        },
        "assets": {_BAND: {"href": path}},
    }
    assert block.crs is not None
    stack = stackstac.stack(
        [item],
        assets=[_BAND],
        epsg=block.crs.to_epsg(),
        bounds=tuple(block.boundingbox),
        resolution=(block.affine.a, -block.affine.e),
        snap_bounds=False,
        resampling=_RESAMPLING[resampling],
        chunksize=max(block.shape),
        dtype=np.dtype(np.float32),
        fill_value=np.float32("nan"),
        rescale=False,
        xy_coords="center",
        properties=False,
        band_coords=False,
        errors_as_nodata=(),  # its default makes a missing file NaN
    )
    if stack.sizes["time"] == 0:  # it leaves out what lies beside the bounds
        return np.full(block.shape, np.nan, np.float32)
    values: Floats = stack.data.compute(scheduler="synchronous")[0, 0]
    return values


_RESAMPLING = {name: Resampling[name] for name in ("nearest", "bilinear", "average")}
_ENGINES: dict[str, Callable[[str, Grid, GeoBox, str], Floats]] = {"odc": _read_odc, "stackstac": _read_stackstac}
