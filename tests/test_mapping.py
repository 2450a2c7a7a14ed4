"""The whole path on a small simulated event, and what the command line says when it cannot be walked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from typer.testing import CliRunner

import sarcube as sc
from sarcube.cli import app, main
from sarcube.demo import run_demo
from sarcube.errors import BandError
from sarcube.synthetic.archive import FLAWS


@pytest.fixture(scope="module")
def event_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged") / "event"
    flaws = [f for f in FLAWS if f != "shift"]
    sc.simulate(folder, seed=31, size_km=3, pre_dates=4, post_dates=2, flaws=flaws)
    return folder


def _run(*arguments):
    """Run the command line as a user does: exit code and everything printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sarcube.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def cube(event_folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("cubes") / "cube.zarr"
    code, said = _run(
        "build",
        event_folder,
        path,
        "--event",
        event_folder / "event.toml",
        "--dem",
        event_folder / "dem.tif",
        "--post-days",
        24,
    )
    assert code == 0, said
    assert str(path) in said.replace("\n", "")
    return path


def test_from_staged_scenes_to_the_map(event_folder, cube, tmp_path):
    code, said = _run(
        "detect",
        cube,
        event_folder / "event.toml",
        tmp_path / "map",
        "--post-days",
        24,
        "--min-slope",
        5,
        "--inventory",
        event_folder / "inventory.gpkg",
    )
    assert code == 0, said
    data = sc.open_cube(cube)
    assert data.attrs["simulated"]
    assert len(set(data.scene_track.values)) == 2
    metrics = json.loads((tmp_path / "map" / "metrics.json").read_text())
    assert metrics["simulated"] is True
    detections = gpd.read_file(tmp_path / "map" / "detections.gpkg", layer="detections")
    assert detections.crs.to_epsg() == data.rio.crs.to_epsg()
    for name, track in metrics["tracks"].items():
        assert track["all_windows"]["n"] == track["windows"] > 0
        assert (detections.track == name).sum() == track["boxes"]
        with rasterio.open(tmp_path / "map" / f"probability-{name}.tif") as source:
            assert source.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            values = source.read(1)
        assert np.nanmin(values) >= 0
        assert np.nanmax(values) <= 1
    assert (tmp_path / "map" / "quicklook.png").read_bytes().startswith(b"\x89PNG")
    assert np.allclose(detections.area, 640**2)
    assert detections.visible_share.between(0, 1).all()


def test_no_flaw_of_the_archive_reaches_the_composite(event_folder, tmp_path):
    """A cube of flawed scenes holds nothing but what the clean scenes hold, or NaN."""
    clean = sc.simulate(tmp_path / "clean", seed=31, size_km=3, pre_dates=4, post_dates=2, flaws=())
    event = clean.event
    expected, flawed = (
        sc.load(sc.search(event, catalog=folder, pre_days=60, post_days=24), bbox=event.bbox).compute()
        for folder in (clean.folder, event_folder)
    )
    np.testing.assert_array_equal(expected.time, flawed.time)
    for name in ("vv", "vh"):
        same = flawed[name] == expected[name]
        hole = flawed[name].isnull()
        # A date in another zone is resampled there and back, one per track; all else is the clean value, or missing.
        resampled = ~(same | hole).all(("y", "x"))
        assert resampled.sum() == 2
        assert float(same.sel(time=resampled).mean()) > 0.95
        assert ((flawed[name] > 0) | hole).all()


def test_map_without_a_network_or_an_inventory(event_folder, cube, tmp_path):
    result = sc.map_landslides(
        sc.open_cube(cube),
        sc.read_event(event_folder / "event.toml"),
        tmp_path,
        model=sc.load_model("cnn-vv-vh"),
        tracks=[str(sc.open_cube(cube).scene_track.values[0])],
    )
    assert list(result.windows) == []
    assert len(result.scores) == 1
    assert all(path.exists() for path in result.files)


def test_filters_leave_windows_out_and_the_record_says_which(event_folder, cube, tmp_path):
    event, options = sc.read_event(event_folder / "event.toml"), {"model": sc.load_model("cnn-vv-vh"), "stride": 64}
    data = sc.open_cube(cube)
    result = sc.map_landslides(data, event, tmp_path, min_slope=89.9, min_visible_share=0.5, **options)
    assert len(result.detections) == 0
    said = json.loads((tmp_path / "metrics.json").read_text())["filters"]
    assert said == {"min_slope": 89.9, "water": False, "min_visible_share": 0.5}
    with pytest.raises(BandError, match="add_terrain"):
        sc.map_landslides(data.drop_vars("slope"), event, tmp_path, min_slope=10, **options)
    with pytest.raises(BandError, match="add_geometry"):
        sc.map_landslides(data.drop_vars("layover_shadow"), event, tmp_path, min_visible_share=0.5, **options)


def test_no_scene_in_a_window(event_folder, cube, tmp_path):
    late = tmp_path / "late.toml"
    late.write_text((event_folder / "event.toml").read_text().replace("time = 20", "time = 19"))
    code, said = _run("detect", cube, late, tmp_path / "map")
    assert code == 3
    assert "error:" in said
    assert "scene" in said


def test_unknown_track(event_folder, cube, tmp_path):
    code, said = _run("detect", cube, event_folder / "event.toml", tmp_path / "map", "--track", "D999")
    assert code == 3
    assert 'track "D999" is not in this cube; it holds' in said


def test_no_vh(event_folder, cube, tmp_path):
    only = sc.open_cube(cube).drop_vars("vh")
    sc.write_cube(only, tmp_path / "vv.zarr")
    code, said = _run("detect", tmp_path / "vv.zarr", event_folder / "event.toml", tmp_path / "map")
    assert code == 3
    assert "vh" in said


def test_event_outside_the_cube(event_folder, cube, tmp_path):
    event = sc.read_event(event_folder / "event.toml")
    west, south, east, north = event.bbox
    away = tmp_path / "away.toml"
    away.write_text(
        f'name = "away"\nbbox = [{west + 1}, {south + 1}, {east + 1}, {north + 1}]\n'
        f"time = {event.first_after.isoformat()}\n"
    )
    code, said = _run("detect", cube, away, tmp_path / "map")
    assert code == 3
    assert "error:" in said


def test_missing_dem_and_broken_file(event_folder, tmp_path):
    event = event_folder / "event.toml"
    code, said = _run("build", event_folder, tmp_path / "a.zarr", "--event", event, "--dem", tmp_path / "no.tif")
    assert code == 4
    assert "there is no DEM at" in said
    copy = tmp_path / "copy"
    for path in event_folder.rglob("*"):
        target = copy / path.relative_to(event_folder)
        if path.is_dir():
            target.mkdir(parents=True)
        elif path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    victim = sorted(copy.glob("sentinel-1-rtc/*/iw-vv.rtc.tiff"))[0]
    victim.write_bytes(victim.read_bytes()[:20_000])
    code, said = _run("build", copy, tmp_path / "b.zarr", "--event", event)
    assert code == 4
    assert victim.parent.name in said.replace("\n", "")
    with pytest.raises(sc.SarcubeError, match=r"not complete|never completed|incomplete"):
        sc.open_cube(tmp_path / "b.zarr")


def test_a_disk_that_is_full(event_folder, cube, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(sc.SarcubeError, match="disk full") as caught:
        sc.map_landslides(
            sc.open_cube(cube), sc.read_event(event_folder / "event.toml"), tmp_path, model=sc.load_model("cnn-vv-vh")
        )
    assert caught.value.exit_code == 5
    assert not (tmp_path / "quicklook.png").exists()


def test_help_teaches():
    for command in ([], ["demo"], ["simulate"], ["search"], ["build"], ["info"], ["detect"]):
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert len(result.output) > 300


def test_search_and_info(event_folder, cube):
    code, said = _run("search", event_folder / "event.toml", "--catalog", event_folder)
    assert code == 0, said
    assert "before" in said
    code, said = _run("info", cube)
    assert code == 0, said
    assert "SIMULATED" in said
    assert "duplicates dropped" in said


def test_interrupt_has_its_own_exit_code(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("sarcube.cli.app", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


def test_an_event_file_must_describe_an_event(tmp_path):
    path = tmp_path / "event.toml"
    for text, message in (
        ("name = 3", "must hold name and bbox"),
        ('name = "a"\nbbox = [0, 0, 1, 1]\ntime = 2020-01-01\nmagnitude = 7', "unknown: magnitude"),
        ("not toml", "cannot read an event"),
    ):
        path.write_text(text)
        with pytest.raises(sc.SarcubeError, match=message):
            sc.read_event(path)
    path.write_text('name = "a"\nbbox = [0, 0, 1, 1]\ntime = 2020-01-01T03:00:00Z\n')
    assert sc.read_event(path) == sc.Event("a", bbox=(0, 0, 1, 1), time="2020-01-01T03:00Z")


def test_importing_sarcube_loads_nothing_heavy():
    code = "import sarcube, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "sarcube" in loaded
    assert not loaded & {"torch", "xarray", "dask", "numpy", "numba", "rasterio", "geopandas"}


def test_every_public_name_is_there():
    for name in sc.__all__:
        assert getattr(sc, name) is not None
    with pytest.raises(AttributeError, match="attribute nothing"):
        sc.nothing  # noqa: B018
    assert Path(sc.__file__).with_name("py.typed").exists()


def test_the_demo_keeps_what_it_is_asked_to_keep_and_can_run_again(tmp_path):
    told = []
    for _ in range(2):
        simulation, result = run_demo(
            tmp_path / "map", seed=31, size_km=3, progress=lambda what, done, total: told.append((done, total))
        )
        assert not simulation.folder.exists()
    assert told[-1][0] == told[-1][1]
    _, kept = run_demo(tmp_path / "map", seed=31, size_km=3, keep=tmp_path / "kept")
    assert sc.open_cube(tmp_path / "kept" / "cube.zarr").attrs["simulated"]
    assert (tmp_path / "kept" / "inventory.gpkg").exists()
    assert kept.windows == result.windows
    with pytest.raises(sc.SarcubeError, match="already holds something"):
        run_demo(tmp_path / "map", keep=tmp_path / "kept")
