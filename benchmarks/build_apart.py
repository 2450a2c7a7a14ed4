"""What `benchmarks.build` measures in a process of its own: the memory of a build, the time of a first lazy cube.

    python -m benchmarks.build_apart memory ITEMS SIZE STORE THREADS
    python -m benchmarks.build_apart lazy ITEMS sarcube

One line of JSON on standard output.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_gib

LAZY_CRS = "EPSG:32647"
LAZY_CHUNK = 1024


def memory(items: Path, size: int, store: Path, threads: int) -> dict[str, float]:
    """Build once, and return the peak of resident memory in GiB, that of the bare imports, and the time."""
    import dask

    from benchmarks.build_scenes import cube_grid, read_items
    from sarcube import load, write_cube

    scenes = read_items(items)
    bare = peak_gib()
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=threads):
        write_cube(load(scenes, geobox=cube_grid(size)), store)
    seconds = time.perf_counter() - start
    return {"peak_rss_gib": peak_gib(), "imports_rss_gib": bare, "seconds": seconds}


def lazy(items: Path, engine: str) -> dict[str, float]:
    """Return the seconds of import, of the first lazy cube in this process, and of the second."""
    import pystac

    scenes = pystac.ItemCollection.from_file(str(items))
    bbox = json.loads(items.with_name("bbox.json").read_text())
    start = time.perf_counter()
    call = _lazy_call(engine)
    seconds = {"import": time.perf_counter() - start}
    for name in ("first", "second"):
        start = time.perf_counter()
        cube = call(scenes, bbox)
        seconds[name] = time.perf_counter() - start
        assert cube["vv"].sizes["time"] == len(scenes), cube.sizes
    return seconds


def _lazy_call(engine: str) -> Any:
    if engine == "odc":
        import odc.stac

        chunks = {"y": LAZY_CHUNK, "x": LAZY_CHUNK}
        return lambda items, bbox: odc.stac.load(
            items, bands=["vv", "vh"], bbox=bbox, crs=LAZY_CRS, resolution=10, chunks=chunks
        )
    from sarcube import load

    return lambda items, bbox: load(items, bbox=bbox, crs=LAZY_CRS, resolution=10)


def main(arguments: list[str]) -> None:
    """Measure what the first argument names."""
    if arguments[0] == "memory":
        items, size, store, threads = arguments[1:]
        result = memory(Path(items), int(size), Path(store), int(threads))
    else:
        items, engine = arguments[1:]
        result = lazy(Path(items), engine)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
