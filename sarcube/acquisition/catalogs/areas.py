"""Where an item lies and what a box in degrees covers."""

import json

import pystac
import shapely

from sarcube.errors import ReadError


def area_of(bbox: tuple[float, float, float, float]) -> shapely.Geometry:
    """Return the area of a box in degrees; west greater than east crosses the antimeridian and gives two boxes."""
    west, south, east, north = bbox
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))


def footprint(item: pystac.Item) -> shapely.Geometry:
    """Return the area of an item in degrees: its geometry, or its bbox where it has none.

    Raises
    ------
    ReadError
        If the geometry cannot be read, or there is neither.
    """
    if item.geometry is None:
        if item.bbox is None:
            raise ReadError(f'item "{item.id}" has neither geometry nor bbox')
        west, south, east, north = item.bbox if len(item.bbox) == 4 else (*item.bbox[:2], *item.bbox[3:5])
        return area_of((west, south, east, north))
    try:
        geometry = shapely.from_geojson(json.dumps(item.geometry))
    except shapely.errors.ShapelyError as error:
        raise ReadError(f'item "{item.id}" has a geometry that cannot be read: {error}') from error
    return geometry if geometry.is_valid else shapely.make_valid(geometry)
