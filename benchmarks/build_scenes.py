"""Simulated RTC scenes for `benchmarks.build`: float32 COGs as Planetary Computer's are, and their items.

A ground whose level changes over kilometres and over fields, times gamma speckle of 4.4 looks. Every pixel is valid.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pystac
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter
from shapely.geometry import box, mapping

CRS = "EPSG:32647"
LEFT, TOP = 600_000.0, 100_000.0
RESOLUTION = 10.0
DATES = 12
_LOOKS = 4.4
_COARSE = 8  # pixels from one value of the ground to the next
_STRIP = 512
_EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
    "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "https://stac-extensions.github.io/sar/v1.0.0/schema.json",
    "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
]


def cube_grid(size: int) -> GeoBox:
    """Return the grid of the cube: that of the aligned scenes."""
    return GeoBox((size, size), Affine(RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP), CRS)


def make_scenes(folder: Path, *, size: int, offset: bool, distinct: int = DATES) -> pystac.ItemCollection:
    """Make 12 dates of VV, or find those that are there.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    size : int
        Rows and columns of a scene.
    offset : bool
        Shift every date by another part of a pixel, along both axes.
    distinct : int
        How many files differ; the dates after these are hard links to them.
    """
    record = folder / "items.json"
    if not record.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shifts = np.random.default_rng(7).uniform(0.1, 0.9, (DATES, 2)) if offset else np.zeros((DATES, 2))
        items = []
        for date in range(DATES):
            file = folder / f"iw-vv-{date:02d}.rtc.tiff"
            transform = Affine(RESOLUTION, 0, LEFT, 0, -RESOLUTION, TOP) * Affine.translation(*shifts[date])
            if date < distinct:
                _write_cog(file, size, transform, seed=1000 * int(offset) + date)
            else:
                file.unlink(missing_ok=True)
                os.link(folder / f"iw-vv-{date % distinct:02d}.rtc.tiff", file)
            items.append(make_item(date, {"vv": file}, transform, (size, size)))
        record.write_text(json.dumps(pystac.ItemCollection(items).to_dict()))
    return read_items(record)


def read_items(record: Path) -> pystac.ItemCollection:
    """Read the items of a folder of scenes."""
    return pystac.ItemCollection.from_file(str(record))


def make_item(number: int, files: dict[str, Path], transform: Affine, shape: tuple[int, int]) -> pystac.Item:
    """Make the item of a date; the fields that readers look at are those of `sentinel-1-rtc`."""
    start = datetime(2022, 2, 1, 11, 30, tzinfo=UTC) + timedelta(days=12 * number)
    corners = [transform * corner for corner in ((0, shape[0]), (shape[1], 0))]
    to_degrees = pyproj.Transformer.from_crs(CRS, 4326, always_xy=True)
    outline = box(*to_degrees.transform_bounds(*corners[0], *corners[1]))
    item = pystac.Item(
        id=f"S1A_IW_GRDH_1SDV_{start:%Y%m%dT%H%M%S}_rtc",
        geometry=mapping(outline),
        bbox=list(outline.bounds),
        datetime=start + timedelta(seconds=12.5),
        stac_extensions=_EXTENSIONS,
        properties={
            "start_datetime": start.isoformat(),
            "end_datetime": (start + timedelta(seconds=25)).isoformat(),
            "platform": "SENTINEL-1A",
            "constellation": "Sentinel-1",
            "sat:orbit_state": "descending",
            "sat:relative_orbit": 164,
            "sar:polarizations": [name.upper() for name in files],
            "proj:epsg": int(CRS.removeprefix("EPSG:")),
            "proj:transform": [*tuple(transform)[:6], 0, 0, 1],
            "proj:shape": list(shape),
        },
    )
    for name, path in files.items():
        fields: dict[str, Any] = {"raster:bands": [{"nodata": -32768, "data_type": "float32"}]}
        media = "image/tiff; application=geotiff; profile=cloud-optimized"
        item.add_asset(name, pystac.Asset(str(path), media_type=media, roles=["data"], extra_fields=fields))
    return item


def _write_cog(path: Path, size: int, transform: Affine, *, seed: int) -> None:
    profile = {
        "driver": "GTiff",
        "width": size,
        "height": size,
        "count": 1,
        "dtype": "float32",
        "crs": CRS,
        "transform": transform,
        "nodata": -32768.0,
        "BIGTIFF": "IF_SAFER",
    }
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(plain, "w", **profile) as dataset:
        for row, strip in _strips(size, seed):
            dataset.write(strip, 1, window=Window(0, row, size, strip.shape[0]))
    settings = {"COMPRESS": "DEFLATE", "BLOCKSIZE": "512", "OVERVIEW_RESAMPLING": "AVERAGE", "NUM_THREADS": "2"}
    rasterio.shutil.copy(plain, path, driver="COG", BIGTIFF="IF_SAFER", **settings)
    plain.unlink()


def _strips(size: int, seed: int) -> Iterator[tuple[int, np.ndarray]]:
    """Linear power (rows, size) float32, some rows at a time; the ground of all seeds is one, the speckle is not."""
    cells = -(-size // _COARSE) + 1
    rng = np.random.default_rng(0)
    level = np.full((cells, cells), -11.0)  # dB
    for scale, spread in ((40.0, 2.0), (8.0, 1.5), (2.0, 1.0)):
        field = gaussian_filter(rng.standard_normal((cells, cells)), scale, mode="wrap")
        level += spread * (field - field.mean()) / field.std()
    ground = (10 ** (level / 10)).astype(np.float32)
    at = np.arange(size) / _COARSE
    left, share = at.astype(int), (at % 1).astype(np.float32)
    across = ground[:, left] * (1 - share) + ground[:, left + 1] * share
    for row in range(0, size, _STRIP):
        rows = slice(row, min(row + _STRIP, size))
        down = share[rows, None]
        strip = across[left[rows]] * (1 - down) + across[left[rows] + 1] * down
        speckle = np.random.default_rng((seed, row)).standard_gamma(_LOOKS, strip.shape, dtype=np.float32)
        yield row, strip * speckle / np.float32(_LOOKS)
