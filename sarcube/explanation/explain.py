"""Explaining a model: patches, or an area."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError
from sarcube.explanation.attribution import attribute, base_value
from sarcube.explanation.baselines import draw_baselines, windows_for
from sarcube.explanation.layer import explain_stack
from sarcube.labels.patches import Patches
from sarcube.model_input import check_patches
from sarcube.models.kinds import window_classifier
from sarcube.models.weights import frozen_copy

if TYPE_CHECKING:
    from sarcube.models.network import Network


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each pixel of each band contributes to the logits of windows.

    Attributes
    ----------
    contributions : (n, band, size, size) float32 array
        In logits: positive where a pixel speaks for a landslide. Over bands and pixels they add up to
        ``logits - base_value``, within 0.001.
    logits : (n,) float64 array
        Of the windows, before the sigmoid and not divided by the spec's temperature.
    base_value : float
        Mean logit of the baselines.
    bands : tuple of str
        What the band axis holds, in order.
    """

    contributions: NDArray[np.float32]
    logits: NDArray[np.float64]
    base_value: float
    bands: tuple[str, ...]

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean of the contributions over the bands: (n, size, size) float32."""
        mean: NDArray[np.float32] = self.contributions.mean(axis=1)
        return mean


@overload
def explain(
    model: "Network", data: xr.DataArray, *, baselines: Patches | ArrayLike, stride: int | None = None
) -> xr.DataArray: ...


@overload
def explain(
    model: "Network", data: Patches | NDArray[np.float32], *, baselines: Patches | ArrayLike, stride: None = None
) -> Explanation: ...


def explain(
    model: "Network",
    data: xr.DataArray | Patches | NDArray[np.float32],
    *,
    baselines: Patches | ArrayLike,
    stride: int | None = None,
) -> xr.DataArray | Explanation:
    """Say which pixels of which bands speak for a landslide, and which against: SHAP values by DeepLIFT-SHAP.

    The logit of a window, less the mean logit of the baselines, is divided among its pixels and bands. It is the same
    every time, for any batch and any chunks. That the contributions add up to within 0.001 is checked window by window.

    Parameters
    ----------
    model : WindowClassifier
        A copy is taken. A model that judges pixels is refused.
    data : (band, y, x) DataArray, Patches, or (n, band, size, size) array
        A stack, as `sarcube.score_windows` takes it (NumPy or Dask), of an area or of a single window; or windows that
        are cut already, in the unit of the model's spec, finite.
    baselines : Patches or (m, band, size, size) array
        What the windows are compared with: ground without a landslide. Of Patches 15 background patches are drawn with
        seed 0 (`sarcube.explanation.baselines.draw_baselines` draws others); of an array all are taken. More cost more,
        in proportion.
    stride : int, optional
        For a stack: pixels from one window to the next, 1 to the window's size. By default the window's size: each
        pixel lies in one window, but where those of the last row and column are moved in from the border.

    Returns
    -------
    DataArray or Explanation
        For a stack a lazy (band, y, x) float32 layer on its coordinates, in logits: the mean over all windows that
        cover a pixel, NaN where none could be judged (`sarcube.gaps`). Of windows that share no pixel with others the
        contributions add up to the window's logit minus `attrs["base_value"]`. ``layer.mean("band")`` is the mean
        over bands. For windows an `Explanation`.

    Raises
    ------
    BandError
        If the bands are not those of the model.
    InputError
        If the model judges pixels; if data or baselines have another shape or radiometry than the model expects, or
        hold NaN (a stack may); if a stride is given for windows, or cannot be used; if contributions do not add up,
        because the model does something for which there is no rule (raised when a lazy layer is computed).

    References
    ----------
    Lundberg & Lee 2017, arXiv:1705.07874, sec. 4.2 (DeepSHAP); Shrikumar et al. 2017, arXiv:1704.02685 (DeepLIFT).
    """
    with torch.inference_mode(mode=False):  # a caller's is the copy's for good, and it needs gradients
        model = frozen_copy(window_classifier(model))
    if isinstance(baselines, Patches):
        check_patches(model, baselines, name="baselines")
        baselines = draw_baselines(baselines)
    background = windows_for(model, baselines, name="baselines")
    if isinstance(data, xr.DataArray):
        size = model.spec.window_size if stride is None else stride
        return explain_stack(data, model, baselines=background, stride=size)
    if stride is not None:
        raise InputError("a stride is for stacks; windows are explained as they are")
    found = attribute(windows_for(model, data, name="windows"), background, model)
    return Explanation(*found, base_value(background, model), model.spec.bands)
