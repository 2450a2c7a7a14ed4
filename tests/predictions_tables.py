"""Predictions tables of which place, truth and score are known."""

import numpy as np
import pandas as pd

from sarcube.labels.patches import COLUMNS

SIDE = 640.0  # metres along a side of a window


def make_predictions(rows, columns, *, event="a", track="D164", crs="EPSG:32647", seed=0, share=0.3, skill=1.0):
    """Windows side by side; a score is a coin's toss and what `skill` adds of the truth, squeezed into (0, 1)."""
    draws = np.random.default_rng(seed)
    y, x = (side.ravel() for side in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    truth = draws.random(y.size) < share
    truth[:2] = True, False
    left, top = 400_000 + SIDE * x, 5_000_000 - SIDE * y
    table = pd.DataFrame(
        {
            "event": event,
            "track": track,
            "stack": 0,
            "y0": 64 * y,
            "x0": 64 * x,
            "left": left,
            "bottom": top - SIDE,
            "right": left + SIDE,
            "top": top,
            "crs": crs,
            "fraction": truth * 0.2,
            "landslide": truth,
        },
        columns=list(COLUMNS),
    )
    logits = draws.normal(size=y.size) + skill * (truth - 0.5)
    return table.assign(score=(1 / (1 + np.exp(-logits))).astype(np.float32))
