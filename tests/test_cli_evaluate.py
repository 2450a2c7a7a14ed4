"""The command that judges a model, as a user types it, on a small simulated cube."""

import json

import pandas as pd
import pytest
import simple_stack  # noqa: F401  (one thread)

import sarcube as sc
from sarcube import cli
from sarcube.evaluation.evaluate import evaluate_scores
from sarcube.labels.patches import COLUMNS
from sarcube.labels.rasterise import rasterise_inventory

DAYS = {"pre_days": 60, "post_days": 24}
TYPED = ("--pre-days", "60", "--post-days", "24", "--stride", "48")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with cube.zarr, event.toml and an inventory; and the simulation."""
    folder = tmp_path_factory.mktemp("staged") / "event"
    simulation = sc.simulate(folder, seed=31, size_km=5, pre_dates=3, post_dates=1, flaws=())
    items = sc.search(simulation.event, catalog=folder, **DAYS)
    cube = sc.add_terrain(sc.load(items, bbox=simulation.event.bbox), simulation.dem)
    sc.write_cube(cube, folder / "cube.zarr")
    return folder, simulation


@pytest.fixture
def run(staged, tmp_path, monkeypatch, capsys):
    """Run `sarcube evaluate` in an empty folder: exit code, what was printed, what was complained of."""
    folder, simulation = staged
    monkeypatch.chdir(tmp_path)

    def call(*arguments, model="cnn-vv-vh"):
        paths = [str(path) for path in (folder / "cube.zarr", folder / "event.toml", simulation.inventory)]
        monkeypatch.setattr("sys.argv", ["sarcube", "evaluate", str(model), *paths, *arguments])
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


def test_every_window_of_every_track_is_judged(run, staged, tmp_path):
    code, out, err = run(*TYPED, "--block-size", "1000", "--json", "all.json", "--table", "windows.csv")
    assert code == 0, err
    folder, simulation = staged
    cube, model = sc.open_cube(folder / "cube.zarr"), sc.load_model("cnn-vv-vh")
    known = sc.read_inventory(simulation.inventory)
    record = json.loads((tmp_path / "all.json").read_text())
    table = pd.read_csv(tmp_path / "windows.csv", float_precision="round_trip")
    assert list(table.columns) == [*COLUMNS, "score"]
    assert (table["score"] == table["score"].astype("float32")).all()
    assert sorted(record["tracks"]) == sorted(simulation.tracks)
    for track, found in record["tracks"].items():
        stack = sc.composite(cube, simulation.event, track=track, **DAYS)
        expected = evaluate_scores(sc.score_windows(stack, model, stride=48), rasterise_inventory(known, stack))
        assert found["negatives"] + found["positives"] == expected.n
        assert found["f1"] == pytest.approx(expected.f1, nan_ok=True)
        assert found["auprc"] == pytest.approx(expected.auprc)
        assert len(table[table["track"] == track]) == expected.n + expected.unscored
        numbers = [line.split() for line in out.splitlines() if line.startswith(track)]
        assert numbers == [
            [track, *map(str, list(found.values())[:3]), *(f"{v:.3f}" for v in list(found.values())[3:8])]
        ]
    threshold = model.spec.threshold
    for name in ("f1", "auprc"):
        interval = sc.block_bootstrap(table, name, threshold=threshold, block_m=1000)
        assert record["intervals"][name]["low"] == pytest.approx(interval.low, abs=1e-6)
        assert f"{name.upper()}: {interval}" in out
    assert record["all"]["f1"] == pytest.approx(f1_of(table, threshold))
    assert record["brier_score"] == pytest.approx(sc.brier_score(table))
    assert record["simulated"] is True
    assert "SIMULATED" in out
    assert "windows.csv" in out


def f1_of(table, threshold):
    said = table["score"] >= threshold
    return 2 * (said & table["landslide"]).sum() / (said.sum() + table["landslide"].sum())


def test_little_ground_gives_numbers_without_an_interval(run, staged, tmp_path):
    track = staged[1].tracks[0]
    code, out, err = run(*TYPED, "--track", track, "--json", "one.json")
    assert code == 0, err
    record = json.loads((tmp_path / "one.json").read_text())
    assert list(record["tracks"]) == [track]
    assert "no confidence interval: the rows lie in" in record["intervals"]["f1"]
    assert "no confidence interval" in out
    assert record["all"]["n"] == record["tracks"][track]["negatives"] + record["tracks"][track]["positives"]


def test_a_model_of_other_bands_sees_those(run, tmp_path):
    model = sc.models.cnn(2, bands=("vv_diff", "slope"), filters=2)
    sc.save_model(model, tmp_path / "mine.safetensors")
    code, out, err = run(*TYPED, model=tmp_path / "mine.safetensors")
    assert code == 0, err
    assert "landslides" in out
    assert [file.name for file in tmp_path.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "model", "code", "message"),
    [
        (("--track", "A001"), "cnn-vv-vh", 3, "A001"),
        ((), "cnn", 2, "no packaged model"),
        (("--stride", "0"), "cnn-vv-vh", 2, "stride"),
        (("--block-size", "0"), "cnn-vv-vh", 2, "--block-size must be > 0"),
        (("--json", "nowhere/all.json"), "cnn-vv-vh", 5, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_and_writes_nothing(run, tmp_path, arguments, model, code, message):
    left, _, err = run(*TYPED, *arguments, model=model)
    assert left == code, err
    assert message in err
    assert not list(tmp_path.iterdir())


def test_a_model_that_judges_pixels_is_refused(run, tmp_path):
    sc.save_model(sc.models.unet(4), tmp_path / "unet.safetensors")
    code, _, err = run(*TYPED, model=tmp_path / "unet.safetensors")
    assert code == 2
    assert "gives each window a probability" in err
