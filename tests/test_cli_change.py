"""The commands that say what changed, as a user types them, on a small simulated cube."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from cog_stack import make_stack

import sarcube as sc
from sarcube import cli
from sarcube.cli.stack_zarr import write_stack_zarr
from sarcube.errors import StoreError

DAYS = {"pre_days": 60, "post_days": 24}
TYPED_DAYS = ("--pre-days", "60", "--post-days", "24")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with cube.zarr, plain.zarr without terrain, and event.toml."""
    folder = tmp_path_factory.mktemp("staged") / "event"
    simulation = sc.simulate(folder, seed=31, size_km=2, pre_dates=3, post_dates=1, flaws=())
    items = sc.search(simulation.event, catalog=folder, **DAYS)
    plain = sc.load(items, bbox=simulation.event.bbox)
    sc.write_cube(plain, folder / "plain.zarr")
    sc.write_cube(sc.add_geometry(sc.add_terrain(plain, simulation.dem)), folder / "cube.zarr")
    return folder


@pytest.fixture
def run(staged, tmp_path, monkeypatch, capsys):
    """Run a command on the staged cube in an empty folder: exit code, what was printed, what was complained of."""
    monkeypatch.chdir(tmp_path)

    def call(command, *arguments, cube="cube.zarr"):
        typed = ["sarcube", command, str(staged / cube), str(staged / "event.toml"), *arguments]
        monkeypatch.setattr("sys.argv", typed)
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def track(staged):
    return str(sc.open_cube(staged / "cube.zarr")["scene_track"].values[0])


@pytest.fixture(scope="module")
def expected(staged, track):
    cube, event = sc.open_cube(staged / "cube.zarr"), sc.read_event(staged / "event.toml")
    return sc.composite(cube, event, track=track, **DAYS).compute()


def test_a_composite_as_a_geotiff(run, tmp_path, track, expected):
    code, out, err = run("composite", "-o", "out.tif", "--track", track, *TYPED_DAYS, "--picture", "change.png")
    assert code == 0, err
    assert "SIMULATED" in out
    assert "bands: vv_post, vh_post, vv_diff, vh_diff" in out
    assert "before: 3 dates" in out
    with rasterio.open(tmp_path / "out.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(), expected.values)
        assert dataset.dtypes == ("float32",) * 4
        assert dataset.descriptions == ("vv_post", "vh_post", "vv_diff", "vh_diff")
        assert dataset.units == ("dB",) * 4
        assert np.isnan(dataset.nodatavals).all()
        assert dataset.transform == expected.rio.transform()
        assert dataset.crs == expected.rio.crs
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        tags = dataset.tags()
    assert tags["track"] == track
    assert tags["dates_pre"].split(", ") == expected.attrs["dates_pre"]
    assert tags["simulated"]
    assert (tmp_path / "change.png").read_bytes().startswith(b"\x89PNG")
    assert {p.name for p in tmp_path.iterdir()} == {"out.tif", "change.png"}


def test_a_composite_as_a_zarr_store(run, tmp_path, track, expected):
    code, _, err = run("composite", "-o", "out.zarr", "--track", track, *TYPED_DAYS)
    assert code == 0, err
    opened = xr.open_dataset(tmp_path / "out.zarr", engine="zarr", decode_coords="all", consolidated=False)["change"]
    np.testing.assert_array_equal(opened.values, expected.values)
    assert opened["band"].values.tolist() == expected["band"].values.tolist()
    assert opened.rio.crs == expected.rio.crs
    assert opened.rio.transform() == expected.rio.transform()
    assert opened.attrs["dates_post"] == expected.attrs["dates_post"]
    code, _, err = run("composite", "-o", "out.zarr", "--track", track, *TYPED_DAYS)
    assert code == 5
    assert "there already" in err
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_one_polarisation(run, tmp_path, track):
    code, _, err = run("composite", "-o", "out.tif", "--track", track, *TYPED_DAYS, "--polarisation", "vv")
    assert code == 0, err
    with rasterio.open(tmp_path / "out.tif") as dataset:
        assert dataset.descriptions == ("vv_post", "vv_diff")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("composite", "-o", "out.tif", *TYPED_DAYS), 3, "name one"),
        (("composite", "-o", "out.png"), 2, ".zarr"),
        (("density", "-o", "out.png"), 2, ".tif"),
        (("density", "-o", "out.tif", "--polygons", "out.gpkg"), 2, "--threshold"),
        (("density", "-o", "out.tif", "--threshold", "0.1"), 2, "--polygons"),
        (("density", "-o", "out.tif", "--polygons", "out.shp", "--threshold", "0.1"), 2, ".gpkg"),
    ],
)
def test_what_cannot_be_done_is_said_and_writes_nothing(run, tmp_path, arguments, code, message):
    left, _, err = run(*arguments)
    assert left == code
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_density_of_a_cube_without_terrain_says_how_it_gets_one(run, tmp_path):
    code, _, err = run("density", "-o", "out.tif", "--mask-distortion", cube="plain.zarr")
    assert code == 3
    assert "slope" in err
    assert "layover_shadow" in err
    assert "--dem" in err
    assert not list(tmp_path.iterdir())


def test_a_density_as_a_geotiff_with_outlines(run, staged, tmp_path):
    settings = {**DAYS, "radius_pixels": 5, "percentile": 97.0, "min_slope": 5.0, "mask_distortion": True}
    cube, event = sc.open_cube(staged / "cube.zarr"), sc.read_event(staged / "event.toml")
    expected = sc.landslide_density(cube, event, **settings).compute()
    typed = ("-o", "out.tif", *TYPED_DAYS, "--radius", "5", "--percentile", "97", "--min-slope", "5")
    code, out, err = run("density", *typed, "--mask-distortion")
    assert code == 0, err
    assert "SIMULATED" in out
    with rasterio.open(tmp_path / "out.tif") as dataset:
        lazy = dataset.read(1)
        assert dataset.descriptions == ("density of strong backscatter decrease",)
        assert dataset.tags()["radius_pixels"] == "5"
    np.testing.assert_array_equal(lazy, expected.values)
    outlines = ("--polygons", "out.gpkg", "--threshold", "0.2", "--min-area", "2000")
    code, out, err = run("density", *typed, "--mask-distortion", *outlines)
    assert code == 0, err
    objects = gpd.read_file(tmp_path / "out.gpkg", layer="change_objects")
    assert f"{len(objects)} outlines" in out
    assert len(objects) > 0
    assert (objects.geometry.area >= 2000).all()
    assert objects.crs == expected.rio.crs
    with rasterio.open(tmp_path / "out.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), lazy)


def test_medians_across_tracks_are_those_of_the_paper(run, staged, tmp_path):
    cube, event = sc.open_cube(staged / "cube.zarr"), sc.read_event(staged / "event.toml")
    code, _, err = run("density", "-o", "out.tif", *TYPED_DAYS, "--across-tracks")
    assert code == 0, err
    with rasterio.open(tmp_path / "out.tif") as dataset:
        np.testing.assert_array_equal(dataset.read(1), sc.landslide_density(cube, event, **DAYS, per_track=False))


def test_what_breaks_on_the_way_leaves_no_half_store(tmp_path):
    def broken(block):
        raise StoreError("a chunk of the cube is damaged")

    stack = make_stack((3, 300, 300))
    stack = stack.copy(data=stack.data.map_blocks(broken, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)))
    with pytest.raises(StoreError, match="is damaged"):
        write_stack_zarr(stack, tmp_path / "stack.zarr")
    assert not list(tmp_path.iterdir())
