"""Which share of each pixel polygons cover: exact, by the edges that cross it.

By Green's theorem the area of a polygon is a sum over its edges. Cut at the lines of the grid, each piece of an edge
lies in one pixel: it covers what lies right of it there, and in its row all pixels further right, over the height that
it climbs. So only pixels that an edge crosses are looked at; a sum along each row fills the inside.
"""

import numpy as np
import shapely
from numpy.typing import NDArray

Floats64 = NDArray[np.float64]

_ROUNDING = 1e-9  # of a pixel: what a sum along a row may leave where it should be 0 or 1


def pixel_coverage(polygons: NDArray[np.object_], origin: tuple[int, int], shape: tuple[int, int]) -> Floats64:
    """Measure which share of each pixel of a window polygons cover.

    Parameters
    ----------
    polygons : (n,) array of shapely.Polygon
        Valid, none over another, in pixels (x across, y down) of the grid, none reaching out of the window.
    origin : tuple of int
        The window's first row and column.
    shape : tuple of int
        Its rows and columns.

    Returns
    -------
    (y, x) float64 array
        0 to 1, exact to rounding; what is within 1e-9 of 0 or 1 is that.
    """
    rows, columns = shape
    start, end = (points - origin[::-1] for points in _edges(polygons))
    middle, climb = _cut_at_lines(start, end)
    row, column = np.floor(middle[:, 1]).clip(0, rows - 1), np.floor(middle[:, 0]).clip(0, columns)
    beside = climb * (middle[:, 0] - column)
    # Two columns more: for edges along the right border, and for what lies right of these.
    place = (row * (columns + 2) + column).astype(np.int64)
    size = rows * (columns + 2)
    covered = np.bincount(place, climb - beside, size) + np.bincount(place + 1, beside, size)
    share: Floats64 = np.cumsum(covered.reshape(rows, columns + 2), axis=1)[:, :columns]
    share[share < _ROUNDING] = 0
    share[share > 1 - _ROUNDING] = 1
    return share


def _edges(polygons: NDArray[np.object_]) -> tuple[Floats64, Floats64]:
    """Starts and ends (edge, xy) of all edges, each with the polygon on the same side."""
    rings = shapely.get_rings(shapely.normalize(polygons))  # shells one way round, holes the other
    points, ring = shapely.get_coordinates(rings, return_index=True)
    joined = ring[1:] == ring[:-1]
    return points[:-1][joined], points[1:][joined]


def _cut_at_lines(start: Floats64, end: Floats64) -> tuple[Floats64, Floats64]:
    """Cut edges at whole numbers of x and y: middles (piece, xy) and how far each piece climbs (piece,)."""
    along = end - start
    every = np.arange(len(start))
    edges, places = [every, every], [np.zeros(len(start)), np.ones(len(start))]
    for axis in (0, 1):
        first = np.floor(np.minimum(start, end)[:, axis]) + 1
        last = np.ceil(np.maximum(start, end)[:, axis]) - 1
        number = np.maximum(last - first + 1, 0).astype(np.int64)
        edge = np.repeat(every, number)
        line = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(number) - number, number)
        edges.append(edge)
        places.append((line - start[edge, axis]) / along[edge, axis])
    edge, place = np.concatenate(edges), np.concatenate(places)
    order = np.lexsort((place, edge))
    edge, place = edge[order], place[order]
    joined = edge[1:] == edge[:-1]
    edge, before, after = edge[1:][joined], place[:-1][joined], place[1:][joined]
    middle = start[edge] + ((before + after) / 2)[:, np.newaxis] * along[edge]
    return middle, (after - before) * along[edge, 1]
