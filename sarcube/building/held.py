"""What a cube on disk holds already: its grid, its layers, and which items each call that wrote to it brought."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from sarcube.cube.grid import geobox_like
from sarcube.cube.store.append import finish_append
from sarcube.cube.store.blocks import Layer
from sarcube.cube.store.build import damaged_documents, read_marker
from sarcube.cube.store.plan import Fingerprint, read_plan
from sarcube.cube.store.write import state_of, tidy
from sarcube.errors import StoreError
from sarcube.lock import writing


class Step(NamedTuple):
    """One date of a cube: the items of one pass."""

    track: str
    time: datetime
    items: frozenset[str]


@dataclass(frozen=True)
class Held:
    """What a cube on disk holds, complete or not. `parts` are the steps that each call of `write_cube` brought."""

    geobox: GeoBox
    layers: tuple[Layer, ...]
    parts: tuple[tuple[Step, ...], ...]
    tracks: frozenset[str]  # that have layers of their own; none where no layer is per track
    attrs: dict[str, Any]
    fingerprint: Fingerprint  # of the first part

    @property
    def steps(self) -> list[Step]:
        """All dates."""
        return [step for part in self.parts for step in part]


def read_held(store: Path) -> Held | None:
    """Read what the store at an absolute path holds, after what a killed writer left is put in order.

    Returns None where there is no cube, none of ours, or one whose small files are damaged: what is to be done then
    `write_cube` knows.

    Raises
    ------
    StoreError
        If somebody writes to it, or its folder cannot be written.
    """
    if not store.parent.is_dir():
        return None
    try:
        with writing(store):
            tidy(store)
            finish_append(store)
    except OSError as error:
        raise StoreError(
            f"cannot write {store}: {error.strerror or error}; what is staged is kept, choose another path for the cube"
        ) from error
    if state_of(store) in ("absent", "foreign"):
        return None
    said = read_marker(store)
    if said is not None and damaged_documents(store, said):
        return None
    try:
        plan = read_plan(store)
    except StoreError:
        return None
    with xr.open_zarr(store, consolidated=True, decode_coords="all", chunks=None) as opened:
        small = opened.drop_vars([layer.name for layer in plan.layers]).load()
    steps = steps_of(small)
    return Held(
        geobox_like(small),
        plan.layers,
        tuple(tuple(steps[part.first : part.first + len(part.steps)]) for part in plan.parts),
        frozenset(map(str, small["track"].to_numpy())) if "track" in small.coords else frozenset(),
        dict(json.loads((store / "zarr.json").read_bytes())["attributes"]),
        plan.parts[0].fingerprint,
    )


def steps_of(cube: xr.Dataset) -> list[Step]:
    """Return the dates of a cube in its order."""
    columns = (cube[name].to_numpy() for name in ("scene_track", "time", "item_ids"))
    return [
        Step(str(track), pd.Timestamp(time).to_pydatetime(), frozenset(str(items).split(",")))
        for track, time, items in zip(*columns, strict=True)
    ]
