"""One track of a cube: steps and layers."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

import sarcube as sc
from sarcube.errors import TrackError


@pytest.fixture
def cube():
    tracks = ["D164", "A054", "D164"]
    vv = da.from_array(np.arange(12, dtype=np.float32).reshape(3, 2, 2), chunks=(1, 2, 2))
    return xr.Dataset(
        {
            "vv": (("time", "y", "x"), vv),
            "elevation": (("y", "x"), np.zeros((2, 2), np.float32)),
            "incidence_angle": (("track", "y", "x"), np.array([[[30.0] * 2] * 2, [[40.0] * 2] * 2])),
        },
        coords={
            "time": np.array(["2022-02-01", "2022-02-02", "2022-02-13"], "M8[ns]"),
            "scene_track": ("time", np.array(tracks, dtype=object)),
            "track": ["A054", "D164"],
        },
        attrs={"title": "kept"},
    )


def test_steps_and_layers_of_the_track(cube):
    one = sc.select_track(cube, "D164")
    assert dict(one.sizes) == {"time": 2, "y": 2, "x": 2}
    assert one.vv.values[:, 0, 0].tolist() == [0, 8]
    assert (one.incidence_angle == 40).all()
    assert "track" not in one.coords
    assert one.elevation.dims == ("y", "x")
    assert one.attrs == cube.attrs
    assert isinstance(one.vv.data, da.Array)


def test_without_layers_only_steps_are_selected(cube):
    one = sc.select_track(cube.drop_dims("track"), "A054")
    assert one.vv.values[:, 0, 0].tolist() == [4]


def test_an_unknown_track_names_those_there_are(cube):
    with pytest.raises(TrackError) as error:
        sc.select_track(cube, "D143")
    assert str(error.value) == 'track "D143" is not in this cube; it holds A054, D164'


def test_a_track_without_layers(cube):
    with pytest.raises(TrackError, match='track "D164" has no per-track layers in this cube; there are A054'):
        sc.select_track(cube.isel(track=[0]), "D164")
