"""How many windows a model scores in a second on this machine."""

import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.detection.scores import score_windows
from sarcube.errors import InputError

if TYPE_CHECKING:
    from sarcube.detection.block import Precision
    from sarcube.models.network import Network

_CORNER = 512  # pixels along a side of what is scored first, so that imports and compiling do not count
_REPEATS = 3
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Throughput:
    """What `measure_throughput` found.

    Attributes
    ----------
    stride, precision, device, size
        As asked for.
    windows : int
        Windows in the image.
    seconds : float
        Median of three repetitions.
    windows_per_second, megapixels_per_second : float
        Windows, and millions of the image's pixels, each counted once, over the seconds.
    peak_memory_gib : float or None
        Peak of this process's resident memory meanwhile, with all that it held before; None where the system is none
        that says it (it is read from /proc, so on Linux).
    """

    stride: int
    precision: str
    device: str
    size: int
    windows: int
    seconds: float
    windows_per_second: float
    megapixels_per_second: float
    peak_memory_gib: float | None


def measure_throughput(
    model: "Network", *, size: int = 2048, stride: int = 32, precision: "Precision" = "float32", device: str = "cpu"
) -> Throughput:
    """Time `score_windows` on simulated noise in memory.

    A corner is scored first, then the whole three times.

    Parameters
    ----------
    model : WindowClassifier
    size : int
        Pixels along a side of the image, at least a window of the model.
    stride, precision, device
        As in `score_windows`.

    Returns
    -------
    Throughput

    Raises
    ------
    InputError
        If the model judges pixels, the image is smaller than a window, or an option cannot be used.
    """
    if size < model.spec.window_size:
        raise InputError(
            f"an image of {size} x {size} pixels holds no window of {model.spec.window_size}; take a larger size"
        )
    score = partial(score_windows, model=model, stride=stride, precision=precision, device=device)
    stack = _noise(model, size)
    score(stack[:, :_CORNER, :_CORNER]).compute()
    watched = _forget_peak()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        scores = score(stack).compute()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return Throughput(
        stride=stride,
        precision=precision,
        device=device,
        size=size,
        windows=scores.size,
        seconds=median,
        windows_per_second=scores.size / median,
        megapixels_per_second=size * size / median / 1e6,
        peak_memory_gib=_peak_gib() if watched else None,
    )


def processor() -> dict[str, str | list[str]]:
    """Return the processor's name and those of its flags that decide how fast a network is.

    Returns
    -------
    dict
        `cpu`, a text, and `flags`, a list; empty where the system does not say it in /proc/cpuinfo.
    """
    try:
        lines = (_PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return {"cpu": "", "flags": []}
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip())
    flags = found.get("flags", found.get("features", "")).split()
    return {"cpu": found.get("model name", ""), "flags": [flag for flag in _FLAGS if flag in flags]}


def _noise(model: "Network", size: int) -> xr.DataArray:
    bands = model.spec.bands
    values = np.random.default_rng(0).standard_normal((len(bands), size, size), np.float32)
    values *= np.float32(3)
    values -= np.float32(10)
    grid = GeoBox((size, size), Affine(10, 0, 600_000, 0, -10, 100_000), "EPSG:32647")
    attributes = {"simulated": True, "radiometry": model.spec.radiometry}
    return xr.DataArray(
        values, dims=("band", "y", "x"), coords={**xr_coords(grid), "band": list(bands)}, attrs=attributes
    )


def _forget_peak() -> bool:
    """Let the peak of resident memory start anew; whether this system can."""
    try:
        (_PROC / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak_gib() -> float | None:
    for line in (_PROC / "self" / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return None
