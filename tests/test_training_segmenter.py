"""Training of models that judge pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_patches import TinySegmenter, make_chips, make_patches, stack_patches

import sarcube as sc
from sarcube.errors import InputError
from sarcube.labels.patches import UNSEEN, patches_from_arrays
from sarcube.labels.pixels import CutWindows
from sarcube.metrics import average_precision, best_f1_threshold
from sarcube.models.weights import model_hash
from sarcube.training.losses import loss_of_sums, loss_sums

QUICK = sc.TrainConfig(epochs=4, batch_size=8, learning_rate=0.02, loss="bce")


@pytest.fixture(scope="module")
def sets():
    return make_chips(64), make_chips(32, seed=1)


def valid_pixels(model, chips):
    images = torch.from_numpy(chips.images)
    valid = ~torch.isnan(images).any(dim=1)
    with torch.inference_mode():
        logits = model(images)[valid]
    truth = torch.from_numpy(chips.read_masks(np.arange(len(chips)))).float()[valid]
    return logits, truth


@pytest.mark.parametrize("loss", ["bce", "dice", "focal"])
def test_it_learns_pixels_and_is_judged_by_those_that_are_valid(sets, loss):
    config = replace(QUICK, epochs=10, loss=loss)
    model = sc.train(*sets, model=TinySegmenter(), config=config)
    logits, truth = valid_pixels(model, sets[1])
    best = min(model.history, key=lambda entry: entry["validation_loss"])
    assert best["validation_loss"] == pytest.approx(float(loss_of_sums(loss_sums(logits, truth, config), config)), 1e-5)
    assert best["validation_auprc"] == pytest.approx(average_precision(truth.numpy() > 0, logits.numpy()), abs=1e-3)
    assert best["validation_auprc"] > 0.9
    threshold, _ = best_f1_threshold(truth.numpy() > 0, torch.sigmoid(logits).numpy())
    assert model.spec.threshold == pytest.approx(threshold, abs=2e-4)
    fresh = make_chips(20, seed=3)
    logits, truth = valid_pixels(model, fresh)
    assert average_precision(truth.numpy() > 0, logits.numpy()) > 0.9


def test_what_the_mask_says_where_nothing_is_valid_changes_nothing(sets):
    chips = sets[0]
    masks = chips.read_masks(np.arange(len(chips)))
    invalid = np.isnan(chips.images).any(axis=1)
    assert 0 < invalid.sum() < invalid.size
    turned = np.where(invalid, 1 - masks, masks).astype(np.uint8)
    other = patches_from_arrays(chips.images, chips.labels, bands=chips.bands, masks=turned)
    first = sc.train(chips, sets[1], model=TinySegmenter(), config=QUICK)
    assert model_hash(sc.train(other, sets[1], model=TinySegmenter(), config=QUICK)) == model_hash(first)
    # Infinite is not valid either.
    images = np.where(np.isnan(chips.images), np.float32(np.inf), chips.images)
    other = patches_from_arrays(images, chips.labels, bands=chips.bands, masks=masks)
    assert model_hash(sc.train(other, sets[1], model=TinySegmenter(), config=QUICK)) == model_hash(first)


def test_where_the_pixels_are_changes_no_bit():
    config = replace(QUICK, epochs=2, at_once=24, augment=("flip_y", "zoom", "translate"))
    validation = stack_patches(seed=1, masks=True)
    hashes = {
        model_hash(sc.train(training, validation, model=TinySegmenter(), config=config))
        for training in (
            stack_patches(masks=True),
            stack_patches(masks=True).load(),
            stack_patches((1, 33, 64), masks=True),
        )
    }
    assert len(hashes) == 1


def test_a_real_u_net_takes_chips():
    chips = np.random.default_rng(0).normal(size=(6, 4, 32, 32)).astype(np.float32)
    masks = (chips[:, 2] > 1).astype(np.uint8)
    model = sc.models.unet(4, window_size=32)
    patches = patches_from_arrays(chips, masks.any(axis=(1, 2)), bands=model.spec.bands, masks=masks)
    config = sc.TrainConfig(epochs=1, batch_size=3, loss="dice", augment=("flip_y",))
    trained = sc.train(patches, patches, model=model, config=config)
    assert np.isfinite(trained.history[0]["loss"])
    assert model_hash(trained) != model_hash(model)


def test_chips_that_cannot_be_learnt_from_are_refused(sets):
    training, validation = sets
    with pytest.raises(InputError, match=r"training patches have no masks.*sample_chips"):
        sc.train(make_patches(20), validation, model=TinySegmenter())
    odd = TinySegmenter()
    odd.multiple = 32
    with pytest.raises(InputError, match="16 pixels wide, but the model needs a multiple of 32"):
        sc.train(training, validation, model=odd)
    none = replace(validation, table=validation.table.assign(landslide=False))
    with pytest.raises(InputError, match="none of the 32 validation patches"):
        sc.train(training, none, model=TinySegmenter())
    nothing = np.full_like(validation.images, np.nan)
    nothing = patches_from_arrays(
        nothing, validation.labels, bands=validation.bands, masks=validation.read_masks(np.arange(32))
    )
    with pytest.raises(InputError, match="no pixel of the validation patches is valid"):
        sc.train(training, nothing, model=TinySegmenter(), config=QUICK)
    empty = patches_from_arrays(
        validation.images, validation.labels, bands=validation.bands, masks=np.zeros((32, 16, 16), np.uint8)
    )
    with pytest.raises(InputError, match="no valid pixel of the validation patches is a landslide's"):
        sc.train(training, empty, model=TinySegmenter(), config=QUICK)


def test_landslides_that_are_not_seen_count_nowhere():
    chips = replace(make_chips(32, gaps=0), masks=CutWindows(hidden_halves(32)))
    truth = chips.read_masks(np.arange(32))
    unseen = truth == UNSEEN
    assert 0 < unseen.sum() < unseen.size
    model = sc.train(chips, chips, model=TinySegmenter(), config=replace(QUICK, epochs=1))
    with torch.inference_mode():
        logits = model(torch.from_numpy(chips.images))[torch.from_numpy(~unseen)]
    expected = loss_of_sums(loss_sums(logits, torch.from_numpy(truth[~unseen]).float(), QUICK), QUICK)
    assert model.history[0]["validation_loss"] == pytest.approx(float(expected), 1e-5)
    result = sc.evaluate(model, chips)
    assert (result.n, result.unscored, result.positives) == ((~unseen).sum(), unseen.sum(), (truth == 1).sum())


def hidden_halves(n):
    """The masks of `make_chips`, of whose landslides the left half of the chip is not seen."""
    chips = make_chips(n, gaps=0)
    masks = chips.read_masks(np.arange(n))
    masks[:, :, :8][masks[:, :, :8] == 1] = UNSEEN
    return masks[:, np.newaxis]
