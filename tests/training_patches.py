"""Small patches of noise in which something can be learnt, and networks small enough to learn it at once."""

import dask.array as da
import numpy as np
import torch
from simple_stack import BANDS, make_inventory, make_stack

import sarcube as sc
from sarcube.labels.patches import concatenate_patches, patches_from_arrays
from sarcube.models import ModelSpec, Segmenter

SIZE = 16


def make_patches(n, *, seed=0, bands=BANDS, share=0.3, change=4.0):
    """Noise; a landslide is a change in the middle of the VV difference."""
    draws = np.random.default_rng(seed)
    images = draws.normal(-10, 2, (n, len(bands), SIZE, SIZE)).astype(np.float32)
    labels = draws.random(n) < share
    labels[:2] = True, False
    images[labels, 2, 4:12, 4:12] += change
    return patches_from_arrays(images, labels, bands=bands, fraction=labels * 0.25)


def make_chips(n, *, seed=0, gaps=0.02):
    """Noise with pixels that are not valid; a landslide is a change in the VV difference, somewhere in the chip."""
    draws = np.random.default_rng(seed)
    images = draws.normal(-10, 2, (n, len(BANDS), SIZE, SIZE)).astype(np.float32)
    masks = np.zeros((n, SIZE, SIZE), np.uint8)
    for mask, (y, x) in zip(masks, draws.integers(0, 10, (n, 2)), strict=True):
        mask[y : y + 6, x : x + 6] = 1
    images[:, 2] += 6 * masks
    images[draws.random(images.shape) < gaps] = np.nan
    return patches_from_arrays(images, masks.any(axis=(1, 2)), bands=BANDS, masks=masks)


def stack_patches(chunks=None, *, seed=0, store=None, masks=False):
    """Patches of two stacks, in NumPy, in Dask arrays of some chunks, or in Zarr stores in a folder."""
    parts = []
    for number, (height, width) in enumerate(((150, 130), (90, 170))):
        stack = make_stack(height, width, seed=10 * seed + number)
        inventory = make_inventory((10, 20, 60, 50), (70, 80, 85, 120))
        stack.data[2, 10:60, 20:50] += 5
        stack.data[2, 70:85, 80:120] += 5
        if chunks is not None:
            stack = stack.copy(data=da.from_array(stack.data, chunks=chunks))
        if store is not None:
            path = str(store / f"{number}.zarr")
            stack.data.to_zarr(path)
            stack = stack.copy(data=da.from_zarr(path))
        if masks:
            parts.append(sc.sample_chips(stack, inventory, size=SIZE, background=True))
        else:
            parts.append(sc.sample_patches(stack, inventory, size=SIZE))
    return concatenate_patches(parts)


def tiny_cnn(seed=0):
    return sc.models.cnn(4, filters=4, window_size=SIZE, seed=seed)


class TinySegmenter(Segmenter):
    """Two convolutions with dropout between them."""

    multiple = 2

    def __init__(self, seed=0):
        super().__init__(ModelSpec("tiny", BANDS, window_size=SIZE))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = torch.nn.Conv2d(len(BANDS), 8, 3, padding=1)
            self.second = torch.nn.Conv2d(8, 1, 3, padding=1)
        self.dropout = torch.nn.Dropout(0.1)

    def logits(self, images):
        return self.second(self.dropout(torch.relu(self.first(images)))).squeeze(1)
