"""What a sweep's table says: medians with their spread, and which differences are none."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sarcube as sc
from sarcube.errors import InputError
from sarcube.training.config import NAVA_2026, TrainConfig

scores = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def runs(*rows, columns=("bands", "buffer", "dropout", "seed", "test_f1")):
    """A table of runs, with a few of the other columns that one has."""
    table = pd.DataFrame(list(rows), columns=list(columns))
    return table.assign(status="finished", message="", epochs=3, seconds=np.arange(len(table)) * 1.5, test_auprc=0.5)


TABLE = runs(
    ("VV_VH", "60-12", 0.5, 0, 0.80),
    ("VV_VH", "60-12", 0.5, 1, 0.84),
    ("VV_VH", "60-12", 0.7, 0, 0.82),
    ("VV_VH", "12-12", 0.5, 0, 0.70),
    ("VV", "60-12", 0.5, 0, 0.60),
    ("VV", "60-12", 0.5, 1, np.nan),
)


def test_a_group_is_its_median_and_standard_deviation():
    table = sc.sweep_table(TABLE, by=("bands", "buffer"))
    assert table.index.tolist() == [("VV_VH", "60-12"), ("VV_VH", "12-12"), ("VV", "60-12")]  # as they come
    assert table.index.names == ["bands", "buffer"]
    assert table["median"].tolist() == [0.82, 0.70, 0.60]
    np.testing.assert_allclose(table["std"], [0.02, np.nan, np.nan])
    assert table["n"].tolist() == [3, 1, 1]
    assert table["missing"].tolist() == [0, 0, 1]
    assert table["text"].tolist() == ["0.82 ± 0.02", "0.70", "0.60"]
    # Over seeds alone: the setting is named.
    assert sc.sweep_table(TABLE, by=["bands", "buffer", "dropout"])["n"].tolist() == [2, 1, 1, 1]


def test_any_column_of_numbers_can_be_told():
    assert sc.sweep_table(TABLE, by=["bands"], metric="auprc")["median"].tolist() == [0.5, 0.5]
    assert sc.sweep_table(TABLE, by=["bands"], metric="seconds")["median"].tolist() == [2.25, 6.75]
    with pytest.raises(InputError, match='no metric "f2"; they have: f1, auprc'):
        sc.sweep_table(TABLE, by=["bands"], metric="f2")
    with pytest.raises(InputError, match='no metric "status"'):
        sc.sweep_table(TABLE, by=["bands"], metric="status")
    with pytest.raises(InputError, match=r"no label orbit; they have: bands, buffer, dropout$"):
        sc.sweep_table(TABLE, by=["bands", "orbit"])
    with pytest.raises(InputError, match="a sequence of labels"):
        sc.sweep_table(TABLE, by="bands")


def compared(a, b, *, seeds_b=None):
    """Compare two groups of runs of the seeds 0, 1, ..."""
    seeds_b = range(len(b)) if seeds_b is None else seeds_b
    rows = [("a", "60-12", 0.5, seed, value) for seed, value in enumerate(a)]
    rows += [("b", "60-12", 0.5, seed, value) for seed, value in zip(seeds_b, b, strict=True)]
    return sc.compare_groups(runs(*rows), column="bands", a="a", b="b").iloc[0]


def test_runs_of_one_seed_are_compared_with_one_another():
    """Each seed says that a is 0.02 or 0.03 better: seeds differ by more than that, their differences do not."""
    row = compared([0.50, 0.60, 0.70], [0.48, 0.58, 0.67])
    assert row["paired"]
    np.testing.assert_allclose(row["difference"], 0.02)
    np.testing.assert_allclose(row["spread"], np.std([0.02, 0.02, 0.03], ddof=1))
    assert row["verdict"] == "ahead"
    # The same runs, but for their seeds.
    row = compared([0.50, 0.60, 0.70], [0.48, 0.58, 0.67], seeds_b=[0, 1, 3])
    assert not row["paired"]
    np.testing.assert_allclose(row["difference"], 0.02)
    np.testing.assert_allclose(row["spread"], np.sqrt((0.1**2 + np.var([0.48, 0.58, 0.67], ddof=1)) / 2))
    assert row["verdict"] == "undecided"


def test_a_difference_of_exactly_the_spread_is_undecided():
    assert compared([0.0, 0.5, 1.0], [0.0, 0.0, 0.0])["verdict"] == "undecided"  # 0.5 and 0.5
    assert compared([0.0, 0.5625, 1.0], [0.0, 0.0, 0.0])["verdict"] == "ahead"


def test_one_run_or_none_decides_nothing():
    row = compared([0.9], [0.1])
    assert (row["n_a"], row["n_b"], row["verdict"]) == (1, 1, "undecided")
    assert np.isnan(row["spread"])
    row = compared([np.nan, np.nan, np.nan], [0.1, 0.1, 0.2])
    assert (row["n_a"], row["n_b"], row["paired"], row["verdict"]) == (0, 3, False, "undecided")


def test_a_run_that_failed_takes_the_pairs_away():
    row = compared([0.9, 0.8, np.nan], [0.1, 0.2, 0.1])
    assert (row["n_a"], row["n_b"], row["paired"], row["verdict"]) == (2, 3, False, "ahead")


@given(scores, scores)
def test_a_verdict_turned_round_is_the_opposite(a, b):
    there, back = compared(a, b), compared(b, a)
    opposite = {"ahead": "behind", "behind": "ahead", "undecided": "undecided"}
    assert back["verdict"] == opposite[there["verdict"]]
    np.testing.assert_allclose(back["difference"], -there["difference"], atol=1e-12)
    np.testing.assert_allclose(back["spread"], there["spread"], atol=1e-12)


@given(scores)
def test_nothing_is_ahead_of_itself(a):
    assert compared(a, a)["verdict"] == "undecided"


def test_within_groups_pairs_are_of_one_setting():
    rows = [
        (bands, buffer, dropout, seed, base + gain * (bands == "VV_VH"))
        for bands in ("VV", "VV_VH")
        for buffer, gain in (("60-12", 0.125), ("12-12", -0.125))
        for dropout, base in ((0.5, 0.25), (0.7, 0.5))
        for seed in (0, 1)
    ]
    table = sc.compare_groups(runs(*rows), column="bands", a="VV_VH", b="VV", by=["buffer"])
    assert table.index.tolist() == ["60-12", "12-12"]
    assert table["difference"].tolist() == [0.125, -0.125]
    assert table["spread"].tolist() == [0, 0]  # settings differ by 0.25, pairs by nothing
    assert table["n_a"].tolist() == [4, 4]
    assert table["verdict"].tolist() == ["ahead", "behind"]
    with pytest.raises(InputError, match="no run has bands 'VH'; there are: 'VV', 'VV_VH'"):
        sc.compare_groups(runs(*rows), column="bands", a="VH", b="VV")
    with pytest.raises(InputError, match="by= must not hold bands"):
        sc.compare_groups(runs(*rows), column="bands", a="VV_VH", b="VV", by=["bands"])


def test_groups_that_differ_in_more_than_the_label_are_not_compared():
    """Networks at one pair of windows against those at two: the other windows would pass for the network."""
    rows = [("cnn", buffer, 0.5, seed, 0.5) for buffer in ("60-12", "12-12") for seed in (0, 1)]
    rows += [("cbam", "60-12", 0.5, seed, 0.9) for seed in (0, 1)]
    table = runs(*rows)
    with pytest.raises(InputError, match=r"runs of bands 'cbam' and 'cnn' also differ in buffer; .* by="):
        sc.compare_groups(table, column="bands", a="cbam", b="cnn")
    rows = sc.compare_groups(table, column="bands", a="cbam", b="cnn", by=["buffer"])
    assert rows["verdict"].to_dict() == {"60-12": "ahead", "12-12": "undecided"}
    assert rows["n_a"].to_dict() == {"60-12": 2, "12-12": 0}
    alone = table[table["buffer"] == "60-12"]
    assert sc.compare_groups(alone, column="bands", a="cbam", b="cnn")["paired"].all()


def test_the_papers_settings_are_24_and_36_of_three_rates():
    settings = sc.nava_2026_settings()
    assert len(settings) == len({tuple(setting.labels.values()) for setting in settings}) == 24
    assert {setting.config.learning_rate for setting in settings} == {1e-3, 1e-4}
    assert len(sc.nava_2026_settings(learning_rates=(1e-3, 1e-4, 1e-5))) == 36
    for setting in settings:
        labels = setting.labels
        assert setting.options == {"filters": labels["filters"], "dropout": labels["dropout"]}
        assert setting.config.max_background_ratio == labels["imbalance"]
        assert setting.config.learning_rate == labels["learning_rate"]
        assert setting.config.epochs == NAVA_2026.epochs
    short = sc.nava_2026_settings(config=TrainConfig(epochs=2), architecture="cbam")
    assert {(s.architecture, s.config.epochs) for s in short} == {("cbam", 2)}
    for rates in ((), (1e-3, 1e-3)):
        with pytest.raises(InputError, match="each once"):
            sc.nava_2026_settings(learning_rates=rates)
    with pytest.raises(InputError, match=re.escape("must be text, a finite number")):
        sc.SweepSetting({"rate": float("nan")})
