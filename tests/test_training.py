from dataclasses import replace

import numpy as np
import pytest
import torch
from simple_stack import BANDS

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.labels.patches import Patches
from sarcube.metrics import best_f1_threshold
from sarcube.models.weights import model_hash
from sarcube.training import _draw_epoch, _loss, _mirror_some


def make_patches(n, *, seed=0, size=16, bands=BANDS):
    """Noise; a landslide is a change of 4 dB in the middle of the VV difference."""
    draws = np.random.default_rng(seed)
    images = draws.normal(-10, 2, (n, len(bands), size, size)).astype(np.float32)
    labels = draws.random(n) < 0.3
    labels[:2] = True, False
    images[labels, 2, 4:12, 4:12] += 4
    zeros = np.zeros(n, np.int64)
    return Patches(images, labels, labels * 0.25, zeros, zeros, bands=tuple(bands))


def tiny_cnn(seed=0):
    return sc.models.cnn(4, filters=4, window_size=16, seed=seed)


@pytest.fixture(scope="module")
def sets():
    return make_patches(256), make_patches(128, seed=1)


QUICK = sc.TrainConfig(epochs=4, batch_size=32, learning_rate=3e-3)


def test_it_learns_what_can_be_learnt(sets):
    model = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=12))
    result = sc.evaluate(model, make_patches(200, seed=2))
    assert result.f1 > 0.9
    assert result.auprc > 0.95 > result.chance + 0.5


@pytest.mark.parametrize("loss", ["focal", "bce"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(sets, loss):
    config = replace(QUICK, epochs=2, loss=loss, weight_decay=1e-4)
    torch.manual_seed(1)
    first = sc.train(*sets, model=tiny_cnn(), config=config)
    torch.manual_seed(2)
    assert model_hash(sc.train(*sets, model=tiny_cnn(), config=config)) == model_hash(first)
    assert model_hash(sc.train(*sets, model=tiny_cnn(), config=replace(config, seed=1))) != model_hash(first)


def test_the_model_that_was_given_and_the_patches_stay_as_they_were(sets):
    model, images = tiny_cnn(), sets[0].images.copy()
    before = model_hash(model)
    trained = sc.train(*sets, model=model, config=replace(QUICK, epochs=1))
    assert model_hash(model) == before != model_hash(trained)
    np.testing.assert_array_equal(sets[0].images, images)
    assert not trained.training


def test_the_weights_of_the_best_epoch_are_kept(sets):
    seen = []
    model = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=6, learning_rate=0.05), progress=seen.append)
    assert seen == model.history
    assert [entry["epoch"] for entry in seen] == list(range(1, len(seen) + 1))
    with torch.inference_mode():
        logits = model(torch.from_numpy(sets[1].images))
    loss = float(_loss(logits, torch.from_numpy(sets[1].labels.astype(np.float32)), QUICK))
    assert loss == pytest.approx(min(entry["validation_loss"] for entry in seen), rel=1e-5)


def test_it_stops_when_patience_ends(sets):
    untrainable = replace(sets[1], labels=np.random.default_rng(0).random(len(sets[1])) < 0.5)  # labels at random
    history = sc.train(sets[0], untrainable, model=tiny_cnn(), config=replace(QUICK, epochs=60, patience=2)).history
    best = int(np.argmin([entry["validation_loss"] for entry in history]))
    assert len(history) == best + 1 + 2 < 60


def test_normalisation_and_threshold_go_into_the_spec(sets):
    model = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=1))
    np.testing.assert_allclose(model.spec.mean, sets[0].images.mean(axis=(0, 2, 3), dtype=float), rtol=1e-6)
    np.testing.assert_allclose(model.spec.std, sets[0].images.std(axis=(0, 2, 3), dtype=float), rtol=1e-6)
    expected, _ = best_f1_threshold(sets[1].labels, model.probabilities(sets[1].images))
    assert model.spec.threshold == expected
    further = sc.train(*sets, model=model, config=replace(QUICK, epochs=1))
    assert further.spec.mean == model.spec.mean  # trained weights rely on it
    other = make_patches(64, seed=5)
    other.images[:] += 7
    assert sc.train(other, sets[1], model=model, config=replace(QUICK, epochs=1)).spec.mean == model.spec.mean


def test_focal_loss_is_that_of_its_paper():
    logits = torch.tensor([2.0, -1.0, 0.3, -3.0], dtype=torch.float64)
    truth = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    p = torch.sigmoid(logits)
    positive = -0.25 * (1 - p) ** 2 * torch.log(p)
    negative = -0.75 * p**2 * torch.log(1 - p)
    expected = torch.where(truth > 0, positive, negative).mean()
    torch.testing.assert_close(_loss(logits, truth, sc.TrainConfig()), expected)
    bce = -torch.where(truth > 0, torch.log(p), torch.log(1 - p)).mean()
    torch.testing.assert_close(_loss(logits, truth, sc.TrainConfig(loss="bce")), bce)


def test_an_epoch_takes_all_landslides_and_a_fresh_draw_of_the_background():
    labels = np.arange(1000) < 10
    draws = np.random.default_rng(0)
    first, second = _draw_epoch(labels, 5, draws), _draw_epoch(labels, 5, draws)
    for chosen in (first, second):
        assert len(chosen) == len(set(chosen)) == 60
        assert labels[chosen].sum() == 10
    assert set(first) != set(second)
    assert sorted(_draw_epoch(labels, None, draws)) == list(range(1000))
    assert len(_draw_epoch(labels, 1e6, draws)) == 1000


def test_sets_that_cannot_be_learnt_from_are_refused(sets):
    training, validation = sets
    with pytest.raises(BandError, match="validation patches hold"):
        sc.train(training, replace(validation, bands=("a", "b", "c", "d")), model=tiny_cnn())
    with pytest.raises(InputError, match="16 pixels wide, but the model expects 64"):
        sc.train(training, validation, model=sc.models.cnn(4, filters=2))
    with pytest.raises(InputError, match="training patches need both"):
        sc.train(training.subset(training.labels), validation, model=tiny_cnn())
    flat = replace(training, images=np.zeros_like(training.images))
    with pytest.raises(InputError, match="must vary"):
        sc.train(flat, validation, model=tiny_cnn())

    broken = replace(validation, images=np.full_like(validation.images, np.nan))
    with pytest.raises(InputError, match="validation patches hold values that are not finite"):
        sc.train(training, broken, model=tiny_cnn())


def test_divergence_is_reported(sets):
    with pytest.raises(InputError, match=r"diverged in epoch 1.*too high"):
        sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, learning_rate=1e30))


def test_augmentation_mirrors_north_to_south_and_nothing_else():
    windows = torch.arange(64 * 2 * 4 * 4, dtype=torch.float32).reshape(64, 2, 4, 4)
    mirrored = _mirror_some(windows, np.random.default_rng(0))
    upside_down = windows.numpy()[:, :, ::-1]
    changed = 0
    for before, after, flipped in zip(windows.numpy(), mirrored.numpy(), upside_down, strict=True):
        np.testing.assert_array_equal(after, flipped if (after != before).any() else before)
        changed += int((after != before).any())
    assert 16 < changed < 48


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0},
        {"weight_decay": -1},
        {"loss": "dice"},
        {"focal_alpha": 1},
        {"max_background_ratio": 0},
        {"augment": ("flip_x",)},
    ],
)
def test_settings_that_cannot_be_are_refused(option):
    with pytest.raises(InputError):
        sc.TrainConfig(**option)
