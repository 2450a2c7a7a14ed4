"""The grid of a cube: chosen once, before anything is read, so that all scenes lie on it."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import odc.geo.xr  # noqa: F401  registers data.odc
import pyproj
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.acquisition.files.headers import crs_name
from sarcube.acquisition.scenes import Grid
from sarcube.errors import InputError

Bounds = tuple[float, float, float, float]
_Key = TypeVar("_Key", bound=Hashable)

_DEGREES = "EPSG:4326"
_EVEN = 1e-3  # of a pixel: how far a row or column may be from where a regular grid has it
_DIGITS = 1e-12  # relative: what coordinates keep of a transform
_PIXEL_TOLERANCE = 1e-6  # of a pixel: what floating point may add to a coordinate


def choose_geobox(grids: Sequence[Grid], *, bbox: Bounds | None, resolution: float, crs: str | int | None) -> GeoBox:
    """Choose a north-up grid on which as many files as possible need no resampling.

    The CRS is that of most files (or `crs`); the pixels start where those of most files in that CRS start, if their
    size is `resolution`, and else at a multiple of it.

    Parameters
    ----------
    grids : sequence of Grid
        The grids of the files.
    bbox : (west, south, east, north), optional
        Area in degrees; west greater than east crosses the antimeridian. Default: all that the files cover.
    resolution : float
        Size of a pixel in metres.
    crs : str or int, optional
        Projected CRS, such as "EPSG:32647".

    Returns
    -------
    GeoBox

    Raises
    ------
    InputError
        If the resolution is not positive, the box is not one, or the CRS is not projected.
    """
    if not resolution > 0:
        raise InputError(f"resolution must be a pixel size in metres > 0, not {resolution!r}")
    target = _projected(crs) if crs is not None else _common_crs(grids, bbox)
    if bbox is None:
        bounds = union_bounds(outline_bounds(grid, target) for grid in grids)
    else:
        x, y = _projected_points(*_sides(_checked(bbox)), _DEGREES, target)
        bounds = float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))
    if not all(map(math.isfinite, bounds)):
        raise InputError(f"the area {bbox} cannot be projected to {target}; give a crs= that covers it")
    x_phase, y_phase = _common_phase(grids, target, resolution)
    left, right = _snap(bounds[0], bounds[2], resolution, x_phase)
    bottom, top = _snap(bounds[1], bounds[3], resolution, y_phase)
    shape = (round((top - bottom) / resolution), round((right - left) / resolution))
    return GeoBox(shape, Affine(resolution, 0, left, 0, -resolution, top), target)


def grid_of(geobox: GeoBox) -> Grid:
    """Return a GeoBox as plain values.

    Raises
    ------
    InputError
        If it has no projected CRS or is not north-up.
    """
    if geobox.crs is None or geobox.crs.geographic:
        raise InputError(f"the geobox must be in a projected CRS, in metres, not {geobox.crs}")
    a, b, c, d, e, f = (float(value) for value in geobox.affine[:6])
    if b or d or a <= 0 or e >= 0:
        raise InputError(f"the geobox must be north-up, not {geobox.affine!r}")
    rows, columns = geobox.shape
    return Grid(crs_name(geobox.crs.to_wkt()), (a, b, c, d, e, f), (rows, columns))


def geobox_like(data: xr.Dataset | xr.DataArray) -> GeoBox:
    """Return the grid that data lie on.

    Raises
    ------
    InputError
        If they lie on none, or not all their rows and columns are equally far apart.
    """
    geobox = data.odc.geobox
    if not isinstance(geobox, GeoBox) or geobox.crs is None:
        raise InputError("like= lies on no grid: it needs x, y and spatial_ref, as sc.load and sc.open_cube make them")
    # odc-geo looks at the first two and the last coordinate alone.
    for name, coordinate in zip(geobox.dimensions, geobox.coordinates.values(), strict=True):
        if not np.allclose(data[name].values, coordinate.values, rtol=0, atol=_EVEN * abs(coordinate.resolution)):
            raise InputError(f"like= is not on a regular grid: its {name} are not equally far apart")
    # Worked out from coordinates, numbers are the last digit off; the same grid is to have the same coordinates again.
    values = (float(value) for value in geobox.affine[:6])
    affine = Affine(*(round(v, 6) if abs(round(v, 6) - v) <= _DIGITS * max(abs(v), 1) else v for v in values))
    return GeoBox(geobox.shape, affine, crs_name(geobox.crs.to_wkt()))


def outline_bounds(grid: Grid, crs: str) -> Bounds:
    """Return the bounds of a grid in another CRS, from points along its outline."""
    x, y = _outline(grid, crs)
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))


def bounds_in_degrees(grids: Iterable[Grid]) -> str:
    """Return what grids cover, for messages: "west, south, east, north"; west > east crosses the antimeridian."""
    west, south, east, north = union_in_degrees(grids)
    return ", ".join(f"{value:.3f}" for value in (west, south, east - 360 if east > 180 else east, north))


def union_in_degrees(grids: Iterable[Grid]) -> Bounds:
    """Return the smallest bounds in degrees of several grids; east is beyond 180 where they cross the antimeridian."""
    sides = []
    for grid in grids:
        longitude, latitude = _outline(grid, _DEGREES)
        longitude = np.unwrap(longitude, period=360)
        shift = 360 * math.floor((longitude.min() + 180) / 360)
        sides.append((longitude.min() - shift, latitude.min(), longitude.max() - shift, latitude.max()))
    sides.sort()
    _, south, _, north = union_bounds(sides)
    # Around the globe from the far side of the widest gap that no grid covers.
    gaps: list[float] = []
    reached = -math.inf
    for (_, _, east, _), (west, _, _, _) in zip(sides, sides[1:] + sides[:1], strict=True):
        reached = max(reached, east)
        is_last = len(gaps) == len(sides) - 1
        gaps.append((west + 360 if is_last else west) - reached)
    first = (gaps.index(max(gaps)) + 1) % len(sides)
    west = sides[first][0]
    east = max(side[2] if side[0] >= west else side[2] + 360 for side in sides)
    return float(west), float(south), float(east), float(north)


def union_bounds(bounds: Iterable[Bounds]) -> Bounds:
    """Return the bounds of several bounds."""
    left, bottom, right, top = zip(*bounds, strict=True)
    return min(left), min(bottom), max(right), max(top)


@lru_cache(maxsize=256)
def same_crs(a: str, b: str) -> bool:
    """Return whether two CRS strings mean the same."""
    return a == b or pyproj.CRS.from_user_input(a) == pyproj.CRS.from_user_input(b)


def _checked(bbox: Bounds) -> Bounds:
    try:
        west, south, east, north = (float(value) for value in bbox)
    except (TypeError, ValueError) as error:
        raise InputError(f"bbox must be four numbers (west, south, east, north) in degrees, not {bbox!r}") from error
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise InputError(f"bbox must be (west, south, east, north) in degrees with south < north, not {bbox!r}")
    return west, south, east if west < east else east + 360, north


def _projected(crs: str | int) -> str:
    try:
        parsed = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise InputError(f'crs must name a projected CRS, such as "EPSG:32647", not {crs!r}') from error
    if not parsed.is_projected:
        raise InputError(f"crs must be projected, in metres, not {parsed.name}; the nearest UTM zone is the default")
    return crs_name(crs)


def _common_crs(grids: Sequence[Grid], bbox: Bounds | None) -> str:
    crs = _most_common(grid.crs for grid in grids)
    if pyproj.CRS.from_user_input(crs).is_projected:
        return crs
    west, south, east, north = _checked(bbox) if bbox is not None else union_in_degrees(grids)
    zone = int(((west + east) / 2 + 180) // 6) % 60 + 1
    return f"EPSG:{(32600 if south + north >= 0 else 32700) + zone}"


def _common_phase(grids: Sequence[Grid], crs: str, resolution: float) -> tuple[float, float]:
    """Return where pixels start between two multiples of the resolution, for most files that need no resampling."""
    phases = [
        tuple(round(origin / resolution % 1, 6) % 1 for origin in (grid.transform[2], grid.transform[5]))
        for grid in grids
        if same_crs(grid.crs, crs) and grid.transform[:2] == (resolution, 0) and grid.transform[3:5] == (0, -resolution)
    ]
    x, y = _most_common(phases) if phases else (0.0, 0.0)
    return x * resolution, y * resolution


def _most_common(values: Iterable[_Key]) -> _Key:
    """Return the most frequent value; of several the smallest, so that the order of the items does not matter."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], str(value)))


def _snap(low: float, high: float, step: float, phase: float) -> tuple[float, float]:
    first = math.floor((low - phase) / step + _PIXEL_TOLERANCE)
    last = math.ceil((high - phase) / step - _PIXEL_TOLERANCE)
    return first * step + phase, max(last, first + 1) * step + phase


def _sides(box: Bounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points along the sides of a box: straight sides bend when they are projected."""
    west, south, east, north = box
    t = np.linspace(0, 1, 33)
    x = np.concatenate([west + (east - west) * t, np.full(33, east), west + (east - west) * t, np.full(33, west)])
    y = np.concatenate(
        [np.full(33, south), south + (north - south) * t, np.full(33, north), south + (north - south) * t]
    )
    return x, y


def _outline(grid: Grid, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b, c, d, e, f = grid.transform
    columns, rows = _sides((0, 0, grid.shape[1], grid.shape[0]))
    return _projected_points(a * columns + b * rows + c, d * columns + e * rows + f, grid.crs, crs)


def _projected_points(
    x: NDArray[np.float64], y: NDArray[np.float64], source: str, target: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if not same_crs(source, target):
        x, y = pyproj.Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return x, y
