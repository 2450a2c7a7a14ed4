import tracemalloc
from datetime import timedelta
from functools import partial

import dask
import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sarcube as sc
from sarcube.change import nanmedian
from sarcube.change.composite import composite, composites, dates_used
from sarcube.change.lanes.routines import decibel_routine
from sarcube.change.strips import decibel_strip, strip_buffers
from sarcube.errors import AreaError, BandError, InputError, NoSceneError, TrackError
from sarcube.events import BUFFERS, Event

EVENT = Event("sumatra-2022", bbox=(100.30, 0.04, 100.33, 0.06), time="2022-02-25T01:39Z")
BANDS = ["vv_post", "vh_post", "vv_diff", "vh_diff"]


def make_cube(days, shape=(9, 14), tracks=("D164",), missing=0.2, seed=0, polarisations=("vv", "vh")):
    """Scenes `days` from the event, track by track, with invalid powers of every kind."""
    random = np.random.default_rng(seed)
    moment = np.datetime64("2022-02-25T01:39", "ns")
    times = np.array([moment + np.timedelta64(round(d * 86400e9), "ns") for d in days])
    size = (len(times), *shape)
    data = {}
    for name in polarisations:
        power = random.gamma(4.4, 0.02, size).astype("float32")
        invalid = random.random(size) < missing
        power[invalid] = random.choice(np.array([np.nan, 0.0, -32768.0, np.inf], "float32"), invalid.sum())
        data[name] = (("time", "y", "x"), power)
    coords = {
        "time": times,
        "scene_track": ("time", [tracks[i % len(tracks)] for i in range(len(times))]),
        "y": 6000.0 - 10 * np.arange(shape[0]),
        "x": 646005.0 + 10 * np.arange(shape[1]),
    }
    return xr.Dataset(data, coords).rio.write_crs(32647)


def natural(cube, before, after, domain="db", min_valid=1, statistic="median"):
    """The same, as one would write it with xarray, in float64."""
    parts = {}
    for name in cube.data_vars:
        power = cube[name].astype("float64")
        power = power.where((power > 0) & np.isfinite(power))
        for part, steps in (("pre", before), ("post", after)):
            window = power.isel(time=steps)
            values = 10 * np.log10(window) if domain == "db" else window
            level = (
                xr.DataArray(nanmedian(values.values), dims=("y", "x"))
                if statistic == "median"
                else values.mean("time")
            )
            level = level if domain == "db" else 10 * np.log10(level)
            parts[name, part] = level.where((window.notnull().sum("time") >= min_valid).values)
    bands = [parts[name, "post"] for name in cube.data_vars]
    bands += [parts[name, "post"] - parts[name, "pre"] for name in cube.data_vars]
    return np.stack(bands)


def few_composites(cube, event):
    return composites(cube, event, buffers=[(60, 12), (12, 12), (12, 3), (100, 3)])


def refuse(*args, **kwargs):
    raise AssertionError("computed while the graph was built")


@pytest.mark.parametrize("min_valid", [1, 2, 3])
@pytest.mark.parametrize("statistic", ["median", "mean"])
@pytest.mark.parametrize("domain", ["db", "power"])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (5, 2), (4, 3), (40, 6)])
def test_is_the_natural_expression(before, after, domain, statistic, min_valid):
    days = [-2 * i - 1.5 for i in reversed(range(before))] + [1.5 * i + 0.5 for i in range(after)]
    cube = make_cube(days)
    stack = composite(cube, EVENT, domain=domain, statistic=statistic, min_valid=min_valid, pre_days=100)
    expected = natural(cube, slice(0, before), slice(before, None), domain, min_valid, statistic)
    assert stack.dtype == np.float32
    assert stack.dims == ("band", "y", "x")
    assert list(stack.band.values) == BANDS
    np.testing.assert_allclose(stack.values, expected, rtol=0, atol=2e-5)
    assert np.isfinite(expected).any() == (min_valid <= min(before, after))


def test_decibels_are_exact_to_a_part_in_a_million():
    power = (10 ** np.random.default_rng(1).uniform(-37, 38, 4096)).astype("float32")
    power[:4] = [1.0, np.nan, 0.70710677, 1.4142135]
    decibel = power.copy()
    decibel_strip(decibel_routine(), decibel, 4096, strip_buffers(1, "float32"))
    expected = 10 * np.log10(power.astype("float64"))
    np.testing.assert_allclose(decibel, expected, rtol=3e-7, atol=2e-7)


def test_diff_is_after_minus_before():
    cube = make_cube([-1, 1], missing=0)
    cube["vv"][:] = np.array([0.1, 0.2], "float32")[:, None, None]
    stack = composite(cube, EVENT, polarisations=("vv",))
    assert list(stack.band.values) == ["vv_post", "vv_diff"]
    np.testing.assert_allclose(stack.sel(band="vv_post"), 10 * np.log10(0.2), rtol=1e-6)
    np.testing.assert_allclose(stack.sel(band="vv_diff"), 10 * np.log10(2), rtol=1e-5)


def test_median_of_power_is_higher_for_even_counts():
    # 4.4 looks, two dates: 0.26 dB (docstring of composite, from the source papers' medians)
    cube = make_cube([-1, 1, 2], shape=(300, 300), missing=0, polarisations=("vv",))
    difference = composite(cube, EVENT, polarisations=("vv",), domain="power") - composite(
        cube, EVENT, polarisations=("vv",)
    )
    assert difference.sel(band="vv_post").mean() == pytest.approx(0.26, abs=0.02)


@pytest.mark.parametrize("chunks", [(1, 4, 5), (3, 9, 3), ((3, 4, 1, 1), (5, 4), (14,)), (-1, -1, -1)])
@pytest.mark.parametrize("function", [composite, partial(composite, statistic="mean"), dates_used, few_composites])
def test_dask_is_numpy_and_lazy(function, chunks):
    cube = make_cube([-90, -30, -20, -10, -5, -1, 2, 4, 30])
    expected = function(cube, EVENT)
    assert isinstance(expected.data, np.ndarray)
    lazy = cube.chunk(dict(zip(("time", "y", "x"), chunks, strict=True))).assign_coords(scene_track=cube.scene_track)
    with dask.config.set(scheduler=refuse):
        stack = function(lazy, EVENT)
    assert stack.chunks[-2:] == lazy.vv.chunks[1:]
    xr.testing.assert_identical(stack.compute(scheduler="sync"), expected)
    xr.testing.assert_identical(stack.compute(scheduler="threads"), expected)


@given(st.permutations(range(7)), st.integers(0, 3))
def test_order_of_dates_and_empty_dates_change_nothing(order, empty):
    cube = make_cube([-30, -20, -10, -5, -1, 2, 4])
    nothing = make_cube([-40.0 - i for i in range(empty)]) * np.float32(np.nan)
    longer = xr.concat([cube, nothing], "time") if empty else cube
    shuffled = longer.isel(time=[*order, *range(7, 7 + empty)])
    np.testing.assert_array_equal(composite(shuffled, EVENT), composite(cube, EVENT))
    lazy = shuffled.chunk({"time": 2, "y": 4})
    np.testing.assert_array_equal(composite(lazy, EVENT).compute(scheduler="sync"), composite(cube, EVENT))


@given(st.integers(1, 8), st.integers(1, 13))
def test_splitting_the_area_changes_nothing(row, column):
    cube = make_cube([-10, -5, -1, 2, 4])
    for function in (composite, partial(composite, statistic="mean"), dates_used, few_composites):
        parts = [
            [function(cube.isel(y=y, x=x), EVENT) for x in (slice(0, column), slice(column, None))]
            for y in (slice(0, row), slice(row, None))
        ]
        whole = np.block([[part.values for part in line] for line in parts])
        np.testing.assert_array_equal(whole, function(cube, EVENT))


def test_reads_only_the_dates_of_the_windows():
    cube = make_cube([-70, -30, -1, 2, 30])
    outside = {0, 4}
    read = set()

    def block(values, block_info):
        step = block_info[0]["chunk-location"][0]
        read.add(step)
        assert step not in outside
        return values

    lazy = cube.chunk({"time": 1})
    for name in ("vv", "vh"):
        lazy[name] = (("time", "y", "x"), da.map_blocks(block, lazy[name].data, dtype="float32"))
    composite(lazy, EVENT).compute(scheduler="sync")
    assert read == {1, 2, 3}


@pytest.mark.parametrize(("chunk", "reads"), [(1, 3), (-1, 1)])
def test_reads_every_chunk_once(chunk, reads):
    class Counted:
        shape, dtype, ndim = (3, 9, 14), np.dtype("float32"), 3
        count = 0

        def __getitem__(self, key):
            Counted.count += 1
            return make_cube([-30, -1, 2])["vv"].values[key]

    cube = make_cube([-30, -1, 2], polarisations=("vv",))
    expected = composite(cube, EVENT, polarisations=("vv",))
    cube["vv"] = (("time", "y", "x"), da.from_array(Counted(), chunks=(chunk, -1, -1), meta=np.empty(0, "float32")))
    stack = composite(cube, EVENT, polarisations=("vv",)).compute(scheduler="sync")
    assert Counted.count == reads
    np.testing.assert_array_equal(stack, expected)


def test_a_date_without_vh_counts_for_vv():
    cube = make_cube([-10, -5, -1, 2], missing=0)
    cube["vh"][1] = np.nan
    expected = natural(cube, slice(0, 3), slice(3, None))
    without = natural(cube.isel(time=[0, 2, 3]), slice(0, 2), slice(2, None))
    stack = composite(cube, EVENT)
    np.testing.assert_allclose(stack, expected, atol=2e-5)
    np.testing.assert_allclose(stack.sel(band="vh_diff"), without[3], atol=2e-5)
    assert not np.allclose(stack.sel(band="vv_diff"), without[2], atol=1e-3)


def test_windows_are_open_at_the_event():
    cube = make_cube([-60, -12, 0, 12, 12.001])
    stack = composite(cube, EVENT, pre_days=60, post_days=12)
    assert stack.attrs["dates_pre"] == ["2021-12-27", "2022-02-13"]
    assert stack.attrs["dates_post"] == ["2022-03-09"]
    np.testing.assert_allclose(stack, natural(cube, [0, 1], [3]), atol=2e-5)


def test_two_shocks_leave_out_what_lies_between():
    cube = make_cube([-5, -1, 3, 6])
    between = EVENT.last_before + timedelta(days=4)
    event = Event("lombok", bbox=EVENT.bbox, pre_end=EVENT.last_before, post_start=between)
    np.testing.assert_allclose(composite(cube, event), natural(cube, [0, 1], [3]), atol=2e-5)


def test_tracks_are_not_mixed():
    cube = make_cube([-10, -9, -5, -4, 2, 3], tracks=("A054", "D164"))
    for first, track in enumerate(("A054", "D164")):
        stack = composite(cube, EVENT, track=track)
        assert stack.attrs["track"] == track
        alone = cube.isel(time=slice(first, None, 2))
        np.testing.assert_array_equal(stack, composite(alone, EVENT))


def test_records_where_it_comes_from():
    cube = make_cube([-10, -5, 2]).assign_attrs(simulated=True)
    stack = composite(cube, EVENT, pre_days=20, post_days=10)
    assert stack.attrs["simulated"] is True
    assert stack.attrs["units"] == "dB"
    assert stack.attrs["event"] == "sumatra-2022"
    assert (stack.attrs["pre_days"], stack.attrs["post_days"]) == (20, 10)
    assert stack.rio.crs == cube.rio.crs
    assert stack.rio.transform() == cube.rio.transform()
    assert set(stack.coords) == {"band", "y", "x", "spatial_ref"}
    assert "simulated" not in composite(make_cube([-10, 2]), EVENT).attrs


def test_is_public():
    assert sc.composite is composite


def test_several_tracks_need_a_name():
    cube = make_cube([-10, -9, 2, 3], tracks=("D164", "A054"))
    with pytest.raises(TrackError, match="several tracks, A054, D164; name one"):
        composite(cube, EVENT)


def test_an_unknown_track_is_named():
    cube = make_cube([-10, -9, 2, 3], tracks=("A054", "D164"))
    with pytest.raises(TrackError, match=r'^track "D143" is not in this cube; it holds A054, D164$'):
        composite(cube, EVENT, track="D143")


def test_an_empty_window_is_named():
    cube = make_cube([-90, -70, 2])
    with pytest.raises(
        NoSceneError,
        match=r'D164 has no scene in the 60 days before "sumatra-2022" \(2021-12-27 to 2022-02-25\).*'
        r"2021-11-27, 2021-12-17, 2022-02-27: widen pre_days",
    ):
        composite(cube, EVENT)
    with pytest.raises(NoSceneError, match=r"in the 1 days after .*2022-02-27.*widen post_days"):
        composite(cube, EVENT, pre_days=100, post_days=1)


def test_a_cube_without_vh_says_what_to_do():
    cube = make_cube([-10, 2], polarisations=("vv",))
    with pytest.raises(BandError, match=r'"vh" is not in this cube; it holds vv: choose among these'):
        composite(cube, EVENT)


@pytest.mark.parametrize("bbox", [(99.94, 0.03, 100.07, 0.14), (100.31, 1, 100.33, 2), (-79.69, 0.03, -79.67, 0.05)])
def test_an_event_elsewhere_is_refused(bbox):
    cube = make_cube([-10, 2])
    with pytest.raises(AreaError, match=r'"far" .* lies outside the cube \(100\.31'):
        composite(cube, Event("far", bbox=bbox, time="2022-02-25"))


@pytest.mark.parametrize("bbox", [(179.5, -17, -179.5, -16), (179.99, -17, -179.99, -16), (170, -20, -170, -10)])
def test_a_box_across_the_antimeridian_is_found(bbox):
    cube = make_cube([-10, 2])
    cube = cube.assign_coords(x=cube.x - 646005 + 819900, y=cube.y - 6000 + 8177000).rio.write_crs(32701 + 59)
    assert composite(cube, Event("fiji", bbox=bbox, time="2022-02-25")).shape == (4, 9, 14)
    away = Event("samoa", bbox=(-173, -17, -171, -16), time="2022-02-25")
    with pytest.raises(AreaError):
        composite(cube, away)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"polarisations": "vv"}, "sequence"),
        ({"polarisations": ()}, "sequence"),
        ({"domain": "dB"}, '"db" or "power"'),
        ({"min_valid": 0}, "min_valid"),
        ({"pre_days": 0}, "pre_days"),
        ({"post_days": -1}, "post_days"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        composite(make_cube([-10, 2]), EVENT, **options)


def test_a_stack_says_which_radiometry_it_holds():
    cube = make_cube([-30, -18, 6])
    assert "radiometry" not in composite(cube, EVENT, pre_days=60, post_days=24).attrs
    cube["vv"].attrs["radiometry"] = "sigma0 on the ellipsoid"
    assert "radiometry" not in composite(cube, EVENT, pre_days=60, post_days=24).attrs
    cube["vh"].attrs["radiometry"] = "sigma0 on the ellipsoid"
    stack = composite(cube, EVENT, pre_days=60, post_days=24)
    assert stack.attrs["radiometry"] == "sigma0 on the ellipsoid, dB"


def test_composites_are_composite_for_every_pair():
    cube = make_cube([-364, -200, -100, -50, -40, -30, -20, -10, -5, -1, 2, 11, 20, 40, 58])
    stacks = composites(cube, EVENT)
    assert stacks.dims == ("buffer", "band", "y", "x")
    assert list(stacks.buffer.values) == (
        ["365-12", "240-12", "120-12", "60-12", "60-24", "60-48", "12-12", "24-24", "48-48", "60-60"]
    )
    for pre, post in BUFFERS:
        one = composite(cube, EVENT, pre_days=pre, post_days=post)
        stack = stacks.sel(buffer=f"{pre}-{post}")
        np.testing.assert_array_equal(stack, one)
        assert (stack.pre_days, stack.post_days) == (pre, post)
        assert (stack.pre_count, stack.post_count) == (len(one.attrs["dates_pre"]), len(one.attrs["dates_post"]))


@pytest.mark.parametrize("chunk", [1, 2, -1])
def test_composites_read_every_chunk_once(chunk):
    reads = []

    def block(values, block_info):
        reads.append(block_info[0]["array-location"])
        return values

    cube = make_cube([-90, -50, -30, -10, -5, 2, 20, 70], polarisations=("vv",))
    expected = composites(cube, EVENT, buffers=[(60, 12), (12, 12), (60, 24)], polarisations=("vv",))
    lazy = cube.chunk(time=chunk, y=4)
    lazy["vv"] = (("time", "y", "x"), da.map_blocks(block, lazy["vv"].data, dtype="float32", meta=np.empty((0, 0, 0))))
    stacks = composites(lazy, EVENT, buffers=[(60, 12), (12, 12), (60, 24)], polarisations=("vv",))
    reads.clear()
    np.testing.assert_array_equal(stacks.compute(scheduler="sync"), expected)
    dates = {date for (first, stop), *_ in reads for date in range(first, stop)}
    assert dates >= {1, 2, 3, 4, 5, 6}
    assert not dates & ({0, 7} if chunk == 1 else set())
    assert len(reads) == len({str(place) for place in reads})


def test_many_dates_each_a_chunk_and_polarisations_chunked_apart():
    """Dask warns of many chunks where it aligns arrays, and warnings are errors here."""
    cube = make_cube([*range(-360, 0, 8), 3, 9])
    expected = composites(cube, EVENT)
    lazy = cube.chunk(time=1)
    lazy["vh"] = lazy["vh"].chunk(time=7, y=4, x=5)
    stacks = composites(lazy, EVENT)
    np.testing.assert_array_equal(stacks, expected)
    assert stacks.data.chunks[2:] == lazy["vv"].data.chunks[1:]


def test_says_which_pairs_have_no_scene():
    cube = make_cube([-50, -30, 2, 20])
    with pytest.raises(NoSceneError, match="for 2 of 3 pairs of windows, 12-12, 24-60: leave them out of buffers="):
        composites(cube, EVENT, buffers=[(60, 12), (12, 12), (24, 60)])


@pytest.mark.parametrize("buffers", [[], [(60, 12), (60, 12)], [60], "60-12", [(0, 12)]])
def test_buffers_are_pairs_of_days(buffers):
    with pytest.raises(InputError, match=r"pairs? of days|days > 0"):
        composites(make_cube([-1, 1]), EVENT, buffers=buffers)


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 1), (4, 3)])
def test_steps_are_those_nearest_to_the_event(before, after):
    cube = make_cube([-50, -30, -10, -5, -1, 2, 4, 8])
    stack = composite(cube, EVENT, pre_steps=before, post_steps=after)
    np.testing.assert_allclose(stack, natural(cube, slice(5 - before, 5), slice(5, 5 + after)), atol=2e-5)
    assert len(stack.attrs["dates_pre"]) == before
    assert len(stack.attrs["dates_post"]) == after


def test_too_few_steps_are_an_error():
    cube = make_cube([-50, -30, 2])
    with pytest.raises(NoSceneError, match="2 of the 3 scenes asked for in the 60 days before"):
        composite(cube, EVENT, pre_steps=3)
    with pytest.raises(InputError, match="post_steps must be a whole number"):
        composite(cube, EVENT, post_steps=0)


def test_counts_the_dates_used():
    cube = make_cube([-90, -30, -10, -5, 2, 4, 30], missing=0.4)
    counts = dates_used(cube, EVENT)
    assert counts.dtype == np.uint16
    assert list(counts.band.values) == ["vv_pre", "vh_pre", "vv_post", "vh_post"]
    for name in ("vv", "vh"):
        valid = ((cube[name] > 0) & np.isfinite(cube[name])).values
        np.testing.assert_array_equal(counts.sel(band=f"{name}_pre"), valid[1:4].sum(0))
        np.testing.assert_array_equal(counts.sel(band=f"{name}_post"), valid[4:6].sum(0))
    stack = composite(cube, EVENT, min_valid=2)
    enough = (counts.sel(band=["vv_pre", "vv_post"]) >= 2).all("band")
    np.testing.assert_array_equal(np.isfinite(stack.sel(band="vv_diff")), enough)


def test_statistic_is_one_of_two():
    with pytest.raises(InputError, match='"median" or "mean"'):
        composite(make_cube([-1, 1]), EVENT, statistic="mode")


def test_narrow_cubes_in_any_order_of_dimensions():
    cube = make_cube([-3, -2, -1, 1, 2])
    other = cube.transpose("x", "y", "time")
    other = other.copy(data={name: np.ascontiguousarray(values) for name, values in other.data_vars.items()})
    np.testing.assert_array_equal(composite(other, EVENT), composite(cube, EVENT))


def test_dates_outside_the_windows_are_not_copied():
    # Values of float64 are copied to float32 to be read: those of three dates, not of 63.
    cube = make_cube([-30 - i / 10 for i in range(60)] + [-2, -1, 1], shape=(100, 200)).astype("float64")
    composite(cube, EVENT, pre_days=10)
    tracemalloc.start()
    composite(cube, EVENT, pre_days=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 100 * 200 * 4


def test_powers_that_float32_does_not_hold_are_invalid():
    cube = make_cube([-3, -2, -1, 1, 2], missing=0)
    wide = cube.astype("float64")
    wide["vv"][0] = 1e300
    expected = composite(cube.where(cube.time != cube.time[0]), EVENT)
    np.testing.assert_array_equal(composite(wide, EVENT).sel(band="vv_diff"), expected.sel(band="vv_diff"))


def test_numbers_may_be_numpys_and_must_be_whole():
    cube = make_cube([-3, -2, -1, 1, 2])
    assert len(composite(cube, EVENT, pre_steps=np.int64(2)).attrs["dates_pre"]) == 2
    for bad in (1.7, np.inf, "2"):
        with pytest.raises(InputError, match="min_valid"):
            composite(cube, EVENT, min_valid=bad)
    for bad in (200_000, 1e6, np.inf):
        with pytest.raises(InputError, match="pre_days"):
            composite(cube, EVENT, pre_days=bad)
