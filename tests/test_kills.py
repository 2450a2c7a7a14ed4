"""kill -9 at any moment, then a second call: the cube is that of no interruption, and nothing is read twice."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from killable import cube_of, items_in
from rtc_scenes import scene

from sarcube.cube.store.build import LEDGER, OPEN_LEDGER
from sarcube.cube.store.ledger import finished
from sarcube.cube.store.verify import verify_cube
from sarcube.cube.store.write import open_cube, write_cube
from sarcube.errors import StoreError

DELAY = 0.012  # seconds a read takes at least, so that builds are long enough to be hit
KILLED = -signal.SIGKILL


class Builders:
    """Starts builds in processes of their own, and kills them."""

    def __init__(self, scenes: Path) -> None:
        self.server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("killable.py"), scenes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def build(self, path, log, *, kill_after=None, **command):
        """Run a build, perhaps killed after some seconds; return its exit code and how long it ran."""
        command = {"path": str(path), "log": str(log), "dates": 3, "append": False, "delay": DELAY, **command}
        self.server.stdin.write(json.dumps(command) + "\n")
        self.server.stdin.flush()
        child, start = int(self.server.stdout.readline()), time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it was done
                os.kill(child, signal.SIGKILL)
        return int(self.server.stdout.readline()), time.perf_counter() - start

    def close(self):
        self.server.stdin.close()
        self.server.wait(20)
        self.server.stdout.close()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    for n in range(3):
        scene(folder, f"S{n}", seed=n)
    return folder


@pytest.fixture(scope="module")
def builders(scenes):
    builders = Builders(scenes)
    yield builders
    builders.close()


def files_of(store):
    """Return what a store holds, without what is of one build alone."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in store.rglob("*")
        if path.is_file() and path.name not in ("plan.json", "COMPLETE")
    }


def reads_of(log):
    """Return the chunks whose reading was begun."""
    if not log.exists():
        return []
    rows = [line.split() for line in log.read_text().splitlines()]
    return [(band, (int(item[1:]), int(y), int(x))) for band, item, y, x in rows]


def finished_chunks(store, ledger=OPEN_LEDGER):
    if not (store / ledger).is_dir():
        return set()
    return set(finished(store, store / ledger, store / LEDGER)[0])


def kills(count, whole, seed, run):
    """Yield what comes of `count` kills at random moments of runs that take `whole` seconds; `run` gets the moment.

    A run that ended before its kill does not count, and says how long one takes now.
    """
    rng = random.Random(seed)
    for _ in range(4 * count):
        status, seconds, result = run(rng.uniform(0, whole))
        assert status in (0, KILLED)
        if status == KILLED:
            count -= 1
        else:
            whole = seconds
        yield result
        if not count:
            return
    raise AssertionError(f"{count} kills came too late")


def kill_builds(builders, scenes, tmp_path, count, seed):
    expected = files_of(write_cube(cube_of(items_in(scenes)), tmp_path / "whole.zarr"))
    builders.build(tmp_path / "warm.zarr", tmp_path / "warm")
    _, whole = builders.build(tmp_path / "timed.zarr", tmp_path / "timed")
    path, log = tmp_path / "cube.zarr", tmp_path / "reads"

    def run(moment):
        shutil.rmtree(path, ignore_errors=True)
        log.unlink(missing_ok=True)
        status, seconds = builders.build(path, log, kill_after=moment)
        return status, seconds, finished_chunks(path)

    halfway = 0
    for done in kills(count, whole, seed, run):
        halfway += 0 < len(done) < 72
        log.unlink(missing_ok=True)
        assert builders.build(path, log, delay=0)[0] == 0
        again = reads_of(log)
        assert not done & set(again)
        assert len(again) == len(set(again)) == 72 - len(done)
        assert files_of(path) == expected
        assert not list(tmp_path.glob(".cube.zarr*"))
    return halfway


def kill_appends(builders, scenes, tmp_path, count, seed):
    old_path = write_cube(cube_of(items_in(scenes)[:2]), tmp_path / "old.zarr")
    old = open_cube(old_path).compute()
    whole_path = shutil.copytree(old_path, tmp_path / "whole.zarr")
    write_cube(cube_of(items_in(scenes)), whole_path, append=True)
    expected = files_of(whole_path)
    shutil.copytree(old_path, tmp_path / "timed.zarr")
    _, whole = builders.build(tmp_path / "timed.zarr", tmp_path / "timed", append=True)
    path, log = tmp_path / "cube.zarr", tmp_path / "reads"

    def run(moment):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(old_path, path)
        status, seconds = builders.build(path, log, append=True, kill_after=moment)
        return status, seconds, finished_chunks(path, ".sarcube/append/ledger")

    for done in kills(count, whole, seed, run):
        if (path / ".sarcube/append/COMMIT").exists():
            with pytest.raises(StoreError, match="again, which finishes it"):
                open_cube(path)
        elif open_cube(path).sizes["time"] == 2:
            xr.testing.assert_identical(open_cube(path).compute(), old)
            assert verify_cube(path) == []
        log.unlink(missing_ok=True)
        assert builders.build(path, log, append=True, delay=0)[0] == 0
        assert not done & set(reads_of(log))
        assert files_of(path) == expected
        assert verify_cube(path) == []


def test_a_few_kills(builders, scenes, tmp_path):
    kill_builds(builders, scenes, tmp_path, 4, seed=0)


@pytest.mark.slow
def test_fifty_kills_while_building(builders, scenes, tmp_path):
    assert kill_builds(builders, scenes, tmp_path, 50, seed=1) >= 15


def test_a_few_kills_while_appending(builders, scenes, tmp_path):
    kill_appends(builders, scenes, tmp_path, 3, seed=2)


@pytest.mark.slow
def test_fifteen_kills_while_appending(builders, scenes, tmp_path):
    kill_appends(builders, scenes, tmp_path, 15, seed=3)


def test_a_killed_overwriting_leaves_the_old_cube(builders, scenes, tmp_path):
    path = write_cube(cube_of(items_in(scenes)[:2]), tmp_path / "cube.zarr")
    before = files_of(path)
    script = (
        f"import sys, os, signal; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\nimport sarcube as sc\nfrom killable import cube_of, items_in\n"
        "import sarcube.cube.lazy as loading\nread = []\nmosaic = loading.mosaic\n"
        "def dying(*arguments):\n"
        "    read.append(1)\n"
        "    return mosaic(*arguments) if len(read) < 30 else os.kill(os.getpid(), signal.SIGKILL)\n"
        "loading.mosaic = dying\n"
        f"sc.write_cube(cube_of(items_in(Path({str(scenes)!r}))), {str(path)!r}, overwrite=True)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == KILLED
    assert files_of(path) == before
    write_cube(cube_of(items_in(scenes)), path, overwrite=True)
    assert open_cube(path).sizes["time"] == 3
    assert not list(tmp_path.glob(".cube*"))


def test_several_workers_write_the_same_bits(scenes, tmp_path):
    from distributed import Client, LocalCluster

    cube = cube_of(items_in(scenes))
    expected = files_of(write_cube(cube, tmp_path / "one.zarr"))
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        path = write_cube(cube, tmp_path / "two.zarr")
        assert files_of(path) == expected
        (path / "vv/c/1/0/0").unlink()
        write_cube(cube, path)
        assert files_of(path) == expected
        np.testing.assert_array_equal(open_cube(path).vv.mean().compute(), open_cube(tmp_path / "one.zarr").vv.mean())


def test_processes_write_the_same_bits(scenes, tmp_path):
    cube = cube_of(items_in(scenes))
    expected = files_of(write_cube(cube, tmp_path / "one.zarr"))
    with dask.config.set(scheduler="processes", num_workers=2):
        assert files_of(write_cube(cube, tmp_path / "two.zarr")) == expected
