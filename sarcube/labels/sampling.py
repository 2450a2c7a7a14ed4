"""From a stack and an inventory to patches: which windows there are, and what each of them is called."""

import logging
from collections.abc import Iterator
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.errors import InputError
from sarcube.gaps import MAX_GAPS, count_gaps, window_sums
from sarcube.labels.inventory import covered_ground, require_polygons
from sarcube.labels.patches import COLUMNS, UNSEEN, Patches
from sarcube.labels.pixels import TILE, StackWindows
from sarcube.labels.rasterise import grid_of, lazy_label
from sarcube.windows import regular_origins

log = logging.getLogger(__name__)

Region: TypeAlias = gpd.GeoDataFrame | gpd.GeoSeries
Indices: TypeAlias = NDArray[np.int64]


def sample_patches(
    stack: xr.DataArray,
    inventory: gpd.GeoDataFrame,
    *,
    cleaned: gpd.GeoDataFrame | None = None,
    region: Region | None = None,
    size: int = 64,
    min_landslide_fraction: float = 0.05,
    stride: int | None = None,
) -> Patches:
    """Cut a stack into labelled windows on a regular grid, as Nava et al. 2026 (GMD 19, 167, section 3) do.

    Patches with more than one pixel that is not valid are discarded; a single one is filled by the rule of the
    detector (`sarcube.gaps`). Pixels beyond the last whole patch are in none.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        float32 dB on a georeferenced grid. A lazy one is computed here, tile by tile, to see where it is valid, and
        again when patches are read; it is never in memory as a whole.
    inventory : GeoDataFrame
        All landslides of the stack's area, in any CRS: what is outside its polygons counts as background.
    cleaned : GeoDataFrame, optional
        What the stack's track can see of them (`sarcube.clean_inventory`): a patch is a landslide by these, and
        background by `inventory`; one that is a landslide by `inventory` alone is discarded, since its landslide is
        there and does not show.
    region : GeoDataFrame or GeoSeries, optional
        The area that was mapped, in any CRS: patches not wholly inside are discarded, as landslides beyond were not
        drawn. By default the whole stack. Where nobody says what was mapped, the inventory's convex hull is a guess:
        ``gpd.GeoSeries([inventory.union_all().convex_hull], crs=inventory.crs)``.
    size : int
        Pixels along a side of a patch.
    min_landslide_fraction : float
        A patch is a landslide if **more** than this share of its pixels is (by pixel centre).
    stride : int, optional
        Pixels from one patch to the next; by default `size`, so that no two patches share a pixel. A smaller stride
        gives more, overlapping patches: only for training, never across a split.

    Returns
    -------
    Patches
        In row-major order of their origins; `load()` reads their pixels into memory. For the same patches with fewer
        bands, such as VV out of VV and VH, `select_bands`.

    Raises
    ------
    InputError
        If the stack is smaller than a patch, not a (band, y, x) stack, or without a grid; if an inventory or the region
        has no CRS or other shapes than polygons, or the region none.
    """
    if not 0 <= min_landslide_fraction < 1:
        raise InputError(f"min_landslide_fraction must be in [0, 1), not {min_landslide_fraction}")
    table = _windows(stack, inventory, cleaned, region, size, size if stride is None else stride, MAX_GAPS)
    landslide = table.pop("seen") > min_landslide_fraction
    background = table["fraction"] <= min_landslide_fraction
    table["landslide"] = landslide
    return _patches(stack, table[landslide | background], size)


def sample_chips(
    stack: xr.DataArray,
    inventory: gpd.GeoDataFrame,
    *,
    cleaned: gpd.GeoDataFrame | None = None,
    region: Region | None = None,
    size: int = 128,
    min_landslide_pixels: int = 1,
    background: bool = False,
) -> Patches:
    """Cut a stack into chips with masks of landslide pixels, as Boehm et al. 2022 (arXiv 2211.02869) do.

    Parameters
    ----------
    stack, inventory, region
        As `sample_patches` takes them.
    cleaned : GeoDataFrame, optional
        What the stack's track can see of the landslides (`sarcube.clean_inventory`): landslide pixels that it cannot
        see are neither landslide nor background in the masks, and nothing is learnt from them.
    size : int
        Pixels along a side of a chip; chips do not overlap.
    min_landslide_pixels : int
        A chip is a landslide's from so many landslide pixels on, of those that are seen.
    background : bool
        Keep chips with fewer as well; the paper leaves them out.

    Returns
    -------
    Patches
        With `masks`. Pixels that are not valid stay NaN, for models that judge pixels take them for the band's mean;
        only chips without any valid pixel are discarded. The paper takes the logarithm of power and standardises each
        band: a stack is in dB, which is that logarithm times a constant, and `sarcube.train` standardises.

    Raises
    ------
    InputError
        As `sample_patches` raises it.
    """
    if min_landslide_pixels < 1:
        raise InputError(f"min_landslide_pixels must be at least 1, not {min_landslide_pixels}")
    table = _windows(stack, inventory, cleaned, region, size, size, size**2 - 1)
    table["landslide"] = table.pop("seen") * size**2 >= min_landslide_pixels - 0.5
    label = lazy_label(inventory, stack)
    if cleaned is not None:
        seen = lazy_label(cleaned, stack)
        label = seen.where((label == 0) | (seen == 1), np.uint8(UNSEEN))
    return _patches(stack, table if background else table[table["landslide"]], size, label=label)


def _patches(stack: xr.DataArray, table: pd.DataFrame, size: int, *, label: xr.DataArray | None = None) -> Patches:
    table = table.reset_index(drop=True)
    stack_number, y0, x0 = (table[name].to_numpy(np.int64) for name in ("stack", "y0", "x0"))
    return Patches(
        table[list(COLUMNS)],
        StackWindows((stack.data,), stack_number, y0, x0, size),
        tuple(str(name) for name in stack["band"].to_numpy()),
        size,
        masks=None if label is None else StackWindows((label.data[np.newaxis],), stack_number, y0, x0, size),
        radiometry=str(stack.attrs.get("radiometry", "")),
        filled=label is None,
    )


def _windows(
    stack: xr.DataArray,
    inventory: gpd.GeoDataFrame,
    cleaned: gpd.GeoDataFrame | None,
    region: Region | None,
    size: int,
    stride: int,
    max_gaps: int,
) -> pd.DataFrame:
    """List the windows that are valid and in the region, with the share of landslide pixels: all, and those seen."""
    if stack.dims != ("band", "y", "x"):
        raise InputError(f"a stack has the dimensions (band, y, x), not {stack.dims}")
    grid = grid_of(stack)
    area = None if region is None else _ground_of(region, grid)
    label = lazy_label(inventory, stack)
    seen = label if cleaned is None else lazy_label(cleaned, stack)
    rows = np.array(regular_origins(stack.sizes["y"], size, stride), np.int64)
    columns = np.array(regular_origins(stack.sizes["x"], size, stride), np.int64)
    parts = []
    has_landslides = False
    for tile_rows, tile_columns in _tiles(rows, columns):
        top, left = tile_rows[0], tile_columns[0]
        there = {"y": slice(top, tile_rows[-1] + size), "x": slice(left, tile_columns[-1] + size)}
        image, burnt, shown = (
            np.asarray(array.isel(there).to_numpy()) for array in (stack, label, label if cleaned is None else seen)
        )
        has_landslides |= bool(burnt.any())
        inside = (tile_rows - top, tile_columns - left, size)
        usable = count_gaps(image.astype(np.float32, copy=False), *inside) <= max_gaps
        shares = (window_sums(pixels, *inside)[usable] / size**2 for pixels in (burnt, shown))
        i, j = np.nonzero(usable)
        y0, x0 = tile_rows[i], tile_columns[j]
        parts.append(pd.DataFrame(dict(zip(("y0", "x0", "fraction", "seen"), (y0, x0, *shares), strict=True))))
    if len(inventory) and not has_landslides:
        log.warning("none of the %d landslides of the inventory lies on the stack", len(inventory))
    table = pd.concat(parts, ignore_index=True).sort_values(["y0", "x0"], ignore_index=True)
    table = _placed(table, stack, grid, size)
    return table if area is None else table[_inside(table, area)]


def _tiles(rows: Indices, columns: Indices) -> Iterator[tuple[Indices, Indices]]:
    for of_rows in np.split(rows, np.flatnonzero(np.diff(rows // TILE)) + 1):
        for of_columns in np.split(columns, np.flatnonzero(np.diff(columns // TILE)) + 1):
            yield of_rows, of_columns


def _placed(table: pd.DataFrame, stack: xr.DataArray, grid: Any, size: int) -> pd.DataFrame:
    """Say of each window where it is on the map, and of which event and track."""
    a, _, c, _, e, f = grid.affine[:6]
    x, y = (np.stack([table[name], table[name] + size]) for name in ("x0", "y0"))
    x, y = np.sort(c + a * x, axis=0), np.sort(f + e * y, axis=0)
    return table.assign(
        event=str(stack.attrs.get("event", "")),
        track=str(stack.attrs.get("track", "")),
        stack=0,
        **dict(zip(("left", "right", "bottom", "top"), (*x, *y), strict=True)),
        crs=str(grid.crs) if grid.crs.epsg is None else f"EPSG:{grid.crs.epsg}",
    )


def _ground_of(region: Region, grid: GeoBox) -> BaseGeometry:
    require_polygons(region, "the region")
    shapes = on_turn_of_grid(region.geometry.to_crs(grid.crs).to_numpy(), grid)
    area: BaseGeometry = shapely.union_all([covered_ground(shape) for shape in shapes])
    if area.is_empty:
        raise InputError("the region holds no polygon, so no patch could lie in it; leave it out for the whole stack")
    return area


def _inside(table: pd.DataFrame, area: BaseGeometry) -> NDArray[np.bool_]:
    shapely.prepare(area)
    boxes = shapely.box(table["left"], table["bottom"], table["right"], table["top"])
    inside: NDArray[np.bool_] = shapely.covers(area, boxes)
    return inside
