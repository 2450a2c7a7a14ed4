"""The grid of a cube: chosen once, before anything is read, so that all scenes lie on it."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import pyproj
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.acquisition.headers import crs_name
from sarcube.acquisition.scenes import Grid
from sarcube.errors import InputError

Bounds = tuple[float, float, float, float]
_Key = TypeVar("_Key", bound=Hashable)

_DEGREES = "EPSG:4326"
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
        bounds = _bounds_of(*_sides(_checked(bbox)), _DEGREES, target)
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


def outline_bounds(grid: Grid, crs: str) -> Bounds:
    """Return the bounds of a grid in another CRS, from points along its outline."""
    a, b, c, d, e, f = grid.transform
    columns, rows = _sides((0, 0, grid.shape[1], grid.shape[0]))
    return _bounds_of(a * columns + b * rows + c, d * columns + e * rows + f, grid.crs, crs)


def bounds_in_degrees(grids: Iterable[Grid]) -> str:
    """Return what grids cover, for messages: "west, south, east, north" in degrees."""
    return ", ".join(f"{value:.3f}" for value in union_bounds(outline_bounds(grid, _DEGREES) for grid in grids))


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
    west, south, east, north = (
        _checked(bbox) if bbox is not None else union_bounds(outline_bounds(g, _DEGREES) for g in grids)
    )
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


def _bounds_of(x: NDArray[np.float64], y: NDArray[np.float64], source: str, target: str) -> Bounds:
    if not same_crs(source, target):
        x, y = pyproj.Transformer.from_crs(source, target, always_xy=True).transform(x, y)
    return float(np.min(x)), float(np.min(y)), float(np.max(x)), float(np.max(y))
