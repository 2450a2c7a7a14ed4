"""kill -9 at any moment while staging, then a second call: the folder is that of no interruption, byte for byte."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pystac
import pytest
from range_server import serve
from rtc_scenes import scene
from test_kills import kills
from test_stage import BOX, SHAPE, files_of, on_server

NAMES = ("first", "second", "third")
DELAY = 0.02  # seconds before each answer, so that staging is long enough to be hit
IN_FLIGHT = 8  # requests at a time


class Stagers:
    """Stages in processes of their own, and kills them."""

    def __init__(self, items: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("stageable.py"), items],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def stage(self, folder, *names, kill_after=None):
        """Stage some items, perhaps killed after some seconds; return the exit code and how long it ran."""
        command = {"folder": str(folder), "items": names, "bbox": BOX}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        child, start = int(self.process.stdout.readline()), time.perf_counter()
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it was done
                os.kill(child, signal.SIGKILL)
        return int(self.process.stdout.readline()), time.perf_counter() - start

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    items = [
        scene(folder, name, seed=n, shape=SHAPE, time=f"2022-02-{n + 1:02d}T11:30:00") for n, name in enumerate(NAMES)
    ]
    with serve(folder) as running:
        running.folder = folder
        running.items = on_server(items, running)
        for item in running.items:
            for band in item.assets:
                running.fail(f"{item.id}/iw-{band}.rtc.tiff", "stall", seconds=DELAY)
        yield running


@pytest.fixture(scope="module")
def stagers(server, tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "items.json"
    pystac.ItemCollection(server.items).save_object(str(path))
    stagers = Stagers(path)
    yield stagers
    stagers.close()


def asked(server):
    """Return which bytes of which file were asked for, in order."""
    found = []
    for entry in server.requests():
        first, last = entry.range.removeprefix("bytes=").split("-")
        found.append((entry.path.lstrip("/"), int(first), int(last) + 1))
    return found


def on_disk(server, out):
    """Return which bytes of which file lie in pieces, and which files are finished."""
    pieces, finished = [], set()
    for item in server.items:
        for band in item.assets:
            path = f"{item.id}/iw-{band}.rtc.tiff"
            folder = out / ".parts" / hashlib.sha256(f"{server.url}/{path}".encode()).hexdigest()[:32]
            for piece in folder.glob("*-*-*"):
                first, after, _ = piece.name.split("-")
                pieces.append((path, int(first), int(after)))
    for said in (out / ".parts" / "done").glob("*.json"):
        finished.add(json.loads(said.read_text())["path"].removeprefix("sentinel-1-rtc/"))
    return pieces, finished


def listed(out):
    """Return which files the catalogue of a folder lists, each verified; none if there is no catalogue."""
    if not (out / "catalog.json").exists():
        return set()
    found = set()
    for item in pystac.Catalog.from_file(str(out / "catalog.json")).get_items(recursive=True):
        for asset in item.assets.values():
            content = Path(asset.get_absolute_href()).read_bytes()
            assert asset.extra_fields["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
            found.add(f"{item.id}/{Path(asset.href).name}")
    return found


def kill_stagings(server, stagers, tmp_path, count, seed, *, before=()):
    """Kill and go on; `before` are items that the folder holds already. Return how many kills fell halfway."""
    whole_path, out = tmp_path / "whole", tmp_path / "out"
    start = tmp_path / "start"
    if before:
        stagers.stage(start, *before)
        shutil.copytree(start, whole_path)
    assert stagers.stage(whole_path, *NAMES)[0] == 0
    expected = files_of(whole_path)
    _, whole = stagers.stage(tmp_path / "timed", *NAMES)

    def run(moment):
        shutil.rmtree(out, ignore_errors=True)
        if before:
            shutil.copytree(start, out)
        server.forget()
        status, seconds = stagers.stage(out, *NAMES, kill_after=moment)
        return status, seconds, (asked(server), *on_disk(server, out), listed(out))

    halfway = 0
    for first, pieces, finished, held in kills(count, whole, seed, run):
        halfway += 0 < len(finished | held) < 6 or len(pieces) > 0
        server.forget()
        assert stagers.stage(out, *NAMES)[0] == 0
        again = asked(server)
        assert len(set(first)) == len(first)
        assert len(set(again)) == len(again)
        assert len(set(first) & set(again)) <= IN_FLIGHT  # those that were under way when it was killed
        for path, start_byte, stop in again:
            assert path not in finished | held
            assert not any(path == p and a <= start_byte and min(stop, _size(server, p)) <= b for p, a, b in pieces)
        assert files_of(out) == expected
        assert not list(tmp_path.glob(".out*"))
    return halfway


def _size(server, path):
    return (server.folder / path).stat().st_size


def test_a_few_kills(server, stagers, tmp_path):
    kill_stagings(server, stagers, tmp_path, 5, seed=0)


@pytest.mark.slow
def test_thirty_kills(server, stagers, tmp_path):
    assert kill_stagings(server, stagers, tmp_path, 30, seed=1) >= 10


def test_a_few_kills_while_items_are_added(server, stagers, tmp_path):
    kill_stagings(server, stagers, tmp_path, 3, seed=2, before=("second",))


@pytest.mark.slow
def test_fifteen_kills_while_items_are_added(server, stagers, tmp_path):
    kill_stagings(server, stagers, tmp_path, 15, seed=3, before=("second",))


def test_two_kills_before_a_call_that_comes_to_its_end(server, stagers, tmp_path):
    stagers.stage(tmp_path / "whole", *NAMES)
    _, whole = stagers.stage(tmp_path / "timed", *NAMES)
    server.forget()
    for _ in range(3):
        stagers.stage(tmp_path / "out", *NAMES, kill_after=whole / 3)
    assert stagers.stage(tmp_path / "out", *NAMES)[0] == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    requests = asked(server)
    assert len(requests) <= len(set(requests)) + 3 * IN_FLIGHT


def test_two_processes_at_once(server, stagers, tmp_path):
    """The second is refused, whenever it comes; neither harms the folder."""
    script = (
        "import sys, pystac\nfrom sarcube.acquisition.staging.stage import stage\n"
        "from sarcube.errors import StoreError\n"
        "items = pystac.ItemCollection.from_file(sys.argv[1])\n"
        "print('ready', flush=True)\nsys.stdin.readline()\n"
        f"try:\n    stage(items, sys.argv[2], bbox={BOX!r})\n"
        "except StoreError as error:\n    sys.exit(17 if 'is being written by' in str(error) else 1)\n"
    )
    path = tmp_path / "items.json"
    pystac.ItemCollection(server.items).save_object(str(path))
    stagers.stage(tmp_path / "whole", *NAMES)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, path, tmp_path / "out"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    server.forget()
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        process.communicate(timeout=60)
    assert sorted(process.returncode for process in both) in ([0, 17], [0, 0])
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    requests = asked(server)
    assert len(requests) == len(set(requests))
