import numpy as np
import pytest
import torch
from simple_stack import MeanModel
from torch.nn import functional

import sarcube as sc
from sarcube.errors import InputError
from sarcube.models import ModelSpec, build


def windows_of_noise(n, bands=4, size=64, seed=0):
    return np.random.default_rng(seed).normal(size=(n, bands, size, size)).astype(np.float32)


def small_cnn(**options):
    return sc.models.cnn(4, filters=4, **options).eval()


def test_the_layers_have_the_papers_sizes():
    model = sc.models.cnn(4, filters=32)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.named_parameters()}
    assert shapes["block1.convolution.weight"] == (32, 4, 3, 3)
    assert shapes["block3.convolution.weight"] == (32, 32, 3, 3)
    assert shapes["dense.weight"] == (256, 8 * 8 * 96)
    assert shapes["output.weight"] == (1, 256)
    assert model.block1.normalisation.eps == 1e-3


def test_the_logits_are_those_of_the_papers_graph():
    """The same layers, with the resizing written as bilinear interpolation, in double precision."""
    torch.manual_seed(0)
    model = small_cnn().double()
    for block in (model.block1, model.block2, model.block3):
        block.normalisation.running_mean.normal_(0.3, 0.1)
        block.normalisation.running_var.uniform_(0.2, 2)
        torch.nn.init.normal_(block.normalisation.weight)
        torch.nn.init.normal_(block.normalisation.bias)
    x = torch.from_numpy(windows_of_noise(3)).double()

    def block(x, layers):
        x = functional.relu(functional.conv2d(x, layers.convolution.weight, layers.convolution.bias, padding="same"))
        n = layers.normalisation
        scaled = (x - n.running_mean[:, None, None]) / torch.sqrt(n.running_var[:, None, None] + 1e-3)
        return scaled * n.weight[:, None, None] + n.bias[:, None, None]

    map1 = block(x, model.block1)
    map2 = block(functional.max_pool2d(map1, 2), model.block2)
    map3 = block(functional.max_pool2d(map2, 2), model.block3)
    assert (map1.shape[-1], map2.shape[-1], map3.shape[-1]) == (64, 32, 16)
    resized = [functional.interpolate(m, (16, 16), mode="bilinear", align_corners=False) for m in (map1, map2)]
    features = functional.max_pool2d(torch.cat([*resized, map3], dim=1), 2).flatten(1)
    expected = model.output(functional.relu(model.dense(features)))[:, 0]
    torch.testing.assert_close(model(x), expected, rtol=1e-12, atol=1e-12)


def test_probabilities_are_the_sigmoid_of_the_logits():
    model, windows = small_cnn(), windows_of_noise(16)
    with torch.inference_mode():
        logits = model(torch.from_numpy(windows))
    expected = torch.sigmoid(logits.double()).numpy()
    np.testing.assert_array_equal(model.window_logits(windows), logits.numpy())
    np.testing.assert_allclose(model.probabilities(windows), expected, rtol=3e-7)
    assert expected.std() > 0


@pytest.mark.parametrize("n", [0, 1, 15, 17, 33])
def test_a_windows_probability_does_not_depend_on_its_company(n):
    model, windows = small_cnn(), windows_of_noise(40)
    everything = model.probabilities(windows)
    np.testing.assert_array_equal(model.probabilities(windows[40 - n :]), everything[40 - n :])
    order = np.random.default_rng(n).permutation(40)
    np.testing.assert_array_equal(model.probabilities(windows[order]), everything[order])


def test_probabilities_leave_the_mode_of_the_model_and_its_input_alone():
    model, windows = sc.models.cnn(4, filters=4, dropout=0.9), windows_of_noise(4)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    windows.flags.writeable = False
    first = model.probabilities(windows)
    assert model.training
    np.testing.assert_array_equal(first, model.probabilities(windows))  # no dropout, no moving statistics
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_the_normalisation_of_the_spec_is_applied_inside():
    from dataclasses import replace

    model, windows = small_cnn(), windows_of_noise(3)
    plain = model.probabilities(windows)
    mean, std = (-10.0, -17.0, 0.5, 0.0), (3.0, 4.0, 2.0, 1.0)
    model.spec = replace(model.spec, mean=mean, std=std)
    shifted = windows * np.reshape(std, (4, 1, 1)) + np.reshape(mean, (4, 1, 1))
    np.testing.assert_allclose(model.probabilities(shifted.astype(np.float32)), plain, atol=1e-5)


def test_fresh_weights_follow_from_the_seed_alone():
    torch.manual_seed(1)
    a, state = sc.models.cnn(4, filters=4), torch.get_rng_state()
    torch.manual_seed(2)
    b, other = sc.models.cnn(4, filters=4), sc.models.cnn(4, filters=4, seed=1)
    assert torch.equal(a.dense.weight, b.dense.weight)
    assert not torch.equal(a.dense.weight, other.dense.weight)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_windows_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"\(n, 4, 64, 64\), not \(2, 2, 64, 64\)"):
        small_cnn().probabilities(windows_of_noise(2, bands=2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 3}, "bands="),
        ({"in_channels": 3, "bands": ["a", "b"]}, "names 2"),
        ({"bands": ["a", "a", "b", "c"]}, "none twice"),
        ({"filters": 0}, "filters"),
        ({"filters": 10**9}, "filters"),
        ({"dropout": 1.0}, "dropout"),
        ({"window_size": 60}, "multiple of 8"),
        ({"window_size": 10**6}, "window size"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sc.models.cnn(**options)


def test_vv_alone_has_two_bands_and_other_bands_can_be_named():
    assert sc.models.cnn(2).spec.bands == ("vv_post", "vv_diff")
    assert sc.models.cnn(3, bands=("a", "b", "c"), filters=2).spec.bands == ("a", "b", "c")


def test_a_spec_survives_json():
    spec = ModelSpec("cnn", ("vv_post", "vv_diff"), options={"filters": 8}, mean=(0.1, 1 / 3), std=(1.0, 2.0), card="é")
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert build(ModelSpec.from_json(spec.to_json())).spec == spec


def test_a_temperature_that_changes_nothing_leaves_no_trace():
    """So that models of before temperatures keep their hashes."""
    from dataclasses import replace

    spec = ModelSpec("cnn", ("vv_post", "vv_diff"))
    assert "temperature" not in spec.to_json()
    assert ModelSpec.from_json(spec.to_json()).temperature == 1
    warm = replace(spec, temperature=2)
    assert warm.to_json() == replace(spec, temperature=2.0).to_json()
    assert ModelSpec.from_json(warm.to_json()) == warm != spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"architecture": "cnn"}', "JSON object"),
        ('{"architecture": "cnn", "bands": ["a"], "code": "x"}', "JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"architecture": "cnn", "bands": null}', "wrong type"),
        ('{"architecture": ["cnn"], "bands": ["a"]}', r"architecture of a model must be a text, not \['cnn'\]"),
        (
            '{"architecture": "cnn", "bands": ["a"], "radiometry": null}',
            "radiometry of a model must be a text, not None",
        ),
        ('{"architecture": "cnn", "bands": ["a"], "card": "\\ud800"}', "cannot be written as JSON: .*surrogates"),
        ('{"architecture": "cnn", "bands": "ab"}', "sequence of names, not 'ab'"),
        ('{"architecture": "cnn", "bands": ["a", 2]}', "must be names"),
        ('{"architecture": "cnn", "bands": ["a"], "simulated_only": "false"}', "true or false, not 'false'"),
        ('{"architecture": "cnn", "bands": ["a"], "options": "xy"}', "names with numbers, not 'xy'"),
        ('{"architecture": "cnn", "bands": ["a"], "options": {"filters": true}}', "finite numbers"),
        ('{"architecture": "cnn", "bands": ["a"], "options": {"filters": 1%s}}' % ("0" * 400), "finite numbers"),
        ('{"architecture": "cnn", "bands": ["a"], "threshold": "high"}', "must be a probability, not 'high'"),
        ('{"architecture": "cnn", "bands": ["a"], "threshold": true}', "must be a probability, not True"),
        ('{"architecture": "cnn", "bands": ["a"], "temperature": 0}', "temperature must be a number > 0, .*not 0"),
        ('{"architecture": "cnn", "bands": ["a"], "temperature": -1.5}', "temperature must be a number > 0"),
        ('{"architecture": "cnn", "bands": ["a"], "temperature": NaN}', "temperature must be a number > 0"),
        ('{"architecture": "cnn", "bands": ["a"], "temperature": "warm"}', "temperature must be .*not 'warm'"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": "1", "std": "1"}', r"finite .*\('1',\)"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": ["x"], "std": [1]}', "finite"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [1%s], "std": [1]}' % ("0" * 400), "finite"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [0], "std": [1e-60]}', "single precision"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [1e39], "std": [1]}', "single precision"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [0]}', "both"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [0], "std": [0]}', "std > 0"),
        ('{"architecture": "cnn", "bands": ["a"], "mean": [0, 1], "std": [1, 1]}', "one mean"),
    ],
)
def test_specs_that_cannot_be_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        ModelSpec.from_json(text)


def test_an_unknown_architecture_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match=r'"mean"; there are: .*cnn'):
        build(MeanModel().spec)
