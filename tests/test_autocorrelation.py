import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from power_series import EVENT, chunked, counted, in_parts, power_series, refuse
from scipy import ndimage

from sarcube.change.baselines.autocorrelation import _measure_rows, autocorrelation_change
from sarcube.errors import AreaError, BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

DAYS = (-59, -30, -20, -10, -1, 2, 6)
MEASURES = ["morans_i", "semivariance"]


def measure_of(values, window, measure="morans_i"):
    """The kernel's measure around every pixel of a (y, x) array."""
    out = np.empty(values.shape, np.float32)
    _measure_rows(np.asarray(values, float), window // 2, 0, 0, measure == "morans_i", out)
    return out


def textbook_measure(values, measure):
    """Moran's I or semivariance of a whole array, with its matrix of weights."""
    y, x = np.nonzero(np.isfinite(values))
    weights = (abs(y[:, None] - y) + abs(x[:, None] - x) == 1).astype(float)
    z = values[y, x]
    if not weights.any():
        return np.nan
    if measure == "semivariance":
        return (weights * (z[:, None] - z) ** 2).sum() / (2 * weights.sum())
    z = z - z.mean()
    return len(z) / weights.sum() * (z @ weights @ z) / (z @ z)


def textbook(cube, name, before, window, measure):
    """Window by window; a pixel's log-ratio is to its last valid date."""
    power = cube[name].values.astype(float)
    decibel = 10 * np.log10(np.where(np.isfinite(power) & (power > 0), power, np.nan))
    _, height, length = decibel.shape
    half, last, layers = window // 2, np.full((height, length), np.nan), []
    after = np.full((height, length), np.nan)
    for values in decibel[: before - 1 : -1]:
        after = np.where(np.isnan(values), after, values)
    for values in [*decibel[:before], after]:
        ratio = values - last
        last = np.where(np.isnan(values), last, values)
        layer = np.full((height, length), np.nan)
        for y in range(height):
            for x in range(length):
                cut = ratio[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]
                if np.isfinite(ratio[y, x]) and np.isfinite(cut).sum() >= window**2 / 4:
                    layer[y, x] = textbook_measure(cut, measure)
        layers.append(layer)
    reference = np.ma.median(np.ma.masked_invalid(layers[1:-1]), axis=0).filled(np.nan)
    return layers[-1] - reference


@pytest.mark.parametrize("window", [3, 5, 15])
def test_a_checkerboard_is_minus_one_and_a_plane_is_nearly_one(window):
    board = np.indices((40, 40)).sum(0) % 2 * 3.0
    inner = np.s_[10:30, 10:30]
    expected = textbook_measure(board[:window, :window], "morans_i")
    assert expected == pytest.approx(-1, abs=2 / window**2)  # one square more of the one colour
    np.testing.assert_allclose(measure_of(board, window)[inner], expected, rtol=1e-6)
    plane = np.indices((40, 40)).sum(0) * 0.7
    np.testing.assert_allclose(
        measure_of(plane, window)[inner], textbook_measure(plane[:window, :window], "morans_i"), rtol=1e-5
    )
    if window == 15:
        assert measure_of(plane, window)[20, 20] > 0.85
    blocks = np.where(np.arange(40) < 20, 0.0, 5.0) * np.ones((40, 1))
    assert measure_of(blocks, 15)[20, 20] > 0.9


def test_a_whole_even_checkerboard_is_exactly_minus_one():
    board = np.indices((20, 20)).sum(0) % 2 - 0.5
    assert measure_of(board, 39)[10, 10] == -1
    assert measure_of(board, 39, "semivariance")[10, 10] == 0.5


def test_equal_values_have_no_morans_i():
    flat = np.full((9, 9), -3.7)
    assert np.isnan(measure_of(flat, 5)).all()
    assert (measure_of(flat, 5, "semivariance") == 0).all()


@pytest.mark.parametrize("window", [3, 9])
def test_white_noise_has_its_expectation(window):
    # -1 / (n - 1) (Moran 1950), whatever the distribution; the semivariance is the variance.
    noise = np.random.default_rng(2).gamma(4.4, 1.0, (500, 500))
    inner = np.s_[window:-window, window:-window]
    mean = measure_of(noise, window)[inner].mean(dtype=float)
    assert mean == pytest.approx(-1 / (window**2 - 1), abs=0.002)
    assert measure_of(noise, window, "semivariance")[inner].mean(dtype=float) == pytest.approx(4.4, rel=0.01)


def test_smoothing_raises_morans_i_to_its_correlation():
    # A mean over 2 x 2 pixels of white noise correlates by 1/2 with its neighbour.
    noise = ndimage.uniform_filter(np.random.default_rng(3).normal(size=(400, 400)), 2)
    assert measure_of(noise, 41)[21:-21, 21:-21].mean(dtype=float) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("window", [3, 7])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_is_the_textbook(measure, window, missing):
    cube = power_series(DAYS, shape=(11, 13), missing=missing)
    change = autocorrelation_change(cube, EVENT, polarisation="vh", measure=measure, window=window)
    expected = textbook(cube, "vh", 5, window, measure)
    assert change.dtype == np.float32
    assert change.dims == ("y", "x")
    np.testing.assert_allclose(change, expected, atol=5e-6, rtol=1e-6)
    assert np.isfinite(expected).mean() > (0.5 if missing else 0.99)


@pytest.mark.parametrize("factor", [8.0, 0.125])
def test_a_slide_stands_out_whichever_way_it_changed(factor):
    cube = power_series(DAYS, shape=(80, 80))
    cube["vv"][5:, 15:27, 15:27] *= factor
    change = autocorrelation_change(cube, EVENT).values
    far = change[45:, 45:]
    assert change[15:27, 15:27].min() > far.max()
    assert abs(np.median(far)) < 0.05


def test_a_rougher_slide_raises_the_semivariance():
    cube = power_series(DAYS, shape=(80, 80))
    cube["vv"][5:, 15:27:2, 15:27] *= 8.0
    change = autocorrelation_change(cube, EVENT, measure="semivariance").values
    assert change[15:27, 15:27].min() > change[45:, 45:].max()


def test_less_than_a_quarter_of_a_window_is_not_measured():
    cube = power_series(DAYS, shape=(30, 30))
    cube["vv"][:, :, 5:] = np.nan
    change = autocorrelation_change(cube, EVENT, window=21)
    assert np.isnan(change).all()  # 5 columns of 21
    change = autocorrelation_change(power_series(DAYS, shape=(30, 30)), EVENT, window=21)
    assert np.isfinite(change).all()


def test_compares_with_the_median_of_the_changes_before():
    cube = power_series((-30, -20, -10, -1, 2), shape=(40, 40))
    calm = autocorrelation_change(cube, EVENT, measure="semivariance")
    cube["vv"][0] *= np.linspace(0.1, 10, 40, dtype="float32")[:, None]  # one storm long before
    cube["vv"][0, ::2] *= 30
    stormy = autocorrelation_change(cube, EVENT, measure="semivariance")
    assert abs(np.median(stormy) - np.median(calm)) < 5
    one = autocorrelation_change(cube.isel(time=[0, 1, 4]), EVENT, measure="semivariance")
    assert np.median(one) < -50


@pytest.mark.parametrize(
    ("chunks", "window"), [((1, 5, 6), 3), ((3, -1, 4), 5), (((2, 4, 1), (1, 15, 1), (22, 1)), 7), ((-1, 1, 2), 35)]
)
@pytest.mark.parametrize("measure", MEASURES)
def test_dask_is_numpy_and_lazy(chunks, window, measure):
    cube = power_series(DAYS, missing=0.2)
    expected = autocorrelation_change(cube, EVENT, measure=measure, window=window)
    assert isinstance(expected.data, np.ndarray)
    lazy = chunked(cube, chunks)
    with dask.config.set(scheduler=refuse):
        change = autocorrelation_change(lazy, EVENT, measure=measure, window=window)
    xr.testing.assert_identical(change.compute(scheduler="sync"), expected)
    xr.testing.assert_identical(change.compute(scheduler="threads"), expected)


def test_reads_each_chunk_of_its_dates_once():
    cube = power_series((-70, *DAYS, 30), shape=(20, 30))
    lazy, counters = counted(cube, ((1, 4, 3, 1), 10, 10))
    change = autocorrelation_change(lazy, EVENT, window=5).compute(scheduler="sync")
    np.testing.assert_array_equal(change, autocorrelation_change(cube, EVENT, window=5))
    pixels = counters["vv"].pixels
    assert pixels[1:-1].min() == pixels[1:-1].max() == 1
    assert pixels[0].max() == pixels[-1].max() == counters["vh"].pixels.max() == 0


@given(st.permutations(range(7)), st.integers(0, 2))
def test_order_of_dates_and_empty_dates_change_nothing(order, empty):
    cube = power_series(DAYS, missing=0.1)
    nothing = power_series([-25.0 + 26 * i for i in range(empty)]) * np.float32(np.nan)
    longer = xr.concat([cube, nothing], "time") if empty else cube
    shuffled = longer.isel(time=[*order, *range(7, 7 + empty)])
    expected = autocorrelation_change(cube, EVENT, window=5)
    np.testing.assert_array_equal(autocorrelation_change(shuffled, EVENT, window=5), expected)


@given(st.integers(1, 16), st.integers(1, 22), st.sampled_from([3, 7]), st.sampled_from(MEASURES))
def test_splitting_the_area_changes_nothing(row, column, window, measure):
    cube = power_series(DAYS, missing=0.1)
    half, options = window // 2, {"window": window, "measure": measure}
    whole = autocorrelation_change(cube, EVENT, **options)
    parts = in_parts(lambda part: autocorrelation_change(part, EVENT, **options), cube, half, row, column)
    np.testing.assert_array_equal(parts, whole)


def test_tracks_are_not_mixed():
    cube = power_series([-10, -9, -5, -4, 2, 3], tracks=("A083", "D046"))
    for first, track in enumerate(("A083", "D046")):
        change = autocorrelation_change(cube, EVENT, track=track)
        assert change.attrs["track"] == track
        np.testing.assert_array_equal(change, autocorrelation_change(cube.isel(time=slice(first, None, 2)), EVENT))


def test_says_what_it_is():
    cube = power_series([-70, -10, -5, 2]).assign_attrs(simulated=True)
    change = autocorrelation_change(cube, EVENT, post_days=6)
    assert change.name == "autocorrelation_change"
    assert change.rio.crs == cube.rio.crs
    assert set(change.coords) == {"y", "x", "spatial_ref"}
    assert change.attrs == {
        "long_name": "Moran's I of the log-ratio across the event, minus its median before",
        "units": "1",
        "event": "hiroshima-2018",
        "event_time": "2018-07-06T10:00:00Z",
        "simulated": True,
        "track": "D046",
        "dates_pre": ["2018-06-26", "2018-07-01"],
        "dates_post": ["2018-07-08"],
        "pre_days": 60,
        "post_days": 6,
        "polarisation": "vv",
        "measure": "morans_i",
        "window": 21,
    }
    assert autocorrelation_change(cube, EVENT, measure="semivariance").attrs["units"] == "dB2"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 4}, "odd"),
        ({"window": 1}, "odd"),
        ({"window": 21.0}, "odd"),
        ({"measure": "gearys_c"}, "semivariance"),
        ({"post_days": -1}, "post_days"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        autocorrelation_change(power_series(DAYS), EVENT, **options)


def test_what_is_not_there_is_named():
    cube = power_series(DAYS)
    with pytest.raises(BandError, match=r'"hh" is not in this cube; it holds vv, vh: choose among these'):
        autocorrelation_change(cube, EVENT, polarisation="hh")
    with pytest.raises(TrackError, match='"A083" is not in this cube'):
        autocorrelation_change(cube, EVENT, track="A083")
    with pytest.raises(NoSceneError, match=r'two scenes at least; track D046 has one in the 5 days before "hiroshima'):
        autocorrelation_change(cube, EVENT, pre_days=5)
    with pytest.raises(AreaError):
        autocorrelation_change(cube, Event("far", bbox=(100, 0, 101, 1), time="2018-07-06"))
