"""What `benchmarks.composite` measures in a process of its own: a stored cube's composite, its reading, the first call.

    python -m benchmarks.composite_apart composite STORE THREADS
    python -m benchmarks.composite_apart store STORE THREADS OUTPUT
    python -m benchmarks.composite_apart own_chunks STORE THREADS
    python -m benchmarks.composite_apart first

One line of JSON on standard output. What reads a store reads a corner of it first, so that imports and compiling do not
count, except in `first`.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_gib

_CORNER = 1100  # pixels along a side: more than one chunk
_SMALL = 256  # pixels along a side of the cube that the first call looks at


def composite(store: Path, threads: int) -> dict[str, float]:
    """Composite a stored cube block by block, of which nothing but the number of valid values is kept."""
    import numpy as np
    from numba import njit

    # numpy would make an array as large as the block's pixels first.
    @njit(nogil=True)
    def count_valid(values: Any) -> int:
        count = 0
        for value in values.ravel():
            count += value == value
        return count

    def count_block(block: Any) -> Any:
        return np.array(count_valid(block)).reshape(1, 1, 1)

    valid: list[int] = []

    def work(window: slice) -> None:
        stack = _stack(store, window)
        ones = tuple((1,) * n for n in stack.data.numblocks)
        counts = stack.data.map_blocks(count_block, chunks=ones, dtype=np.int64, meta=np.empty((0, 0, 0), np.int64))
        valid.append(int(counts.compute().sum()))

    return _timed(work, threads) | {"valid": valid[-1]}


def store_composite(store: Path, threads: int, output: Path) -> dict[str, float]:
    """Write a stored cube's composite to Zarr."""

    def work(window: slice) -> None:
        stack = _stack(store, window)
        # Text of fixed length has no stable type in Zarr v3.
        stack = stack.assign_coords(band=stack["band"].astype(object)).drop_encoding()
        with tempfile.TemporaryDirectory() as scratch:
            path = output if window == slice(None) else Path(scratch, "corner.zarr")
            stack.to_zarr(path, zarr_format=3, consolidated=False)

    return _timed(work, threads)


def read(store: Path, threads: int, how: str) -> dict[str, float]:
    """Read all chunks of the radar layers once."""
    from benchmarks.composite_cube import POLARISATIONS
    from benchmarks.rivals_composite import OWN_READ, READS, read_own, read_zarr

    def work(layers: tuple[str, ...]) -> None:
        for layer in layers:
            if how == OWN_READ:
                read_own(store, layer, threads=threads)
            else:
                rows, concurrency = READS[how]
                read_zarr(store, layer, rows=rows, concurrency=concurrency, threads=threads)

    work(POLARISATIONS[:1])  # warm: one layer
    start = time.perf_counter()
    work(POLARISATIONS)
    return {"seconds": time.perf_counter() - start, "peak_rss_gib": peak_gib()}


def first() -> dict[str, float]:
    """Return the seconds of the imports, of the first composite in this process, and of the second."""
    start = time.perf_counter()
    import sarcube as sc

    call = sc.composite
    seconds = {"import": time.perf_counter() - start}
    from benchmarks.composite_cube import WINDOWS, event, lazy_cube

    cube, shock = lazy_cube(_SMALL).compute(), event()
    for name in ("first", "second"):
        start = time.perf_counter()
        call(cube, shock, **WINDOWS)
        seconds[name] = time.perf_counter() - start
    return seconds


def main(what: str, *arguments: str) -> None:
    """Measure what the first argument names."""
    if what == "first":
        result = first()
    else:
        store, threads = Path(arguments[0]), int(arguments[1])
        if what == "composite":
            result = composite(store, threads)
        elif what == "store":
            result = store_composite(store, threads, Path(arguments[2]))
        else:
            result = read(store, threads, what)
    print(json.dumps(result))


def _stack(store: Path, window: slice) -> Any:
    import sarcube as sc
    from benchmarks.composite_cube import WINDOWS, event

    return sc.composite(sc.open_cube(store).isel(y=window, x=window), event(), **WINDOWS)


def _timed(work: Callable[[slice], None], threads: int) -> dict[str, float]:
    """Do the work for a corner, then for the whole; return the latter's seconds, and the peak of memory."""
    import dask

    with dask.config.set(scheduler="threads", num_workers=threads):
        work(slice(0, _CORNER))
        start = time.perf_counter()
        work(slice(None))
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak_rss_gib": peak_gib()}


if __name__ == "__main__":
    main(*sys.argv[1:])
