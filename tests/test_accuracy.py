"""The packaged weights on events that they have not seen: every window, natural prevalence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from predictions_tables import make_predictions
from simple_stack import MeanModel, make_stack

import sarcube as sc
from benchmarks.accuracy import LABELS, WITHOUT_WEIGHTS, margins, measure, summary, verdict, windows_of
from benchmarks.curves import POINTS, draw_curves, precision_recall
from sarcube.metrics import average_precision
from sarcube.synthetic.training_set import FRESH_SEEDS_FROM, TRAINING_SEEDS, VALIDATION_SEEDS

SEEDS = (FRESH_SEEDS_FROM + 1, FRESH_SEEDS_FROM + 2)


@pytest.mark.slow
def test_the_packaged_cnn_is_ahead_of_a_threshold_on_unseen_events(tmp_path):
    assert not set(SEEDS) & {*TRAINING_SEEDS, *VALIDATION_SEEDS}
    model = sc.load_model("cnn-vv-vh")
    windows = pd.concat([measure(seed, Path(tmp_path) / str(seed), model, {}) for seed in SEEDS])
    thresholds = {"cnn": model.spec.threshold, "threshold": None, **dict.fromkeys(WITHOUT_WEIGHTS)}
    result = summary(windows, thresholds)
    print({key: np.round(value, 3) for key, value in result.items()})
    assert result["windows"] > 4000
    assert 0.65 <= result["cnn_f1"] <= 0.95
    assert result["cnn_f1"] >= result["threshold_f1"] + 0.10
    for name in WITHOUT_WEIGHTS:
        assert result["chance"] - 0.05 < result[f"{name}_auprc"] < result["cnn_auprc"]
    for both in margins(windows, thresholds).values():
        assert {verdict(margin) for margin in both.values()} == {"ahead"}


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
    np.testing.assert_allclose(windows["heat"], expected)
    np.testing.assert_allclose(windows["cnn"], scores.values.ravel())
    truth = [(label[r : r + size, c : c + size].mean() > 0.05) for r in rows for c in columns]
    assert windows["landslide"].tolist() == truth
    assert any(truth)
    changes = [np.abs(stack.values[2, r : r + size, c : c + size]).mean() for r in rows for c in columns]
    np.testing.assert_allclose(windows["threshold"], changes, rtol=1e-5)
    stack[:, 20:22, 20] = np.nan
    fewer = windows_of(stack, sc.score_windows(stack, MeanModel(), stride=16).compute(), {}, {"heat": heat}, label)
    assert 0 < len(fewer) < len(windows)
    kept = windows.merge(fewer[["y0", "x0", "heat"]], on=["y0", "x0"])
    np.testing.assert_array_equal(kept["heat_x"], kept["heat_y"])


def test_a_margin_that_holds_nothing_is_undecided():
    windows = make_predictions(20, 20, skill=2.0)
    draws = np.random.default_rng(0)
    windows = windows.assign(
        cnn=windows["score"],
        coin=draws.random(400),
        twin=draws.normal(size=400) + 2 * windows["landslide"],  # as skilful as the CNN, with luck of its own
        oracle=windows["landslide"] + 5.0,
    )
    found = margins(windows, {"cnn": 0.5, "coin": None, "twin": None, "oracle": 5.5}, block_m=1280)
    assert {name: verdict(both["auprc"]) for name, both in found.items()} == {
        "coin": "ahead",
        "twin": "undecided",
        "oracle": "behind",
    }
    result = summary(windows, {"cnn": 0.5, "coin": None, "oracle": 5.5})
    assert found["oracle"]["f1"].estimate == pytest.approx(result["cnn_f1"] - 1)
    assert found["coin"]["f1"].estimate == pytest.approx(result["cnn_f1"] - result["coin_f1"])
