"""Layover and shadow masks of HyP3 and OPERA in a cube's codes."""

import dask
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from foreign_rasters import LEFT, TOP, make_cube, nothing_may_compute, write_raster

import sarcube as sc
from sarcube.cube.foreign.masks import add_layover_shadow, codes_from_hyp3, codes_from_opera
from sarcube.errors import AreaError, InputError, ReadError, TrackError

OPERA = np.array([0, 1, 2, 3, 255], np.uint8)


def hyp3(shape=(40, 50)):
    return np.random.default_rng(0).choice(np.array([0, 1, 3, 5, 7, 9, 17, 25, 21, 31], np.uint8), shape)


def opera(shape=(40, 50), seed=1):
    return np.random.default_rng(seed).choice(OPERA, shape)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, 255),
        (1, 0),
        (1 + 2, 2),
        (1 + 4, 2),
        (1 + 2 + 4, 2),
        (1 + 8, 1),
        (1 + 16, 1),
        (1 + 8 + 16, 1),
        (1 + 4 + 16, 3),
        (1 + 2 + 16, 3),
        (31, 3),
    ],
)
def test_each_of_hyp3s_sums_has_its_code(value, code):
    assert codes_from_hyp3(np.array([value], np.uint8)).tolist() == [code]


def test_every_hyp3_value_is_one_of_operas():
    assert set(codes_from_hyp3(np.arange(32, dtype=np.uint8))) == set(OPERA)


@pytest.mark.parametrize(("convert", "value"), [(codes_from_hyp3, 32), (codes_from_hyp3, 255), (codes_from_opera, 4)])
def test_values_of_another_mask_are_refused(convert, value):
    with pytest.raises(InputError, match=f"not {value}"):
        convert(np.array([0, value], np.uint8))


def test_a_hyp3_mask_becomes_the_layer_of_its_track(tmp_path):
    path = write_raster(tmp_path / "S1A_IW_20180128T161201_DVP_RTC30_G_gpuned_FD6A_ls_map.tif", hyp3())
    with dask.config.set(scheduler=nothing_may_compute):
        cubes = [add_layover_shadow(make_cube(c), path, track="D164", source="hyp3") for c in ((40, 50), (7, 11))]
    cube, other = (cube.compute() for cube in cubes)
    xr.testing.assert_identical(cube, other)
    assert cube.layover_shadow.dims == ("track", "y", "x")
    assert cube.layover_shadow.dtype == np.uint8
    assert list(cube.track.values) == ["A054", "D164"]
    np.testing.assert_array_equal(cube.layover_shadow.sel(track="D164"), codes_from_hyp3(hyp3()))
    assert (cube.layover_shadow.sel(track="A054") == 255).all()
    assert cube.layover_shadow.attrs["flag_values"] == [0, 1, 2, 3, 255]
    assert cube.layover_shadow.attrs["source"] == f"D164: HyP3 layover/shadow map ({path.name})"
    selected = sc.select_track(cube, "D164").layover_shadow
    np.testing.assert_array_equal(selected, codes_from_hyp3(hyp3()))


def test_masks_of_two_tracks_and_their_replacement(tmp_path):
    one = write_raster(tmp_path / "OPERA_1_mask.tif", opera(seed=1), nodata=255)
    two = write_raster(tmp_path / "OPERA_2_mask.tif", opera(seed=2), nodata=255)
    cube = add_layover_shadow(make_cube(), one, track="D164", source="opera")
    cube = add_layover_shadow(cube, two, track="A054", source="opera")
    np.testing.assert_array_equal(cube.layover_shadow, [opera(seed=2), opera(seed=1)])
    assert cube.layover_shadow.attrs["source"].count(":") == 2
    cube = add_layover_shadow(cube, two, track="D164", source="opera")
    np.testing.assert_array_equal(cube.layover_shadow, [opera(seed=2), opera(seed=2)])
    assert "OPERA_1" not in cube.layover_shadow.attrs["source"]


def test_computed_layers_of_other_tracks_stay(tmp_path):
    cube = make_cube((7, 11)).assign_coords(track=("track", ["A054", "D164"]))
    cube["incidence_angle"] = (("track", "y", "x"), np.full((2, 40, 50), 39, np.float32))
    cube["layover_shadow"] = (
        ("track", "y", "x"),
        np.stack([opera(seed=5), opera(seed=6)]),
        {"source": "reference orbit"},
    )
    path = write_raster(tmp_path / "OPERA_mask.tif", opera())
    added = add_layover_shadow(cube, path, track="D164", source="opera")
    np.testing.assert_array_equal(added.layover_shadow, [opera(seed=5), opera()])
    xr.testing.assert_identical(added.incidence_angle, cube.incidence_angle)
    assert added.layover_shadow.attrs["source"] == "reference orbit; D164: OPERA RTC-S1 mask (OPERA_mask.tif)"
    assert "D164" not in cube.layover_shadow.attrs["source"]


def test_bursts_are_joined_the_first_that_has_data_counts(tmp_path):
    first, second = opera((40, 30), 1), opera((40, 30), 2)
    paths = [
        write_raster(tmp_path / "OPERA_a_mask.tif", first),
        write_raster(tmp_path / "OPERA_b_mask.tif", second, transform=Affine(10, 0, LEFT + 200, 0, -10, TOP)),
    ]
    found = add_layover_shadow(make_cube(), paths, track="D164", source="opera").layover_shadow[1].values
    np.testing.assert_array_equal(found[:, :20], first[:, :20])
    np.testing.assert_array_equal(found[:, 30:], second[:, 10:])
    overlap = np.where(first[:, 20:] == 255, second[:, :10], first[:, 20:])
    np.testing.assert_array_equal(found[:, 20:30], overlap)


def test_beside_a_mask_is_no_data_never_clear(tmp_path):
    path = write_raster(tmp_path / "m_ls_map.tif", np.ones((20, 20), np.uint8))
    found = add_layover_shadow(make_cube(), path, track="D164", source="hyp3").layover_shadow[1].values
    assert (found[:20, :20] == 0).all()
    assert (found == 0).sum() == 400
    assert (found == 255).sum() == 40 * 50 - 400


def test_one_kind_is_not_read_as_the_other(tmp_path):
    theirs = write_raster(tmp_path / "S1A_ls_map.tif", np.ones((40, 50), np.uint8))
    with pytest.raises(InputError, match='source="hyp3"'):
        add_layover_shadow(make_cube(), theirs, track="D164", source="opera")
    static = "OPERA_L2_RTC-S1-STATIC_T115-245714-IW1_20140403_S1A_30_v1.0_mask.tif"
    with pytest.raises(InputError, match='source="opera"'):
        add_layover_shadow(make_cube(), write_raster(tmp_path / static, opera()), track="D164", source="hyp3")
    renamed = write_raster(tmp_path / "m.tif", hyp3())
    with pytest.raises(InputError, match=r"m\.tif: OPERA's mask values"):
        add_layover_shadow(make_cube(), renamed, track="D164", source="opera").compute()


def test_what_cannot_be_used(tmp_path):
    path = write_raster(tmp_path / "m.tif", opera())
    with pytest.raises(TrackError, match='"D143" is not in this cube; it holds A054, D164'):
        add_layover_shadow(make_cube(), path, track="D143", source="opera")
    one_layer = make_cube().assign_coords(track=("track", ["A054"])).assign(a=("track", [1]))
    with pytest.raises(TrackError, match="add_geometry"):
        add_layover_shadow(one_layer, path, track="D164", source="opera")
    with pytest.raises(TrackError, match="none"):
        add_layover_shadow(make_cube().drop_vars("scene_track"), path, track="D164", source="opera")
    with pytest.raises(InputError, match="hyp3"):
        add_layover_shadow(make_cube(), path, track="D164", source="snap")
    with pytest.raises(InputError, match="no mask"):
        add_layover_shadow(make_cube(), [], track="D164", source="opera")
    wrong = write_raster(tmp_path / "f.tif", opera().astype(np.float32))
    with pytest.raises(InputError, match="1 bands of float32"):
        add_layover_shadow(make_cube(), wrong, track="D164", source="opera")
    away = write_raster(tmp_path / "away.tif", opera(), transform=Affine(10, 0, 0, 0, -10, TOP))
    with pytest.raises(AreaError):
        add_layover_shadow(make_cube(), [path, away], track="D164", source="opera")
    with pytest.raises(ReadError):
        add_layover_shadow(make_cube(), tmp_path / "missing.tif", track="D164", source="opera")
