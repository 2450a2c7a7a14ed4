"""What `benchmarks.detector` looks at, SIMULATED: a stack made of simulated ground, kept in a folder; a threshold."""

import tempfile
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401  (registers .rio on xarray objects)
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc
from sarcube.atomic import replacing
from sarcube.synthetic.training_set import FRESH_SEEDS_FROM

BANDS = ("vv_post", "vh_post", "vv_diff", "vh_diff")
NAVA_BANDS = ("vh_pre", "vh_post", "vh_diff")
ABOVE = (0.01, 0.05)  # share of the windows that the threshold is to leave above it
_CHOSEN = (0.015, 0.045)  # where it is chosen, so that it stays so however a precision rounds
NEAR, NEAR_SHARE = 0.02, 0.01  # at least this share lies so near to the threshold
_NOISE_DB = 0.7  # standard deviation of what is added to each tile, so that no two are alike
_STEP = 1 / 64  # dB: what a stored scene is rounded to


def ground(work: Path, *, size_km: float = 12.0) -> np.ndarray:
    """Return stacks (track, band, y, x) of a simulated event, whole tiles of 64 pixels, without NaN."""
    kept = work / f"ground-{size_km:g}.npy"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=work) as folder:
            simulation = sc.simulate(Path(folder) / "event", seed=FRESH_SEEDS_FROM, size_km=size_km)
            event = simulation.event
            items = sc.search(event, catalog=simulation.folder, pre_days=60, post_days=12)
            cube = sc.load(items, bbox=event.bbox)
            stacks = [sc.composite(cube, event, track=t, pre_days=60, post_days=12).values for t in simulation.tracks]
        values = np.stack(stacks)
        side = min(values.shape[2:]) // 64 * 64
        values = values[:, :, :side, :side]
        median = np.nanmedian(values, axis=(2, 3), keepdims=True)
        with replacing(kept) as file:
            np.save(file, np.where(np.isfinite(values), values, median).astype(np.float32))
    return np.load(kept)


def tile(values: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return the tile (band, y, x) in a row and a column of a mosaic: one of both tracks, upside down or not, noise."""
    chosen = values[(row + column) % len(values)]
    noise = np.random.default_rng((7, row, column)).standard_normal(chosen.shape, np.float32)
    noise *= np.float32(_NOISE_DB)
    noise += chosen[:, :: 1 if row % 4 < 2 else -1]
    return noise


def stack_file(work: Path, size: int, *, size_km: float = 12.0) -> Path:
    """Make the square stack of tiles that is held in memory; return its .npy file."""
    kept = work / f"stack-{size}-{size_km:g}.npy"
    if not kept.exists():
        values = ground(work, size_km=size_km)
        side = values.shape[-1]
        image = np.empty((len(BANDS), size, size), np.float32)
        for row in range(-(-size // side)):
            for column in range(-(-size // side)):
                part = image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
                part[:] = tile(values, row, column)[:, : part.shape[1], : part.shape[2]]
        with replacing(kept) as file:
            np.save(file, image)
    return kept


def rounded(values: np.ndarray) -> np.ndarray:
    """Round as a stored stack is: to 1/64 dB, which compresses."""
    return np.round(values / np.float32(_STEP)) * np.float32(_STEP)


def open_source(path: Path) -> Any:
    """Open a stack (band, y, x): .npy in memory, .zarr lazily."""
    return da.from_zarr(path) if path.suffix == ".zarr" else np.load(path)


def as_stack(image: Any, bands: tuple[str, ...]) -> xr.DataArray:
    """Lay an image (band, y, x) on a grid; the letter's bands of 2021 are made of the papers' where asked for."""
    if bands == NAVA_BANDS:
        image = np.stack([image[1] - image[3], image[1], image[3]])
    grid = GeoBox(image.shape[1:], Affine(10, 0, 600_000, 0, -10, 100_000), "EPSG:32647")
    coordinates = {**xr_coords(grid), "band": list(bands)}
    return xr.DataArray(image, dims=("band", "y", "x"), coords=coordinates, attrs={"simulated": True})


def fitting_threshold(probabilities: np.ndarray) -> float:
    """Choose the threshold with most windows near it, of those that leave 1 to 5 % of all windows above."""
    ranked = np.sort(probabilities[np.isfinite(probabilities)], axis=None)
    first, last = (int(np.ceil(len(ranked) * (1 - share))) for share in reversed(_CHOSEN))
    candidates = ranked[min(first, len(ranked) - 1) : max(last, first + 1)].astype(np.float64)
    near = np.searchsorted(ranked, candidates + NEAR) - np.searchsorted(ranked, candidates - NEAR)
    return float(candidates[np.argmax(near)])


def shares(probabilities: np.ndarray, threshold: float) -> dict[str, float]:
    """Return which share of the windows lies at or above a threshold, and which near it."""
    return {
        "share_above_threshold": float((probabilities >= threshold).mean()),
        "share_near_threshold": float((np.abs(probabilities - threshold) <= NEAR).mean()),
    }


def check_shares(found: dict[str, float]) -> None:
    """Raise where the stack is none of the kind that the benchmark is about."""
    above, near = found["share_above_threshold"], found["share_near_threshold"]
    assert ABOVE[0] <= above <= ABOVE[1], f"{above:.2%} of the windows lie above the threshold, not 1 to 5 %"
    assert near >= NEAR_SHARE, f"only {near:.2%} of the windows lie within {NEAR} of the threshold, not 1 % or more"
