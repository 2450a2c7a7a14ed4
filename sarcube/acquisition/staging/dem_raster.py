"""Tiles of a DEM as one raster, computed block by block."""

from collections.abc import Sequence

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401 (gives layers their .rio)
import xarray as xr
from affine import Affine

from sarcube.acquisition.staging.posts import Bounds, Heights, Posts, Tile, posts_over, read_heights
from sarcube.errors import ReadError

_CHUNK = 1024, 2048  # posts: 8 MiB


def lazy_raster(tiles: Sequence[Tile], bounds: Bounds) -> xr.DataArray:
    """Return the heights of an area on the grid of the finest of its tiles.

    Parameters
    ----------
    tiles : sequence of Tile
        One or more.
    bounds : (west, south, east, north)
        Degrees.

    Returns
    -------
    xarray.DataArray
        (y, x) float32, lazy, in EPSG:4326; NaN where no tile has a height.

    Raises
    ------
    ReadError
        If the tiles do not have the same number of rows to a degree.
    """
    posts = _finest(tiles, bounds)
    transform = Affine(*posts.transform)
    rows, columns = posts.shape
    heights = da.map_blocks(
        _block,
        tiles=tuple(tiles),
        posts=posts,
        chunks=da.core.normalize_chunks(_CHUNK, posts.shape),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )
    coords = {
        "y": transform.f + transform.e * (np.arange(rows) + 0.5),
        "x": transform.c + transform.a * (np.arange(columns) + 0.5),
    }
    layer = xr.DataArray(
        heights, coords, ("y", "x"), attrs={"units": "m", "long_name": "height above the EGM2008 geoid"}
    )
    located: xr.DataArray = layer.rio.write_crs(4326).rio.write_transform(transform)
    return located


def _finest(tiles: Sequence[Tile], bounds: Bounds) -> Posts:
    down = {tile.posts.per_degree[0] for tile in tiles}
    if len(down) > 1:
        raise ReadError(
            f"the DEM tiles have {' and '.join(map(str, sorted(down)))} rows to a degree, expected one number: they "
            "are of different DEMs; give a catalogue of one of them"
        )
    return posts_over(bounds, (down.pop(), max(tile.posts.per_degree[1] for tile in tiles)))


def _block(
    *, tiles: tuple[Tile, ...], posts: Posts, block_info: dict[None, dict[str, list[tuple[int, int]]]]
) -> Heights:
    rows, columns = block_info[None]["array-location"]
    return read_heights(tiles, posts, rows, columns, owner="the DEM")
