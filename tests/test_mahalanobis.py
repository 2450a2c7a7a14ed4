import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from power_series import EVENT, chunked, counted, in_parts, power_series, refuse
from scipy import stats

from sarcube.change.baselines.mahalanobis import mahalanobis_change
from sarcube.errors import AreaError, BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

DAYS = (-59, -30, -20, -10, -1, 2, 6)
FLOOR = 1e-4 * np.sqrt(2)


def uniform(vv, vh, days):
    """Every date the same everywhere: the natural logarithms of the powers are given."""
    cube = power_series(days)
    for name, logs in (("vv", vv), ("vh", vh)):
        cube[name][:] = np.exp(np.array(logs))[:, None, None]
    return cube


def textbook(cube, names, window, before):
    """Pixel by pixel with numpy's covariance; no floor, so the sample must have spread."""
    logs = np.stack([cube[name].values for name in names]).astype(float)
    logs = np.log(np.where(np.isfinite(logs) & (logs > 0), logs, np.nan))
    logs = np.where(np.isnan(logs).any(0), np.nan, logs)
    half, (height, length) = window // 2, logs.shape[2:]
    result = np.full((height, length), np.nan)
    for y in range(height):
        for x in range(length):
            around = logs[:, :before, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
            sample = around.reshape(len(names), -1)
            sample = sample[:, np.isfinite(sample[0])]
            after = logs[:, before:, y, x]
            after = after[:, np.isfinite(after[0])]
            if sample.shape[1] >= 9 and after.shape[1]:
                d = after[:, 0] - sample.mean(1)
                result[y, x] = np.sqrt(d @ np.linalg.solve(np.atleast_2d(np.cov(sample)), d))
    return result


def test_by_hand():
    # VV 0, 1, 2 and VH 0, 2, 1 in nine pixels each: mean (1, 1), covariance 9 / 26 · [[2, 1], [1, 2]]; its inverse is
    # 26 / 27 · [[2, -1], [-1, 2]]. After the event (3, 1), that is (2, 0) from the mean: d² = 4 · 2 · 26 / 27.
    cube = uniform([0, 1, 2, 3], [0, 2, 1, 1], [-30, -20, -10, 2])
    assert mahalanobis_change(cube, EVENT)[8, 11] == pytest.approx(np.sqrt(208 / 27), rel=1e-6)
    # VV alone: 2 from the mean, variance 18 / 26.
    alone = mahalanobis_change(cube, EVENT, polarisations=("vv",))
    assert alone[8, 11] == pytest.approx(2 / np.sqrt(18 / 26), rel=1e-6)
    # A corner holds 4 pixels of 3 dates: 12 samples.
    assert alone[0, 0] == pytest.approx(2 / np.sqrt(8 / 11), rel=1e-6)


@pytest.mark.parametrize("names", [("vv", "vh"), ("vh",), ("vh", "vv")])
@pytest.mark.parametrize("window", [1, 3, 7])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_is_the_textbook(names, window, missing):
    cube = power_series((-55, -50, -45, -40, -35, -30, -25, -20, -15, -10, -5, -1, 2, 6), missing=missing)
    distance = mahalanobis_change(cube, EVENT, polarisations=names, window=window)
    expected = textbook(cube, names, window, 12)
    assert distance.dtype == np.float32
    assert distance.dims == ("y", "x")
    np.testing.assert_allclose(distance, expected, rtol=2e-6)
    assert np.isfinite(expected).mean() > (0.05 if missing and window == 1 else 0.6)


@pytest.mark.parametrize("names", [("vv", "vh"), ("vv",)])
def test_exceeds_as_hotelling_says(names):
    # Log-normal powers: d² n (n - p) / (p (n + 1) (n - 1)) ~ F(p, n - p), n = 9 pixels of 4 dates.
    # A rate of 1 % over 160 000 pixels has a standard error of 0.025 %, more where windows share their samples.
    cube = power_series((-40, -30, -20, -10, 2), shape=(402, 402))
    random = np.random.default_rng(3)
    common = random.normal(size=(5, 402, 402))
    cube["vv"][:] = np.exp(0.5 * common)
    cube["vh"][:] = np.exp(0.3 * random.normal(size=(5, 402, 402)) - 0.4 * common)
    distance = mahalanobis_change(cube, EVENT, polarisations=names).values[1:-1, 1:-1].astype(float)
    n, p = 36, len(names)
    fisher = distance**2 * n * (n - p) / (p * (n + 1) * (n - 1))
    for rate, tolerance in ((0.5, 0.01), (0.1, 0.004), (0.01, 0.0015)):
        assert np.mean(fisher > stats.f.isf(rate, p, n - p)) == pytest.approx(rate, abs=tolerance)


def test_a_change_stands_out_whichever_way_it_goes():
    cube = power_series(DAYS, shape=(30, 40))
    cube["vv"][5:, 4:10, 4:10] *= 10
    cube["vh"][5:, 20:26, 20:26] /= 10
    distance = mahalanobis_change(cube, EVENT)
    calm = np.median(distance.values[:, 30:])
    assert np.median(distance.values[4:10, 4:10]) > 2 * calm
    assert np.median(distance.values[20:26, 20:26]) > 2 * calm


def test_a_sample_without_spread_counts_as_a_twentieth_of_a_decibel():
    cube = uniform([1, 1, 1, 1.1], [2, 2, 2, 2], [-30, -20, -10, 2])
    np.testing.assert_allclose(mahalanobis_change(cube, EVENT), 0.1 / np.sqrt(FLOOR), rtol=1e-4)
    alone = mahalanobis_change(cube, EVENT, polarisations=("vv",))
    np.testing.assert_allclose(alone, 0.1 / np.sqrt(FLOOR), rtol=1e-4)
    # VV and VH that always rise and fall together: the difference between them has no spread.
    cube = uniform([0, 1, 2, 1.1], [0, 1, 2, 0.9], [-30, -20, -10, 2])
    np.testing.assert_allclose(mahalanobis_change(cube, EVENT), np.sqrt(0.02 / FLOOR), rtol=1e-4)


def test_too_few_samples_and_no_image_after_are_nan():
    cube = power_series([-10, 2], shape=(8, 9))
    distance = mahalanobis_change(cube, EVENT)
    assert np.isfinite(distance[1:-1, 1:-1]).all()
    assert np.isnan(distance).sum() == 2 * 8 + 2 * 7  # a border pixel has 6 samples, a corner 4
    cube["vh"][1, 4, 4] = 0.0
    assert np.isnan(mahalanobis_change(cube, EVENT)[4, 4])
    assert np.isfinite(mahalanobis_change(cube, EVENT, polarisations=("vv",))[4, 4])


def test_the_image_after_is_the_first_valid_one():
    cube = power_series(DAYS)
    first = mahalanobis_change(cube.isel(time=range(6)), EVENT)
    second = mahalanobis_change(cube.isel(time=[0, 1, 2, 3, 4, 6]), EVENT)
    np.testing.assert_array_equal(mahalanobis_change(cube, EVENT), first)
    cube["vv"][5, :, :10] = np.nan
    np.testing.assert_array_equal(mahalanobis_change(cube, EVENT), xr.concat([second[:, :10], first[:, 10:]], "x"))


@pytest.mark.parametrize(
    ("chunks", "window"), [((1, 5, 6), 3), ((3, -1, 4), 5), (((2, 4, 1), (1, 15, 1), (22, 1)), 7), ((-1, 1, 2), 21)]
)
def test_dask_is_numpy_and_lazy(chunks, window):
    cube = power_series(DAYS, missing=0.2)
    expected = mahalanobis_change(cube, EVENT, window=window)
    assert isinstance(expected.data, np.ndarray)
    lazy = chunked(cube, chunks)
    lazy["vh"] = lazy["vh"].chunk({"time": 2, "y": 8})
    with dask.config.set(scheduler=refuse):
        distance = mahalanobis_change(lazy, EVENT, window=window)
    xr.testing.assert_identical(distance.compute(scheduler="sync"), expected)
    xr.testing.assert_identical(distance.compute(scheduler="threads"), expected)


def test_reads_each_chunk_of_its_dates_once():
    cube = power_series((-70, *DAYS, 30), shape=(20, 30))
    lazy, counters = counted(cube, ((1, 4, 3, 1), 10, 10))
    distance = mahalanobis_change(lazy, EVENT)
    assert distance.chunks == lazy["vv"].chunks[1:]
    np.testing.assert_array_equal(distance.compute(scheduler="sync"), mahalanobis_change(cube, EVENT))
    for counter in counters.values():
        assert counter.pixels[1:-1].min() == counter.pixels[1:-1].max() == 1
        assert counter.pixels[0].max() == counter.pixels[-1].max() == 0


@given(st.permutations(range(7)), st.integers(0, 2))
def test_order_of_dates_and_empty_dates_change_nothing(order, empty):
    cube = power_series(DAYS, missing=0.1)
    nothing = power_series([-25.0 + 26 * i for i in range(empty)]) * np.float32(np.nan)
    longer = xr.concat([cube, nothing], "time") if empty else cube
    shuffled = longer.isel(time=[*order, *range(7, 7 + empty)])
    # Dates are summed in the order of time, so that not one bit depends on how the cube holds them.
    np.testing.assert_array_equal(mahalanobis_change(shuffled, EVENT), mahalanobis_change(cube, EVENT))


@given(st.integers(1, 16), st.integers(1, 22), st.sampled_from([3, 5]))
def test_splitting_the_area_changes_nothing(row, column, window):
    cube = power_series(DAYS, missing=0.1)
    half = window // 2
    whole = mahalanobis_change(cube, EVENT, window=window)
    parts = in_parts(lambda part: mahalanobis_change(part, EVENT, window=window), cube, half, row, column)
    np.testing.assert_array_equal(parts, whole)


def test_tracks_are_not_mixed():
    cube = power_series([-10, -9, -5, -4, 2, 3], tracks=("A083", "D046"))
    for first, track in enumerate(("A083", "D046")):
        distance = mahalanobis_change(cube, EVENT, track=track)
        assert distance.attrs["track"] == track
        np.testing.assert_array_equal(distance, mahalanobis_change(cube.isel(time=slice(first, None, 2)), EVENT))


def test_says_what_it_is():
    cube = power_series([-70, -10, -5, 2]).assign_attrs(simulated=True)
    distance = mahalanobis_change(cube, EVENT, post_days=6)
    assert distance.name == "mahalanobis_change"
    assert distance.rio.crs == cube.rio.crs
    assert set(distance.coords) == {"y", "x", "spatial_ref"}
    assert distance.attrs == {
        "long_name": "Mahalanobis distance from the dates before the event",
        "units": "1",
        "event": "hiroshima-2018",
        "event_time": "2018-07-06T10:00:00Z",
        "simulated": True,
        "track": "D046",
        "dates_pre": ["2018-06-26", "2018-07-01"],
        "dates_post": ["2018-07-08"],
        "pre_days": 60,
        "post_days": 6,
        "polarisations": ["vv", "vh"],
        "window": 3,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 4}, "odd"),
        ({"window": 0}, "odd"),
        ({"window": 3.0}, "odd"),
        ({"polarisations": "vv"}, "at most 2"),
        ({"polarisations": ()}, "at most 2"),
        ({"polarisations": ("vv", "vv")}, "at most 2"),
        ({"polarisations": ("vv", "vh", "hh")}, "at most 2"),
        ({"pre_days": 0}, "pre_days"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        mahalanobis_change(power_series(DAYS), EVENT, **options)


def test_what_is_not_there_is_named():
    cube = power_series(DAYS)
    with pytest.raises(BandError, match=r'"vh" is not in this cube; it holds vv: choose among these'):
        mahalanobis_change(cube.drop_vars("vh"), EVENT)
    with pytest.raises(TrackError, match='"A083" is not in this cube'):
        mahalanobis_change(cube, EVENT, track="A083")
    with pytest.raises(NoSceneError, match="after"):
        mahalanobis_change(cube, EVENT, post_days=1)
    with pytest.raises(AreaError):
        mahalanobis_change(cube, Event("far", bbox=(100, 0, 101, 1), time="2018-07-06"))
