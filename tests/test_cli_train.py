"""The command that trains, as a user types it, on a small simulated cube."""

import csv
from dataclasses import replace

import pytest

import sarcube as sc
from sarcube import cli
from sarcube.labels.patches import concatenate_patches
from sarcube.models.weights import model_hash

DAYS = {"pre_days": 60, "post_days": 24}
TYPED = ("--pre-days", "60", "--post-days", "24", "--filters", "4", "--learning-rate", "0.003", "--batch-size", "32")
SMALL_BLOCKS = ("--block-size", "1300", "--buffer", "0")


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    """A folder with cube.zarr, plain.zarr without terrain, event.toml and landslides.gpkg; and the simulation."""
    folder = tmp_path_factory.mktemp("staged") / "event"
    simulation = sc.simulate(folder, seed=31, size_km=5, pre_dates=3, post_dates=1, flaws=())
    items = sc.search(simulation.event, catalog=folder, **DAYS)
    plain = sc.load(items, bbox=simulation.event.bbox)
    sc.write_cube(plain, folder / "plain.zarr")
    sc.write_cube(sc.add_geometry(sc.add_terrain(plain, simulation.dem)), folder / "cube.zarr")
    return folder, simulation


@pytest.fixture
def run(staged, tmp_path, monkeypatch, capsys):
    """Run `sarcube train` in an empty folder: exit code, what was printed, what was complained of."""
    folder, simulation = staged
    monkeypatch.chdir(tmp_path)

    def call(*arguments, cube="cube.zarr", model="mine.safetensors"):
        paths = [str(path) for path in (folder / cube, folder / "event.toml", simulation.inventory, model)]
        monkeypatch.setattr("sys.argv", ["sarcube", "train", *paths, *arguments])
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


def expected_model(staged, *, cube, method, cleaned, tracks, **config):
    folder, simulation = staged
    data = sc.open_cube(folder / cube)
    known = sc.read_inventory(simulation.inventory)
    seen = sc.clean_inventory(known, data).per_track if cleaned else dict.fromkeys(tracks)
    patches = concatenate_patches(
        [
            sc.sample_patches(sc.composite(data, simulation.event, track=track, **DAYS), known, cleaned=seen[track])
            for track in tracks
        ]
    )
    sets = sc.split_patches(patches, method=method, block_size=1300, buffer=0)
    settings = sc.TrainConfig(batch_size=32, learning_rate=0.003, **config)
    model = sc.train(sets.train, sets.validation, model=sc.models.cnn(4, filters=4), config=settings)
    model.spec = replace(
        model.spec, trained_on=f"event {simulation.event.name}, tracks {', '.join(tracks)}", simulated_only=True
    )
    return model, sets


def test_a_model_of_all_tracks_split_by_ground_and_cleaned(run, staged, tmp_path):
    code, out, err = run(*TYPED, *SMALL_BLOCKS, "--epochs", "2", "--log", "log.csv")
    assert code == 0, err
    tracks = staged[1].tracks
    expected, sets = expected_model(
        staged, cube="cube.zarr", method="blocked", cleaned=True, tracks=sorted(tracks), epochs=2
    )
    model = sc.load_model(tmp_path / "mine.safetensors")
    assert model_hash(model) == model_hash(expected)
    assert "SIMULATED" in out
    for name, patches in zip(("training", "validation", "test"), sets, strict=True):
        assert f"{name}: {patches}" in out
    assert f"test: {sc.evaluate(model, sets.test)}" in out
    with (tmp_path / "log.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"mine.safetensors", "log.csv"}


def test_one_track_at_random_and_as_mapped(run, staged, tmp_path):
    track = staged[1].tracks[0]
    code, _, err = run(*TYPED, "--split", "random", "--no-clean", "--epochs", "1", "--track", track, "--loss", "bce")
    assert code == 0, err
    expected, _ = expected_model(
        staged, cube="plain.zarr", method="random", cleaned=False, tracks=[track], epochs=1, loss="bce"
    )
    model = sc.load_model(tmp_path / "mine.safetensors")
    assert model.spec.trained_on == f"event {staged[1].event.name}, track {track}"
    model.spec = replace(model.spec, trained_on=expected.spec.trained_on)
    assert model_hash(model) == model_hash(expected)


def test_an_interrupted_command_goes_on_where_it_was(run, tmp_path, monkeypatch):
    code, _, err = run(*TYPED, *SMALL_BLOCKS, "--epochs", "3")
    assert code == 0, err
    whole = sc.load_model(tmp_path / "mine.safetensors")
    import sarcube.training.train as training

    epochs, started = training.run_epoch, []

    def interrupted(model, patches, epoch, config, **rest):
        started.append(epoch)
        if started == [1, 2, 3]:
            raise KeyboardInterrupt
        return epochs(model, patches, epoch, config, **rest)

    monkeypatch.setattr(training, "run_epoch", interrupted)
    code, _, err = run(*TYPED, *SMALL_BLOCKS, "--epochs", "3", model="other.safetensors")
    assert code == 130
    assert "the same command goes on from there" in err
    assert (tmp_path / "other.checkpoint").exists()
    code, _, err = run(*TYPED, *SMALL_BLOCKS, "--epochs", "3", model="other.safetensors")
    assert code == 0, err
    assert started == [1, 2, 3, 3]
    assert model_hash(sc.load_model(tmp_path / "other.safetensors")) == model_hash(whole)
    assert not (tmp_path / "other.checkpoint").exists()


def test_an_interrupted_command_typed_with_other_dates_is_refused(run, staged, tmp_path, monkeypatch):
    import sarcube.training.train as training

    epochs = training.run_epoch

    def interrupted(model, patches, epoch, config, **rest):
        if epoch == 2:
            raise KeyboardInterrupt
        return epochs(model, patches, epoch, config, **rest)

    monkeypatch.setattr(training, "run_epoch", interrupted)
    assert run(*TYPED, *SMALL_BLOCKS, "--epochs", "3")[0] == 130
    monkeypatch.setattr(training, "run_epoch", epochs)
    code, _, err = run(*TYPED, *SMALL_BLOCKS, "--epochs", "3", "--pre-days", "20")
    assert code == 2
    assert "other pixels" in err


def test_a_track_named_twice_is_taken_once(run, staged):
    track = staged[1].tracks[0]
    once, twice = (
        run(*TYPED, "--split", "random", "--epochs", "1", *("--track", track) * number, model=f"{number}.safetensors")
        for number in (1, 2)
    )
    assert once[0] == twice[0] == 0
    assert [line for line in once[1].splitlines() if "patches" in line] == [
        line for line in twice[1].splitlines() if "patches" in line
    ]


def test_a_track_without_a_mask_is_named(run, staged, tmp_path):
    folder, simulation = staged
    seen, blind = simulation.tracks
    cube = sc.open_cube(folder / "cube.zarr")
    sc.write_cube(cube.sel(track=[seen]), tmp_path / "part.zarr")
    code, _, err = run(*TYPED, cube=str(tmp_path / "part.zarr"))
    assert code == 2
    assert f"lacks the track {blind} and holds {seen}" in err
    assert "--no-clean" in err


@pytest.mark.slow
def test_a_model_that_judges_pixels(run, staged, tmp_path):
    track = staged[1].tracks[0]
    code, out, err = run(
        "--architecture", "unet", "--track", track, "--split", "random", "--epochs", "1", "--batch-size", "8",
        "--loss", "dice",
    )  # fmt: skip
    assert code == 0, err
    assert "patches of 128 x 128 pixels" in out
    assert isinstance(sc.load_model(tmp_path / "mine.safetensors"), sc.models.Segmenter)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--architecture", "vgg"), 2, "there are: "),
        (("--architecture", "unet", "--filters", "4"), 2, "leave --filters out"),
        (("--loss", "jaccard"), 2, "loss must be one of"),
        (("--split", "by-eye"), 2, '"random" or "blocked"'),
        (("--track", "A001"), 3, "A001"),
    ],
)
def test_what_cannot_be_done_is_said_and_writes_nothing(run, tmp_path, arguments, code, message):
    left, _, err = run(*arguments)
    assert left == code
    assert message in err
    assert not list(tmp_path.iterdir())


def test_cleaning_needs_a_cube_that_knows_what_is_seen(run):
    code, _, err = run("--clean", cube="plain.zarr")
    assert code == 3
    assert "layover_shadow" in err


def test_another_suffix_is_refused_before_anything_is_read(run):
    code, _, err = run(model="mine.pt")
    assert code == 2
    assert ".safetensors" in err
