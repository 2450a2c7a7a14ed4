"""The trainings of the protocol: which networks, on which data, how."""

import argparse
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import torch
from distributed import Client, LocalCluster

import sarcube as sc
from benchmarks.protocol_events import CHIP_BANDS, STEPS, WINDOW_BANDS, buffer_name, chip_split, window_split
from sarcube.events import BUFFERS
from sarcube.training.config import BOEHM_2022, NAVA_2026

REFERENCE = "60-12"  # at which the papers compare networks
ORBITS = ("ascending", "descending")  # apart in the full protocol
FULL_SEEDS = 5
# Dask's workers give memory back to the system at every turn, and a training gets it anew for every tensor
# (docs/sweeps.md).
KEEP_MEMORY = {
    f"distributed.nanny.pre-spawn-environ.MALLOC_{name}_": 2**30 for name in ("TRIM_THRESHOLD", "MMAP_THRESHOLD")
}


@contextmanager
def workers(number: int, device: str) -> Iterator[None]:
    """Run trainings side by side, one a core; on a GPU one after the other."""
    if device != "cpu" or number == 1:
        with dask.config.set(scheduler=None):
            yield
        return
    with (
        dask.config.set(KEEP_MEMORY),
        LocalCluster(
            n_workers=number, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.ERROR
        ) as here,
        Client(here),
    ):
        yield


def window_data(
    work: Path, seen: Sequence[int], unseen: Sequence[int], buffers: Sequence[str], orbits: Sequence[str] = ()
) -> dict[Any, Any]:
    """Windows by band set and buffer, and by orbit where orbits are named; otherwise both together."""
    split = partial(window_split, work, tuple(seen), tuple(unseen))
    return {
        (("bands", bands), ("buffer", buffer), *((("orbit", orbit),) if orbit else ())): partial(
            split, buffer=buffer, bands=bands, orbit=orbit
        )
        for bands in WINDOW_BANDS
        for orbit in orbits or ("",)
        for buffer in buffers
    }


def chip_data(work: Path, seen: Sequence[int], unseen: Sequence[int]) -> dict[Any, Any]:
    """Chips by input and time steps, both orbits together."""
    return {
        (("inputs", bands), ("steps", steps)): partial(
            chip_split, work, tuple(seen), tuple(unseen), steps=steps, bands=bands
        )
        for bands in CHIP_BANDS
        for steps in STEPS
    }


def window_config(args: argparse.Namespace, *, loss: str = "focal") -> sc.TrainConfig:
    """How the networks of windows are trained."""
    if args.full:
        return sc.TrainConfig(**{**vars(NAVA_2026), "loss": loss, "device": args.device, "precision": args.precision})
    return sc.TrainConfig(
        epochs=args.epochs,
        patience=args.epochs,
        batch_size=args.batch_size,
        loss=loss,
        precision=args.precision,
        device=args.device,
    )


def chip_config(args: argparse.Namespace) -> sc.TrainConfig:
    """How the U-Nets are trained: Boehm et al.'s loss, decay and schedule; a lower rate where epochs are few."""
    shared = {"precision": args.precision, "device": args.device}
    if args.full:
        return sc.TrainConfig(**{**vars(BOEHM_2022), **shared})
    few = {"epochs": args.chip_epochs, "batch_size": 8, "learning_rate": 1e-3}
    return sc.TrainConfig(**{**vars(BOEHM_2022), **few, **shared})


def train_cnns(args: argparse.Namespace, seen: Sequence[int], unseen: Sequence[int]) -> pd.DataFrame:
    """The papers' light network on every buffer and band set; all 24 settings of it in the full protocol."""
    buffers = [buffer_name(buffer) for buffer in BUFFERS]
    settings = window_settings(args, "cnn", window_config(args))
    data = window_data(args.work, seen, unseen, buffers, ORBITS if args.full else ())
    return sc.sweep(data, settings, folder=args.work / "cnn", seeds=range(args.seeds))


def window_settings(args: argparse.Namespace, network: str, config: sc.TrainConfig) -> list[sc.SweepSetting]:
    """One way to train a network of windows, or the papers' 24."""
    if not args.full:
        return [sc.SweepSetting({"network": network}, network, {"filters": args.filters}, config)]
    grid = sc.nava_2026_settings(architecture=network, config=config)
    return [replace(setting, labels={"network": network, **setting.labels}) for setting in grid]


def train_others(args: argparse.Namespace, seen: Sequence[int], unseen: Sequence[int]) -> pd.DataFrame:
    """Networks with attention and with shortcuts at one buffer; the papers train them with cross-entropy."""
    config = window_config(args, loss="bce")
    settings = [setting for name in ("cbam", "resnet") for setting in window_settings(args, name, config)]
    data = window_data(args.work, seen, unseen, [REFERENCE], ORBITS if args.full else ())
    return sc.sweep(data, settings, folder=args.work / "others", seeds=range(args.seeds))


def train_unets(args: argparse.Namespace, seen: Sequence[int], unseen: Sequence[int]) -> pd.DataFrame:
    """U-Nets on 1 to 4 dates each side, with the ground's layers and without."""
    setting = sc.SweepSetting({"network": "unet"}, "unet", {"encoder": args.encoder}, chip_config(args))
    data = chip_data(args.work, seen, unseen)
    return sc.sweep(data, [setting], folder=args.work / "unet", seeds=range(args.chip_seeds))


def time_light_networks(args: argparse.Namespace, seen: Sequence[int], unseen: Sequence[int]) -> dict[int, float]:
    """One epoch of the full protocol's light networks on one orbit, on one core: seconds by filters."""
    split = window_split(args.work, seen, unseen, buffer=REFERENCE, bands="VV_VH", orbit=ORBITS[0])
    config = replace(NAVA_2026, epochs=1, device=args.device, precision=args.precision)
    threads, seconds = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    for filters in (32, 64):
        start = time.perf_counter()
        sc.train(split.train, split.validation, model=sc.models.cnn(4, filters=filters), config=config)
        seconds[filters] = time.perf_counter() - start
    torch.set_num_threads(threads)
    return seconds


def time_large_unet(args: argparse.Namespace, seen: Sequence[int], unseen: Sequence[int]) -> Mapping[str, float]:
    """One epoch of the paper's own U-Net, ResNet-50, on all threads: training and validation."""
    split = chip_split(args.work, seen, unseen, steps=1, bands="SAR+DEM")
    bands = CHIP_BANDS["SAR+DEM"]
    model = sc.models.unet(in_channels=len(bands), bands=bands, encoder="resnet50")
    config = sc.TrainConfig(**{**vars(chip_config(args)), "epochs": 1})
    start = time.perf_counter()
    sc.train(split.train, split.validation, model=model, config=config)
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "chips": len(split.train),
        "validation_chips": len(split.validation),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
