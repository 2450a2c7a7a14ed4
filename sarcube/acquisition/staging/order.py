"""What is to be staged, of all that was given."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import pystac

from sarcube.acquisition.scenes import Scene, drop_duplicates, read_scene
from sarcube.errors import InputError, NoSceneError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Order:
    """What is to be staged: items by id, their scenes without duplicates, and which were dropped for which."""

    items: dict[str, pystac.Item]
    scenes: list[Scene]
    dropped: list[tuple[Scene, Scene]]


def order_of(items: Iterable[pystac.Item]) -> Order:
    """Read the items; say which are left out.

    Raises
    ------
    NoSceneError
        If there are none.
    InputError
        If two items have one id, or one does not say its track.
    """
    by_id: dict[str, pystac.Item] = {}
    for item in items:
        known = by_id.setdefault(item.id, item)
        if known is not item and _hrefs(known) != _hrefs(item):
            raise InputError(f'two items are "{item.id}", with other files; keep one of them')
    if not by_id:
        raise NoSceneError("there are no items to stage; search found none, or the collection is empty")
    scenes = [read_scene(item) for item in by_id.values()]
    for scene in scenes:
        if not scene.rasters:
            logger.warning('left out item "%s": it has no polarisation', scene.id)
    kept, dropped = drop_duplicates(scene for scene in scenes if scene.rasters)
    for old, new in dropped:
        logger.warning('left out item "%s": "%s" is another processing of the same acquisition', old.id, new.id)
    return Order(by_id, kept, dropped)


def _hrefs(item: pystac.Item) -> list[str]:
    return sorted(str(asset.href) for asset in item.assets.values())
