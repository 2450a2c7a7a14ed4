"""Contributions add up, for every network that judges windows, and are what is known where something is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import DeepLiftShap, IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import BANDS, MeanModel, make_inventory, make_stack
from torch.nn import functional
from training_patches import TinySegmenter, make_patches

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.explanation.attribution import LANES
from sarcube.explanation.baselines import COUNT, draw_baselines
from sarcube.models import ModelSpec, WindowClassifier

SIZE = 32
MAKERS = {
    "cnn": lambda: sc.models.cnn(4, filters=8, window_size=SIZE),
    "cnn, map 3 alone": lambda: sc.models.cnn(4, filters=8, joined=1, window_size=SIZE),
    "cbam": lambda: sc.models.cbam(4, filters=16, window_size=SIZE),
    "resnet": lambda: sc.models.resnet(4, filters=4, window_size=SIZE),
    "nava2021": lambda: sc.models.nava2021(4, filters=8, bands=BANDS, window_size=25),
    "nava2021, native": lambda: sc.models.nava2021(4, filters=8, bands=BANDS, window_size=25, resample=None),
}


def lived_in(model, seed=0):
    """The model with weights and statistics as after training, and a normalisation."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.copy_(0.5 * torch.randn(layer.running_mean.shape, generator=draws))
                layer.running_var.copy_(0.2 + torch.rand(layer.running_var.shape, generator=draws))
                layer.weight.copy_(1 + 0.3 * torch.randn(layer.weight.shape, generator=draws))
                layer.bias.copy_(0.3 * torch.randn(layer.bias.shape, generator=draws))
            elif getattr(layer, "bias", None) is not None:
                layer.bias.copy_(0.2 * torch.randn(layer.bias.shape, generator=draws))
        model.output.weight.mul_(5)  # logits of several units: what adds up within 0.001 is no small thing
    model.spec = replace(model.spec, mean=(-9.0, -11.0, 0.0, 0.5), std=(3.0, 2.0, 1.5, 4.0))
    return model


def windows_of_noise(n, size=SIZE, bands=4, seed=0):
    return np.random.default_rng(seed).normal(-10, 3, (n, bands, size, size)).astype(np.float32)


def logits(model, windows):
    with torch.no_grad():
        return model.eval()(torch.from_numpy(windows)).double().numpy()


class Linear(WindowClassifier):
    """Logit: a weight for each pixel of each band, and a constant."""

    def __init__(self, size=16, bands=BANDS):
        super().__init__(ModelSpec("linear", bands, window_size=size))
        self.weight = torch.nn.Parameter(torch.from_numpy(windows_of_noise(1, size, len(bands), seed=9)[0]))

    def logits(self, windows):
        return (windows * self.weight).sum(dim=(1, 2, 3)) + 7


class Modules(WindowClassifier):
    """A network of modules alone, each called once, no two without derivative side by side, as captum needs them."""

    def __init__(self):
        super().__init__(ModelSpec("modules", BANDS, window_size=16, mean=(-10.0,) * 4, std=(3.0,) * 4))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            self.layers = torch.nn.Sequential(
                *(torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.BatchNorm2d(8)),
                *(torch.nn.MaxPool2d(2), torch.nn.Conv2d(8, 8, 3), torch.nn.Sigmoid(), torch.nn.BatchNorm2d(8)),
                *(torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(72, 12)),
                *(torch.nn.ReLU(), torch.nn.Linear(12, 1)),
            )

    def logits(self, windows):
        return self.layers(windows)[:, 0]


class Squared(WindowClassifier):
    """Not linear, by an operation that no rule covers."""

    def __init__(self):
        super().__init__(ModelSpec("squared", BANDS, window_size=16))

    def logits(self, windows):
        return windows.pow(2).mean(dim=(1, 2, 3))


class Product(WindowClassifier):
    """Logit: the sum of each pixel of one band times the same pixel of another."""

    def __init__(self):
        super().__init__(ModelSpec("product", ("a", "b"), window_size=16))

    def logits(self, windows):
        return (windows[:, 0] * windows[:, 1]).sum(dim=(1, 2))


@pytest.mark.parametrize("name", MAKERS)
def test_contributions_add_up(name):
    model = lived_in(MAKERS[name]())
    size = model.spec.window_size
    windows, baselines = windows_of_noise(3, size), windows_of_noise(5, size, seed=1)
    windows[:, 2, 5:15, 5:15] += 6
    found = sc.explain(model, windows, baselines=baselines)
    assert found.contributions.shape == windows.shape
    assert found.contributions.dtype == np.float32
    assert found.bands == model.spec.bands
    np.testing.assert_allclose(found.logits, logits(model, windows), atol=1e-4)
    assert found.base_value == pytest.approx(logits(model, baselines).mean(), abs=1e-4)
    np.testing.assert_allclose(
        found.contributions.sum(axis=(1, 2, 3), dtype=np.float64), found.logits - found.base_value, atol=1e-3
    )
    assert np.ptp([*found.logits, found.base_value]) > 0.05  # there is something to divide
    np.testing.assert_array_equal(found.mean, found.contributions.mean(axis=1))


def test_those_of_the_packaged_model_add_up():
    model = sc.load_model("cnn-vv-vh")
    draws = np.random.default_rng(0)
    place = np.reshape([-9.7, -15.6, 0, 0], (4, 1, 1))
    windows, baselines = (draws.normal(place, 2.5, (n, 4, 64, 64)).astype(np.float32) for n in (2, 20))
    windows[:, 2:, 20:40, 20:40] += 6
    found = sc.explain(model, windows, baselines=baselines)
    np.testing.assert_allclose(
        found.contributions.sum(axis=(1, 2, 3), dtype=np.float64), logits(model, windows) - found.base_value, atol=1e-3
    )
    assert np.abs(found.logits - found.base_value).min() > 0.1


def test_those_of_a_linear_model_are_its_weights_times_the_change():
    model, windows, baselines = Linear(), windows_of_noise(2, 16), windows_of_noise(40, 16, seed=1)
    expected = model.weight.detach().double().numpy() * (windows - baselines.mean(axis=0, dtype=np.float64))
    found = sc.explain(model, windows, baselines=baselines)
    np.testing.assert_allclose(found.contributions, expected, rtol=1e-4, atol=1e-3)


def test_a_product_is_divided_as_shapley_values_divide_it():
    """Of a b, from a' b': a gets (a - a') (b + b') / 2, the mean over the order in which both are changed."""
    windows, baselines = windows_of_noise(1, 16, 2) / 30, windows_of_noise(1, 16, 2, seed=1) / 30
    (a, b), (old_a, old_b) = windows[0].astype(np.float64), baselines[0].astype(np.float64)
    (found,) = sc.explain(Product(), windows, baselines=baselines).contributions
    np.testing.assert_allclose(found[0], (a - old_a) * (b + old_b) / 2, atol=1e-6)
    np.testing.assert_allclose(found[1], (b - old_b) * (a + old_a) / 2, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
def test_they_are_those_of_captum_where_captum_can():
    model = Modules().eval()
    windows, baselines = windows_of_noise(3, 16), windows_of_noise(20, 16, seed=1)
    expected = DeepLiftShap(model).attribute(torch.from_numpy(windows), torch.from_numpy(baselines))
    found = sc.explain(model, windows, baselines=baselines)
    np.testing.assert_allclose(found.contributions, expected.detach().numpy(), atol=1e-7)
    assert np.abs(found.contributions).max() > 1e-4


def test_they_are_close_to_integrated_gradients():
    """Another method with the same sum (Sundararajan et al. 2017), near in kind and not equal, attention and all."""
    model = lived_in(MAKERS["cbam"]()).eval()
    windows, baselines = windows_of_noise(1), windows_of_noise(1, seed=1)
    slow = IntegratedGradients(model).attribute(*map(torch.from_numpy, (windows, baselines)), n_steps=300)
    found = sc.explain(model, windows, baselines=baselines).contributions
    assert np.corrcoef(found.ravel(), slow.detach().numpy().ravel())[0, 1] > 0.5


@given(st.permutations(range(6)), st.permutations(range(3)))
@settings(max_examples=5, deadline=None)
def test_order_does_not_matter(of_baselines, of_windows):
    model, windows, baselines = lived_in(MAKERS["cnn"]()), windows_of_noise(3), windows_of_noise(6, seed=1)
    found = sc.explain(model, windows, baselines=baselines)
    other = sc.explain(model, windows[of_windows], baselines=baselines[of_baselines])
    np.testing.assert_allclose(other.contributions, found.contributions[of_windows], atol=1e-6)
    assert other.base_value == pytest.approx(found.base_value, abs=1e-9)


def test_a_window_does_not_depend_on_its_company():
    model, windows, baselines = lived_in(MAKERS["resnet"]()), windows_of_noise(LANES + 3), windows_of_noise(2, seed=1)
    together = sc.explain(model, windows, baselines=baselines)
    alone = sc.explain(model, windows[-1:], baselines=baselines)
    np.testing.assert_array_equal(alone.contributions[0], together.contributions[-1])


def test_more_baselines_than_one_pass_takes_are_a_mean():
    model, windows, baselines = lived_in(MAKERS["cnn"]()), windows_of_noise(1), windows_of_noise(LANES + 1, seed=1)
    each = [sc.explain(model, windows, baselines=one[None]).contributions for one in baselines]
    found = sc.explain(model, windows, baselines=baselines).contributions
    np.testing.assert_allclose(found, np.mean(each, axis=0, dtype=np.float64), atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_a_window_that_is_its_own_baseline_has_no_contributions(name):
    model = lived_in(MAKERS[name]())
    windows = windows_of_noise(1, model.spec.window_size)
    assert not sc.explain(model, windows, baselines=windows).contributions.any()


def test_bands_that_are_not_looked_at_contribute_nothing():
    found = sc.explain(MeanModel(), windows_of_noise(2, 16), baselines=windows_of_noise(3, 16, seed=1)).contributions
    assert not found[:, 1:].any()
    assert found[:, 0].all()


def test_the_temperature_does_not_enter():
    model, windows, baselines = MeanModel(), windows_of_noise(1, 16), windows_of_noise(3, 16, seed=1)
    expected = sc.explain(model, windows, baselines=baselines)
    model.spec = replace(model.spec, temperature=3.0)
    np.testing.assert_array_equal(sc.explain(model, windows, baselines=baselines).logits, expected.logits)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_turned_off(mode):
    windows, baselines = windows_of_noise(1), windows_of_noise(2, seed=1)
    expected = sc.explain(lived_in(MAKERS["cbam"]()), windows, baselines=baselines)
    model = lived_in(MAKERS["cbam"]())
    with mode():
        found = sc.explain(model, windows, baselines=baselines)
    np.testing.assert_array_equal(found.contributions, expected.contributions)


def test_the_model_is_left_as_it_was():
    model = lived_in(MAKERS["cnn"]()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sc.explain(model, windows_of_noise(1), baselines=windows_of_noise(1, seed=1))
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert functional.relu(torch.ones(1, requires_grad=True)).grad_fn.name() == "ReluBackward0"


def test_large_logits_are_refined_in_double_precision():
    model = lived_in(MAKERS["cnn"]())
    with torch.no_grad():
        model.output.weight.mul_(3000)
    windows, baselines = windows_of_noise(2), windows_of_noise(3, seed=1)
    found = sc.explain(model, windows, baselines=baselines)
    gap = found.contributions.sum(axis=(1, 2, 3), dtype=np.float64) - (found.logits - found.base_value)
    assert np.abs(gap).max() <= 1e-3
    assert np.abs(found.logits - logits(model, windows)).max() > 1e-3  # single precision could not tell


def test_what_does_not_add_up_is_an_error_and_no_map():
    with pytest.raises(InputError, match=r"must add up .* this squared add up to .* no rule"):
        sc.explain(Squared(), windows_of_noise(1, 16), baselines=windows_of_noise(2, 16, seed=1))


def test_patches_are_explained_and_their_background_is_the_baseline():
    patches = make_patches(40)
    chosen = patches.subset(patches.labels)
    found = sc.explain(MeanModel(), chosen, baselines=patches)
    baselines = draw_baselines(patches)
    assert len(baselines) == COUNT
    expected = sc.explain(MeanModel(), chosen.images, baselines=baselines)
    np.testing.assert_array_equal(found.contributions, expected.contributions)
    background = patches.images[~patches.labels]
    assert all((background == one).all(axis=(1, 2, 3)).any() for one in baselines)
    np.testing.assert_array_equal(draw_baselines(patches), baselines)
    assert not np.array_equal(draw_baselines(patches, seed=1), baselines)
    assert len(draw_baselines(patches, n=1000)) == len(background)


def test_what_cannot_be_explained_is_refused():
    patches, model = make_patches(20), MeanModel()
    windows, baselines = windows_of_noise(2, 16), windows_of_noise(2, 16, seed=1)
    with pytest.raises(InputError, match="one to each pixel"):
        sc.explain(TinySegmenter(), windows, baselines=baselines)
    with pytest.raises(InputError, match=r"windows must have the shape \(n, 4, 16, 16\).*not \(2, 4, 16, 15\)"):
        sc.explain(model, windows[..., 1:], baselines=baselines)
    with pytest.raises(InputError, match=r"baselines must have the shape .* at least 1, not \(0, 4, 16, 16\)"):
        sc.explain(model, windows, baselines=baselines[:0])
    with pytest.raises(InputError, match="windows must be finite"):
        sc.explain(model, np.where(windows > -8, np.nan, windows), baselines=baselines)
    with pytest.raises(InputError, match="a stride is for stacks"):
        sc.explain(model, windows, baselines=baselines, stride=4)
    with pytest.raises(BandError, match=r"windows hold the bands vv_post, vv_diff, .*choose them with \.select_bands"):
        sc.explain(model, patches.select_bands(["vv_post", "vv_diff"]), baselines=baselines)
    with pytest.raises(InputError, match='the baselines hold "sigma0", but the model was trained on "gamma0 RTC, dB"'):
        sc.explain(model, patches, baselines=replace(patches, radiometry="sigma0"))
    with pytest.raises(InputError, match="all of these are landslides"):
        sc.explain(model, patches, baselines=patches.subset(patches.labels))
    with pytest.raises(InputError, match="n=0"):
        draw_baselines(patches, n=0)


def test_baselines_are_read_alone():
    stack = make_stack(64, 64)
    patches = sc.sample_patches(stack, make_inventory((0, 0, 16, 16)), size=16)
    drawn = draw_baselines(patches, n=3, seed=2)
    assert drawn.shape == (3, 4, 16, 16)
    assert not (drawn == stack.to_numpy()[:, :16, :16]).all(axis=(1, 2, 3)).any()
