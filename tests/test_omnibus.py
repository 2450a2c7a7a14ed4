"""The omnibus test: its distributions, its false alarms, changes where they were put, and nothing from chunking."""

import threading

import dask
import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from sarcube.change.baselines.chi_square import chi_square_sf
from sarcube.change.baselines.omnibus import omnibus_change
from sarcube.errors import BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

LOOKS = 4.4
LAYERS = ["p_value", "first_change", "change_count"]


def make_cube(powers, tracks=("D164",)):
    """A cube of the given (time, y, x) powers, twelve days apart."""
    size = next(iter(powers.values())).shape
    coords = {
        "time": np.datetime64("2021-01-04T22:51:07", "ns") + np.arange(size[0]) * np.timedelta64(12, "D"),
        "scene_track": ("time", [tracks[i % len(tracks)] for i in range(size[0])]),
        "y": 6000.0 - 10 * np.arange(size[1]),
        "x": 646005.0 + 10 * np.arange(size[2]),
    }
    return xr.Dataset({k: (("time", "y", "x"), v) for k, v in powers.items()}, coords).rio.write_crs(32647)


def speckled(size, seed=0, polarisations=("vv", "vh"), missing=0.0):
    """Powers of speckle alone, some of them invalid in every way there is."""
    random = np.random.default_rng(seed)
    powers = {}
    for name in polarisations:
        power = random.gamma(LOOKS, 0.1 / LOOKS, size).astype("float32")
        invalid = random.random(size) < missing
        power[invalid] = random.choice(np.array([np.nan, 0.0, -32768.0, np.inf], "float32"), invalid.sum())
        powers[name] = power
    return powers


def by_the_book(series, looks, significance):
    """(polarisation, date) -> p-value, place of the first change or None, number of changes; with NumPy and SciPy."""
    bands = series.shape[0]

    def probability(log_q, freedom, rho):
        omega2 = -freedom / 4 * (1 - 1 / rho) ** 2
        z = -2 * rho * looks * log_q
        return (1 - omega2) * chi2.sf(z, freedom) + omega2 * chi2.sf(z, freedom + 4)

    def q(part):
        k = part.shape[1]
        log_q = (k * np.log(k) + np.log(part).sum(1) - k * np.log(part.sum(1))).sum()
        return probability(log_q, bands * (k - 1), 1 - (k / looks - 1 / (k * looks)) / (6 * (k - 1)))

    def r(part):
        j = part.shape[1]
        log_r = j * np.log(j) - (j - 1) * np.log(j - 1) + (j - 1) * np.log(part[:, :-1].sum(1))
        log_r = (log_r + np.log(part[:, -1]) - j * np.log(part.sum(1))).sum()
        return probability(log_r, bands, 1 - (1 + 1 / (j * (j - 1))) / (6 * looks))

    changes, start = [], 0
    while series.shape[1] - start >= 2 and q(series[:, start:]) < significance:
        ends = range(start + 2, series.shape[1] + 1)
        found = next((end - 1 for end in ends if r(series[:, start:end]) < significance), None)
        if found is None:
            break
        changes.append(found)
        start = found
    return q(series), changes[0] if changes else None, len(changes)


def refuse(*args, **kwargs):
    raise AssertionError("computed while the graph was built")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 58, 117, 1198, 4000])
def test_upper_tail_is_scipys(freedom):
    x = np.concatenate([[-1.0, 0.0, 1e-9, 0.1, 1.0, 3.0], freedom * np.array([0.2, 0.9, 1.0, 1.2, 2.0, 4.0, 50.0])])
    ours = [chi_square_sf(value, freedom) for value in x]
    np.testing.assert_allclose(ours, chi2.sf(x, freedom), rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("polarisations", [("vv", "vh"), ("vv",)])
def test_false_alarms_come_as_often_as_said(polarisations):
    # 250 000 pixels: the binomial error is 0.02 % at 1 % and 0.044 % at 5 %, the tolerance five times that.
    powers = speckled((30, 500, 500), polarisations=polarisations)
    for dates in (2, 5, 10, 30):
        cube = make_cube({name: power[:dates] for name, power in powers.items()})
        change = omnibus_change(cube, looks=LOOKS, polarisations=polarisations)
        assert (change.p_value < 0.01).mean() == pytest.approx(0.01, abs=0.001), dates
        assert (change.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.0022), dates
        # A change is counted where the test of all dates and that of one date find it.
        assert (change.change_count > 0).mean() <= (change.p_value < 0.01).mean()
        assert (change.change_count > 0).mean() > 0.005


def test_fewer_looks_are_calibrated_down_to_two():
    random = np.random.default_rng(5)
    rates = {}
    for looks in (1, 2):
        powers = {name: random.gamma(looks, 0.1, (10, 500, 500)).astype("float32") for name in ("vv", "vh")}
        rates[looks] = float((omnibus_change(make_cube(powers), looks=looks).p_value < 0.01).mean())
    assert rates[2] == pytest.approx(0.01, abs=0.001)
    assert 0.012 < rates[1] < 0.015  # as omnibus_change says, somewhat too many


@pytest.mark.parametrize("polarisations", [("vv", "vh"), ("vh",)])
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_is_the_paper(polarisations, missing):
    powers = speckled((9, 12, 11), seed=3, polarisations=polarisations, missing=missing)
    for power in powers.values():
        power[4:, :6] *= 4
        power[7:, :3] /= 6
    cube = make_cube(powers)
    change = omnibus_change(cube, polarisations=polarisations, significance=0.02)
    assert change.p_value.dtype == np.float32
    assert change.first_change.dtype == cube.time.dtype
    assert change.change_count.dtype == np.uint16
    stack = np.stack(list(powers.values()))
    valid = (np.isfinite(stack) & (stack > 0)).all(0)
    counts = set()
    for y, x in np.ndindex(cube.vv.shape[1:] if "vv" in cube else cube.vh.shape[1:]):
        steps = np.flatnonzero(valid[:, y, x])
        here = change.isel(y=y, x=x)
        if steps.size < 2:
            assert np.isnan(here.p_value)
            continue
        p, first, count = by_the_book(stack[:, steps, y, x].astype("float64"), LOOKS, 0.02)
        assert float(here.p_value) == pytest.approx(p, rel=1e-5, abs=1e-30)
        expected = np.datetime64("NaT") if first is None else cube.time.values[steps[first]]
        np.testing.assert_array_equal(here.first_change.values, expected)
        assert int(here.change_count) == count
        counts.add(count)
    assert counts >= {0, 1, 2}


@pytest.mark.parametrize(("step_db", "found", "right"), [(6, 0.92, 0.7), (10, 0.999, 0.96)])
def test_a_step_is_found_at_its_date(step_db, found, right):
    powers = speckled((12, 200, 200), seed=1)
    for power in powers.values():
        power[4:] *= 10 ** (step_db / 10)
    cube = make_cube(powers)
    change = omnibus_change(cube)
    assert (change.p_value < 0.01).mean() > found
    assert (change.first_change == cube.time[4]).mean() > right
    # Each of the three dates that could come too early does so by chance in 1 % of the pixels where change is found.
    assert (change.first_change < cube.time[4]).mean() == pytest.approx(0.03, abs=0.005)


def test_two_steps_are_two_changes():
    powers = speckled((15, 100, 100), seed=2)
    for power in powers.values():
        power[5:] *= 10
        power[10:] /= 20
    cube = make_cube(powers)
    change = omnibus_change(cube)
    assert (change.change_count == 2).mean() > 0.9
    assert (change.change_count >= 2).mean() > 0.99
    assert (change.first_change == cube.time[5]).mean() > 0.95


def test_p_value_of_equal_dates_is_one():
    cube = make_cube({"vv": np.full((4, 2, 3), 0.1, "float32"), "vh": np.full((4, 2, 3), 0.02, "float32")})
    change = omnibus_change(cube)
    assert (change.p_value == 1).all()
    assert change.first_change.isnull().all()
    assert (change.change_count == 0).all()


def test_too_few_valid_dates_are_not_tested():
    powers = speckled((5, 3, 4))
    powers["vv"][1:, 0] = np.nan
    powers["vh"][:, 1] = 0
    powers["vv"][:3, 2], powers["vh"][3:4, 2] = np.inf, -32768.0
    change = omnibus_change(make_cube(powers))
    assert change.p_value.isnull().all()
    assert change.first_change.isnull().all()
    assert (change.change_count == 0).all()


@pytest.mark.parametrize("chunks", [(1, 4, 5), (3, 9, 3), ((2, 4, 1, 1), (5, 4), (14,)), (-1, -1, -1)])
def test_dask_is_numpy_and_lazy(chunks):
    cube = make_cube(speckled((8, 9, 14), missing=0.3))
    expected = omnibus_change(cube, significance=0.3)
    assert isinstance(expected.p_value.data, np.ndarray)
    assert (expected.change_count > 1).any()
    lazy = cube.chunk(dict(zip(("time", "y", "x"), chunks, strict=True))).assign_coords(scene_track=cube.scene_track)
    with dask.config.set(scheduler=refuse):
        change = omnibus_change(lazy, significance=0.3)
    assert change.p_value.chunks == change.first_change.chunks == lazy.vv.chunks[1:]
    xr.testing.assert_identical(change.compute(scheduler="sync"), expected)
    xr.testing.assert_identical(change.compute(scheduler="threads"), expected)


def test_every_chunk_is_read_once():
    reads, lock = [], threading.Lock()

    def read(block, block_info=None):
        if block_info:
            with lock:
                reads.append(block_info[0]["chunk-location"])
        return block

    powers = speckled((6, 20, 30))
    cube = make_cube({k: da.from_array(v, chunks=(2, 10, 15)).map_blocks(read, meta=v) for k, v in powers.items()})
    change = omnibus_change(cube)
    reads.clear()
    change.compute(scheduler="threads")
    assert len(reads) == 2 * 3 * 2 * 2


@given(st.permutations(range(7)), st.integers(0, 3))
def test_order_of_dates_and_empty_dates_change_nothing(order, empty):
    cube = make_cube(speckled((7, 6, 5), missing=0.2))
    expected = omnibus_change(cube, significance=0.2)
    void = cube.isel(time=slice(0, empty)).map(lambda v: v.where(False) if "time" in v.dims else v)
    void["time"] = void.time + np.timedelta64(5, "D")
    mixed = xr.concat([cube, void], "time", data_vars="minimal", coords="minimal").isel(
        time=[*order, *range(7, 7 + empty)]
    )
    change = omnibus_change(mixed, significance=0.2)
    for layer in LAYERS:
        xr.testing.assert_equal(change[layer], expected[layer])


@given(st.permutations(range(7)))
def test_p_value_knows_no_order(order):
    powers = speckled((7, 6, 5), seed=4)
    p = omnibus_change(make_cube(powers)).p_value
    mixed = omnibus_change(make_cube({k: v[list(order)] for k, v in powers.items()})).p_value
    np.testing.assert_allclose(mixed, p, rtol=1e-6)


@given(st.integers(1, 129), st.integers(1, 4), st.randoms(use_true_random=False))
def test_pixels_do_not_know_each_other(column, row, random):
    powers = speckled((5, 5, 130), missing=0.3)
    cube = make_cube(powers)
    whole = omnibus_change(cube, significance=0.3)
    for part in ({"x": slice(column, None)}, {"x": slice(0, column)}, {"y": slice(row, None)}):
        xr.testing.assert_equal(omnibus_change(cube.isel(part), significance=0.3), whole.isel(part))
    places = random.sample(range(5 * 130), 5 * 130)
    mixed = make_cube({k: v.reshape(5, -1)[:, places].reshape(v.shape) for k, v in powers.items()})
    change = omnibus_change(mixed, significance=0.3)
    for layer in LAYERS:
        np.testing.assert_array_equal(change[layer].values.ravel(), whole[layer].values.ravel()[places])


def test_axes_and_dtypes_of_the_cube_do_not_matter():
    cube = make_cube(speckled((6, 9, 70), missing=0.2))
    expected = omnibus_change(cube)
    xr.testing.assert_equal(omnibus_change(cube.transpose("y", "x", "time")), expected)
    mixed = cube.assign(vv=cube.vv.astype("float64"))
    xr.testing.assert_equal(omnibus_change(mixed), expected)


def test_tracks_are_apart():
    cube = make_cube(speckled((9, 4, 5)), tracks=("A015", "D164"))
    with pytest.raises(TrackError, match="A015, D164"):
        omnibus_change(cube)
    change = omnibus_change(cube, track="D164")
    xr.testing.assert_identical(change, omnibus_change(cube.isel(time=slice(1, None, 2))))
    assert change.attrs["track"] == "D164"
    assert change.attrs["dates"] == ["2021-01-16", "2021-02-09", "2021-03-05", "2021-03-29"]


def test_an_event_chooses_the_dates():
    cube = make_cube(speckled((9, 4, 5)))
    event = Event("sumatra-2022", bbox=(100.30, 0.04, 100.33, 0.06), time="2021-03-01T00:00Z")
    change = omnibus_change(cube, event, pre_days=30, post_days=20)
    for layer in LAYERS:
        xr.testing.assert_equal(change[layer], omnibus_change(cube.isel(time=slice(3, 7)))[layer])
    assert change.attrs["dates_pre"] == ["2021-02-09", "2021-02-21"]
    assert change.attrs["dates_post"] == ["2021-03-05", "2021-03-17"]
    assert change.p_value.attrs["event"] == "sumatra-2022"


def test_layers_say_what_they_are(tmp_path):
    cube = make_cube(speckled((3, 4, 5)))
    cube.attrs["simulated"] = "true"
    change = omnibus_change(cube.chunk({"y": 2}), looks=5)
    for layer in LAYERS:
        assert change[layer].attrs["long_name"]
        assert change[layer].attrs["track"] == "D164"
    assert change.attrs["simulated"] == "true"
    assert change.attrs["looks"] == 5
    assert change.rio.crs.to_epsg() == 32647
    change.to_zarr(tmp_path / "change.zarr", consolidated=False)
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "change.zarr", consolidated=False).load(), change.compute())


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"looks": 0.5}, InputError, "looks"),
        ({"looks": np.nan}, InputError, "looks"),
        ({"significance": 0}, InputError, "significance"),
        ({"significance": 1}, InputError, "significance"),
        ({"polarisations": "vv"}, InputError, "vv"),
        ({"polarisations": ()}, InputError, "polarisations"),
        ({"polarisations": ("vv", "vv")}, InputError, "different"),
        ({"polarisations": ("vv", "hh")}, BandError, "vv, vh"),
        ({"track": "A015"}, TrackError, "D164"),
    ],
)
def test_errors_name_the_remedy(options, error, words):
    with pytest.raises(error, match=words):
        omnibus_change(make_cube(speckled((3, 4, 5))), **options)


def test_one_date_is_too_few():
    with pytest.raises(NoSceneError, match="two dates"):
        omnibus_change(make_cube(speckled((1, 4, 5))))
