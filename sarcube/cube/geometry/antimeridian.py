"""Polygons and a grid in degrees on one turn of the globe: 180.1 and -179.9 are the same meridian."""

from functools import partial

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

Shapes = NDArray[np.object_]
Floats64 = NDArray[np.float64]

_TURN = 360.0  # degrees


def on_turn_of_grid(shapes: Shapes, geobox: GeoBox) -> Shapes:
    """Bring polygons to the longitudes that a grid counts in, by whole turns of the globe.

    Otherwise a grid across the antimeridian has half of a landslide there: polygons are cut in two, at 180 and at -180,
    or, if they were reprojected, have corners on both sides. What is wider than half the globe is taken for the latter.

    Parameters
    ----------
    shapes : (n,) array of shapely.Polygon or shapely.MultiPolygon
        In the grid's CRS; some may be missing or empty.
    geobox : GeoBox
        In any CRS; where that is not geographic, nothing is done.

    Returns
    -------
    (n,) array of shapely.Polygon or shapely.MultiPolygon
        What lay in the grid's turn is what it was. Parts of one shape may share an edge, where they were cut.
    """
    if geobox.crs is None or not geobox.crs.geographic:
        return shapes
    parts, owner = shapely.get_parts(shapes, return_index=True)
    west, east = _longitudes(parts)
    across = np.flatnonzero(east - west > _TURN / 2)
    joined = shapely.transform(parts[across], lambda points: np.column_stack([points[:, 0] % _TURN, points[:, 1]]))
    left, right = _longitudes(joined)
    narrow = (right > left) & (right - left < _TURN / 2)  # and not the whole globe, from -180 to 180
    parts[across[narrow]], west[across[narrow]], east[across[narrow]] = joined[narrow], left[narrow], right[narrow]

    middle = geobox.affine.c + geobox.affine.a * geobox.shape[1] / 2
    turns = np.round((middle - (west + east) / 2) / _TURN)
    moved = np.flatnonzero(np.isfinite(turns) & (turns != 0))
    for part in moved:
        parts[part] = shapely.transform(parts[part], partial(np.add, (_TURN * turns[part], 0.0)))
    result = shapes.copy()
    for number in np.unique(owner[np.union1d(moved, across[narrow])]):
        own = parts[slice(*np.searchsorted(owner, (number, number + 1)))]
        result[number] = own[0] if len(own) == 1 else shapely.MultiPolygon(list(own))
    return result


def _longitudes(shapes: Shapes) -> tuple[Floats64, Floats64]:
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    bounds[~np.isfinite(bounds).all(axis=1)] = np.nan  # of empty shapes, and of those that the CRS does not reach
    return bounds[:, 0], bounds[:, 2]
