"""Batches out of patches: while one share is trained on, the next one is read."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.labels.patches import UNSEEN, Patches

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
T = TypeVar("T")
R = TypeVar("R")

THREAD = "sarcube-feed"


def batches(
    patches: Patches, shares: Sequence[Indices], *, batch_size: int, by_pixel: bool, name: str
) -> Generator[tuple[Floats, Floats], None, None]:
    """Read patches share by share, and cut them into batches.

    What is in memory are two shares at most, the tile that is being read, and a batch: patches that are in memory
    already are read in turn, others by one thread in the background, one share ahead. It ends with this iterator.

    Parameters
    ----------
    patches : Patches
    shares : sequence of (m,) int64 arrays
        From `sarcube.labels.order.reading_order`.
    batch_size : int
        A share's last batch has what is left.
    by_pixel : bool
        Give masks, NaN where a landslide is not seen, and images with NaN where they are not valid; otherwise labels,
        and images that must be finite.
    name : str
        What to call the patches in an error.

    Yields
    ------
    images, truth : (n, band, size, size) and (n,) or (n, size, size) float32 arrays

    Raises
    ------
    InputError
        If a window that must be finite is not.
    """

    def read(share: Indices) -> tuple[Floats, Floats]:
        return read_share(patches, share, by_pixel=by_pixel, name=name)

    for images, truth in read_ahead(read, shares, background=not patches.is_loaded):
        for start in range(0, len(images), batch_size):
            inside = slice(start, start + batch_size)
            # Copies: a view that somebody keeps would keep the whole share.
            yield images[inside].copy(), truth[inside].copy()
        del images, truth  # before the next one takes their names


def read_share(patches: Patches, share: Indices, *, by_pixel: bool, name: str) -> tuple[Floats, Floats]:
    """Read images and truth of some patches, as `batches` yields them."""
    if by_pixel:
        images = patches.read(share)
        images[~np.isfinite(images)] = np.nan
        masks = patches.read_masks(share)
        return images, np.where(masks == UNSEEN, np.float32(np.nan), masks.astype(np.float32))
    try:
        images = patches.read(share)
    except InputError as error:
        raise InputError(f"the {name} patches hold values that are not finite: {error}") from error
    broken = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if len(broken):
        raise InputError(
            f"the {name} patches hold values that are not finite: number {share[broken[0]]} does, among others; "
            "sample_patches leaves those out"
        )
    return images, patches.labels[share].astype(np.float32)


def read_ahead(read: Callable[[T], R], items: Sequence[T], *, background: bool) -> Iterator[R]:
    """Give what `read` makes of each item, in their order; in the background it reads one item ahead.

    An error of `read` is raised here, when its item's turn comes. The thread ends when the iterator does, at its end or
    when it is closed, after the read that it is at.
    """
    if not background:
        yield from map(read, items)
        return
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
    ahead: list[Future[R]] = []
    try:
        for item in items:
            ahead.append(reader.submit(read, item))
            if len(ahead) == 2:
                yield ahead.pop(0).result()
        if ahead:
            yield ahead.pop().result()
    finally:
        reader.shutdown(cancel_futures=True)
