"""The record of a run: one JSON file, there whole or not at all, that says what the run is of and what came of it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd

from sarcube.atomic import replacing
from sarcube.errors import InputError, ReadError
from sarcube.sweeps.naming import OWN, Label
from sarcube.training.checkpoint import say_differing

Status: TypeAlias = Literal["begun", "finished", "failed"]
Record: TypeAlias = dict[str, Any]
"""labels, seed, status, message; made_by (what the run depends on, as text); results (columns of the table)."""
MadeBy: TypeAlias = dict[str, str]

NAME = "record.json"


def write_record(
    folder: Path,
    *,
    labels: Mapping[str, Label],
    seed: int,
    made_by: MadeBy,
    status: Status,
    message: str = "",
    results: Mapping[str, Any] | None = None,
) -> Record:
    """Write the record of a run into its folder, and return it. NaN is written as null.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    given = {name: None if value != value else value for name, value in (results or {}).items()}
    record: Record = {
        "labels": dict(labels),
        "seed": seed,
        "status": status,
        "message": message,
        "made_by": made_by,
        "results": given,
    }
    with replacing(folder / NAME) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return record


def read_record(folder: Path) -> Record | None:
    """Read the record of a run; None if it has none.

    Raises
    ------
    ReadError
        If it cannot be read, or is no record.
    """
    path = folder / NAME
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReadError(f'cannot read the record "{path}": {error}; delete it, and the run is made anew') from error
    if not isinstance(record, dict) or not {"labels", "seed", "status", "message", "made_by", "results"} <= set(record):
        raise ReadError(f'"{path}" is no record of a run; delete it, and the run is made anew')
    return record


def refuse_another(folder: Path, record: Record | None, made_by: MadeBy) -> None:
    """Refuse a record that is of other data or settings than the run of that name is now.

    What only one of the two knows is not compared: data that could not be made, settings of later versions.

    Raises
    ------
    InputError
        It names what differs.
    """
    before: MadeBy = {} if record is None else record["made_by"]
    differing = [name for name in sorted({*before} & {*made_by}) if before[name] != made_by[name]]
    if not differing:
        return
    said = say_differing(differing, before, made_by)
    raise InputError(
        f'the folder "{folder}" holds a run of the same labels and seed that differs in {said}; take another folder '
        "for this sweep, tell its runs apart by their labels, or delete that one"
    )


def results_table(records: list[Record]) -> pd.DataFrame:
    """Put records together: a row per run, the labels first, then the columns that every table of runs has."""
    rows = [
        {**record["labels"], **{name: record[name] for name in ("seed", "status", "message")}, **record["results"]}
        for record in records
    ]
    table = pd.DataFrame(rows)
    labels = list(dict.fromkeys(name for record in records for name in record["labels"]))
    scores = [str(name) for name in table.columns if name not in labels and name not in OWN]
    table = table.reindex(columns=[*labels, *(name for name in OWN if name != "weights"), *scores, "weights"])
    # A column of nulls alone would be one of objects.
    return table.astype({name: float for name in table if table[name].isna().all()})
