"""Which pixels of a file an area needs, and what a file's pixels cover."""

from functools import lru_cache
from math import ceil, floor

import numpy as np
import pyproj
import shapely
from affine import Affine
from numpy.typing import NDArray

from sarcube.acquisition.catalogs.areas import area_of
from sarcube.acquisition.scenes import Grid

Bounds = tuple[float, float, float, float]
Span = tuple[int, int]
_Points = tuple[NDArray[np.float64], NDArray[np.float64]]

_DEGREES = "EPSG:4326"
_POINTS = 33  # along a side: straight sides bend when they are projected
_OUTLINE = 6  # along a side of what is written down
_ROUNDED = 2  # pixels: a cube's grid is rounded outwards to whole ones
_FARTHEST_UTM = 84.0  # degrees of latitude


def window_of(grid: Grid, bbox: Bounds, *, margin: int, block: tuple[int, int]) -> tuple[Span, Span] | None:
    """Return which rows and columns of a file an area needs: whole blocks.

    A cube is a rectangle in its own CRS, that of one of the scenes: the UTM zone of the area, or a neighbouring one,
    where the rectangle is turned against this file. All of these are covered.

    Parameters
    ----------
    grid : Grid
        Where the file's pixels lie.
    bbox : (west, south, east, north)
        In degrees; west greater than east crosses the antimeridian.
    margin : int
        Pixels around the area that are needed as well.
    block : (int, int)
        Rows and columns of a block (a tile or strip) of the file.

    Returns
    -------
    ((int, int), (int, int)) or None
        Rows and columns [first, after the last); None if no pixel of the file is in the area.
    """
    inverse = ~Affine(*grid.transform)
    needed = []
    for x, y in _outlines(bbox, grid.crs):
        at = [inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c]
        known = np.isfinite(at[0]) & np.isfinite(at[1])
        if not known.any():
            continue
        spans = [(float(axis[known].min()), float(axis[known].max())) for axis in at]
        if all(
            low - _ROUNDED < size and high + _ROUNDED > 0 for (low, high), size in zip(spans, grid.shape, strict=True)
        ):
            needed.append(spans)
    if not needed:
        return None
    rows, columns = (
        _whole(min(low for low, _ in axis), max(high for _, high in axis), margin, size, step)
        for axis, size, step in zip(zip(*needed, strict=True), grid.shape, block, strict=True)
    )
    return rows, columns


def clipped(grid: Grid, rows: Span, columns: Span) -> Grid:
    """Return the grid of a window of a file."""
    a, b, c, d, e, f = grid.transform
    row, column = rows[0], columns[0]
    corner = c + a * column + b * row, f + d * column + e * row
    return Grid(grid.crs, (a, b, corner[0], d, e, corner[1]), (rows[1] - row, columns[1] - column))


def outline(grid: Grid) -> shapely.Geometry:
    """Return what a grid covers, in degrees; two parts where it crosses the antimeridian."""
    x, y = _sides((0, 0, grid.shape[1], grid.shape[0]), _OUTLINE)
    a, b, c, d, e, f = grid.transform
    longitude, latitude = _transform(a * x + b * y + c, d * x + e * y + f, grid.crs, _DEGREES)
    longitude = np.unwrap(longitude, period=360)
    longitude -= 360 * floor((longitude.min() + 180) / 360)
    whole = shapely.make_valid(shapely.Polygon(np.column_stack([longitude, latitude])))
    if longitude.max() <= 180:
        return whole
    beyond = shapely.affinity.translate(shapely.intersection(whole, shapely.box(180, -90, 540, 90)), -360)
    return polygons(shapely.union(shapely.intersection(whole, shapely.box(-180, -90, 180, 90)), beyond))


def polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return what of an area has an extent: where two areas meet there may be lines and points as well."""
    return shapely.union_all([part for part in shapely.get_parts(geometry) if shapely.area(part) > 0])


def bounds_of(geometry: shapely.Geometry) -> list[float]:
    """Return the bbox of an area in degrees as GeoJSON has it: west greater than east across the antimeridian."""
    parts = np.array([part.bounds for part in shapely.get_parts(geometry)])
    west, south = parts[:, 0].min(), parts[:, 1].min()
    east, north = parts[:, 2].max(), parts[:, 3].max()
    if west == -180 and east == 180 and not shapely.intersects(geometry, area_of((-90, -90, 90, 90))):
        west, east = parts[parts[:, 0] > 0, 0].min(), parts[parts[:, 2] < 0, 2].max()
    return [float(west), float(south), float(east), float(north)]


def _outlines(bbox: Bounds, crs: str) -> list[_Points]:
    """Return points along the sides of an area, and of its rectangles in the UTM zones around, in a file's CRS."""
    west, south, east, north = bbox
    east = east if west < east else east + 360
    sides = _sides((west, south, east, north))
    found = [_transform(*sides, _DEGREES, crs)]
    if not _is_in_degrees(crs):
        found = [_sides(_bounds(*found[0]))]
    if max(abs(south), abs(north)) < _FARTHEST_UTM:
        zone = floor(((west + east) / 2 + 180) / 6)
        for near in (zone - 1, zone, zone + 1):
            utm = f"EPSG:{(32600 if south + north >= 0 else 32700) + near % 60 + 1}"
            found.append(_transform(*_sides(_bounds(*_transform(*sides, _DEGREES, utm))), utm, crs))
    if not _is_in_degrees(crs):
        return found
    # Longitudes are only known up to a turn, and a file may count on beyond 180.
    turned = [(np.unwrap(x, period=360), y) for x, y in found]
    return [(x + turn, y) for x, y in turned for turn in (-360.0, 0.0, 360.0)]


def _whole(low: float, high: float, margin: int, size: int, step: int) -> Span:
    around = max(margin, _ROUNDED)
    first, after = max(floor(low) - around, 0), min(ceil(high) + around, size)
    return first // step * step, min(-(-after // step) * step, size)


def _bounds(x: NDArray[np.float64], y: NDArray[np.float64]) -> Bounds:
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _sides(box: Bounds, points: int = _POINTS) -> _Points:
    west, south, east, north = box
    t = np.linspace(0, 1, points)
    x, y = west + (east - west) * t, south + (north - south) * t
    one = np.ones(points)
    return (
        np.concatenate([x, east * one, x[::-1], west * one]),
        np.concatenate([south * one, y, north * one, y[::-1]]),
    )


def _transform(x: NDArray[np.float64], y: NDArray[np.float64], source: str, target: str) -> _Points:
    if source == target:
        return x, y
    to_x, to_y = _transformer(source, target).transform(x, y)
    return to_x, to_y


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


@lru_cache(maxsize=64)
def _is_in_degrees(crs: str) -> bool:
    return bool(pyproj.CRS.from_user_input(crs).is_geographic)
