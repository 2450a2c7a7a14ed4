"""Many trainings into one table: the same wherever they run and whatever interrupts them, and no run missing in it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import torch
from killable_sweep import SETTINGS, small_split, swept
from training_patches import SIZE, make_chips, make_patches, stack_patches

import sarcube as sc
from sarcube.errors import BandError, InputError, ReadError, StoreError
from sarcube.labels.patches import patches_from_arrays
from sarcube.labels.splits import Split
from sarcube.lock import writing
from sarcube.models.weights import model_hash
from sarcube.sweeps.naming import label_columns
from sarcube.sweeps.run import _alone_in_process as alone_in_process
from sarcube.sweeps.run import _warn_of_trimming

VARYING = ("seconds", "epochs_before")  # of a run from call to call


def same(a, b):
    pd.testing.assert_frame_equal(a.drop(columns=list(VARYING)), b.drop(columns=list(VARYING)))


def weights_of(folder, results):
    return [model_hash(sc.load_model(folder / name)) for name in results["weights"]]


@pytest.fixture(autouse=True)
def one_thread():
    """numba's first parallel call, in whichever test, gives torch as many threads as there are cores: other bits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A sweep that nothing interrupted: its folder and its table."""
    torch.set_num_threads(1)  # made before `one_thread` is
    folder = tmp_path_factory.mktemp("sweep") / "made" / "by it"
    return folder, swept(folder)


def test_a_row_is_what_training_and_evaluation_say(done):
    folder, results = done
    assert results[["data", "learning_rate", "seed"]].to_numpy().tolist() == [
        ["small", rate, seed] for rate in (1e-3, 3e-3) for seed in (0, 1)
    ]
    assert label_columns(results) == ["data", "learning_rate"]
    assert (results["status"] == "finished").all()
    row = results.iloc[3]
    data = small_split()
    model = sc.train(
        data.train,
        data.validation,
        model=sc.models.cnn(4, filters=4, dropout=0.2, window_size=SIZE, seed=1),
        config=replace(SETTINGS[1].config, seed=1),
    )
    kept = sc.load_model(folder / row["weights"])
    assert model_hash(kept) != model_hash(sc.load_model(folder / results["weights"][2]))
    for name, tensor in model.state_dict().items():
        assert torch.equal(kept.state_dict()[name], tensor)
    for part in ("validation", "test"):
        expected = sc.evaluate(model, getattr(data, part))
        assert row[f"{part}_f1"] == expected.f1
        assert row[f"{part}_auprc"] == expected.auprc
        assert row[f"{part}_n"] == expected.n
    assert row["threshold"] == model.spec.threshold == kept.spec.threshold
    assert row["epochs"] == len(model.history)
    assert row["best_epoch"] == 1 + np.argmin([entry["validation_loss"] for entry in model.history])
    assert (row["train_patches"], row["train_landslides"]) == (48, data.train.labels.sum())
    assert row["threads"] == torch.get_num_threads()
    assert not list(folder.rglob("*.checkpoint"))
    assert not list(folder.glob(".*"))


def test_what_is_done_is_not_repeated(done, monkeypatch):
    folder, results = done
    monkeypatch.setattr("sarcube.sweeps.run.train", None)
    again = swept(folder)
    pd.testing.assert_frame_equal(again, results)
    # A part of it, in another order, with a given split instead of a function.
    part = swept(folder, data={"small": small_split()}, settings=SETTINGS[::-1], seeds=(1,))
    pd.testing.assert_frame_equal(part, results.iloc[[3, 1]].reset_index(drop=True))


@pytest.mark.parametrize(("epochs", "before"), [(3, [3, 0, 0, 0]), (7, [0, 0, 1, 0])])
def test_killed_and_called_again(done, tmp_path, epochs, before):
    """Killed when the first run has trained but is not judged, and within the third; it goes on from there."""
    command = [sys.executable, Path(__file__).with_name("killable_sweep.py"), tmp_path / "s", str(epochs)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    # A run that was begun is not to go on with other data either.
    with pytest.raises(InputError, match="differs in the test patches;"):
        swept(tmp_path / "s", data={"small": lambda: small_split()._replace(test=make_patches(32, seed=7))})
    _, expected = done
    results = swept(tmp_path / "s")
    same(results, expected)
    assert weights_of(tmp_path / "s", results) == weights_of(done[0], expected)
    assert results["epochs_before"].tolist() == before
    assert not list(tmp_path.rglob("*.checkpoint"))


def test_a_cluster_gives_the_same_as_this_process(done, tmp_path):
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        results = swept(tmp_path / "s", data={"small": partial(small_split)})
        lazy = sc.sweep({"lazy": lazy_split}, SETTINGS[:1], folder=tmp_path / "lazy")
    assert results["threads"].tolist() == [1] * 4
    same(results, done[1])
    assert weights_of(tmp_path / "s", results) == weights_of(*done)
    same(lazy, sc.sweep({"lazy": lazy_split}, SETTINGS[:1], folder=tmp_path / "lazy, here"))


def lazy_split():
    """Patches that lie in Dask arrays: a run on a worker computes them itself."""
    return Split(*(stack_patches((4, 50, 50), seed=seed) for seed in (0, 1, 2)))


def test_two_threads_do_not_run_at_a_time_in_one_process(done, tmp_path):
    from distributed import Client, LocalCluster

    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)  # which are the caller's, not those of a worker
    with (
        LocalCluster(
            host="127.0.0.1",
            protocol="tcp://",
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address=":0",
        ) as cluster,
        Client(cluster),
    ):
        same(swept(tmp_path / "cluster"), done[1])  # their numbers of threads among the rest
        assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)
    with dask.config.set(scheduler="threads", num_workers=3):
        same(swept(tmp_path / "threads"), done[1])
    assert torch.get_num_threads() == before
    assert dask.config.get("scheduler", None) is None


def test_in_a_pool_of_processes_a_run_has_one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with alone_in_process(os.getpid()):
            assert torch.get_num_threads() == before + 1
        with alone_in_process(os.getppid()):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_numbers_that_numpy_made_name_runs_as_others_do(tmp_path):
    setting = replace(SETTINGS[0], config=replace(SETTINGS[0].config, epochs=1))
    plain = sc.sweep({(("steps", 3),): small_split}, [setting], folder=tmp_path, seeds=(0,))
    again = sc.sweep({(("steps", np.int64(3)),): small_split}, [setting], folder=tmp_path, seeds=np.arange(1))
    pd.testing.assert_frame_equal(again, plain)


def test_a_given_split_with_lazy_arrays_stays_lazy_on_its_way(tmp_path):
    given = sc.sweep({"lazy": lazy_split()}, SETTINGS[:1], folder=tmp_path / "given")
    same(given, sc.sweep({"lazy": lazy_split}, SETTINGS[:1], folder=tmp_path / "made"))


def diverging(rate=1e30):
    return replace(SETTINGS[0], labels={"learning_rate": rate}, config=replace(SETTINGS[0].config, learning_rate=rate))


def test_what_fails_is_said_and_the_others_go_on(tmp_path, caplog):
    tries = []

    def broken():
        tries.append(1)
        if len(tries) == 1:
            raise BandError("no such band")
        return small_split()

    data = {"broken": broken, "small": small_split}
    settings = [diverging(), SETTINGS[0]]
    results = sc.sweep(data, settings, folder=tmp_path)
    assert results["status"].tolist() == ["failed", "failed", "failed", "finished"]
    assert results["message"][:2].tolist() == ["the data could not be made: no such band"] * 2
    assert "diverged" in results["message"][2]
    assert results.loc[:2, ["epochs", "test_f1", "threshold"]].isna().all(axis=None)
    assert "3 of 4 runs failed; the first: the data could not be made" in caplog.text
    table = sc.sweep_table(results, by=["data"])
    assert table["n"].tolist() == [0, 1]
    assert table["missing"].tolist() == [2, 1]
    assert table["text"][0] == "none"
    # Once more: what failed is tried again, what is done is not.
    finished = tmp_path / results["weights"][3]
    written = finished.stat().st_mtime_ns
    again = sc.sweep(data, settings, folder=tmp_path)
    assert again["status"].tolist() == ["failed", "finished", "failed", "finished"]
    assert finished.stat().st_mtime_ns == written


def test_an_error_that_nobody_expected_is_recorded_with_its_type(tmp_path, monkeypatch):
    def odd(*args, **kwargs):
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("sarcube.sweeps.run.evaluate", odd)
    (row,) = swept(tmp_path, settings=SETTINGS[:1], seeds=(0,)).itertuples()
    assert (row.status, row.message) == ("failed", "ZeroDivisionError: odd")
    monkeypatch.undo()
    (row,) = swept(tmp_path, settings=SETTINGS[:1], seeds=(0,)).itertuples()
    assert (row.status, row.message, row.epochs_before) == ("finished", "", 3)  # it was the judging that failed


def test_all_may_fail(tmp_path):
    results = swept(tmp_path, settings=[diverging()], seeds=(0,))
    assert results["status"].tolist() == ["failed"]
    assert results["weights"].isna().all()


def test_a_folder_of_other_data_or_settings_is_refused(done, monkeypatch):
    folder, _ = done
    records = {path: path.read_bytes() for path in folder.rglob("record.json")}
    assert len(records) == 4
    monkeypatch.setattr("sarcube.sweeps.run.train", None)

    other = replace(SETTINGS[1], config=replace(SETTINGS[1].config, epochs=9, loss="bce"))
    with pytest.raises(InputError, match=r'differs in epochs \(3 there, 9 here\), loss \("focal" there, "bce" here\)'):
        swept(folder, settings=[SETTINGS[0], other])
    with pytest.raises(InputError, match=r"differs in options .*delete"):
        swept(folder, settings=[replace(SETTINGS[0], options={"filters": 8})])
    with pytest.raises(InputError, match=r"differs in architecture \(cnn there, resnet here\)"):
        swept(folder, settings=[replace(SETTINGS[0], architecture="resnet")])
    with pytest.raises(InputError, match="differs in the test patches;"):
        swept(folder, data={"small": lambda: small_split()._replace(test=make_patches(32, seed=7))})
    with pytest.raises(InputError, match="differs in the training patches;"):
        swept(folder, data={"small": small_split()._replace(train=make_patches(48, seed=7))})
    assert {path: path.read_bytes() for path in folder.rglob("record.json")} == records


def test_other_pixels_under_the_same_table_are_noticed(tmp_path):
    """Composites of 12 and of 24 days have one table."""

    def shifted(by):
        split = lazy_split()
        pixels = split.test.pixels
        return split._replace(
            test=replace(split.test, pixels=replace(pixels, stacks=(pixels.stacks[0], pixels.stacks[1] + by)))
        )

    sc.sweep({"a": partial(shifted, 0)}, SETTINGS[:1], folder=tmp_path)
    with pytest.raises(InputError, match="differs in the pixels of patches"):
        sc.sweep({"a": partial(shifted, 1)}, SETTINGS[:1], folder=tmp_path)


def test_a_finished_run_is_kept_where_its_data_are_gone(done, caplog):
    folder, results = done

    def gone():
        raise ReadError("the disk is unplugged")

    again = swept(folder, data={"small": gone})
    pd.testing.assert_frame_equal(again, results)
    assert "cannot be compared with its data" in caplog.text


def test_a_damaged_record_is_named(done, tmp_path):
    swept(tmp_path, settings=SETTINGS[:1], seeds=(0,))
    (path,) = tmp_path.rglob("record.json")
    for text in (path.read_text()[:50], "{}"):
        path.write_text(text)
        with pytest.raises(ReadError, match="delete it"):
            swept(tmp_path, settings=SETTINGS[:1], seeds=(0,))
    path.unlink()
    same(swept(tmp_path, settings=SETTINGS[:1], seeds=(0,)), done[1].iloc[:1])


def test_numbers_that_are_undefined_are_null_in_the_record(tmp_path):
    one_class = patches_from_arrays(make_patches(8).images, np.zeros(8, bool), bands=make_patches(8).bands)
    data = {"small": small_split()._replace(test=one_class)}
    results = swept(tmp_path, data=data, settings=SETTINGS[:1], seeds=(0,))
    (path,) = tmp_path.rglob("record.json")
    record = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record["results"]["test_auprc"] is None
    assert results["status"][0] == "finished"
    assert np.isnan(results["test_auprc"][0])
    pd.testing.assert_frame_equal(swept(tmp_path, data=data, settings=SETTINGS[:1], seeds=(0,)), results)


def test_two_sweeps_do_not_share_a_run(tmp_path):
    swept(tmp_path, settings=SETTINGS[:1], seeds=(0,))
    (path,) = (path.parent for path in tmp_path.rglob("record.json"))
    with writing(path), pytest.raises(StoreError, match="being written by process"):
        swept(tmp_path, settings=SETTINGS[:1], seeds=(0,))


def test_models_that_judge_pixels_are_swept_as_well(tmp_path):
    chips = Split(*(grown(make_chips(8, seed=seed)) for seed in range(3)))
    unet = sc.SweepSetting(
        {"model": "unet"}, "unet", {"encoder": "resnet18"}, sc.TrainConfig(epochs=1, batch_size=4, augment=())
    )
    results = sc.sweep({(("inputs", "VV+VH"), ("steps", 2)): chips}, [unet], folder=tmp_path)
    assert results["status"].tolist() == ["finished"], results["message"][0]
    assert results["test_judged"].tolist() == ["pixels"]
    assert results[["inputs", "steps"]].to_numpy().tolist() == [["VV+VH", 2]]


def grown(chips):
    """Chips of 32 pixels: a U-Net takes none smaller."""
    images, masks = (
        array.repeat(2, axis=-1).repeat(2, axis=-2) for array in (chips.images, chips.read_masks(range(8)))
    )
    return patches_from_arrays(images, chips.labels, bands=chips.bands, masks=masks)


def test_data_are_made_once_and_let_go(tmp_path):
    alive, most = set(), []

    class Watched(Split):
        def __del__(self):
            alive.discard(id(self))

    def make(seed):
        made = Watched(*small_split(seed))
        alive.add(id(made))
        most.append(len(alive))
        return made

    one_epoch = replace(SETTINGS[0], config=replace(SETTINGS[0].config, epochs=1))
    sc.sweep({f"{n}": partial(make, n) for n in range(3)}, [one_epoch], folder=tmp_path, seeds=(0, 1))
    assert most == [1, 1, 1]
    assert not alive


def test_a_model_says_what_it_was_trained_on(tmp_path):
    results = sc.sweep({"lazy": lazy_split}, SETTINGS[:1], folder=tmp_path)
    assert sc.load_model(tmp_path / results["weights"][0]).spec.trained_on == "events test"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": {}}, "needs data, settings and seeds; given: 0, 2, 2"),
        ({"settings": []}, "given: 1, 0, 2"),
        ({"seeds": ()}, "given: 1, 2, 0"),
        ({"seeds": (0, 0)}, "each once"),
        ({"seeds": (-1,)}, "from 0 on"),
        ({"data": {3: small_split}}, "named by a text, or by labels"),
        ({"data": {"small": 3}}, "must be a Split or a function"),
        ({"data": {(("seed", 1),): small_split}}, "the table does not have of itself"),
        ({"data": {(("test_f1", 1),): small_split}}, "the table does not have of itself"),
        ({"data": {(("bands", None),): small_split}}, "must be text, a finite number"),
        ({"data": {(("learning_rate", 1),): small_split}}, "both have the label learning_rate"),
        ({"data": {"small": small_split, (("bands", "VV"),): small_split}}, "must have the same labels"),
        ({"settings": [SETTINGS[0], SETTINGS[0]]}, "two settings of this sweep have the same labels"),
        ({"settings": [replace(SETTINGS[0], architecture="vgg")]}, 'no architecture is called "vgg"; there are: att'),
        (
            {"settings": [replace(SETTINGS[0], options={"filter": 4})]},
            "takes the options filters, dropout.* not filter",
        ),
        ({"settings": [replace(SETTINGS[0], options={"seed": 4})]}, "not seed"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(tmp_path, changed, message):
    with pytest.raises(InputError, match=message):
        swept(tmp_path / "none", **changed)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        swept(tmp_path / "file" / "s")


def test_labels_that_differ_in_type_or_place_are_other_runs(tmp_path):
    from sarcube.sweeps.naming import run_name

    names = {
        run_name(labels, seed) for seed in (0, 1) for labels in ({"a": 1, "b": "x"}, {"a": "1", "b": "x"}, {"b": "x"})
    }
    assert len(names) == 6
    assert run_name({"a": 1, "b": "x"}, 0) == run_name({"b": "x", "a": 1}, 0)
    name = run_name({"where": "../../etc/passwd", "what": "ü" * 500}, 0)
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) < 110


def test_a_worker_that_gives_its_memory_back_is_told_once(caplog):
    _warn_of_trimming.cache_clear()
    for threshold in ("", str(2**30), "65536", "65536"):
        _warn_of_trimming(threshold)
    assert len(caplog.records) == 1
    assert "MALLOC_TRIM_THRESHOLD_=65536" in caplog.text
