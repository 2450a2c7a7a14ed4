"""Inventories on a grid: which pixels are landslide, and which share of each pixel is.

Polygons are burnt tile by tile, each tile with the polygons that reach into it, so that an inventory of a whole region
needs little memory. The tiles lie fixed on the grid and chunks are cut out of them, so that no chunking can change a
pixel, not even one whose centre lies on an edge, where rounding decides.
"""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate, pairwise, product
from threading import Lock
from typing import TypeAlias

import dask.array as da
import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc on xarray objects)
import shapely
import xarray as xr
from affine import Affine
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.cube.geometry.ground import chunks_of
from sarcube.errors import InputError
from sarcube.gaps import window_sums
from sarcube.labels.coverage import pixel_coverage
from sarcube.labels.inventory import polygonal, require_polygons, valid_polygons
from sarcube.windows import window_origins

Grid: TypeAlias = GeoBox | xr.DataArray | xr.Dataset
Shapes: TypeAlias = NDArray[np.object_]
Label: TypeAlias = NDArray[np.uint8]

_TILE = 512  # pixels along a side
# While it burns or outlines pixels, rasterio silences a warning of its own, which two threads undo for each other.
ONE_THREAD = Lock()
_ATTRS = {
    "units": "1",
    "long_name": "landslide, where a pixel's centre lies in a mapped one",
    "flag_values": [0, 1],
    "flag_meanings": "no_landslide landslide",
}


def rasterise_inventory(inventory: gpd.GeoDataFrame, like: Grid) -> Label:
    """Burn the landslides onto a grid: a pixel is landslide if its centre lies inside a polygon.

    The share of landslide pixels thus equals the share of landslide area on average, at any pixel size; a landslide
    smaller than a pixel may be missed.

    Parameters
    ----------
    inventory : GeoDataFrame
        Polygons in any CRS; they are reprojected to the grid's.
    like : GeoBox, DataArray or Dataset
        The grid, or data on it.

    Returns
    -------
    (y, x) uint8 array
        1 landslide, 0 not.

    Raises
    ------
    InputError
        If the inventory has no CRS or other shapes than polygons, or `like` no georeferenced grid.
    """
    grid = grid_of(like)
    rows, columns = grid.shape
    return _burn(in_pixels(inventory, grid), (0, int(rows)), (0, int(columns)))


def lazy_label(inventory: gpd.GeoDataFrame, like: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Label the pixels of a stack or cube as `rasterise_inventory` does, block by block when they are asked for.

    Parameters
    ----------
    inventory : GeoDataFrame
        Polygons in any CRS; they are reprojected to the grid's, here.
    like : DataArray or Dataset
        Data on a georeferenced grid with the dimensions y and x.

    Returns
    -------
    (y, x) DataArray
        uint8, 1 landslide, 0 not; named "landslide", with CF attributes. Dask-backed, in the chunks of `like` (1024
        pixels along a side where that has none).

    Raises
    ------
    InputError
        As `rasterise_inventory` does.
    """
    shapes = in_pixels(inventory, grid_of(like))
    cube = like.to_dataset(name="stack") if isinstance(like, xr.DataArray) else like
    chunks = chunks_of(cube)
    rows, columns = (list(pairwise(accumulate(sizes, initial=0))) for sizes in chunks)
    blocks = list(product(enumerate(rows), enumerate(columns)))
    outlines = shapely.box(*np.array([(x0, y0, x1, y1) for (_, (y0, y1)), (_, (x0, x1)) in blocks], float).T)
    block, shape = shapely.STRtree(shapes).query(outlines)
    order = np.argsort(block, kind="stable")
    here = np.split(shape[order], np.searchsorted(block[order], np.arange(1, len(blocks))))
    name = f"landslide-{tokenize(shapely.to_wkb(shapes).tolist(), chunks)}"
    tasks = {
        (name, i, j): (partial(_burn, shapes[chosen], y, x),)
        for ((i, y), (j, x)), chosen in zip(blocks, here, strict=True)
    }
    data = da.Array(tasks, name, chunks, dtype=np.uint8, meta=np.empty((0, 0), np.uint8))
    coords = {key: like.coords[key] for key in ("y", "x", "spatial_ref") if key in like.coords}
    mapping = {"grid_mapping": "spatial_ref"} if "spatial_ref" in coords else {}
    return xr.DataArray(data, dims=("y", "x"), coords=coords, name="landslide", attrs={**_ATTRS, **mapping})


def rasterise_fraction(inventory: gpd.GeoDataFrame, like: Grid) -> NDArray[np.float32]:
    """Measure which share of each pixel's area is landslide.

    Parameters
    ----------
    inventory : GeoDataFrame
        Polygons in any CRS; they are reprojected to the grid's. Ground in several of them counts once.
    like : GeoBox, DataArray or Dataset
        The grid, or data on it.

    Returns
    -------
    (y, x) float32 array
        0 to 1, exact but for rounding, on the plane of the grid's CRS: their sum times the area of a pixel is the area
        of the union of the polygons, as far as they lie on the grid.

    Raises
    ------
    InputError
        As `rasterise_inventory` does.
    """
    grid = grid_of(like)
    rows, columns = (int(size) for size in grid.shape)
    shapes = valid_polygons(in_pixels(inventory, grid))
    tree = shapely.STRtree(shapes)
    share = np.zeros((rows, columns), np.float32)
    for y0, x0 in _tiles((0, rows), (0, columns)):
        y1, x1 = min(y0 + _TILE, rows), min(x0 + _TILE, columns)
        outline = shapely.box(x0, y0, x1, y1)
        here = shapes[tree.query(outline)]
        if len(here):
            parts = polygonal(shapely.union_all(shapely.intersection(here, outline)))
            share[y0:y1, x0:x1] = pixel_coverage(parts, (y0, x0), (y1 - y0, x1 - x0))
    return share


def landslide_fraction(label: Label, *, size: int = 64, stride: int = 32) -> NDArray[np.float64]:
    """Share of landslide pixels in every window of the detector's grid.

    Parameters
    ----------
    label : (y, x) uint8 array
        What `rasterise_inventory` returned.
    size, stride : int
        Window and step in pixels; the last row and column are clamped as in `window_origins`.

    Returns
    -------
    (window_y, window_x) float64 array
        0 to 1; the counts behind it are exact.
    """
    rows, columns = (np.array(window_origins(length, size, stride)) for length in label.shape)
    return window_sums(label, rows, columns, size) / size**2


def grid_of(like: Grid) -> GeoBox:
    """Return the georeferenced grid of data, or the grid itself.

    Raises
    ------
    InputError
        If there is none.
    """
    grid = like if isinstance(like, GeoBox) else like.odc.geobox
    if not isinstance(grid, GeoBox) or grid.crs is None:
        raise InputError(
            "the data lie on no georeferenced grid; they need evenly spaced x and y coordinates and a CRS "
            '(stack.rio.write_crs("EPSG:32647"))'
        )
    return grid


def in_pixels(inventory: gpd.GeoDataFrame, grid: GeoBox) -> Shapes:
    """Bring polygons onto a grid: in pixels from its first corner, x across and y down, each part by itself.

    Raises
    ------
    InputError
        If the inventory has no CRS, or other shapes than polygons.
    """
    require_polygons(inventory)
    # Parts and not rows, of which one may hold all landslides of a region: each tile is burnt with those near it.
    shapes = shapely.get_parts(on_turn_of_grid(inventory.geometry.to_crs(grid.crs).to_numpy(), grid))
    shapes = shapes[~shapely.is_empty(shapes)]
    shapes = shapes[np.isfinite(shapely.bounds(shapes).reshape(-1, 4)).all(axis=1)]  # the CRS does not reach there
    a, b, c, d, e, f = grid.affine[:6]

    def to_pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
        # A division, and the origin taken off first: whole metres on a grid of whole metres stay exact.
        x, y = points[:, 0] - c, points[:, 1] - f
        return np.column_stack([(e * x - b * y) / (a * e - b * d), (a * y - d * x) / (a * e - b * d)])

    on_grid: Shapes = shapely.transform(shapes, to_pixels)
    return on_grid


def _burn(shapes: Shapes, rows: tuple[int, int], columns: tuple[int, int]) -> Label:
    """Burn polygons in pixels onto a window of the grid: first row and end of rows, and likewise columns."""
    (y0, y1), (x0, x1) = rows, columns
    burnt = np.zeros((y1 - y0, x1 - x0), np.uint8)
    tree = shapely.STRtree(shapes)
    for top, left in _tiles(rows, columns):
        here = shapes[tree.query(shapely.box(left, top, left + _TILE, top + _TILE))]
        if not len(here):
            continue
        with ONE_THREAD:
            tile = rasterize(here, out_shape=(_TILE, _TILE), transform=Affine.translation(left, top), dtype="uint8")
        r0, r1, c0, c1 = max(top, y0), min(top + _TILE, y1), max(left, x0), min(left + _TILE, x1)
        burnt[r0 - y0 : r1 - y0, c0 - x0 : c1 - x0] = tile[r0 - top : r1 - top, c0 - left : c1 - left]
    return burnt


def _tiles(rows: tuple[int, int], columns: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """First row and column of the tiles that a window lies in."""
    tops, lefts = (range(first // _TILE * _TILE, end, _TILE) for first, end in (rows, columns))
    return product(tops, lefts)
