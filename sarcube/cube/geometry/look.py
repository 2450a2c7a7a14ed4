"""A track's look geometry over a grid: solved at nodes two kilometres apart, interpolated to pixels and heights."""

from dataclasses import dataclass

import numpy as np
import pyproj
from numba import njit
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.geoid import geoid_undulation
from sarcube.cube.geometry.ground import metres_per_pixel, metres_per_radian
from sarcube.cube.geometry.orbit_choice import REFERENCE_SOURCE
from sarcube.sar.orbit import solve_points
from sarcube.sar.trajectory import Trajectory

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]

_SPACING = 2000.0  # metres; between nodes incidence and azimuth bend by less than 5e-5 degrees
# Metres above the ellipsoid: incidence is linear in height to 1e-4 degrees between them, 2e-4 at 4000 m, 2e-3 at 8800.
_HEIGHTS = (0.0, 3000.0)
_REACH = 100.0  # metres to each side of a node, over which its grid is held against the ground
_ELLIPSOID = "above the ellipsoid"


@dataclass(frozen=True, eq=False)
class LookNodes:
    """Look geometry of one track at nodes over a grid; angles in degrees, azimuths clockwise from true north.

    Attributes
    ----------
    rows, columns : numpy.ndarray
        (r,) and (c,), pixels: 0 is the centre of the first. At least two each, equally far apart.
    incidence, azimuth : numpy.ndarray
        (2, r, c), at 0 and 3000 m above the ellipsoid: from the ellipsoid's normal, and from the node to the sensor.
        The azimuth is unwrapped: neighbours never differ by a full turn.
    slant_range : numpy.ndarray
        (r, c), metres from the sensor, at height 0.
    away : numpy.ndarray
        (2, r, c), rows and columns per metre on the ground in the direction away from the sensor, at height 0.
    convergence : numpy.ndarray
        (r, c), azimuth in which the grid's columns run up: grid azimuth = azimuth - convergence.
    undulation : numpy.ndarray
        (r, c), metres from the ellipsoid up to the surface that heights are counted from.
    source, heights : str
        Where the geometry comes from, with its expected error, and what heights are taken to be: for attributes.
    """

    rows: Floats64
    columns: Floats64
    incidence: Floats64
    azimuth: Floats64
    slant_range: Floats64
    away: Floats64
    convergence: Floats64
    undulation: Floats64
    source: str
    heights: str

    @property
    def mean_grid_azimuth(self) -> float:
        """Mean azimuth from the pixel to the sensor over the grid, degrees clockwise from grid north."""
        return float((self.azimuth[0] - self.convergence).mean() % 360)


def solve_look(
    geobox: GeoBox,
    *,
    relative_orbit: int,
    orbit_state: str,
    trajectory: Trajectory | None = None,
    source: str = REFERENCE_SOURCE,
    above_geoid: bool = False,
) -> LookNodes:
    """Solve the look geometry of one track at nodes over a grid.

    Parameters
    ----------
    geobox : GeoBox
        North-up, in a projected or geographic CRS.
    relative_orbit : int
    orbit_state : {"ascending", "descending"}
    trajectory : Trajectory, optional
        State vectors of the pass. Default: the reference orbit.
    source : str
        What the trajectory comes from and its expected error, for attributes.
    above_geoid : bool
        Heights will be those of a DEM, above the geoid, and not above the ellipsoid.

    Raises
    ------
    InputError
        If the grid has no CRS or is not north-up, or the track does not look at it.
    """
    spacings = [size.max() for size in metres_per_pixel(geobox)]
    rows, columns = (
        np.linspace(-0.5, n - 0.5, max(2, int(np.ceil(n * spacing / _SPACING)) + 1))
        for n, spacing in zip(geobox.shape, spacings, strict=True)
    )
    lon, lat = in_degrees(geobox, *np.meshgrid(rows, columns, indexing="ij"))
    solved = [
        solve_points(lat, lon, height, relative_orbit=relative_orbit, orbit_state=orbit_state, trajectory=trajectory)
        for height in _HEIGHTS
    ]
    azimuth = np.stack([look.azimuth for look in solved])
    for axis in (2, 1, 0):
        azimuth = np.unwrap(azimuth, period=360, axis=axis)
    jacobian = _ground_per_pixel(geobox, rows, columns, spacings)
    (north_down, north_across), (east_down, east_across) = jacobian
    # Up the columns is against the rows.
    convergence = np.degrees(np.arctan2(-east_down, -north_down))
    toward = np.radians(azimuth[0])
    north, east = -np.cos(toward), -np.sin(toward)
    area = north_down * east_across - north_across * east_down
    away = np.stack([north * east_across - east * north_across, east * north_down - north * east_down]) / area
    undulation, heights = geoid_undulation(lat, lon) if above_geoid else (np.zeros(lat.shape), _ELLIPSOID)
    return LookNodes(
        rows=rows,
        columns=columns,
        incidence=np.stack([look.incidence for look in solved]),
        azimuth=azimuth,
        slant_range=solved[0].slant_range,
        away=away,
        convergence=convergence,
        undulation=undulation,
        source=source,
        heights=heights,
    )


def pixel_centres(geobox: GeoBox, row: NDArray[np.floating], column: NDArray[np.floating]) -> tuple[Floats64, Floats64]:
    """Coordinates x and y of pixel centres, row 0 and column 0 being the first pixel's."""
    a = geobox.affine
    return a.a * (column + 0.5) + a.b * (row + 0.5) + a.c, a.d * (column + 0.5) + a.e * (row + 0.5) + a.f


def look_at_pixels(
    nodes: LookNodes, rows: NDArray[np.floating], columns: NDArray[np.floating], height: NDArray[np.floating]
) -> Floats32:
    """Interpolate incidence angle and sensor azimuth to pixels of some height.

    Parameters
    ----------
    nodes : LookNodes
    rows, columns : numpy.ndarray
        (y,) and (x,), pixels of the nodes' grid: 0 is the centre of the first.
    height : numpy.ndarray
        (y, x), metres above the surface that the nodes' `undulation` leads to.

    Returns
    -------
    numpy.ndarray of float32
        (2, y, x), degrees: incidence angle from the ellipsoid's normal, and azimuth from the pixel to the sensor,
        clockwise from true north, 0 to 360. NaN where the height is. A pixel's values depend on nothing but its own
        row, column and height.

    Notes
    -----
    Bilinear between nodes, linear in height: within 1e-4 degrees of the solution at 0 to 3000 m, 2e-3 at 8800 m.
    """
    at_height = np.empty((4, nodes.rows.size, nodes.columns.size))
    for number, values in enumerate((nodes.incidence, nodes.azimuth)):
        per_metre = (values[1] - values[0]) / (_HEIGHTS[1] - _HEIGHTS[0])
        at_height[2 * number] = values[0] + (nodes.undulation - _HEIGHTS[0]) * per_metre
        at_height[2 * number + 1] = per_metre
    row_cells, down = _cells(nodes.rows, rows)
    column_cells, across = _cells(nodes.columns, columns)
    angles = np.empty((2, *height.shape), np.float32)
    _interpolate(at_height, row_cells, down, column_cells, across.astype(np.float32), height, angles[0], angles[1])
    return angles


def in_degrees(geobox: GeoBox, row: Floats64, column: Floats64) -> tuple[Floats64, Floats64]:
    """Longitude and latitude of pixels, in degrees; 0 is the centre of the first row and column."""
    assert geobox.crs is not None
    transformer = pyproj.Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = transformer.transform(*pixel_centres(geobox, row, column))
    return lon, lat


def _ground_per_pixel(
    geobox: GeoBox, rows: Floats64, columns: Floats64, metres: list[float]
) -> tuple[tuple[Floats64, Floats64], tuple[Floats64, Floats64]]:
    """True metres north and east of a step of one pixel, by central differences: ((down, across) north, the same east).

    They hold a projection's convergence and scale as well as degrees on the ellipsoid.
    """
    row, column = np.meshgrid(rows, columns, indexing="ij")
    to_north, to_east = metres_per_radian(np.radians(in_degrees(geobox, row, column)[1]))
    north, east = [], []
    for step in ((_REACH / metres[0], 0.0), (0.0, _REACH / metres[1])):
        lon_before, lat_before = in_degrees(geobox, row - step[0], column - step[1])
        lon_after, lat_after = in_degrees(geobox, row + step[0], column + step[1])
        turn = (lon_after - lon_before + 180) % 360 - 180  # a step may cross the antimeridian
        north.append(np.radians(lat_after - lat_before) * to_north / (2 * sum(step)))
        east.append(np.radians(turn) * to_east / (2 * sum(step)))
    return (north[0], north[1]), (east[0], east[1])


def _cells(nodes: Floats64, positions: NDArray[np.floating]) -> tuple[NDArray[np.int64], Floats64]:
    """The cell between nodes that each position lies in, and how far in it, in cells."""
    where = (np.asarray(positions, np.float64) - nodes[0]) / (nodes[1] - nodes[0])
    cells = np.clip(np.floor(where), 0, nodes.size - 2)
    return cells.astype(np.int64), where - cells


@njit(cache=True, nogil=True)
def _between(values: Floats64, row: int, share: float, column: int) -> tuple[np.float32, np.float32]:
    """Value at the left side of a cell and its rise to the right side, on a line between two rows of nodes."""
    left = values[row, column] * (1 - share) + values[row + 1, column] * share
    right = values[row, column + 1] * (1 - share) + values[row + 1, column + 1] * share
    return np.float32(left), np.float32(right - left)


@njit(cache=True, nogil=True)
def _interpolate(
    values: Floats64,
    row_cells: NDArray[np.int64],
    down: Floats64,
    column_cells: NDArray[np.int64],
    across: Floats32,
    height: NDArray[np.floating],
    incidence: Floats32,
    azimuth: Floats32,
) -> None:
    """Walk each row cell by cell; within one, angles are bilinear in place and linear in height."""
    none, turn = np.float32(0), np.float32(360)
    for i in range(row_cells.size):
        start = 0
        while start < column_cells.size:
            cell = column_cells[start]
            stop = start
            while stop < column_cells.size and column_cells[stop] == cell:
                stop += 1
            # Value and rise along the row: of incidence, of its change per metre, of azimuth, of its change per metre.
            a, a_rise = _between(values[0], row_cells[i], down[i], cell)
            b, b_rise = _between(values[1], row_cells[i], down[i], cell)
            c, c_rise = _between(values[2], row_cells[i], down[i], cell)
            d, d_rise = _between(values[3], row_cells[i], down[i], cell)
            t, z = across[start:stop], height[i, start:stop]
            to_incidence, to_azimuth = incidence[i, start:stop], azimuth[i, start:stop]
            for j in range(t.size):
                h = np.float32(z[j])
                to_incidence[j] = (a + a_rise * t[j]) + (b + b_rise * t[j]) * h
                angle = (c + c_rise * t[j]) + (d + d_rise * t[j]) * h
                angle += turn if angle < none else none
                to_azimuth[j] = angle - (turn if angle >= turn else none)
            start = stop
