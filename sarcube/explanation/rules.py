"""DeepLIFT's rules for what is not linear, on a batch of one window and its baselines.

Within `deep_lift_rules()` a network is called as always, on a batch whose first image is the window that is explained
and whose others are baselines. Backward, each operation passes to the lane of a baseline not its gradient but a
multiplier: what the operation's output changes from the baseline to the window, over what its input changes. Linear
operations (convolutions, dense layers, means, batch normalisation in evaluation mode) keep their gradient, which is
that. An operation that is not linear and has no rule here keeps its gradient as well, and then contributions do not
add up: `sarcube.explanation.attribution` checks that they do.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_EPSILON = 1e-7
"""Differences below leave no quotient in single precision: the derivative, which is its limit, takes its place."""


def deep_lift_rules() -> TorchFunctionMode:
    """Return the context in which networks, forward and backward, follow the rules; it is the calling thread's alone.

    The rules are Shrikumar et al. 2017 (arXiv:1704.02685), sec. 3.5.1, rescale, for functions of one number; for a
    maximum what Lundberg & Lee's `shap` does: the change goes to the largest input on the side, window or baseline,
    where the maximum is larger; for a product the mean of both factors' orders, which is its Shapley value (Lundberg &
    Lee 2017, sec. 4.2, on components whose Shapley values are known).
    """
    return _Rules()


class _Rules(TorchFunctionMode):
    """Replaces some functions of torch; torch wants a class here."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        rule = _RULES.get(func) if torch.is_grad_enabled() else None
        if rule is None:
            return func(*args, **(kwargs or {}))
        return rule(func, *args, **(kwargs or {}))


class _Rescale(Function):
    """A function of one number, and its derivative (value, result) -> slope."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor], slope: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        y = function(x)
        ctx.save_for_backward(x, y)
        ctx.slope = slope
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        x, y = ctx.saved_tensors
        change = x[:1] - x
        multiplier = torch.where(change.abs() > _EPSILON, (y[:1] - y) / change, ctx.slope(x, y))
        return gradients[0] * multiplier, None, None


class _Choice(Function):
    """The largest of some inputs: (lane, ..., input) and the largest ones' numbers (lane, ..., output) to values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, largest: Tensor) -> Tensor:
        y = x.gather(-1, largest)
        ctx.save_for_backward(x, y, largest)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, y, largest = ctx.saved_tensors
        change = y[:1] - y
        # Where the window's maximum is larger, at its place, and else at the baseline's: there the input changes at
        # least as much as the maximum, and the quotient lies between 0 and 1.
        place = torch.where(change >= 0, largest[:1], largest)
        of_input = x[:1].expand_as(x).gather(-1, place) - x.gather(-1, place)
        multiplier = torch.where(of_input.abs() > _EPSILON, change / of_input, 1.0)
        return torch.zeros_like(x).scatter_add_(-1, place, gradients[0] * multiplier), None


class _Product(Function):
    """One map times another, such as attention."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        a, b = ctx.saved_tensors
        of_a, of_b = gradients[0] * (b[:1] + b) / 2, gradients[0] * (a[:1] + a) / 2
        return of_a.sum_to_size(a.shape), of_b.sum_to_size(b.shape)


def _relu(func: Any, x: Tensor, inplace: bool = False) -> Any:
    return _Rescale.apply(x, torch.relu, lambda x, y: (x > 0).to(x.dtype))  # type: ignore[no-untyped-call]


def _sigmoid(func: Any, x: Tensor) -> Any:
    return _Rescale.apply(x, torch.sigmoid, lambda x, y: y * (1 - y))  # type: ignore[no-untyped-call]


def _max_pool(func: Any, x: Tensor, *args: Any, **kwargs: Any) -> Any:
    kwargs["return_indices"] = True
    with torch.no_grad():
        values, largest = functional.max_pool2d(x, *args, **kwargs)
    chosen = _Choice.apply(x.flatten(2), largest.flatten(2))  # type: ignore[no-untyped-call]
    return chosen.reshape(values.shape)


def _amax(func: Any, x: Tensor, dim: int | tuple[int, ...], keepdim: bool = False) -> Any:
    axes = sorted(axis % x.ndim for axis in ((dim,) if isinstance(dim, int) else dim))
    moved = x.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))
    with torch.no_grad():
        largest = moved.argmax(dim=-1, keepdim=True)
    chosen = _Choice.apply(moved, largest)[..., 0]  # type: ignore[no-untyped-call]
    for axis in axes if keepdim else ():
        chosen = chosen.unsqueeze(axis)
    return chosen


def _product(func: Any, a: Any, b: Any) -> Any:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.requires_grad and b.requires_grad):
        return func(a, b)  # a number, or weights: linear
    return _Product.apply(a, b)  # type: ignore[no-untyped-call]


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((functional.relu, torch.relu, Tensor.relu), _relu),
    **dict.fromkeys((functional.sigmoid, torch.sigmoid, Tensor.sigmoid), _sigmoid),
    functional.max_pool2d: _max_pool,
    **dict.fromkeys((torch.amax, Tensor.amax), _amax),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__), _product),
}
