import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sarcube.errors import InputError
from sarcube.metrics import auroc, average_precision, best_f1_threshold, chance_level, confusion


@st.composite
def predictions(draw):
    n = draw(st.integers(2, 40))
    truth = draw(arrays(bool, n))
    truth[0], truth[1] = True, False
    levels = draw(arrays(np.int64, n, elements=st.integers(0, 6)))  # few levels, many ties
    return truth, levels / 6


def test_counts_and_ratios_by_hand():
    counts = confusion([1, 1, 1, 0, 0], np.array([0.9, 0.5, 0.1, 0.5, 0.2]), threshold=0.5)
    assert counts == (2, 1, 1, 1)
    assert counts.precision == counts.recall == counts.f1 == pytest.approx(2 / 3)
    assert counts.accuracy == pytest.approx(3 / 5)


@given(predictions())
def test_the_best_f1_is_that_of_trying_every_threshold(sample):
    truth, scores = sample
    threshold, f1 = best_f1_threshold(truth, scores)
    tried = {t: confusion(truth, scores, threshold=t).f1 for t in np.unique(scores)}
    assert f1 == max(tried.values())
    assert tried[threshold] == f1
    assert threshold == max(t for t, value in tried.items() if value == f1)


@given(predictions())
def test_auroc_is_the_chance_that_a_positive_scores_above_a_negative(sample):
    truth, scores = sample
    above = np.subtract.outer(scores[truth], scores[~truth])
    assert auroc(truth, scores) == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())


@given(predictions())
def test_average_precision_is_the_sum_over_steps_of_recall(sample):
    truth, scores = sample
    total, recall_before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        counts = confusion(truth, scores, threshold=threshold)
        total += (counts.recall - recall_before) * counts.precision
        recall_before = counts.recall
    assert average_precision(truth, scores) == pytest.approx(total)


def test_a_constant_score_is_at_chance():
    truth = np.array([True] * 3 + [False] * 7)
    assert average_precision(truth, np.full(10, 0.3)) == pytest.approx(chance_level(truth)) == pytest.approx(0.3)


def test_what_is_undefined_is_nan():
    none = np.zeros(4, bool)
    scores = np.linspace(0, 1, 4)
    assert np.isnan(average_precision(none, scores))
    assert np.isnan(auroc(none, scores))
    assert np.isnan(confusion(none, scores, threshold=0.5).recall)
    assert np.isnan(confusion(~none, scores, threshold=2.0).precision)


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([True, False], [0.1, np.nan], "1 of 2 scores are NaN"),
        ([True, False], [0.1, np.inf], "infinite"),
        ([True], [0.1, 0.2], "one length"),
        ([], [], "empty"),
        ([2, 0], [0.1, 0.2], "0 and 1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(truth, scores, message):
    for metric in (average_precision, auroc, best_f1_threshold):
        with pytest.raises(InputError, match=message):
            metric(truth, scores)


def test_no_threshold_without_a_positive():
    with pytest.raises(InputError, match="at least one positive"):
        best_f1_threshold([False, False], [0.1, 0.2])
