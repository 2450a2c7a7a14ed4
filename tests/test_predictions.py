"""The predictions table, and evaluation group by group."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predictions_tables import make_predictions
from simple_stack import BANDS, LEFT, PIXEL, TOP, MeanModel, make_inventory, make_stack
from training_patches import TinySegmenter, make_chips, stack_patches

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.evaluation.evaluate import evaluate_scores
from sarcube.labels.patches import COLUMNS, patches_from_arrays
from sarcube.labels.rasterise import rasterise_inventory

NUMBERS = ["accuracy", "precision", "recall", "f1", "auprc", "chance", "auroc"]


def test_patches_are_scored_in_their_own_order_wherever_their_pixels_are():
    loaded = stack_patches().load()
    table = sc.score_patches(MeanModel(), loaded)
    assert list(table.columns) == [*COLUMNS, "score"]
    assert table["score"].dtype == np.float32
    np.testing.assert_array_equal(table["score"], MeanModel().probabilities(loaded.images))
    pd.testing.assert_frame_equal(table[list(COLUMNS)], loaded.table)
    assert "score" not in loaded.table
    for chunks in ((1, 33, 64), (4, 150, 50)):
        pd.testing.assert_frame_equal(sc.score_patches(MeanModel(), stack_patches(chunks)), table)


def test_an_image_that_is_not_finite_has_no_score():
    images = np.zeros((3, 4, 16, 16), np.float32)
    images[1, 0, :8] = np.nan
    masks = np.zeros((3, 16, 16), np.uint8)  # with masks, nothing is filled
    patches = patches_from_arrays(images, np.array([True, False, False]), bands=BANDS, masks=masks)
    assert sc.score_patches(MeanModel(), patches)["score"].isna().tolist() == [False, True, False]
    assert sc.evaluate(MeanModel(), patches).unscored == 1
    with pytest.raises(InputError, match="none of 1 windows has a score"):
        sc.evaluate(MeanModel(), patches.subset([1]))


def test_a_model_of_pixels_is_sent_elsewhere():
    with pytest.raises(InputError, match=r"sarcube.evaluate\(model, chips\)"):
        sc.score_patches(TinySegmenter(), make_chips(2))
    with pytest.raises(BandError, match="expects"):
        sc.score_patches(MeanModel(bands=("a", "b", "c", "d")), stack_patches())


def test_windows_of_a_stack_lie_where_patches_of_it_do():
    stack = make_stack(48, 64)
    stack[:, 20:22, 40] = np.nan
    inventory = make_inventory((0, 0, 12, 12), (30, 44, 40, 60))
    scores = sc.score_windows(stack, MeanModel(), stride=16)
    table = sc.window_predictions(scores, rasterise_inventory(inventory, stack))
    patches = sc.sample_patches(stack, inventory, size=16)
    valid = table[table["score"].notna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(valid[list(COLUMNS)], patches.table, check_dtype=False)
    np.testing.assert_array_equal(valid["score"], sc.score_patches(MeanModel(), patches)["score"])
    assert table["score"].isna().sum() == 1
    first = table.iloc[0]
    assert (first["left"], first["top"]) == (LEFT, TOP)
    assert (first["right"], first["bottom"]) == (LEFT + 16 * PIXEL, TOP - 16 * PIXEL)
    assert (first["event"], first["track"], first["crs"]) == ("test", "D164", "EPSG:32647")
    assert len(sc.window_predictions(scores, rasterise_inventory(inventory, stack), min_landslide_fraction=0.9)) == 12


def test_all_windows_are_judged_as_the_table_is():
    stack = make_stack(48, 64)
    label = rasterise_inventory(make_inventory((0, 0, 12, 12), (30, 44, 40, 60)), stack)
    scores = sc.score_windows(stack, MeanModel(), stride=8).compute()
    middle = float(scores.median())
    whole = sc.evaluate_groups(sc.window_predictions(scores, label), by="event", threshold=middle).iloc[-1]
    expected = asdict(evaluate_scores(scores, label, threshold=middle))
    assert 0 < expected["f1"] < 1
    assert [whole[name] for name in NUMBERS] == [expected[name] for name in NUMBERS]
    assert whole["negatives"] + whole["positives"] == expected["n"]


def test_a_row_per_event_and_track_and_one_of_all():
    parts = [
        make_predictions(6, 6, event="b", track="A1", seed=1),
        make_predictions(6, 6, event="a", track="D2", seed=2),
        make_predictions(6, 6, event="b", track="D2", seed=3),
    ]
    parts[0].loc[3:5, "score"] = np.nan
    table = sc.evaluate_groups(pd.concat(parts), threshold=0.6)
    assert table["event"].tolist() == ["a", "b", "b", "all"]
    assert table["track"].tolist() == ["D2", "A1", "D2", "all"]
    assert table["unscored"].tolist() == [0, 3, 0, 3]
    assert table["positives"].iloc[:3].sum() == table["positives"].iloc[3]
    assert table["negatives"].iloc[:3].sum() == table["negatives"].iloc[3]
    for row, part in zip((1, 0, 2), parts, strict=True):
        alone = sc.evaluate_groups(part, by="track", threshold=0.6)
        assert alone.iloc[-1][NUMBERS].tolist() == table.iloc[row][NUMBERS].tolist()
        kept = part.dropna(subset="score")
        said = kept["score"] >= 0.6
        assert table["recall"].iloc[row] == pytest.approx((said & kept["landslide"]).sum() / kept["landslide"].sum())
        assert table["accuracy"].iloc[row] == pytest.approx((said == kept["landslide"]).mean())


@given(st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed):
    table = pd.concat([make_predictions(4, 5, event=name, seed=seed) for name in ("a", "b")])
    expected = sc.evaluate_groups(table, threshold=0.5)
    shuffled = table.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(sc.evaluate_groups(shuffled, threshold=0.5), expected)


def test_groups_of_a_number_and_groups_without_a_score():
    table = make_predictions(5, 8)
    table["slope"] = pd.cut(np.linspace(0, 60, 40), [0, 20, 40, 60], include_lowest=True)
    table.loc[table["slope"].cat.codes == 1, "score"] = np.nan
    found = sc.evaluate_groups(table, by="slope", threshold=0.5)
    assert (found["negatives"] + found["positives"])[1] == 0 < found["unscored"][1]
    assert found[NUMBERS].iloc[1].isna().all()
    assert found["slope"].iloc[-1] == "all"
    background = table[~table["landslide"]]
    row = sc.evaluate_groups(background, by="slope", threshold=0.5).iloc[0]
    assert np.isnan(row["recall"])
    assert np.isnan(row["auprc"])
    assert row["chance"] == 0


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t.drop(columns="score"), {}, "lacks the column score; it holds event, .*score_patches"),
        (lambda t: t, {"by": "slope"}, "lacks the column slope"),
        (lambda t: t, {"by": ()}, "by must name a column"),
        (lambda t: t.iloc[:0], {}, "table is empty"),
        (lambda t: t.assign(landslide=2), {}, "true or false"),
        (lambda t: t.assign(landslide=t["landslide"].astype("boolean").where(t.index > 0)), {}, "true or false"),
        (lambda t: t.assign(score="high"), {}, "score must hold numbers"),
        (lambda t: t, {"threshold": np.nan}, "finite number"),
    ],
)
def test_tables_that_cannot_be_judged_are_refused(change, options, message):
    with pytest.raises(InputError, match=message):
        sc.evaluate_groups(change(make_predictions(3, 3)), **({"threshold": 0.5} | options))
