"""Sorting networks: the same comparisons for every pixel, so that the processor takes many pixels at once."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Network = NDArray[np.int64]


@lru_cache(maxsize=256)
def sorting_network(values: int) -> Network:
    """Return the comparators that put `values` values in order.

    Parameters
    ----------
    values : int
        1 or more.

    Returns
    -------
    ndarray of int64, (comparator, 2)
        Pairs (i, j), i < j, in order: the smaller value goes to i, the larger to j.

    Notes
    -----
    Batcher's merge exchange sort: Knuth, The Art of Computer Programming 3, algorithm 5.2.2 M.
    """
    comparators: list[tuple[int, int]] = []
    top = 1 << max(values - 1, 0).bit_length() >> 1
    p = top
    while p > 0:
        q, r, d = top, 0, p
        while True:
            comparators += [(i, i + d) for i in range(values - d) if i & p == r]
            if q == p:
                break
            d, q, r = q - p, q >> 1, p
        p >>= 1
    return _frozen(comparators)


@lru_cache(maxsize=256)
def median_network(values: int) -> Network:
    """Return the comparators that put the middle of `values` values into its place.

    Parameters
    ----------
    values : int
        1 or more.

    Returns
    -------
    ndarray of int64, (comparator, 2)
        Pairs (i, j), i < j, in order, as `sorting_network` has them. Afterwards places `values // 2 - 1` and
        `values // 2` hold what a full sort would put there.

    Notes
    -----
    A sorting network, less every comparator that the middle does not depend on.
    """
    needed = {max(values // 2 - 1, 0), values // 2}
    kept: list[tuple[int, int]] = []
    for i, j in reversed(sorting_network(values).tolist()):
        if i in needed or j in needed:
            needed |= {i, j}
            kept.append((i, j))
    return _frozen(kept[::-1])


def _frozen(comparators: list[tuple[int, int]]) -> Network:
    network: Any = np.array(comparators, dtype=np.int64).reshape(-1, 2)
    network.setflags(write=False)
    return network  # type: ignore[no-any-return]
