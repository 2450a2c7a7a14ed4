"""What `benchmarks.geometry` measures in a process of its own: the mask of a whole scene, Zarr to Zarr.

    python -m benchmarks.geometry_apart SCENE STORE write_cube THREADS

One line of JSON on standard output. `write_cube` or `to_zarr`: who writes.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import peak_gib

_WARM = 1100  # pixels along a side of the mask that warms everything up: more than one chunk


def mask_scene(scene: Path, store: Path, *, writer: str, window: slice) -> None:
    """Open a cube, add its geometry, and write its layover and shadow."""
    import numpy as np

    from sarcube import add_geometry, open_cube, write_cube
    from sarcube.cube.store.blocks import codecs

    cube = add_geometry(open_cube(scene).isel(y=window, x=window))[["layover_shadow"]]
    if writer == "write_cube":
        write_cube(cube, store)
    else:
        # Text of fixed length has no stable type in Zarr v3; write_cube does the same.
        cube = cube.assign_coords(track=cube["track"].astype(object))
        encoding = {"layover_shadow": {"compressors": codecs(np.dtype(np.uint8))}}
        cube.drop_encoding().to_zarr(store, zarr_format=3, consolidated=False, encoding=encoding)


def main(scene: str, store: str, writer: str, threads: str) -> None:
    """Write the mask of a corner, then that of the scene; print the latter's seconds, and the peak of memory."""
    import dask

    with dask.config.set(scheduler="threads", num_workers=int(threads)):
        with tempfile.TemporaryDirectory() as warm:
            mask_scene(Path(scene), Path(warm, "mask.zarr"), writer=writer, window=slice(0, _WARM))
        before = peak_gib()
        start = time.perf_counter()
        mask_scene(Path(scene), Path(store), writer=writer, window=slice(None))
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_rss_gib": peak_gib(), "warm_rss_gib": before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
