"""Loss of coherence over an event."""

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from foreign_rasters import make_cube as plain_cube
from foreign_rasters import nothing_may_compute, write_raster
from hypothesis import given
from hypothesis import strategies as st

from sarcube.change.baselines.coherence import coherence_loss
from sarcube.cube.foreign.insar import add_insar
from sarcube.errors import BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

EVENT = Event("hokkaido-2018", bbox=(100.30, 0.00, 100.33, 0.06), time="2018-09-05T18:07Z")
SHAPE = (14, 17)
PASSES = ["2018-08-01", "2018-08-13", "2018-08-25", "2018-09-06", "2018-09-18"]
PAIRS = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (3, 4)]  # three before, two across, one after


def make_cube(pairs=PAIRS, tracks=None, seed=0, missing=0.2):
    random = np.random.default_rng(seed)
    coherence = random.uniform(0.05, 1, (len(pairs), *SHAPE)).astype("float32")
    coherence[random.random(coherence.shape) < missing] = np.nan
    passes = np.array(PASSES, "M8[ns]") + np.timedelta64(20, "h")
    ends = np.array(pairs).reshape(-1, 2)
    return xr.Dataset(
        {"coherence": (("timepair", "y", "x"), coherence)},
        {
            "pair_start": ("timepair", passes[ends[:, 0]]),
            "pair_end": ("timepair", passes[ends[:, 1]]),
            "pair_track": ("timepair", np.array(tracks or ["D046"] * len(pairs), object)),
            "y": 6000.0 - 10 * np.arange(SHAPE[0]),
            "x": 646005.0 + 10 * np.arange(SHAPE[1]),
        },
    ).rio.write_crs(32647)


def median(values):
    """NumPy's, without its warning where all is NaN."""
    found = np.full(values.shape[1:], np.nan, values.dtype)
    seen = (~np.isnan(values)).any(axis=0)
    found[seen] = np.nanmedian(values[:, seen], axis=0)
    return found


def test_is_the_median_before_less_the_median_across():
    cube = make_cube(missing=0.6)
    loss = coherence_loss(cube, EVENT)
    values = cube.coherence.values
    expected = median(values[:3]) - median(values[3:5])
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(loss, expected)
    assert loss.dtype == np.float32
    assert loss.dims == ("y", "x")
    assert loss.rio.crs.to_epsg() == 32647
    assert loss.attrs["pairs_pre"] == ["2018-08-01/2018-08-13", "2018-08-01/2018-08-25", "2018-08-13/2018-08-25"]
    assert loss.attrs["pairs_event"] == ["2018-08-13/2018-09-06", "2018-08-25/2018-09-06"]
    assert loss.attrs["track"] == "D046"
    assert loss.attrs["event"] == "hokkaido-2018"


def test_lost_coherence_is_positive():
    cube = make_cube(missing=0)
    cube["coherence"][:] = 0.7
    cube["coherence"][3:5, 4, 6] = 0.1
    loss = coherence_loss(cube, EVENT)
    assert float(loss[4, 6]) == pytest.approx(0.6)
    assert float(np.abs(loss).sum()) == pytest.approx(0.6)


def test_a_pass_at_the_very_moment_is_neither_before_nor_after():
    at_the_pass = Event("x", EVENT.bbox, time="2018-08-25T20:00Z")
    loss = coherence_loss(make_cube(), at_the_pass)
    assert loss.attrs["pairs_pre"] == ["2018-08-01/2018-08-13"]
    assert loss.attrs["pairs_event"] == ["2018-08-13/2018-09-06"]


def test_an_event_that_lasts_is_spanned_whole():
    storm = Event("x", EVENT.bbox, pre_end="2018-08-20", post_start="2018-09-01")
    loss = coherence_loss(make_cube(), storm)
    assert loss.attrs["pairs_pre"] == ["2018-08-01/2018-08-13"]
    assert loss.attrs["pairs_event"] == ["2018-08-13/2018-09-06"]


@pytest.mark.parametrize("match", [False, True])
@pytest.mark.parametrize("chunks", [(1, 14, 17), (6, 5, 6), (4, 14, 3)])
def test_dask_is_numpy_and_lazy(chunks, match):
    cube = make_cube()
    expected = coherence_loss(cube, EVENT, match_histograms=match)
    time, y, x = chunks
    lazy = cube.chunk({"timepair": time, "y": y, "x": x}).assign_coords(cube.coords)
    with dask.config.set(scheduler=nothing_may_compute):
        loss = coherence_loss(lazy, EVENT, match_histograms=match)
    assert loss.chunks == lazy.coherence.chunks[1:]
    xr.testing.assert_identical(loss.compute(scheduler="sync"), expected)


@given(st.integers(0, 1000), st.permutations(range(len(PAIRS))))
def test_order_and_missing_pairs_change_nothing(seed, order):
    cube = make_cube(seed=seed)
    expected = coherence_loss(cube, EVENT)
    np.testing.assert_array_equal(coherence_loss(cube.isel(timepair=list(order)), EVENT), expected)
    hole = cube.isel(timepair=[0, 3]).copy(deep=True)
    hole["coherence"][:] = np.nan
    wider = xr.concat([cube, hole], "timepair")
    np.testing.assert_array_equal(coherence_loss(wider, EVENT), expected)
    north = coherence_loss(cube.isel(y=slice(0, 5)), EVENT)
    np.testing.assert_array_equal(north, expected[:5])


def test_matched_histograms_take_out_what_the_whole_scene_lost():
    cube = make_cube(pairs=[(1, 2), (2, 3)], missing=0)
    cube["coherence"][1] = cube["coherence"][0] ** 2 * 0.5  # every pixel loses, none changes its rank
    assert float(coherence_loss(cube, EVENT).min()) > 0
    np.testing.assert_array_equal(coherence_loss(cube, EVENT, match_histograms=True), np.zeros(SHAPE, "float32"))
    cube["coherence"][1, 4, 6] = 0.0
    loss = coherence_loss(cube, EVENT, match_histograms=True)
    assert np.unravel_index(loss.argmax(), SHAPE) == (4, 6)
    assert loss.attrs["match_histograms"] == "true"
    cube["coherence"][0, 0, 0] = cube["coherence"][1, 0, 1] = np.nan
    loss = coherence_loss(cube, EVENT, match_histograms=True)
    assert np.argwhere(np.isnan(loss.values)).tolist() == [[0, 0], [0, 1]]


def test_tracks_are_not_mixed():
    cube = make_cube(PAIRS + PAIRS, ["D046"] * 6 + ["A068"] * 6)
    np.testing.assert_array_equal(
        coherence_loss(cube, EVENT, track="A068"), coherence_loss(cube.isel(timepair=slice(6, 12)), EVENT)
    )
    with pytest.raises(TrackError, match="several tracks, A068, D046"):
        coherence_loss(cube, EVENT)
    with pytest.raises(TrackError, match='no pairs of track "A141", only of A068, D046'):
        coherence_loss(cube, EVENT, track="A141")


def test_pairs_that_do_not_say_their_track():
    cube = make_cube().drop_vars("pair_track")
    expected = coherence_loss(make_cube(), EVENT)
    assert "track" not in coherence_loss(cube, EVENT).attrs
    one = cube.assign_coords(scene_track=("time", ["D046", "D046"]))
    xr.testing.assert_identical(coherence_loss(one, EVENT), expected)
    xr.testing.assert_identical(coherence_loss(one, EVENT, track="D046"), expected)
    several = cube.assign_coords(scene_track=("time", ["D046", "A068"]))
    for wrong, track in ((several, None), (one, "A068"), (cube, "A068")):
        with pytest.raises(TrackError, match="do not say their track"):
            coherence_loss(wrong, EVENT, track=track)


def test_no_such_pair_is_an_error_that_names_those_there_are():
    cube = make_cube()
    with pytest.raises(NoSceneError, match=r'no pair across "hokkaido-2018".*2018-08-01/2018-08-13'):
        coherence_loss(cube.isel(timepair=[0, 1, 2, 5]), EVENT)
    with pytest.raises(NoSceneError, match=r'no pair before "hokkaido-2018".*2018-08-25/2018-09-06'):
        coherence_loss(cube.isel(timepair=[3, 4, 5]), EVENT)
    with pytest.raises(NoSceneError, match="and 7 more"):
        coherence_loss(cube.isel(timepair=[3, 4, 5] * 4), EVENT)
    with pytest.raises(NoSceneError, match="the cube holds none"):
        coherence_loss(cube.isel(timepair=[]), EVENT)


def test_missing_layers_name_the_remedy():
    with pytest.raises(BandError, match=r"the cube holds nothing: run sc\.add_insar first"):
        coherence_loss(make_cube().drop_vars("coherence"), EVENT)
    with pytest.raises(InputError, match="lack pair_start and pair_end"):
        coherence_loss(make_cube().drop_vars(["pair_start", "pair_end"]), EVENT)


def test_says_that_data_are_simulated():
    assert coherence_loss(make_cube().assign_attrs(simulated=True), EVENT).attrs["simulated"] is True


def test_works_on_what_add_insar_gives(tmp_path):
    values = np.random.default_rng(0).uniform(0.05, 1, (2, 40, 50)).astype("float32")
    names = ["S1AA_20160616T161201_20160628T161202_VVP012_INT80_G_ueF_355F_corr.tif"]
    names += ["S1AB_20160628T161202_20160704T161120_VVP006_INT40_G_ueF_4D09_corr.tif"]
    files = [write_raster(tmp_path / name, layer, nodata=0) for name, layer in zip(names, values, strict=True)]
    cube = add_insar(plain_cube((7, 11), tracks=["D164"] * 2), files)
    loss = coherence_loss(cube, Event("x", (99.8, 0.8, 100.0, 1.0), time="2016-07-01"))
    np.testing.assert_array_equal(loss, values[0] - values[1])
    assert loss.attrs["track"] == "D164"
