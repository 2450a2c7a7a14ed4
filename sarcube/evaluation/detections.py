"""How good a map of boxes is, against an inventory, by area."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from sarcube.labels.inventory import require_crs, require_polygons, valid_polygons

_ROUNDING = 1e-6  # of a shape's area: slivers where shapes touch that were brought from one CRS to another


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
