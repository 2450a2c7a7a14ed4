"""Stores that were interrupted, or that somebody else is at: what is finished is not done twice, nor taken on trust."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from rtc_scenes import scene

import sarcube as sc
from sarcube.cube.holes import Hole, hole_value
from sarcube.cube.store.ledger import Record, append_record, read_records
from sarcube.cube.store.verify import verify_cube
from sarcube.cube.store.write import open_cube, write_cube
from sarcube.errors import AreaError, InputError, StoreError
from sarcube.lock import writing

TIMES = ["2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00"]


@pytest.fixture
def items(tmp_path):
    return [scene(tmp_path / "scenes", f"S{n}", seed=n, time=time) for n, time in enumerate(TIMES)]


@pytest.fixture
def cube(items):
    return sc.load(items, chunks={"y": 16, "x": 16}, border_fringe=0)


@pytest.fixture
def reads(monkeypatch):
    """Count the blocks that `load` reads; `reads.fail` makes the n-th one fail."""
    import sarcube.cube.lazy as lazy

    class Reads(list):
        fail = None

        def settle(self):
            """Wait for threads that were at work when the build failed."""
            before = -1
            while len(self) != before:
                before = len(self)
                time.sleep(0.3)

    seen = Reads()
    read = lazy.mosaic

    def counted(sources, target, block, *rest):
        if seen.fail is not None and len(seen) >= seen.fail:
            raise RuntimeError("the power went")
        seen.append((sources[0].href, block))
        return read(sources, target, block, *rest)

    monkeypatch.setattr(lazy, "mosaic", counted)
    return seen


def bits(array):
    return array.values.view(np.uint32)


def files_of(store):
    """Return what a store holds, without what is of one build alone."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name not in ("plan.json", "COMPLETE")
    }


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_second_call_reads_what_is_not_finished_and_no_more(cube, reads, tmp_path, scheduler):
    reads.fail = 29
    with dask.config.set(scheduler=scheduler), pytest.raises(RuntimeError, match="power"):
        write_cube(cube, tmp_path / "cube.zarr")
    reads.settle()
    done = len([record for path in (tmp_path / "cube.zarr/.sarcube/ledger").iterdir() for record in read_records(path)])
    assert 20 < done <= 29
    reads.fail = None
    reads.clear()
    with dask.config.set(scheduler=scheduler):
        write_cube(cube, tmp_path / "cube.zarr")
    assert len(reads) == len(set(reads)) == 2 * 3 * 3 * 4 - done
    write_cube(cube, tmp_path / "whole.zarr")
    assert files_of(tmp_path / "cube.zarr") == files_of(tmp_path / "whole.zarr")


def test_a_complete_cube_is_checked_and_not_read_again(cube, reads, tmp_path, caplog):
    write_cube(cube, tmp_path / "cube.zarr")
    reads.clear()
    with caplog.at_level(logging.INFO, logger="sarcube"):
        write_cube(cube, tmp_path / "cube.zarr")
    assert not reads
    assert "is complete already; each of its 72 chunks is as it was written" in caplog.text
    assert "wrote" not in caplog.text


def test_another_cube_is_refused_and_told_apart(items, cube, reads, tmp_path):
    path = tmp_path / "cube.zarr"
    reads.fail = 5
    with pytest.raises(RuntimeError):
        write_cube(cube, path)
    reads.fail = None
    other = sc.load(items, chunks={"y": 16, "x": 16}, border_fringe=0, drop=["S1"])
    with pytest.raises(StoreError, match=r"an incomplete cube is at .*time has size \(3\) .*overwrite=True"):
        write_cube(other, path)
    with pytest.raises(StoreError, match=r"vv keeps 8 bits in the store, all now"):
        write_cube(cube, path, keep_bits=None)
    with pytest.raises(StoreError, match=r"vv has chunks \(1, 16, 16\) in the store, \(1, 20, 16\) in the cube given"):
        write_cube(sc.load(items, chunks={"y": 20, "x": 16}, border_fringe=0), path)
    with pytest.raises(StoreError, match="vv is made from other files or with other settings"):
        write_cube(cube.assign(vv=(cube.vv * 2).assign_attrs(cube.vv.attrs)), path)
    with pytest.raises(StoreError, match='attribute "title" differs'):
        write_cube(cube.assign_attrs(title="mine"), path)
    write_cube(other, path, overwrite=True)
    assert open_cube(path).sizes["time"] == 2
    assert verify_cube(path) == []


def test_an_interrupted_overwriting_goes_on(cube, reads, tmp_path):
    path = write_cube(cube.isel(time=[0]), tmp_path / "cube.zarr")
    before = files_of(path)
    reads.clear()
    reads.fail = 40
    with pytest.raises(RuntimeError):
        write_cube(cube, path, overwrite=True)
    assert files_of(path) == before
    reads.fail = None
    write_cube(cube, path, overwrite=True)
    assert len(reads) < 72 + 10
    assert open_cube(path).sizes["time"] == 3
    assert not list(tmp_path.glob(".cube*"))


def test_the_fingerprint_is_the_same_in_another_process(cube, tmp_path):
    """A build that was interrupted today is continued tomorrow."""
    script = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\nimport sarcube as sc\nfrom rtc_scenes import make_item\n"
        "from sarcube.cube.store.plan import fingerprint\nfrom sarcube.cube.store.skeleton import storable\n"
        "import json\n"
        f"root = Path({str(tmp_path / 'scenes')!r})\n"
        f"times = {TIMES!r}\n"
        "items = [make_item(f'S{n}', {p: root / f'S{n}' / f'iw-{p}.rtc.tiff' for p in ('vv', 'vh')}, time=t)"
        " for n, t in enumerate(times)]\n"
        "cube = sc.load(items, chunks={'y': 16, 'x': 16}, border_fringe=0)\n"
        "print(json.dumps(fingerprint(storable(cube, keep_bits=8))))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    from sarcube.cube.store.plan import fingerprint
    from sarcube.cube.store.skeleton import storable

    assert json.loads(found.stdout.splitlines()[-1]) == fingerprint(storable(cube, keep_bits=8))


def test_a_second_writer_is_refused_and_told_who_the_first_is(cube, tmp_path):
    path = tmp_path / "cube.zarr"
    started, go_on = threading.Event(), threading.Event()

    def wait(block):
        started.set()
        assert go_on.wait(20)
        return block

    slow = cube.assign(vv=cube.vv.copy(data=cube.vv.data.map_blocks(wait, dtype="f4", meta=np.empty((0, 0, 0), "f4"))))
    first = threading.Thread(target=write_cube, args=(slow, path))
    first.start()
    try:
        assert started.wait(20)
        for settings in ({}, {"append": True}, {"overwrite": True}):
            with pytest.raises(StoreError, match=rf"being written by process {os.getpid()} on {os.uname().nodename}"):
                write_cube(cube, path, **settings)
    finally:
        go_on.set()
        first.join()
    assert verify_cube(path) == []


def test_a_lock_dies_with_its_process(tmp_path):
    store = tmp_path / "cube.zarr"
    script = (
        "from pathlib import Path\nfrom sarcube.lock import writing\n"
        f"import os, signal\nwith writing(Path({str(store)!r})):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert (tmp_path / ".cube.zarr.lock").exists()
    with writing(store), pytest.raises(StoreError, match=f"process {os.getpid()}"), writing(store):
        pass
    assert not (tmp_path / ".cube.zarr.lock").exists()


def test_a_cut_line_of_the_ledger_is_as_if_not_there(cube, reads, tmp_path):
    path = tmp_path / "cube.zarr"
    reads.fail = 40
    # One thread: another could still be writing its record while they are counted.
    with pytest.raises(RuntimeError), dask.config.set(scheduler="sync"):
        write_cube(cube, path)
    (ledger,) = (path / ".sarcube/ledger").iterdir()
    count = len(list(read_records(ledger)))
    ledger.write_bytes(ledger.read_bytes()[:-20])
    reads.fail = None
    reads.clear()
    write_cube(cube, path)
    assert len(reads) == 72 - count + 1
    assert verify_cube(path) == []


def test_a_changed_line_of_the_ledger_is_not_believed(tmp_path):
    append_record(tmp_path, Record("vv", (0, 1, 2), 100, 7, 5, ((1, 3),), ((0, 16),)))
    append_record(tmp_path, Record("vv", (0, 1, 3), 100, 7, 5))
    (path,) = tmp_path.iterdir()
    assert [record.index for record in read_records(path)] == [(0, 1, 2), (0, 1, 3)]
    assert next(read_records(path)).unread == ((0, 16),)
    path.write_bytes(path.read_bytes().replace(b'"valid":5,"holes":[[', b'"valid":6,"holes":[['))
    assert [record.index for record in read_records(path)] == [(0, 1, 3)]


def test_a_finished_chunk_that_changed_since_is_written_again(cube, reads, tmp_path):
    path = tmp_path / "cube.zarr"
    reads.fail = 70
    with dask.config.set(scheduler="synchronous"), pytest.raises(RuntimeError):
        write_cube(cube, path)
    reads.fail = None
    reads.clear()
    chunk = next(file for file in sorted(path.glob("v?/c/*/*/*")) if file.is_file())
    chunk.write_bytes(bytes(len(chunk.read_bytes())))
    write_cube(cube, path)
    assert len(reads) == 3
    assert verify_cube(path) == []


def test_reasons_of_holes_survive_the_disk(cube, tmp_path):
    values = np.random.default_rng(0).random((3, 40, 50), np.float32)
    for number, reason in enumerate(Hole):
        values[:, number] = hole_value(reason, part=3)
    holed = cube.assign(vv=cube.vv.copy(data=da.from_array(values, chunks=(1, 16, 16))))
    for keep_bits in (8, None):
        path = write_cube(holed, tmp_path / f"{keep_bits}.zarr", keep_bits=keep_bits)
        expected = values.view(np.uint32)[:, : len(Hole)]
        np.testing.assert_array_equal(bits(open_cube(path).vv)[:, : len(Hole)], expected)
        np.testing.assert_array_equal(bits(xr.open_zarr(path).vv)[:, : len(Hole)], expected)


def test_what_is_rounded_says_so_and_the_rest_is_exact(cube, tmp_path):
    cube["elevation"] = (("y", "x"), np.random.default_rng(0).random((40, 50), np.float32), {"units": "m"})
    cube["mask"] = (("y", "x"), np.random.default_rng(0).random((40, 50)) < 0.5)
    back = open_cube(write_cube(cube, tmp_path / "cube.zarr"))
    assert back.vv.attrs["quantization_nsb"] == 8
    assert "0.0085 dB" in back.vv.attrs["quantization_note"]
    assert "quantization_nsb" not in back.elevation.attrs
    np.testing.assert_array_equal(back.elevation.values, cube.elevation.values)
    np.testing.assert_array_equal(back.mask.values, cube.mask.values)
    error = np.abs(back.vv.values / cube.vv.values.astype(np.float64) - 1)
    assert 0 < error.max() <= 2**-9


@pytest.mark.parametrize("kind", ["int16", "uint8", ">f4", "float64", "complex64", "bool"])
def test_other_types_come_back_as_they_were(cube, tmp_path, kind):
    values = (np.random.default_rng(0).random((2, 40, 50)) * 100).astype(kind)
    cube["layer"] = (("track", "y", "x"), da.from_array(values, chunks=(1, 30, 30)))
    back = open_cube(write_cube(cube, tmp_path / "cube.zarr"))
    assert back.layer.chunks == ((1, 1), (30, 10), (30, 20))
    np.testing.assert_array_equal(back.layer.values, values)


def test_plain_readers_see_the_cube_and_no_warning(cube, tmp_path):
    path = write_cube(cube, tmp_path / "cube.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        plain = xr.open_zarr(path)
        np.testing.assert_array_equal(bits(plain.vv), bits(open_cube(path).vv))
        assert set(xr.open_datatree(path, engine="zarr").children) == set()
        assert {name for name, _ in zarr.open_group(path, mode="r").members(max_depth=None)} == set(plain.variables)
        zarr.open_group(path, mode="r", use_consolidated=False)


def test_an_incomplete_cube_opens_when_told_and_says_what_it_lacks(cube, reads, tmp_path):
    path = tmp_path / "cube.zarr"
    reads.fail = 30
    with pytest.raises(RuntimeError):
        write_cube(cube, path)
    with pytest.raises(StoreError, match="never completed"):
        open_cube(path)
    part = open_cube(path, allow_incomplete=True)
    done = sum(len(list(read_records(file))) for file in (path / ".sarcube/ledger").iterdir())
    assert part.attrs["incomplete"] == f"{72 - done} of 72 chunks are missing; they are NaN here"
    assert 0 < int(part.vv.isnull().sum() + part.vh.isnull().sum()) < 2 * part.vv.size
    reads.fail = None
    write_cube(cube, path)
    assert "incomplete" not in open_cube(path, allow_incomplete=True).attrs


def test_an_interrupted_copy_of_an_interrupted_cube_is_complete_in_itself(cube, reads, tmp_path):
    reads.fail = 30
    with pytest.raises(RuntimeError):
        write_cube(cube, tmp_path / "cube.zarr")
    part = open_cube(tmp_path / "cube.zarr", allow_incomplete=True)
    copy = open_cube(write_cube(part, tmp_path / "copy.zarr"))
    assert "incomplete" not in copy.attrs


def test_an_incomplete_cube_can_be_written_over_itself(cube, reads, tmp_path):
    path = tmp_path / "cube.zarr"
    reads.fail = 30
    with pytest.raises(RuntimeError):
        write_cube(cube, path)
    part = open_cube(path, allow_incomplete=True)
    expected = part.compute()
    write_cube(part, path, overwrite=True)
    xr.testing.assert_equal(open_cube(path).compute(), expected)
    assert not list(tmp_path.glob(".cube*"))


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"build": "a", "layers": [{}], "parts": []}'])
def test_an_incomplete_cube_whose_plan_is_damaged_can_only_be_replaced(cube, reads, tmp_path, damage):
    path = tmp_path / "cube.zarr"
    reads.fail = 30
    with pytest.raises(RuntimeError):
        write_cube(cube, path)
    reads.fail = None
    (path / ".sarcube/plan.json").write_bytes(damage)
    assert "the plan of the cube" in str(verify_cube(path)[-1])
    with pytest.raises(StoreError, match=r"the plan of the cube at .* is damaged .*overwrite=True"):
        write_cube(cube, path)
    write_cube(cube, path, overwrite=True)
    assert verify_cube(path) == []


def test_a_cube_of_holes_alone_is_never_complete(cube, tmp_path):
    nothing = da.full((3, 40, 50), hole_value(Hole.OUTSIDE), dtype=np.float32, chunks=(1, 16, 16))
    partly = nothing.copy().map_blocks(
        lambda block: np.where(block != block, hole_value(Hole.NODATA), block), dtype="f4"
    )
    empty = cube.assign(vv=cube.vv.copy(data=nothing), vh=cube.vh.copy(data=partly))
    with pytest.raises(AreaError, match=r"no pixel of vh, vv .* is valid: 50 % .*, 50 %"):
        write_cube(empty, tmp_path / "cube.zarr")
    with pytest.raises(StoreError, match="never completed"):
        open_cube(tmp_path / "cube.zarr")


def test_what_could_not_be_read_is_listed_and_tried_again(items, tmp_path, reads, caplog):
    path = tmp_path / "cube.zarr"
    lost = tmp_path / "scenes/S1/iw-vh.rtc.tiff"
    content = lost.read_bytes()

    def cube():
        return sc.load(items, chunks={"y": 16, "x": 16}, border_fringe=0, on_error="skip")

    whole = write_cube(cube(), tmp_path / "whole.zarr")
    lost.unlink()
    write_cube(cube(), path)
    unread = open_cube(path).attrs["unread"]
    assert len(unread) == 12
    assert unread[1] == "2022-02-13T11:30:12Z D164 vh rows 0-16 columns 16-32: item S1: not found"
    assert "12 blocks of" in caplog.text
    assert verify_cube(path) == []
    reads.clear()
    lost.write_bytes(content)
    write_cube(cube(), path)
    assert len(reads) == 12
    assert "unread" not in open_cube(path).attrs
    assert files_of(path) == files_of(whole)


def test_a_missing_marker_is_made_again_after_all_was_checked(cube, reads, tmp_path):
    path = write_cube(cube, tmp_path / "cube.zarr")
    (path / ".sarcube/COMPLETE").unlink()
    with pytest.raises(StoreError, match="never completed"):
        open_cube(path)
    reads.clear()
    write_cube(cube, path)
    assert not reads
    assert verify_cube(path) == []


@pytest.mark.parametrize("name", ["a/b", "..", ".sarcube"])
def test_a_variable_whose_name_is_no_folder_is_refused(cube, tmp_path, name):
    with pytest.raises(InputError, match="is no name on disk: rename it"):
        write_cube(cube.rename(vv=name), tmp_path / "cube.zarr")
    assert not list(tmp_path.glob("*cube*"))


def test_small_arrays_of_nothing_but_zeros_are_on_disk(cube, tmp_path):
    zeros = cube.assign(when=(("time", "y", "x"), np.zeros((3, 40, 50), "M8[ns]")), count=("time", np.zeros(3)))
    path = write_cube(zeros, tmp_path / "cube.zarr")
    assert (path / "count/c/0").exists()
    assert (open_cube(path).when == np.datetime64(0, "ns")).all()


@pytest.mark.parametrize("keep_bits", [0, 24, -1])
def test_bits_that_a_mantissa_does_not_have_are_refused(cube, tmp_path, keep_bits):
    with pytest.raises(InputError, match="1 to 23"):
        write_cube(cube, tmp_path / "cube.zarr", keep_bits=keep_bits)


def test_a_chunk_that_is_too_large_is_refused_before_anything_is_written(cube, tmp_path):
    huge = cube.assign(big=(("y2", "x2"), da.zeros((2**16, 2**16), dtype="u1", chunks=-1)))
    with pytest.raises(InputError, match="a chunk of big is 65536 x 65536 pixels, more than 2 GiB"):
        write_cube(huge, tmp_path / "cube.zarr")
    assert not (tmp_path / "cube.zarr").exists()


def test_left_overs_of_killed_writers_are_taken_away(cube, tmp_path):
    for name in (".cube.zarr.skeleton-12ab", ".cube.zarr.gone-34cd"):
        (tmp_path / name).mkdir()
    (tmp_path / ".other.zarr.gone-34cd").mkdir()
    write_cube(cube, tmp_path / "cube.zarr")
    assert [path.name for path in tmp_path.glob(".*")] == [".other.zarr.gone-34cd"]


@pytest.mark.parametrize("step", range(2))
def test_killed_between_the_steps_of_a_swap(cube, tmp_path, monkeypatch, step):
    path = write_cube(cube.isel(time=[0]), tmp_path / "cube.zarr")

    class Killed(BaseException):
        pass

    move = Path.rename

    def killed(self, target):
        if Path(target).name == ("cube.zarr" if step else ".cube.zarr.old") and self.name != "cube.zarr.new":
            raise Killed
        return move(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(Killed):
        write_cube(cube, path, overwrite=True)
    monkeypatch.undo()
    assert path.exists() is (step == 0)
    write_cube(cube, path, overwrite=step == 0)
    assert open_cube(path).sizes["time"] == 3
    assert verify_cube(path) == []
    assert not list(tmp_path.glob(".cube*"))
