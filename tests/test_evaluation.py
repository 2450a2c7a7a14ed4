from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from simple_stack import MeanModel, make_inventory, make_stack, pixel_box
from training_patches import TinySegmenter, make_chips

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.evaluation.detections import evaluate_detections
from sarcube.evaluation.evaluate import evaluate_scores
from sarcube.labels.rasterise import rasterise_inventory
from sarcube.labels.sampling import sample_patches


@pytest.fixture
def patches():
    """Four patches, scored high, high, low, low; the first and third are landslides."""
    stack = make_stack(16, 64)
    stack[0] = -5
    stack[0, :, :16], stack[0, :, 16:32] = 5, 4
    return sample_patches(stack, make_inventory((0, 0, 8, 16), (0, 32, 8, 48)), size=16)


def test_patches_are_scored_and_compared(patches):
    result = sc.evaluate(MeanModel(), patches)
    assert (result.n, result.positives, result.unscored, result.threshold) == (4, 2, 0, 0.5)
    assert result.accuracy == result.precision == result.recall == result.f1 == 0.5
    assert result.auprc == pytest.approx((1 + 2 / 4) / 2)  # the two lowest tie
    assert result.auroc == pytest.approx(2.5 / 4)
    assert result.chance == 0.5
    assert sc.evaluate(MeanModel(), patches, threshold=0.99).recall == 0.5
    assert sc.evaluate(MeanModel(), patches, threshold=0.99).precision == 1
    assert "F1 0.500" in str(result)
    assert "without a score" not in str(result)


def test_a_model_of_pixels_counts_pixels():
    result = sc.evaluate(TinySegmenter(), make_chips(2, gaps=0))
    assert str(result).startswith("512 pixels, 72 of them landslides")


def test_patches_of_another_radiometry_are_refused(patches):
    with pytest.raises(InputError, match=r'hold "sigma0 on the ellipsoid, dB".*trained on "gamma0 RTC, dB"'):
        sc.evaluate(MeanModel(), replace(patches, radiometry="sigma0 on the ellipsoid, dB"))
    assert sc.evaluate(MeanModel(), replace(patches, radiometry="gamma0 RTC, dB")).n == 4


def test_patches_of_other_bands_are_refused(patches):
    with pytest.raises(BandError, match="expects"):
        sc.evaluate(MeanModel(), replace(patches, bands=("a", "b", "c", "d")))
    with pytest.raises(InputError, match="empty"):
        sc.evaluate(MeanModel(), patches.subset(np.zeros(4, bool)))


def test_all_windows_are_compared_at_their_own_prevalence():
    stack = make_stack(32, 48)
    stack[0] = -5
    stack[0, :16, :16] = 5
    stack[:, 20:22, 40] = np.nan
    label = rasterise_inventory(make_inventory((0, 0, 12, 12), (0, 44, 16, 48)), stack)
    scores = sc.score_windows(stack, MeanModel(), stride=16)
    result = evaluate_scores(scores, label)
    assert (result.n, result.positives, result.unscored) == (5, 2, 1)
    assert (result.precision, result.recall) == (1, 0.5)
    assert result.chance == pytest.approx(2 / 5)
    assert "1 without a score" in str(result)
    assert evaluate_scores(scores, label, min_landslide_fraction=0.25).positives == 1  # 64 pixels are not above it
    assert evaluate_scores(scores, label, threshold=0.999).recall == 0
    with pytest.raises(InputError, match="the stack had"):
        evaluate_scores(scores, label[1:])


def test_boxes_and_landslides_are_matched_by_area():
    boxes = make_inventory((0, 0, 10, 10), (0, 10, 10, 20), (50, 50, 60, 60))
    landslides = make_inventory(
        (0, 0, 2, 20),  # 20 pixels in each of the first two boxes
        (58, 58, 62, 60),  # 4 of 8 pixels in the third, 4 % of it
        (80, 80, 84, 83),  # missed, 12 pixels
    )
    result = evaluate_detections(boxes, landslides.to_crs("EPSG:4326"))
    assert (result.boxes, result.landslides) == (3, 3)
    assert result.boxes_with_landslide == pytest.approx(2 / 3)
    assert result.boxes_touching_landslide == 1
    assert result.landslides_found == pytest.approx(2 / 3)
    assert result.landslide_area_found == pytest.approx((40 + 4) / (40 + 8 + 12), abs=1e-6)
    assert "3 landslides: 66.7% are found" in str(result)


def test_overlapping_boxes_and_landslides_count_once():
    boxes = make_inventory((0, 0, 10, 10), (0, 5, 10, 15))
    landslides = make_inventory((0, 5, 1, 10), (0, 5, 1, 10))
    result = evaluate_detections(boxes, landslides)
    assert result.landslide_area_found == 1
    assert result.boxes_with_landslide == 0  # 5 pixels of 100 are not above 5 %


def test_a_landslide_beside_a_box_is_not_in_it():
    result = evaluate_detections(make_inventory((0, 0, 10, 10)), make_inventory((0, 10, 10, 20)))
    assert (result.landslides_found, result.boxes_touching_landslide) == (0, 0)


def test_landslides_that_only_touch_a_box_after_rounding_are_not_found():
    result = evaluate_detections(
        make_inventory((0, 0, 16, 16)), make_inventory((0, 16, 8, 20), (16, 0, 20, 8)).to_crs("EPSG:4326")
    )
    assert (result.boxes_touching_landslide, result.landslides_found) == (0, 0)


def test_shapes_that_are_missing_count_nowhere_and_invalid_ones_as_what_they_cover():
    both = shapely.MultiPolygon([pixel_box(0, 0, 8, 8), pixel_box(4, 0, 12, 8)])  # over one another
    landslides = gpd.GeoDataFrame(geometry=[both, None, shapely.Polygon()], crs="EPSG:32647")
    result = evaluate_detections(make_inventory((0, 0, 6, 8)), landslides)
    assert result.landslides == 1
    assert result.landslides_found == 1
    assert result.landslide_area_found == pytest.approx(0.5)
    with pytest.raises(InputError, match="also holds POINT"):
        evaluate_detections(make_inventory(), gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:32647"))


def test_shares_of_nothing_are_nan():
    empty = sc.detect(make_stack(16, 16) * 0 - 9, MeanModel(), stride=16)
    result = evaluate_detections(empty, make_inventory((0, 0, 4, 4)))
    assert np.isnan(result.boxes_with_landslide)
    assert result.landslides_found == result.landslide_area_found == 0
    assert np.isnan(evaluate_detections(make_inventory((0, 0, 4, 4)), make_inventory()).landslide_area_found)


def test_frames_without_a_crs_are_refused():
    nowhere = gpd.GeoDataFrame(geometry=make_inventory((0, 0, 4, 4)).geometry.to_numpy())
    with pytest.raises(InputError, match="the detections has no coordinate"):
        evaluate_detections(nowhere, make_inventory())
    with pytest.raises(InputError, match="set_crs"):
        evaluate_detections(make_inventory(), nowhere)
