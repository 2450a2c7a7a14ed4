"""Items of a collection, whatever the catalogue: a STAC API, a folder, files in JSON or parquet, a collection."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pystac
import shapely

from sarcube.acquisition.catalogs.api import query
from sarcube.acquisition.catalogs.areas import area_of, footprint
from sarcube.acquisition.catalogs.items import catalog_of as catalog_of
from sarcube.acquisition.catalogs.items import read_item, tidy
from sarcube.acquisition.catalogs.static import read_static
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import item_time

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"

Source = str | Path | pystac.ItemCollection
Span = tuple[datetime, datetime]
Box = tuple[float, float, float, float]


def find_items(source: Source, *, collection: str, bbox: Box, spans: Sequence[Span] | None = None) -> list[pystac.Item]:
    """Find the items of a collection that touch a box, at any time or in spans of time.

    Parameters
    ----------
    source : str, Path or pystac.ItemCollection
        The URL of a STAC API; a folder with a static catalogue; a catalogue, an ItemCollection in JSON or a
        stac-geoparquet file; a folder of such files; a collection in memory.
    collection : str
        The collection that items must name.
    bbox : tuple of float
        West, south, east, north in degrees; west greater than east crosses the antimeridian.
    spans : sequence of (datetime, datetime), optional
        First and last moment of each span, both inclusive, with time zones.

    Returns
    -------
    list of pystac.Item
        In the order of the catalogue, with absolute hrefs that may be opened. Assets whose addresses may not be
        opened are left out.

    Raises
    ------
    InputError
        If `source` is no catalogue, or a polarisation's href may not be opened.
    ReadError
        If a file of the catalogue is broken, or the API does not answer.
    """
    found, _ = find(source, collection=collection, bbox=bbox, spans=spans)
    return [item for item in found if item.collection_id == collection]


def find(
    source: Source, *, collection: str, bbox: Box | None, spans: Sequence[Span] | None
) -> tuple[list[pystac.Item], datetime]:
    """Find items as `find_items` does, also those that name no collection; and say when the catalogue told (UTC)."""
    items, answered = candidates(source, collection=collection, bbox=bbox, spans=spans)
    area = None if bbox is None else area_of(bbox)
    found = [
        item
        for item in items
        if item.collection_id in (collection, None)
        and (spans is None or any(start <= item_time(item) <= end for start, end in spans))
        and (area is None or shapely.intersects(footprint(item), area))
    ]
    return found, answered


def candidates(
    source: Source, *, collection: str, bbox: Box | None, spans: Sequence[Span] | None
) -> tuple[list[pystac.Item], datetime]:
    """Return the items of a catalogue that may be asked for, and when it told (UTC).

    Only catalogues that are too large to be read whole (`is_large`) heed what is asked; they need a box.
    """
    now = datetime.now(UTC)
    if isinstance(source, pystac.ItemCollection):
        return [tidy(item.clone(), base=item.get_self_href()) for item in source], now
    if is_url(str(source)):
        url = str(source)
        assert bbox is not None
        documents, answered = query(url, collection=collection, bbox=bbox, spans=spans)
        shown = show_url(url)  # nor does what may be a secret get into an item's addresses
        return [read_item(document, file=shown, base=shown) for document in documents], answered
    path = Path(source)
    parts = parquet_files(path)
    if not parts:
        return list(read_static(path)), now
    from sarcube.acquisition.catalogs.parquet import read_parquet  # takes a second to import, and is seldom wanted

    root = path if path.is_dir() else path.parent
    return list(read_parquet(parts, root=root, bbox=bbox, spans=spans)), now


def is_large(source: Source) -> bool:
    """Whether a catalogue is asked for what is wanted, and not read whole."""
    return not isinstance(source, pystac.ItemCollection) and (is_url(str(source)) or bool(parquet_files(Path(source))))


def parquet_files(path: Path) -> list[Path]:
    """Return the files of a catalogue in stac-geoparquet; none where there is a catalogue in JSON, or neither."""
    if path.is_file():
        return [path] if path.suffix.lower() in (".parquet", ".geoparquet") else []
    if (path / "catalog.json").is_file() or (path / "collection.json").is_file():
        return []
    # Parts lie side by side, or by year and month; no deeper, lest a folder that was a slip is searched for minutes.
    patterns = [f"{above}*.{ending}" for above in ("", "*/", "*/*/") for ending in ("parquet", "geoparquet")]
    return sorted(file for pattern in patterns for file in path.glob(pattern) if file.is_file())
