"""Logits from maps that windows share, against each window judged alone in float64."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sarcube as sc
from sarcube.detection.judges import judge_of
from sarcube.detection.shared import gather
from sarcube.detection.shared.cells import Axis, Cells
from sarcube.detection.shared.logits import shared_logits
from sarcube.detection.shared.plan import padded, plan_of
from sarcube.detection.shared.torch_steps import torch_steps
from sarcube.windows import window_origins

CPU = torch.device("cpu")


def trained(model, *, seed=0):
    """A model as training might leave it: factors of normalisation of both signs, and none; a normalised input."""
    draw = torch.Generator().manual_seed(seed)
    bands = len(model.spec.bands)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            with torch.no_grad():
                layer.weight.normal_(generator=draw)
                layer.weight[0] = 0
                layer.bias.normal_(0, 0.3, generator=draw)
                layer.running_mean.uniform_(generator=draw)
                layer.running_var.uniform_(0.3, 1.3, generator=draw)
        elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            with torch.no_grad():
                layer.bias.normal_(0, 0.1, generator=draw)
    model.spec = sc.models.ModelSpec(**{**vars_of(model.spec), "mean": (-9.0,) * bands, "std": (2.5,) * bands})
    return model.eval()


def vars_of(spec):
    names = ("architecture", "bands", "window_size", "options", "threshold", "temperature")
    return {name: getattr(spec, name) for name in names}


MODELS = {
    "the published variant": trained(sc.models.cnn(4, filters=6, joined=1)),
    "the papers' variant": trained(sc.models.cnn(2, filters=8, joined=3)),
    "the papers' variant, small windows": trained(sc.models.cnn(2, filters=4, joined=3, window_size=24)),
    "native windows": trained(sc.models.nava2021(3, filters=8, resample=None)),
    "native windows of even size": trained(sc.models.nava2021(3, filters=5, resample=None, window_size=50)),
    "resampled windows": trained(sc.models.nava2021(3, filters=8)),
    "native windows of odd size": trained(sc.models.nava2021(3, filters=8, resample=None, window_size=31)),
}


def one_by_one(model, image, rows, columns):
    size, exact = model.spec.window_size, copy.deepcopy(model).double()
    windows = [image[:, y : y + size, x : x + size] for y in rows for x in columns]
    with torch.inference_mode():
        return exact(torch.from_numpy(np.stack(windows)).double()).numpy().reshape(len(rows), len(columns))


def noise(model, height, width, *, seed=0):
    return np.random.default_rng(seed).normal(-9, 2.5, (len(model.spec.bands), height, width)).astype(np.float32)


def everywhere(model, image, rows, columns, dtype=torch.float32):
    rows, columns = np.asarray(rows), np.asarray(columns)
    wanted = np.ones((len(rows), len(columns)), bool)
    return judge_of(model, dtype).everywhere(image, rows, columns, wanted)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stride", ["size", 8, 5, 2])
def test_the_logit_is_that_of_the_window_alone(name, stride):
    model = MODELS[name]
    size = model.spec.window_size
    height, width = (size + 27, size + 14) if stride == "size" else (size + 3 * stride + 1, size + 2 * stride)
    stride = size if stride == "size" else stride
    rows, columns = window_origins(height, size, stride), window_origins(width, size, stride)
    image = noise(model, height, width)
    expected = one_by_one(model, image, rows, columns)
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(everywhere(model, image, rows, columns), expected, rtol=2e-6, atol=5e-6)


@given(
    st.sampled_from(sorted(MODELS)),
    st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True),
)
@settings(max_examples=25, deadline=None)
def test_windows_may_lie_anywhere(name, rows, columns):
    model = MODELS[name]
    rows, columns, size = sorted(rows), sorted(columns), model.spec.window_size
    image = noise(model, rows[-1] + size, columns[-1] + size, seed=len(rows))
    expected = one_by_one(model, image, rows, columns)
    np.testing.assert_allclose(everywhere(model, image, rows, columns), expected, rtol=2e-6, atol=5e-6)


@pytest.mark.parametrize("name", MODELS)
def test_to_the_bit_it_depends_on_the_windows_own_pixels_alone(name):
    model = MODELS[name]
    size = model.spec.window_size
    image = noise(model, size + 40, size + 33)
    rows, columns = np.array([0, 7, 8, 24, 40]), np.array([0, 1, 16, 33])
    together = everywhere(model, image, rows, columns)
    windows = np.stack([image[:, y : y + size, x : x + size] for y in rows for x in columns])
    np.testing.assert_array_equal(judge_of(model, torch.float32).alone(windows), together.ravel())
    for i in (0, 3):
        np.testing.assert_array_equal(everywhere(model, image, rows[i : i + 1], columns[1:3]), together[i : i + 1, 1:3])
    spoilt = np.full_like(image, np.nan)
    spoilt[:, 8 : 8 + size, 16 : 16 + size] = image[:, 8 : 8 + size, 16 : 16 + size]
    assert everywhere(model, spoilt, rows, columns)[2, 2] == together[2, 2]


@pytest.mark.parametrize("name", [name for name in MODELS if name != "resampled windows"])
def test_torch_gives_the_same_in_both_of_its_precisions(name):
    model = MODELS[name]
    size = model.spec.window_size
    rows = columns = np.array([0, 8, 10])
    image = noise(model, size + 10, size + 10)
    expected = one_by_one(model, image, rows, columns)
    normal = torch.from_numpy(np.ascontiguousarray(((image + 9) / 2.5).transpose(1, 2, 0)))
    places = torch.from_numpy(rows), torch.from_numpy(columns)
    with torch.inference_mode():
        logits = shared_logits(normal, *places, torch_steps(plan_of(model), CPU, torch.float32))
    np.testing.assert_allclose(logits, expected, rtol=2e-6, atol=5e-6)
    coarse = everywhere(model, image, rows, columns, torch.bfloat16)
    assert 0 < np.abs(coarse - expected).max() < 0.03 * np.abs(expected).max() + 0.03


def test_filters_of_zeros_change_nothing():
    plan = plan_of(MODELS["the papers' variant"])
    wider = padded(plan, 12)
    assert [len(layer.bias) for layer in wider.layers] == [12, 12, 12]
    assert padded(plan, 4) is plan
    image = torch.randn(100, 90, 2, generator=torch.Generator().manual_seed(1))
    places = torch.tensor([0, 32]), torch.tensor([0, 26])
    with torch.inference_mode():
        logits = [shared_logits(image, *places, torch_steps(p, CPU, torch.float32)) for p in (plan, wider)]
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        sc.models.cbam(4, filters=4),
        sc.models.resnet(4, filters=4),
        sc.models.nava2021(3, filters=4, resample=20),
        sc.models.cnn(4, filters=4, window_size=16),
    ],
    ids=lambda model: f"{model.spec.architecture}-{model.spec.window_size}",
)
def test_what_shares_nothing_is_judged_window_by_window(model):
    assert plan_of(model) is None
    model = model.eval()
    size = model.spec.window_size
    image = noise(model, size + 9, size + 7)
    expected = one_by_one(model, image, [0, 9], [0, 7])
    np.testing.assert_allclose(everywhere(model, image, [0, 9], [0, 7]), expected, rtol=2e-6, atol=5e-6)


class Elsewhere(torch.Tensor):
    """A tensor that says it is on another device, as on a graphics card."""

    @property
    def is_cpu(self):
        return False


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_torch_and_compiled_copies_are_the_same(dtype):
    draw = torch.Generator().manual_seed(2)

    def values(*shape):
        return torch.randn(*shape, 3, generator=draw).to(dtype)

    rows = Axis(torch.arange(2), torch.tensor([-1, 3]), 6, changed=(0, 1))
    columns = Axis(torch.arange(3), torch.tensor([-1, 1, 5]), 6, changed=(1,))
    cells = Cells(rows, columns, values(9, 11), values(1, 3, 9), values(2, 2, 11), values(2, 1, 2, 3))
    elsewhere = Cells(
        rows,
        columns,
        cells.inside.as_subclass(Elsewhere),
        *(at.as_subclass(Elsewhere) for at in (cells.at_column, cells.at_row, cells.at_corner)),
    )
    wanted = [range(3, 7), range(2, 6)]
    for start in (0, 1):
        assert torch.equal(gather.beside_columns(cells, wanted, start), gather.beside_columns(elsewhere, wanted, start))
        assert torch.equal(gather.beside_rows(cells, wanted, start), gather.beside_rows(elsewhere, wanted, start))
    for y in (range(-1, 3), range(2, 6), range(3, 7)):
        for x in (range(1, 5), range(3, 7)):
            assert torch.equal(gather.patches(cells, y, x), gather.patches(elsewhere, y, x))
