"""The steps of a plan in torch: on any device, in float32 or bfloat16."""

import torch
from torch import Tensor
from torch.nn import functional

from sarcube.detection.shared.logits import Steps
from sarcube.detection.shared.plan import Plan
from sarcube.detection.shared.torch_convolve import torch_convolve


def torch_steps(plan: Plan, device: torch.device, dtype: torch.dtype) -> Steps:
    """Make a plan run on a device, for images of a type."""
    first, second, third = (torch_convolve(layer, device, dtype) for layer in plan.layers)
    dense, dense_bias, output = (values.to(device, dtype) for values in (plan.dense, plan.dense_bias, plan.output))

    def judge(features: Tensor) -> Tensor:
        hidden = functional.relu(functional.linear(features, dense, dense_bias))
        return (hidden.float() @ output.float()) + plan.output_bias

    return Steps(plan.window, (first, second, third), plan.joined, judge)
