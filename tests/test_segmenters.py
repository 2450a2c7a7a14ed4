from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from simple_stack import make_stack
from torch import nn
from torch.nn import functional

import sarcube as sc
from sarcube.errors import InputError
from sarcube.models import ModelSpec, Segmenter, build
from sarcube.models.encoder_decoder import landslide_logits
from sarcube.models.resnet_encoder import Bottleneck, ResNetEncoder
from sarcube.models.weights import model_hash

MAKERS = {
    "attention_unet": lambda **options: sc.models.attention_unet(4, filters=2, **options),
    "unet": lambda **options: sc.models.unet(4, **options),
    "unet_plus_plus": lambda **options: sc.models.unet_plus_plus(4, **options),
}
KERAS = Path(__file__).parent / "fixtures" / "attention_unet.npz"
every_model = pytest.mark.parametrize("name", MAKERS)


@pytest.fixture(scope="module")
def models():
    """Each in evaluation mode, its batch normalisations not those of fresh weights; tests leave them as they are."""
    made = {}
    for name, make in MAKERS.items():
        made[name] = make().eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            for layer in made[name].modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.running_mean.normal_(0, 0.1)
                    layer.running_var.uniform_(0.8, 1.5)
    return made


def noise(n, height=64, width=64, bands=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, bands, height, width)).astype(np.float32)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@every_model
def test_every_pixel_gets_one_logit(models, name):
    model = models[name]
    assert isinstance(model, Segmenter)
    assert model.spec.architecture == name
    with torch.inference_mode():
        logits = model(torch.from_numpy(noise(2, 64, 96)))
    assert logits.shape == (2, 64, 96)
    assert logits.std() > 0
    np.testing.assert_allclose(
        model.probabilities(noise(2, 64, 96)), torch.sigmoid(logits).numpy(), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("layers", "channels", "expected"),
    # ResNet-50 and ResNet-18 as torchvision counts them, 25 557 032 and 11 689 512, without fully connected layers of
    # 2048 x 1000 + 1000 and 512 x 1000 + 1000; each band more or less is 64 filters of 7 x 7.
    [(50, 3, 23_508_032), (18, 3, 11_176_512), (18, 5, 11_176_512 + 2 * 64 * 49)],
)
def test_encoders_have_the_parameters_of_the_known_networks(layers, channels, expected):
    with torch.device("meta"):
        assert parameters(ResNetEncoder(channels, layers=layers)) == expected


@pytest.mark.parametrize(
    ("make", "options", "expected"),
    [
        # The number in Boehm et al. 2022; segmentation_models_pytorch's UnetPlusPlus has it for 2 channels, 2 classes.
        (sc.models.unet_plus_plus, {"in_channels": 2, "encoder": "resnet50", "classes": 2}, 48_982_754),
        # segmentation_models_pytorch's Unet with its defaults, 3 channels and 1 class.
        (sc.models.unet, {"in_channels": 3, "bands": "abc", "encoder": "resnet50"}, 32_521_105),
        (sc.models.unet, {"in_channels": 3, "bands": "abc"}, 14_328_209),
        # So Boehm et al. did not train the plain one.
        (sc.models.unet, {"in_channels": 2, "encoder": "resnet50", "classes": 2}, 32_518_114),
    ],
)
def test_networks_have_the_parameters_of_the_known_ones(make, options, expected):
    with torch.device("meta"):
        assert parameters(make(**options)) == expected


@pytest.mark.parametrize(
    ("layers", "channels"), [(18, (4, 64, 64, 128, 256, 512)), (50, (4, 64, 256, 512, 1024, 2048))]
)
def test_encoders_give_maps_of_six_sizes(layers, channels):
    with torch.device("meta"):
        encoder = ResNetEncoder(4, layers=layers)
        maps = encoder(torch.empty(1, 4, 128, 96))
    assert encoder.channels == channels
    assert [tuple(m.shape[1:]) for m in maps] == [(c, 128 >> i, 96 >> i) for i, c in enumerate(channels)]


def test_a_bottleneck_is_that_of_the_paper_with_the_stride_in_its_middle():
    torch.manual_seed(0)
    block = Bottleneck(8, 4, stride=2).double().eval()
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)

    def convolved(x, convolution, normalisation, **options):
        n = normalisation
        x = functional.conv2d(x, convolution.weight, **options) - n.running_mean[:, None, None]
        x = x / torch.sqrt(n.running_var + 1e-5)[:, None, None]
        return x * n.weight[:, None, None] + n.bias[:, None, None]

    x = torch.randn(2, 8, 6, 10, dtype=torch.float64)
    y = convolved(x, block.convolution1, block.normalisation1).relu()
    y = convolved(y, block.convolution2, block.normalisation2, stride=2, padding=1).relu()
    y = convolved(y, block.convolution3, block.normalisation3) + convolved(x, *block.shortcut, stride=2)
    torch.testing.assert_close(block(x), y.relu())


def test_the_steps_of_the_unet_see_the_maps_of_their_size(models):
    model = models["unet"]
    with torch.inference_mode():
        images = torch.from_numpy(noise(1))
        maps = model.encoder(images)
        a, b, c, d, e = model.decoder.steps
        x = e(d(c(b(a(maps[5], [maps[4]]), [maps[3]]), [maps[2]]), [maps[1]]), [])
        torch.testing.assert_close(model(images), model.head(x)[:, 0])


def test_the_nodes_of_the_unet_plus_plus_are_joined_as_in_the_paper(models):
    """Zhou et al. 2018, equation 1 and figure 1a, written out; level 5 is the encoder's last."""
    model = models["unet_plus_plus"]
    with torch.inference_mode():
        images = torch.from_numpy(noise(1))
        _, x10, x20, x30, x40, x50 = model.encoder(images)
        node = {name[-1] + name[5]: block for name, block in model.decoder.nodes.items()}  # "level3_column1": "13"
        x41, x31 = node["14"](x50, [x40]), node["13"](x40, [x30])
        x21, x11 = node["12"](x30, [x20]), node["11"](x20, [x10])
        x32, x22, x12 = node["23"](x41, [x31, x30]), node["22"](x31, [x21, x20]), node["21"](x21, [x11, x10])
        x23, x13 = node["32"](x32, [x22, x21, x20]), node["31"](x22, [x12, x11, x10])
        x14 = node["41"](x23, [x13, x12, x11, x10])
        torch.testing.assert_close(model(images), model.head(model.decoder.last(x14, []))[:, 0])
    assert len(node) == 10


def test_the_attention_unet_gives_what_the_published_layers_give_in_keras():
    """The fixture is from tests/fixtures/make_attention_unet.py: another library built the same graph."""
    with np.load(KERAS) as file:
        keras = {name: torch.from_numpy(file[name]) for name in file.files}
    model = sc.models.attention_unet(2, filters=2, window_size=32).eval()
    downs = (model.down1, model.down2, model.down3, model.down4, model.centre)
    gates = (model.gate4, model.gate3, model.gate2)
    ups = (model.up4, model.up3, model.up2)
    convolutions = [down[i] for down in downs for i in (0, 3)]
    normalisations = [down[i] for down in downs for i in (1, 4)]
    transposed = []
    for gate, up in zip(gates, ups, strict=True):
        convolutions += [gate.signal[0], gate.skip_projection, gate.signal_projection, gate.score, gate.output[0]]
        normalisations += [gate.signal[1], gate.output[1]]
        transposed += [gate.signal_resizing, up.convolution]
    convolutions.append(model.head)
    transposed.append(model.up1.convolution)
    with torch.no_grad():
        for kind, layers in (("convolution", convolutions), ("transposed", transposed)):
            for number, layer in enumerate(layers):
                layer.weight.copy_(keras[f"{kind}{number}_0"].permute(3, 2, 0, 1))
                layer.bias.copy_(keras[f"{kind}{number}_1"])
        for number, layer in enumerate(normalisations):
            values = (layer.weight, layer.bias, layer.running_mean, layer.running_var)
            for k, value in enumerate(values):
                value.copy_(keras[f"normalisation{number}_{k}"])
        logits = model(keras["images"].permute(0, 3, 1, 2))
    assert parameters(model) == keras["parameters"][0]
    torch.testing.assert_close(logits, keras["logits"][..., 0], rtol=1e-5, atol=1e-5)


def test_attention_is_a_share_that_two_by_two_pixels_have_in_common(models):
    gate = models["attention_unet"].gate3
    skip, signal = torch.from_numpy(noise(2, 16, 24, bands=4)), torch.from_numpy(noise(2, 8, 12, bands=6))
    with torch.inference_mode():
        coefficients = gate.coefficients(skip, signal)
        other = gate.coefficients(skip, signal + 1)
        gated = gate(skip, signal)
    assert coefficients.shape == (2, 1, 16, 24)
    assert ((coefficients > 0) & (coefficients < 1)).all()
    assert coefficients.std() > 0
    assert torch.equal(coefficients[:, :, ::2, ::2], coefficients[:, :, 1::2, 1::2])
    assert not torch.equal(coefficients, other)
    torch.testing.assert_close(gated, gate.output(coefficients * skip))


@every_model
def test_the_gradient_reaches_every_parameter(name):
    # In evaluation mode: in training batch normalisation takes the biases before it away again.
    model = MAKERS[name](seed=2).eval()
    model(torch.from_numpy(noise(2, 64, 64))).square().sum().backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.abs().max() > 0]
    assert not without


def test_two_class_scores_and_one_logit_say_the_same():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 2, 8, 8, generator=generator, dtype=torch.float64) * 5
    truth = torch.randint(0, 2, (3, 8, 8), generator=generator)
    logits = landslide_logits(scores)
    torch.testing.assert_close(torch.sigmoid(logits), torch.softmax(scores, dim=1)[:, 1])
    torch.testing.assert_close(
        functional.binary_cross_entropy_with_logits(logits, truth.double()), functional.cross_entropy(scores, truth)
    )


def test_a_model_of_two_classes_gives_the_difference_of_its_scores():
    model, images = sc.models.unet(4, classes=2).eval(), torch.from_numpy(noise(1))
    with torch.inference_mode():
        scores, logits = model.class_scores(images), model(images)
    assert scores.shape == (1, 2, 64, 64)
    torch.testing.assert_close(torch.sigmoid(logits), torch.softmax(scores, dim=1)[:, 1])
    assert logits.std() > 0


@every_model
def test_a_pixel_that_is_not_valid_counts_as_its_bands_mean_and_gets_no_probability(models, name):
    model, plain = models[name], models[name].spec
    mean, std = (-10.0, -17.0, 0.5, 0.1), (3.0, 4.0, 2.0, 1.5)
    images = noise(1) * np.reshape(std, (4, 1, 1)).astype(np.float32) + np.reshape(mean, (4, 1, 1)).astype(np.float32)
    filled = images.copy()
    images[0, 1, 20, 30] = np.nan
    filled[0, 1, 20, 30] = -17.0
    try:
        model.spec = replace(plain, mean=mean, std=std)
        result, expected = model.probabilities(images), model.probabilities(filled)
    finally:
        model.spec = plain
    assert np.isnan(result[0, 20, 30])
    assert np.isnan(result).sum() == 1
    expected[0, 20, 30] = np.nan
    np.testing.assert_array_equal(result, expected)


@every_model
@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_an_infinite_pixel_is_not_valid_either_and_leaves_its_neighbours_alone(models, name, infinite):
    images = noise(1)
    images[0, 1, 20, 30] = np.nan
    expected = models[name].probabilities(images)
    images[0, 1, 20, 30] = infinite
    np.testing.assert_array_equal(models[name].probabilities(images), expected)


@every_model
def test_an_images_probabilities_do_not_depend_on_its_company(models, name):
    model, images = models[name], noise(3)
    everything = model.probabilities(images)
    for number in range(3):
        np.testing.assert_array_equal(model.probabilities(images[number : number + 1])[0], everything[number])


@pytest.mark.parametrize(("name", "reach"), [("attention_unet", 160), ("unet", 448), ("unet_plus_plus", 448)])
def test_shifted_by_its_multiple_an_image_gives_shifted_logits_away_from_the_border(models, name, reach):
    """Not by one pixel: poolings and strides fall on other ones. Within `reach` of a border padding is seen."""
    model = models[name]
    step, width = model.multiple, 2 * reach + 64
    image = torch.from_numpy(noise(1, 32, width + step))
    inside = slice(reach, width - reach - step)
    with torch.inference_mode():
        whole = model(image[..., :width])[..., step:][..., inside]
        shifted = model(image[..., step : step + width])[..., inside]
        otherwise = model(image[..., 1 : 1 + width])[..., step - 1 :][..., inside]
    scale = whole.std()
    assert scale > 0
    assert (whole - shifted).abs().max() < 1e-4 * scale
    assert (whole - otherwise).abs().max() > 1e-2 * scale


@every_model
def test_fresh_weights_follow_from_the_seed_alone(name):
    torch.manual_seed(1)
    a, state = MAKERS[name](), torch.get_rng_state()
    torch.manual_seed(2)
    b, other = MAKERS[name](), MAKERS[name](seed=1)
    assert model_hash(a) == model_hash(b)
    assert not torch.equal(a.head.weight, other.head.weight)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@every_model
def test_a_spec_survives_json_and_builds_the_same_network(name):
    spec = MAKERS[name](window_size=64).spec
    assert ModelSpec.from_json(spec.to_json()) == spec
    with torch.device("meta"):
        built = build(ModelSpec.from_json(spec.to_json()))
        assert parameters(built) == parameters(MAKERS[name]())
    assert built.spec == spec


@pytest.mark.parametrize("name", ["attention_unet", "unet"])
def test_a_model_comes_back_as_it_was(models, tmp_path, name):
    model = models[name]
    back = sc.load_model(sc.save_model(model, tmp_path / "model.safetensors"))
    assert isinstance(back, Segmenter)
    assert back.spec == model.spec
    assert model_hash(back) == model_hash(model)
    np.testing.assert_array_equal(back.probabilities(noise(1)), model.probabilities(noise(1)))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (sc.models.unet, {"encoder": "resnet101"}, '"resnet101"; there are: resnet18, resnet50'),
        (sc.models.unet, {"classes": 3}, "classes must be 1"),
        (sc.models.unet, {"window_size": 80}, "multiple of 32, not 80"),
        (sc.models.unet, {"in_channels": 3}, "bands="),
        (sc.models.unet_plus_plus, {"window_size": 100}, "unet_plus_plus halves .* multiple of 32, not 100"),
        (sc.models.attention_unet, {"filters": 0}, "filters must be"),
        (sc.models.attention_unet, {"window_size": 72}, "multiple of 16, not 72"),
    ],
)
def test_options_that_cannot_be_are_refused(make, options, message):
    with pytest.raises(InputError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("architecture", "options", "message"),
    [
        ("unet", {"encoder_layers": 34}, "encoder_layers must be 18 or 50, not 34"),
        ("unet", {"filters": 16}, "no option filters"),
        ("attention_unet", {"depth": 4}, "no option depth"),
        ("attention_unet", {"filters": 16.5}, "filters must be"),
        ("unet", {"encoder_layers": "resnet18"}, "must be finite numbers"),
        ("unet", {"classes": float("nan")}, "must be finite numbers"),
        ("unet", {"classes": True}, "must be finite numbers"),
    ],
)
def test_specs_whose_options_cannot_be_are_refused(architecture, options, message):
    with pytest.raises(InputError, match=message):
        build(ModelSpec(architecture, ("a", "b"), window_size=64, options=options))


@every_model
def test_images_of_other_sizes_are_refused(models, name):
    with pytest.raises(InputError, match=f"multiples of {models[name].multiple} pixels"):
        models[name].probabilities(noise(1, 64, 72))
    with pytest.raises(InputError, match=r"\(n, 4, y, x\)"):
        models[name].probabilities(noise(1, bands=2))


def test_windows_are_not_scored_by_a_model_that_judges_pixels(models):
    with pytest.raises(InputError, match='the "attention_unet" gives one to each pixel'):
        sc.score_windows(make_stack(128, 128), models["attention_unet"])
    with pytest.raises(InputError, match="each pixel"):
        sc.detect(make_stack(128, 128), models["attention_unet"])
