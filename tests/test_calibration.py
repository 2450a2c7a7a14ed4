"""Whether probabilities mean what they say, and the temperature that makes them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from predictions_tables import make_predictions
from simple_stack import BANDS, MeanModel
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from training_patches import TinySegmenter, make_patches, tiny_cnn

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.evaluation.reliability import wilson_interval
from sarcube.evaluation.temperature import fit_temperature, moved_threshold
from sarcube.labels.patches import patches_from_arrays
from sarcube.models import ModelSpec
from sarcube.models.weights import model_hash


def honest_patches(n, *, true_temperature, seed=0, masks=False):
    """Patches whose landslides come as often as the sigmoid of `MeanModel`'s logit over the true temperature says."""
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, 3, n)
    labels = draws.random(n) < 1 / (1 + np.exp(-logits / true_temperature))
    images = np.zeros((n, 4, 16, 16), np.float32)
    images[:, 0] = logits[:, np.newaxis, np.newaxis]
    return patches_from_arrays(
        images, labels, bands=BANDS, masks=labels[:, None, None] * np.ones((16, 16)) if masks else None
    )


class FirstBand(TinySegmenter):
    """Logit of a pixel: its first band."""

    def logits(self, images):
        return images[:, 0]


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_the_curve_is_scikit_learns_with_its_empty_bins(seed, bins):
    draws = np.random.default_rng(seed)
    scores = draws.random(60) ** 2
    scores[:3] = 0, 1, 0.5
    table = pd.DataFrame({"score": scores, "landslide": draws.random(60) < scores})
    curve = sc.reliability_curve(table, bins=bins)
    assert curve["count"].sum() == 60
    assert len(curve) == bins
    filled = curve[curve["count"] > 0]
    observed, mean = calibration_curve(table["landslide"], scores, n_bins=bins)
    np.testing.assert_allclose(filled["observed"], observed)
    np.testing.assert_allclose(filled["mean_score"], mean)
    assert curve["observed"].isna().sum() == (curve["count"] == 0).sum() == curve["observed_low"].isna().sum()
    assert (filled["observed_low"] <= filled["observed"]).all()
    assert (filled["observed"] <= filled["observed_high"]).all()
    error = sc.expected_calibration_error(table, bins=bins)
    assert error == pytest.approx((filled["count"] * (filled["observed"] - filled["mean_score"]).abs()).sum() / 60)


def test_wilsons_interval_of_what_was_published():
    """8 of 10, and none of 10: Brown, Cai and DasGupta 2001, Statistical Science 16, 101, equation 4."""
    low, high = wilson_interval(np.array([0.8, 0.0]), np.array([10, 10]))
    np.testing.assert_allclose(low, [0.4901625, 0], atol=1e-7)
    np.testing.assert_allclose(high, [0.9433178, 0.2775328], atol=1e-7)


def test_brier_and_calibration_error_by_hand():
    table = pd.DataFrame({"score": [0.1, 0.3, 0.9, np.nan], "landslide": [False, True, True, True]})
    assert sc.brier_score(table) == pytest.approx((0.01 + 0.49 + 0.01) / 3)
    assert sc.expected_calibration_error(table, bins=2) == pytest.approx((2 * 0.3 + 0.1) / 3)
    for function in (sc.brier_score, sc.reliability_curve, sc.expected_calibration_error):
        with pytest.raises(InputError, match=r"probabilities, 0 to 1, not 0\.2 to 3"):
            function(table.assign(score=[0.2, 3, 1, 1]))
        with pytest.raises(InputError, match="none of 4 rows"):
            function(table.assign(score=np.nan))
    with pytest.raises(InputError, match="bins"):
        sc.reliability_curve(table, bins=0)


@pytest.mark.parametrize("true_temperature", [0.5, 2.5])
def test_the_temperature_that_the_truth_has_is_found(true_temperature):
    validation = honest_patches(4000, true_temperature=true_temperature)
    model = sc.calibrate(MeanModel(), validation)
    assert model.spec.temperature == pytest.approx(true_temperature, rel=0.1)
    test = honest_patches(4000, true_temperature=true_temperature, seed=1)
    before, after = sc.score_patches(MeanModel(), test), sc.score_patches(model, test)
    assert sc.expected_calibration_error(after) < 0.03 < sc.expected_calibration_error(before)
    assert sc.brier_score(after) < sc.brier_score(before)
    logits = test.images[:, 0, 0, 0].astype(np.float64)
    np.testing.assert_allclose(after["score"], 1 / (1 + np.exp(-logits / model.spec.temperature)), rtol=1e-5)


def test_no_other_temperature_has_a_lower_log_loss():
    draws = np.random.default_rng(0)
    logits, truth = draws.normal(0, 4, 300), draws.random(300) < 0.3
    best = fit_temperature(logits, np.stack([~truth, truth]).astype(float))

    def loss(temperature):
        return log_loss(truth, 1 / (1 + np.exp(-logits / temperature)))

    assert all(loss(best) < loss(best * factor) for factor in (0.9, 0.999, 1.001, 1.1))
    whole = np.array([logits, logits]).ravel()
    counts = np.stack([np.repeat([3, 0], 300) * np.tile(~truth, 2), np.repeat([0, 3], 300) * np.tile(truth, 2)])
    assert fit_temperature(whole, counts.astype(float)) == pytest.approx(best, rel=1e-5)


def test_decisions_and_order_stay_as_they_were(tmp_path):
    """Of a network whose threshold is the score of one of the very windows, as training leaves it."""
    validation = make_patches(200, seed=1, change=1.5)
    model = sc.train(
        make_patches(300, change=1.5), validation, model=tiny_cnn(), config=sc.TrainConfig(epochs=3, batch_size=32)
    )
    before = sc.score_patches(model, validation)["score"].to_numpy()
    assert (before == np.float32(model.spec.threshold)).any()
    calibrated = sc.calibrate(model, validation)
    assert calibrated.spec.temperature != 1
    assert model.spec.temperature == 1
    for patches in (validation, make_patches(200, seed=5, change=1.5)):
        was, now = (sc.score_patches(one, patches)["score"].to_numpy() for one in (model, calibrated))
        np.testing.assert_array_equal(now >= calibrated.spec.threshold, was >= model.spec.threshold)
        assert 0 < (was >= model.spec.threshold).sum() < len(was)
        first, second = sc.evaluate(model, patches), sc.evaluate(calibrated, patches)
        assert (second.f1, second.auprc) == (first.f1, pytest.approx(first.auprc))
    again = sc.load_model(sc.save_model(calibrated, tmp_path / "calibrated.safetensors"))
    assert again.spec == calibrated.spec
    np.testing.assert_array_equal(again.probabilities(validation.images), calibrated.probabilities(validation.images))
    assert model_hash(again) == model_hash(calibrated) != model_hash(model)
    twice = sc.calibrate(calibrated, validation)  # from the logits, whatever temperature there was
    assert twice.spec.temperature == pytest.approx(calibrated.spec.temperature, rel=1e-5)
    assert twice.spec.threshold == pytest.approx(calibrated.spec.threshold, rel=1e-5)


@given(st.floats(0.01, 0.99), st.floats(0.2, 5), st.floats(0.2, 5), st.integers(0, 10_000))
def test_a_moved_threshold_takes_what_was_taken(share, before, after, seed):
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 3, 200).astype(np.float32))
    was, now = (torch.sigmoid(logits / temperature).numpy() for temperature in (before, after))
    threshold = float(np.sort(was)[int(share * 200)])
    if threshold < 1 - 1e-5 and now.max() < 1:
        np.testing.assert_array_equal(now >= moved_threshold(threshold, before, after), was >= threshold)


@given(st.floats(5, 20), st.floats(1.2, 10), st.integers(0, 10_000))
def test_a_threshold_of_a_model_that_is_too_sure_moves_with_its_windows(mean, after, seed):
    """Near 1, single precision knows but few scores: what has one of them stays together, also at 1 itself."""
    logits = torch.from_numpy(np.random.default_rng(seed).normal(mean, 2, 200).astype(np.float32))
    was, now = (torch.sigmoid(logits / temperature).numpy() for temperature in (1, after))
    for threshold in was[:20].tolist():
        taken = now >= moved_threshold(threshold, 1, after)
        assert taken[was >= threshold].all()
        assert (was[taken] >= threshold - 4 * 2.0**-24).all()


def test_a_threshold_that_takes_everything_stays():
    assert moved_threshold(0.0, 1, 3) == 0


def test_a_model_of_pixels_is_calibrated_by_pixel():
    model = FirstBand()
    model.spec = replace(model.spec, threshold=0.7)
    validation = honest_patches(3000, true_temperature=2.5, masks=True)
    calibrated = sc.calibrate(model, validation)
    assert calibrated.spec.temperature == pytest.approx(2.5, rel=0.1)
    assert sc.calibrate(calibrated, validation).spec.temperature == pytest.approx(calibrated.spec.temperature, rel=1e-5)
    images = honest_patches(300, true_temperature=2.5, seed=1).images
    was, now = model.probabilities(images), calibrated.probabilities(images)
    np.testing.assert_array_equal(now >= calibrated.spec.threshold, was >= 0.7)
    assert model.spec.temperature == 1


def test_every_way_to_a_probability_divides_by_the_temperature():
    """Windows of a stack, boxes, patches: all through the model's own probabilities."""
    from simple_stack import make_stack

    stack = make_stack(48, 48) + 10
    plain, warm = MeanModel(), MeanModel()
    warm.spec = replace(warm.spec, temperature=2.0)
    logits = sc.score_windows(stack, plain, stride=16).to_numpy()
    warmer = sc.score_windows(stack, warm, stride=16).to_numpy()
    np.testing.assert_allclose(np.log(warmer / (1 - warmer)), np.log(logits / (1 - logits)) / 2, atol=1e-4)
    found = sc.detect(stack, warm, stride=16, score_threshold=0.0, iou_threshold=1.0)
    np.testing.assert_allclose(np.sort(found["score"]), np.sort(warmer.ravel()))


@pytest.mark.parametrize(
    ("patches", "error", "message"),
    [
        (make_patches(6).subset(make_patches(6).labels), InputError, "landslides and background with a score"),
        (make_patches(6).select_bands(BANDS[:2]), BandError, "expects"),
        (make_patches(6).subset([]), InputError, "empty"),
    ],
)
def test_validation_patches_that_fit_nothing_are_refused(patches, error, message):
    with pytest.raises(error, match=message):
        sc.calibrate(MeanModel(), patches)


def test_where_no_temperature_is_best_it_says_so():
    truth = np.array([False, False, True, True])
    counts = np.stack([~truth, truth]).astype(float)
    with pytest.raises(InputError, match="perfectly"):
        fit_temperature(np.array([-2.0, -1, 1, 2]), counts)
    with pytest.raises(InputError, match="wrong way round"):
        fit_temperature(np.array([2.0, 1, -1, -2]), counts)
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(np.array([2.0, np.nan, -1, -2]), counts)
    with pytest.raises(InputError, match="16 pixels wide, but the model expects 32"):
        sc.calibrate(MeanModel(size=32), make_patches(6))
    with pytest.raises(InputError, match="WindowClassifier or a Segmenter"):
        sc.calibrate(sc.models.Network(ModelSpec("none", BANDS)), make_patches(6))


def test_predictions_of_a_table_are_as_they_were_written(tmp_path):
    table = make_predictions(12, 12)
    table.to_csv(tmp_path / "table.csv", index=False)
    again = pd.read_csv(tmp_path / "table.csv")
    assert sc.brier_score(again) == pytest.approx(sc.brier_score(table), rel=1e-6)
    options = {"threshold": 0.5, "block_m": 1280, "repeats": 50}
    assert sc.block_bootstrap(again, "f1", **options) == sc.block_bootstrap(table, "f1", **options)
