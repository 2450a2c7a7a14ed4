import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from simple_stack import BANDS
from training_patches import make_chips, make_patches, stack_patches, tiny_cnn

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.labels.patches import patches_from_arrays
from sarcube.metrics import average_precision, best_f1_threshold
from sarcube.models.weights import model_hash
from sarcube.training.config import BOEHM_2022, NAVA_2021, NAVA_2026
from sarcube.training.losses import loss_of_sums, loss_sums


@pytest.fixture(scope="module")
def sets():
    return make_patches(256), make_patches(128, seed=1)


QUICK = sc.TrainConfig(epochs=4, batch_size=32, learning_rate=3e-3)


def with_images(patches, images):
    return patches_from_arrays(images, patches.labels, bands=patches.bands)


def test_it_learns_what_can_be_learnt(sets):
    model = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=12))
    result = sc.evaluate(model, make_patches(200, seed=2))
    assert result.f1 > 0.9
    assert result.auprc > 0.95 > result.chance + 0.5


@pytest.mark.parametrize("loss", ["focal", "focal_on_probabilities", "bce", "dice"])
def test_the_same_seed_gives_the_same_weights_to_the_bit(sets, loss):
    config = replace(QUICK, epochs=2, loss=loss, weight_decay=1e-4)
    torch.manual_seed(1)
    first = sc.train(*sets, model=tiny_cnn(), config=config)
    torch.manual_seed(2)
    assert model_hash(sc.train(*sets, model=tiny_cnn(), config=config)) == model_hash(first)
    assert model_hash(sc.train(*sets, model=tiny_cnn(), config=replace(config, seed=1))) != model_hash(first)


def test_where_the_pixels_are_changes_no_bit(tmp_path):
    everything = ("flip_y", "flip_x", "rotate", "zoom", "translate")
    config = replace(QUICK, epochs=2, batch_size=8, at_once=24, augment=everything)
    validation = stack_patches(seed=1).load()

    def trained(patches):
        assert 0 < patches.labels.sum() < len(patches)
        return model_hash(sc.train(patches, validation, model=tiny_cnn(), config=config))

    expected = trained(stack_patches())
    assert trained(stack_patches().load()) == expected
    for chunks in ((4, 33, 47), (1, 150, 16), -1):
        assert trained(stack_patches(chunks)) == expected
    assert trained(stack_patches((2, 50, 50), store=tmp_path)) == expected
    lazy = sc.train(stack_patches(), stack_patches((4, 20, 60), seed=1), model=tiny_cnn(), config=config)
    assert model_hash(lazy) == expected


def test_torch_is_left_as_it_was(sets):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    seen = []

    def look(_):
        seen.append(torch.are_deterministic_algorithms_enabled())

    sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=1), progress=look)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


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
    truth = torch.from_numpy(sets[1].labels.astype(np.float32))
    loss = float(loss_of_sums(loss_sums(logits, truth, QUICK), QUICK))
    best = min(seen, key=lambda entry: entry["validation_loss"])
    assert loss == pytest.approx(best["validation_loss"], rel=1e-5)
    assert average_precision(sets[1].labels, logits.numpy()) == pytest.approx(best["validation_auprc"], abs=1e-6)


def test_it_stops_when_patience_ends(sets):
    at_random = np.random.default_rng(0).random(len(sets[1])) < 0.5
    untrainable = patches_from_arrays(sets[1].images, at_random, bands=BANDS)
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
    other = with_images(other, other.images + 7)
    assert sc.train(other, sets[1], model=model, config=replace(QUICK, epochs=1)).spec.mean == model.spec.mean


def test_a_temperature_ends_with_the_weights_that_it_was_fitted_to(sets):
    calibrated = tiny_cnn()
    calibrated.spec = replace(calibrated.spec, temperature=3.0)
    trained = sc.train(*sets, model=calibrated, config=QUICK)
    assert trained.spec.temperature == 1
    assert calibrated.spec.temperature == 3
    plain = sc.train(*sets, model=tiny_cnn(), config=QUICK)
    assert trained.spec.threshold == plain.spec.threshold


def test_the_learning_rate_falls_where_the_training_loss_does_not(sets):
    def rates_of(losses):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser)
        rates = []
        for loss in losses:
            rates.append(optimiser.param_groups[0]["lr"])
            scheduler.step(loss)
        return rates

    # At such a rate the loss goes up and down.
    config = sc.TrainConfig(epochs=24, batch_size=24, learning_rate=1.0, schedule="plateau")
    small = sets[0].subset(np.arange(24))
    history = sc.train(small, sets[1], model=tiny_cnn(), config=config).history
    rates = [entry["learning_rate"] for entry in history]
    assert rates == rates_of([entry["loss"] for entry in history])
    assert rates != rates_of([entry["validation_loss"] for entry in history])
    assert min(rates) < 0.5


def test_weight_decay_is_the_papers_l2(sets):
    # One step of Adam from zero moments is lr * sign(gradient), with L2 the sign of gradient + decay * weight:
    # a decay that outweighs every gradient shrinks each weight by the learning rate.
    small = sets[0].subset(np.arange(32))
    config = sc.TrainConfig(epochs=1, batch_size=32, learning_rate=1e-4, weight_decay=1e6, max_background_ratio=None)
    before = dict(tiny_cnn().named_parameters())
    after = dict(sc.train(small, sets[1], model=tiny_cnn(), config=config).named_parameters())
    name = "dense.weight"
    step = (after[name] - before[name]).detach()
    torch.testing.assert_close(step, -1e-4 * torch.sign(before[name].detach()), rtol=1e-2, atol=1e-6)


def test_half_precision_learns_as_well(sets):
    model = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=12, precision="bf16"))
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert sc.evaluate(model, make_patches(200, seed=2)).auprc > 0.95


def test_sets_that_cannot_be_learnt_from_are_refused(sets):
    training, validation = sets
    with pytest.raises(BandError, match="validation patches hold"):
        sc.train(training, replace(validation, bands=("a", "b", "c", "d")), model=tiny_cnn())
    with pytest.raises(InputError, match="16 pixels wide, but the model expects 64"):
        sc.train(training, validation, model=sc.models.cnn(4, filters=2))
    with pytest.raises(InputError, match="training patches need both"):
        sc.train(training.subset(training.labels), validation, model=tiny_cnn())
    flat = with_images(training, np.zeros_like(training.images))
    with pytest.raises(InputError, match="must vary"):
        sc.train(flat, validation, model=tiny_cnn())
    broken = with_images(validation, np.full_like(validation.images, np.nan))
    with pytest.raises(InputError, match="validation patches hold values that are not finite"):
        sc.train(training, broken, model=tiny_cnn())
    chips = make_chips(30)  # NaN stay in them
    chips = replace(chips, table=chips.table.assign(landslide=np.arange(30) < 10))
    with pytest.raises(InputError, match="training patches hold values that are not finite: number"):
        sc.train(chips, validation, model=tiny_cnn())
    with pytest.raises(InputError, match="is a WindowClassifier or a Segmenter, not a Network"):
        sc.train(training, validation, model=sc.models.Network(tiny_cnn().spec))


def test_a_fresh_model_becomes_one_of_its_patches_radiometry_and_stays_so(sets):
    sigma = [replace(patches, radiometry="sigma0 on the ellipsoid, dB") for patches in sets]
    quick = replace(QUICK, epochs=1)
    model = sc.train(*sigma, model=tiny_cnn(), config=quick)
    assert model.spec.radiometry == "sigma0 on the ellipsoid, dB"
    gamma = [replace(patches, radiometry="gamma0 RTC, dB") for patches in sets]
    with pytest.raises(InputError, match=r'training patches hold "gamma0 RTC, dB".*trained on "sigma0'):
        sc.train(*gamma, model=model, config=quick)
    with pytest.raises(InputError, match="both must be of one kind"):
        sc.train(sigma[0], gamma[1], model=tiny_cnn(), config=quick)
    assert sc.train(*sets, model=model, config=quick).spec.radiometry == model.spec.radiometry  # these do not say


def test_divergence_is_reported(sets):
    with pytest.raises(InputError, match=r"diverged in epoch 1.*too high"):
        sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, learning_rate=1e30))


@pytest.mark.parametrize("device", ["cuda", "cuda:63", "mps"])
def test_a_device_that_is_not_there_is_named(sets, device):
    there = torch.backends.mps.is_available() if device == "mps" else torch.cuda.is_available()
    if there and device != "cuda:63":
        pytest.skip("this machine has one")
    with pytest.raises(InputError, match=f'no device "{device}"'):
        sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, device=device))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_cuda_it_learns_and_comes_back(sets, precision):
    config = replace(QUICK, epochs=12, device="cuda", precision=precision)
    model = sc.train(*sets, model=tiny_cnn(), config=config)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert sc.evaluate(model, make_patches(200, seed=2)).auprc > 0.95


@pytest.mark.parametrize(
    "option",
    [
        {"epochs": 0},
        {"epochs": 2.5},
        {"batch_size": 16.0},
        {"batch_size": 0},
        {"patience": 0},
        {"at_once": 0},
        {"seed": -1},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1},
        {"loss": "jaccard"},
        {"focal_alpha": 1},
        {"max_background_ratio": 0},
        {"augment": ("flip_z",)},
        {"schedule": "cosine"},
        {"precision": "fp8"},
        {"precision": "fp16"},
        {"device": "tpu"},
    ],
)
def test_settings_that_cannot_be_are_refused(option):
    with pytest.raises(InputError):
        sc.TrainConfig(**option)


def test_the_papers_settings():
    assert (NAVA_2026.focal_alpha, NAVA_2026.focal_gamma, NAVA_2026.patience) == (0.25, 2, 30)
    assert (BOEHM_2022.learning_rate, BOEHM_2022.weight_decay, BOEHM_2022.schedule) == (0.01, 1e-4, "plateau")
    assert (NAVA_2021.loss, set(NAVA_2021.augment)) == (
        "bce",
        {"flip_y", "flip_x", "rotate", "zoom", "translate"},
    )


def test_settings_take_no_torch():
    code = "import sys, sarcube as sc; sc.TrainConfig(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_history_is_plain_numbers(sets):
    history = sc.train(*sets, model=tiny_cnn(), config=replace(QUICK, epochs=1)).history
    assert json.loads(json.dumps(history)) == history
    assert set(history[0]) == {"epoch", "loss", "validation_loss", "validation_auprc", "learning_rate"}
