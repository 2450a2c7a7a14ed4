"""Layover and shadow on a real mountain: what the local test finds, what the exact one does, and where they differ.

    python examples/tyrol_distortion.py --out tyrol    # --dem and --annotation, where they are not in ../shared/data

The ground is a 5 m DEM of a valley in Tyrol (AvaFrame, EUPL-1.2), the orbit that of a Sentinel-1B product (contains
modified Copernicus Sentinel data 2021). Pictures go into the folder; everything printed is computed.
"""

import argparse
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from matplotlib.figure import Figure
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from PIL import Image

import sarcube as sc

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
DEM = DATA / "tyrol" / "avaGar.asc"
ANNOTATION = (
    DATA / "annotations" / "s1b-iw-grd-vv-20210401t052623-20210401t052648-026269-032297-001.xml"
)  # S1B, relative orbit 168, descending
DEM_CRS = "EPSG:31287"  # MGI / Austria Lambert; the file does not say so
CREDIT = "DEM: AvaFrame, EUPL-1.2. Orbit: contains modified Copernicus Sentinel data 2021."
SUMMIT = (247_623.0, 352_500.0)  # on the look line of the second picture, in the DEM's CRS

CODES = {0: "clear", 1: "shadow", 2: "layover", 3: "both", 255: "no data"}
PARTS = {2: "layover, active", 8: "layover, passive", 1: "shadow, active", 4: "shadow, passive"}


def declare_crs(dem: Path, target: Path) -> np.ndarray:
    """Copy a DEM into a GeoTIFF that declares its CRS; return where the DEM is no data, (y, x) bool."""
    with rasterio.open(dem) as source:
        heights = source.read(1)
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": source.nodata, "crs": DEM_CRS}
        size = {"width": source.width, "height": source.height, "transform": source.transform}
        hole = source.read_masks(1) == 0
    with rasterio.open(target, "w", **profile, **size) as copy:
        copy.write(heights, 1)
    return hole


def cube_on(dem: Path) -> xr.Dataset:
    """Return a cube without scenes on the DEM's own grid: its heights are used as they are, nothing is resampled."""
    with rasterio.open(dem) as source:
        geobox = GeoBox(source.shape, source.transform, source.crs)
    return xr.Dataset(
        coords={
            **xr_coords(geobox),
            "time": pd.to_datetime(["2021-04-01"]),
            "scene_track": ("time", np.array(["D168"], object)),
            "relative_orbit": ("time", np.array([168], np.int16)),
            "orbit_state": ("time", np.array(["descending"], object)),
        }
    )


def shares(mask: np.ndarray) -> pd.Series:
    """Percent of the ground that has data, by code; no data as percent of the grid."""
    known = (mask != 255).sum()
    return pd.Series(
        {name: 100 * (mask == code).sum() / (mask.size if code == 255 else known) for code, name in CODES.items()}
    )


def missed(exact: np.ndarray, local: np.ndarray, bit: int) -> float:
    """Percent of what the exact test finds (bit 1 shadow, 2 layover) that the local test does not."""
    found = (exact != 255) & (local != 255) & (exact & bit > 0)
    return float(100 * (local[found] & bit == 0).mean())


def mirrored_layover(cube: xr.Dataset) -> np.ndarray:
    """The local test with the aspect negated, as published Earth Engine code has it: (y, x) bool, for comparison.

    The sensor's azimuth is from true north and the aspect from grid north: 1.5 degrees here, which do not matter.
    """
    azimuth, incidence = np.radians(cube.sensor_azimuth[0]), np.radians(cube.incidence_angle[0])
    toward = np.arctan(np.tan(np.radians(cube.slope)) * np.cos(azimuth + np.radians(cube.aspect)))
    return (toward >= incidence).to_numpy()


def save(figure: Figure, path: Path) -> None:
    """Write a picture, in 256 colours to keep it small, with the data's credit in its corner."""
    figure.text(0.995, 0.004, CREDIT, ha="right", va="bottom", fontsize=8, color="#555555")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=85)
    Image.open(drawn).convert("RGB").quantize(256).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


class Masks(NamedTuple):
    """The same ground, three times: both tests with the annotation's orbit, and the exact one with the reference's."""

    hole: np.ndarray  # (y, x) bool: the DEM has no height
    exact: xr.Dataset
    local: xr.Dataset
    reference: xr.Dataset


def compute(dem: Path, annotation: Path) -> Masks:
    """Compute the masks on the DEM's own grid."""
    with tempfile.TemporaryDirectory() as folder:
        declared = Path(folder) / "dem.tif"
        hole = declare_crs(dem, declared)
        cube = sc.add_terrain(cube_on(declared), declared)
        exact = sc.add_geometry(cube, orbit_files=[annotation], split=True)
        local = sc.add_geometry(cube, orbit_files=[annotation], method="local")
        return Masks(hole, exact.compute(), local.compute(), sc.add_geometry(cube).compute())


def print_geometry(masks: Masks) -> None:
    """Say where the radar stood, where that is known from, and what the packaged reference orbit would change."""
    print(f"{'source':<16}{masks.exact.incidence_angle.attrs['source']}")
    for name in ("incidence_angle", "sensor_azimuth"):
        layer, other = masks.exact[name], masks.reference[name]
        differs = f"by the reference orbit it differs by at most {float(abs(layer - other).max()):.4f}°"
        print(f"{name:<16}{float(layer.min()):.3f}° to {float(layer.max()):.3f}°; {differs}")
    changed = int((masks.exact.layover_shadow != masks.reference.layover_shadow).sum())
    print(f"{'layover_shadow':<16}by the reference orbit {changed} of {(~masks.hole).sum()} pixels differ")


def print_masks(masks: Masks) -> None:
    """Say what each test finds, what the local one misses, and that no hole is called ground."""
    exact, local = (cube.layover_shadow.to_numpy()[0] for cube in (masks.exact, masks.local))
    print("\npercent of the ground that has data, and no data as percent of the grid")
    print(pd.DataFrame({"exact": shares(exact), "local": shares(local)}).round(2).to_string())
    parts = masks.exact.distortion_parts.to_numpy()[0]
    known = parts != 255
    for flag, name in PARTS.items():
        print(f"{name:<18}{100 * (known & (parts & flag > 0)).sum() / known.sum():6.2f}")

    print("\npixels, exact test across, local test down")
    order = list(CODES.values())
    named = (pd.Series(mask.ravel()).map(CODES) for mask in (local, exact))
    table = pd.crosstab(*named, rownames=[""], colnames=[""])
    print(table.reindex(index=order, columns=order, fill_value=0).to_string())

    layover, shadow = (missed(exact, local, bit) for bit in (2, 1))
    print(f"\nthe local test misses {layover:.1f} % of the layover and {shadow:.1f} % of the shadow")
    found = (local != 255) & (local & 2 > 0)
    mirrored = 100 * mirrored_layover(masks.local)[found].mean()
    print(f"with the aspect negated, the local test would find {mirrored:.1f} % of the layover that it finds")
    called = int((masks.hole & ((exact != 255) | (local != 255))).sum())
    print(f'pixels without height that are not "no data": {called} of {masks.hole.sum()}')
    if called:
        raise SystemExit("a hole in the DEM is called ground")


def print_visibility(exact: xr.Dataset) -> None:
    """Say how much of the ground the track sees: with one track, the row of "any track" says the same."""
    print(f"\n{sc.visibility(exact).table.iloc[:1].round(4).to_string()}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dem", type=Path, default=DEM, help="avaGar.asc of AvaFrame")
    parser.add_argument("--annotation", type=Path, default=ANNOTATION, help="of the Sentinel-1B product")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)

    masks = compute(args.dem, args.annotation)
    rows, columns = masks.hole.shape
    print(f"{'DEM':<16}{args.dem.name}: {columns} x {rows} pixels, {DEM_CRS}, no data {masks.hole.mean():.1%}")
    print_geometry(masks)
    print_masks(masks)
    print_visibility(masks.exact)
    compared = sc.plot_distortion({"exact test": masks.exact, "local test": masks.local})
    save(compared, args.out / "tyrol-distortion.png")
    save(sc.plot_cross_section(masks.exact, at=SUMMIT), args.out / "tyrol-cross-section.png")


if __name__ == "__main__":
    main()
