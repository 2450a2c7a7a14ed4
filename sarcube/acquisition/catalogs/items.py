"""Items as catalogues give them, made fit for use: addresses absolute and allowed, no links to follow."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pystac

from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.acquisition.scenes import POLARISATIONS
from sarcube.acquisition.signing import expired, unsigned
from sarcube.errors import InputError, ReadError

logger = logging.getLogger(__name__)

_NO_ITEM = (pystac.STACError, pystac.STACTypeError, AttributeError, KeyError, TypeError, ValueError, RecursionError)
# What OGC API Features, and so every STAC API, calls an item: its own address tells the API's.
_ITEM_OF_API = re.compile(r"(?P<api>https?://[^?#]+)/collections/[^/?#]+/items/[^/?#]+", re.IGNORECASE)


def read_item(document: Mapping[str, Any], *, file: str, base: str, root: Path | None = None) -> pystac.Item:
    """Read an item.

    Parameters
    ----------
    document : mapping
        The item in JSON.
    file : str
        Where it was read, for messages.
    base : str
        File or URL that relative hrefs are relative to.
    root : Path, optional
        Folder that local files must lie in.

    Raises
    ------
    ReadError
        If it is no item.
    InputError
        If a polarisation's href may not be opened.
    """
    try:
        item = pystac.Item.from_dict(dict(document), preserve_dict=False)
    except _NO_ITEM as error:
        raise ReadError(f"{file} holds an item that cannot be read: {error!r}") from error
    return tidy(item, base=base, root=root)


def tidy(item: pystac.Item, *, base: str | None, root: Path | None = None) -> pystac.Item:
    """Make the addresses of an item absolute, in place, and take out signatures that have expired.

    An asset with an address that may not be opened is taken out of the item; a polarisation with such an address is
    an error. What remains of the links leads out of the catalogue; an item of an API keeps its own address there.
    """
    home = _home(item, base)
    if base is not None and is_url(base):
        base = home or base  # what is relative in an answer is relative to the item, as in a file
    # Links lead to where nobody has looked; pystac would follow them when the item is copied or written.
    item.remove_hierarchical_links()
    for key, asset in list(item.assets.items()):
        try:
            asset.href = _allowed(str(asset.href), owner=f'item "{item.id}" ({key})', base=base, root=root)
        except InputError as error:
            if key.lower() in POLARISATIONS:
                raise
            logger.info("left out: %s", error)
            del item.assets[key]
    item.set_self_href(home)
    return item


def catalog_of(item: pystac.Item) -> str | None:
    """Return the URL of the STAC API that an item came from, by its own address or its link to the root, or None.

    The own address of a staged copy is the link "canonical".
    """
    links = [str(link.target) for link in item.get_links("canonical")]
    for href in (item.get_self_href(), *links):
        match = _ITEM_OF_API.fullmatch(str(href or ""))
        if match is not None:
            return match["api"]
    link = item.get_root_link()
    if link is None:
        return None
    # Never resolved: that would open whatever the item says.
    href = link.target if isinstance(link.target, str) else link.target.get_self_href()
    return href.rstrip("/") if href and is_url(href) and not href.lower().endswith(".json") else None


def _home(item: pystac.Item, base: str | None) -> str | None:
    """Return what an item's own address is to be: its URL where it has one, else the file that it was read from."""
    said = item.get_self_href()
    if said is not None and is_url(said):
        return said
    return base if base is not None and not is_url(base) else None


def _allowed(href: str, *, owner: str, base: str | None, root: Path | None) -> str:
    found = resolve_href(href, owner=owner, base=base, root=root)
    return unsigned(found) if expired(found) else found
