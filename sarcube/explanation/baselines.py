"""What a window is compared with: background patches, and windows as a model takes them."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError
from sarcube.labels.patches import Patches
from sarcube.model_input import check_patches

if TYPE_CHECKING:
    from sarcube.models.classifier import WindowClassifier

COUNT = 15
"""Baselines that are drawn by default: with the window, one pass of the network (`attribution.LANES`)."""


def draw_baselines(patches: Patches, *, n: int = COUNT, seed: int = 0) -> NDArray[np.float32]:
    """Draw background patches to explain others against.

    Parameters
    ----------
    patches : Patches
        Those that are no landslide are drawn from, without return; only those drawn are read.
    n : int
        How many, or all if there are fewer.
    seed : int
        The draw follows from it.

    Returns
    -------
    (n, band, size, size) float32 array

    Raises
    ------
    InputError
        If all are landslides, or `n` is less than 1.
    """
    if n < 1:
        raise InputError(f"at least 1 baseline is needed, not n={n}")
    background = np.flatnonzero(~patches.labels)
    if not len(background):
        raise InputError("baselines are background patches, and all of these are landslides; give some that are not")
    return patches.read(np.sort(np.random.default_rng(seed).permutation(background)[:n]))


def windows_for(model: "WindowClassifier", windows: Patches | ArrayLike, *, name: str) -> NDArray[np.float32]:
    """Return patches or an array as finite windows (n, band, size, size) float32 that a model can judge.

    Raises
    ------
    BandError, InputError
        As `sarcube.model_input.check_patches`; if there are none, they have another shape, or are not finite.
    """
    if isinstance(windows, Patches):
        check_patches(model, windows, name=name)
        windows = windows.images
    images, spec = np.asarray(windows, np.float32), model.spec
    expected = (len(spec.bands), spec.window_size, spec.window_size)
    if images.ndim != 4 or images.shape[1:] != expected or not len(images):
        raise InputError(
            f"{name} must have the shape (n, {', '.join(map(str, expected))}), with n at least 1, not {images.shape}"
        )
    if not np.isfinite(images).all():
        raise InputError(
            f"{name} must be finite, and some of these are not; give patches of sc.sample_patches, which fills single "
            "pixels and discards what cannot be judged"
        )
    return images
