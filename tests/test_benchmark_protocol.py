"""The protocol's verdicts on tables of which the answer is known; and, slow, all of it on very small events."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.protocol import tables
from benchmarks.protocol_runs import window_config, window_settings
from benchmarks.protocol_says import chip_trends, condition_trends, full_cost, pair_gains, thirds, trend, window_trends


def window_runs(f1, *, network="cnn", buffers=("60-12", "60-48", "12-12", "365-12")):
    return pd.DataFrame(
        [
            {
                "bands": bands,
                "buffer": buffer,
                "network": network,
                "seed": seed,
                "status": "finished",
                "test_f1": f1(bands, buffer) + 0.001 * seed,
                "test_auprc": f1(bands, buffer),
            }
            for bands in ("VV", "VV_VH")
            for buffer in buffers
            for seed in range(3)
        ]
    )


def test_a_gain_below_its_spread_is_undecided():
    assert trend("", [0.1, 0.11, 0.12], expected="ahead")["verdict"] == "agrees"
    assert trend("", [0.1, 0.11, 0.12], expected="behind")["verdict"] == "contradicts"
    assert trend("", [-0.1, 0.0, 0.1, 0.05], expected="ahead")["verdict"] == "undecided"
    assert trend("", [0.1], expected="ahead")["verdict"] == "undecided"  # nobody knows its spread
    assert trend("", [], expected="ahead")["verdict"] == "undecided"
    assert trend("", [0.1, np.nan, 0.11], expected="ahead")["n"] == 2


def test_gains_are_of_pairs_that_differ_in_nothing_else():
    runs = window_runs(lambda bands, buffer: 0.5 + 0.1 * (bands == "VV_VH") + 0.2 * (buffer == "60-48"))
    gains = pair_gains(runs, "bands", "VV_VH", "VV", "test_f1")
    np.testing.assert_allclose(gains, 0.1)
    assert len(gains) == 12
    assert len(pair_gains(runs.drop(index=0), "bands", "VV_VH", "VV", "test_f1")) == 11
    assert pair_gains(runs, "buffer", "60-48", "24-24", "test_f1") == []


def test_trends_of_windows_are_those_of_the_runs():
    level = {"12-12": 0.3, "60-12": 0.5, "365-12": 0.52, "60-48": 0.6}
    cnn = window_runs(lambda bands, buffer: level[buffer] + (0.05 if bands == "VV_VH" else 0))
    others = pd.concat(
        [
            window_runs(lambda *_: 0.9, network="cbam", buffers=("60-12",)),
            window_runs(lambda *_: 0.1, network="resnet", buffers=("60-12",)),
        ]
    )
    verdicts = {row["trend"].split(":")[0]: row["verdict"] for row in window_trends(cnn, others, "test_f1")}
    assert verdicts == {
        "more dates after the event help": "agrees",
        "VV_VH is ahead of VV": "agrees",
        "dates before the event help at first": "agrees",
        "and saturate": "agrees",
        "cbam over cnn at 60-12": "ahead",
        "resnet over cnn at 60-12": "behind",
    }
    swapped = cnn.assign(bands=cnn["bands"].map({"VV": "VV_VH", "VV_VH": "VV"}))
    assert window_trends(swapped, others, "test_f1")[1]["verdict"] == "contradicts"


def test_a_training_that_failed_takes_its_own_pairs_away_alone():
    level = {"12-12": 0.3, "60-12": 0.5, "365-12": 0.52, "60-48": 0.6}
    cnn = window_runs(lambda bands, buffer: level[buffer])
    cnn.loc[cnn["buffer"].eq("365-12") & cnn["seed"].eq(0), "test_f1"] = np.nan
    saturates = window_trends(cnn, cnn[:0], "test_f1")[3]
    assert saturates["n"] == 4
    np.testing.assert_allclose(saturates["gain"], 0.18)


def test_in_the_whole_grid_pairs_are_of_one_orbit_and_setting():
    """A run that differs in a label that the reduced protocol lacks is no second run of the same."""
    args = argparse.Namespace(full=True, filters=16, device="cpu", precision="fp32")
    light, other = (window_settings(args, name, window_config(args)) for name in ("cnn", "resnet"))
    assert len(light) == 24
    assert [setting.labels["network"] for setting in other] == ["resnet"] * 24
    rows = [
        {"bands": "VV", "buffer": "60-12", "orbit": orbit, **setting.labels, "seed": 0, "test_f1": 0.01 * number + gain}
        for gain, settings in ((0.0, light), (0.25, other))
        for orbit in ("ascending", "descending")
        for number, setting in enumerate(settings)
    ]
    gains = pair_gains(pd.DataFrame(rows), "network", "resnet", "cnn", "test_f1")
    assert len(gains) == 48
    np.testing.assert_allclose(gains, 0.25)


def test_the_cost_of_the_whole_grid():
    cost = full_cost({32: 3.0, 64: 9.0}, {"seconds": 36.0}, 2)
    assert cost["window_runs"] == 4800
    assert cost["window_core_hours_at_500_epochs"] == pytest.approx(4800 * 500 * 6 / 3600)
    assert cost["chip_core_hours_at_100_epochs"] == pytest.approx(8 * 5 * 100 * 36 * 2 / 3600)


def test_trends_of_chips_are_those_of_the_runs():
    runs = pd.DataFrame(
        [
            {
                "inputs": inputs,
                "steps": steps,
                "seed": seed,
                "test_auprc": 0.1 * steps + (0.2 if "DEM" in inputs else 0),
            }
            for inputs in ("SAR", "SAR+DEM")
            for steps in (1, 2, 3, 4)
            for seed in (0, 1)
        ]
    )
    rows = chip_trends(runs, "test_auprc")
    assert [row["verdict"] for row in rows] == ["agrees"] * 3
    np.testing.assert_allclose([row["gain"] for row in rows], [0.3, 0.2, 0.2])


def test_what_is_missed_is_told_by_thirds():
    n = 90
    table = pd.DataFrame(
        {
            "landslide": np.arange(n) < 60,
            "slope": np.linspace(5, 45, n),
            "local_incidence_angle": np.full(n, 40.0) + 1e-3 * np.arange(n),
            "landslide_area": np.where(np.arange(n) < 60, np.arange(n) + 1.0, np.nan),
        }
    )
    table["score"] = np.where(table["slope"] < 20, 0.9, 0.1)  # finds the gentle ones alone
    rows = condition_trends([table, table], [0.5, 0.5])
    assert [row["verdict"] for row in rows] == ["agrees", "agrees", "contradicts"]
    assert rows[0]["gain"] == -1
    told = thirds(table, 0.5)
    assert told["slope"]["positives"].sum() == 60
    assert told["slope"]["recall"].iloc[0] == 1


def test_tables_have_the_papers_form():
    cnn = window_runs(lambda bands, buffer: 0.5)
    others = window_runs(lambda *_: 0.4, network="cbam", buffers=("60-12",))
    unets = pd.DataFrame(
        [
            {"inputs": inputs, "steps": steps, "seed": seed, "test_f1": 0.5, "test_auprc": 0.6}
            for inputs in ("SAR", "SAR+DEM")
            for steps in (1, 2)
            for seed in (0, 1)
        ]
    )
    told = tables(cnn, others, unets)
    windows = told["F1 by days before-after (unseen events)"]
    assert list(windows.index) == ["60-12", "60-48", "12-12", "365-12"]
    assert windows.loc["60-12", "VV"] == "0.50 ± 0.00"
    assert list(told["F1 by network at 60-12"].index) == ["cnn", "cbam"]
    assert told["AUPRC by pixel, by dates each side"].loc[2, "SAR+DEM"] == "0.60 ± 0.00"


@pytest.mark.slow
def test_the_whole_protocol_on_small_events(tmp_path):
    small = "--events 2 --unseen 1 --size-km 5 --seeds 2 --filters 4 --epochs 1 --chip-seeds 1 --chip-epochs 1"
    command = [sys.executable, "-m", "benchmarks.protocol", "--json", str(tmp_path / "p.json"), *small.split()]
    command += ["--work", str(tmp_path / "work"), "--figures", str(tmp_path / "figures")]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "p.json").read_text())
    assert result["simulated"]
    assert result["failed"] == 0
    assert {name: len(runs) for name, runs in result["runs"].items()} == {"cnn": 40, "others": 8, "unets": 8}
    assert len(list((tmp_path / "figures").glob("*.png"))) == 5
    assert "SIMULATED" in done.stdout
