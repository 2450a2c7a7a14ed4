"""What `benchmarks.patches` measures in a process of its own: training on patches of a cube on disk, or in memory.

    python -m benchmarks.patches_apart train STORE FROM LIMIT_GIB EPOCHS FILTERS
    python -m benchmarks.patches_apart read STORE FROM LIMIT_GIB EPOCHS FILTERS

FROM is "zarr", patches read from the composite of the cube as they are needed, or "memory", the same patches loaded
before the clock starts. Above LIMIT_GIB of memory of its own the process dies; 0 is no limit. One line of JSON on
standard output.
"""

import json
import resource
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_gib

WINDOW = 64  # pixels along a side of a patch
CONFIG = {"batch_size": 64, "learning_rate": 1e-4, "max_background_ratio": 5.0, "seed": 0}


def sampled(store: Path) -> Any:
    """Return the patches of a cube, not read yet: every tenth is called a landslide.

    What they are called decides which of them an epoch takes, and nothing of what reading costs.
    """
    import numpy as np

    import sarcube as sc
    from benchmarks.composite_cube import WINDOWS, event

    stack = sc.composite(sc.open_cube(store), event(), **WINDOWS)
    nothing = empty_inventory(str(stack.rio.crs))
    patches = sc.sample_patches(stack, nothing, size=WINDOW)
    landslide = np.random.default_rng(0).random(len(patches)) < 0.1
    return replace(patches, table=patches.table.assign(landslide=landslide))


def empty_inventory(crs: str) -> Any:
    """Return an inventory without landslides."""
    import geopandas as gpd

    return gpd.GeoDataFrame(geometry=gpd.GeoSeries([], crs=crs), crs=crs)


def prepared(store: Path, source: str) -> tuple[Any, Any]:
    """Return patches to train on, from disk or in memory, and a few in memory to validate on."""
    import numpy as np

    patches = sampled(store)
    few = np.concatenate([np.flatnonzero(patches.labels)[:8], np.flatnonzero(~patches.labels)[:8]])
    rest = np.setdiff1d(np.arange(len(patches)), few)
    training = patches.subset(rest)
    return (training.load() if source == "memory" else training), patches.subset(few).load()


def train(store: Path, source: str, epochs: int, filters: int) -> dict[str, Any]:
    """Train; return the seconds of each epoch, and its patches."""
    import sarcube as sc
    from sarcube.models.weights import model_hash

    training, validation = prepared(store, source)
    ends = [time.perf_counter()]
    model = sc.train(
        training,
        validation,
        model=_fresh(filters, training.bands),
        config=sc.TrainConfig(epochs=epochs, patience=epochs, **CONFIG),
        progress=lambda entry: ends.append(time.perf_counter()),
    )
    seconds = [after - before for before, after in pairwise(ends)]
    return {"seconds": seconds, "patches": _in_an_epoch(training), "model": model_hash(model)}


def read(store: Path, source: str, epochs: int) -> dict[str, Any]:
    """Read what an epoch's training reads, in its order, and do nothing with it."""
    import numpy as np

    from sarcube.labels.order import draw_epoch, reading_order
    from sarcube.training.feed import batches

    training, _ = prepared(store, source)
    seconds = []
    for epoch in range(1, epochs + 1):
        draws = np.random.default_rng([CONFIG["seed"], epoch])
        shares = reading_order(
            training.tiles, draw_epoch(training.labels, CONFIG["max_background_ratio"], draws), draws=draws
        )
        start = time.perf_counter()
        for _ in batches(training, shares, batch_size=CONFIG["batch_size"], by_pixel=False, name="training"):
            pass
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "patches": _in_an_epoch(training)}


def _fresh(filters: int, bands: tuple[str, ...]) -> Any:
    """Return a fresh network with a normalisation, so that none has to be found before the first epoch."""
    import sarcube as sc

    model = sc.models.cnn(in_channels=len(bands), filters=filters, bands=bands)
    model.spec = replace(model.spec, mean=(-11.0, -17.0, 0.0, 0.0), std=(3.0, 3.0, 2.0, 2.0))
    return model


def _in_an_epoch(training: Any) -> int:
    landslides = int(training.labels.sum())
    return landslides + min(len(training) - landslides, round(CONFIG["max_background_ratio"] * landslides))


def main(what: str, store: str, source: str, limit_gib: str, epochs: str, filters: str) -> None:
    """Measure what the first argument names."""
    if float(limit_gib):
        most = int(float(limit_gib) * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    if what == "train":
        result = train(Path(store), source, int(epochs), int(filters))
    else:
        result = read(Path(store), source, int(epochs))
    print(json.dumps(result | {"peak_rss_gib": peak_gib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
