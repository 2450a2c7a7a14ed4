"""A process that forks builders to be killed: they start warm, so that a kill falls into the build, not the imports.

Reads commands as JSON lines, forks a child for each, says its process id, waits for it, says how it ended.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np
from rtc_scenes import make_item

import sarcube as sc
import sarcube.cube.lazy as loading
from sarcube.cube.store.blocks import round_mantissa
from sarcube.cube.store.write import write_cube

BANDS = ("vv", "vh")
TIMES = ["2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00"]


def items_in(folder: Path) -> list:
    return [
        make_item(f"S{n}", {band: folder / f"S{n}" / f"iw-{band}.rtc.tiff" for band in BANDS}, time=time)
        for n, time in enumerate(TIMES)
    ]


def cube_of(items: list):
    return sc.load(items, chunks={"y": 16, "x": 16}, border_fringe=0)


def log_reads(log: Path, delay: float) -> None:
    """Have each read of a block added to a file when it begins, and take a while."""
    mosaic = loading.mosaic

    def logged(sources, target, block, *rest):
        line = f"{Path(sources[0].href).stem[3:5]} {sources[0].item} {block.y0 // 16} {block.x0 // 16}\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        time.sleep(delay)
        return mosaic(sources, target, block, *rest)

    loading.mosaic = logged


def main() -> None:
    items = items_in(Path(sys.argv[1]))
    cubes = {count: cube_of(items[:count]) for count in (2, 3)}
    round_mantissa(np.ones(4, np.float32), keep_bits=8)  # compiled once, not in each child
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            log_reads(Path(command["log"]), command["delay"])
            # Threads do not outlive a fork: the child has a pool of its own.
            with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
                write_cube(cubes[command["dates"]], command["path"], append=command["append"])
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
