"""InSAR layers of HyP3 and ISCE2 along `timepair`."""

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from foreign_rasters import LEFT, TOP, make_cube, nothing_may_compute, write_raster

from sarcube.cube.foreign.insar import add_insar
from sarcube.errors import AreaError, InputError, ReadError, TrackError

FIRST = "S1AA_20160616T161201_20160628T161202_VVP012_INT80_G_ueF_355F"
SECOND = "S1AB_20160628T161202_20160704T161120_VVP006_INT40_G_ueF_4D09"
BURST = "S1_136231_IW2_20200604_20200616_VV_INT80_12E3"


def coherence(seed=0):
    return np.random.default_rng(seed).uniform(0.05, 1, (40, 50)).astype(np.float32)


def phase(seed=0):
    return np.random.default_rng(seed).uniform(-3, 3, (40, 50)).astype(np.float32)


def one_track(chunks=(40, 50)):
    return make_cube(chunks, tracks=["D164"] * 2)


def test_hyp3_files_join_on_pairs(tmp_path):
    files = [
        write_raster(tmp_path / f"{SECOND}_corr.tif", coherence(2), nodata=0),
        write_raster(tmp_path / f"{FIRST}_unw_phase.tif", 10 * phase(3), nodata=0),
        write_raster(tmp_path / f"{FIRST}_corr.tif", coherence(1), nodata=0),
        write_raster(tmp_path / f"{BURST}_wrapped_phase.tif", phase(4), nodata=0),
    ]
    with dask.config.set(scheduler=nothing_may_compute):
        cubes = [add_insar(one_track(chunks), files) for chunks in ((40, 50), (7, 11))]
    cube, other = (cube.compute() for cube in cubes)
    xr.testing.assert_identical(cube, other)
    assert dict(cube.sizes) == {"time": 2, "y": 40, "x": 50, "timepair": 3}
    start, end = cube.pair_start.values, cube.pair_end.values
    assert start.tolist() == sorted(start.tolist())
    assert str(start[0]).startswith("2016-06-16T16:12:01")
    assert str(end[0]).startswith("2016-06-28T16:12:02")
    assert [str(moment)[:10] for moment in (start[2], end[2])] == ["2020-06-04", "2020-06-16"]
    assert set(cube.pair_track.values) == {"D164"}
    np.testing.assert_array_equal(cube.coherence[:2], [coherence(1), coherence(2)])
    np.testing.assert_array_equal(cube.unwrapped_phase[0], 10 * phase(3))
    np.testing.assert_array_equal(cube.interferogram[2], phase(4))
    # What a pair has not is a hole.
    assert cube.coherence[2].isnull().all()
    assert cube.unwrapped_phase[1:].isnull().all()
    for name, units in (("coherence", "1"), ("interferogram", "radian"), ("unwrapped_phase", "radian")):
        assert cube[name].dtype == np.float32
        assert cube[name].dims == ("timepair", "y", "x")
        assert cube[name].attrs["units"] == units
        assert cube[name].attrs["grid_mapping"] == "spatial_ref"
        assert cube[name].attrs["long_name"]
    assert cube.coherence.attrs["source"] == f"{FIRST}_corr.tif, {SECOND}_corr.tif"


@pytest.mark.parametrize("nodata", [0, None])
def test_zero_is_no_data_declared_or_not(tmp_path, nodata):
    values = coherence()
    values[:5] = 0
    path = write_raster(tmp_path / f"{FIRST}_corr.tif", values, nodata=nodata)
    found = add_insar(one_track(), [path]).coherence[0]
    assert found[:5].isnull().all()
    np.testing.assert_array_equal(found[5:], values[5:])


def test_isce_files_of_two_bands_take_the_second(tmp_path):
    folder = tmp_path / "20160616_20160628" / "merged"
    both = np.stack([1000 * coherence(), coherence(7)])
    files = [
        write_raster(folder / "topophase.cor.geo.tif", both),
        write_raster(folder / "filt_topophase.unw.geo.tif", np.stack([1000 * coherence(), 9 * phase(8)])),
        write_raster(folder / "filt_topophase.flat.geo.tif", (5 * np.exp(1j * phase(9))).astype(np.complex64)),
    ]
    cube = add_insar(one_track(), files)
    np.testing.assert_array_equal(cube.coherence[0], coherence(7))
    np.testing.assert_array_equal(cube.unwrapped_phase[0], 9 * phase(8))
    np.testing.assert_allclose(cube.interferogram[0], phase(9), atol=1e-5)
    assert str(cube.pair_end.values[0])[:10] == "2016-06-28"


def test_fill_of_a_complex_interferogram_is_nan(tmp_path):
    values = np.exp(1j * phase()).astype(np.complex64)
    values[:3], values[3] = 0, np.nan
    found = add_insar(
        one_track(), [write_raster(tmp_path / "20160616-20160628" / "fine.int.tif", values)]
    ).interferogram
    assert found[0, :4].isnull().all()
    assert found[0, 4:].notnull().all()


def test_pairs_of_two_tracks_are_kept_apart(tmp_path):
    one = write_raster(tmp_path / f"{FIRST}_corr.tif", coherence(1))
    two = write_raster(tmp_path / f"{BURST}_corr.tif", coherence(2))
    third = write_raster(tmp_path / f"{SECOND}_unw_phase.tif", phase(3))
    with pytest.raises(TrackError, match="A054, D164"):
        add_insar(make_cube(), [one])
    with dask.config.set(scheduler=nothing_may_compute):
        cube = add_insar(make_cube(), [two], track="D164")
        cube = add_insar(cube, [one, third], track="A054")
    assert cube.pair_track.values.tolist() == ["A054", "A054", "D164"]
    np.testing.assert_array_equal(cube.coherence, [coherence(1), np.full((40, 50), np.nan), coherence(2)])
    assert cube.unwrapped_phase.isnull().all(["y", "x"]).values.tolist() == [True, False, True]
    assert cube.coherence.attrs["source"] == f"{two.name}, {one.name}"
    with pytest.raises(InputError, match="already holds the pair"):
        add_insar(cube, [one], track="A054")
    # The same dates on another track are another pair.
    assert add_insar(cube, [one], track="D164").sizes["timepair"] == 4


def test_the_signature_of_a_url_names_no_dates_and_is_not_shown():
    signed = "https://example.com/20160616_corr.tif?X-Amz-Date=20200101T000000Z&X-Amz-Signature=secret"
    with pytest.raises(InputError, match=r"example\.com/20160616_corr\.tif does not name the two") as caught:
        add_insar(one_track(), [signed])
    assert "secret" not in str(caught.value)


def test_another_grid_is_taken_to_the_cubes(tmp_path):
    values = np.arange(20, dtype=np.float32).reshape(4, 5) / 20 + 0.01
    path = write_raster(tmp_path / f"{FIRST}_corr.tif", values, transform=Affine(80, 0, LEFT, 0, -80, TOP))
    found = add_insar(one_track(), [path]).coherence[0]
    np.testing.assert_array_equal(found[:32, :40], np.kron(values, np.ones((8, 8)))[:, :40])
    assert found[32:].isnull().all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (f"{FIRST}_amp.tif", "does not say what it holds"),
        (f"{FIRST}_conncomp.tif", "does not say what it holds"),
        (f"{FIRST}_dem.tif", "does not say what it holds"),
        ("pair_corr.tif", "two dates"),
        ("20160616_corr.tif", "two dates"),
        ("20160616_20160628_20160710_corr.tif", "two dates"),
        ("20160616_20160616_corr.tif", "two dates"),
        ("20161316_20160628_corr.tif", "is no date"),
    ],
)
def test_names_that_do_not_tell(tmp_path, name, reason):
    path = write_raster(tmp_path / name, coherence())
    with pytest.raises(InputError, match=reason):
        add_insar(one_track(), [path])


def test_what_cannot_be_used(tmp_path):
    good = write_raster(tmp_path / f"{FIRST}_corr.tif", coherence())
    twice = write_raster(tmp_path / "other" / f"{FIRST}_corr.tif", coherence())
    with pytest.raises(InputError, match="are both coherence"):
        add_insar(one_track(), [good, twice])
    with pytest.raises(InputError, match="no InSAR file"):
        add_insar(one_track(), [])
    with pytest.raises(TrackError, match='"A001"'):
        add_insar(one_track(), [good], track="A001")
    with pytest.raises(InputError, match="3 bands"):
        add_insar(one_track(), [write_raster(tmp_path / "3" / f"{FIRST}_corr.tif", np.ones((3, 40, 50), np.float32))])
    with pytest.raises(InputError, match="uint8"):
        add_insar(one_track(), [write_raster(tmp_path / "u" / f"{FIRST}_corr.tif", np.ones((40, 50), np.uint8))])
    with pytest.raises(InputError, match="complex64"):
        add_insar(one_track(), [write_raster(tmp_path / "c" / f"{FIRST}_corr.tif", np.ones((40, 50), np.complex64))])
    elsewhere = Affine(10, 0, 0, 0, -10, TOP)
    away = write_raster(tmp_path / "away" / f"{FIRST}_corr.tif", coherence(), transform=elsewhere)
    with pytest.raises(AreaError):
        add_insar(one_track(), [away])
    with pytest.raises(ReadError):
        add_insar(one_track(), [tmp_path / f"{FIRST}_unw_phase.tif"])
    amplitude = write_raster(tmp_path / "a" / f"{FIRST}_corr.tif", 300 * coherence())
    with pytest.raises(InputError, match="between 0 and 1"):
        add_insar(one_track(), [amplitude]).compute()
