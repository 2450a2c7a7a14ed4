"""A sweep: every data set with every setting and seed, in parallel where there is a cluster, into one table."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from dask.base import compute, get_scheduler
from dask.delayed import delayed

from sarcube.errors import InputError, StoreError
from sarcube.labels.splits import Split
from sarcube.sweeps.naming import DataKey, Labels, labels_of_data
from sarcube.sweeps.record import Record, read_record, refuse_another, results_table
from sarcube.sweeps.run import Run, Unmade, check_setting, made_by_settings, make_data, run_once
from sarcube.sweeps.settings import SweepSetting

logger = logging.getLogger(__name__)

Source: TypeAlias = Split | Callable[[], Split]
Runs: TypeAlias = list[tuple[Source, list[Run]]]


def sweep(
    data: Mapping[str, Source] | Mapping[DataKey, Source],
    settings: Sequence[SweepSetting],
    *,
    folder: str | Path,
    seeds: Sequence[int] = (0,),
) -> pd.DataFrame:
    """Train and judge a fresh network for every data set, setting and seed; call it again to go on.

    Each run trains on `train`, keeps the epoch and the threshold that suit `validation`, and is judged on `validation`
    and `test`. A run that is done is not repeated, one that was interrupted goes on from its last epoch, one that
    failed is tried again.

    Parameters
    ----------
    data : mapping
        Each data set by its labels, as pairs such as ``(("bands", "VV"), ("buffer", "60-12"))``, or by a name, which
        becomes the label "data". Its value is a `Split`, or a function without arguments that makes one: it is called
        when the first of its runs is due and its data let go after the last, so that not all are in memory at once.
        Bands and size of the patches decide those of the network.
    settings : sequence of SweepSetting
        Such as `nava_2026_settings()`.
    folder : str or Path
        Where records and weights are kept, a folder for each run. Workers of a cluster must see it under this name.
    seeds : sequence of int
        Each decides fresh weights, order, draws, augmentation and dropout of a run. They do not change the data.

    Returns
    -------
    pandas.DataFrame
        A row per run, in the order of data, settings, seeds. Columns: the labels; seed; status, "finished" or
        "failed"; message, why it failed; epochs trained, best_epoch, the one that is kept, and epochs_before, those
        that an earlier call had trained; seconds, of this run in the call that finished it; threads of torch; threshold
        of the network; train_patches and train_landslides; the fields of `sarcube.evaluation.Evaluation` with
        ``validation_`` and ``test_`` before them; weights, the safetensors file in the folder. NaN where a run failed.

    Raises
    ------
    InputError
        If there is nothing to run, labels clash, an architecture or its options are not there, or the folder holds a
        run of the same labels and seed with other data or settings.
    ReadError
        If a record is damaged.
    StoreError
        If the folder cannot be written, or another process is at one of the runs.

    Notes
    -----
    With an active `distributed.Client` runs are spread over its workers; with a scheduler set in Dask's configuration,
    over that; otherwise they are made in turn, here. In one process there is one run at a time, and torch takes as many
    threads as a cluster's worker has, in a pool of processes one, and here as many as it is set to: workers of one
    machine should share its cores, ``LocalCluster(n_workers=cores, threads_per_worker=1)``. Where the number of threads
    is the same the results are, whichever scheduler made them.

    On a cluster a `Split` that is given travels with its task: give functions where data are large.

    Data of finished runs are made once more to see whether they are the same: by their tables, and by the pixels of
    each stack's first patch.
    """
    runs = _runs(data, settings, np.asarray(seeds).tolist(), Path(folder))
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f'cannot make the folder "{folder}": {error}') from error
    for path, run in {run.path: run for _, group in runs for run in group}.items():
        refuse_another(path, read_record(path), made_by_settings(run))
    records = _in_parallel(runs) if get_scheduler() else _in_turn(runs)
    failed = [record["message"] for record in records if record["status"] == "failed"]
    if failed:
        logger.warning("%d of %d runs failed; the first: %s", len(failed), len(records), failed[0])
    return results_table(records)


def _in_turn(runs: Runs) -> list[Record]:
    records = []
    for source, group in runs:
        made = _maker(source)()
        records += [run_once(made, run=run) for run in group]
        del made  # before the next data set is made
    return records


def _in_parallel(runs: Runs) -> list[Record]:
    tasks: list[Any] = []
    for source, group in runs:
        # In a partial, for Dask looks into arguments and would compute the lazy arrays that it finds there.
        made = delayed(_maker(source), traverse=False)()
        tasks += [delayed(partial(run_once, run=run), traverse=False)(made) for run in group]
    return list(compute(*tasks))


def _maker(source: Source) -> Callable[[], Split | Unmade]:
    make = partial(_given, source) if isinstance(source, Split) else source
    return partial(make_data, make, caller=os.getpid())


def _given(split: Split) -> Split:
    return split


def _runs(data: Mapping[Any, Source], settings: Sequence[SweepSetting], seeds: Sequence[int], folder: Path) -> Runs:
    """List the runs of each data set."""
    if not data or not settings or not seeds:
        raise InputError(f"a sweep needs data, settings and seeds; given: {len(data)}, {len(settings)}, {len(seeds)}")
    if len(set(seeds)) < len(seeds) or not all(isinstance(seed, int) and seed >= 0 for seed in seeds):
        raise InputError(f"seeds must be whole numbers from 0 on, each once, not {tuple(seeds)}")
    for setting in settings:
        check_setting(setting)
    of_data = [labels_of_data(key) for key in data]
    of_settings = [dict(setting.labels) for setting in settings]
    for what, labels in (("data sets", of_data), ("settings", of_settings)):
        _check_distinct(what, labels)
    if clash := sorted(set(of_data[0]) & set(of_settings[0])):
        raise InputError(f"data and settings both have the label {', '.join(clash)}; rename one of them")
    for key, source in data.items():
        if not isinstance(source, Split) and not callable(source):
            raise InputError(f"the data {key!r} must be a Split or a function that makes one, not a {type(source)}")
    caller, where = os.getpid(), folder.resolve()
    return [
        (
            source,
            [Run({**labels, **setting.labels}, setting, seed, where, caller) for setting in settings for seed in seeds],
        )
        for labels, source in zip(of_data, data.values(), strict=True)
    ]


def _check_distinct(what: str, labels: list[Labels]) -> None:
    if any(set(other) != set(labels[0]) for other in labels):
        raise InputError(f"all {what} of a sweep must have the same labels: {', '.join(labels[0]) or 'none'} or others")
    if len({tuple(sorted(each.items())) for each in labels}) < len(labels):
        raise InputError(f"two {what} of this sweep have the same labels; add one that tells them apart")
