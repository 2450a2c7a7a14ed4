"""The benchmark of suppression: its settings are what they say, and the rival does the same work."""

import numpy as np
import pytest

from benchmarks import suppression
from benchmarks.rivals_suppression import suppress_in_a_loop
from sarcube.detection import nms


@pytest.mark.parametrize("name", suppression.SETTINGS)
def test_the_loop_keeps_the_same_boxes(name):
    boxes, scores = suppression.SETTINGS[name](800, seed=1)
    assert boxes.shape == (800, 4)
    assert len(np.unique(boxes, axis=0)) == 800
    assert (boxes[:, 2:] - boxes[:, :2] == 64).all()
    for ties in (7, 1):
        rounded = scores.round(ties)
        np.testing.assert_array_equal(suppress_in_a_loop(boxes, rounded, 0.1), nms(boxes, rounded, 0.1))


def test_crowded_windows_leave_few_and_sparse_ones_many():
    kept = {name: len(nms(*make(3000))) for name, make in suppression.SETTINGS.items()}
    assert kept["crowded"] < 150 < kept["grid"] < 900
    assert kept["sparse"] > 2500


def test_all_is_measured_and_compared(monkeypatch):
    for name, make in suppression.SETTINGS.items():
        monkeypatch.setitem(suppression.SETTINGS, name, lambda count, make=make: make(count // 100))
    monkeypatch.setattr(suppression, "_SORT_ROUNDS", 1)
    monkeypatch.setattr(suppression, "_LOOP_ROUNDS", 1)
    found = suppression.measure_suppression()
    assert found["identical"] is True
    for name in suppression.SETTINGS:
        assert found[f"ratio_sort_1e5_{name}"] > 0
        assert found[f"ratio_numpy_loop_1e4_{name}"] > 0
        assert 0 < found[f"kept_1e4_{name}"] <= 100
