"""A track's look geometry over a grid: solved at nodes two kilometres apart, interpolated to pixels and heights."""

from dataclasses import dataclass

import numpy as np
import pyproj
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.errors import InputError
from sarcube.sar import look_geometry

_SPACING = 2000.0  # metres; incidence bends by less than 1e-4 degrees within
_HEIGHTS = (0.0, 3000.0)  # metres; incidence and azimuth are linear in height to 1e-4 degrees


@dataclass(frozen=True)
class LookNodes:
    """Look geometry at nodes: rows (r,) and columns (c,) in pixels, angles in degrees.

    incidence and azimuth (true north, unwrapped) are (2, r, c), at heights 0 and 3000 m; convergence (r, c) is what
    grid north lies clockwise of true north, so that grid azimuth = true azimuth - convergence.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    incidence: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    convergence: NDArray[np.float64]

    @property
    def mean_grid_azimuth(self) -> float:
        """Mean azimuth from the pixel to the sensor over the grid, degrees clockwise from grid north."""
        return float((self.azimuth[0] - self.convergence).mean() % 360)


def solve_look(geobox: GeoBox, *, relative_orbit: int, orbit_state: str) -> LookNodes:
    """Solve the look geometry of one track at nodes over a projected grid.

    Raises
    ------
    InputError
        If the grid is not in a projected CRS, or the track does not look at it.
    """
    if geobox.crs is None or not geobox.crs.projected:
        raise InputError(f"look geometry needs a cube in a projected CRS such as UTM, not {geobox.crs}")
    rows, columns = (
        np.linspace(-0.5, n - 0.5, max(2, int(np.ceil(n * abs(step) / _SPACING)) + 1))
        for n, step in zip(geobox.shape, (geobox.resolution.y, geobox.resolution.x), strict=True)
    )
    column, row = np.meshgrid(columns, rows)
    x, y = pixel_centres(geobox, row, column)
    crs = pyproj.CRS(geobox.crs.to_wkt())
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    solved = [look_geometry(lat, lon, h, relative_orbit=relative_orbit, orbit_state=orbit_state) for h in _HEIGHTS]
    azimuth = np.unwrap(np.unwrap(np.stack([s[1] for s in solved]), period=360, axis=1), period=360, axis=2)
    convergence = np.asarray(pyproj.Proj(crs).get_factors(lon, lat).meridian_convergence)
    return LookNodes(rows, columns, np.stack([s[0] for s in solved]), azimuth, convergence)


def pixel_centres(
    geobox: GeoBox, row: NDArray[np.floating], column: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates x and y of pixel centres, row 0 and column 0 being the first pixel's."""
    a = geobox.affine
    return a.a * (column + 0.5) + a.b * (row + 0.5) + a.c, a.d * (column + 0.5) + a.e * (row + 0.5) + a.f


def look_at_pixels(
    nodes: LookNodes, rows: NDArray[np.float64], columns: NDArray[np.float64], height: NDArray[np.floating]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Incidence angle and sensor azimuth (true north, 0 to 360), degrees float32, at pixels of some height.

    `rows` (y,) and `columns` (x,) are pixel indices in the nodes' grid, `height` (y, x) metres; NaN height gives NaN.
    """
    share = (height - _HEIGHTS[0]) / (_HEIGHTS[1] - _HEIGHTS[0])
    incidence, azimuth = (
        (1 - share) * _bilinear(nodes, values[0], rows, columns) + share * _bilinear(nodes, values[1], rows, columns)
        for values in (nodes.incidence, nodes.azimuth)
    )
    return incidence.astype(np.float32), (azimuth % 360).astype(np.float32)


def _bilinear(
    nodes: LookNodes, values: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate node values to the outer product of rows and columns."""
    row_weights = _hat_weights(nodes.rows, rows)
    column_weights = _hat_weights(nodes.columns, columns)
    result: NDArray[np.float64] = row_weights @ values @ column_weights.T
    return result


def _hat_weights(nodes: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (position, node) of linear interpolation between equally spaced nodes."""
    where = (positions - nodes[0]) / (nodes[1] - nodes[0])
    weights: NDArray[np.float64] = np.clip(1 - np.abs(where[:, None] - np.arange(nodes.size)), 0, None)
    return weights
