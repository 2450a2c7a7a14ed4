"""A stack of a whole Sentinel-1 IW scene on disk, SIMULATED: a mosaic of simulated ground with noise of its own."""

import json
import shutil
from pathlib import Path

import numpy as np
import zarr

from benchmarks.detector_data import BANDS, ground, rounded, tile

SHAPE = (17_000, 25_000)  # rows and columns of 10 m
CHUNK = 1024


def make_scene(work: Path, shape: tuple[int, int] = SHAPE, *, size_km: float = 12.0) -> Path:
    """Write the stack (band, y, x) to Zarr once, a row of tiles at a time; return its store.

    float32 dB, rounded to 1/64, zarr's own default codec, chunks of 1024 x 1024 pixels of all bands.
    """
    store = work / f"scene-{shape[0]}x{shape[1]}-{size_km:g}.zarr"
    done = store / "complete.json"  # a scene whose making was interrupted is made again
    if done.exists():
        return store
    shutil.rmtree(store, ignore_errors=True)
    values = ground(work, size_km=size_km)
    side = values.shape[-1]
    chunk = min(CHUNK, *shape)
    array = zarr.create_array(store, shape=(len(BANDS), *shape), chunks=(len(BANDS), chunk, chunk), dtype=np.float32)
    kept = np.empty((len(BANDS), 0, shape[1]), np.float32)
    first = 0  # the row that `kept` begins with
    for row in range(-(-shape[0] // side)):
        tiles = [tile(values, row, column) for column in range(-(-shape[1] // side))]
        strip = rounded(np.concatenate(tiles, axis=2)[:, :, : shape[1]])
        kept = np.concatenate([kept, strip], axis=1)[:, : shape[0] - first]
        # Whole rows of chunks alone: a chunk is compressed once.
        whole = kept.shape[1] if first + kept.shape[1] == shape[0] else kept.shape[1] // chunk * chunk
        array[:, first : first + whole] = kept[:, :whole]
        kept, first = kept[:, whole:], first + whole
        print(f"  scene: {first} of {shape[0]} rows", flush=True)
    done.write_text(json.dumps({"simulated": True, "shape": shape}))
    return store
