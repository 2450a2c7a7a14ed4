"""Land cover that follows the relief: forest, grass, crops in parcels, bare ground, settlements, water."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.relief import Relief
from sarcube.synthetic.scenario import Scenario
from sarcube.synthetic.streams import stream


class Cover(IntEnum):
    """Codes of the land-cover map."""

    FOREST = 0
    GRASS = 1
    CROPS = 2
    BARE = 3
    SETTLEMENT = 4
    WATER = 5


@dataclass(frozen=True)
class LandCover:
    """`cover` (y, x) uint8 codes of `Cover`; `parcel` (y, x) int32, the field a pixel lies in, everywhere."""

    cover: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    parcels: int


def grow_landcover(seed: int, relief: Relief, slope: NDArray[np.float32], scenario: Scenario) -> LandCover:
    """Cover of a landscape: crops and towns on valley floors, rock on the steepest, forest below the tree line."""
    rng = stream(seed, "landcover")
    shape, pixel = relief.elevation.shape, relief.resolution
    stands = smooth_field(rng, shape, 400 / pixel) + 0.6 * smooth_field(rng, shape, 90 / pixel)
    cover = np.full(shape, Cover.GRASS, np.uint8)
    treeline = float(np.quantile(relief.elevation[::8, ::8], scenario.treeline))
    ceiling = treeline + 60 * smooth_field(rng, shape, 150 / pixel)
    forest = stands < np.quantile(stands[::8, ::8], min(scenario.forest_share, 1.0))
    cover[forest & (relief.elevation < ceiling)] = Cover.FOREST
    rocky = slope + 6 * smooth_field(rng, shape, 60 / pixel) > 49
    barren = (relief.elevation > ceiling + 120) & (stands > 0)
    cover[rocky | barren] = Cover.BARE
    floor = (relief.above_river < 9) & (slope < 9)
    parcel, parcels = _parcels(rng, shape, pixel)
    farmed = rng.random(parcels) < scenario.crop_share
    cover[floor & farmed[parcel]] = Cover.CROPS
    towns = smooth_field(rng, shape, 250 / pixel) + 0.5 * smooth_field(rng, shape, 40 / pixel)
    cover[floor & (towns > 1.9)] = Cover.SETTLEMENT
    # Open gravel beside the water, wider where the valley is.
    gravel = (relief.channel < 1.6 + 0.6 * smooth_field(rng, shape, 120 / pixel)) & (relief.above_river < 4)
    cover[gravel] = Cover.BARE
    cover[relief.river] = Cover.WATER
    return LandCover(cover, parcel, parcels)


def _parcels(rng: Generator, shape: tuple[int, int], pixel: float) -> tuple[NDArray[np.int32], int]:
    """Rectangular fields of about 1 to 6 ha, turned by one angle, rows shifted against each other."""
    y, x = np.indices(shape, dtype=np.float32) * np.float32(pixel)
    angle = rng.uniform(0, np.pi / 2)
    u = x * np.cos(angle) + y * np.sin(angle)
    v = -x * np.sin(angle) + y * np.cos(angle)
    depth, width = rng.uniform(90, 160), rng.uniform(120, 320)
    row = np.floor((v - v.min()) / depth).astype(np.int32)
    shift = rng.uniform(0, width, row.max() + 1).astype(np.float32)
    column = np.floor((u - u.min() + shift[row]) / width).astype(np.int32)
    columns = int(column.max()) + 1
    return row * columns + column, int(row.max() + 1) * columns
