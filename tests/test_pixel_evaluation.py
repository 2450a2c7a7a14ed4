"""Models that judge pixels: event by event, in memory that does not grow, as sorting every pixel would say."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simple_stack import MeanModel
from training_patches import TinySegmenter, make_chips, make_patches, stack_patches

import sarcube as sc
from sarcube.errors import InputError
from sarcube.labels.patches import UNSEEN
from sarcube.labels.pixels import CutWindows
from sarcube.metrics import auroc, average_precision, confusion
from sarcube.training.pixel_scores import auroc_of, count_scores


def judged_pixels(model, chips):
    scores, masks = model.probabilities(chips.images), chips.read_masks(np.arange(len(chips)))
    kept = ~np.isnan(scores) & (masks != UNSEEN)
    return masks[kept] == 1, scores[kept], int((~kept).sum())


def with_unseen(chips):
    masks = chips.read_masks(np.arange(len(chips)))
    masks[:, :, :8][masks[:, :, :8] == 1] = UNSEEN
    return replace(chips, masks=CutWindows(masks[:, np.newaxis]))


def test_counts_say_what_sorting_every_pixel_says():
    model, chips = TinySegmenter(), with_unseen(make_chips(24))
    truth, scores, left_out = judged_pixels(model, chips)
    result = sc.evaluate(model, chips, threshold=0.4)
    counts = confusion(truth, scores, threshold=0.4)
    assert (result.n, result.positives, result.unscored) == (truth.size, truth.sum(), left_out)
    assert (result.f1, result.precision, result.recall, result.accuracy) == (
        counts.f1, counts.precision, counts.recall, counts.accuracy,
    )  # fmt: skip
    assert result.auprc == pytest.approx(average_precision(truth, scores), abs=2e-3)
    assert result.auroc == pytest.approx(auroc(truth, scores), abs=1e-4)
    assert result.chance == pytest.approx(truth.mean())
    assert result.judged == "pixels"


def test_events_are_judged_apart_and_together():
    model, chips = TinySegmenter(), make_chips(24)
    event = np.array(["b", "a", "a"] * 8)
    chips = replace(chips, table=chips.table.assign(event=event))
    table = sc.evaluate_pixels(model, chips)
    assert table["event"].tolist() == ["a", "b", "all"]
    for row, part in enumerate((chips.subset(event == "a"), chips.subset(event == "b"), chips)):
        alone = sc.evaluate(model, part)
        found = table.iloc[row]
        for name in ("positives", "unscored", "accuracy", "precision", "recall", "f1", "auprc", "chance", "auroc"):
            assert found[name] == getattr(alone, name), name
        assert found["negatives"] == alone.n - alone.positives


def test_where_the_pixels_are_changes_nothing():
    model = TinySegmenter()
    expected = sc.evaluate_pixels(model, stack_patches(masks=True).load(), by="stack")
    for chunks in ((1, 33, 64), (4, 150, 50)):
        assert sc.evaluate_pixels(model, stack_patches(chunks, masks=True), by="stack").equals(expected)


@given(st.integers(0, 10_000), st.integers(2, 300))
def test_the_area_under_the_curve_of_counts_is_that_of_scores(seed, n):
    draws = np.random.default_rng(seed)
    truth = draws.random(n) < 0.3
    truth[:2] = True, False
    logits = (draws.integers(-20, 20, n) / 8 + 1 / 4096).astype(np.float32)  # many ties, in the middle of bins
    assert auroc_of(count_scores(logits, truth)) == pytest.approx(auroc(truth, logits), abs=1e-12)
    assert np.isnan(auroc_of(count_scores(logits, np.zeros(n, bool))))


def test_what_cannot_be_judged_by_pixel_is_refused():
    with pytest.raises(InputError, match="evaluate_groups"):
        sc.evaluate_pixels(MeanModel(), make_chips(2))
    with pytest.raises(InputError, match="no masks"):
        sc.evaluate_pixels(TinySegmenter(), make_patches(3))
    with pytest.raises(InputError, match="finite"):
        sc.evaluate_pixels(TinySegmenter(), make_chips(2), threshold=np.nan)
    with pytest.raises(InputError, match="lacks the column slope"):
        sc.evaluate_pixels(TinySegmenter(), make_chips(2), by="slope")
    chips = make_chips(2)
    empty = replace(chips, pixels=CutWindows(np.full((2, 4, 16, 16), np.nan, np.float32)))
    with pytest.raises(InputError, match="none of 512 pixels has a score"):
        sc.evaluate(TinySegmenter(), empty)
    assert sc.evaluate_pixels(TinySegmenter(), empty)["f1"].isna().all()
