"""What `benchmarks.detector` measures in processes of their own: ours, plain torch, the processor's peak.

    python -m benchmarks.detector_apart SOURCE MODEL.safetensors THREADS

SOURCE is a stack (band, y, x): .npy, held in memory, or .zarr, read where it is needed. Serves requests (see
`benchmarks.detector_serving`) of three kinds: "ours" (stride, precision; size or shape of the corner to look at,
chunks, workers), "plain" (stride, batch, size) and "peak" (precision); `save` keeps the scores.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import numpy as np
import torch

import sarcube as sc
from benchmarks.detector_data import as_stack, open_source
from benchmarks.detector_serving import Request, serve
from benchmarks.rivals_detector import plain_scores
from sarcube.models import Network

MATRIX = 2048  # rows and columns of the matrices whose product tells the processor's peak


def ours(image: Any, model: Network, threads: int, request: Request) -> dict[str, Any]:
    """Score a stack with `sc.score_windows`."""
    height, width = request.get("shape") or (request.get("size") or None,) * 2
    part = image[:, :height, :width]
    stack = as_stack(part, model.spec.bands)
    if "chunks" in request:
        y, x = request["chunks"]
        stack = stack.chunk({"band": -1, "y": y, "x": x})
    with dask.config.set(scheduler="threads", num_workers=request.get("workers", threads)):
        start = time.perf_counter()
        scores = sc.score_windows(stack, model, stride=request["stride"], precision=request["precision"]).compute()
        seconds = time.perf_counter() - start
    if "save" in request:
        np.save(request["save"], scores.values)
    return {"seconds": seconds, "windows": scores.size, "pixels": part.shape[1] * part.shape[2]}


def plain(image: np.ndarray, model: Any, request: Request) -> dict[str, Any]:
    """Score a corner of the image window by window."""
    height, width = request.get("shape") or (request.get("size") or None,) * 2
    part = image[:, :height, :width]
    start = time.perf_counter()
    scores = plain_scores(part, model, stride=request["stride"], batch=request["batch"])
    seconds = time.perf_counter() - start
    if "save" in request:
        np.save(request["save"], scores)
    return {"seconds": seconds, "windows": len(scores), "pixels": part.shape[1] * part.shape[2]}


def peak(request: Request) -> dict[str, Any]:
    """Multiply two matrices: what torch reaches at best on this processor."""
    kind = getattr(torch, request["precision"])
    left, right = (torch.ones(MATRIX, MATRIX, dtype=kind) for _ in range(2))
    result = left @ right
    start = time.perf_counter()
    torch.mm(left, right, out=result)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "flop_per_second": 2 * MATRIX**3 / seconds}


def works(source: str, model_path: str, threads: str) -> Callable[[Request], dict[str, Any]]:
    """Load, and return what answers requests."""
    image, model = open_source(Path(source)), sc.load_model(model_path)

    def work(request: Request) -> dict[str, Any]:
        if request["kind"] == "ours":
            return ours(image, model, int(threads), request)
        return plain(image, model, request) if request["kind"] == "plain" else peak(request)

    return work


def main(source: str, model_path: str, threads: str) -> None:
    """Load, and serve."""
    torch.set_num_threads(int(threads))
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    serve(works(source, model_path, threads))


if __name__ == "__main__":
    main(*sys.argv[1:])
