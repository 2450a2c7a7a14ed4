"""What layers of the ground share with the cube they join: its grid, its chunks, its grid mapping."""

import dask.array as da
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcube.errors import InputError

_CHUNK = 1024


def geobox_of(cube: xr.Dataset) -> GeoBox:
    """Return the grid of a cube, or say what it lacks."""
    geobox = cube.odc.geobox
    if not isinstance(geobox, GeoBox):
        raise InputError(
            "the cube has no regular grid with a CRS: it needs x, y and spatial_ref, as sc.load makes them"
        )
    return geobox


def pixel_size(geobox: GeoBox) -> float:
    """Return the size of a projected grid's square pixels in metres."""
    x, y = geobox.resolution.x, geobox.resolution.y
    if geobox.crs is None or not geobox.crs.projected or abs(x + y) > 1e-6 * abs(x) or y > 0:
        raise InputError(
            f"terrain and look geometry need a projected CRS with square pixels, rows north to south; this cube is in "
            f"{geobox.crs} with pixels of {x} by {y}: load it with crs= and resolution="
        )
    return float(x)


def chunks_of(cube: xr.Dataset, geobox: GeoBox) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The cube's own chunks over y and x, so that layers and scenes meet block by block."""
    sizes = cube.chunksizes
    if "y" in sizes and "x" in sizes:
        return sizes["y"], sizes["x"]
    rows, columns = da.core.normalize_chunks(_CHUNK, geobox.shape)
    return rows, columns


def mapped(cube: xr.Dataset) -> dict[str, str]:
    """Return the attribute that ties a layer to the cube's CRS."""
    return {"grid_mapping": "spatial_ref"} if "spatial_ref" in cube.coords else {}
