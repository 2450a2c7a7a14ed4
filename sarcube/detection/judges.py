"""How windows become logits in one precision: from maps that they share, or one by one."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch.nn import functional

from sarcube.detection.shared.logits import Steps, shared_logits
from sarcube.detection.shared.native_steps import native_steps
from sarcube.detection.shared.plan import Plan, plan_of
from sarcube.detection.shared.registers import in_lines
from sarcube.detection.shared.torch_steps import torch_steps
from sarcube.models.classifier import WindowClassifier

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

GROUP = 2**18
"""Pixels of windows that are cut out at once, about: 64 windows of 64 x 64."""


@dataclass(frozen=True)
class Judge:
    """A model in one precision, where it is.

    Attributes
    ----------
    everywhere : (band, y, x) image, first rows, first columns, (row, column) wanted to (row, column) float32
        Logits of the windows that are wanted, of which none holds NaN; of others they may be anything.
    alone : (n, band, size, size) windows to (n,) float32
        Logits of windows without NaN.
    """

    everywhere: Callable[[Floats, Places, Places, Flags], Floats]
    alone: Callable[[Floats], Floats]


@lru_cache(maxsize=4)  # every block of a stack asks for the same one or two
def judge_of(model: WindowClassifier, dtype: torch.dtype) -> Judge:
    """Make a model, in evaluation mode, judge windows in float32 or bfloat16, as it is when it is first asked for.

    Networks of the CNN family let windows share their maps. Windows that are resampled first lie on grids of their own
    and share nothing, but pass the same steps. In float32 on the CPU a window's logit is the same to the bit in all of
    these ways: it depends on the window's own pixels alone.
    """
    plan = plan_of(model)
    if plan is None:
        return _network(model, dtype)
    if plan.window != model.spec.window_size:
        return _one_by_one(_steps(model, plan, dtype).alone, model.spec.window_size)
    return _steps(model, plan, dtype)


def cut_windows(image: Floats, rows: Places, columns: Places, size: int) -> Floats:
    """Copy windows of an image (band, y, x) out of it, by their first rows and columns: (n, band, size, size)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    return np.ascontiguousarray(windows[:, rows, columns].swapaxes(0, 1))


def _one_by_one(alone: Callable[[Floats], Floats], size: int) -> Judge:
    def everywhere(image: Floats, rows: Places, columns: Places, wanted: Flags) -> Floats:
        logits = np.zeros((len(rows), len(columns)), np.float32)
        y, x = np.nonzero(wanted)
        group = max(1, GROUP // size**2)
        for start in range(0, len(y), group):
            i, j = y[start : start + group], x[start : start + group]
            logits[i, j] = alone(cut_windows(image, rows[i], columns[j], size))
        return logits

    return Judge(everywhere, alone)


def _network(model: WindowClassifier, dtype: torch.dtype) -> Judge:
    """The network as it is."""

    def alone(windows: Floats) -> Floats:
        exact = dtype == torch.float32
        with nullcontext() if exact else torch.autocast(model.mean.device.type, dtype):
            return model.window_logits(windows)

    return _one_by_one(alone, model.spec.window_size)


def _steps(model: WindowClassifier, plan: Plan, dtype: torch.dtype) -> Judge:
    """The steps of a plan."""
    device = model.mean.device
    native = device.type == "cpu" and dtype == torch.float32
    steps = native_steps(plan) if native else torch_steps(plan, device, dtype)
    mean, std = (values.cpu().numpy().ravel() for values in (model.mean, model.std))

    def everywhere(image: Floats, rows: Places, columns: Places, wanted: Flags) -> Floats:
        return _logits(torch.from_numpy(_normalised(image, mean, std)), rows, columns, steps, device, dtype)

    def alone(windows: Floats) -> Floats:
        """One below the other, as windows of a tall image."""
        logits = [np.empty(0, np.float32)]
        first = np.zeros(1, np.int64)
        group = max(1, GROUP // plan.window**2)
        for start in range(0, len(windows), group):
            some = windows[start : start + group]
            tall = some.swapaxes(0, 1).reshape(some.shape[1], -1, some.shape[3])
            normal = torch.from_numpy(_normalised(tall, mean, std))
            if plan.window != some.shape[3]:
                normal = _resampled(normal.reshape(len(some), *some.shape[2:], -1), plan.window).flatten(0, 1)
            rows = np.arange(len(some)) * plan.window
            logits.append(_logits(normal, rows, first, steps, device, dtype)[:, 0])
        return np.concatenate(logits)

    return Judge(everywhere, alone)


def _resampled(windows: torch.Tensor, size: int) -> torch.Tensor:
    """Windows (n, y, x, band) as `sarcube.models.nava2021` resamples them."""
    by_band = windows.permute(0, 3, 1, 2)
    resampled = functional.interpolate(by_band, (size, size), mode="bilinear", align_corners=False)
    return resampled.permute(0, 2, 3, 1).contiguous()


def _normalised(image: Floats, mean: Floats, std: Floats) -> Floats:
    """Normalise an image (band, y, x) into one of (y, x, band), with 0 where it is not finite."""
    bands, height, width = image.shape
    normal = in_lines((height, width, bands))
    _normalise(image, mean, std, normal)
    return normal


@njit(cache=True, nogil=True)
def _normalise(image: Any, mean: Any, std: Any, normal: Any) -> None:
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            for band in range(image.shape[0]):
                value = (image[band, y, x] - mean[band]) / std[band]
                normal[y, x, band] = value if np.isfinite(value) else np.float32(0)


def _logits(
    image: torch.Tensor, rows: Places, columns: Places, steps: Steps, device: torch.device, dtype: torch.dtype
) -> Floats:
    # Without the short floats that convolutions on graphics cards are otherwise given.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        y, x = torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
        logits = shared_logits(image.to(device, dtype), y, x, steps)
        return logits.float().cpu().numpy()
