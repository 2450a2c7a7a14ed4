"""Relief, cover, slides and the radar's view of them."""

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcube.synthetic.ground import image, make_ground, view_from
from sarcube.synthetic.landcover import Cover
from sarcube.synthetic.landslides import trigger_landslides
from sarcube.synthetic.radar import look_at, receive
from sarcube.synthetic.scenario import draw_scenario

GEOBOX = GeoBox((700, 700), Affine(10, 0, 500_000, 0, -10, 5_000_000), "EPSG:32632")


@pytest.fixture(scope="module")
def ground():
    return make_ground(11, draw_scenario(11), GEOBOX, landslides=True)


def test_relief_has_slopes_beyond_35_degrees_and_rivers_that_run_low(ground):
    assert 0.05 < (ground.slope > 35).mean() < 0.6
    assert np.isfinite(ground.relief.elevation).all()
    assert np.ptp(ground.relief.elevation) > 200
    river = ground.relief.river
    assert 0.0005 < river.mean() < 0.05
    assert ground.relief.above_river[river].max() <= 12
    assert (ground.landcover.cover[river] == Cover.WATER).all()


def test_slides_start_on_steep_ground_run_downhill_and_are_sized_like_real_ones():
    areas, fall, steep = [], [], []
    for seed in (11, 12, 13):
        scenario = draw_scenario(seed)
        ground = make_ground(seed, scenario, GEOBOX, landslides=False)
        slides = trigger_landslides(seed, ground.relief, ground.slope, ground.landcover, scenario)
        areas.append(slides.area / scenario.slide_size)
        inside = slides.number > 0
        steep.append(np.median(ground.slope[inside & (slides.along < 0.2)]))
        for number in np.unique(slides.number[inside])[:200]:
            here = slides.number == number
            crown, toe = here & (slides.along < 0.2), here & (slides.along > 0.8)
            if crown.any() and toe.any():
                fall.append(ground.relief.elevation[crown].mean() - ground.relief.elevation[toe].mean())
        assert slides.along[inside].max() <= 1
    areas = np.concatenate(areas)
    # Malamud et al. 2004: median 1 050 m², mean 3 070 m²; run-out on flat ground and the edge take some.
    assert np.median(areas) == pytest.approx(1050, rel=0.25)
    assert 1800 < areas.mean() < 4500
    assert np.mean(np.array(fall) > 0) > 0.97
    assert all(25 < s < 45 for s in steep)


def test_a_quarter_to_a_third_of_the_slides_is_barely_visible(ground):
    weak = (np.abs(ground.slides.vv) < 1) & (np.abs(ground.slides.vh) < 1)
    assert 0.2 < weak.mean() < 0.42
    assert (ground.slides.vv > 1).any()
    assert (ground.slides.vv < -1).any()


def test_slides_cluster(ground):
    centres = np.array([(p.centroid.y, p.centroid.x) for p in ground.slides.polygons])
    counts = np.histogramdd(centres, bins=[range(0, 701, 100)] * 2)[0]
    assert counts.var() / counts.mean() > 2.5  # Poisson has 1; Cipongkor 2024 7.5 per km²


def test_nothing_but_slides_differs_in_an_event_without_slides(ground):
    quiet = make_ground(11, draw_scenario(11), GEOBOX, landslides=False)
    here, there = (view_from(g, "A015", relative_orbit=15, orbit_state="ascending") for g in (ground, quiet))
    before, quiet_before = image(ground, here, -5), image(quiet, there, -5)
    np.testing.assert_array_equal(before["vv"], quiet_before["vv"])
    after, quiet_after = image(ground, here, 7), image(quiet, there, 7)
    inside = ground.slides.number > 0
    assert (after["vh"][inside] != quiet_after["vh"][inside]).mean() > 0.99
    # Range cells carry a slide's change to its neighbours on the line, not across the map.
    assert (after["vh"][~inside] != quiet_after["vh"][~inside]).mean() < 0.6


def test_flat_ground_is_received_as_it_is_and_shadow_receives_nothing():
    rng = np.random.default_rng(0)
    power = rng.gamma(4, 0.02, (120, 300)).astype(np.float32)
    theta = np.full(power.shape, np.radians(39), np.float32)
    flat = look_at(np.zeros_like(power), resolution=10.0, incidence=theta, azimuth=np.radians(260))
    received = receive(flat, power)
    assert received[:, 5:-5].mean() == pytest.approx(power.mean(), rel=0.01)
    assert np.corrcoef(received[:, 5:-5].ravel(), power[:, 5:-5].ravel())[0, 1] > 0.7

    step = np.zeros_like(power)
    step[:, :150] = 300  # falls away from a sensor in the west
    view = look_at(step, resolution=10.0, incidence=theta, azimuth=np.radians(270))
    shadow = receive(view, power)[:, 152:172]
    assert (shadow == 0).all()
    assert (view.mask[60, 152:172] == 1).all()


def test_layover_mixes_what_lies_at_the_same_range():
    dark_plain, bright_top = 0.01, 1.0
    step = np.zeros((40, 400), np.float32)
    step[:, 200:] = 300
    power = np.where(step > 0, np.float32(bright_top), np.float32(dark_plain)).astype(np.float32)
    theta = np.full(step.shape, np.radians(39), np.float32)
    view = look_at(step, resolution=10.0, incidence=theta, azimuth=np.radians(270))
    received = receive(view, power)[20]
    folded = view.mask[20] == 2
    assert folded.any()
    plain_in_layover = folded & (step[20] == 0)
    assert np.median(received[plain_in_layover]) > 10 * dark_plain
    assert received[20] == pytest.approx(dark_plain, rel=1e-3)
