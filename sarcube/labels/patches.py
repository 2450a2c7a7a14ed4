"""Patches: labelled windows of a stack, cut where an inventory says what is landslide."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.errors import BandError, InputError
from sarcube.gaps import MAX_GAPS, count_gaps, fill_gaps, window_sums
from sarcube.labels.inventory import rasterise_inventory
from sarcube.windows import regular_origins

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Patches:
    """Labelled windows, in memory.

    Attributes
    ----------
    images : (n, band, size, size) float32 array
        dB, finite everywhere.
    labels : (n,) bool array
        Landslide or background.
    fraction : (n,) float64 array
        Share of landslide pixels, 0 to 1.
    y0, x0 : (n,) int64 arrays
        First pixel row and column in the stack that the patch was cut from.
    bands : tuple of str
        What the band axis holds, in order.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.bool_]
    fraction: NDArray[np.float64]
    y0: NDArray[np.int64]
    x0: NDArray[np.int64]
    bands: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        return f"{len(self)} patches of {self.size} x {self.size} pixels, {int(self.labels.sum())} of them landslides"

    @property
    def size(self) -> int:
        """Pixels along a side."""
        return int(self.images.shape[-1])

    def subset(self, selection: NDArray[np.bool_] | NDArray[np.integer]) -> "Patches":
        """Return the patches that a mask or indices along the first axis select."""
        return Patches(
            self.images[selection],
            self.labels[selection],
            self.fraction[selection],
            self.y0[selection],
            self.x0[selection],
            bands=self.bands,
        )


def sample_patches(
    stack: xr.DataArray,
    inventory: gpd.GeoDataFrame,
    *,
    size: int = 64,
    min_landslide_fraction: float = 0.05,
    stride: int | None = None,
) -> Patches:
    """Cut a stack into labelled windows on a regular grid, as Nava et al. 2026 (GMD 19, 167, section 3) do.

    Patches with more than one pixel that is not valid are discarded; a single one is filled by the rule of the
    detector (`sarcube.gaps`). Pixels beyond the last whole patch are in none.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        float32 dB on a georeferenced grid; computed here if it is lazy.
    inventory : GeoDataFrame
        All landslides of the stack's area, in any CRS: what is outside its polygons counts as background.
    size : int
        Pixels along a side of a patch.
    min_landslide_fraction : float
        A patch is a landslide if **more** than this share of its pixels is (by pixel centre).
    stride : int, optional
        Pixels from one patch to the next; by default `size`, so that no two patches share a pixel. A smaller stride
        gives more, overlapping patches: only for training, never across a split.

    Returns
    -------
    Patches
        In row-major order of their origins.

    Raises
    ------
    InputError
        If the stack is smaller than a patch, not a (band, y, x) stack, or without a grid; if the inventory has no CRS.
    """
    if not 0 <= min_landslide_fraction < 1:
        raise InputError(f"min_landslide_fraction must be in [0, 1), not {min_landslide_fraction}")
    if stack.dims != ("band", "y", "x"):
        raise InputError(f"a stack has the dimensions (band, y, x), not {stack.dims}")
    label = rasterise_inventory(inventory, stack)
    if len(inventory) and not label.any():
        log.warning("none of the %d landslides of the inventory lies on the stack", len(inventory))
    stride = size if stride is None else stride
    rows = np.array(regular_origins(stack.sizes["y"], size, stride), np.int64)
    columns = np.array(regular_origins(stack.sizes["x"], size, stride), np.int64)

    image = np.asarray(stack.to_numpy(), np.float32)
    usable = count_gaps(image, rows, columns, size) <= MAX_GAPS
    fraction = window_sums(label, rows, columns, size) / size**2
    y, x = np.nonzero(usable)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    images = np.ascontiguousarray(windows[:, rows[y], columns[x]].swapaxes(0, 1))
    return Patches(
        fill_gaps(images),
        fraction[usable] > min_landslide_fraction,
        fraction[usable],
        rows[y],
        columns[x],
        tuple(str(name) for name in stack["band"].to_numpy()),
    )


def concatenate_patches(patches: Sequence[Patches]) -> Patches:
    """Join the patches of several stacks; origins stay those within each stack.

    Raises
    ------
    InputError
        If there is none, or their sizes differ.
    BandError
        If their bands differ.
    """
    if not patches:
        raise InputError("there are no patches to join")
    first = patches[0]
    for other in patches[1:]:
        if other.bands != first.bands:
            raise BandError(f"patches of different bands cannot be joined: {first.bands} and {other.bands}")
        if other.size != first.size:
            raise InputError(f"patches of different sizes cannot be joined: {first.size} and {other.size} pixels")
    return Patches(
        np.concatenate([p.images for p in patches]),
        np.concatenate([p.labels for p in patches]),
        np.concatenate([p.fraction for p in patches]),
        np.concatenate([p.y0 for p in patches]),
        np.concatenate([p.x0 for p in patches]),
        bands=first.bands,
    )
