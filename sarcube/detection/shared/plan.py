"""What a network of the CNN family does to a window, folded into as few steps as possible.

A block is convolution, ReLU, batch normalisation, pooling. Scaling the convolution by the normalisation's factor and
adding its offset leaves a clamp: from below where the factor is positive, from above where it is negative. A clamp
keeps zero padding zero, because padding comes before it, and commutes with the maximum of pooling.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from sarcube.models.blocks import Block
from sarcube.models.classifier import WindowClassifier
from sarcube.models.cnn import CNN
from sarcube.models.nava2021 import NATIVE, Nava2021

SMALLEST = 24  # pixels: in smaller windows the borders of both sides meet in one cell


@dataclass(frozen=True)
class Layer:
    """A valid 3 x 3 convolution and a clamp, in float32.

    Attributes
    ----------
    weight : (filter, channel, 3, 3) Tensor
    bias, low, high : (filter,) Tensors
        Of the convolution, and of the clamp after it; low and high may be infinite.
    """

    weight: Tensor
    bias: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class Plan:
    """How windows become logits: three layers, each pooled 2 x 2, then two dense layers.

    Attributes
    ----------
    window : int
        Pixels along a side of a window, after it was resampled where the network does that.
    layers : three of Layer
    joined : bool
        Whether the dense layer also sees maps 1 and 2, averaged and pooled to the size of map 3.
    dense : (hidden, cell · cell · feature) Tensor
        Weights for features in the order (y, x, feature), features being those of maps 1, 2, 3 or of map 3 alone.
    dense_bias, output : (hidden,) Tensors
    output_bias : float
    """

    window: int
    layers: tuple[Layer, Layer, Layer]
    joined: bool
    dense: Tensor
    dense_bias: Tensor
    output: Tensor
    output_bias: float


def plan_of(model: WindowClassifier) -> Plan | None:
    """Fold a model of the CNN family; None for any other, which sees a window as a whole, and for small windows."""
    plan = None
    with torch.no_grad():
        if type(model) is CNN:
            plan = _plan_of_cnn(model)
        elif type(model) is Nava2021:
            plan = _plan_of_nava2021(model)
    return None if plan is None or plan.window < SMALLEST else plan


def padded(plan: Plan, lanes: int) -> Plan:
    """Add filters of nothing but zeros until their number is a multiple of the lanes."""
    filters = plan.layers[0].weight.shape[0]
    more = -filters % lanes
    if not more:
        return plan
    first, second, third = plan.layers
    layers = _widened(first, more, 0), _widened(second, more, more), _widened(third, more, more)
    dense = functional.pad(plan.dense.reshape(len(plan.dense), -1, filters), (0, more)).flatten(1)
    return replace(plan, layers=layers, dense=dense)


def _plan_of_cnn(model: CNN) -> Plan:
    blocks = (model.block1, model.block2, model.block3)
    filters, cells = model.block1.convolution.out_channels, model.spec.window_size // 8
    dense = model.dense.weight.double().reshape(-1, 3, filters, cells, cells)  # (hidden, map, filter, y, x)
    if model.third_alone:
        dense = dense.sum(dim=1, keepdim=True)
    return Plan(
        window=model.spec.window_size,
        layers=(_folded(blocks[0]), _folded(blocks[1]), _folded(blocks[2])),
        joined=not model.third_alone,
        dense=_single(dense.permute(0, 3, 4, 1, 2).flatten(1)),
        dense_bias=_single(model.dense.bias),
        output=_single(model.output.weight[0]),
        output_bias=float(model.output.bias[0]),
    )


def _plan_of_nava2021(model: Nava2021) -> Plan:
    first, second, third = (_rectified(block[0]) for block in (model.block1, model.block2, model.block3))
    window = model.spec.window_size if model.resample == NATIVE else model.resample
    filters, cells = len(first.weight), window // 8
    dense = model.dense.weight.reshape(-1, filters, cells, cells)
    output = model.output.weight.double()
    return Plan(
        window=window,
        layers=(first, second, third),
        joined=False,
        dense=_single(dense.permute(0, 2, 3, 1).flatten(1)),
        dense_bias=_single(model.dense.bias),
        output=_single(output[1] - output[0]),
        output_bias=float(model.output.bias[1].double() - model.output.bias[0].double()),
    )


def _folded(block: Block) -> Layer:
    normalisation, convolution = block.normalisation, block.convolution
    variance, mean = _present(normalisation.running_var), _present(normalisation.running_mean)
    factor = normalisation.weight.double() / torch.sqrt(variance.double() + normalisation.eps)
    offset = normalisation.bias.double() - mean.double() * factor
    infinity = torch.full_like(offset, torch.inf)
    return Layer(
        weight=_single(convolution.weight.double() * factor[:, None, None, None]),
        bias=_single(_present(convolution.bias).double() * factor + offset),
        low=_single(torch.where(factor >= 0, offset, -infinity)),
        high=_single(torch.where(factor <= 0, offset, infinity)),
    )


def _rectified(convolution: nn.Module) -> Layer:
    assert isinstance(convolution, nn.Conv2d)
    bias = _single(_present(convolution.bias))
    return Layer(_single(convolution.weight), bias, torch.zeros_like(bias), torch.full_like(bias, torch.inf))


def _widened(layer: Layer, filters: int, channels: int) -> Layer:
    """Add filters, and channels that they read, of zeros: what they give is zero."""
    weight = functional.pad(layer.weight, (0, 0, 0, 0, 0, channels, 0, filters))
    bias, low, high = (functional.pad(values, (0, filters)) for values in (layer.bias, layer.low, layer.high))
    return Layer(weight, bias, low, high)


def _present(values: Tensor | None) -> Tensor:
    assert values is not None  # torch's types allow for layers without them
    return values


def _single(values: Tensor) -> Tensor:
    return values.detach().float().cpu().contiguous()
