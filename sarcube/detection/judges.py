"""How windows become logits in one precision: from maps that they share, or one by one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from sarcube.detection.shared.logits import Steps, shared_logits
from sarcube.detection.shared.native_steps import native_steps
from sarcube.detection.shared.plan import Plan, plan_of
from sarcube.detection.shared.torch_steps import torch_steps
from sarcube.models.classifier import WindowClassifier

Floats: TypeAlias = NDArray[np.float32]
Places: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

GROUP = 64
"""Windows that are cut out at once."""


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

    In float32 on the CPU both of its ways give a window the same logit to the bit where windows share maps: it depends
    on the window's own pixels alone.
    """
    plan = plan_of(model)
    return _one_by_one(model, dtype) if plan is None else _sharing(model, plan, dtype)


def cut_windows(image: Floats, rows: Places, columns: Places, size: int) -> Floats:
    """Copy windows of an image (band, y, x) out of it, by their first rows and columns: (n, band, size, size)."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    return np.ascontiguousarray(windows[:, rows, columns].swapaxes(0, 1))


def _one_by_one(model: WindowClassifier, dtype: torch.dtype) -> Judge:
    def precision() -> AbstractContextManager[object]:
        return nullcontext() if dtype == torch.float32 else torch.autocast(model.mean.device.type, dtype)

    def everywhere(image: Floats, rows: Places, columns: Places, wanted: Flags) -> Floats:
        logits = np.zeros((len(rows), len(columns)), np.float32)
        y, x = np.nonzero(wanted)
        for start in range(0, len(y), GROUP):
            i, j = y[start : start + GROUP], x[start : start + GROUP]
            logits[i, j] = alone(cut_windows(image, rows[i], columns[j], model.spec.window_size))
        return logits

    def alone(windows: Floats) -> Floats:
        with precision():
            return model.window_logits(windows)

    return Judge(everywhere, alone)


def _sharing(model: WindowClassifier, plan: Plan, dtype: torch.dtype) -> Judge:
    device = model.mean.device
    native = device.type == "cpu" and dtype == torch.float32
    steps = native_steps(plan) if native else torch_steps(plan, device, dtype)
    mean, std = (values.cpu().numpy().ravel() for values in (model.mean, model.std))

    def everywhere(image: Floats, rows: Places, columns: Places, wanted: Flags) -> Floats:
        return _logits(_normalised(image, mean, std), rows, columns, steps, device, dtype)

    def alone(windows: Floats) -> Floats:
        """One below the other as windows of a tall image."""
        logits = [np.empty(0, np.float32)]
        first = np.zeros(1, np.int64)
        for start in range(0, len(windows), GROUP):
            some = windows[start : start + GROUP]
            tall = some.swapaxes(0, 1).reshape(some.shape[1], -1, plan.window)
            rows = np.arange(len(some)) * plan.window
            logits.append(_logits(_normalised(tall, mean, std), rows, first, steps, device, dtype)[:, 0])
        return np.concatenate(logits)

    return Judge(everywhere, alone)


@njit(cache=True, nogil=True)
def _normalised(image: Any, mean: Any, std: Any) -> Any:
    """Normalise an image (band, y, x) into one of (y, x, band), with 0 where it is not finite."""
    normal = np.empty((image.shape[1], image.shape[2], image.shape[0]), np.float32)
    for y in range(image.shape[1]):
        for band in range(image.shape[0]):
            for x in range(image.shape[2]):
                value = (image[band, y, x] - mean[band]) / std[band]
                normal[y, x, band] = value if np.isfinite(value) else np.float32(0)
    return normal


def _logits(
    image: Floats, rows: Places, columns: Places, steps: Steps, device: torch.device, dtype: torch.dtype
) -> Floats:
    with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
        y, x = torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)
        logits = shared_logits(torch.from_numpy(image).to(device, dtype), y, x, steps)
        return logits.float().cpu().numpy()
