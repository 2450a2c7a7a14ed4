"""A process that forks whole runs of `build_cube` to be killed: they start warm, so that kills fall into the run.

Reads commands as JSON lines, forks a child for each, says its process id, waits for it, says how it ended.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import numpy as np

import sarcube as sc
from sarcube.building.build import build_cube
from sarcube.cube.store.blocks import round_mantissa


def main() -> None:
    event, dem = sc.read_event(sys.argv[1]), sys.argv[2]
    round_mantissa(np.ones(4, np.float32), keep_bits=8)  # compiled once, not in each child
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            home = Path(command["home"])
            # Threads do not outlive a fork: the child has a pool of its own.
            with ThreadPoolExecutor(2) as pool, dask.config.set(pool=pool):
                build_cube(event, home / "staged", home / "cube.zarr", catalog=command["catalog"], dem=dem)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
