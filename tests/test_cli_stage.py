"""The commands that stage the scenes of an event and build its cube in one run, as a user types them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pystac
import pytest
from range_server import serve

import sarcube as sc
from sarcube import cli


@pytest.fixture(scope="module")
def simulation(tmp_path_factory):
    return sc.simulate(tmp_path_factory.mktemp("archive") / "event", seed=31, size_km=2, pre_dates=2, post_dates=1)


@pytest.fixture
def run(simulation, tmp_path, monkeypatch):
    """Run a command in a folder with event.toml as `main` does: its exit code."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(simulation.folder / "event.toml", tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["sarcube", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code

    return call


@pytest.fixture
def web(simulation, tmp_path):
    """The archive on a server, and an ItemCollection with its URLs in items.json."""
    with serve(simulation.folder) as server:
        items = sc.search(simulation.event, catalog=simulation.folder)
        for item in items:
            for asset in item.assets.values():
                asset.href = f"{server.url}/{asset.href.removeprefix(f'{simulation.folder.resolve()}/')}"
        pystac.ItemCollection(items).save_object(str(tmp_path / "items.json"))
        yield server


def plain(text):
    """What was said, without the line breaks of a narrow terminal."""
    return " ".join(text.split())


def test_stage_says_how_much_there_is_and_fetches_it_once(run, web, tmp_path, capsys):
    assert run("stage", "event.toml", "staged", "--catalog", "items.json") == 0
    said = capsys.readouterr()
    files = len(list((tmp_path / "staged").rglob("*.tiff")))
    assert re.search(rf"{files} files to stage, \d\.\d MB to fetch; 0 files", plain(said.err))
    assert "before" in said.out
    assert "staged/catalog.json" in said.out
    web.forget()
    assert run("stage", "event.toml", "staged", "--catalog", "items.json") == 0
    assert f"0 files to stage, 0.0 MB to fetch; {files} files" in plain(capsys.readouterr().err)
    assert web.requests() == []


def test_build_from_an_event(run, simulation, tmp_path, capsys):
    arguments = ("build", "event.toml", "--catalog", simulation.folder, "--dem", simulation.dem)
    assert run(*arguments) == 0
    said = capsys.readouterr().out
    assert "SIMULATED" in said
    assert "simulated-31.zarr" in said
    cube = sc.open_cube(tmp_path / "simulated-31.zarr")
    assert {"vv", "vh", "elevation", "layover_shadow"} <= set(cube.data_vars)
    assert (tmp_path / "simulated-31" / "catalog.json").exists()
    assert run(*arguments, "--resolution", "20") == 5
    assert "of another area or resolution" in capsys.readouterr().err


def test_build_into_places_of_ones_own(run, simulation, tmp_path):
    options = ("--catalog", simulation.folder, "--folder", "scenes", "--no-dem", "--exact", "--pre-days", "15")
    assert run("build", "event.toml", "my.zarr", *options, "--polarisations", "vv,vh") == 0
    cube = sc.open_cube(tmp_path / "my.zarr")
    assert set(cube.data_vars) == {"vv", "vh"}
    assert len(cube.time) == 4
    assert "quantization_nsb" not in cube.vv.attrs
    assert (tmp_path / "scenes" / "catalog.json").exists()
    assert not list(tmp_path.glob("simulated-31*"))


def test_a_scene_that_is_missing_has_an_exit_code(run, web, tmp_path, capsys):
    item = pystac.ItemCollection.from_file(str(tmp_path / "items.json"))[-1]
    for asset in item.assets.values():
        web.fail(asset.href.removeprefix(web.url), "404")
    command = ("build", "event.toml", "--catalog", "items.json", "--no-dem")
    assert run(*command) == 4
    assert item.id in capsys.readouterr().err
    assert run(*command, "--on-error", "skip") == 6
    said = capsys.readouterr()
    assert f"not staged: {item.id}: vv" in said.out
    assert "the same command tries it again" in said.err
    assert run("stage", "event.toml", "simulated-31", "--catalog", "items.json", "--on-error", "skip") == 6
    assert f"not staged: cannot read {web.url}" in capsys.readouterr().out
    web.heal()
    assert run(*command, "--on-error", "skip") == 0
    assert item.id in sc.open_cube(tmp_path / "simulated-31.zarr").attrs["items"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("event.toml", "--event", "event.toml"), "--event cannot be given with an event"),
        (("event.toml", "--drop", "S1", "--append"), "--drop, --append cannot be given with an event"),
        (("scenes", "cube.zarr", "--folder", "here", "--no-dem"), "--folder, --no-dem cannot be given with a folder"),
        (("scenes",), "say where to write the cube"),
        (("event.toml", "--dem", "dem.tif", "--no-dem"), "contradict each other"),
        (("event.toml", "--annotation", "--no-dem"), "leave out one of the two"),
        (("event.toml", "--no-dem", "--resolution", "-5"), "resolution must be a pixel size"),
        (("event.toml", "one.zarr", "--no-dem", "--folder", "one.zarr"), "in the cube's own folder"),
        (("event.toml", "one.zarr", "--no-dem", "--folder", "one.zarr/scenes"), "in the cube's own folder"),
    ],
)
def test_options_of_the_other_form_are_refused(run, capsys, arguments, message):
    assert run("build", *arguments) == 2
    said = capsys.readouterr().err
    assert message in plain(said)
    assert said.count("\n") == 1, "more than one line"


@pytest.mark.parametrize("name", ["../up", "", "at the end ", "dots..", ".hidden"])
def test_a_name_that_is_no_folder_is_refused(run, tmp_path, capsys, name):
    text = (tmp_path / "event.toml").read_text()
    (tmp_path / "event.toml").write_text(text.replace("simulated-31", name))
    assert run("build", "event.toml") == 2
    assert "give CUBE and --folder" in capsys.readouterr().err


def test_what_cannot_be_written_is_said_before_anything_is_staged(run, simulation, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert run("build", "event.toml", "notes.txt", "--catalog", simulation.folder, "--no-dem") == 5
    assert "is no sarcube cube; it is left as it is" in capsys.readouterr().err
    other = tmp_path / "other"
    other.mkdir()
    (other / "catalog.json").write_text('{"type": "Catalog", "id": "another", "links": []}')
    assert run("stage", "event.toml", "other", "--catalog", simulation.folder) == 2
    assert "holds another catalogue" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"event.toml", "notes.txt", "other"}
    assert [path.name for path in other.iterdir()] == ["catalog.json"]


def test_a_catalogue_that_is_not_there_points_to_the_folder_only_if_that_holds_scenes(run, simulation, capsys):
    command = ("build", "event.toml", "--catalog", "nowhere", "--no-dem")
    assert run(*command) == 2
    said = plain(capsys.readouterr().err)
    assert "simulated-31 keeps no answer" in said
    assert "--catalog simulated-31" not in said
    assert run("stage", "event.toml", "simulated-31", "--catalog", simulation.folder) == 0
    capsys.readouterr()
    assert run(*command) == 2
    assert "--catalog simulated-31" in plain(capsys.readouterr().err)


def test_ctrl_c_says_how_to_go_on(run, web, tmp_path):
    item = pystac.ItemCollection.from_file(str(tmp_path / "items.json"))[0]
    path = item.assets["vv"].href.removeprefix(web.url)
    web.fail(path, "slow", seconds=1)  # 10 seconds each time, so that it is not done before it is interrupted
    code = "from sarcube.cli import main; main()"
    command = [sys.executable, "-c", code, "stage", "event.toml", "staged", "--catalog", "items.json"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ})
    end = time.monotonic() + 60
    while not web.requests(path):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    web.heal()
    assert run("stage", "event.toml", "staged", "--catalog", "items.json") == 0


def test_what_is_staged_can_be_built_by_hand(run, simulation, tmp_path):
    """The folder is a catalogue like any other: for what the one command does not do, such as leaving a scene out."""
    assert run("stage", "event.toml", "staged", "--catalog", simulation.folder) == 0
    first = sc.search(simulation.event, catalog=tmp_path / "staged")[0].id
    assert run("build", "staged", "cube.zarr", "--event", "event.toml", "--drop", first) == 0
    cube = sc.open_cube(tmp_path / "cube.zarr")
    assert first not in cube.attrs["items"]
    assert np.isfinite(cube.vv).any()
