"""Processes that write a large scene, and that clip it and print by how many kB their memory grew: test_clip.py."""

import resource
import sys
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rtc_scenes import CRS, LEFT, TOP, speckle

from sarcube.acquisition.files import borrowing
from sarcube.acquisition.staging.clip import fetch_clip, plan_clip
from sarcube.acquisition.staging.pieces import Pieces


def clip(href: str, folder: Path) -> None:
    pieces = Pieces(folder)
    clip = plan_clip(
        href, folder / f"{Path(href).stem}.tiff", owner="x", bbox=(98, 0, 102, 2), margin=64, pieces=pieces
    )
    fetch_clip(clip, pieces=pieces, tell=lambda n: None)


def write(path: Path, side: int) -> None:
    strip = speckle(0, (512, side))
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=1, dtype="float32", crs=CRS, nodata=-32768,
        transform=Affine(10, 0, LEFT, 0, -10, TOP), tiled=True, blockxsize=512, blockysize=512,
    ) as dataset:  # fmt: skip
        for row in range(0, side, 512):
            dataset.write(np.roll(strip, row, axis=1), 1, window=((row, row + 512), (0, side)))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    borrowing._TILE_CACHE = 64 << 20  # as on two cores, whatever this machine has
    what, where, home = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    if what == "write":
        write(home / "small.tif", 512)
        write(home / "large.tif", int(where))
    else:
        clip(f"{where}/small.tif", home)  # all libraries are loaded then
        before = peak()
        clip(f"{where}/large.tif", home)
        print(peak() - before)
