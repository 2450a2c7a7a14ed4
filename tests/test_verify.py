"""Whatever happens to a stored cube is found, and the same call again repairs it."""

import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rtc_scenes import scene

import sarcube as sc
from sarcube.cube.store.verify import Finding, verify_cube
from sarcube.cube.store.write import open_cube, write_cube
from sarcube.errors import StoreError


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    times = ["2022-02-01T11:30:00", "2022-02-13T11:30:00"]
    items = [scene(folder, f"S{n}", seed=n, time=time) for n, time in enumerate(times)]
    cube = sc.load(items, chunks={"y": 32, "x": 32}, border_fringe=0)
    return cube.assign(elevation=(("y", "x"), np.arange(2000, dtype=np.float32).reshape(40, 50)))


@pytest.fixture(scope="module")
def whole(cube, tmp_path_factory):
    return write_cube(cube, tmp_path_factory.mktemp("store") / "cube.zarr")


@pytest.fixture
def path(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "cube.zarr")


def flip(file, place, bit=0):
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 1 << bit
    file.write_bytes(content)


def assert_repaired(cube, path, whole):
    write_cube(cube, path)
    assert verify_cube(path) == []
    assert {f.relative_to(path): f.read_bytes() for f in path.glob("[!.]*/**/*") if f.is_file()} == {
        f.relative_to(whole): f.read_bytes() for f in whole.glob("[!.]*/**/*") if f.is_file()
    }
    xr.testing.assert_identical(open_cube(path).compute(), open_cube(whole).compute())


def test_a_whole_cube_has_nothing_to_find(path):
    assert verify_cube(path) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_found_wherever_it_is(whole, tmp_path_factory, data):
    path = shutil.copytree(whole, tmp_path_factory.mktemp("flip") / "cube.zarr")
    file = data.draw(st.sampled_from(sorted(file for file in path.rglob("*") if file.is_file())))
    flip(file, data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 7)))
    found = verify_cube(path)
    assert found, file
    assert all(str(finding) for finding in found)
    if file.parts[-5:-3] == ("vv", "c"):
        assert found == [Finding("damaged", found[0].message, "vv", tuple(int(number) for number in file.parts[-3:]))]


@pytest.mark.parametrize(
    "name",
    [
        "vv/c/0/0/0",
        "elevation/c/1/1",
        "vh/zarr.json",
        "zarr.json",
        "time/c/0",
        "scene_track/c/0",
        ".sarcube/plan.json",
        ".sarcube/ledger.jsonl",
        ".sarcube/COMPLETE",
        ".sarcube/zarr.json",
    ],
)
@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "remove"])
def test_the_same_call_again_repairs(cube, path, whole, name, harm):
    file = path / name
    if harm == "flip":
        flip(file, 40 % file.stat().st_size)
    elif harm == "remove":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3] if harm == "cut" else b"")
    assert verify_cube(path)
    assert_repaired(cube, path, whole)


def test_only_what_is_broken_is_written_again(cube, path, whole):
    times = {file: file.stat().st_mtime_ns for file in path.glob("v?/c/*/*/*")}
    (path / "vv/c/1/0/1").unlink()
    write_cube(cube, path)
    assert {file for file, time in times.items() if file.stat().st_mtime_ns != time} == {path / "vv/c/1/0/1"}


def test_chunks_that_changed_places_are_found(cube, path, whole):
    """Each is whole in itself: only the ledger knows."""
    a, b, aside = path / "vv/c/0/0/0", path / "vv/c/1/0/0", path / "aside"
    a.rename(aside)
    b.rename(a)
    aside.rename(b)
    found = verify_cube(path)
    assert [(finding.kind, finding.index) for finding in found] == [("damaged", (0, 0, 0)), ("damaged", (1, 0, 0))]
    assert "not the one that was written there" in found[0].message or "bytes where" in found[0].message
    assert_repaired(cube, path, whole)


def test_a_missing_chunk_is_an_error_and_not_nan(path):
    (path / "vv/c/1/0/1").unlink()
    cube = open_cube(path)
    assert np.isfinite(cube.vv[1, :, :32].values).all()
    with pytest.raises(StoreError, match=r"chunk vv/c/1/0/1 of the cube at .* is missing; .*verify_cube"):
        cube.vv[1].values  # noqa: B018


def test_a_damaged_chunk_is_an_error_that_names_it(path):
    flip(path / "vv/c/1/0/1", 300)
    with pytest.raises(StoreError, match=r"chunk vv/c/1/0/1 of the cube at .* is damaged; .*verify_cube"):
        open_cube(path).vv.mean().compute()


def test_damaged_metadata_are_not_opened(path):
    flip(path / "y/c/0", 12)
    with pytest.raises(StoreError, match=r"y/c/0 of the cube at .* is not as it was written"):
        open_cube(path)


def test_a_whole_cube_of_another_is_not_taken_for_this_one(path, cube, tmp_path):
    """Somebody copies a chunk from another cube: sizes may agree, the checksums do not."""
    other = write_cube(cube.assign(vv=(cube.vv * 2).assign_attrs(cube.vv.attrs)), tmp_path / "other.zarr")
    shutil.copy(other / "vv/c/0/0/0", path / "vv/c/0/0/0")
    assert [finding.kind for finding in verify_cube(path)] == ["damaged"]


def test_what_is_no_cube_is_a_finding(tmp_path):
    assert [finding.kind for finding in verify_cube(tmp_path)] == ["absent"]
    assert [finding.kind for finding in verify_cube(tmp_path / "nothing")] == ["absent"]
    (tmp_path / "file").write_text("")
    assert [finding.kind for finding in verify_cube(tmp_path / "file")] == ["absent"]


def test_an_incomplete_cube_is_a_finding_and_says_what_is_missing(tmp_path):
    def fail(block, block_id=None):
        if block_id == (0, 1, 1):
            raise RuntimeError
        return block

    values = da.random.default_rng(0).random((1, 40, 50), chunks=(1, 32, 32)).map_blocks(fail)
    with pytest.raises(RuntimeError):
        write_cube(xr.Dataset({"vv": (("time", "y", "x"), values)}), tmp_path / "cube.zarr")
    found = verify_cube(tmp_path / "cube.zarr")
    assert found[0].kind == "incomplete"
    assert ("missing", (0, 1, 1)) in [(finding.kind, finding.index) for finding in found]
