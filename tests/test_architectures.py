"""The window classifiers of the papers beside the light CNN, of which test_models.py has the details."""

import pickle

import dask
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import make_stack
from torch.nn import functional

import sarcube as sc
from sarcube.detection.shared.plan import plan_of
from sarcube.errors import InputError
from sarcube.models import ModelSpec, build

MAKERS = {name: getattr(sc.models, name) for name in ("cbam", "cnn", "nava2021", "resnet")}
SIZES = {"cbam": 32, "cnn": 32, "nava2021": 25, "resnet": 32}

each = pytest.mark.parametrize("name", MAKERS)


def small(name, **options):
    return MAKERS[name](**{"filters": 8, "window_size": SIZES[name], **options})


def windows_for(model, n, seed=0):
    shape = (n, len(model.spec.bands), model.spec.window_size, model.spec.window_size)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_random_statistics(model):
    """Normalise as after training, not by the 0, 1, 0, 1 of fresh layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.normal_(0.3, 0.1)
                layer.running_var.uniform_(0.2, 2)
                torch.nn.init.normal_(layer.weight)
                torch.nn.init.normal_(layer.bias)
    return model.eval()


@each
def test_a_model_gives_one_finite_logit_per_window(name):
    model = small(name).eval()
    logits = model(torch.from_numpy(windows_for(model, 3)))
    assert logits.shape == (3,)
    assert torch.isfinite(logits).all()
    assert logits.std() > 0


@each
def test_the_gradient_reaches_every_parameter(name):
    model = small(name, filters=16)
    labels = torch.tensor([0.0, 1.0] * 4)
    logits = model(torch.from_numpy(windows_for(model, 8)))
    functional.binary_cross_entropy_with_logits(logits, labels).backward()
    idle = [key for key, parameter in model.named_parameters() if not parameter.grad.abs().max() > 0]
    assert idle == []


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # Block 1: 4 * 32 * 9 + 32 (convolution), 2 * 32 (normalisation); blocks 2 and 3: 32 * 32 * 9 + 32, 2 * 32 each;
        # dense: 8 * 8 * 96 * 256 + 256; output: 256 + 1. In all 1248 + 2 * 9312 + 1573120 + 257.
        (lambda: sc.models.cnn(4), 1_593_249),
        # And 3 modules of attention with 32 * 4 + 4 * 32 (channels) and 2 * 7 * 7 (space) weights.
        (lambda: sc.models.cbam(4), 1_593_249 + 3 * 354),
        # First convolution: 4 * 32 * 9 + 2 * 32. Block 1: 2 * (32 * 32 * 9 + 2 * 32). Block 2: 32 * 64 * 9, 64 * 64 * 9
        # and a shortcut of 32 * 64, with 2 * 64 each. Block 3: 64 * 128 * 9, 128 * 128 * 9 and a shortcut of 64 * 128,
        # with 2 * 128 each. Dense: 128 * 256 + 256; output: 256 + 1.
        (lambda: sc.models.resnet(4), 1_216 + 18_560 + 57_728 + 230_144 + 33_024 + 257),
        # Convolutions: 3 * 32 * 9 + 32 and twice 32 * 32 * 9 + 32; dense: 4 * 4 * 32 * 256 + 256; output: 2 * 256 + 2.
        (lambda: sc.models.nava2021(), 896 + 2 * 9_248 + 131_328 + 514),
        # The same for 25 x 25 pixels, of which 3 x 3 are left: dense 3 * 3 * 32 * 256 + 256.
        (lambda: sc.models.nava2021(resample=None), 896 + 2 * 9_248 + 73_984 + 514),
    ],
    ids=["cnn", "cbam", "resnet", "nava2021", "nava2021-native"],
)
def test_the_number_of_parameters_is_that_worked_out_by_hand(model, count):
    assert sum(parameter.numel() for parameter in model().parameters()) == count


@each
def test_fresh_weights_follow_from_the_seed_alone(name):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    a = small(name)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    b, other = small(name), small(name, seed=1)
    assert all(torch.equal(tensor, b.state_dict()[key]) for key, tensor in a.state_dict().items())
    assert not torch.equal(a.dense.weight, other.dense.weight)


@each
@pytest.mark.parametrize("n", [1, 17])
def test_a_windows_probability_does_not_depend_on_its_company(name, n):
    model = small(name).eval()
    windows = windows_for(model, 33)
    everything = model.probabilities(windows)
    np.testing.assert_array_equal(model.probabilities(windows[33 - n :]), everything[33 - n :])
    order = np.random.default_rng(n).permutation(33)
    np.testing.assert_array_equal(model.probabilities(windows[order]), everything[order])


@each
def test_a_spec_alone_makes_the_same_model(name):
    model = small(name, dropout=0.25)
    spec = ModelSpec.from_json(model.spec.to_json())
    again = build(spec)
    assert type(again) is type(model)
    assert again.spec == model.spec
    assert again.dropout.p == 0.25
    assert {k: v.shape for k, v in again.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@each
def test_a_spec_without_options_makes_what_the_maker_makes(name):
    model = MAKERS[name]()
    bare = build(ModelSpec(name, model.spec.bands, window_size=model.spec.window_size))
    assert all(torch.equal(tensor, bare.state_dict()[key]) for key, tensor in model.state_dict().items())
    assert bare.dropout.p == model.dropout.p


@each
def test_a_saved_model_gives_the_same_probabilities(name, tmp_path):
    model = with_random_statistics(small(name))
    windows = windows_for(model, 5)
    loaded = sc.load_model(sc.save_model(model, tmp_path / f"{name}.safetensors"))
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.probabilities(windows), model.probabilities(windows))


@each
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "filters must be a whole number from 1 to 1024, not 0"),
        ({"filters": 1.5}, "filters"),
        ({"dropout": 1.0}, r"dropout must be a share in \[0, 1\), not 1.0"),
        ({"dropout": -0.1}, "dropout"),
        ({"in_channels": 5, "bands": None}, "bands="),
        ({"in_channels": 4, "bands": ["a", "b", "c"]}, "in_channels=4, but bands= names 3"),
        ({"window_size": 7}, "window size"),
    ],
)
def test_options_that_cannot_be_are_refused(name, options, message):
    with pytest.raises(InputError, match=message):
        MAKERS[name](**options)


@each
def test_options_that_an_architecture_does_not_have_are_refused(name):
    with pytest.raises(InputError, match=f"the {name} has no option depth; it has filters and dropout"):
        build(ModelSpec(name, ("a", "b"), options={"depth": 3}))


@each
def test_a_copy_by_pickle_gives_the_same_probabilities(name):
    """So do workers get a model."""
    model = with_random_statistics(small(name))
    windows, copy = windows_for(model, 5), pickle.loads(pickle.dumps(model))
    assert (copy.spec, copy.training) == (model.spec, False)
    np.testing.assert_array_equal(copy.probabilities(windows), model.probabilities(windows))


@each
def test_every_window_of_a_stack_is_scored_as_by_itself(name):
    """Windows of 25 pixels too, by threads."""
    model = with_random_statistics(small(name))
    size, stack = model.spec.window_size, make_stack(70, 61, bands=model.spec.bands)
    with dask.config.set(scheduler="threads", num_workers=2):
        scores = sc.score_windows(stack.chunk(y=31, x=17), model, stride=20).compute()
    for i, y in enumerate(scores["row"].to_numpy()):
        for j, x in enumerate(scores["column"].to_numpy()):
            window = stack.to_numpy()[None, :, y : y + size, x : x + size]
            expected = model.probabilities(window)[0]
            if plan_of(model) is None:  # judged by the network itself
                assert scores.to_numpy()[i, j] == expected
            assert scores.to_numpy()[i, j] == pytest.approx(expected, rel=1e-5, abs=1e-6)


# CBAM


def test_a_cbam_has_no_choice_of_joined_maps():
    with pytest.raises(InputError, match="the cbam has no option joined; it has filters and dropout"):
        build(ModelSpec("cbam", ("a", "b"), options={"joined": 1}))


def test_a_window_that_cannot_be_pooled_three_times_is_refused_by_the_cbam():
    with pytest.raises(InputError, match="multiple of 8, not 60"):
        sc.models.cbam(window_size=60)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.floats(0.01, 1), st.integers(1, 20))
def test_attention_weights_lie_between_0_and_1_and_keep_signs(seed, scale, filters):
    model = small("cbam", filters=filters, seed=seed)
    shapes, attention = {}, model.attention2

    def keep(module, inputs, weights):
        assert ((weights > 0) & (weights < 1)).all()
        shapes[module] = tuple(weights.shape)

    attention.channel.register_forward_hook(keep)
    attention.spatial.register_forward_hook(keep)
    maps = scale * torch.randn(3, filters, 16, 16, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        attended = attention(maps)
    assert shapes == {attention.channel: (3, filters, 1, 1), attention.spatial: (3, 1, 16, 16)}
    assert (attended.sign() == maps.sign()).all()
    assert (attended.abs() <= maps.abs()).all()


def test_the_attention_is_that_of_the_papers_equations():
    """Pixel by pixel and channel by channel, in double precision: eq. 1 to 3 of Woo et al. 2018."""
    attention = small("cbam", filters=16).attention1.double()
    maps = np.random.default_rng(0).normal(size=(2, 16, 9, 11))
    hidden, output = (layer.weight.detach().numpy() for layer in (attention.channel.hidden, attention.channel.output))
    kernel = attention.spatial.convolution.weight.detach().numpy()[0]
    assert hidden.shape == (2, 16)
    assert kernel.shape == (2, 7, 7)
    expected = np.empty_like(maps)
    for n, image in enumerate(maps):
        pooled = image.reshape(16, -1).mean(1), image.reshape(16, -1).max(1)
        channel = 1 / (1 + np.exp(-sum(output @ np.maximum(hidden @ p, 0) for p in pooled)))
        image = image * channel[:, None, None]
        padded = np.pad([image.mean(0), image.max(0)], ((0, 0), (3, 3), (3, 3)))
        for y, x in np.ndindex(9, 11):
            spatial = 1 / (1 + np.exp(-(kernel * padded[:, y : y + 7, x : x + 7]).sum()))
            expected[n, :, y, x] = image[:, y, x] * spatial
    np.testing.assert_allclose(attention(torch.from_numpy(maps)).detach().numpy(), expected, rtol=1e-12)


def without_attention(cbam):
    for attention in (cbam.attention1, cbam.attention2, cbam.attention3):
        for part in (attention.channel, attention.spatial):
            part.register_forward_hook(lambda module, inputs, weights: torch.ones_like(weights))
    return cbam


def plain_cnn_of(cbam):
    """Make the light CNN with the weights of a CBAM."""
    cnn = small("cnn", filters=8).eval()
    cnn.load_state_dict({key: tensor for key, tensor in cbam.state_dict().items() if "attention" not in key})
    return cnn


def test_where_all_is_attended_the_cbam_is_the_light_cnn():
    cbam = with_random_statistics(small("cbam"))
    cnn, windows = plain_cnn_of(cbam), torch.from_numpy(windows_for(cbam, 3))
    assert not torch.allclose(cbam(windows), cnn(windows), atol=1e-3)
    torch.testing.assert_close(without_attention(cbam)(windows), cnn(windows), rtol=0, atol=0)


def test_attention_without_weights_passes_a_quarter():
    """Sigmoid of 0 is a half, once for the channel and once for the place."""
    attention = small("cbam").attention3
    for parameter in attention.parameters():
        torch.nn.init.zeros_(parameter)
    maps = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(attention(maps), maps / 4, rtol=0, atol=0)


# Residual network


def test_the_maps_of_the_resnet_halve_and_their_filters_double():
    model, shapes = small("resnet", window_size=36).eval(), []
    for block in (model.block1, model.block2, model.block3):
        block.register_forward_hook(lambda module, inputs, maps: shapes.append(tuple(maps.shape)))
    model(torch.from_numpy(windows_for(model, 2)))
    assert shapes == [(2, 8, 36, 36), (2, 16, 18, 18), (2, 32, 9, 9)]


def test_a_residual_block_that_adds_nothing_passes_its_input_on():
    block = small("resnet").eval().block1
    torch.nn.init.zeros_(block.normalisation2.weight)
    torch.nn.init.zeros_(block.normalisation2.bias)
    maps = torch.rand(2, 8, 12, 12)  # not negative, as after a ReLU
    torch.testing.assert_close(block(maps), maps, rtol=0, atol=0)


@settings(max_examples=10)
@given(st.integers(7, 15), st.integers(7, 15))
def test_the_resnet_sees_the_same_wherever_it_lies(row, column):
    """A blob moved by multiples of the 4 pixels of two halvings, too far from the borders for their reach of 12."""
    model = with_random_statistics(small("resnet", window_size=96)).double()
    blob = 30 * np.random.default_rng(row).normal(size=(4, 8, 8))
    windows = np.zeros((3, 4, 96, 96))
    windows[0, :, 44:52, 44:52] = blob
    windows[1, :, 4 * row : 4 * row + 8, 4 * column : 4 * column + 8] = blob
    with torch.inference_mode():
        here, there, nothing = model(torch.from_numpy(windows))
    assert abs(here - nothing) > 1e-5
    torch.testing.assert_close(here, there, rtol=0, atol=1e-12)


# Nava, Monserrat & Catani 2021


def test_the_bands_of_nava2021_are_before_after_and_difference():
    spec = sc.models.nava2021().spec
    assert spec.bands == ("vh_pre", "vh_post", "vh_diff")
    assert spec.window_size == 25
    assert sc.models.nava2021(4, bands=None).spec.bands == ("vv_post", "vh_post", "vv_diff", "vh_diff")


def test_the_logit_stands_for_the_softmax_and_its_cross_entropy():
    model = small("nava2021").eval().double()
    torch.nn.init.normal_(model.output.weight, std=3)  # scores far apart as well
    windows = torch.from_numpy(windows_for(model, 16)).double()
    labels = torch.tensor([0, 1] * 8)
    scores, logits = model.class_scores(model.normalised(windows)), model(windows)
    assert scores.shape == (16, 2)
    assert logits.abs().max() > 1
    torch.testing.assert_close(torch.sigmoid(logits), torch.softmax(scores, 1)[:, 1], rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(
        functional.binary_cross_entropy_with_logits(logits, labels.double()),
        functional.cross_entropy(scores, labels),
        rtol=1e-12,
        atol=1e-15,
    )


def inputs_of_block1(model, windows):
    seen = []
    handle = model.block1.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(torch.from_numpy(windows))
    handle.remove()
    return seen[0].numpy()


@given(st.integers(8, 40), st.sampled_from([8, 25, 32, 33]))
@settings(max_examples=15)
def test_windows_are_resampled_between_the_centres_of_their_pixels(size, resample):
    """A ramp stays a ramp under bilinear resampling, flat only outside the outermost centres."""
    model = small("nava2021", filters=1, window_size=size, resample=resample).eval()
    y, x = np.mgrid[:size, :size]
    ramp = np.broadcast_to(2 * y - 3 * x, (1, 3, size, size)).astype(np.float32)
    at = np.clip((np.arange(resample) + 0.5) * size / resample - 0.5, 0, size - 1)
    expected = np.broadcast_to(2 * at[:, None] - 3 * at, (1, 3, resample, resample))
    np.testing.assert_allclose(inputs_of_block1(model, ramp), expected, atol=1e-4)


def test_native_windows_reach_the_network_as_they_are():
    model = small("nava2021", resample=None).eval()
    windows = windows_for(model, 2)
    assert model.spec.options["resample"] == 0
    assert build(ModelSpec.from_json(model.spec.to_json())).resample == 0
    np.testing.assert_array_equal(inputs_of_block1(model, windows), windows)


@pytest.mark.parametrize(("resample", "sides"), [(32, [16, 8, 4]), (None, [12, 6, 3])])
def test_the_three_poolings_halve_the_maps_and_leave_out_an_odd_pixel(resample, sides):
    model, seen = small("nava2021", resample=resample).eval(), []
    for block in (model.block1, model.block2, model.block3):
        block.register_forward_hook(lambda module, inputs, maps: seen.append(maps.shape[-2:]))
    model(torch.from_numpy(windows_for(model, 1)))
    assert seen == [(side, side) for side in sides]


@pytest.mark.parametrize("resample", [7, -1, 1025, 24.5])
def test_sizes_that_windows_cannot_be_resampled_to_are_refused(resample):
    with pytest.raises(InputError, match=f"resample must be a size of 8 to 1024 pixels, or None .* not {resample}"):
        sc.models.nava2021(resample=resample)
