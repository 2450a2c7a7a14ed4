"""`python -m benchmarks.false_alarms`: its estimate of looks, its levelling, its keys."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.false_alarms import DATES, REAL, cube_of, levelled, looks_between_dates, of_speckle, rates, table


@pytest.mark.parametrize("looks", [4.4, 12.0])
def test_looks_are_estimated_from_the_spread_between_dates(looks):
    random = np.random.default_rng(0)
    powers = {name: random.gamma(looks, 0.1, (8, 100, 100)).astype("float32") for name in ("vv", "vh")}
    for power in powers.values():
        power *= random.uniform(0.5, 2, (8, 1, 1)).astype("float32")  # drift of a date's level does not count
        power[4:, :3] *= 10  # nor does what changed
    assert looks_between_dates(cube_of(powers)) == pytest.approx(looks, rel=0.06)


def test_levelled_dates_have_one_median():
    random = np.random.default_rng(0)
    power = random.gamma(4.4, 0.1, (5, 40, 40)).astype("float32") * random.uniform(0.5, 2, (5, 1, 1)).astype("float32")
    power[2, :7] = np.nan
    level = levelled(cube_of({"vv": power, "vh": power / 4}))
    for band in ("vv", "vh"):
        medians = np.nanmedian(level[band], axis=(1, 2))
        np.testing.assert_allclose(medians, medians[0], rtol=1e-6)
    assert np.isnan(level.vv[2, :7]).all()


def test_rates_of_what_changed_everywhere():
    power = np.full((4, 5, 6), 0.1, "float32")
    power[2:] *= 100
    power[:, 0] = np.nan
    row = rates(cube_of({"vv": power, "vh": power}), 4.4)
    assert row["pixels"] == 24
    assert row["rate_1_percent"] == row["rate_5_percent"] == row["rate_dated"] == 1


def test_drift_raises_the_rate_of_speckle():
    rows = of_speckle(7, 100)
    assert [row["dates"] for row in rows] == 4 * list(DATES)
    by_name = {(row["data"], row["dates"], len(row["polarisations"])): row["rate_5_percent"] for row in rows}
    # 10 000 pixels: the binomial error at 5 % is 0.2 %.
    assert by_name["speckle", 30, 2] == pytest.approx(0.05, abs=0.01)
    assert by_name["speckle", 30, 1] == pytest.approx(0.05, abs=0.01)
    assert by_name["speckle, strongest drift", 30, 2] > 0.07
    assert len(table(rows).splitlines()) == 1 + 16


@pytest.mark.slow
def test_it_runs_at_a_tiny_size(tmp_path):
    command = [sys.executable, "-m", "benchmarks.false_alarms", "--json", str(tmp_path / "f.json"), "--size", "100"]
    ran = subprocess.run(
        [*command, "--events", "1", "--size-km", "2"],
        check=True,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    result = json.loads((tmp_path / "f.json").read_text())
    assert 0.004 < result["speckle_rate_1_percent_lowest"] <= result["speckle_rate_1_percent_highest"] < 0.016
    kinds = {row["data"].split(",")[0] for row in result["rows"]}
    assert kinds >= {"speckle", "speckle repeating: none", "speckle repeating: bare", "simulated scenes"}
    assert ("real" in kinds) == REAL.is_dir()
    assert all(0 <= row["rate_1_percent"] <= row["rate_5_percent"] <= 1 for row in result["rows"])
    assert "SIMULATED" in ran.stdout
