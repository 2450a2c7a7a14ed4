"""Small cubes of speckle around an event, and what tests of maps that look at neighbours share."""

import dask.array as da
import numpy as np
import rioxarray  # noqa: F401
import xarray as xr

from sarcube.events import Event

EVENT = Event("hiroshima-2018", bbox=(132.50, 34.30, 132.52, 34.32), time="2018-07-06T10:00Z")
INVALID = np.array([np.nan, 0.0, -32768.0, np.inf], "float32")


def power_series(days, shape=(17, 23), *, tracks=("D046",), missing=0.0, seed=0):
    """Dates so many days from the event, tracks in turn: gamma-distributed VV and VH, some of it invalid."""
    random = np.random.default_rng(seed)
    size = (len(days), *shape)
    data = {}
    for name in ("vv", "vh"):
        power = random.gamma(4.4, 0.02, size).astype("float32")
        invalid = random.random(size) < missing
        power[invalid] = random.choice(INVALID, invalid.sum())
        data[name] = (("time", "y", "x"), power)
    moment = np.datetime64("2018-07-06T10:00", "ns")
    coords = {
        "time": moment + (np.asarray(days, float) * 86400e9).astype("timedelta64[ns]"),
        "scene_track": ("time", [tracks[i % len(tracks)] for i in range(len(days))]),
        "y": 3799005.0 - 10 * np.arange(shape[0]),
        "x": 270005.0 + 10 * np.arange(shape[1]),
    }
    return xr.Dataset(data, coords).rio.write_crs(32653)


def chunked(cube, chunks):
    """Cut the cube's powers into chunks (time, y, x)."""
    lazy = cube.chunk(dict(zip(("time", "y", "x"), chunks, strict=True)))
    return lazy.assign_coords(scene_track=cube.scene_track)


class Counted:
    """An array that counts how often each of its dates is read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.ndim = values, values.shape, values.dtype, values.ndim
        self.pixels = np.zeros(values.shape, int)

    def __getitem__(self, key):
        self.pixels[key] += 1
        return self.values[key]


def counted(cube, chunks):
    """Cut the cube into chunks that count how often each value is read; the cube, and the counters by name."""
    counters = {name: Counted(cube[name].values) for name in ("vv", "vh")}
    lazy = cube.copy()
    for name, counter in counters.items():
        lazy[name] = (("time", "y", "x"), da.from_array(counter, chunks=chunks, meta=np.empty((0, 0, 0), "float32")))
    return lazy, counters


def refuse(*args, **kwargs):
    """Scheduler that computes nothing."""
    raise AssertionError("computed while the graph was built")


def in_parts(change, cube, half, row, column):
    """Change of four parts of the area, each with `half` pixels of its neighbours, put together again."""
    height, width = cube.sizes["y"], cube.sizes["x"]

    def part(y, x):
        y0, x0 = max(0, y.start - half), max(0, x.start - half)
        piece = cube.isel(y=slice(y0, y.stop + half), x=slice(x0, x.stop + half))
        return change(piece).values[y.start - y0 : y.stop - y0, x.start - x0 : x.stop - x0]

    rows = slice(0, row), slice(row, height)
    return np.block([[part(y, x) for x in (slice(0, column), slice(column, width))] for y in rows])
