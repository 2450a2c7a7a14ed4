"""gamma0 of the ground: levels by cover, texture, seasons, weather.

[C] computed from real data, [D] documented, [M] remembered, not verified: a prior to sample widely.
"""

import numpy as np
from numpy.typing import NDArray

from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.landcover import Cover, LandCover
from sarcube.synthetic.scenario import Scenario
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]
POLARISATIONS = ("vv", "vh")

# dB of gamma0: level and its spread between places, VV then VH.
LEVELS = {
    Cover.FOREST: ((-8.2, 0.8), (-13.7, 0.8)),  # tropical -7.7, -13.3 [C, PNG]; temperate -8.5 ± 1, -14 ± 1 [M]
    Cover.GRASS: (
        (-11.0, 1.5),
        (-18.5, 1.8),
    ),  # chaparral -8.7…-9.8, -14.8…-17.3; dry grass -12.6…-15.2, -21.7…-24.5 [C]
    Cover.CROPS: ((-10.5, 1.0), (-17.5, 1.2)),  # -13.4…-5.2, -23.4…-12.3 over a year [C]; parcels vary below
    Cover.BARE: ((-12.5, 1.5), (-20.5, 1.5)),  # rock -10 ± 2, -18 ± 3; dry soil -15, -24 [M]
    Cover.SETTLEMENT: ((-5.0, 1.5), (-12.0, 1.5)),  # ± 4 within [M]
    Cover.WATER: ((-17.6, 1.5), (-25.2, 1.0)),  # open flood water [C]
}
# Standard deviation of the texture within a cover, dB [M, so that the whole scene has 1.5…2.5 VV, 1.6…3.0 VH [C]].
TEXTURE = {
    Cover.FOREST: 1.0,
    Cover.GRASS: 1.5,
    Cover.CROPS: 0.8,
    Cover.BARE: 1.8,
    Cover.SETTLEMENT: 3.5,
    Cover.WATER: 0.6,
}
# Coherence with the lasting speckle: the intensity of two passes then correlates by its fourth power. Two passes cohere
# by 0 to 0.2 over forest, 0.5 to 0.8 over dry rock and built ground [C, M].
LASTING = {
    Cover.FOREST: 0.35,
    Cover.GRASS: 0.6,
    Cover.CROPS: 0.5,
    Cover.BARE: 0.82,
    Cover.SETTLEMENT: 0.88,
    Cover.WATER: 0.0,
}
# What a fully wet surface adds in linear power, VV and VH: bare soil -15/-24 dry, -9/-17 wet [M]; storms are roughly
# additive in power [C]; the share of it that shows under each cover [M].
_WET = {"vv": 10**-0.9 - 10**-1.5, "vh": 10**-1.7 - 10**-2.4}
_WET_SHARE = {
    Cover.FOREST: 0.12,
    Cover.GRASS: 0.55,
    Cover.CROPS: 0.8,
    Cover.BARE: 0.7,
    Cover.SETTLEMENT: 0.15,
    Cover.WATER: 0.0,
}
NOISE = {"vv": 10**-2.4, "vh": 10**-2.4}  # gamma0 of the noise floor, about -24 dB [C]
# Dates without storm: median over the scene moves by 0.17…0.37 dB VV, 0.21…0.64 VH, VV and VH correlate 0.92…0.98 [C].
_DATE_DRIFT = {"vv": 0.22, "vh": 0.32}
# 300 m blocks of a log-ratio: 0.2…0.6 dB on dry dates [C]; a date carries that over the root of two.
_BLOCK_DRIFT = 0.25


def per_cover(table: dict[Cover, float]) -> Field:
    """One number per cover code."""
    return np.array([table[cover] for cover in Cover], np.float32)


def lasting_backscatter(seed: int, landcover: LandCover, pixel: float) -> dict[str, Field]:
    """gamma0 in dB that all dates share: level by cover and place, texture at three scales, parcels; VV and VH."""
    rng = stream(seed, "levels")
    shape = landcover.cover.shape
    # Correlation of the time mean 0.4…0.8 at 30 m, 0.1…0.5 at 150 m, 0.04…0.4 at 300 m [C].
    shared = _texture(seed, "both", shape, pixel)
    strength = per_cover(TEXTURE)[landcover.cover]
    of_parcel = rng.standard_normal((2, landcover.parcels)).astype(np.float32)
    farmed = landcover.cover == Cover.CROPS
    result = {}
    for k, (pol, weight) in enumerate((("vv", 1.0), ("vh", 1.3))):
        level = np.array([LEVELS[c][k][0] + LEVELS[c][k][1] * rng.standard_normal() for c in Cover], np.float32)
        own = _texture(seed, pol, shape, pixel)
        db = level[landcover.cover] + np.float32(weight) * strength * (0.87 * shared + 0.5 * own)
        parcels = 1.8 * (0.8 * of_parcel[0] + 0.6 * of_parcel[1] * (1 if k else -1))
        result[pol] = (db + farmed * parcels[landcover.parcel]).astype(np.float32)
    return result


def _texture(seed: int, name: str, shape: tuple[int, int], pixel: float) -> Field:
    fine, middle, coarse = (
        smooth_field(stream(seed, "texture", name, scale), shape, scale / pixel) for scale in (9, 45, 220)
    )
    mixed: Field = np.float32(1.15**0.5) * fine + np.float32(0.35**0.5) * middle + np.float32(0.25**0.5) * coarse
    return mixed


def weather(
    seed: int, track: str, day: int, after: bool, landcover: LandCover, pixel: float, scenario: Scenario
) -> tuple[dict[str, Field], dict[str, Field]]:
    """One date's drift in dB and what its wetness adds in power, VV and VH.

    Same-day passes of two tracks have weather of their own: they are hours apart.
    """
    rng = stream(seed, "weather", track, day)
    shape = landcover.cover.shape
    common = rng.standard_normal()
    season = 1.0 * np.sin(2 * np.pi * day / 365 + stream(seed, "season").uniform(0, 2 * np.pi))
    growing = np.array([0.1, 0.6, 0.8, 0.3, 0.0, 0.0], np.float32) * np.float32(season)
    wind = rng.normal(0, 2.0)
    blocks = smooth_field(rng, shape, 400 / pixel)
    drift = {}
    for pol in POLARISATIONS:
        move = _DATE_DRIFT[pol] * (0.97 * common + 0.24 * rng.standard_normal())
        move_by_cover = growing + np.float32(move) + rng.normal(0, 0.12, len(Cover)).astype(np.float32)
        move_by_cover[Cover.WATER] += wind
        weight = 1.0 if pol == "vv" else 1.3
        drift[pol] = move_by_cover[landcover.cover] + np.float32(_BLOCK_DRIFT * weight) * blocks
    wetness = scenario.wetness_after if after else scenario.wetness_before
    wetness = float(np.clip(wetness * 0.4 + 0.1 * rng.standard_normal(), 0, 1))
    if rng.random() < scenario.storms:
        wetness = float(rng.uniform(0.4, 1.0))
    showers = np.clip(1 + 0.6 * smooth_field(rng, shape, 1500 / pixel), 0, None) * np.float32(wetness)
    share = per_cover(_WET_SHARE)[landcover.cover] * showers
    return drift, {pol: np.float32(_WET[pol]) * share for pol in POLARISATIONS}
