"""The predictions table: what a model says of each patch or window, beside where it lies and what is there."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from odc.geo.crs import CRS

from sarcube.errors import InputError
from sarcube.gaps import window_sums
from sarcube.labels.order import AT_ONCE, reading_order
from sarcube.labels.patches import COLUMNS, Patches
from sarcube.model_input import check_patches

if TYPE_CHECKING:
    from sarcube.models.network import Network

_SIDE = 64  # pixels of the patches that AT_ONCE counts


def score_patches(model: "Network", patches: Patches) -> pd.DataFrame:
    """Probability of a landslide in each patch, beside the patch's place and label.

    Parameters
    ----------
    model : WindowClassifier
        A model that judges pixels is refused: `sarcube.evaluate` and `sarcube.evaluate_pixels` take it.
    patches : Patches
        Read share by share where not in memory.

    Returns
    -------
    pandas.DataFrame
        A row per patch, in the patches' order: the columns of `patches.table` and `score` (float32, 0 to 1; NaN where
        an image is not finite).

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If there are no patches, they are of another size than the model's windows or of another radiometry than the
        model was trained on, or the model judges pixels.
    """
    from sarcube.models.classifier import WindowClassifier  # takes torch

    if not isinstance(model, WindowClassifier):
        raise InputError(
            f'a "{model.spec.architecture}" gives a probability to each pixel, not to a patch: sarcube.evaluate(model, '
            "chips) judges it, sarcube.evaluate_pixels(model, chips) event by event"
        )
    check_judged(model, patches)
    scores = np.full(len(patches), np.nan, np.float32)
    for share in shares_of(patches):
        scores[share] = model.probabilities(patches.read(share))
    return patches.table.assign(score=scores)


def window_predictions(
    scores: xr.DataArray, label: NDArray[np.uint8], *, min_landslide_fraction: float = 0.05
) -> pd.DataFrame:
    """Bring the scores of all windows of a stack into the form of `score_patches`, at nature's own prevalence.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        What `sarcube.score_windows` returned, lazy or computed; a rival's scores on the same windows do as well.
    label : (y, x) uint8 array
        Landslide pixels of the stack's grid, from `sarcube.labels.rasterise.rasterise_inventory`.
    min_landslide_fraction : float
        A window is a landslide if more than this share of its pixels is.

    Returns
    -------
    pandas.DataFrame
        A row per window, row by row of the grid: the columns of `sarcube.labels.patches.COLUMNS` and `score` (NaN where
        the window is not valid). Windows overlap if the stride is below their size.

    Raises
    ------
    InputError
        If the label has another shape than the stack had.
    """
    if list(label.shape) != list(scores.attrs["image_shape"]):
        raise InputError(f"the label has the shape {label.shape}, but the stack had {scores.attrs['image_shape']}")
    size = int(scores.attrs["window_size"])
    rows, columns = scores["row"].to_numpy(), scores["column"].to_numpy()
    fraction = window_sums(label, rows, columns, size).ravel() / size**2
    y0, x0 = (side.ravel() for side in np.meshgrid(rows, columns, indexing="ij"))
    a, _, c, _, e, f = scores.attrs["image_transform"]
    x = np.sort(c + a * np.stack([x0, x0 + size]), axis=0)
    y = np.sort(f + e * np.stack([y0, y0 + size]), axis=0)
    crs = CRS(scores["spatial_ref"].attrs["crs_wkt"])
    table = pd.DataFrame(
        {
            "event": scores.attrs.get("event", ""),
            "track": scores.attrs.get("track", ""),
            "stack": 0,
            "y0": y0,
            "x0": x0,
            **dict(zip(("left", "right", "bottom", "top"), (*x, *y), strict=True)),
            "crs": str(crs) if crs.epsg is None else f"EPSG:{crs.epsg}",
            "fraction": fraction,
            "landslide": fraction > min_landslide_fraction,
        },
        columns=list(COLUMNS),
    )
    return table.assign(score=scores.to_numpy().ravel())


def check_judged(model: "Network", patches: Patches) -> None:
    """Refuse patches that a model cannot judge, and none at all.

    Raises
    ------
    BandError, InputError
        As `sarcube.model_input.check_patches`; if there are none.
    """
    check_patches(model, patches)
    if not len(patches):
        raise InputError("there is nothing to evaluate on: the patches are empty")


def shares_of(patches: Patches) -> list[NDArray[np.int64]]:
    """Indices of all patches in shares that are read one after the other: as many pixels in each, whatever the size."""
    at_once = max(1, AT_ONCE * _SIDE**2 // patches.size**2)
    return reading_order(patches.tiles, np.arange(len(patches)), at_once=at_once)


def truth_and_scores(predictions: pd.DataFrame, score: str = "score") -> tuple[NDArray[np.bool_], NDArray[np.floating]]:
    """Take labels and scores out of a predictions table: two arrays (n,), scores NaN where there is none.

    Raises
    ------
    InputError
        If a column is missing, the labels are not true or false, or the scores no numbers.
    """
    require_columns(predictions, "landslide", score)
    labels, scores = predictions["landslide"], predictions[score]
    if labels.isna().any() or not (pd.api.types.is_bool_dtype(labels) or labels.isin((0, 1)).all()):
        raise InputError("the column landslide must be true or false, or 1 and 0, in every row")
    if not pd.api.types.is_numeric_dtype(scores):
        raise InputError(f"the column {score} must hold numbers, NaN where there is no score, not {scores.dtype}")
    kind = np.float32 if scores.dtype == np.float32 else np.float64
    return labels.to_numpy(bool), scores.to_numpy(kind, na_value=np.nan)


def require_columns(predictions: pd.DataFrame, *names: str) -> None:
    """Raise an InputError that names the columns which a table lacks."""
    missing = [name for name in names if name not in predictions]
    if missing:
        raise InputError(
            f"the predictions table lacks the column {', '.join(missing)}; it holds "
            f"{', '.join(map(str, predictions.columns))}. sarcube.score_patches makes one"
        )
