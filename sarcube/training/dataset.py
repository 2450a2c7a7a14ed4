"""Patches as a data set of torch, for training loops of one's own."""

from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from sarcube.errors import InputError
from sarcube.labels.order import AT_ONCE, draw_epoch, reading_order
from sarcube.labels.patches import Patches

PLACE = ("event", "track", "left", "bottom", "right", "top", "crs")


class PatchDataset(IterableDataset[dict[str, Any]]):
    """Patches one after the other, read share by share where they are not in memory.

    Workers of a `torch.utils.data.DataLoader` divide the shares among themselves, so that each patch comes exactly
    once; with more workers than shares some have nothing to do.

    Parameters
    ----------
    patches : Patches
    shuffle : bool
        Mix the patches as `sarcube.train` does; otherwise they come tile by tile. Leave the DataLoader's own `shuffle`
        off.
    seed : int
        Decides, with the epoch, order and draw.
    max_background_ratio : float, optional
        Background patches per landslide patch in an epoch, at most; each epoch draws its own. By default all come.
    at_once : int
        Patches that a worker has in memory at once, and mixes.

    Yields
    ------
    dict
        image (band, size, size) float32 tensor, NaN where not valid if there are masks; label (bool); fraction; mask
        (size, size) uint8 tensor if there are masks, 255 where to be left out; event, track, left, bottom, right, top,
        crs.

    Raises
    ------
    InputError
        If `at_once` is less than 1, or the ratio not above 0.

    Examples
    --------
    >>> data = sc.PatchDataset(patches, shuffle=True, seed=0)
    >>> for epoch in range(10):
    ...     data.set_epoch(epoch)
    ...     for batch in torch.utils.data.DataLoader(data, batch_size=64, num_workers=2):
    ...         ...
    """

    def __init__(
        self,
        patches: Patches,
        *,
        shuffle: bool = False,
        seed: int = 0,
        max_background_ratio: float | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        super().__init__()
        if at_once < 1:
            raise InputError(f"at_once must be at least 1, not {at_once}")
        if max_background_ratio is not None and not max_background_ratio > 0:
            raise InputError(f"max_background_ratio must be > 0 or None, not {max_background_ratio}")
        self.patches = patches
        self._shuffle, self._seed, self._at_once = shuffle, seed, at_once
        self._ratio = max_background_ratio
        # In shared memory: workers that a DataLoader keeps from epoch to epoch see it change.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next: its order and its draw follow from the seed and this number alone."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(draw_epoch(self.patches.labels, self._ratio, np.random.default_rng(0)))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        draws = np.random.default_rng([self._seed, int(self._epoch)])
        chosen = draw_epoch(self.patches.labels, self._ratio, draws)
        shares = reading_order(
            self.patches.tiles, chosen, draws=draws if self._shuffle else None, at_once=self._at_once
        )
        worker = get_worker_info()
        if worker is None:
            for share in shares:
                yield from self._read(share)
            return
        for share in shares[worker.id :: worker.num_workers]:
            # The pool of threads that Dask may have in the parent has no threads in a forked process.
            with dask.config.set(scheduler="synchronous"):
                samples = self._read(share)
            yield from samples

    def _read(self, share: np.ndarray[Any, np.dtype[np.int64]]) -> list[dict[str, Any]]:
        images = torch.from_numpy(self.patches.read(share))
        masks = None if self.patches.masks is None else torch.from_numpy(self.patches.read_masks(share))
        table = self.patches.table.iloc[share]
        samples: list[dict[str, Any]] = []
        for number, (label, fraction, *place) in enumerate(
            zip(*(table[name].tolist() for name in ("landslide", "fraction", *PLACE)), strict=True)
        ):
            sample = {"image": images[number], "label": label, "fraction": fraction}
            if masks is not None:
                sample["mask"] = masks[number]
            samples.append(sample | dict(zip(PLACE, place, strict=True)))
        return samples
