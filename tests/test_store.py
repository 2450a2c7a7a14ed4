"""Cubes on disk: what was written comes back, or is refused."""

import copy
import errno
import json
import logging
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rtc_scenes import scene

import sarcube as sc
from sarcube.errors import ReadError, StoreError

PASSES = ["2022-02-01T11:30:00.123456", "2022-02-13T11:30:00", "2022-02-25T11:30:00"]


@pytest.fixture
def cube(tmp_path):
    items = [
        scene(tmp_path / "scenes", f"S{n}", seed=n, time=time, polarisations=("vv", "vh")[: 1 + (n > 0)])
        for n, time in enumerate(PASSES)
    ]
    return sc.load(items, chunks={"y": 16, "x": 16})


def with_layers(cube):
    shape = cube.vv.shape[1:]
    return cube.assign(
        elevation=(("y", "x"), np.full(shape, 12.5, np.float32), {"units": "m", "long_name": "height"}),
        incidence_angle=(("track", "y", "x"), da.full((2, *shape), 39.5, dtype=np.float32, chunks=(1, 7, 50))),
        layover_shadow=(("track", "y", "x"), np.full((2, *shape), 255, np.uint8)),
    ).assign_coords(track=["A054", "D164"])


def test_what_is_written_comes_back(cube, tmp_path):
    cube = with_layers(cube)
    path = tmp_path / "cube.zarr"
    assert sc.write_cube(cube, path, keep_bits=None) == path
    back = sc.open_cube(path)
    assert back.vh.isnull().all(["y", "x"]).values.tolist() == [True, False, False]
    assert back.vv.chunks == cube.vv.chunks
    assert back.vv.dtype == np.float32
    assert back.layover_shadow.dtype == np.uint8
    assert back.odc.geobox == cube.odc.geobox
    assert back.rio.crs == cube.rio.crs
    for name in ("scene_track", "item_ids", "platform", "orbit_state", "track"):
        assert back[name].values.tolist() == cube[name].values.tolist()
    assert back.attrs == cube.attrs
    assert {name: back[name].attrs for name in back.variables} == {name: cube[name].attrs for name in cube.variables}
    xr.testing.assert_equal(back.compute(), cube.compute())


def test_opening_reads_no_pixel(cube, tmp_path):
    def refuse(dsk, keys, **kwargs):
        raise AssertionError("computed while the cube was opened")

    sc.write_cube(cube, tmp_path / "cube.zarr")
    (tmp_path / "cube.zarr" / "vv" / "c" / "0" / "0" / "0").write_bytes(b"broken")
    back = sc.open_cube(tmp_path / "cube.zarr")
    with dask.config.set(scheduler=refuse):
        assert sc.select_track(back, "D164").vv.shape == cube.vv.shape


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(chunks=st.tuples(st.integers(1, 3), st.integers(5, 40), st.integers(5, 50)))
def test_chunks_on_disk_are_the_cubes(tmp_path, chunks):
    values = np.random.default_rng(0).random((3, 40, 50), np.float32)
    times = np.array(PASSES, "M8[ns]")
    cube = xr.Dataset({"vv": (("time", "y", "x"), da.from_array(values, chunks=chunks))}, coords={"time": times})
    path = sc.write_cube(cube, tmp_path / "cube.zarr", overwrite=True)
    assert zarr.open_group(path, mode="r")["vv"].chunks == chunks
    np.testing.assert_array_equal(sc.open_cube(path).vv.values, values)


def test_irregular_chunks_are_made_regular(cube, tmp_path):
    irregular = xr.concat([cube.isel(y=slice(0, 10)), cube.isel(y=slice(10, None))], "y", data_vars="all")
    assert len(set(irregular.vv.chunks[1][:-1])) > 1
    sc.write_cube(irregular, tmp_path / "cube.zarr", keep_bits=None)
    xr.testing.assert_equal(sc.open_cube(tmp_path / "cube.zarr").compute(), cube.compute())


def test_times_keep_their_microseconds(cube, tmp_path):
    sc.write_cube(cube, tmp_path / "cube.zarr")
    assert sc.open_cube(tmp_path / "cube.zarr").time.values[0] == np.datetime64("2022-02-01T11:30:12.623456")


def test_empty_chunks_are_on_disk(cube, tmp_path):
    """A chunk of NaN is a file too: only so can a chunk that was lost be told from one that is empty."""
    sc.write_cube(cube, tmp_path / "cube.zarr")
    files = [path for path in (tmp_path / "cube.zarr" / "vh" / "c").rglob("*") if path.is_file()]
    assert len(files) == 3 * 3 * 4


def test_others_find_the_grid_in_the_group(cube, tmp_path):
    sc.write_cube(cube, tmp_path / "cube.zarr")
    document = json.loads((tmp_path / "cube.zarr" / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    attributes = document["attributes"]
    assert [convention["name"] for convention in attributes["zarr_conventions"]] == ["proj", "spatial"]
    assert attributes["proj:code"] == "EPSG:32647"
    assert attributes["spatial:shape"] == [40, 50]
    assert attributes["spatial:transform"] == [10, 0, 600000, 0, -10, 100000]
    assert attributes["spatial:bbox"] == [600000, 99600, 600500, 100000]


def test_writing_leaves_the_cube_in_memory_as_it_is(cube, tmp_path):
    cube = with_layers(cube)
    cube["elevation"].encoding["grid_mapping"] = "spatial_ref"
    before = {name: (variable.dtype, variable.attrs, variable.encoding) for name, variable in cube.variables.items()}
    before, attributes = copy.deepcopy(before), copy.deepcopy(cube.attrs)
    sc.write_cube(cube, tmp_path / "cube.zarr")
    after = {name: (variable.dtype, variable.attrs, variable.encoding) for name, variable in cube.variables.items()}
    assert after == before
    assert cube.attrs == attributes
    assert sc.open_cube(tmp_path / "cube.zarr").elevation.attrs["grid_mapping"] == "spatial_ref"


def test_a_cropped_cube_says_its_own_grid(cube, tmp_path):
    sc.write_cube(cube, tmp_path / "cube.zarr")
    cropped = sc.open_cube(tmp_path / "cube.zarr").isel(x=slice(10, None))
    sc.write_cube(cropped, tmp_path / "cropped.zarr")
    attributes = zarr.open_group(tmp_path / "cropped.zarr", mode="r").attrs
    assert attributes["spatial:transform"] == [10, 0, 600100, 0, -10, 100000]


def test_a_cube_that_was_never_completed_is_refused(cube, tmp_path):
    """A scene breaks while the cube is written: the error names it, and what is on disk is no cube."""
    path = tmp_path / "cube.zarr"
    broken = tmp_path / "scenes" / "S2" / "iw-vv.rtc.tiff"
    content = broken.read_bytes()
    broken.write_bytes(content[:100])
    with pytest.raises(ReadError, match=r"S2.iw-vv\.rtc\.tiff"):
        sc.write_cube(cube, path, keep_bits=None)
    with pytest.raises(StoreError, match=r"never completed; run sarcube\.write_cube"):
        sc.open_cube(path)
    broken.write_bytes(content)
    sc.write_cube(cube, path, keep_bits=None)
    xr.testing.assert_equal(sc.open_cube(path).compute(), cube.compute())


def test_a_complete_cube_is_replaced_only_when_told(cube, tmp_path):
    path = tmp_path / "cube.zarr"
    sc.write_cube(cube, path)
    with pytest.raises(StoreError, match="pass overwrite=True"):
        sc.write_cube(cube.isel(time=[0]), path)
    assert sc.open_cube(path).sizes["time"] == 3
    sc.write_cube(cube.isel(time=[0]), path, overwrite=True)
    assert sc.open_cube(path).sizes["time"] == 1


def test_a_cube_can_be_written_over_what_it_is_read_from(cube, tmp_path):
    path = tmp_path / "cube.zarr"
    sc.write_cube(cube, path, keep_bits=None)
    expected = cube.compute()
    sc.write_cube(sc.open_cube(path), path, overwrite=True, keep_bits=None)
    xr.testing.assert_equal(sc.open_cube(path).compute(), expected)
    assert [entry.name for entry in tmp_path.glob("*.zarr*")] == ["cube.zarr"]
    assert not list(tmp_path.glob(".cube*"))


def test_a_failed_replacement_leaves_the_old_cube(cube, tmp_path):
    path = tmp_path / "cube.zarr"
    sc.write_cube(cube, path, keep_bits=None)
    expected = cube.compute()
    (tmp_path / "scenes" / "S1" / "iw-vh.rtc.tiff").unlink()
    with pytest.raises(ReadError):
        sc.write_cube(cube, path, overwrite=True, keep_bits=None)
    xr.testing.assert_equal(sc.open_cube(path).compute(), expected)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_cube_is_never_touched(cube, tmp_path, overwrite):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("years of work")
    with pytest.raises(StoreError, match="no sarcube cube"):
        sc.write_cube(cube, folder, overwrite=overwrite)
    foreign = tmp_path / "foreign.zarr"
    zarr.create_group(foreign).create_array("a", shape=(3,), dtype="f4")
    with pytest.raises(StoreError, match="no sarcube cube"):
        sc.write_cube(cube, foreign, overwrite=overwrite)
    assert (folder / "chapter1.txt").read_text() == "years of work"
    assert "a" in zarr.open_group(foreign, mode="r")
    with pytest.raises(StoreError, match="no sarcube cube"):
        sc.open_cube(foreign)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"no sarcube cube at .*nothing\.zarr"):
        sc.open_cube(tmp_path / "nothing.zarr")
    (tmp_path / "file.zarr").write_text("")
    with pytest.raises(StoreError, match=r"file\.zarr"):
        sc.open_cube(tmp_path / "file.zarr")


def test_a_full_disk_names_path_and_size(cube, tmp_path, monkeypatch):
    def full(self, target):
        if "/vv/c/1" in target.as_posix():
            raise OSError(errno.ENOSPC, "No space left on device")
        return move(self, target)

    move = Path.replace
    monkeypatch.setattr(Path, "replace", full)
    path = tmp_path / "cube.zarr"
    with pytest.raises(StoreError, match=r"the disk is full: .*cube\.zarr needs up to \d+\.\d+ GiB, \d+\.\d+ GiB are"):
        sc.write_cube(cube, path)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="never completed"):
        sc.open_cube(path)


def test_a_folder_that_cannot_be_written(cube, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write"):
        sc.write_cube(cube, tmp_path / "file" / "cube.zarr")


def test_it_says_what_it_wrote(cube, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="sarcube"):
        sc.write_cube(cube, tmp_path / "cube.zarr")
    assert f"wrote {tmp_path / 'cube.zarr'}" in caplog.text
