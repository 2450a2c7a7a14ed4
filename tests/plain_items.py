"""Items without files, for tests of what is done with items: fields like those of `sentinel-1-rtc`."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pystac
import stac_geoparquet.arrow
from shapely.geometry import box, mapping

BOX = (99.85, 0.85, 99.95, 0.95)


def plain_item(
    name: str,
    time: str,
    *,
    bounds: tuple[float, float, float, float] = BOX,
    polarisations: tuple[str, ...] = ("vv", "vh"),
    orbit_state: str = "descending",
    relative_orbit: int = 164,
    collection: str | None = "sentinel-1-rtc",
    api: str | None = None,
) -> pystac.Item:
    """Return an item; with `api` it has the links that this API would give it."""
    moment = datetime.fromisoformat(time).replace(tzinfo=UTC)
    item = pystac.Item(
        id=name,
        geometry=mapping(box(*bounds)),
        bbox=list(bounds),
        datetime=moment,
        properties={
            "start_datetime": (moment - timedelta(seconds=12.5)).isoformat(),
            "end_datetime": (moment + timedelta(seconds=12.5)).isoformat(),
            "platform": "SENTINEL-1A",
            "sat:orbit_state": orbit_state,
            "sat:relative_orbit": relative_orbit,
            "proj:epsg": 32647,
            "proj:transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 100000.0, 0.0, 0.0, 1.0],
            "proj:shape": [400, 500],
        },
        collection=collection,
    )
    for polarisation in polarisations:
        href = f"https://archive.example/{name}/iw-{polarisation}.rtc.tiff"
        item.add_asset(polarisation, pystac.Asset(href, media_type="image/tiff", roles=["data"]))
    if api is not None:
        item.add_link(pystac.Link("root", f"{api}/", "application/json"))
        item.add_link(pystac.Link("parent", f"{api}/collections/{collection}", "application/json"))
        item.add_link(pystac.Link("self", f"{api}/collections/{collection}/items/{name}", "application/geo+json"))
        item.add_link(pystac.Link("derived_from", f"{api}/collections/sentinel-1-grd/items/{name[:-4]}"))
    return item


def write_parquet(items: Iterable[pystac.Item | dict[str, Any]], file: Path, **settings: Any) -> Path:
    """Write items as stac-geoparquet, as archives publish them; settings are those of pyarrow's writer."""
    documents = [item if isinstance(item, dict) else item.to_dict(transform_hrefs=False) for item in items]
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(documents)
    stac_geoparquet.arrow.to_parquet(table, file, **settings)
    return file
