"""What differs from one simulated event to the next: climate, cover, weather, slides, what else changed.

Marks as in the package: [C] computed, [D] documented, [M] remembered, not verified: a prior to sample widely.
"""

from dataclasses import dataclass

from sarcube.synthetic.streams import stream


@dataclass(frozen=True)
class Scenario:
    """One event's conditions, all drawn from its seed by `draw_scenario`; the fields say what they set."""

    latitude: float  # degrees, of the middle of the event
    longitude: float
    steepness: float  # slope in degrees that half of the hillsides exceed
    forest_share: float  # of the hillsides below the tree line
    treeline: float  # quantile of elevation above which no forest grows
    crop_share: float  # of the valley floors
    wetness_before: float  # 0 dry … 1 wet soil on the dates before
    wetness_after: float  # and after the event
    storms: float  # chance that a date is imaged in or after a storm
    slides_per_km2: float
    slide_size: float  # factor on the areas of Malamud's distribution
    clustering: float  # standard deviation of the log of the slides' density over 2 km
    visibility: float  # share of slides that change backscatter by less than about 1 dB
    harvest: float  # share of parcels worked between two months
    clearcuts_per_km2: float
    snow_chance: float  # chance that a date has wet snow above the snow line
    flood: float  # share of the river reaches whose banks are under water after the event
    bar_change: float  # share of the river reaches whose bed was reworked
    building_per_km2: float  # construction sites opened during the series
    residual_slope: float  # dB of uncorrected terrain effect per 30 degrees of slope


def draw_scenario(seed: int) -> Scenario:
    """Draw the conditions of one event.

    Slides: 4 to 14 per km² (Hokkaido 2018: 14 [D]), mean size 3 000 (Malamud) to 7 160 m² (Hokkaido) [D], barely
    visible 25 to 35 % (Mondini 2019: 13 % invisible, borders mappable in a quarter [D]; the share itself [M]). Counts
    per km² overdispersed 7.5 times (Cipongkor 2024 [C]). Weather, harvest, clear-cut, flood and building rates are [M].
    """
    rng = stream(seed, "scenario")
    wet_before = rng.beta(1.2, 2.0)
    return Scenario(
        latitude=float(rng.uniform(-45, 50)),
        longitude=float(rng.integers(-20, 30) * 6 + 3 + rng.uniform(-1.5, 1.5)),
        steepness=float(rng.uniform(22, 32)),
        forest_share=float(rng.choice([0.85, 0.65, 0.35]) + rng.uniform(-0.1, 0.1)),
        treeline=float(rng.uniform(0.8, 1.0)),
        crop_share=float(rng.uniform(0.3, 0.9)),
        wetness_before=float(wet_before),
        wetness_after=float(min(1.0, wet_before + rng.exponential(0.25))),
        storms=float(rng.uniform(0.05, 0.3)),
        slides_per_km2=float(rng.uniform(4, 14)),
        slide_size=float(rng.uniform(1.0, 2.3)),
        clustering=float(rng.uniform(0.9, 1.5)),
        visibility=float(rng.uniform(0.25, 0.35)),
        harvest=float(rng.uniform(0.05, 0.4)),
        clearcuts_per_km2=float(rng.uniform(0.05, 0.5)),
        snow_chance=float(rng.choice([0.0, 0.35], p=[0.65, 0.35])),
        flood=float(rng.choice([0.0, 0.4], p=[0.5, 0.5])),
        bar_change=float(rng.uniform(0.1, 0.7)),
        building_per_km2=float(rng.uniform(0.02, 0.3)),
        residual_slope=float(rng.normal(0.0, 1.0)),
    )
