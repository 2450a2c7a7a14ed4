import geopandas as gpd
import numpy as np
import pytest
import shapely
from geopandas.testing import assert_geodataframe_equal
from simple_stack import MeanModel, make_stack, pixel_box

import sarcube as sc
from sarcube.detection import nms
from sarcube.detection.detect import boxes_from_scores
from sarcube.errors import InputError
from sarcube.models.weights import model_hash

COLUMNS = ["score", "track", "visible_share", "row", "column", "model", "geometry"]


def stack_with_targets(*corners, height=100, width=90):
    """Level -5, and squares of one window at +5."""
    stack = make_stack(height, width) * 0 - 5
    for y, x in corners:
        stack[:, y : y + 16, x : x + 16] = 5
    return stack.assign_attrs(track="A054")


def test_a_target_gives_one_true_square_around_it():
    boxes = sc.detect(stack_with_targets((16, 32), (64, 8)), MeanModel(), stride=8)
    assert list(boxes.columns) == COLUMNS
    assert boxes.crs.to_epsg() == 32647
    assert boxes[["row", "column"]].to_numpy().tolist() == [[16, 32], [64, 8]]
    assert shapely.equals(boxes.geometry.to_numpy(), [pixel_box(16, 32, 32, 48), pixel_box(64, 8, 80, 24)]).all()
    assert boxes["score"].to_numpy() == pytest.approx(1 / (1 + np.exp(-5)))
    assert set(boxes["track"]) == {"A054"}
    assert set(boxes["model"]) == {model_hash(MeanModel())[:12]}
    assert boxes["visible_share"].isna().all()


def test_a_target_in_the_clamped_corner_is_found():
    boxes = sc.detect(stack_with_targets((84, 74)), MeanModel(), stride=16, score_threshold=0.9)
    assert boxes[["row", "column"]].to_numpy().tolist() == [[84, 74]]


def test_boxes_are_the_best_of_those_that_overlap():
    stack, model = make_stack(120, 110) + 10, MeanModel()
    scores = sc.score_windows(stack, model, stride=4).compute()
    boxes = boxes_from_scores(scores, score_threshold=0.5, iou_threshold=0.2)
    y, x = np.meshgrid(scores["row"], scores["column"], indexing="ij")
    corner = np.stack([y.ravel(), x.ravel()], axis=1)
    above = scores.to_numpy().ravel() >= 0.5
    corner, values = corner[above], scores.to_numpy().ravel()[above]
    kept = nms(np.hstack([corner, corner + 16]), values, iou_threshold=0.2)
    assert 1 < len(kept) < len(corner)
    np.testing.assert_array_equal(boxes["score"], values[kept])
    np.testing.assert_array_equal(boxes[["row", "column"]], corner[kept])


@pytest.mark.parametrize("chunks", [(4, 120, 110), (1, 7, 110), (3, 50, 33), (2, 119, 1), (4, 16, 16)])
def test_five_chunkings_give_the_same_boxes_on_any_scheduler(chunks):
    stack, model = make_stack(120, 110), sc.models.cnn(4, filters=4)
    scores = sc.score_windows(stack, model, stride=16).compute(scheduler="synchronous")
    threshold = float(np.quantile(scores, 0.5))
    expected = boxes_from_scores(scores, score_threshold=threshold)
    chunked = stack.chunk(dict(zip(stack.dims, chunks, strict=True)))
    boxes = sc.detect(chunked, model, stride=16, score_threshold=threshold)
    assert len(boxes) > 1
    assert_geodataframe_equal(boxes, expected)


def test_the_threshold_is_included_and_the_models_own_by_default():
    scores = sc.score_windows(make_stack(64, 64) + 10, MeanModel(), stride=16).compute()
    highest = float(scores.max())
    assert len(boxes_from_scores(scores, score_threshold=highest)) == 1
    assert len(boxes_from_scores(scores, score_threshold=np.nextafter(highest, 1))) == 0
    assert boxes_from_scores(scores)["score"].min() >= scores.attrs["threshold"] == 0.5


def test_the_visible_share_counts_clear_pixels_of_the_box():
    mask = np.zeros((100, 90), np.uint8)
    mask[16:18, 32:40] = 1  # shadow
    mask[20, 32:36] = 2  # layover
    mask[21, 32] = 3
    mask[31, 47] = 255  # no data
    stack = stack_with_targets((16, 32))
    boxes = sc.detect(stack, MeanModel(), stride=8, visible=mask)
    assert boxes["visible_share"].tolist() == [1 - 22 / 256]
    as_array = sc.detect(stack, MeanModel(), stride=8, visible=stack[0].copy(data=mask).chunk(y=30))
    assert_geodataframe_equal(as_array, boxes)
    with pytest.raises(InputError, match=r"\(99, 90\), but the stack has \(100, 90\)"):
        sc.detect(stack, MeanModel(), stride=8, visible=mask[1:])


def test_the_share_of_the_smaller_box_and_the_rule_of_sar_lra_are_passed_on():
    scores = sc.score_windows(make_stack(120, 110) + 10, MeanModel(), stride=4).compute()
    y, x = np.meshgrid(scores["row"], scores["column"], indexing="ij")
    corner, values = np.stack([y.ravel(), x.ravel()], axis=1), scores.to_numpy().ravel()
    chosen = values >= 0.5
    corner, values = corner[chosen], values[chosen]
    found = []
    for options in ({"overlap": "smaller"}, {"method": "sar-lra"}):
        kept = nms(np.hstack([corner, corner + 16]), values, 0.2, **options)
        boxes = boxes_from_scores(scores, score_threshold=0.5, iou_threshold=0.2, **options)
        found.append(sorted(boxes[["row", "column"]].to_numpy().tolist()))
        assert found[-1] == sorted(corner[kept].tolist())
        assert boxes["score"].is_monotonic_decreasing
    assert found[0] != found[1]


def test_nothing_found_is_an_empty_frame_of_the_same_kind():
    found = sc.detect(stack_with_targets((0, 0)), MeanModel(), stride=16)
    empty = sc.detect(stack_with_targets(), MeanModel(), stride=16, visible=np.zeros((100, 90), np.uint8))
    assert isinstance(empty, gpd.GeoDataFrame)
    assert len(empty) == 0
    assert empty.crs == found.crs
    assert empty.dtypes.to_dict() == found.dtypes.to_dict()


def test_what_is_not_valid_is_not_detected():
    stack = stack_with_targets((16, 32))
    stack[:, 20:23, 33] = np.nan
    assert len(sc.detect(stack, MeanModel(), stride=16)) == 0


def test_other_scores_and_thresholds_are_refused():
    scores = sc.score_windows(make_stack(32, 32), MeanModel(), stride=16)
    with pytest.raises(InputError, match="probability"):
        boxes_from_scores(scores, score_threshold=60)
    with pytest.raises(InputError, match="score_windows"):
        boxes_from_scores(scores.drop_attrs())
    with pytest.raises(InputError, match="iou_threshold"):
        boxes_from_scores(scores, iou_threshold=-1)


def test_screened_detections_are_those_of_float32_and_lower_thresholds_are_refused():
    stack, model = make_stack(200, 180), sc.models.cnn(4, filters=4, seed=3)
    scores = sc.score_windows(stack, model, stride=16).compute()
    threshold = float(np.quantile(scores, 0.8))
    exact = sc.detect(stack, model, stride=16, score_threshold=threshold)
    screened = sc.detect(stack, model, stride=16, score_threshold=threshold, precision="screened")
    assert len(exact) > 1
    assert_geodataframe_equal(screened, exact)
    scores = sc.score_windows(stack, model, stride=16, precision="screened", score_threshold=threshold).compute()
    assert_geodataframe_equal(boxes_from_scores(scores), exact)
    boxes_from_scores(scores, score_threshold=threshold + 0.01)
    with pytest.raises(InputError, match="screened for"):
        boxes_from_scores(scores, score_threshold=threshold - 0.01)
