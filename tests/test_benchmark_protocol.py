"""The protocol's verdicts on tables of which the answer is known; and, slow, all of it on very small events."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.protocol import tables
from benchmarks.protocol_says import chip_trends, condition_trends, pair_gains, thirds, trend, window_trends


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
    assert trend("", [0.1, 0.11, 0.12], expected="higher")["verdict"] == "agrees"
    assert trend("", [0.1, 0.11, 0.12], expected="lower")["verdict"] == "contradicts"
    assert trend("", [-0.1, 0.0, 0.1, 0.05], expected="higher")["verdict"] == "undecided"
    assert trend("", [0.1], expected="higher")["verdict"] == "undecided"  # nobody knows its spread
    assert trend("", [], expected="higher")["verdict"] == "undecided"
    assert trend("", [0.1, np.nan, 0.11], expected="higher")["n"] == 2


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
