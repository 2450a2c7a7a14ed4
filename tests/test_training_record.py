import csv
import importlib.util
import sys
from dataclasses import replace

import pytest
from training_patches import make_patches, tiny_cnn

import sarcube as sc
from sarcube.errors import InputError, StoreError

QUICK = sc.TrainConfig(epochs=3, batch_size=32, learning_rate=3e-3)


@pytest.fixture(scope="module")
def sets():
    return make_patches(64), make_patches(32, seed=1)


def rows_of(path):
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_each_epoch_is_a_row_that_is_there_at_once(sets, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("of another training\n")
    seen = []

    def look(entry):
        seen.append(entry)
        assert rows_of(path) == seen

    model = sc.train(*sets, model=tiny_cnn(), config=QUICK, log=path, progress=look)
    assert rows_of(path) == model.history == seen


@pytest.mark.parametrize("left", [None, "epoch,loss\n1.0,0.5\n1.0,0."])
def test_a_training_that_goes_on_has_its_whole_history_in_the_log(sets, tmp_path, left):
    path = tmp_path / "log.csv"

    def interrupt(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    call = {"config": QUICK, "checkpoint": tmp_path / "c", "log": path}
    with pytest.raises(KeyboardInterrupt):
        sc.train(*sets, model=tiny_cnn(), progress=interrupt, **call)
    if left is not None:
        path.write_text(left)  # as a kill may leave it
    model = sc.train(*sets, model=tiny_cnn(), **call)
    assert rows_of(path) == model.history
    assert len(model.history) == 3


def test_a_log_that_cannot_be_written_is_an_error(sets, tmp_path):
    with pytest.raises(StoreError, match="make it first"):
        sc.train(*sets, model=tiny_cnn(), config=QUICK, log=tmp_path / "none" / "log.csv")
    (tmp_path / "file").write_text("no folder")
    if importlib.util.find_spec("tensorboard"):
        with pytest.raises(StoreError, match="another folder"):
            sc.train(*sets, model=tiny_cnn(), config=QUICK, log=tmp_path / "file")


def test_a_folder_gets_event_files(sets, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run"

    def interrupt(entry):
        if entry["epoch"] == 2:
            raise KeyboardInterrupt

    call = {"config": QUICK, "checkpoint": tmp_path / "c", "log": folder}
    with pytest.raises(KeyboardInterrupt):
        sc.train(*sets, model=tiny_cnn(), progress=interrupt, **call)
    model = sc.train(*sets, model=tiny_cnn(), **call)
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "validation_loss", "validation_auprc", "learning_rate"}
    for name in ("loss", "validation_auprc"):
        seen = [(event.step, event.value) for event in events.Scalars(name)]
        assert seen == [(int(entry["epoch"]), pytest.approx(entry[name], rel=1e-6)) for entry in model.history]


def test_without_tensorboard_the_remedy_is_named(sets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # what an import finds that is not installed
    with pytest.raises(InputError, match=r"pip install tensorboard.*\.csv"):
        sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=1), log=tmp_path / "run")
