"""What each scene of a cube is worth: what its holes are, whether it lies where the others lie, whether it has a seam.

The cube is read once, chunk by chunk. Of a chunk only sums are kept, and those parts of a few tiles that lie in it.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401  registers cube.odc
import pandas as pd
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from sarcube.cube.holes import Hole, hole_reasons
from sarcube.cube.quality.medians import medians_of_others
from sarcube.cube.quality.seam import cell_size, flight_heading, strongest_step
from sarcube.cube.quality.shift import MIN_DATES, Tile, measure_shifts, tiles_over
from sarcube.errors import BandError, InputError

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Counts = NDArray[np.int64]

_POLARISATIONS = ("vv", "hh", "vh", "hv")  # the first that a cube has is the one to measure shifts and seams on
_BLOCK = 1024  # pixels of a side of a chunk that a cube in memory is cut into

# More zeros than this are a zero-filled part; noise removal leaves single ones over calm water.
ZERO_SHARE = 0.01
# Simulated passes in one piece rarely show more, those with a slice raised by 1 dB rarely less: see docs/quality.md.
SEAM = 0.5  # dB

_HOLES = {
    "zeros": (Hole.ZERO,),
    "nodata": (Hole.NODATA,),
    "fringe": (Hole.FRINGE,),
    "outside": (Hole.OUTSIDE,),
    "not_measured": (Hole.NOT_MEASURED,),
    "unread": tuple(hole for hole in Hole if hole.is_unread),
}
_SHARES = ("valid", *_HOLES, "unknown")


@dataclass(frozen=True)
class _Plan:
    """What to keep of each chunk of a polarisation; `cells` is the size of a cell, 0 to keep none."""

    shape: tuple[int, int]
    tiles: tuple[Tile, ...]
    cells: int


@dataclass(frozen=True)
class _Part:
    """What is kept of one chunk: time steps from `step` on, pixels from (row, column) on."""

    step: int
    counts: Counts  # (time, share)
    pieces: list[tuple[int, int, int, Halves]]  # tile, first row and column in it, (time, y, x) dB
    corner: tuple[int, int]  # first cell
    sums: Counts  # (time, cell row, cell column) thousandths of a dB: whole numbers, so that no order changes them
    filled: Counts  # likewise, valid pixels


def quality(cube: xr.Dataset, *, drop: Collection[str] = ()) -> pd.DataFrame:
    """Look at every scene of a cube for what should not be taken for a change of the ground.

    Each warning is also logged and names the scene. To leave a scene out, load the cube again with its ids:
    `sc.load(items, ..., drop=[...])`.

    Parameters
    ----------
    cube : xarray.Dataset
        Dims (time, y, x) with one or more of vv, vh, hh, hv in linear power, NaN where not valid, and the coordinate
        `scene_track`. NumPy or Dask; chunks change no figure.
    drop : collection of str
        Ids of items: the passes that hold one of them are left out, also of the medians that others are held against.

    Returns
    -------
    pandas.DataFrame
        One row per time step; the index is its number in the cube. Columns:

        - time, track, platform, item_ids (joined by commas), slices (number of items);
        - for each polarisation, such as `vv_zeros`, shares of the cube's pixels that together make 1: valid; zeros
          (or negative); nodata; fringe; outside (no file of the pass is there); not_measured (the scene has no such
          polarisation); unread (the file could not be read); unknown (a NaN that does not say why);
        - shift_rows, shift_columns: displacement southward and eastward against the median of the track's other
          dates, in pixels; shift_confidence: share of the tiles that agree; NaN where it could not be measured;
        - seam_db: strongest step of level along the flight, dB without sign, of passes of several slices, else NaN;
        - warnings: tuple of sentences, empty where nothing is wrong.

    Raises
    ------
    InputError
        If the cube has no `scene_track`, or an id is in no scene of the cube.
    BandError
        If the cube has no polarisation.
    ReadError
        If a file cannot be read.

    Notes
    -----
    Shift: see `sarcube.cube.quality.shift`; at most nine tiles of 256² pixels, spread over the cube, are looked at, on
    VV where there is VV. What is found and missed, and how many false alarms there are, stands in docs/quality.md.
    """
    if "scene_track" not in cube.coords:
        raise InputError('the cube has no coordinate "scene_track", such as "D164", along time; add it')
    bands = [band for band in _POLARISATIONS if band in cube.data_vars]
    if not bands:
        raise BandError(
            f"the cube has none of {', '.join(_POLARISATIONS)}; it has {', '.join(map(str, cube.data_vars))}"
        )
    table = _scenes(cube, drop)
    cube = cube[bands].isel(time=table.index.to_numpy()).transpose("time", "y", "x")
    if not len(table):
        found = [f"{band}_{name}" for band in bands for name in _SHARES]
        return table.reindex(
            columns=[*table.columns, *found, "shift_rows", "shift_columns", "shift_confidence", "seam_db", "warnings"]
        )

    shape = (cube.sizes["y"], cube.sizes["x"])
    tracks = table["track"].to_numpy()
    several = table["slices"].to_numpy() > 1
    plans = {band: _Plan(shape, (), 0) for band in bands}
    plans[bands[0]] = _Plan(shape, tiles_over(shape), cell_size(shape) if several.any() else 0)
    tasks = {band: list(_tasks(cube[band], plan)) for band, plan in plans.items()}
    parts: dict[str, list[_Part]] = compute(tasks)[0]

    sentences: list[list[str]] = [[] for _ in range(len(table))]
    for band in bands:
        counts = np.zeros((len(table), len(_SHARES)), np.int64)
        for part in parts[band]:
            counts[part.step : part.step + len(part.counts)] += part.counts
        for name, column in zip(_SHARES, counts.T, strict=True):
            table[f"{band}_{name}"] = column / np.prod(shape)
    _shifts(table, plans[bands[0]], parts[bands[0]], tracks, sentences)
    _seams(table, cube, plans[bands[0]], parts[bands[0]], sentences)
    _holes(table, bands, sentences)
    table["warnings"] = [tuple(lines) for lines in sentences]
    for row in table.to_dict("records"):
        for line in row["warnings"]:
            logger.warning('scene "%s" (%s, %s): %s', row["item_ids"], f"{row['time']:%Y-%m-%d}", row["track"], line)
    return table


def _scenes(cube: xr.Dataset, drop: Collection[str]) -> pd.DataFrame:
    """Who the scenes are, less those that are left out."""
    texts = {
        name: cube[name].to_numpy().astype(str) if name in cube.coords else np.full(cube.sizes["time"], "")
        for name in ("scene_track", "platform", "item_ids")
    }
    if isinstance(drop, str):
        raise InputError(f"drop must be a list of item ids, not the text {drop!r}; write drop=[{drop!r}]")
    ids = [set(joined.split(",")) for joined in texts["item_ids"]]
    if unknown := sorted(set(drop) - set().union(*ids)):
        raise InputError(f'drop names items that are not in this cube: {", ".join(unknown)}; see cube["item_ids"]')
    table = pd.DataFrame(
        {
            "time": pd.to_datetime(cube["time"].to_numpy()),
            "track": texts["scene_track"],
            "platform": texts["platform"],
            "item_ids": texts["item_ids"],
            "slices": [len(names) for names in ids],
        }
    )
    return table[[names.isdisjoint(drop) for names in ids]]


def _tasks(band: xr.DataArray, plan: _Plan) -> Iterator[Any]:
    """One lazy `_Part` per chunk."""
    # A name of its own: to hash a cube in memory takes longer than to look at it.
    values = band.data if band.chunks else da.from_array(band.data, chunks=(1, _BLOCK, _BLOCK), name=False)
    blocks = values.to_delayed()
    starts = [np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int).tolist() for sizes in values.chunks]
    look = delayed(_look, pure=False)
    for place in np.ndindex(blocks.shape):
        step, row, column = (starts[axis][number] for axis, number in enumerate(place))
        yield look(blocks[place], step, row, column, plan)


def _look(values: NDArray[np.floating], step: int, row: int, column: int, plan: _Plan) -> _Part:
    """Look at one chunk (time, y, x), time step by time step."""
    counts, sums, filled = [], [], []
    pieces = list(_overlaps(values.shape[1:], row, column, plan.tiles))
    kept = [np.empty((len(values), y1 - y0, x1 - x0), np.float16) for _, y0, y1, x0, x1 in pieces]
    for number, given in enumerate(values):
        with np.errstate(over="ignore"):  # float64's own nodata is infinite as float32
            plane = np.ascontiguousarray(given, dtype=np.float32)
        counts.append(_count(plane))
        for target, (_, y0, y1, x0, x1) in zip(kept, pieces, strict=True):
            target[number] = _decibel(plane[y0:y1, x0:x1])
        if plan.cells:
            both = _cells(plane, row, column, plan.cells)
            sums.append(both[0])
            filled.append(both[1])
    return _Part(
        step,
        np.array(counts),
        [
            (tile, row + y0 - plan.tiles[tile].y0, column + x0 - plan.tiles[tile].x0, part)
            for part, (tile, y0, _, x0, _) in zip(kept, pieces, strict=True)
        ],
        (row // plan.cells, column // plan.cells) if plan.cells else (0, 0),
        np.array(sums),
        np.array(filled),
    )


def _overlaps(
    shape: tuple[int, ...], row: int, column: int, tiles: Sequence[Tile]
) -> Iterator[tuple[int, int, int, int, int]]:
    """Tiles that a chunk holds a part of, with that part's first and last rows and columns in the chunk."""
    for number, tile in enumerate(tiles):
        y0, y1 = max(tile.y0 - row, 0), min(tile.y1 - row, shape[0])
        x0, x1 = max(tile.x0 - column, 0), min(tile.x1 - column, shape[1])
        if y0 < y1 and x0 < x1:
            yield number, y0, y1, x0, x1


def _count(plane: Floats) -> Counts:
    """Count the pixels of each kind, in the order of `_SHARES`; what nobody explains is unknown."""
    holes = np.isnan(plane)
    codes = np.bincount(hole_reasons(plane)[holes], minlength=256)
    counts = {name: int(codes[list(reasons)].sum()) for name, reasons in _HOLES.items()}
    # Cubes of others may hold what `load` takes out.
    counts["zeros"] += int(np.count_nonzero((plane <= 0) & (plane > -np.inf)))
    counts["nodata"] += int(np.count_nonzero(np.isinf(plane)))
    counts["valid"] = int(np.count_nonzero((plane > 0) & (plane < np.inf)))
    counts["unknown"] = plane.size - sum(counts.values())
    return np.array([counts[name] for name in _SHARES], np.int64)


def _decibel(plane: Floats) -> Floats:
    """Decibel within what float16 can hold to a hundredth; NaN where not valid."""
    valid = (plane > 0) & (plane < np.inf)
    # Contiguous and float64: NumPy's fast and slow loops then agree to more than is kept.
    powers = np.where(valid, plane, np.float32(1)).astype(np.float64)
    decibel = np.clip(10 * np.log10(powers), -100, 100).astype(np.float32)
    return np.where(valid, decibel, np.float32(np.nan))


def _cells(plane: Floats, row: int, column: int, size: int) -> tuple[Counts, Counts]:
    """Sum the dB, and count the valid pixels, of the grid's cells that a chunk has a part of."""
    decibel = _decibel(plane)
    valid = np.isfinite(decibel)
    thousandths = np.rint(np.where(valid, decibel, 0) * 1000).astype(np.int64)
    edges = [
        np.concatenate([[0], np.arange(size - first % size, length, size)])
        for first, length in zip((row, column), plane.shape, strict=True)
    ]
    sums, filled = (
        np.add.reduceat(np.add.reduceat(part, edges[0], axis=0), edges[1], axis=1)
        for part in (thousandths, valid.astype(np.int64))
    )
    return sums, filled


def _shifts(
    table: pd.DataFrame, plan: _Plan, parts: Sequence[_Part], tracks: NDArray[Any], sentences: list[list[str]]
) -> None:
    """Fill in the shift of every scene, track by track."""
    found = np.full((3, len(table)), np.nan)
    band = next(name for name in _POLARISATIONS if f"{name}_valid" in table)
    there = table[f"{band}_valid"].to_numpy() > 0
    for track in np.unique(tracks):
        steps = np.flatnonzero((tracks == track) & there)
        if not plan.tiles:
            reason = f"the cube of {plan.shape[0]} x {plan.shape[1]} pixels is too small"
        elif len(steps) < MIN_DATES:
            reason = f"its track has {len(steps)} dates, {MIN_DATES} are needed"
        else:
            reason = "too little of it is valid where the other dates of its track are"
            shifts = measure_shifts([_tile(plan, number, parts, steps) for number in range(len(plan.tiles))])
            found[:, steps] = shifts.rows, shifts.columns, shifts.confidence
            for step in steps[shifts.displaced]:
                rows, columns, confidence = found[:, step]
                sentences[step].append(
                    f"displaced by {np.hypot(rows, columns):.1f} pixels ({rows:+.1f} rows, {columns:+.1f} columns) "
                    f"against the median of its track, as {confidence:.0%} of the tiles say"
                )
        for step in steps[np.isnan(found[0, steps])]:
            sentences[step].append(f"shift not measured: {reason}")
    table["shift_rows"], table["shift_columns"], table["shift_confidence"] = found


def _tile(plan: _Plan, number: int, parts: Sequence[_Part], steps: NDArray[np.int64]) -> Halves:
    """Put one tile of some time steps together."""
    tile = plan.tiles[number]
    stack = np.full((len(steps), tile.y1 - tile.y0, tile.x1 - tile.x0), np.nan, np.float16)
    for part in parts:
        here = np.flatnonzero((steps >= part.step) & (steps < part.step + len(part.counts)))
        for which, row, column, piece in part.pieces:
            if which == number and here.size:
                target = np.s_[row : row + piece.shape[1], column : column + piece.shape[2]]
                stack[(here, *target)] = piece[steps[here] - part.step]
    return stack


def _seams(
    table: pd.DataFrame, cube: xr.Dataset, plan: _Plan, parts: Sequence[_Part], sentences: list[list[str]]
) -> None:
    """Fill in the seam of every pass of several slices."""
    found = np.full(len(table), np.nan)
    several = table["slices"].to_numpy() > 1
    tracks = table["track"].to_numpy()
    for track in np.unique(tracks[several]):
        steps = np.flatnonzero(tracks == track)
        passes = np.flatnonzero(several[steps])
        try:
            heading = _heading(cube, int(steps[0]))
        except InputError as error:
            for step in steps[passes]:
                sentences[step].append(f"seam not measured: {error}")
            continue
        levels = _levels(plan, parts, steps)
        strength = np.full(len(steps), np.nan)
        for number, others in enumerate(medians_of_others(levels, trusted=np.ones(len(steps), bool))):
            if number in passes:
                strength[number] = strongest_step(levels[number] - others, heading=heading)
        found[steps] = strength
        for step, step_db in zip(steps[passes], strength[passes], strict=True):
            if np.isnan(step_db):
                sentences[step].append("seam not measured: too little to the sides of it, or no other date")
            elif step_db >= SEAM:
                sentences[step].append(f"seam of {step_db:.1f} dB between its slices")
    table["seam_db"] = found


def _heading(cube: xr.Dataset, step: int) -> float:
    """Direction of the flight of a time step."""
    if missing := sorted({"relative_orbit", "orbit_state"} - set(cube.coords)):
        raise InputError(f"the cube has no coordinate {', '.join(missing)}")
    if cube.odc.geobox is None:
        raise InputError("the cube has no CRS")
    return flight_heading(
        cube.odc.geobox,
        relative_orbit=int(cube["relative_orbit"].to_numpy()[step]),
        orbit_state=str(cube["orbit_state"].to_numpy()[step]),
    )


def _levels(plan: _Plan, parts: Sequence[_Part], steps: NDArray[np.int64]) -> Floats:
    """Mean dB of the cells (time, y, x) of some time steps; NaN where less than half of a cell is valid."""
    size = plan.cells
    shape = (len(steps), *(-(-length // size) for length in plan.shape))
    sums, filled = np.zeros(shape, np.int64), np.zeros(shape, np.int32)
    for part in parts:
        here = np.flatnonzero((steps >= part.step) & (steps < part.step + len(part.counts)))
        if here.size:
            rows, columns = part.sums.shape[1:]
            target = np.s_[part.corner[0] : part.corner[0] + rows, part.corner[1] : part.corner[1] + columns]
            sums[(here, *target)] += part.sums[steps[here] - part.step]
            filled[(here, *target)] += part.filled[steps[here] - part.step].astype(np.int32)
    means = sums / (1000 * np.maximum(filled, 1))
    return np.where(2 * filled >= size * size, means, np.nan).astype(np.float32)


def _holes(table: pd.DataFrame, bands: Sequence[str], sentences: list[list[str]]) -> None:
    """Warn of what is empty, unread or filled with zeros."""
    for lines, (_, row) in zip(sentences, table.iterrows(), strict=True):
        if not any(row[f"{band}_valid"] for band in bands):
            lines.append("empty: it has no valid pixel here")
        for band in bands:
            if row[f"{band}_unread"]:
                lines.append(f"{row[f'{band}_unread']:.1%} of {band.upper()} could not be read")
            if row[f"{band}_zeros"] > ZERO_SHARE:
                lines.append(f"{row[f'{band}_zeros']:.1%} of {band.upper()} are zeros, no measurement: filled in")
