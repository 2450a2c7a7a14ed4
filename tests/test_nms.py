import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcube.detection import nms
from sarcube.errors import InputError


def textbook(boxes, scores, threshold):
    remaining = sorted(range(len(boxes)), key=lambda i: (-scores[i], boxes[i][0], boxes[i][1], i))
    kept = []
    while remaining:
        best = remaining.pop(0)
        kept.append(best)
        remaining = [i for i in remaining if iou(boxes[best], boxes[i]) <= threshold]
    return kept


def iou(a, b):
    height = min(a[2], b[2]) - max(a[0], b[0])
    width = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(height, 0) * max(width, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


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
    scores = [draw(st.integers(0, 5)) / 5 for _ in range(n)]  # few levels, many ties
    return np.array(boxes), np.array(scores, np.float32), draw(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 1.0]))


@given(crowds())
@settings(max_examples=300, deadline=None)
def test_it_is_the_textbook_result_in_the_textbook_order(crowd):
    boxes, scores, threshold = crowd
    assert nms(boxes, scores, iou_threshold=threshold).tolist() == textbook(boxes.tolist(), scores.tolist(), threshold)


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
        ([[0, 0, 4, 4]], [0.1], 1.5, "from 0 to 1"),
    ],
)
def test_what_is_no_box_is_refused(boxes, scores, threshold, message):
    with pytest.raises(InputError, match=message):
        nms(boxes, scores, iou_threshold=threshold)
