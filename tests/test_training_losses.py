import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sarcube as sc
from sarcube.metrics import average_precision, best_f1_threshold, confusion
from sarcube.training.config import TrainConfig
from sarcube.training.losses import loss_of_sums, loss_sums
from sarcube.training.pixel_scores import BINS, average_precision_of, best_f1_threshold_of, count_scores

LOGITS = np.array([2.0, -1.0, 0.3, -3.0, 0.0, 11.0])
TRUTH = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 0.0])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def loss_of(logits, truth, config):
    return float(loss_of_sums(loss_sums(torch.as_tensor(logits), torch.as_tensor(truth), config), config))


def test_focal_loss_is_that_of_its_paper():
    p = sigmoid(LOGITS)
    expected = np.where(TRUTH > 0, -0.25 * (1 - p) ** 2 * np.log(p), -0.75 * p**2 * np.log(1 - p)).mean()
    assert loss_of(LOGITS, TRUTH, sc.TrainConfig()) == pytest.approx(expected, rel=1e-12)
    expected = np.where(TRUTH > 0, -0.6 * (1 - p) ** 1.5 * np.log(p), -0.4 * p**1.5 * np.log(1 - p)).mean()
    config = TrainConfig(focal_alpha=0.6, focal_gamma=1.5)
    assert loss_of(LOGITS, TRUTH, config) == pytest.approx(expected, rel=1e-12)


def test_the_first_versions_loss_takes_probabilities_for_logits():
    q = sigmoid(sigmoid(LOGITS))
    p_t = np.where(TRUTH > 0, q, 1 - q)
    expected = (0.25 * (1 - p_t) ** 2 * -np.log(p_t)).mean()
    assert loss_of(LOGITS, TRUTH, TrainConfig(loss="focal_on_probabilities")) == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_of_a_difference_is_that_of_two_classes():
    scores = np.random.default_rng(0).normal(0, 3, (6, 2))
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -np.where(TRUTH > 0, logs[:, 1], logs[:, 0]).mean()
    assert loss_of(scores[:, 1] - scores[:, 0], TRUTH, TrainConfig(loss="bce")) == pytest.approx(expected, rel=1e-12)


def test_dice_is_soft_and_over_all_together():
    p = sigmoid(LOGITS)
    expected = 1 - (2 * (p * TRUTH).sum() + 1) / (p.sum() + TRUTH.sum() + 1)
    assert loss_of(LOGITS, TRUTH, TrainConfig(loss="dice")) == pytest.approx(expected, rel=1e-12)
    far = np.full(6, -50.0)
    assert loss_of(far, np.zeros(6), TrainConfig(loss="dice")) == pytest.approx(0, abs=1e-12)
    assert loss_of(np.where(TRUTH > 0, 50.0, -50.0), TRUTH, TrainConfig(loss="dice")) == pytest.approx(0, abs=1e-12)
    assert loss_of(far, TRUTH, TrainConfig(loss="dice")) > 0.7


@pytest.mark.parametrize("loss", ["focal", "focal_on_probabilities", "bce", "dice"])
def test_sums_of_batches_add_up_to_the_loss_of_all(loss):
    config = TrainConfig(loss=loss)
    logits, truth = torch.as_tensor(LOGITS), torch.as_tensor(TRUTH)
    sums = sum(loss_sums(logits[part], truth[part], config) for part in (slice(0, 1), slice(1, 4), slice(4, 6)))
    assert float(loss_of_sums(sums, config)) == pytest.approx(loss_of(LOGITS, TRUTH, config), rel=1e-12)


@pytest.mark.parametrize("loss", ["focal", "focal_on_probabilities", "bce", "dice"])
def test_the_gradient_is_that_of_finite_differences(loss):
    config = TrainConfig(loss=loss)
    logits = torch.tensor(LOGITS, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda given: loss_of_sums(loss_sums(given, torch.as_tensor(TRUTH), config), config), (logits,)
    )


@given(st.integers(0, 10_000), st.integers(2, 400), st.floats(0.1, 6))
def test_counts_in_bins_say_what_sorting_says_of_scores_in_bins(seed, n, spread):
    draws = np.random.default_rng(seed)
    truth = draws.random(n) < 0.3
    truth[0] = True
    bins = draws.normal(BINS / 2, spread * 2048, n).round().clip(0, BINS - 1)  # what lies beyond shares a bin
    logits = ((bins + 0.5) / 2048 - 16).astype(np.float32)  # the middle of a bin, where nothing is rounded away
    logits[draws.random(n) < 0.3] = logits[0]  # ties
    split = n // 2
    counts = count_scores(logits[:split], truth[:split]) + count_scores(logits[split:], truth[split:])
    assert counts.sum() == n
    assert average_precision_of(counts) == pytest.approx(average_precision(truth, logits), abs=1e-12)
    scores = sigmoid(logits.astype(np.float64))
    exact, f1 = best_f1_threshold(truth, scores)
    ours = best_f1_threshold_of(counts)
    assert ours == pytest.approx(exact, abs=1.3e-4)
    assert confusion(truth, scores, threshold=ours).f1 == pytest.approx(f1, abs=1e-12)


def test_logits_beyond_the_bins_count_at_their_ends():
    counts = count_scores(np.array([-1e9, 1e9, 20.0], np.float32), np.array([False, True, False]))
    assert counts[0, 0] == counts[1, -1] == counts[0, -1] == 1
    assert average_precision_of(counts) == 0.5
    assert np.isnan(average_precision_of(counts * [[1], [0]]))
    low = count_scores(np.array([-50.0, -60.0], np.float32), np.array([True, True]))
    assert best_f1_threshold_of(low) == 0
