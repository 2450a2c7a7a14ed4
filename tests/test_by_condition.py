"""Counts under each condition: held against counting by hand, and against the numbers of groups."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sarcube as sc
from sarcube.errors import InputError
from sarcube.evaluation.by_condition import evaluate_by_condition


def predictions(truth, scores, **columns):
    return pd.DataFrame({"landslide": np.array(truth, bool), "score": np.array(scores, np.float32), **columns})


def test_each_bin_counts_its_own():
    table = predictions(
        [1, 1, 1, 0, 0, 1, 0, 1],
        [0.9, 0.5, 0.1, 0.7, 0.2, np.nan, 0.6, 0.8],
        slope=[0.0, 10.0, 14.9, 5.0, 12.0, 3.0, 15.0, 40.0],
    )
    bins = evaluate_by_condition(table, "slope", bins=(0, 15, 30, 50), threshold=0.5)
    assert bins["slope"].tolist() == [pd.Interval(a, b, closed="left") for a, b in ((0, 15), (15, 30), (30, 50))]
    for column, expected in {
        "positives": [3, 0, 1],
        "found": [2, 0, 1],
        "recall": [2 / 3, np.nan, 1],
        "negatives": [2, 1, 0],
        "false_alarms": [1, 1, 0],
        "false_alarm_rate": [0.5, 1, np.nan],
        "precision": [2 / 3, 0, 1],
        "unscored": [1, 0, 0],
    }.items():
        np.testing.assert_allclose(bins[column], expected, err_msg=column)
    # Wilson 1927: of 2 in 3 at 95 %, and of 1 in 1.
    np.testing.assert_allclose(bins[["recall_low", "recall_high"]].iloc[0], [0.2077, 0.9385], atol=1e-4)
    np.testing.assert_allclose(bins[["recall_low", "recall_high"]].iloc[2], [0.2065, 1], atol=1e-4)


def test_an_empty_bin_is_a_row_and_what_is_in_none_is_one_as_well():
    table = predictions([1, 1, 0], [0.9, 0.1, 0.9], slope=[5.0, np.nan, 99.0])
    bins = evaluate_by_condition(table, "slope", bins=(0, 10, 20), threshold=0.5)
    assert bins["positives"].tolist() == [1, 0, 1]
    assert bins["false_alarms"].tolist() == [0, 0, 1]
    assert bins["slope"].isna().tolist() == [False, False, True]


def test_classes_are_those_that_occur():
    table = predictions([1, 1, 0, 1], [0.9, 0.1, 0.9, 0.9], distortion=["none", "layover", "none", None])
    classes = evaluate_by_condition(table, "distortion", threshold=0.5)
    assert classes["distortion"].tolist() == ["layover", "none", None]
    assert classes["recall"].tolist() == [0, 1, 1]
    cover = table.assign(land_cover=pd.array([4, 2, 4, pd.NA], dtype="Int64"))
    assert evaluate_by_condition(cover, "land_cover", threshold=0.5)["land_cover"].tolist() == [2, 4, None]


@given(st.integers(0, 10_000), st.integers(1, 60))
@settings(deadline=None, max_examples=30)
def test_classes_are_the_groups_and_bins_add_up(seed, number):
    draws = np.random.default_rng(seed)
    table = predictions(
        draws.random(number) < 0.4,
        np.where(draws.random(number) < 0.1, np.nan, draws.random(number)),
        cover=draws.integers(0, 4, number),
        slope=draws.uniform(0, 60, number),
    )
    classes = evaluate_by_condition(table, "cover", threshold=0.5)
    groups = sc.evaluate_groups(table, by="cover", threshold=0.5)
    assert classes["cover"].tolist() == groups["cover"].tolist()[:-1]
    for name in ("positives", "negatives", "unscored", "recall", "precision"):
        np.testing.assert_allclose(classes[name].astype(float), groups[name].astype(float)[:-1], err_msg=name)
    counts = ["positives", "found", "negatives", "false_alarms", "unscored"]
    bins = evaluate_by_condition(table, "slope", bins=np.linspace(0, 60, draws.integers(2, 9)), threshold=0.5)
    assert bins[counts].sum().tolist() == classes[counts].sum().tolist()
    inside = bins.dropna(subset="recall")
    assert ((inside["recall_low"] <= inside["recall"]) & (inside["recall"] <= inside["recall_high"])).all()


@pytest.mark.parametrize(
    ("column", "options", "message"),
    [
        ("slope", {}, "lacks the column slope"),
        ("x", {"bins": (3, 2)}, "rise"),
        ("x", {"bins": (3,)}, "rise"),
        ("word", {"bins": (0, 1)}, "no numbers"),
    ],
)
def test_what_cannot_be_counted_is_refused(column, options, message):
    table = predictions([1, 0], [0.5, 0.5], x=[1.0, 2.0], word=["a", "b"])
    with pytest.raises(InputError, match=message):
        evaluate_by_condition(table, column, threshold=0.5, **options)
