"""What changes between two dates and is not a landslide. Rates and strengths: `Scenario` and the marks here.

[C] computed, [D] documented, [M] remembered, not verified: a prior to sample widely.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.landcover import Cover, LandCover
from sarcube.synthetic.relief import Relief
from sarcube.synthetic.scenario import Scenario
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Change:
    """A lasting change: from day `onset` (y, x) after the event on (negative: before; inf: never), `vv`, `vh` in dB."""

    onset: Field
    vv: Field
    vh: Field


def harvest(seed: int, landcover: LandCover, scenario: Scenario) -> Change:
    """Harvest and tillage by parcel: VV ± 2 to 6 dB, VH -3 to -8 dB [M], at any time of the series."""
    rng = stream(seed, "harvest")
    n = landcover.parcels
    worked = rng.random(n) < scenario.harvest
    onset = np.where(worked, rng.uniform(-60, 30, n), np.inf).astype(np.float32)
    vv = (rng.choice([-1, 1], n, p=[0.65, 0.35]) * rng.uniform(2, 6, n)).astype(np.float32)
    vh = -rng.uniform(3, 8, n).astype(np.float32)
    field = landcover.cover == Cover.CROPS
    parcel = landcover.parcel
    return Change(np.where(field, onset[parcel], np.float32(np.inf)), vv[parcel] * field, vh[parcel] * field)


def clearing_and_building(seed: int, relief: Relief, slope: Field, landcover: LandCover, scenario: Scenario) -> Change:
    """Clear-cuts (-3 VV, -3 to -5 VH, straight edges) and construction (+3 to +8, compact) [M], at any time."""
    rng = stream(seed, "clearing")
    shape, pixel = relief.elevation.shape, relief.resolution
    square_km = shape[0] * shape[1] * pixel**2 / 1e6
    change = Change(np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    cuts = np.argwhere((landcover.cover == Cover.FOREST) & (slope < 38))
    for _ in range(rng.poisson(scenario.clearcuts_per_km2 * square_km) if len(cuts) else 0):
        side = np.sqrt(rng.uniform(1e4, 1.5e5)) / pixel
        strength = -rng.uniform(2.0, 4.0), -rng.uniform(3.0, 5.0)
        at = cuts[rng.integers(len(cuts))]
        _stamp(rng, change, at, side, landcover.cover == Cover.FOREST, strength)
    sites = np.argwhere((relief.above_river < 25) & (slope < 12) & (landcover.cover != Cover.WATER))
    for _ in range(rng.poisson(scenario.building_per_km2 * square_km) if len(sites) else 0):
        side = rng.uniform(30, 150) / pixel
        strength = rng.uniform(3.0, 8.0), rng.uniform(3.0, 8.0)
        at = sites[rng.integers(len(sites))]
        _stamp(rng, change, at, side, landcover.cover != Cover.WATER, strength)
    return change


def _stamp(
    rng: Generator,
    change: Change,
    at: NDArray[np.int64],
    side: float,
    where: NDArray[np.bool_],
    strength: tuple[float, float],
) -> None:
    """Write one turned rectangle of about `side` by `side` pixels into the change."""
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 2.2)
    onset = rng.uniform(-60, 30)
    reach = int(side * stretch) + 2
    r0, c0 = max(at[0] - reach, 0), max(at[1] - reach, 0)
    box = (slice(r0, at[0] + reach + 1), slice(c0, at[1] + reach + 1))
    y, x = np.indices(where[box].shape, dtype=float)
    y, x = y + r0 - at[0], x + c0 - at[1]
    u, v = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    inside = (np.abs(u) < side * np.sqrt(stretch) / 2) & (np.abs(v) < side / np.sqrt(stretch) / 2) & where[box]
    change.onset[box][inside] = onset
    change.vv[box][inside] = strength[0]
    change.vh[box][inside] = strength[1]


def rivers(seed: int, relief: Relief, slope: Field, scenario: Scenario) -> Change:
    """Reworked beds (± 3 to 8 dB along the channel) and flooded low ground (-8, -9 dB; plants +2 to +6, 0 to +1) [M].

    Both come with the event: the storm that triggers slides, or the debris that an earthquake sends down.
    """
    rng = stream(seed, "rivers")
    shape, pixel = relief.elevation.shape, relief.resolution
    vv, vh = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    reach = smooth_field(rng, shape, 350 / pixel)
    patches = smooth_field(rng, shape, 40 / pixel)
    bed = (relief.channel < 2.0) & (relief.above_river < 6)
    bed &= reach > np.quantile(reach[::8, ::8], 1 - scenario.bar_change)
    strength = 3 + 5 * rng.random()
    vv[bed], vh[bed] = strength * patches[bed], strength * patches[bed]
    wet = (relief.above_river < 1.5 + patches) & (slope < 5) & (relief.channel < 25)
    wet &= smooth_field(rng, shape, 600 / pixel) > np.quantile(reach[::8, ::8], 1 - min(scenario.flood, 0.99))
    if scenario.flood > 0:
        open_water = wet & (smooth_field(rng, shape, 80 / pixel) < 0.8)
        vv[open_water], vh[open_water] = -8, -9
        flooded_plants = wet & ~open_water
        vv[flooded_plants], vh[flooded_plants] = rng.uniform(2, 6), rng.uniform(0, 1)
    touched = (vv != 0) | (vh != 0)
    return Change(np.where(touched, np.float32(0), np.float32(np.inf)), vv, vh)


def snow_line(seed: int, day: int, relief: Relief, scenario: Scenario) -> Field | None:
    """dB that wet snow takes on one date, -3 to -8 above an elevation [M]; None without snow."""
    rng = stream(seed, "snow", day)
    if rng.random() >= scenario.snow_chance:
        return None
    shape, pixel = relief.elevation.shape, relief.resolution
    line = np.quantile(relief.elevation[::8, ::8], rng.uniform(0.75, 0.98))
    above = relief.elevation - line + 80 * smooth_field(rng, shape, 120 / pixel)
    cover = ndimage.gaussian_filter((above > 0).astype(np.float32), 1.0)
    loss: Field = (-rng.uniform(3, 8) * cover).astype(np.float32)
    return loss
