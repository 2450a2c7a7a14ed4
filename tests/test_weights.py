import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import sarcube as sc
from sarcube.errors import InputError, ReadError, StoreError
from sarcube.models import weights
from sarcube.models.weights import HASH_KEY, SPEC_KEY, model_hash


@pytest.fixture
def model():
    model = sc.models.cnn(4, filters=4, seed=3)
    model.spec = replace(model.spec, mean=(0.1,) * 4, std=(1 / 3,) * 4, threshold=0.37, simulated_only=True)
    return model


def rewrite(path, change):
    """Write the file again with other tensors or another spec, without its hash."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors, spec = load(data), json.loads(header["__metadata__"][SPEC_KEY])
    change(tensors, spec)
    path.write_bytes(save(tensors, {SPEC_KEY: json.dumps(spec)}))


def test_a_model_comes_back_as_it_was(model, tmp_path):
    path = sc.save_model(model, tmp_path / "model.safetensors")
    back = sc.load_model(path)
    assert back.spec == model.spec
    assert not back.training
    assert model_hash(back) == model_hash(model)
    windows = np.random.default_rng(0).normal(size=(3, 4, 64, 64)).astype(np.float32)
    np.testing.assert_array_equal(back.probabilities(windows), model.probabilities(windows))
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_hash_changes_with_weights_and_spec_and_nothing_else(model):
    original = model_hash(model)
    assert original == model_hash(model.eval().to(memory_format=torch.contiguous_format))
    assert len(original) == 64
    with torch.no_grad():
        model.output.bias += 1e-7
    changed = model_hash(model)
    model.spec = replace(model.spec, threshold=0.38)
    assert len({original, changed, model_hash(model)}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, spec: tensors.pop("dense.weight"), "missing dense.weight"),
        (lambda tensors, spec: tensors.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda tensors, spec: tensors.update({"output.bias": torch.zeros(2)}), r"output.bias has the shape \(2,\)"),
        (lambda tensors, spec: spec["options"].update(filters=8), "options {'dropout': 0.5, 'filters': 8}"),
        (lambda tensors, spec: spec.update(window_size=1024), "dense.weight has the shape"),
        (
            lambda tensors, spec: tensors.update({"output.bias": torch.zeros(1).double()}),
            "bias is not of torch.float32",
        ),
        (lambda tensors, spec: tensors.update({"output.bias": torch.zeros(1).bool()}), "bias is not of torch.float32"),
        (lambda tensors, spec: tensors["dense.weight"][5, 7:8].fill_(torch.nan), "dense.weight holds NaN or infinite"),
    ],
)
def test_files_whose_tensors_do_not_fit_their_spec_are_refused(model, tmp_path, change, message):
    path = sc.save_model(model, tmp_path / "model.safetensors")
    rewrite(path, change)
    with pytest.raises(ReadError, match=message):
        sc.load_model(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.double(), r"is not of torch.float32 .*model\.float\(\)"),
        (lambda model: model.half(), "is not of torch.float32"),
        (lambda model: setattr(model, "spec", replace(model.spec, window_size=128)), "dense.weight has the shape"),
        (lambda model: model.output.bias.detach().fill_(torch.inf), "output.bias holds NaN or infinite"),
    ],
)
def test_a_model_that_could_not_be_read_again_is_not_written(model, tmp_path, change, message):
    change(model)
    with pytest.raises(InputError, match=message):
        sc.save_model(model, tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_unknown_architecture_is_refused(model, tmp_path):
    path = sc.save_model(model, tmp_path / "model.safetensors")
    rewrite(path, lambda tensors, spec: spec.update(architecture="oracle"))
    with pytest.raises(InputError, match="oracle"):
        sc.load_model(path)


def test_changed_weights_are_noticed(model, tmp_path):
    path = sc.save_model(model, tmp_path / "model.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ReadError, match="changed after"):
        sc.load_model(path)


def test_files_that_are_no_models_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ReadError, match="no model file"):
        sc.load_model(path)
    path.write_bytes(b"\x80\x02pickle")
    with pytest.raises(ReadError, match="not a readable safetensors"):
        sc.load_model(path)
    path.write_bytes(save({"a": torch.zeros(1)}))
    with pytest.raises(ReadError, match=SPEC_KEY):
        sc.load_model(path)


def test_a_packaged_model_goes_by_its_bare_name(model, tmp_path, monkeypatch):
    (tmp_path / "pretrained").mkdir()
    sc.save_model(model, tmp_path / "pretrained" / "tiny.safetensors")
    monkeypatch.setattr(weights.resources, "files", lambda package: tmp_path)
    assert model_hash(sc.load_model("tiny")) == model_hash(model)
    with pytest.raises(InputError, match='"huge"; there are: tiny'):
        sc.load_model("huge")


def test_writing_fails_clearly(model, tmp_path):
    with pytest.raises(InputError, match=r"\.safetensors"):
        sc.save_model(model, tmp_path / "model.pt")
    with pytest.raises(StoreError, match="does not exist"):
        sc.save_model(model, tmp_path / "nowhere" / "model.safetensors")


def test_the_hash_is_in_the_file(model, tmp_path):
    data = sc.save_model(model, tmp_path / "model.safetensors").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"][HASH_KEY] == model_hash(model)
