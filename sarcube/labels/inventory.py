"""Inventories: polygons of mapped landslides, read and repaired."""

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from sarcube.errors import InputError, ReadError

log = logging.getLogger(__name__)


def read_inventory(path: str | Path) -> gpd.GeoDataFrame:
    """Read an inventory of landslides from any vector file that geopandas reads, and repair it.

    Invalid polygons (a ring that crosses itself) are repaired with `shapely.make_valid`, parts that lie over one
    another are united; of every geometry only the polygonal parts are kept, and rows without any are dropped. How many
    is logged.

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
    return repair_inventory(frame, name=str(path))


def repair_inventory(inventory: gpd.GeoDataFrame, *, name: str = "the inventory") -> gpd.GeoDataFrame:
    """Repair an inventory that is in memory already, as `read_inventory` does; `name` is for messages."""
    require_crs(inventory, name)
    present = inventory[~(inventory.geometry.isna() | inventory.geometry.is_empty)]
    invalid = ~present.geometry.is_valid
    polygons = [covered_ground(shape) for shape in present.geometry]
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


def require_polygons(inventory: gpd.GeoDataFrame, name: str = "the inventory") -> None:
    """Refuse an inventory of which nobody knows where it lies, or that holds anything but polygons.

    Raises
    ------
    InputError
        If no CRS is set, or there are other shapes; missing and empty ones are no others.
    """
    require_crs(inventory, name)
    shapes = inventory.geometry.to_numpy()
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    others = {shapely.GeometryType(kind).name for kind in shapely.get_type_id(shapes)} - {"POLYGON", "MULTIPOLYGON"}
    if others:
        raise InputError(
            f"{name} must hold polygons and also holds {', '.join(sorted(others))}: read it with sc.read_inventory, "
            "which keeps the polygons"
        )


def covered_ground(shape: Any) -> Any:
    """Return the ground that a geometry's polygons cover, valid; ground in two of them is covered like any other."""
    # One by one: `make_valid` takes ground where two parts of one geometry overlap for a hole.
    repaired = [polygonal(part) for part in shapely.make_valid(polygonal(shape))]
    return shapely.union_all(np.concatenate([np.empty(0, object), *repaired]))


def valid_polygons(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return polygons (n,), of which those that are not valid are repaired as `repair_inventory` does it."""
    repaired = shapes.copy()
    for number in np.flatnonzero(~shapely.is_valid(shapes)):
        repaired[number] = covered_ground(shapes[number])
    return repaired


def polygonal(shape: Any) -> NDArray[np.object_]:
    """Return the polygons (n,) of which a geometry consists, without its lines and points."""
    parts = shapely.get_parts(shape)
    if (shapely.get_type_id(parts) >= shapely.GeometryType.MULTIPOINT).any():  # make_valid may nest collections
        parts = shapely.get_parts(parts)
    polygons: NDArray[np.object_] = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return polygons
