"""Every architecture can be exported, by torch and to ONNX, for batches of any size."""

import numpy as np
import onnxruntime
import pytest
import simple_stack  # noqa: F401
import torch
from torch.export import Dim

from sarcube.models import ARCHITECTURES, ModelSpec, Segmenter, build

SIDES = {"nava2021": 25}
SIDE = 32  # pixels of the others: what five halvings of an encoder still leave one of
BATCHES = (1, 2, 5)
OPTIONS = {"attention_unet": {"filters": 4}, "cbam": {"filters": 8}, "cnn": {"filters": 8}, "resnet": {"filters": 8}}
"""What makes some of them smaller; the others are built as they are."""

each = pytest.mark.parametrize(
    ("name", "options"),
    [*((name, OPTIONS.get(name, {})) for name in sorted(ARCHITECTURES)), ("nava2021", {"resample": 0})],
)


def example(name, options):
    """Make a model with a normalisation, in evaluation mode, and what it gives for a batch of each size."""
    side = SIDES.get(name, SIDE)
    spec = ModelSpec(
        name,
        ("vv_post", "vh_post", "vh_diff"),
        window_size=side,
        options=options,
        mean=(-10.0, -17.0, 0.5),
        std=(3.0, 4.0, 2.0),
    )
    model = build(spec).eval()
    draws = np.random.default_rng(0)
    batches = [torch.from_numpy(draws.normal(-10, 5, (n, 3, side, side)).astype(np.float32)) for n in BATCHES]
    if isinstance(model, Segmenter):
        batches[-1][0, 1, 5:9, 5:9] = torch.nan  # pixels that are not valid
    with torch.inference_mode():
        return model, batches, [model(batch) for batch in batches]


def assert_same_logits(found, expected, model):
    """To 1e-5, or, for pixels, to 1e-5 of the largest: fresh deep networks give logits of 100 in single precision."""
    scale = float(expected.abs().max()) if isinstance(model, Segmenter) else 1.0
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * scale)


@each
def test_a_model_that_torch_exported_gives_the_same_logits(name, options):
    model, batches, expected = example(name, options)
    exported = torch.export.export(model, (batches[1],), dynamic_shapes=({0: Dim("batch")},)).module()
    with torch.inference_mode():
        for batch, logits in zip(batches, expected, strict=True):
            assert_same_logits(exported(batch), logits, model)


@each
def test_a_model_in_onnx_gives_the_same_logits(name, options, tmp_path):
    model, batches, expected = example(name, options)
    program = torch.onnx.export(model, (batches[1],), dynamo=True, dynamic_shapes=({0: Dim("batch")},), verbose=False)
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert tuple(entry.shape[1:]) == batches[0].shape[1:]
    for batch, logits in zip(batches, expected, strict=True):
        (found,) = session.run(None, {entry.name: batch.numpy()})
        assert_same_logits(torch.from_numpy(found), logits, model)
