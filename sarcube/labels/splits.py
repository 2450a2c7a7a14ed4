"""Training, validation and test: at random as the papers do, by blocks of ground, or by event."""

import logging
from collections.abc import Iterator
from math import inf
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.labels.ground import Ground, corners_on_the_ground, map_corners
from sarcube.labels.patches import Patches

log = logging.getLogger(__name__)

Indices: TypeAlias = NDArray[np.int64]
Method: TypeAlias = Literal["random", "blocked"]

TRAINING, VALIDATION, TEST = 0, 1, 2
LEFT_OUT = -1

_HAIR = 0.005  # of a patch's width: less than a pixel


class Split(NamedTuple):
    """Patches to learn from, to choose by, and to measure on."""

    train: Patches
    validation: Patches
    test: Patches


def split_patches(
    patches: Patches,
    *,
    method: Method = "random",
    test_fraction: float = 0.33,
    validation_fraction: float = 0.4,
    block_size: float = 3200.0,
    buffer: float = 640.0,
    max_test_ratio: float | None = 10.0,
    max_train_ratio: float | None = None,
    seed: int = 0,
) -> Split:
    """Split patches, event by event, into training, validation and test.

    Parameters
    ----------
    patches : Patches
        Of one or more events and tracks.
    method : {"random", "blocked"}
        "random": each patch by itself, as Nava et al. 2026 (GMD 19, 167, section 3) do. A landslide that lies in two
        patches, and the two tracks' views of one slope, may then be learnt from and tested on: scores come out too
        high. Patches of one track that share ground (a stride below their size, two composites of one track) make it
        worse, and are logged as a warning. "blocked": whole squares of ground, with all tracks' patches in them, and a
        strip of `buffer` metres between what is learnt from, chosen by and tested on. docs/leakage.md measures the
        difference.
    test_fraction : float
        Share of each event, and within it of each class, for the test.
    validation_fraction : float
        Share of the rest for validation.
    block_size : float
        Side of a block of the blocked split, metres.
    buffer : float
        Of the blocked split, metres: training patches nearer than this to a validation or test patch are left out, and
        validation patches nearer to a test patch. Patches of different parts never share a pixel, with 0 either.
    max_test_ratio : float, optional
        Background patches per landslide patch in test and validation, at most, in each event: drawn at random where
        nature has more. None keeps all.
    max_train_ratio : float, optional
        Likewise for training; the papers take 4, 5 or 6. None keeps all: `TrainConfig.max_background_ratio` draws
        afresh in each epoch, which uses more of the background.
    seed : int
        Decides all draws.

    Returns
    -------
    Split
        (train, validation, test). A block is not divided, so that the shares of a blocked split are met as nearly as
        whole blocks allow, by landslides first.

    Raises
    ------
    InputError
        If a share, ratio, length or seed cannot be used; if patches that know no place, or patches of one event that
        are 2000 km apart, are to be split by blocks; if an event has too few blocks.
    """
    _check(method, test_fraction, validation_fraction, block_size, buffer, seed, max_test_ratio, max_train_ratio)
    part = np.full(len(patches), LEFT_OUT, np.int64)
    for number, event in enumerate(dict.fromkeys(patches.events)):
        there = np.flatnonzero(patches.events == event)
        draws = np.random.default_rng([seed, number])
        shares = ((1 - test_fraction) * (1 - validation_fraction), (1 - test_fraction) * validation_fraction)
        wanted = np.array([*shares, test_fraction])
        if method == "random":
            part[there] = _at_random(patches.labels[there], wanted, draws)
        else:
            ground = corners_on_the_ground(patches.table.iloc[there], str(event))
            part[there] = _by_blocks(ground, patches.labels[there], wanted, block_size, buffer, draws, str(event))
        for which, ratio in ((TRAINING, max_train_ratio), (VALIDATION, max_test_ratio), (TEST, max_test_ratio)):
            here = there[part[there] == which]
            part[here[~_capped(patches.labels[here], ratio, draws)]] = LEFT_OUT
        if method == "random":
            _warn_of_shared_ground(patches.table.iloc[there], part[there], str(event))
    return Split(*(patches.subset(part == which) for which in (TRAINING, VALIDATION, TEST)))


def leave_one_event_out(
    patches: Patches,
    *,
    validation_fraction: float = 0.4,
    method: Method = "blocked",
    block_size: float = 3200.0,
    buffer: float = 640.0,
    max_test_ratio: float | None = 10.0,
    max_train_ratio: float | None = None,
    seed: int = 0,
) -> Iterator[tuple[str, Split]]:
    """Take each event in turn for the test, and learn from all others: what a model does in a place it has never seen.

    Parameters
    ----------
    patches : Patches
        Of two events or more.
    validation_fraction, method, block_size, buffer, max_test_ratio, max_train_ratio, seed
        As in `split_patches`, for the events that are learnt from.

    Yields
    ------
    str, Split
        The event left out, and (train, validation, test), the test being all its patches but for `max_test_ratio`. A
        warning is logged where they share ground with another event.

    Raises
    ------
    InputError
        If there is but one event; and as `split_patches` does.
    """
    names = list(dict.fromkeys(patches.events))
    if len(names) < 2:
        raise InputError(f"leaving one event out needs patches of at least two events; there is {names or 'none'}")
    for number, name in enumerate(names):
        others = split_patches(
            patches.subset(patches.events != name),
            method=method,
            test_fraction=0.0,
            validation_fraction=validation_fraction,
            block_size=block_size,
            buffer=buffer,
            max_test_ratio=max_test_ratio,
            max_train_ratio=max_train_ratio,
            seed=seed,
        )
        test = patches.subset(patches.events == name)
        kept = _capped(test.labels, max_test_ratio, np.random.default_rng([seed, len(names), number]))
        learnt = patches.table[patches.events != name]
        shared = int(_overlapping(test.table, learnt).sum())
        if shared:
            log.warning(
                'event "%s": %d of its %d patches share ground with other events, so that it is no place never seen; '
                "give stacks of one place one event",
                name,
                shared,
                len(test),
            )
        yield str(name), Split(others.train, others.validation, test.subset(kept))


def share_ground(a: Patches, b: Patches, *, buffer: float = 0.0) -> Indices:
    """Return the indices of the patches of `a` that share ground with any of `b` of the same event, or nearly.

    Parameters
    ----------
    a, b : Patches
    buffer : float
        Patches that are nearer to one another than this, metres, count as well.

    Returns
    -------
    (k,) int64 array

    Raises
    ------
    InputError
        If patches know no place, or those of one event are 2000 km apart.
    """
    found: list[Indices] = []
    for event in dict.fromkeys(a.events):
        of_a, of_b = np.flatnonzero(a.events == event), np.flatnonzero(b.events == event)
        if len(of_b):
            table = pd.concat([a.table.iloc[of_a], b.table.iloc[of_b]])
            ground = corners_on_the_ground(table, str(event))
            found.append(of_a[_near(ground[: len(of_a)], ground[len(of_a) :], buffer)])
    return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _at_random(labels: NDArray[np.bool_], wanted: NDArray[np.float64], draws: np.random.Generator) -> Indices:
    part = np.empty(len(labels), np.int64)
    for label in (True, False):
        here = draws.permutation(np.flatnonzero(labels == label))
        stops = np.round(np.cumsum(wanted) * len(here)).astype(np.int64)
        for which, group in enumerate(np.split(here, stops[:2])):
            part[group] = which
    return part


def _by_blocks(
    ground: Ground,
    labels: NDArray[np.bool_],
    wanted: NDArray[np.float64],
    block_size: float,
    buffer: float,
    draws: np.random.Generator,
    event: str,
) -> Indices:
    centres = ground.mean(axis=1)
    corner = centres.min(axis=0) - draws.uniform(0, block_size, 2)  # no ground is always at a block's edge
    cells = np.floor((centres - corner) / block_size).astype(np.int64)
    block = np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1)
    if block.max(initial=-1) + 1 < (wanted > 0).sum():
        raise InputError(
            f'event "{event}" has {block.max(initial=-1) + 1} blocks of {block_size:g} m, too few for '
            f"{(wanted > 0).sum()} parts; take a smaller block_size"
        )
    counts = np.stack([np.bincount(block, labels), np.bincount(block, ~labels)], axis=1)  # (block, class)
    target = wanted[:, np.newaxis] * counts.sum(axis=0)
    has = np.zeros_like(target)
    of_block = np.empty(len(counts), np.int64)
    # Blocks with landslides first, which are few: the others even out the background.
    order = draws.permutation(len(counts))
    for number in order[np.argsort(counts[order, 0] == 0, kind="stable")]:
        missing = np.where(wanted > 0, (target - has)[:, 0 if counts[number, 0] else 1], -np.inf)
        of_block[number] = np.argmax(missing)
        has[of_block[number]] += counts[number]
    part = of_block[block]
    for kept_from, others in ((VALIDATION, (TEST,)), (TRAINING, (VALIDATION, TEST))):
        here = np.flatnonzero(part == kept_from)
        part[here[_near(ground[here], ground[np.isin(part, others)], buffer)]] = LEFT_OUT
        if len(here) and not (part == kept_from).any():
            log.warning(
                'event "%s": all its patches for %s lie within %g m of others and are left out; take a smaller buffer '
                "or larger blocks",
                event,
                "training" if kept_from == TRAINING else "validation",
                buffer,
            )
    return part


def _warn_of_shared_ground(table: pd.DataFrame, part: Indices, event: str) -> None:
    """Say of a random split where one track's patches lie over one another across it; two tracks' always do."""
    for track in dict.fromkeys(table["track"]):
        here = (table["track"] == track).to_numpy()
        learnt, judged = table[here & (part == TRAINING)], table[here & np.isin(part, (VALIDATION, TEST))]
        shared = int(_overlapping(judged, learnt).sum())
        if shared:
            log.warning(
                'event "%s", track "%s": %d of %d patches for validation and test share ground with training patches; '
                'their scores will be too high; method="blocked" keeps them apart',
                event,
                track,
                shared,
                len(judged),
            )


def _overlapping(a: pd.DataFrame, b: pd.DataFrame) -> NDArray[np.bool_]:
    """Which patches of `a` lie over any of `b`, of whatever event, in the same CRS: (n,)."""
    over = np.zeros(len(a), bool)
    for system in set(a["crs"]) & set(b["crs"]) - {""}:
        here = np.flatnonzero(a["crs"] == system)
        over[here] = _near(map_corners(a.iloc[here]), map_corners(b[b["crs"] == system]), 0)
    return over


def _near(a: Ground, b: Ground, buffer: float) -> NDArray[np.bool_]:
    """Which patches (corner, x and y) of `a` overlap one of `b`, or come nearer to one than `buffer`: (n,)."""
    near = np.zeros(len(a), bool)
    if len(a) and len(b):
        # Neighbours on a grid touch, and share no ground; between projections corners are moved by a hair.
        shrunk = a + _HAIR * (a.mean(axis=1, keepdims=True) - a)
        tree = shapely.STRtree(np.asarray(shapely.polygons(b)))
        widths = np.ptp(a, axis=1).max(axis=1)
        # Shrunk on each side by half a hair of its width, so that a patch is that much farther from its neighbours.
        apart = buffer + (0.49 * _HAIR * widths if buffer else 0 * widths)
        near[tree.query(shapely.polygons(shrunk), predicate="dwithin", distance=apart)[0]] = True
    return near


def _capped(labels: NDArray[np.bool_], ratio: float | None, draws: np.random.Generator) -> NDArray[np.bool_]:
    """Which patches stay if the background may be so many times as many as the landslides: (n,)."""
    background = np.flatnonzero(~labels)
    kept = np.ones(len(labels), bool)
    most = len(background) if ratio is None else round(ratio * labels.sum())
    if most < len(background) and labels.any():  # without a landslide there is nothing to keep a ratio to
        kept[draws.choice(background, len(background) - most, replace=False)] = False
    return kept


def _check(
    method: str,
    test_fraction: float,
    validation_fraction: float,
    block_size: float,
    buffer: float,
    seed: int,
    *ratios: float | None,
) -> None:
    if method not in ("random", "blocked"):
        raise InputError(f'method must be "random" or "blocked", not {method!r}')
    if not (0 <= test_fraction < 1 and 0 <= validation_fraction < 1):
        raise InputError(
            f"test_fraction and validation_fraction must be shares in [0, 1), not {test_fraction} and "
            f"{validation_fraction}"
        )
    if not 0 < block_size < inf or not buffer >= 0:
        raise InputError(f"block_size must be > 0 and buffer >= 0 metres, not {block_size} and {buffer}")
    for ratio in ratios:
        if ratio is not None and not 0 < ratio < inf:
            raise InputError(f"a ratio of background to landslides must be > 0 or None for all, not {ratio}")
    if seed < 0:
        raise InputError(f"seed must be 0 or more, not {seed}")
