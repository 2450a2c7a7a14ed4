"""The steps of a plan in vector instructions of our own: float32, on the CPU, in one thread."""

import torch
from torch import Tensor

from sarcube.detection.shared.levels import Convolve, Maps
from sarcube.detection.shared.logits import Steps
from sarcube.detection.shared.native import convolve_and_pool, prepare_layer
from sarcube.detection.shared.plan import Layer, Plan, padded
from sarcube.detection.shared.product import multiply, prepare_panel
from sarcube.vectors.instructions import lanes_of


def native_steps(plan: Plan) -> Steps:
    """Make a plan run for float32 images on the CPU.

    A window's logit is the same to the bit wherever the window lies and whatever is judged with it.
    """
    plan = padded(plan, lanes_of("float32"))
    first, second, third = (_convolve(layer) for layer in plan.layers)
    panel, output = prepare_panel(plan.dense.numpy().T), prepare_panel(plan.output.numpy()[:, None])

    def judge(features: Tensor) -> Tensor:
        hidden = multiply(features.numpy(), panel)
        hidden += plan.dense_bias.numpy()
        return torch.from_numpy(multiply(hidden.clip(0, out=hidden), output)[:, 0] + plan.output_bias)

    return Steps(plan.window, (first, second, third), plan.joined, judge)


def _convolve(layer: Layer) -> Convolve:
    prepared = prepare_layer(*(values.numpy() for values in (layer.weight, layer.bias, layer.low, layer.high)))

    def convolve(images: Tensor, *, step: int = 2, maximum: bool = True, mean: bool = False) -> Maps:
        maps = convolve_and_pool(images.numpy(), prepared, step=step, maximum=maximum, mean=mean)
        return [torch.from_numpy(found) for found in maps]

    return convolve
