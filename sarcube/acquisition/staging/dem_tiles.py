"""Which tiles of Copernicus DEM a catalogue has over an area."""

import logging
import math

import pystac
import shapely

from sarcube.acquisition.catalogs.areas import footprint
from sarcube.acquisition.catalogs.find import Source, find_items
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import item_time
from sarcube.acquisition.staging.posts import Bounds, squares_over
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

COLLECTION = "cop-dem-glo-30"
_ASSET = "data"

BBox = tuple[float, float, float, float]


def shown(catalog: Source) -> str:
    """Return a catalogue's name for messages: a collection in memory would print all its items."""
    if isinstance(catalog, pystac.ItemCollection):
        return "the collection in memory"
    return show_url(str(catalog)) if is_url(str(catalog)) else str(catalog)


def tiles_over(bounds: Bounds, catalog: Source) -> dict[tuple[int, int], pystac.Item]:
    """Find the items of the tiles that an area needs.

    Parameters
    ----------
    bounds : (west, south, east, north)
        Degrees, as `posts.widen` has them.
    catalog : str, Path or pystac.ItemCollection
        See `find_items`.

    Returns
    -------
    dict of (int, int) to pystac.Item
        By (south, west) as `posts.squares_over` has them, those that there are, in the order of their ids; of two
        processings of a tile the newer one.

    Raises
    ------
    ReadError
        If the catalogue cannot be read.
    """
    squares = set(squares_over(bounds))
    found: dict[tuple[int, int], pystac.Item] = {}
    items = find_items(catalog, collection=COLLECTION, bbox=_as_bbox(bounds))
    for item in sorted(items, key=lambda item: (item_time(item), item.id)):
        middle = shapely.centroid(footprint(item))
        # Half a post lies outside the degree; the middle does not.
        square = math.floor(middle.y), (math.floor(middle.x) + 180) % 360 - 180
        if square in squares:
            if square in found:
                logger.info("DEM tile %s is taken, %s is older", item.id, found[square].id)
            found[square] = item
    return dict(sorted(found.items(), key=lambda pair: pair[1].id))


def href_of(item: pystac.Item) -> str:
    """Return where the raster of a tile is.

    Raises
    ------
    ReadError
        If its item does not say.
    """
    asset = item.assets.get(_ASSET) or next(iter(item.assets.values()), None)
    if asset is None:
        raise ReadError(f'DEM tile "{item.id}" has no file; expected the asset "{_ASSET}"')
    return asset.href


def _as_bbox(bounds: Bounds) -> BBox:
    """Return an area as a search takes it: west greater than east across the antimeridian."""
    west, south, east, north = bounds
    return (west + 360 if west < -180 else west), south, (east - 360 if east > 180 else east), north
