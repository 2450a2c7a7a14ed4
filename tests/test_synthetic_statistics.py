"""The simulation's statistics against those of real stacks; `pytest -s` prints them side by side."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from backscatter_statistics import looks_averaged, stack_statistics
from odc.geo.geobox import GeoBox

from sarcube.synthetic.ground import image, make_ground, view_from
from sarcube.synthetic.scenario import draw_scenario
from sarcube.synthetic.speckle import draw_looks, speckle

CALIFORNIA = Path(__file__).resolve().parents[2] / "shared" / "data" / "opera-rtc-california"

# What the real California stacks gave (PHYSICS, "Without change" [C]): 30 m pixels, four places, 10 dates; widened to
# what other places and seasons bring. Low, high.
REAL = {
    "vv 5 %": (-18, -11),
    "vv median": (-13, -7.5),
    "vv 95 %": (-8, -3),
    "vh 5 %": (-28, -17),
    "vh median": (-22, -13),
    "vh 95 %": (-15, -10),
    "vv date-to-date std of the median": (0.1, 1.7),
    "vh date-to-date std of the median": (0.1, 2.5),
    "vv std of the time mean": (1.5, 3.0),
    "vh std of the time mean": (1.6, 3.4),
    "vv correlation of the time mean at 30 m": (0.4, 0.87),
    "vv correlation of the time mean at 150 m": (0.09, 0.6),
    "vv correlation of the time mean at 300 m": (0.03, 0.45),
    "vh correlation of the time mean at 30 m": (0.4, 0.87),
    "vh correlation of the time mean at 150 m": (0.1, 0.66),
    "vh correlation of the time mean at 300 m": (0.03, 0.58),
    "vv log-ratio std of 300 m blocks": (0.2, 0.95),
    "vh log-ratio std of 300 m blocks": (0.2, 0.95),
    "vv log-ratio std of single dates": (1.7, 2.6),
    "vh log-ratio std of single dates": (1.7, 3.0),
    "correlation of VV and VH drift": (0.5, 1.0),
    "correlation of VV and VH speckle": (-0.03, 0.08),
}


@pytest.fixture(scope="module")
def simulated():
    """Statistics of two simulated places before their events, averaged to 30 m pixels."""
    result = {}
    for seed in (1, 3):
        geobox = GeoBox((640, 640), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")
        ground = make_ground(seed, draw_scenario(seed), geobox, landslides=False)
        view = view_from(ground, "A015", relative_orbit=15, orbit_state="ascending")
        images = [image(ground, view, day) for day in range(-120, 0, 12)]
        stacks = (looks_averaged(np.array([i[pol] for i in images]), 3) for pol in ("vv", "vh"))
        result[f"simulated {seed}"] = stack_statistics(*stacks, 30)
    return result


def test_simulated_backscatter_lies_within_what_real_stacks_show(simulated):
    for name, statistics in simulated.items():
        for key, (low, high) in REAL.items():
            assert low <= statistics[key] <= high, f"{name}: {key} is {statistics[key]:.2f}, real {low} to {high}"


@pytest.mark.realdata
def test_simulated_beside_measured(simulated):
    if not CALIFORNIA.is_dir():
        pytest.skip(f"no real data at {CALIFORNIA}")
    columns = dict(simulated)
    for place in sorted(CALIFORNIA.iterdir()):
        columns[place.name[5:]] = stack_statistics(*_measured(place), 30)
    print("\n" + " " * 44 + "".join(f"{name:>13s}" for name in columns))
    for key in REAL:
        print(f"{key:44s}" + "".join(f"{column[key]:13.2f}" for column in columns.values()))
    measured = [c for name, c in columns.items() if not name.startswith("simulated")]
    for key, (low, high) in REAL.items():
        assert all(low - 0.01 <= c[key] <= high + 0.01 for c in measured), key


def _measured(place):
    """VV and VH of the first ten dates of full extent."""
    stacks = {"VV": [], "VH": []}
    for path in sorted(place.glob("*_VV.tif")):
        for pol, stack in stacks.items():
            with warnings.catch_warnings(), rasterio.open(str(path)[:-6] + pol + ".tif") as source:
                if source.shape == (100, 100) and len(stack) < 10:
                    values = source.read(1)
                    stack.append(np.where(np.isfinite(values) & (values > 0), values, np.nan))
    return np.array(stacks["VV"]), np.array(stacks["VH"])


def test_speckle_is_that_of_iw_rtc():
    shape = (700, 700)
    lasting, first, second = (draw_looks(1, name, shape=shape) for name in ("lasting", "first", "second"))
    coherence = np.full(shape, np.sqrt(0.7), np.float32)
    a, b = speckle(lasting, first, coherence), speckle(lasting, second, coherence)
    assert a.mean() == pytest.approx(1, abs=0.01)
    assert 1 / a.var() == pytest.approx(4.4, rel=0.03)
    real = {1: 0.65, 2: 0.20, 3: 0.03}  # intensity autocorrelation of real scenes [C]
    for lag, expected in real.items():
        assert np.corrcoef(a[:, :-lag].ravel(), a[:, lag:].ravel())[0, 1] == pytest.approx(expected, abs=0.035)
        assert np.corrcoef(a[:-lag].ravel(), a[lag:].ravel())[0, 1] == pytest.approx(expected, abs=0.035)
    assert np.corrcoef(a[1:, 1:].ravel(), a[:-1, :-1].ravel())[0, 1] == pytest.approx(0.45, abs=0.04)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] == pytest.approx(0.49, abs=0.02)  # coherence squared
    fresh = speckle(lasting, second, np.zeros(shape, np.float32))
    assert abs(np.corrcoef(a.ravel(), fresh.ravel())[0, 1]) < 0.01
    assert np.std(10 * np.log10(a / fresh)) == pytest.approx(3.10, abs=0.05)  # single-date log-ratio, ENL 4.4
