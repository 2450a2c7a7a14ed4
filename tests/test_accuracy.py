"""The packaged weights on events that they have not seen: every window, natural prevalence."""

from pathlib import Path

import numpy as np
import pytest
from simple_stack import MeanModel, make_stack

import sarcube as sc
from benchmarks.accuracy import LABELS, WITHOUT_WEIGHTS, Windows, measure, pooled, summary, windows_of
from benchmarks.curves import POINTS, draw_curves, precision_recall
from sarcube.metrics import average_precision
from sarcube.synthetic.training_set import FRESH_SEEDS_FROM, TRAINING_SEEDS, VALIDATION_SEEDS

SEEDS = (FRESH_SEEDS_FROM + 1, FRESH_SEEDS_FROM + 2)


@pytest.mark.slow
def test_the_packaged_cnn_is_ahead_of_a_threshold_on_unseen_events(tmp_path):
    assert not set(SEEDS) & {*TRAINING_SEEDS, *VALIDATION_SEEDS}
    model = sc.load_model("cnn-vv-vh")
    parts = []
    for seed in SEEDS:
        parts += measure(seed, Path(tmp_path) / str(seed), model, {})
    result = summary(parts, {"cnn": model.spec.threshold, "threshold": None, **dict.fromkeys(WITHOUT_WEIGHTS)})
    print({key: np.round(value, 3) for key, value in result.items()})
    assert result["windows"] > 4000
    assert 0.65 <= result["cnn_f1"] <= 0.95
    assert result["cnn_f1"] >= result["threshold_f1"] + 0.10
    for name in WITHOUT_WEIGHTS:
        assert result["chance"] - 0.05 < result[f"{name}_auprc"] < result["cnn_auprc"]


def test_the_packaged_weights_say_what_they_are():
    spec = sc.load_model("cnn-vv-vh").spec
    assert spec.simulated_only
    assert "simulate" in spec.trained_on
    assert "none of them real" in spec.card
    assert spec.bands == ("vv_post", "vh_post", "vv_diff", "vh_diff")
    assert 0 < spec.threshold < 1


def test_a_curve_of_four_windows_by_hand():
    curve = precision_recall(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]))
    assert curve["recall"] == [0.5, 1.0]  # of the two thresholds at 0.5 the better
    assert curve["precision"] == [1.0, 2 / 3]
    assert curve["auprc"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve["chance"] == 0.5


def test_a_long_curve_is_thinned_and_its_area_is_not():
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.2
    scores = truth + rng.normal(size=truth.size)
    curve = precision_recall(truth, scores)
    recall, precision = np.array(curve["recall"]), np.array(curve["precision"])
    assert recall.size == POINTS == precision.size
    assert (np.diff(recall) > 0).all()
    assert recall[-1] == 1
    assert curve["auprc"] == average_precision(truth, scores)
    assert recall[0] > 0
    assert np.trapezoid(precision, recall) == pytest.approx(curve["auprc"], abs=0.01)
    for r, p in zip(recall[::20], precision[::20], strict=True):  # each point is some threshold's
        cut = np.sort(scores[truth])[::-1][round(r * truth.sum()) - 1]
        assert truth[scores >= cut].mean() == pytest.approx(p)


def test_the_picture_says_what_it_shows(tmp_path):
    truth = np.array([True, False, True, False])
    curves = {name: precision_recall(truth, np.arange(4.0)) for name in LABELS}
    draw_curves(curves, tmp_path / "c.png", labels=LABELS, points={"cnn": (0.5, 1.0)}, title="SIMULATED")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_maps_score_a_window_by_their_mean():
    stack = make_stack(48, 64)  # two rows and three columns of windows of 32 pixels
    scores = sc.score_windows(stack, MeanModel(), stride=16).compute()
    size = scores.attrs["window_size"]
    heat = np.arange(48.0 * 64).reshape(48, 64)
    label = np.zeros((48, 64), np.uint8)
    label[:8, :8] = 1
    windows = windows_of(stack, scores, {}, {"heat": heat}, label)
    rows, columns = scores["row"].values, scores["column"].values
    expected = [heat[r : r + size, c : c + size].mean() for r in rows for c in columns]
    np.testing.assert_allclose(windows.scores["heat"], expected)
    np.testing.assert_allclose(windows.scores["cnn"], scores.values.ravel())
    assert windows.truth.tolist() == [(label[r : r + size, c : c + size].mean() > 0.05) for r in rows for c in columns]
    assert windows.truth.any()
    both = pooled([windows, Windows(~windows.truth, windows.scores)], "heat")
    assert [part.size for part in both] == [2 * len(expected)] * 2
