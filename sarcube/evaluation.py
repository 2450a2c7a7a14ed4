"""How good a model or a map is: on patches, on all windows of a stack, and box by box."""

from dataclasses import dataclass, replace

import geopandas as gpd
import numpy as np
import shapely
import xarray as xr
from numpy.typing import NDArray

from sarcube.errors import BandError, InputError
from sarcube.gaps import window_sums
from sarcube.labels.inventory import require_crs, require_polygons, valid_polygons
from sarcube.labels.order import reading_order
from sarcube.labels.patches import UNSEEN, Patches
from sarcube.metrics import auroc, average_precision, chance_level, confusion
from sarcube.models.kinds import window_classifier
from sarcube.models.network import Network
from sarcube.models.segmenter import Segmenter

_ROUNDING = 1e-6  # of a shape's area: slivers where shapes touch that were brought from one CRS to another


@dataclass(frozen=True)
class Evaluation:
    """Scores of a model, by window or by pixel. What cannot be defined, such as a recall without a positive, is NaN.

    Attributes
    ----------
    n, positives : int
        Windows (pixels, of a model that judges these) with a score, and how many of them are landslides.
    unscored : int
        Those without a score, which are not valid; they enter no other number.
    threshold : float
        From which a window is predicted a landslide.
    accuracy, precision, recall, f1 : float
        At the threshold.
    auprc, chance : float
        Area under the precision-recall curve (average precision), and what knowing nothing would reach.
    auroc : float
        Area under the receiver operating characteristic.
    judged : {"windows", "pixels"}
    """

    n: int
    positives: int
    unscored: int
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    auprc: float
    chance: float
    auroc: float
    judged: str = "windows"

    def __str__(self) -> str:
        unscored = f", {self.unscored} without a score" if self.unscored else ""
        return (
            f"{self.n} {self.judged}, {self.positives} of them landslides{unscored}\n"
            f"at threshold {self.threshold:.3f}: F1 {self.f1:.3f}, precision {self.precision:.3f}, "
            f"recall {self.recall:.3f}, accuracy {self.accuracy:.3f}\n"
            f"AUPRC {self.auprc:.3f} (chance {self.chance:.3f}), AUROC {self.auroc:.3f}"
        )


@dataclass(frozen=True)
class DetectionEvaluation:
    """Detections against an inventory, object by object. A share of nothing is NaN.

    Attributes
    ----------
    boxes, landslides : int
        How many of each.
    boxes_with_landslide : float
        Share of the boxes that hold more landslide area than the share asked for.
    boxes_touching_landslide : float
        Share of the boxes that hold any.
    landslides_found : float
        Share of the landslides that lie in a box, at least in part.
    landslide_area_found : float
        Share of their area that lies in boxes.
    """

    boxes: int
    landslides: int
    boxes_with_landslide: float
    boxes_touching_landslide: float
    landslides_found: float
    landslide_area_found: float

    def __str__(self) -> str:
        return (
            f"{self.boxes} boxes: {self.boxes_with_landslide:.1%} hold a landslide, "
            f"{self.boxes_touching_landslide:.1%} touch one\n"
            f"{self.landslides} landslides: {self.landslides_found:.1%} are found, with "
            f"{self.landslide_area_found:.1%} of their area"
        )


def evaluate(model: Network, patches: Patches, *, threshold: float | None = None) -> Evaluation:
    """Score patches and compare with their labels, or their pixels with their masks.

    Parameters
    ----------
    model : WindowClassifier or Segmenter
        One that judges windows is held against `patches.labels`, one that judges pixels against their masks.
    patches : Patches
        Their share of landslides is what precision, F1 and AUPRC refer to. Read share by share where not in memory.
    threshold : float, optional
        By default the model's own.

    Returns
    -------
    Evaluation

    Raises
    ------
    BandError
        If the patches do not hold the model's bands.
    InputError
        If there are no patches, or they are of another size than the model's windows or of another radiometry than the
        model was trained on.
    """
    if patches.bands != model.spec.bands:
        raise BandError(f"the patches hold the bands {patches.bands}, but the model expects {model.spec.bands}")
    if patches.radiometry not in ("", model.spec.radiometry):
        raise InputError(
            f'the patches hold "{patches.radiometry}", but the model was trained on "{model.spec.radiometry}"; cut '
            "stacks of what it expects"
        )
    threshold = model.spec.threshold if threshold is None else threshold
    judge = model if isinstance(model, Segmenter) else window_classifier(model)
    shares = reading_order(patches.tiles, np.arange(len(patches)))
    scores = [judge.probabilities(patches.read(share)) for share in shares]
    if not scores:
        raise InputError("there is nothing to evaluate on: the patches are empty")
    if not isinstance(judge, Segmenter):
        return _evaluate(np.concatenate([patches.labels[share] for share in shares]), np.concatenate(scores), threshold)
    masks = np.concatenate([patches.read_masks(share) for share in shares])
    judged = np.where(masks == UNSEEN, np.float32(np.nan), np.concatenate(scores))
    return replace(_evaluate(masks.ravel() == 1, judged.ravel(), threshold), judged="pixels")


def evaluate_scores(
    scores: xr.DataArray,
    label: NDArray[np.uint8],
    *,
    threshold: float | None = None,
    min_landslide_fraction: float = 0.05,
) -> Evaluation:
    """Compare the scores of all windows of a stack with the truth, at the prevalence that nature has there.

    Parameters
    ----------
    scores : (window_y, window_x) DataArray
        What `sarcube.score_windows` returned, lazy or computed; a rival's scores on the same windows do as well.
    label : (y, x) uint8 array
        Landslide pixels of the stack's grid, from `sarcube.labels.rasterise.rasterise_inventory`.
    threshold : float, optional
        By default that of the model that gave the scores.
    min_landslide_fraction : float
        A window is a landslide if more than this share of its pixels is.

    Returns
    -------
    Evaluation
        Windows whose score is NaN are counted as `unscored` and left out of the rest.

    Raises
    ------
    InputError
        If the label has another shape than the stack had, or no window has a score.
    """
    if list(label.shape) != list(scores.attrs["image_shape"]):
        raise InputError(f"the label has the shape {label.shape}, but the stack had {scores.attrs['image_shape']}")
    size = int(scores.attrs["window_size"])
    counts = window_sums(label, scores["row"].to_numpy(), scores["column"].to_numpy(), size)
    truth = (counts / size**2 > min_landslide_fraction).ravel()
    values = scores.to_numpy().ravel()
    threshold = float(scores.attrs["threshold"]) if threshold is None else threshold
    return _evaluate(truth, values, threshold)


def _evaluate(truth: NDArray[np.bool_], scores: NDArray[np.floating], threshold: float) -> Evaluation:
    scored = ~np.isnan(scores)
    truth, scores = truth[scored], scores[scored]
    counts = confusion(truth, scores, threshold=threshold)
    return Evaluation(
        n=len(truth),
        positives=int(truth.sum()),
        unscored=int((~scored).sum()),
        threshold=float(threshold),
        accuracy=counts.accuracy,
        precision=counts.precision,
        recall=counts.recall,
        f1=counts.f1,
        auprc=average_precision(truth, scores),
        chance=chance_level(truth),
        auroc=auroc(truth, scores),
    )


def evaluate_detections(
    detections: gpd.GeoDataFrame, inventory: gpd.GeoDataFrame, *, min_landslide_fraction: float = 0.05
) -> DetectionEvaluation:
    """Compare boxes with the landslides of an inventory, by area on the map.

    Parameters
    ----------
    detections : GeoDataFrame
        What `sarcube.detect` returned.
    inventory : GeoDataFrame
        The landslides of the stack's area, no others: those outside could not be found. Rows without a shape count
        nowhere.
    min_landslide_fraction : float
        A box holds a landslide if more than this share of its area is one.

    Returns
    -------
    DetectionEvaluation

    Raises
    ------
    InputError
        If one of the two has no CRS, or the inventory holds other shapes than polygons.
    """
    require_crs(detections, "the detections")
    require_polygons(inventory)
    boxes, landslides = (
        valid_polygons(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
        for shapes in (detections.geometry.to_numpy(), inventory.geometry.to_crs(detections.crs).to_numpy())
    )
    in_boxes, in_landslides = _covered_area(boxes, landslides), _covered_area(landslides, boxes)
    return DetectionEvaluation(
        boxes=len(boxes),
        landslides=len(landslides),
        boxes_with_landslide=_mean(in_boxes > min_landslide_fraction * shapely.area(boxes)),
        boxes_touching_landslide=_mean(in_boxes > _ROUNDING * shapely.area(boxes)),
        landslides_found=_mean(in_landslides > _ROUNDING * shapely.area(landslides)),
        landslide_area_found=float(in_landslides.sum() / shapely.area(landslides).sum()) if len(landslides) else np.nan,
    )


def _covered_area(shapes: NDArray[np.object_], by: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area of each shape that lies in any of the others, counted once where those overlap."""
    parts = shapely.get_parts(shapely.union_all(by))
    which, part = shapely.STRtree(parts).query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[which], parts[part]))
    return np.bincount(which, weights=shared, minlength=len(shapes)).astype(np.float64)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if values.size else np.nan
