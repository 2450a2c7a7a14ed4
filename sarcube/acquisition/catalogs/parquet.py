"""Catalogues in stac-geoparquet: a file, or a folder of parts; of a large one only what may be asked for is read."""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pystac
import shapely
from stac_geoparquet.arrow import stac_table_to_items

from sarcube.acquisition.catalogs.areas import area_of
from sarcube.acquisition.catalogs.items import read_item
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

_NEEDED = {"id", "geometry", "bbox", "assets", "datetime"}
_SECOND = timedelta(seconds=1)
_SLACK = 1e-4  # degrees: some writers keep boxes in single precision
_BROKEN = (pa.ArrowException, shapely.errors.ShapelyError, OSError)
# What stac-geoparquet makes of columns that are not as it expects.
_NO_STAC = (AssertionError, AttributeError, KeyError, TypeError, ValueError)


def read_parquet(
    files: Sequence[Path],
    *,
    root: Path,
    bbox: tuple[float, float, float, float] | None,
    spans: Sequence[tuple[datetime, datetime]] | None,
) -> Iterator[pystac.Item]:
    """Read the items that may lie in a box and in spans of time; groups of rows that cannot are passed over.

    Parameters
    ----------
    files : sequence of Path
        Files in stac-geoparquet; their columns may differ.
    root : Path
        Folder that local files of the items must lie in.
    bbox : tuple of float, optional
        West, south, east, north in degrees. Default: anywhere.
    spans : sequence of (datetime, datetime), optional
        Times, UTC. Default: any.

    Yields
    ------
    pystac.Item
        Those, and a few just outside.

    Raises
    ------
    ReadError
        If a file is no stac-geoparquet.
    """
    for file in files:
        for document in _read(file, bbox, spans):
            yield read_item(_without_nulls(document), file=str(file), base=str(file), root=root)


def _read(file: Path, bbox: Any, spans: Any) -> Iterator[dict[str, Any]]:
    try:
        dataset = pyarrow.dataset.dataset(file, format="parquet")
        missing = _NEEDED - set(dataset.schema.names)
        if missing:
            raise ReadError(
                f"{file} is no stac-geoparquet: it has no column {', '.join(sorted(missing))}; write one with the "
                "package stac-geoparquet, or rustac"
            )
        filters = [_in_time(dataset.schema, spans), _in_box(dataset.schema, bbox)]
        wanted = None
        for condition in filters:
            if condition is not None:
                wanted = condition if wanted is None else wanted & condition
        for batch in dataset.to_batches(filter=wanted):
            if batch.num_rows:
                yield from stac_table_to_items(pa.Table.from_batches([batch]))
    except ReadError:
        raise
    except _BROKEN as error:
        raise ReadError(f"cannot read the catalogue file {file}: {error}") from error
    except _NO_STAC as error:
        raise ReadError(f"{file} holds items that cannot be read as stac-geoparquet: {error!r}") from error


def _in_time(schema: pa.Schema, spans: Sequence[tuple[datetime, datetime]] | None) -> pc.Expression | None:
    """Return the condition on `datetime`; an item without has a start and an end, and is looked at."""
    column = schema.field("datetime").type
    if spans is None or not pa.types.is_timestamp(column):
        return None
    condition = pc.field("datetime").is_null()
    for start, end in spans:
        # Whole seconds, which columns of every precision can hold.
        low, high = (start - _SECOND).replace(microsecond=0), (end + _SECOND).replace(microsecond=0)
        if column.tz is None:
            low, high = low.replace(tzinfo=None), high.replace(tzinfo=None)
        condition |= (pc.field("datetime") >= pa.scalar(low, column)) & (
            pc.field("datetime") <= pa.scalar(high, column)
        )
    return condition


def _in_box(schema: pa.Schema, bbox: tuple[float, float, float, float] | None) -> pc.Expression | None:
    """Return the condition on the boxes of items, if they are columns that can be compared."""
    column = schema.field("bbox").type
    sides = ("xmin", "ymin", "xmax", "ymax")
    if bbox is None or not pa.types.is_struct(column) or any(column.get_field_index(side) < 0 for side in sides):
        return None
    xmin, ymin, xmax, ymax = (pc.field("bbox", side) for side in sides)
    condition = xmin.is_null()
    for part in shapely.get_parts(area_of(bbox)):
        west, south, east, north = part.bounds
        along = (xmin <= east + _SLACK) & (xmax >= west - _SLACK)
        # A box whose west is east of its east crosses the antimeridian.
        condition |= (along | (xmin > xmax)) & (ymin <= north + _SLACK) & (ymax >= south - _SLACK)
    return condition


def _without_nulls(document: dict[str, Any]) -> dict[str, Any]:
    """Take out what a column holds for items that have no such field; a missing `datetime` is one that says so."""
    cleaned: dict[str, Any] = _cleaned(document)
    cleaned.setdefault("properties", {}).setdefault("datetime", None)
    return cleaned


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cleaned(entry) for key, entry in value.items() if entry is not None}
    return [_cleaned(entry) for entry in value] if isinstance(value, list) else value
