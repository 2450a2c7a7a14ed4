"""`python -m benchmarks.median`: rivals that find our median, all keys; no speed is tested."""

import json
import math
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.median import DATES, MISSING, Runs, choose, largest_difference, run, speckle, summary
from benchmarks.rivals_median import LOWER_MIDDLE, ROWS, by_rows, chunk_sizes, numpy_median, rival_settings
from sarcube.change import nanmedian, valid_count

COMPILED_LONG = ("numbagg", "xarray", "xarray_dask")  # numbagg compiles for many seconds


@pytest.fixture
def values():
    return speckle(5, 40, seed=1)


def test_the_speckle_has_its_moments_and_its_gaps():
    values = speckle(2, 512, seed=0)
    assert values.dtype == np.float32
    assert np.isnan(values).mean() == pytest.approx(MISSING, abs=0.002)
    assert np.nanmean(values) == pytest.approx(0.1, rel=0.005)
    assert np.nanvar(values) / np.nanmean(values) ** 2 == pytest.approx(1 / 4.4, rel=0.02)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
@pytest.mark.parametrize("dates", [1, 2, 5, 10])
def test_every_rival_finds_our_median(dates):
    values = speckle(dates, 40, seed=dates)
    expected, odd = nanmedian(values), valid_count(values) & 1 == 1
    settings = rival_settings(values, chunks=(7, 40), threads=2)
    for name in settings.keys() - set(COMPILED_LONG):
        where = odd if name in LOWER_MIDDLE else slice(None)
        for setting, work in settings[name].items():
            assert largest_difference(work()[where], expected[where]) <= 1e-6, (name, setting)


def test_torch_returns_the_lower_middle():
    values = np.array([1.0, 2.0], np.float32).reshape(2, 1, 1)
    assert nanmedian(values) == 1.5
    assert rival_settings(values, chunks=(1,), threads=1)["torch"]["whole"]() == 1.0


def test_every_rival_has_several_settings(values):
    settings = rival_settings(values, chunks=chunk_sizes(40), threads=2)
    assert chunk_sizes(4096) == (512, 1024, 2048)
    assert set(settings) == {
        *("numpy", "numpy_2_threads", "bottleneck", "bottleneck_2_threads", "numbagg", "torch"),
        *("xarray", "xarray_without_numbagg", "xarray_dask", "xarray_dask_without_numbagg"),
    }
    assert all(len(found) >= 3 for name, found in settings.items() if name not in ("xarray", "xarray_without_numbagg"))


@pytest.mark.parametrize("rows", [1, 7, 40, 99])
@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_of_rows_change_nothing(values, rows, threads):
    np.testing.assert_array_equal(by_rows(numpy_median, values, rows=rows, threads=threads), nanmedian(values))


def test_a_median_that_differs_is_noticed():
    expected = np.array([1.0, np.nan, 2.0])
    assert largest_difference(expected, expected) == 0
    assert largest_difference(np.array([1.0, np.nan, 2.2]), expected) == pytest.approx(0.1)
    assert largest_difference(np.array([1.0, 3.0, 2.0]), expected) == math.inf
    assert largest_difference(np.array([np.nan, np.nan, 2.0]), expected) == math.inf


def test_the_growth_of_memory_is_seen():
    runs = Runs()
    run(lambda: np.ones(2**24, np.uint32), runs)
    assert runs.memory_gib[0] == pytest.approx(1 / 16, abs=0.02)
    assert runs.seconds[0] > 0
    run(lambda: None, runs)
    assert runs.memory_gib[1] < 0.02  # the one before is not counted again


def test_the_plain_call_and_the_fastest_are_kept(values, monkeypatch):
    pauses = {"whole": 0.2, "quick": 0, "slow": 0.1, "quicker": 0.05}

    def settings(values, **_):
        return {"rival": {setting: partial(time.sleep, pause) for setting, pause in pauses.items()}}

    monkeypatch.setattr("benchmarks.median.rival_settings", settings)
    kept, trial = choose(values, chunks=(40,))
    assert list(kept["rival"]) == ["whole", "quick", "quicker"]
    assert trial["rival"].keys() == pauses.keys()


def test_what_counts_is_the_fastest_setting_over_ours():
    names = ("ours", "ours_dask", "read_memory", "numpy")
    found = {name: {"whole": Runs(seconds=[2.0, 2.0, 50.0], memory_gib=[1.0])} for name in names}
    found["numpy"] = {
        "whole": Runs(seconds=[30.0], memory_gib=[9.0]),
        "rows_16": Runs(seconds=[8.0, 8.0], memory_gib=[0.5]),
    }
    keys = summary(found, 4_000_000_000)
    assert keys["vs_numpy"] == 4
    assert keys["gbps"] == 2
    assert keys["dask_over_kernel"] == 1
    assert keys["fraction_of_bandwidth"] == pytest.approx(4e9 / 2**30)
    assert keys["peak_memory_gib_of"]["numpy"] == 0.5
    assert json.dumps(keys)


@pytest.mark.slow
def test_it_runs_at_a_tiny_size(tmp_path):
    command = [sys.executable, "-m", "benchmarks.median", "--json", str(tmp_path / "m.json")]
    said = subprocess.run(
        [*command, "--size", "256", "--rounds", "1"],
        check=True,
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    assert "not the size that is reported" in said
    result = json.loads((tmp_path / "m.json").read_text())
    assert list(result["T"]) == [str(dates) for dates in DATES]
    rivals = ("numpy", "xarray", "xarray_dask", "bottleneck", "numbagg", "torch")
    for found in result["T"].values():
        for key in ("seconds", "gbps", "fraction_of_bandwidth", "dask_over_kernel", *(f"vs_{r}" for r in rivals)):
            assert math.isfinite(found[key]), key
            assert found[key] > 0, key
        assert found["peak_memory_gib"] >= 0
        assert set(found["probe_seconds"]["numpy"]) == {"whole", *(f"rows_{rows}" for rows in ROWS)}
    assert result["bandwidth_gbps"] > 0
    assert result["threads"]["ours"] == 2
    assert {"numpy", "numbagg", "bottleneck", "torch"} <= set(result["versions"])
    assert result["simulated"]
