"""Inventories: polygons of mapped landslides, read, repaired and burnt onto a grid."""

import logging
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401  (registers .odc on xarray objects)
import pyogrio
import shapely
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from sarcube.errors import InputError, ReadError
from sarcube.gaps import window_sums
from sarcube.windows import window_origins

log = logging.getLogger(__name__)

Grid: TypeAlias = GeoBox | xr.DataArray | xr.Dataset


def read_inventory(path: str | Path) -> gpd.GeoDataFrame:
    """Read an inventory of landslides from any vector file that geopandas reads, and repair it.

    Invalid polygons (a ring that crosses itself) are repaired with `shapely.make_valid`; of every geometry only the
    polygonal parts are kept, and rows without any are dropped. How many is logged.

    Parameters
    ----------
    path : str or Path
        GeoPackage, shapefile, GeoJSON, GeoParquet, ...

    Returns
    -------
    GeoDataFrame
        Polygons and MultiPolygons, valid, in the file's own CRS, with the file's own columns.

    Raises
    ------
    ReadError
        If the file is not there or is not a vector file.
    InputError
        If it has no geometries or no CRS, or if nothing in it is a polygon.
    """
    path = Path(path)
    if not path.exists():
        raise ReadError(f'there is no inventory at "{path}"')
    try:
        frame = gpd.read_parquet(path) if path.suffix.lower() in (".parquet", ".geoparquet") else gpd.read_file(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, OSError, ValueError) as error:
        raise ReadError(f'"{path}" cannot be read as a vector file: {error}') from error
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f'"{path}" holds no geometries; an inventory is a file of landslide polygons')
    return clean_inventory(frame, name=str(path))


def clean_inventory(inventory: gpd.GeoDataFrame, *, name: str = "the inventory") -> gpd.GeoDataFrame:
    """Repair an inventory that is in memory already, as `read_inventory` does; `name` is for messages."""
    require_crs(inventory, name)
    present = inventory[~(inventory.geometry.isna() | inventory.geometry.is_empty)]
    invalid = ~present.geometry.is_valid
    polygons = [_polygonal_parts(shape) for shape in shapely.make_valid(present.geometry.to_numpy())]
    kept = present.set_geometry(gpd.GeoSeries(polygons, index=present.index, crs=inventory.crs))
    kept = kept[~kept.geometry.is_empty].reset_index(drop=True)
    if len(inventory) and not len(kept):
        raise InputError(f"{name}: none of its {len(inventory)} geometries is a polygon; landslides must be polygons")
    if invalid.any():
        log.warning("%s: %d invalid polygons were repaired", name, int(invalid.sum()))
    if len(kept) < len(inventory):
        log.warning("%s: %d geometries without a polygon were dropped", name, len(inventory) - len(kept))
    return kept


def require_crs(inventory: gpd.GeoDataFrame, name: str = "the inventory") -> None:
    """Refuse polygons of which nobody knows where they lie.

    Raises
    ------
    InputError
        If no CRS is set.
    """
    if inventory.crs is None:
        raise InputError(
            f"{name} has no coordinate reference system; find out which it is drawn in and set it, "
            'for example inventory.set_crs("EPSG:32647")'
        )


def rasterise_inventory(inventory: gpd.GeoDataFrame, like: Grid) -> NDArray[np.uint8]:
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
        If the inventory has no CRS, or `like` no georeferenced grid.
    """
    require_crs(inventory)
    grid = grid_of(like)
    polygons = inventory.geometry.to_crs(grid.crs)
    polygons = polygons[~(polygons.isna() | polygons.is_empty)]
    shape = (int(grid.shape[0]), int(grid.shape[1]))
    if polygons.empty:
        return np.zeros(shape, np.uint8)
    burnt: NDArray[np.uint8] = rasterize(
        polygons, out_shape=shape, transform=grid.affine, fill=0, default_value=1, dtype="uint8"
    )
    return burnt


def landslide_fraction(label: NDArray[np.uint8], *, size: int = 64, stride: int = 32) -> NDArray[np.float64]:
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


def _polygonal_parts(shape: Any) -> Any:
    parts = shapely.get_parts(shape)
    if (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():  # make_valid may nest collections
        parts = shapely.get_parts(parts)
    return shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])
