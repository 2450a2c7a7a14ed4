import numpy as np
import pytest
import xarray as xr
from simple_stack import make_stack

import sarcube as sc
from sarcube.change.bands import BOEHM_2022, NAVA_2021
from sarcube.errors import BandError, InputError, TrackError
from sarcube.sar.look_codes import FLAG_MEANINGS, FLAG_VALUES


def cube_on(stack, *, seed=3, tracks=("A054", "D164")):
    """Layers of the ground on a stack's grid; an incidence angle per track."""
    draws = np.random.default_rng(seed)
    shape = (stack.sizes["y"], stack.sizes["x"])
    layers = {
        "elevation": (("y", "x"), draws.normal(800, 100, shape).astype(np.float32), {"units": "m"}),
        "slope": (("y", "x"), draws.uniform(0, 60, shape).astype(np.float32), {"units": "degree"}),
        "aspect": (("y", "x"), draws.uniform(0, 360, shape).astype(np.float32), {"units": "degree"}),
        "curvature": (("y", "x"), draws.normal(0, 0.01, shape).astype(np.float32), {"units": "m-1"}),
        "incidence_angle": (
            ("track", "y", "x"),
            np.stack([np.full(shape, 30 + n, np.float32) for n in range(len(tracks))]),
            {"units": "degree"},
        ),
    }
    coords = {"y": stack["y"], "x": stack["x"], "track": list(tracks), "scene_track": ("time", list(tracks))}
    return xr.Dataset(layers, coords=coords)


def test_bands_of_the_stack_before_the_event_and_of_the_ground():
    stack = make_stack(20, 30)
    cube = cube_on(stack)
    chosen = sc.select_bands(stack, ("vh_pre", "vv_diff", "slope", "incidence_angle"), cube=cube)
    assert chosen.dims == ("band", "y", "x")
    assert chosen.dtype == np.float32
    assert chosen["band"].to_numpy().tolist() == ["vh_pre", "vv_diff", "slope", "incidence_angle"]
    assert chosen["band_units"].to_numpy().tolist() == ["dB", "dB", "degree", "degree"]
    values = stack.to_numpy()
    np.testing.assert_allclose(chosen[0], values[1] - values[3], rtol=1e-6)
    np.testing.assert_array_equal(chosen[1], values[2])
    np.testing.assert_array_equal(chosen[2], cube["slope"])
    assert (chosen[3] == 31).all()  # of D164, which the stack is of
    assert chosen.rio.crs == stack.rio.crs
    assert chosen.attrs["track"] == "D164"


def test_lazy_stays_lazy_and_gives_the_same():
    stack = make_stack(20, 30)
    cube = cube_on(stack)
    bands = BOEHM_2022["VV+VH+DEM"]
    eager = sc.select_bands(stack, bands, cube=cube)
    lazy = sc.select_bands(stack.chunk({"band": 2, "y": 7, "x": 11}), bands, cube=cube.chunk({"y": 9, "x": 8}))
    assert lazy.chunks is not None
    assert len(lazy.chunks[0]) == 1  # a window's bands are read together
    np.testing.assert_array_equal(eager, lazy.compute())


@pytest.mark.parametrize("bands", [*NAVA_2021.values(), *BOEHM_2022.values()])
def test_the_papers_bands_can_all_be_made(bands):
    stack = make_stack(16, 16)
    chosen = sc.select_bands(stack, bands, cube=cube_on(stack))
    assert chosen.sizes["band"] == len(bands)
    assert np.isfinite(chosen).all()


def test_there_are_eight_combinations():
    assert set(NAVA_2021) == {"SSD", "SSS", "BAD", "BAS", "HHH", "BAA", "BAC", "BAH"}


def test_hillshade_is_that_of_planes():
    stack = make_stack(2, 3)
    cube = cube_on(stack)
    cube["slope"].values[:] = [[0, 45, 45], [45, 90, 0]]
    cube["aspect"].values[:] = [[np.nan, 315, 135], [45, 135, 10]]
    shade = sc.select_bands(stack, ["hillshade"], cube=cube)[0]
    # Flat; facing the light; edge on from behind; across; a wall from behind; flat with an aspect.
    np.testing.assert_allclose(shade, [[0.5**0.5, 1, 0], [0.5, 0, 0.5**0.5]], atol=1e-6)
    cube["slope"].values[0, 0] = np.nan
    assert np.isnan(sc.select_bands(stack, ["hillshade"], cube=cube)[0, 0, 0])


def test_whole_numbers_without_data_are_nan():
    stack = make_stack(2, 3)
    cube = cube_on(stack)
    cover = np.array([[1, 2, -9999], [3, 4, 255]], np.int32)
    cube["cover"] = ("y", "x"), cover, {"units": "1", "nodata": -9999}
    codes = np.array([[[0, 1, 2], [3, 255, 0]]] * 2, np.uint8)
    flags = {"units": "1", "flag_values": list(FLAG_VALUES), "flag_meanings": FLAG_MEANINGS}
    cube["layover_shadow"] = ("track", "y", "x"), codes, flags
    for data in (cube, cube.chunk({"y": 1})):
        chosen = sc.select_bands(stack, ["cover", "layover_shadow"], cube=data)
        assert chosen.dtype == np.float32
        np.testing.assert_array_equal(chosen[0], [[1, 2, np.nan], [3, 4, 255]])
        np.testing.assert_array_equal(chosen[1], [[0, 1, 2], [3, np.nan, 0]])


def test_what_is_not_there_is_refused():
    stack = make_stack(8, 8)
    cube = cube_on(stack)
    with pytest.raises(BandError, match="give cube="):
        sc.select_bands(stack, ["slope"])
    with pytest.raises(BandError, match=r"neither the stack .*add_terrain"):
        sc.select_bands(stack, ["landcover"], cube=cube)
    with pytest.raises(InputError, match="each once"):
        sc.select_bands(stack, ["vv_post", "vv_post"], cube=cube)
    with pytest.raises(InputError, match="another grid"):
        sc.select_bands(stack, ["slope"], cube=cube_on(make_stack(8, 9)))
    shifted = cube.assign_coords(x=cube["x"] + 10)
    with pytest.raises(InputError, match="another grid"):
        sc.select_bands(stack, ["slope"], cube=shifted)
    with pytest.raises(TrackError):
        sc.select_bands(stack.assign_attrs(track="D001"), ["incidence_angle"], cube=cube)
    with pytest.raises(BandError, match="vv_pre"):
        sc.select_bands(stack.sel(band=["vv_post"]), ["vv_pre"])
