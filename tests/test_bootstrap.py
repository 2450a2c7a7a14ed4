"""Confidence intervals by drawing blocks of ground: against scikit-learn, and against what is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from predictions_tables import SIDE, make_predictions
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score, roc_auc_score

import sarcube as sc
from sarcube.errors import InputError
from sarcube.evaluation.bootstrap import ground_blocks
from sarcube.evaluation.resampling import STATISTICS, draw_blocks, resampled
from sarcube.metrics import average_precision

BLOCK = 2 * SIDE


@given(st.integers(0, 10_000), st.integers(8, 200), st.integers(2, 8), st.booleans())
def test_draws_are_weighted_as_scikit_learn_weights_samples(seed, n, blocks, tied):
    draws = np.random.default_rng(seed)
    truth = draws.random(n) < 0.4
    truth[:2] = True, False
    scores = draws.integers(0, 6, n) / 6 if tied else draws.normal(size=n)
    block = draws.integers(0, blocks, n)
    times = draw_blocks(blocks, 5, seed)
    assert (times.sum(axis=1) == blocks).all()
    found = {name: resampled(name, truth, scores, block, times, threshold=0.5) for name in STATISTICS}
    for number, counts in enumerate(times):
        weight = counts[block]
        if not weight[truth].any() or not weight[~truth].any():
            assert np.isnan(found["auroc"][number])
            continue
        said, weights = scores >= 0.5, {"sample_weight": weight}
        expected = {
            "auprc": average_precision_score(truth, scores, **weights),
            "auroc": roc_auc_score(truth, scores, **weights),
            "f1": f1_score(truth, said, **weights),
            "recall": recall_score(truth, said, **weights),
            "accuracy": np.average(said == truth, weights=weight),
        }
        if weight[said].any():
            expected["precision"] = precision_score(truth, said, **weights)
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value, abs=1e-12), name


def test_a_draw_without_a_landslide_has_no_auprc():
    truth, block = np.array([True, False, False]), np.arange(3)
    found = resampled("auprc", truth, np.arange(3.0), block, np.array([[0, 2, 1], [1, 1, 1]]), threshold=None)
    assert np.isnan(found[0])
    assert found[1] == average_precision(truth, np.arange(3.0))


def test_where_windows_are_independent_the_interval_is_the_binomials():
    """One window in each block: the share of right predictions then varies as a coin's does."""
    table = make_predictions(30, 30, skill=2.0)
    found = sc.block_bootstrap(table, "accuracy", threshold=0.5, block_m=SIDE, repeats=4000)
    assert found.blocks == 900
    right = ((table["score"] >= 0.5) == table["landslide"]).mean()
    assert found.estimate == right
    half = 1.96 * np.sqrt(right * (1 - right) / 900)
    assert found.low == pytest.approx(right - half, abs=0.15 * half)
    assert found.high == pytest.approx(right + half, abs=0.15 * half)


def test_windows_said_twice_make_nothing_surer():
    once = make_predictions(12, 12)
    twice = pd.concat([once, once.assign(track="A1")])
    for statistic in STATISTICS:
        options = {"threshold": 0.5, "block_m": BLOCK, "repeats": 200}
        assert sc.block_bootstrap(once, statistic, **options) == sc.block_bootstrap(twice, statistic, **options)


def test_neighbours_that_are_alike_make_it_less_sure():
    table = make_predictions(24, 24, skill=2.0)
    block = ground_blocks(table, 4 * SIDE)
    alike = table.copy()
    for column in ("landslide", "score"):  # every window of a square of 16 is as its first
        alike[column] = table.groupby(block)[column].transform("first")
    options = {"threshold": 0.5, "repeats": 400}
    by_ground = sc.block_bootstrap(alike, "f1", block_m=4 * SIDE, **options)
    by_window = sc.block_bootstrap(alike, "f1", block_m=SIDE, **options)
    assert by_ground.blocks == len(np.unique(block))
    assert by_ground.high - by_ground.low > 3 * (by_window.high - by_window.low)


def test_the_seed_decides_and_the_order_of_rows_does_not():
    table = make_predictions(12, 12)
    first = sc.block_bootstrap(table, block_m=BLOCK, repeats=100, seed=3)
    assert sc.block_bootstrap(table.sample(frac=1, random_state=0), block_m=BLOCK, repeats=100, seed=3) == first
    assert sc.block_bootstrap(table, block_m=BLOCK, repeats=100, seed=4) != first
    assert first.estimate == average_precision(table["landslide"], table["score"])
    narrow = sc.block_bootstrap(table, block_m=BLOCK, repeats=100, seed=3, level=0.5)
    assert first.low < narrow.low < narrow.high < first.high
    assert "(95%: " in str(first)
    assert f"{first.blocks} blocks" in str(first)


@pytest.mark.parametrize("crs", ["EPSG:32647", "EPSG:4326"])
def test_the_order_of_events_and_of_their_rows_decides_nothing(crs):
    table = pd.concat([make_predictions(8, 8, event=name, seed=n) for n, name in enumerate("ab")], ignore_index=True)
    if crs == "EPSG:4326":
        sides = ["left", "bottom", "right", "top"]
        table[sides] = (table[sides] - [400_000, 5_000_000, 400_000, 5_000_000]) / 1e5
    table = table.assign(crs=crs, event=table["event"].astype("category"))
    first = sc.block_bootstrap(table, block_m=BLOCK, repeats=100)
    assert sc.block_bootstrap(table.iloc[::-1], block_m=BLOCK, repeats=100) == first


def test_rows_without_a_score_are_left_out():
    table = make_predictions(12, 12)
    table.loc[::5, "score"] = np.nan
    options = {"threshold": 0.5, "block_m": BLOCK, "repeats": 50}
    assert sc.block_bootstrap(table, "f1", **options) == sc.block_bootstrap(
        table.dropna(subset="score"), "f1", **options
    )


def test_two_models_on_the_same_windows_are_compared_pair_by_pair():
    table = make_predictions(24, 24, skill=1.5)
    noise = np.random.default_rng(1).normal(0, 0.01, len(table))
    table = table.assign(better=table["landslide"] + noise, same=table["score"] + 1, nearly=table["score"] + noise)
    options = {"block_m": BLOCK, "repeats": 300}
    ahead = sc.block_bootstrap_difference(table, "better", "score", **options)
    assert 0 < ahead.low < ahead.estimate < ahead.high
    behind = sc.block_bootstrap_difference(table, "score", "better", **options)
    assert (behind.estimate, behind.low, behind.high) == pytest.approx((-ahead.estimate, -ahead.high, -ahead.low))
    equal = sc.block_bootstrap_difference(table, "same", "score", "f1", thresholds=(1.5, 0.5), **options)
    assert (equal.estimate, equal.low, equal.high) == (0, 0, 0)
    near = sc.block_bootstrap_difference(table, "nearly", "score", **options)
    alone = sc.block_bootstrap(table, **options)
    assert near.high - near.low < 0.2 * (alone.high - alone.low)  # ground that is hard for both widens nothing
    table.loc[::3, "better"] = np.nan
    fewer = sc.block_bootstrap_difference(table, "score", "better", **options)
    assert fewer == sc.block_bootstrap_difference(table.dropna(subset="better"), "score", "better", **options)


def test_blocks_are_squares_of_ground_of_one_event_whatever_the_coordinates():
    here, elsewhere = make_predictions(10, 10), make_predictions(10, 10, event="b")
    block = ground_blocks(pd.concat([here, elsewhere, here.assign(track="A1")]), BLOCK)
    first, second, third = np.split(block, 3)
    np.testing.assert_array_equal(first, third)  # two tracks share their ground
    assert not set(first) & set(second)  # two events do not
    assert sorted(set(block)) == list(range(block.max() + 1))
    for number in set(first):
        square = here[first == number]
        assert square["right"].max() - square["left"].min() <= BLOCK + 1e-6
        assert square["top"].max() - square["bottom"].min() <= BLOCK + 1e-6
    whole = ground_blocks(pd.concat([here, elsewhere]), np.inf)
    assert whole.tolist() == [0] * 100 + [1] * 100
    np.testing.assert_array_equal(ground_blocks(here.iloc[::7], BLOCK) > 0, first[::7] > first[::7].min())


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4326"])
def test_blocks_are_metres_on_the_ground_in_coordinates_that_are_not(crs):
    """45 degrees north, where a metre of Web Mercator is 0.7 of one."""
    import geopandas as gpd
    import shapely

    here = make_predictions(20, 20)
    boxes = gpd.GeoSeries(shapely.box(here["left"], here["bottom"], here["right"], here["top"]), crs="EPSG:32647")
    there = here.copy()
    there[["left", "bottom", "right", "top"]] = boxes.to_crs(crs).bounds.to_numpy()
    there["crs"] = crs
    block = ground_blocks(there, 5 * SIDE)
    count = np.bincount(block)
    assert np.median(count[count > 5]) == pytest.approx(25, abs=4)
    assert count.max() <= 30


@pytest.mark.parametrize(
    ("change", "statistic", "options", "message"),
    [
        (lambda t: t, "f1", {}, '"f1" needs a finite threshold='),
        (lambda t: t, "f2", {}, "one of auprc, auroc, accuracy, precision, recall, f1"),
        (lambda t: t, "auprc", {"block_m": 1e6}, "lie in [1-4] blocks of 1e.06 m, and an interval needs 10"),
        (lambda t: t, "auprc", {"block_m": 0}, "block_m must be > 0"),
        (lambda t: t, "auprc", {"repeats": 0}, "repeats"),
        (lambda t: t, "auprc", {"seed": -1}, "seed"),
        (lambda t: t, "auprc", {"level": 95}, "in .0, 1., such as 0.95"),
        (lambda t: t.assign(crs=""), "auprc", {}, "144 of 144 rows do not know where they lie"),
        (lambda t: t.assign(crs=np.nan), "auprc", {}, "do not know where they lie"),
        (lambda t: t.assign(landslide=False), "auprc", {}, "not defined for all rows"),
        (lambda t: t.assign(landslide=t.index == 0), "auprc", {}, "not defined for 3.% of the draws: too few blocks"),
        (lambda t: t.assign(landslide=t.index.isin([0, 143])), "auprc", {}, "not defined for 1.% of the draws"),
        (lambda t: t.assign(landslide=t.index == 0), "f1", {"threshold": 0.5}, "not defined for 3.% of the draws"),
        (lambda t: t.assign(landslide=t.index == 0), "precision", {"threshold": 0.5}, "not defined for 3.% of the"),
        (lambda t: t.assign(left=t["left"].where(t.index > 0)), "auprc", {}, "1 of 144 rows do not know"),
        (lambda t: t.assign(score=np.nan), "auprc", {}, "no row has a score"),
        (lambda t: t.drop(columns="left"), "auprc", {}, "lacks the column left"),
    ],
)
def test_what_gives_no_interval_is_refused(change, statistic, options, message):
    with pytest.raises(InputError, match=message):
        sc.block_bootstrap(change(make_predictions(12, 12)), statistic, **({"block_m": BLOCK} | options))
    if statistic == "f1":
        table = make_predictions(12, 12)
        with pytest.raises(InputError, match="needs a finite threshold="):
            sc.block_bootstrap_difference(table, "score", "score", "f1", block_m=BLOCK)
        for wrong in (0.5, (0.5,)):
            with pytest.raises(InputError, match="thresholds must be two"):
                sc.block_bootstrap_difference(table, "score", "score", "f1", block_m=BLOCK, thresholds=wrong)
