"""Tiny scenes with Planetary Computer-like items, for tests: files that say what they hold."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from shapely.geometry import box, mapping

LEFT, TOP = 600_000.0, 100_000.0  # UTM 47N, near the equator: 99.9° E, 0.9° N
CRS = "EPSG:32647"


def speckle(seed: int, shape: tuple[int, int] = (40, 50), *, level: float = 0.1) -> NDArray[np.float32]:
    """Return gamma speckle of ENL 4.4 around a level of linear power."""
    return np.random.default_rng(seed).gamma(4.4, level / 4.4, shape).astype(np.float32)


def write_rtc(
    path: Path,
    values: NDArray[np.float32],
    *,
    left: float = LEFT,
    top: float = TOP,
    resolution: float = 10.0,
    crs: str = CRS,
    nodata: float | None = -32768.0,
    tags: Mapping[str, str] | None = None,
) -> Path:
    """Write (y, x) values as a tiled GeoTIFF, as an archive would hold them: NaN and nodata stay what they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype=values.dtype,
        crs=crs,
        transform=Affine(resolution, 0, left, 0, -resolution, top),
        nodata=nodata,
        tiled=True,
        blockxsize=16,
        blockysize=16,
        compress="deflate",
    ) as dataset:
        dataset.write(values, 1)
        dataset.update_tags(**(tags or {}))
    return path


def make_item(
    name: str,
    files: Mapping[str, Path],
    *,
    time: str = "2022-02-01T11:30:00",
    seconds: float = 25.0,
    orbit_state: str = "descending",
    relative_orbit: int = 164,
    platform: str = "SENTINEL-1A",
    processed: str | None = None,
) -> pystac.Item:
    """Make an item whose fields are those of `sentinel-1-rtc`; projection and outline come from the first file."""
    start = datetime.fromisoformat(time).replace(tzinfo=UTC)
    with rasterio.open(next(iter(files.values()))) as dataset:
        epsg, transform, shape, bounds = dataset.crs.to_epsg(), dataset.transform, dataset.shape, dataset.bounds
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    outline = box(*to_degrees.transform_bounds(*bounds))
    item = pystac.Item(
        id=name,
        geometry=mapping(outline),
        bbox=list(outline.bounds),
        datetime=start + timedelta(seconds=seconds / 2),
        properties={
            "start_datetime": str(start),
            "end_datetime": str(start + timedelta(seconds=seconds)),
            "platform": platform,
            "sat:orbit_state": orbit_state,
            "sat:relative_orbit": relative_orbit,
            "sar:polarizations": [polarisation.upper() for polarisation in files],
            "proj:epsg": epsg,
            "proj:transform": [*tuple(transform)[:6], 0, 0, 1],
            "proj:shape": list(shape),
            **({"processing:datetime": processed} if processed else {}),
        },
    )
    for polarisation, path in files.items():
        item.add_asset(polarisation, pystac.Asset(str(path), roles=["data"]))
    return item


def scene(
    folder: Path, name: str, *, seed: int = 0, polarisations: tuple[str, ...] = ("vv", "vh"), **settings: object
) -> pystac.Item:
    """Write one scene of speckle and return its item; settings are those of `write_rtc` and `make_item`."""
    raster = {key: settings.pop(key) for key in ("left", "top", "resolution", "crs", "nodata") if key in settings}
    shape = settings.pop("shape", (40, 50))
    files = {
        polarisation: write_rtc(
            folder / name / f"iw-{polarisation}.rtc.tiff", speckle(10 * seed + number, shape), **raster
        )
        for number, polarisation in enumerate(polarisations)
    }
    return make_item(name, files, **settings)


def write_catalogue(folder: Path, items: list[pystac.Item]) -> Path:
    """Write a static catalogue with relative hrefs into the folder that holds the items' files."""
    links = []
    for item in items:
        document = item.to_dict(include_self_link=False)
        for asset in document["assets"].values():
            asset["href"] = f"../{Path(asset['href']).relative_to(folder).as_posix()}"
        path = folder / "items" / f"{item.id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document))
        links.append({"rel": "item", "href": f"./items/{item.id}.json"})
    catalogue = {"type": "Catalog", "id": "test", "stac_version": "1.0.0", "description": "test", "links": links}
    (folder / "catalog.json").write_text(json.dumps(catalogue))
    return folder


def values_of(item: pystac.Item, polarisation: str = "vv") -> NDArray[np.float32]:
    """Return what the file of an item holds."""
    with rasterio.open(item.assets[polarisation].href) as dataset:
        return dataset.read(1)
