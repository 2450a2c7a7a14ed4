"""STAC APIs: a search asked question by question, each whole answer kept, and an old answer where none comes."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pystac
import pystac_client
import shapely

from sarcube.acquisition.catalogs import answers
from sarcube.acquisition.catalogs.answers import Answer
from sarcube.acquisition.catalogs.areas import area_of
from sarcube.acquisition.catalogs.paging import PASSING, ApiIO
from sarcube.acquisition.files.connections import show_url
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

_PAGE = 100  # items: some 100 kB packed, which comes through a bad line before it breaks
_SECOND = timedelta(seconds=1)


def query(
    url: str,
    *,
    collection: str,
    bbox: tuple[float, float, float, float],
    spans: Sequence[tuple[datetime, datetime]] | None = None,
) -> tuple[list[dict[str, Any]], datetime]:
    """Ask a STAC API for items; one question per span of time and side of the antimeridian.

    Parameters
    ----------
    url : str
        The API's landing page.
    collection : str
        The collection to search.
    bbox : tuple of float
        West, south, east, north in degrees.
    spans : sequence of (datetime, datetime), optional
        Times to search, UTC; default: all. Up to two seconds more are asked for.

    Returns
    -------
    documents : list of dict
        Items in JSON, each id once.
    answered : datetime
        When the API answered; the oldest time where there are several answers. UTC.

    Raises
    ------
    ReadError
        If the API does not answer after the retries, and did not answer the same question before.
    """
    io = ApiIO(url)
    client = _open(io)
    method = client.get_links("search")[0].extra_fields["method"]
    found: dict[str, dict[str, Any]] = {}
    used: list[Answer] = []
    for part in shapely.get_parts(area_of(bbox)):
        for span in [None] if spans is None else spans:
            search = client.search(
                method=method,
                collections=[collection],
                bbox=part.bounds,
                datetime=None if span is None else _whole_seconds(*span),
                limit=_PAGE,
            )
            used.append(_answer(io, search))
            # The same item twice, where pages moved while they were read or a scene lies on both sides: the later.
            found |= {str(document.get("id")): document for document in used[-1].document}
    oldest = min(used, key=lambda answer: answer.time)
    if io.down is not None and not oldest.is_young:
        age = str(datetime.now(UTC) - oldest.time).partition(".")[0]
        logger.warning(
            "%s. Its answer of %s UTC is used, %s old: newer scenes may be missing",
            *(io.down, f"{oldest.time:%Y-%m-%d %H:%M}", age),
        )
    return list(found.values()), oldest.time


def _open(io: ApiIO) -> pystac_client.Client:
    try:
        client = pystac_client.Client.open(io.url, stac_io=io)
    except (pystac.STACError, pystac.STACTypeError, KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{show_url(io.url)} is no STAC API: {error!r}") from error
    if not client.conforms_to("ITEM_SEARCH"):
        raise ReadError(
            f"the catalogue {show_url(io.url)} cannot be searched: its conformsTo does not name item-search"
        )
    return client


def _whole_seconds(start: datetime, end: datetime) -> tuple[datetime, datetime]:
    # What is asked for too much is sorted out by who asks, as for every catalogue.
    return (start - _SECOND).replace(microsecond=0), (end + _SECOND).replace(microsecond=0)


def _answer(io: ApiIO, search: pystac_client.ItemSearch) -> Answer:
    """Return all items of one question, as one answer.

    Only whole answers grow old: pages of different times may have lost an item between them.
    """
    key = answers.key_of("all pages", str(search.url), [search.method, search.get_parameters()])
    old = io.kept(key)
    if old is not None and (old.is_young or io.down is not None):
        return old
    try:
        items = [feature for page in search.pages_as_dicts() for feature in page["features"]]
    except ReadError as error:
        if old is None or error.kind not in PASSING:
            raise
        io.down = error
        return old
    answer = Answer(items, min(io.pages.values()))
    io.keep(key, answer)
    for page in io.pages:
        answers.drop(page)
    return answer
