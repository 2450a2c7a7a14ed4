"""Tiny tiles of a DEM for tests: those of GLO-30 in origin and layout, with posts a minute of arc apart or more."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pystac
import rasterio
from affine import Affine
from shapely.geometry import box, mapping

from sarcube.acquisition.staging.posts import square_name

ROWS = 60  # to a degree


def columns_at(south: int) -> int:
    """Columns to a degree in a tile with this southern edge: fewer from 50 degrees on, as in GLO-30."""
    return 60 if -50 <= south < 50 else 40


def hills(lat, lon):
    """Heights that no two posts share, in metres."""
    return (1000 + 300 * np.sin(17 * lat) * np.cos(11 * lon) + 40 * lat + 7 * lon).astype(np.float32)


def ramp(lat, lon):
    """Heights that interpolation of any kind gives back."""
    return (500 + 200 * lat + 100 * (lon % 360)).astype(np.float32)


def posts_of(south: int, west: int, *, rows: int = ROWS):
    """Latitudes (y, 1) and longitudes (1, x) of a tile's posts."""
    across = columns_at(south) * rows // ROWS
    lat = south + 1 - np.arange(rows)[:, np.newaxis] / rows
    return lat, west + np.arange(across)[np.newaxis] / across


def write_tile(
    folder: Path, south: int, west: int, *, heights=hills, rows=ROWS, off=0.0, crs="EPSG:4326", nodata=None
) -> pystac.Item:
    """Write a tile and return its item; `off` moves its posts by a share of their spacing."""
    lat, lon = posts_of(south, west, rows=rows)
    values = heights(*np.broadcast_arrays(lat, lon))
    across = lon.size
    name = f"Copernicus_DSM_COG_10_{square_name((south, west))}_DEM"
    transform = Affine(1 / across, 0, west - (0.5 - off) / across, 0, -1 / rows, south + 1 + 0.5 / rows)
    path = folder / f"{name}.tif"
    folder.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=rows,
        width=across,
        count=1,
        dtype="float32",
        crs=crs,
        transform=transform,
        nodata=nodata,
        tiled=True,
        blockxsize=16,
        blockysize=16,
        compress="deflate",
    ) as dataset:
        dataset.write(values, 1)
    outline = box(west - 0.5 / across, south + 0.5 / rows, west + 1 - 0.5 / across, south + 1 + 0.5 / rows)
    item = pystac.Item(
        id=name,
        geometry=mapping(outline),
        bbox=list(outline.bounds),
        datetime=datetime(2021, 4, 22, tzinfo=UTC),
        properties={"gsd": 30, "proj:epsg": 4326, "proj:shape": [rows, across], "proj:transform": list(transform)[:6]},
        collection="cop-dem-glo-30",
    )
    item.add_asset("data", pystac.Asset(str(path), roles=["data"]))
    return item
