"""Small stacks of noise, and models of which the answer is known."""

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401
import shapely
import torch
import xarray as xr

from sarcube.models import ModelSpec, WindowClassifier

torch.set_num_threads(1)  # networks this small only wait for a second thread, long where cores are shared

BANDS = ("vv_post", "vh_post", "vv_diff", "vh_diff")
LEFT, TOP, PIXEL = 400_000.0, 5_000_000.0, 10.0


def make_stack(height, width, *, bands=BANDS, seed=0):
    values = np.random.default_rng(seed).normal(-10, 3, (len(bands), height, width)).astype(np.float32)
    stack = xr.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={
            "band": list(bands),
            "y": TOP - PIXEL * (np.arange(height) + 0.5),
            "x": LEFT + PIXEL * (np.arange(width) + 0.5),
        },
        attrs={"track": "D164", "event": "test"},
    )
    return stack.rio.write_crs("EPSG:32647")


def pixel_box(y0, x0, y1, x1):
    return shapely.box(LEFT + PIXEL * x0, TOP - PIXEL * y1, LEFT + PIXEL * x1, TOP - PIXEL * y0)


def make_inventory(*boxes):
    return gpd.GeoDataFrame(geometry=[pixel_box(*box) for box in boxes], crs="EPSG:32647")


class MeanModel(WindowClassifier):
    """Logit: the mean of the window's first band."""

    def __init__(self, bands=BANDS, size=16):
        super().__init__(ModelSpec("mean", tuple(bands), window_size=size))
        self.gain = torch.nn.Parameter(torch.ones(1))

    def logits(self, windows):
        return self.gain * windows[:, 0].mean(dim=(1, 2))
