"""Grid north and true north: the angle between them over a grid, without asking PROJ for every pixel."""

import numpy as np
import pyproj
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

Floats64 = NDArray[np.float64]

# Along a side. Convergence bends so little that 16 pieces of a whole scene, 250 km, are straight to 1e-4 degrees.
_NODES = 17


def convergence_nodes(geobox: GeoBox) -> Floats64:
    """Solve the meridian convergence at nodes spread over a grid, from its first pixel's centre to its last.

    Parameters
    ----------
    geobox : GeoBox
        North-up, in a conformal projected CRS such as UTM, or a geographic one.

    Returns
    -------
    numpy.ndarray of float64
        (17, 17), degrees that grid north lies clockwise of true north, so that grid azimuth = true azimuth -
        convergence. 0 on a geographic grid.
    """
    assert geobox.crs is not None
    if geobox.crs.geographic:
        return np.zeros((_NODES, _NODES))
    rows, columns = (np.linspace(0.5, size - 0.5, _NODES) for size in geobox.shape)
    column, row = np.meshgrid(columns, rows)
    a, b, c, d, e, f = geobox.affine[:6]
    projection = pyproj.Proj(geobox.crs.proj)
    lon, lat = projection(a * column + b * row + c, d * column + e * row + f, inverse=True)
    convergence = np.asarray(projection.get_factors(lon, lat, errcheck=True).meridian_convergence)
    # A grid across the antimeridian may jump by a turn between two nodes.
    return np.unwrap(np.unwrap(convergence, period=360, axis=0), period=360, axis=1)


def node_positions(geobox: GeoBox) -> tuple[xr.DataArray, xr.DataArray]:
    """Return where rows (y,) and columns (x,) lie among the nodes, in nodes: the same whatever part is computed."""
    rows, columns = (np.linspace(0, _NODES - 1, size) for size in geobox.shape)
    return xr.DataArray(rows, dims="y"), xr.DataArray(columns, dims="x")


def interpolate_nodes(nodes: Floats64, y: Floats64, x: Floats64) -> Floats64:
    """Interpolate between nodes in straight lines: positions (y, 1) and (x,) -> (y, x)."""
    row, column = (np.minimum(position.astype(np.intp), _NODES - 2) for position in (y, x))
    down, across = y - row, x - column
    north = (1 - across) * nodes[row, column] + across * nodes[row, column + 1]
    south = (1 - across) * nodes[row + 1, column] + across * nodes[row + 1, column + 1]
    result: Floats64 = (1 - down) * north + down * south
    return result
