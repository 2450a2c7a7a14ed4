"""The command that explains a model, as a user types it, on a small simulated cube."""

import numpy as np
import pytest
import rasterio
import xarray as xr

import sarcube as sc
from sarcube import cli

DAYS = ("--pre-days", "60", "--post-days", "24")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged") / "event"
    simulation = sc.simulate(folder, seed=31, size_km=3, pre_dates=2, post_dates=1, flaws=())
    items = sc.search(simulation.event, catalog=folder, pre_days=60, post_days=24)
    sc.write_cube(sc.load(items, bbox=simulation.event.bbox), folder / "cube.zarr")
    return folder


@pytest.fixture
def run(staged, tmp_path, monkeypatch, capsys):
    """Run the command on the staged cube in an empty folder: exit code, what was printed, what was complained of."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        typed = ["sarcube", "explain", "cnn-vv-vh", str(staged / "cube.zarr"), str(staged / "event.toml"), *arguments]
        monkeypatch.setattr("sys.argv", typed)
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


@pytest.fixture(scope="module")
def stack(staged):
    cube, event = sc.open_cube(staged / "cube.zarr"), sc.read_event(staged / "event.toml")
    track = str(cube["scene_track"].values[0])
    return sc.composite(cube, event, track=track, post_days=24).compute()


def box_of(stack, rows, columns):
    """Degrees of the centres of the first and last pixel of a part."""
    part = stack.isel(y=rows, x=columns)
    west, south, east, north = part.rio.transform_bounds("EPSG:4326")
    inward = (east - west) / part.sizes["x"] / 2
    return [str(value) for value in (west + inward, south + inward, east - inward, north - inward)]


def test_an_area_as_a_geotiff_with_a_figure(run, staged, stack, tmp_path):
    track = stack.attrs["track"]
    box = box_of(stack, slice(40, 140), slice(50, 180))
    typed = ("out.tif", "--track", track, *DAYS, "--box", *box, "--figure", "explain.png")
    code, out, err = run(*typed, "--inventory", str(staged / "inventory.gpkg"))
    assert code == 0, err
    assert "SIMULATED" in out
    assert "15 drawn from windows without a known landslide" in out
    assert {p.name for p in tmp_path.iterdir()} == {"out.tif", "explain.png"}
    assert (tmp_path / "explain.png").read_bytes().startswith(b"\x89PNG")
    with rasterio.open(tmp_path / "out.tif") as dataset:
        found, transform = dataset.read(), dataset.transform
        assert dataset.descriptions == ("vv_post", "vh_post", "vv_diff", "vh_diff", "mean")
        assert float(dataset.tags()["base_value"]) < 0
    # The box, of which degrees do not follow the pixels, is covered and little more.
    first, row = (round(value) for value in ~stack.rio.transform() * (transform.c, transform.f))
    assert 40 - 4 <= row <= 40
    assert 50 - 4 <= first <= 50
    assert 100 <= found.shape[1] <= 108
    assert 130 <= found.shape[2] <= 138
    model = sc.load_model("cnn-vv-vh")
    patches = sc.sample_patches(stack, sc.read_inventory(staged / "inventory.gpkg"))
    part = stack.isel(y=slice(row, row + found.shape[1]), x=slice(first, first + found.shape[2]))
    expected = sc.explain(model, part, baselines=patches).compute()
    np.testing.assert_array_equal(found[:4], expected)
    np.testing.assert_allclose(found[4], expected.mean("band"), atol=1e-7)


def test_a_point_is_widened_to_a_window_that_adds_up(run, stack, tmp_path):
    box = box_of(stack, slice(0, 2), slice(100, 102))  # at the border: the window is moved in
    code, out, err = run("out.zarr", "--track", stack.attrs["track"], *DAYS, "--box", *box)
    assert code == 0, err
    assert "drawn from all windows" in out
    opened = xr.open_dataset(tmp_path / "out.zarr", engine="zarr", decode_coords="all", consolidated=False)
    layer = opened["contribution"].load()
    assert layer.shape == (5, 64, 64)
    assert float(layer["y"][0]) == float(stack["y"][0])
    column = int(np.flatnonzero(stack["x"] == layer["x"][0])[0])
    assert column <= 100
    assert column + 64 >= 102
    window = stack.isel(y=slice(0, 64), x=slice(column, column + 64)).to_numpy()[None]
    total = float(layer[:4].astype(np.float64).sum()) + opened.attrs["base_value"]
    assert 1 / (1 + np.exp(-total)) == pytest.approx(
        float(sc.load_model("cnn-vv-vh").probabilities(window)[0]), abs=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("out.png",), 2, ".zarr"),
        (("out.tif", *DAYS), 3, "name one"),
    ],
)
def test_what_cannot_be_done_is_said_and_writes_nothing(run, tmp_path, arguments, code, message):
    left, _, err = run(*arguments)
    assert left == code
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_box_elsewhere_is_told_where_the_stack_is(run, stack, tmp_path):
    code, _, err = run("out.tif", "--track", stack.attrs["track"], *DAYS, "--box", "0", "50", "0.1", "50.1")
    assert code == 3
    assert "holds no pixel" in err
    assert "west, south, east, north" in err
    assert not list(tmp_path.iterdir())
