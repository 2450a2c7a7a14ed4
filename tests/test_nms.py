import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcube.detection import nms
from sarcube.detection.suppression import IOU, suppress, survey
from sarcube.errors import InputError
from sarcube.windows import window_origins


def textbook(boxes, scores, threshold, share):
    remaining = sorted(range(len(boxes)), key=lambda i: (-scores[i], boxes[i][0], boxes[i][1], i))
    kept = []
    while remaining:
        best = remaining.pop(0)
        kept.append(best)
        remaining = [i for i in remaining if share(boxes[best], boxes[i]) <= threshold]
    return kept


def intersection(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    return max(height, 0) * max(width, 0)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a, b):
    shared = intersection(a, b)
    return shared / (area(a) + area(b) - shared)


def of_the_smaller(a, b):
    return intersection(a, b) / min(area(a), area(b))


SHARES = {"iou": iou, "smaller": of_the_smaller}


def sar_lra(boxes, threshold):
    """The rule of the SAR-LRA Tool with NumPy, but for a stable sort."""
    y0, x0, y1, x1 = boxes.T.astype(float)
    own = (x1 - x0 + 1) * (y1 - y0 + 1)
    waiting = np.argsort(y1, kind="stable")
    kept = []
    while len(waiting):
        lowest, waiting = waiting[-1], waiting[:-1]
        kept.append(int(lowest))
        width = np.maximum(0, np.minimum(x1[lowest], x1[waiting]) - np.maximum(x0[lowest], x0[waiting]) + 1)
        height = np.maximum(0, np.minimum(y1[lowest], y1[waiting]) - np.maximum(y0[lowest], y0[waiting]) + 1)
        waiting = waiting[width * height / own[waiting] <= threshold]
    return kept


THRESHOLDS = st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0])


@st.composite
def crowds(draw):
    n = draw(st.integers(1, 60))
    span = draw(st.sampled_from([5, 60, 5000]))
    side = st.just(draw(st.integers(1, 40))) if draw(st.booleans()) else st.integers(1, 40)
    corner = st.integers(-span, span)
    boxes = []
    for _ in range(n):
        y, x = draw(corner), draw(corner)
        boxes.append((y, x, y + draw(side), x + draw(side)))
    scores = [draw(st.integers(-2, 3)) / 3 for _ in range(n)]  # few levels, many ties
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return np.array(boxes), np.array(scores, dtype)


@st.composite
def windows(draw):
    """Windows of an image, clamped at the far sides, some of them above a threshold; so wide that words are crossed."""
    size = draw(st.integers(1, 16))
    height, width = draw(st.integers(size, 40)), draw(st.integers(size, 300))
    stride = draw(st.integers(1, size))
    rows, columns = window_origins(height, size, stride), window_origins(width, size, stride)
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    chosen = random.random(len(y)) < draw(st.sampled_from([0.05, 0.5, 1.0]))
    chosen[random.integers(len(y))] = True
    boxes = np.stack([y, x, y + size, x + size], axis=1)[chosen][:400]
    return boxes, random.random(len(boxes), np.float32).round(draw(st.sampled_from([1, 7])))


@given(crowds(), THRESHOLDS, st.sampled_from(["iou", "smaller"]))
@settings(max_examples=150, deadline=None)
def test_it_is_the_textbook_result_in_the_textbook_order(crowd, threshold, overlap):
    boxes, scores = crowd
    expected = textbook(boxes.tolist(), scores.tolist(), threshold, SHARES[overlap])
    assert nms(boxes, scores, iou_threshold=threshold, overlap=overlap).tolist() == expected


@given(windows(), THRESHOLDS, st.sampled_from(["iou", "smaller"]))
@settings(max_examples=100, deadline=None)
def test_windows_of_an_image_give_the_textbook_result(crowd, threshold, overlap):
    boxes, scores = crowd
    expected = textbook(boxes.tolist(), scores.tolist(), threshold, SHARES[overlap])
    assert nms(boxes, scores, iou_threshold=threshold, overlap=overlap).tolist() == expected


@given(st.one_of(crowds(), windows()), THRESHOLDS)
@settings(max_examples=100, deadline=None)
def test_the_rule_of_sar_lra_is_reproduced(crowd, threshold):
    boxes, scores = crowd
    assert nms(boxes, scores, iou_threshold=threshold, method="sar-lra").tolist() == sar_lra(boxes, threshold)


def test_sar_lra_keeps_the_lowest_box_whatever_its_score():
    boxes = np.array([[0, 0, 16, 16], [8, 0, 24, 16], [24, 16, 40, 32]])
    scores = np.array([0.9, 0.6, 0.7])
    assert nms(boxes, scores).tolist() == [0, 2]
    assert nms(boxes, scores, method="sar-lra").tolist() == [2, 1]
    assert nms(boxes, scores, iou_threshold=0, method="sar-lra").tolist() == [2, 0]  # a corner that touches counts


def test_the_two_ways_to_look_up_neighbours_agree_on_many_windows():
    random = np.random.default_rng(3)
    y, x = (8 * axis for axis in np.divmod(np.flatnonzero(random.random(300 * 200) < 0.2), 200))
    boxes = np.stack([y, x, y + 64, x + 64], axis=1)
    scores = random.random(len(boxes), np.float32)
    seen = survey(boxes)
    order = np.argsort(-scores, kind="stable").astype(np.uint32)
    for threshold in (0.05, 0.3, 0.9):
        masked = nms(boxes, scores, iou_threshold=threshold)
        # A size that no box has: the kernel for boxes of any kind takes them.
        listed = suppress(boxes, order, seen._replace(lowest=63), measure=IOU, threshold=threshold)
        np.testing.assert_array_equal(masked, listed)
    assert 100 < len(masked) < len(boxes) + 1


def test_scores_sort_by_their_value_in_any_kind_of_float():
    values = np.array([0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 1.5, -1.5, 1.5 + 2**-40, np.nextafter(1.5, 2)])
    for dtype in (np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8"):
        with np.errstate(under="ignore"):
            scores = values.astype(dtype)
        boxes = np.array([[0, 10 * i, 5, 10 * i + 5] for i in range(len(scores))])
        expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
        assert nms(boxes, scores).tolist() == expected


def test_ties_go_to_the_upper_then_the_left_box():
    boxes = np.array([[8, 0, 24, 16], [0, 8, 16, 24], [0, 0, 16, 16]])
    assert nms(boxes, np.full(3, 0.7)).tolist() == [2]


def test_an_overlap_at_the_threshold_is_kept():
    boxes = np.array([[0, 0, 2, 2], [0, 1, 2, 3]])  # IoU 1/3 exactly
    assert nms(boxes, np.array([1.0, 0.5]), iou_threshold=1 / 3).tolist() == [0, 1]
    assert nms(boxes, np.array([1.0, 0.5]), iou_threshold=0.33).tolist() == [0]


def test_boxes_far_apart_need_no_huge_grid():
    boxes = np.array([[0, 0, 4, 4], [10**9, 10**9, 10**9 + 4, 10**9 + 4]])
    assert nms(boxes, np.array([0.1, 0.9])).tolist() == [1, 0]


def test_boxes_as_large_as_can_be_do_not_overflow():
    far = 2**30 - 1
    boxes = np.array([[-far, -far, far, far], [-far, -far, far, 1], [far - 1, far - 1, far, far]])
    assert nms(boxes, np.array([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]
    assert nms(boxes, np.array([0.9, 0.8, 0.7]), 0.6).tolist() == [0, 1, 2]
    assert nms(boxes, np.zeros(3), 0.6, method="sar-lra").tolist() == [2, 1, 0]


def test_unsigned_boxes_and_whole_scores_are_taken_by_their_value():
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5]], np.uint16)
    assert nms(boxes, np.array([1, 2], np.uint8)).tolist() == [1]


def test_nothing_in_nothing_out():
    assert nms(np.empty((0, 4), int), np.empty(0)).tolist() == []


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "message"),
    [
        ([[0, 0, 4, 4]], [0.1, 0.2], 0.1, r"boxes must be \(n, 4\)"),
        ([[0.0, 0, 4, 4]], [0.1], 0.1, "whole numbers"),
        ([[4, 0, 4, 4]], [0.1], 0.1, "y1 > y0"),
        ([[0, 0, 4, 4]], [np.nan], 0.1, "NaN"),
        ([[0, 0, 4, 4]], ["a"], 0.1, "must be numbers"),
        ([[0, 0, 4, 4]], [0.1], 1.5, "from 0 to 1"),
        ([[0, 0, 4, 2**30]], [0.1], 0.1, "not coordinates of a map"),
        ([[-(2**63), 0, 2**63 - 1, 4]], [0.1], 0.1, "not coordinates of a map"),
        (np.array([[0, 0, 4, 2**64 - 1]], np.uint64), [0.1], 0.1, "not coordinates of a map"),
    ],
)
def test_what_is_no_box_is_refused(boxes, scores, threshold, message):
    with pytest.raises(InputError, match=message):
        nms(boxes, scores, iou_threshold=threshold)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": "union"}, 'overlap must be "iou" or "smaller"'),
        ({"method": "soft"}, 'method must be "greedy" or "sar-lra"'),
        ({"method": "sar-lra", "overlap": "smaller"}, "leave out overlap="),
    ],
)
def test_an_option_that_there_is_not_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        nms([[0, 0, 4, 4]], [0.5], **options)


def test_a_small_box_within_a_large_one_goes_by_the_smaller_area():
    boxes, scores = np.array([[0, 0, 64, 64], [30, 30, 34, 34]]), np.array([0.9, 0.8])
    assert nms(boxes, scores).tolist() == [0, 1]
    assert nms(boxes, scores, iou_threshold=0.99, overlap="smaller").tolist() == [0]
