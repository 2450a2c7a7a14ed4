"""kill -9 at any moment of a whole run, then the same call again: folder and cube are those of no interruption."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pystac
import pytest
from range_server import serve
from test_kills import KILLED, files_of, kills

import sarcube as sc


class Runs:
    """Starts whole runs in processes of their own, and kills them."""

    def __init__(self, simulation) -> None:
        script = Path(__file__).with_name("killable_builds.py")
        self.server = subprocess.Popen(
            [sys.executable, script, simulation.folder / "event.toml", simulation.dem],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def build(self, home, catalog, *, kill_after=None, begun=None):
        """Run once, perhaps killed some seconds after its start, or after a path is there; return how that ended.

        That is the exit code, and how long it ran.
        """
        self.server.stdin.write(json.dumps({"home": str(home), "catalog": str(catalog)}) + "\n")
        self.server.stdin.flush()
        child, start = int(self.server.stdout.readline()), time.perf_counter()
        while begun is not None and not begun.exists() and is_alive(child):
            time.sleep(0.005)
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
def simulation(tmp_path_factory):
    return sc.simulate(tmp_path_factory.mktemp("archive") / "event", seed=31, size_km=2, pre_dates=2, post_dates=1)


@pytest.fixture(scope="module")
def runs(simulation):
    runs = Runs(simulation)
    yield runs
    runs.close()


@pytest.fixture
def web(simulation, tmp_path):
    """The archive's files on a server, and the catalogue of them in a file."""
    with serve(simulation.folder) as server:
        items = sc.search(simulation.event, catalog=simulation.folder)
        for item in items:
            for asset in item.assets.values():
                asset.href = f"{server.url}/{asset.href.removeprefix(f'{simulation.folder.resolve()}/')}"
        pystac.ItemCollection(items).save_object(str(tmp_path / "items.json"))
        yield server


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def what_is_in(home):
    """Every byte of the folder and of the cube, but what is of one run alone."""
    staged = {str(file): file.read_bytes() for file in sorted((home / "staged").rglob("*")) if file.is_file()}
    staged = {file.removeprefix(str(home)): content for file, content in staged.items() if "/searches/" not in file}
    return staged | files_of(home / "cube.zarr")


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, content in expected.items():
        assert found[name] == content, name


def kill_runs(runs, web, tmp_path, count, seed):
    """Kill `count` runs: half of them at random moments, the others soon after they began to write the cube."""
    catalog, whole_home, home = tmp_path / "items.json", tmp_path / "whole", tmp_path / "killed"
    assert runs.build(whole_home, catalog)[0] == 0
    expected = what_is_in(whole_home)
    _, whole = runs.build(tmp_path / "timed", catalog)

    def run(moment, *, begun=None):
        shutil.rmtree(home, ignore_errors=True)
        status, seconds = runs.build(home, catalog, kill_after=moment, begun=begun)
        return status, seconds, None

    def assert_mended():
        assert runs.build(home, catalog)[0] == 0
        assert_same(what_is_in(home), expected)
        assert sorted(path.name for path in home.iterdir()) == ["cube.zarr", "staged"]
        web.forget()
        assert runs.build(home, catalog)[0] == 0
        assert web.requests() == []
        assert_same(what_is_in(home), expected)

    for _ in kills(count - count // 2, whole, seed, run):
        assert_mended()
    random, soon, killed = Random(seed), 0.5, 0
    while killed < count // 2:
        status, _, _ = run(random.uniform(0, soon), begun=home / "cube.zarr")
        assert status in (0, KILLED)
        if status == KILLED:
            killed += 1
            assert_mended()
        else:  # done before
            soon /= 2
            assert soon > 1e-6, "no kill came while the cube was written"


def test_a_few_kills(runs, web, tmp_path):
    kill_runs(runs, web, tmp_path, 2, seed=0)


@pytest.mark.slow
def test_thirty_kills(runs, web, tmp_path):
    kill_runs(runs, web, tmp_path, 30, seed=1)


def test_a_killed_run_with_a_new_scene_in_the_catalogue(runs, web, simulation, tmp_path):
    """What was begun without it is finished, and it is added."""
    everything = pystac.ItemCollection.from_file(str(tmp_path / "items.json"))
    pystac.ItemCollection(list(everything)[:-1]).save_object(str(tmp_path / "less.json"))
    assert runs.build(tmp_path / "whole", tmp_path / "items.json")[0] == 0
    expected = sc.open_cube(tmp_path / "whole" / "cube.zarr").load()
    _, whole = runs.build(tmp_path / "timed", tmp_path / "less.json")
    home = tmp_path / "killed"
    runs.build(home, tmp_path / "less.json", kill_after=0.8 * whole)
    assert runs.build(home, tmp_path / "items.json")[0] == 0
    cube = sc.open_cube(home / "cube.zarr").load()
    assert cube.drop_attrs().identical(expected.drop_attrs())
