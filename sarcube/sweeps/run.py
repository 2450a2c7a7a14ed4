"""One run of a sweep: a network trained and judged on one data set, once, whatever interrupts it."""

import inspect
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import dask
import torch

import sarcube.models
from sarcube.errors import InputError, SarcubeError
from sarcube.evaluation.evaluate import evaluate
from sarcube.labels.splits import Split
from sarcube.lock import writing
from sarcube.models.network import Network
from sarcube.models.weights import save_model
from sarcube.sweeps.naming import Labels, run_name
from sarcube.sweeps.record import MadeBy, Record, read_record, refuse_another, write_record
from sarcube.sweeps.settings import SweepSetting
from sarcube.training.checkpoint import fingerprint, first_pixels
from sarcube.training.config import TrainConfig
from sarcube.training.train import train

logger = logging.getLogger(__name__)

WEIGHTS, CHECKPOINT = "model.safetensors", "training.checkpoint"
_OWN_OPTIONS = ("in_channels", "bands", "window_size", "seed")  # of a maker: what a run decides
_KEPT_MEMORY = 1 << 28  # bytes: less than this is what the maps of one batch take
# torch's random state and its choice of algorithms are those of the process.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Unmade:
    """Why a data set could not be made."""

    message: str


@dataclass(frozen=True)
class Run:
    """What one run is of.

    `caller` is the process that asked for it; in another one torch gets the threads of Dask's worker.
    """

    labels: Labels
    setting: SweepSetting
    seed: int
    folder: Path
    caller: int

    @property
    def path(self) -> Path:
        """The folder of this run."""
        return self.folder / run_name(self.labels, self.seed)

    @property
    def config(self) -> TrainConfig:
        """The setting's, with this run's seed."""
        return replace(self.setting.config, seed=self.seed)


def made_by_settings(run: Run) -> MadeBy:
    """Say, as text, what a run depends on beside its data."""
    return {
        "setting architecture": run.setting.architecture,
        "setting options": json.dumps(dict(run.setting.options), sort_keys=True),
        **{f"setting {name}": json.dumps(value) for name, value in asdict(run.config).items()},
    }


def check_setting(setting: SweepSetting) -> None:
    """Refuse a setting whose architecture is not there or has no such options.

    Raises
    ------
    InputError
        It names those that there are.
    """
    known = sorted(sarcube.models.ARCHITECTURES)
    if setting.architecture not in known:
        raise InputError(f'no architecture is called "{setting.architecture}"; there are: {", ".join(known)}')
    takes = [name for name in inspect.signature(_maker(setting)).parameters if name not in _OWN_OPTIONS]
    if unknown := sorted(set(setting.options) - set(takes)):
        raise InputError(
            f'the architecture "{setting.architecture}" takes the options {", ".join(takes)}, not {", ".join(unknown)}'
        )


def make_data(source: Callable[[], Split], *, caller: int) -> Split | Unmade:
    """Make a data set, or say why it cannot be made."""
    with _alone_in_process(caller):
        try:
            return source()
        except Exception as error:  # noqa: BLE001  (the others go on)
            logger.warning("a data set could not be made: %s", error)
            return Unmade(f"the data could not be made: {_said(error)}")


def run_once(made: Split | Unmade, *, run: Run) -> Record:
    """Train and judge, unless a record says that it was done; what fails is recorded and raises nothing.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    InputError
        If the folder's record is of other data or settings.
    ReadError, StoreError
        If a record cannot be read or written, or another process is at this very run.
    """
    path = run.path
    path.mkdir(exist_ok=True)
    with _alone_in_process(run.caller), writing(path):
        kept = read_record(path)
        made_by = made_by_settings(run)
        refuse_another(path, kept, made_by)
        record: dict[str, Any] = {"labels": run.labels, "seed": run.seed}
        try:
            if isinstance(made, Unmade):
                raise InputError(made.message)
            model = _fresh_model(run.setting, made, run.seed)
            made_by |= _made_by_data(made, model, run.config)
        except Exception as error:  # noqa: BLE001  (the others go on)
            if kept is not None and kept["status"] == "finished":
                logger.warning("%s is kept, but cannot be compared with its data: %s", path.name, error)
                return kept
            return write_record(path, **record, made_by=made_by, status="failed", message=_said(error))
        refuse_another(path, kept, made_by)
        if kept is not None and kept["status"] == "finished":
            return kept
        write_record(path, **record, made_by=made_by, status="begun")
        try:
            results = _results(made, model, run)
        except Exception as error:  # noqa: BLE001  (the others go on)
            logger.warning("%s failed: %s", path.name, error)
            return write_record(path, **record, made_by=made_by, status="failed", message=_said(error))
        done = write_record(path, **record, made_by=made_by, status="finished", results=results)
        (path / CHECKPOINT).unlink(missing_ok=True)
        logger.info("%s: test F1 %.3f after %d epochs", path.name, results["test_f1"], results["epochs"])
        return done


def _results(split: Split, model: Network, run: Run) -> dict[str, Any]:
    begun = time.perf_counter()
    here: list[Any] = []
    trained = train(
        split.train,
        split.validation,
        model=model,
        config=run.config,
        checkpoint=run.path / CHECKPOINT,
        progress=here.append,
    )
    events = ", ".join(dict.fromkeys(str(name) for name in split.train.events if name))
    trained.spec = replace(trained.spec, trained_on=f"events {events}" if events else "patches without an event's name")
    trained.to(run.config.device)
    scores = {
        f"{part}_{name}": value
        for part in ("validation", "test")
        for name, value in asdict(evaluate(trained, getattr(split, part))).items()
        if name != "threshold"  # of both the model's
    }
    weights = save_model(trained.to("cpu"), run.path / WEIGHTS)
    best = min(trained.history, key=lambda entry: entry["validation_loss"])
    return {
        "epochs": len(trained.history),
        "best_epoch": int(best["epoch"]),
        "epochs_before": len(trained.history) - len(here),
        "seconds": round(time.perf_counter() - begun, 3),
        "threads": torch.get_num_threads(),
        "threshold": trained.spec.threshold,
        "train_patches": len(split.train),
        "train_landslides": int(split.train.labels.sum()),
        "weights": str(weights.relative_to(run.folder)),
        **scores,
    }


def _made_by_data(split: Split, model: Network, config: TrainConfig) -> MadeBy:
    """Say what a run depends on of its data and the fresh network."""
    parts = fingerprint(split.train, split.validation, model, config)
    judged = fingerprint(split.test, split.test, model, config)
    return {
        "fresh model": parts["model"],
        "training patches": parts["training patches"],
        "validation patches": parts["validation patches"],
        "test patches": judged["training patches"],
        "pixels of patches": first_pixels(*split),
    }


def _maker(setting: SweepSetting) -> Callable[..., Network]:
    maker: Callable[..., Network] = getattr(sarcube.models, setting.architecture)
    return maker


def _fresh_model(setting: SweepSetting, split: Split, seed: int) -> Network:
    bands = split.train.bands
    return _maker(setting)(len(bands), bands=bands, window_size=split.train.size, seed=seed, **dict(setting.options))


@contextmanager
def _alone_in_process(caller: int) -> Iterator[None]:
    """Let one run work at a time in a process, with as many threads of torch as Dask's worker has.

    Two processes whose torch takes all cores wait for one another most of the time. In the process that asked for the
    runs torch keeps its number of threads.
    """
    with _ONE_AT_A_TIME:
        worker, before = _worker(), torch.get_num_threads()
        threads = before
        if worker is not None:
            threads = int(worker.state.nthreads)
            _warn_of_trimming(os.environ.get("MALLOC_TRIM_THRESHOLD_", ""))
        elif os.getpid() != caller:
            threads = 1  # a pool of processes, one for each core
        # What a run computes with Dask it computes itself: were it to ask the cluster, it would wait for its own place.
        with nullcontext() if worker is None else dask.config.set(scheduler="synchronous"):
            torch.set_num_threads(threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)


@cache
def _warn_of_trimming(threshold: str) -> None:
    """Say once where the memory of every tensor goes back to the system, and comes from there again."""
    if threshold.isdigit() and int(threshold) < _KEPT_MEMORY:
        logger.warning(
            "this worker gives free memory back to the system at once (MALLOC_TRIM_THRESHOLD_=%s, which Dask sets for "
            "its workers): training may take twice as long; docs/sweeps.md tells how to start a cluster that keeps it",
            threshold,
        )


def _worker() -> Any:
    """Return the worker of a cluster that this runs on, or None."""
    try:
        from distributed import get_worker

        return get_worker()
    except ValueError:
        return None


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, SarcubeError) else f"{type(error).__name__}: {error}"
