"""Simulated events of the protocol: every composite it compares, cut into patches and kept on disk."""

import logging
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

import sarcube as sc
from sarcube.change.bands import BOEHM_2022
from sarcube.events import BUFFERS
from sarcube.labels.cleaning import CleanedInventories
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.splits import Split
from sarcube.labels.storage import read_patches, write_patches
from sarcube.models.spec import BANDS

LONGEST_BEFORE, LONGEST_AFTER = max(pre for pre, _ in BUFFERS), max(post for _, post in BUFFERS)
PRE_DATES, POST_DATES = 31, 5  # 12 days apart: what the longest windows hold
STEPS = (1, 2, 3, 4)
WINDOW_BANDS = {"VV": BANDS[2], "VV_VH": BANDS[4]}
CHIP_BANDS = {"SAR": BOEHM_2022["VV+VH"], "SAR+DEM": BOEHM_2022["VV+VH+DEM"]}


def buffer_name(buffer: tuple[int, int]) -> str:
    """Name a pair of windows as `sc.composites` does."""
    return f"{buffer[0]}-{buffer[1]}"


def prepare_events(seeds: Sequence[int], work: Path, *, size_km: float, workers: int) -> None:
    """Simulate events that are not in the folder yet, some side by side."""
    missing = [seed for seed in seeds if not (work / f"event-{seed}" / "done").exists()]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for seed in pool.map(partial(prepare_event, work=work, size_km=size_km), missing):
            print(f"  event {seed} is ready", flush=True)


def prepare_event(seed: int, *, work: Path, size_km: float) -> int:
    """Simulate an event; keep its patches of all windows and time steps, and what the ground is like where they lie."""
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant
    numba.set_num_threads(1)  # one event a core
    folder = work / f"event-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    simulation = sc.simulate(folder / "archive", seed=seed, size_km=size_km, pre_dates=PRE_DATES, post_dates=POST_DATES)
    event = simulation.event
    days = {"pre_days": LONGEST_BEFORE, "post_days": LONGEST_AFTER}
    cube = sc.load(sc.search(event, catalog=folder / "archive", **days), bbox=event.bbox)
    cube = sc.add_local_incidence(sc.add_geometry(sc.add_terrain(cube, simulation.dem)))
    cube = sc.open_cube(sc.write_cube(cube, folder / "cube.zarr"))
    inventory = sc.clean_inventory(sc.read_inventory(simulation.inventory), cube)
    _keep_windows(cube, event, inventory, folder)
    _keep_chips(cube, event, inventory, folder)
    shutil.rmtree(folder / "archive")
    shutil.rmtree(folder / "cube.zarr")
    (folder / "done").touch()
    return seed


def _keep_windows(cube: xr.Dataset, event: sc.Event, inventory: CleanedInventories, folder: Path) -> None:
    tracks = {track: sc.composites(cube, event, track=track).compute() for track in inventory.per_track}
    for buffer in map(buffer_name, BUFFERS):
        parts = [
            sc.sample_patches(stacks.sel(buffer=buffer), inventory.original, cleaned=inventory.per_track[track]).load()
            for track, stacks in tracks.items()
        ]
        write_patches(concatenate_patches(parts), folder / f"windows-{buffer}.npz")
    described = sc.describe_patches(read_patches(folder / "windows-60-12.npz"), cube, inventory=inventory.original)
    described.to_parquet(folder / "conditions.parquet")


def _keep_chips(cube: xr.Dataset, event: sc.Event, inventory: CleanedInventories, folder: Path) -> None:
    days = {"pre_days": LONGEST_BEFORE, "post_days": LONGEST_AFTER}
    for steps in STEPS:
        parts = []
        for track, cleaned in inventory.per_track.items():
            stack = sc.composite(
                cube, event, track=track, pre_steps=steps, post_steps=steps, statistic="mean", **days
            ).compute()
            bands = sc.select_bands(stack, BOEHM_2022["VV+VH+DEM"], cube=cube)
            parts.append(sc.sample_chips(bands, inventory.original, cleaned=cleaned).load())
        write_patches(concatenate_patches(parts), folder / f"chips-{steps}.npz")


def window_split(
    work: Path, seen: Sequence[int], unseen: Sequence[int], *, buffer: str, bands: str, orbit: str = ""
) -> Split:
    """Windows of the seen events to learn from and to choose by, apart by blocks of ground; the test is unseen."""
    split = _split(work, seen, unseen, f"windows-{buffer}.npz", WINDOW_BANDS[bands])
    return Split(*(part.subset(_of_orbit(part, orbit)) for part in split)) if orbit else split


def chip_split(work: Path, seen: Sequence[int], unseen: Sequence[int], *, steps: int, bands: str) -> Split:
    """Likewise for chips with masks."""
    return _split(work, seen, unseen, f"chips-{steps}.npz", CHIP_BANDS[bands])


def _of_orbit(patches: Patches, orbit: str) -> NDArray[np.bool_]:
    return np.array([track.startswith(orbit[0].upper()) for track in patches.tracks])


def _split(work: Path, seen: Sequence[int], unseen: Sequence[int], name: str, bands: Sequence[str]) -> Split:
    learnt = sc.split_patches(
        _read(work, seen, name, bands), method="blocked", test_fraction=0.0, max_test_ratio=None
    )  # thresholds are chosen at the share of landslides that the unseen events have
    return Split(learnt.train, learnt.validation, _read(work, unseen, name, bands))


def _read(work: Path, seeds: Sequence[int], name: str, bands: Sequence[str]) -> Patches:
    return concatenate_patches([read_patches(work / f"event-{seed}" / name).select_bands(bands) for seed in seeds])
