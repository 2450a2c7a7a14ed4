"""How a run is named: by labels, which are columns of the table, and by its seed."""

import hashlib
import json
import re
from collections.abc import Hashable, Mapping
from math import isfinite
from typing import TypeAlias

import numpy as np
import pandas as pd

from sarcube.errors import InputError

Label: TypeAlias = str | int | float | bool
Labels: TypeAlias = dict[str, Label]
DataKey: TypeAlias = tuple[tuple[str, Label], ...]

OWN = (
    *("seed", "status", "message", "epochs", "best_epoch", "epochs_before", "seconds", "threads", "threshold"),
    *("train_patches", "train_landslides", "weights"),
)
"""Columns that a table of runs has of itself; those of `SCORES` begin with the part that was judged."""
SCORES = ("validation_", "test_")

_LONGEST = 80  # characters of a folder's name that are for the reader; what tells runs apart is the hash behind them


def checked_labels(labels: Mapping[str, Label], what: str) -> Labels:
    """Return labels as a dict, those that NumPy made as Python's.

    Raises
    ------
    InputError
        If a name is none or a column that the table has of itself, or a value is not text, a finite number or a truth
        value.
    """
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in labels.items()}
    for name, value in plain.items():
        if not isinstance(name, str) or not name or name in OWN or name.startswith(SCORES):
            raise InputError(
                f"a label of {what} must have a name that the table does not have of itself "
                f"({', '.join(OWN)}, validation_..., test_...), not {name!r}"
            )
        if not isinstance(value, str | int | float) or not (isinstance(value, str) or isfinite(value)):
            raise InputError(
                f"the label {name} of {what} must be text, a finite number or true or false, not {value!r}"
            )
    return plain


def labels_of_data(key: Hashable) -> Labels:
    """Return the labels of a data set: a name stands for the label "data".

    Raises
    ------
    InputError
        If the key is neither a name nor pairs of a label and its value.
    """
    if isinstance(key, str):
        return {"data": key}
    try:
        pairs = dict(key)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise InputError(
            f'a data set is named by a text, or by labels such as (("bands", "VV"), ("buffer", "60-12")), not {key!r}'
        ) from error
    return checked_labels(pairs, "a data set")


def label_columns(results: pd.DataFrame) -> list[str]:
    """Return the columns of a table of runs that are labels."""
    return [str(name) for name in results.columns if name not in OWN and not str(name).startswith(SCORES)]


def run_name(labels: Mapping[str, Label], seed: int) -> str:
    """Name the folder of a run: what can be read of its labels and seed, and a hash that tells runs apart."""
    ordered = sorted(labels.items())
    said = "_".join([*(str(value) for _, value in ordered), f"seed-{seed}"])
    exact = json.dumps([ordered, seed])
    readable = re.sub(r"[^A-Za-z0-9.+-]+", "_", said).lstrip(".-_")[:_LONGEST]
    return f"{readable}-{hashlib.sha256(exact.encode()).hexdigest()[:12]}"
