"""Layover and shadow against analytic truth (GEOMETRY 3): incidence 39 degrees, 300 m of relief, 1 m grid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sarcube as sc
from sarcube.sar import layover_shadow_mask, slope_aspect

THETA = 39.0
H = 300.0
T = math.radians(THETA)


def _profile(distance_height, n=3000):
    """A ridge constant along y: heights over the distance from the sensor, which stands in the west."""
    x, z = zip(*distance_height, strict=True)
    return np.tile(np.interp(np.arange(n, dtype=float), x, z), (3, 1))


def _share(mask, bit):
    return ((mask[1] != 255) & (mask[1] & bit > 0)).sum()


def _mask(z, azimuth=270.0, **kwargs):
    return layover_shadow_mask(z, resolution=1.0, incidence_angle=THETA, sensor_azimuth=azimuth, **kwargs)


def test_gentle_hill_is_clear():
    rise, fall = H / math.tan(math.radians(30)), H / math.tan(math.radians(45))
    z = _profile([(0, 0), (1000, 0), (1000 + rise, H), (1000 + rise + fall, 0), (3000, 0)])
    assert (_mask(z) == 0).all()


def test_ramp_up_to_a_plateau():
    run = H / math.tan(math.radians(60))
    z = _profile([(0, 0), (1200, 0), (1200 + run, H), (3000, H)])
    cot = 1 / math.tan(T)
    expected = run + 2 * H * (cot - 1 / math.tan(math.radians(60)))
    assert expected == pytest.approx(567.7, abs=0.1)
    assert _share(_mask(z), 2) == pytest.approx(expected, abs=2)
    assert _share(_mask(z, method="local"), 2) == pytest.approx(173.2, abs=2)
    assert _share(_mask(z), 1) == 0


def test_step_up_and_step_down():
    up = _profile([(0, 0), (1499.99, 0), (1500, H), (3000, H)])
    assert _share(_mask(up), 2) == pytest.approx(2 * H / math.tan(T), abs=2)
    down = _profile([(0, H), (1499.99, H), (1500, 0), (3000, 0)])
    assert _share(_mask(down), 1) == pytest.approx(H * math.tan(T), abs=2)
    assert _share(_mask(down), 2) == 0


def test_backslope_shadow_and_its_active_part():
    run = H / math.tan(math.radians(60))
    z = _profile([(0, H), (1000, H), (1000 + run, 0), (3000, 0)])
    assert _share(_mask(z), 1) == pytest.approx(242.9, abs=2)
    assert _share(_mask(z, method="local"), 1) == pytest.approx(173.2, abs=2)


def _cone(steepness, radius=500.0, size=1800):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(x, y)
    return np.maximum(0, (radius - r) * math.tan(math.radians(steepness))), r


@pytest.mark.parametrize("azimuth", [90.0, 100.0, 135.0, 200.0, 260.0, 355.0])
def test_cone_areas_do_not_hang_on_the_azimuth(azimuth):
    z, r = _cone(60)
    on, off = r < 499, r >= 500
    local = _mask(z, azimuth, method="local")
    assert (local[on] == 2).mean() == pytest.approx(0.3451, rel=0.005)
    assert (local[on] == 1).mean() == pytest.approx(0.2474, rel=0.005)
    exact = _mask(z, azimuth)
    assert ((exact == 1) & off).sum() == pytest.approx(51_604, rel=0.005)


def test_cone_of_50_degrees():
    z, r = _cone(50)
    assert (_mask(z, 100.0, method="local")[r < 499] == 2).mean() == pytest.approx(0.2622, rel=0.005)


def test_gaussian_hill_sets_in_where_theory_says():
    sigma = 200.0
    y, x = np.mgrid[:1600, :1600] - 800.0
    shape = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    for slack, some in ((0.985, False), (1.015, True)):
        layover = _mask(shape * sigma * math.tan(T) * math.sqrt(math.e) * slack)
        assert ((layover == 2) | (layover == 3)).any() == some
    for slack, some in ((0.985, False), (1.015, True)):
        shadow = _mask(shape * sigma / math.tan(T) * math.sqrt(math.e) * slack)
        assert ((shadow == 1) | (shadow == 3)).any() == some


def _fractal(seed, n=96):
    rng = np.random.default_rng(seed)
    ky, kx = np.meshgrid(np.fft.fftfreq(n), np.fft.rfftfreq(n), indexing="ij")
    k = np.hypot(ky, kx)
    k[0, 0] = 1
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((n, n))) / k**1.8, (n, n))
    return field / field.std() * 25


@given(st.integers(0, 10**6), st.sampled_from([0.0, 90.0, 180.0, 270.0]), st.sampled_from(["exact", "local"]))
def test_mirrored_relief_with_the_opposite_look_gives_the_mirrored_mask(seed, azimuth, method):
    z = _fractal(seed)
    flip = 1 if azimuth in (90.0, 270.0) else 0
    here = _mask(z, azimuth, method=method)
    there = _mask(np.flip(z, flip), (azimuth + 180) % 360, method=method)
    np.testing.assert_array_equal(np.flip(there, flip), here)


@given(st.integers(0, 10**6), st.floats(0, 360))
def test_every_pixel_lies_on_one_look_line_and_angles_may_be_a_number_or_an_array(seed, azimuth):
    z = _fractal(seed)
    exact = _mask(z, azimuth)
    assert (exact != 255).all()
    theta = np.full(z.shape, THETA)
    turned = layover_shadow_mask(z, resolution=1.0, incidence_angle=theta, sensor_azimuth=azimuth)
    np.testing.assert_array_equal(turned, exact)


def test_no_data_is_never_clear():
    z = _fractal(1)
    z[40:50, 30:60] = np.nan
    for method in ("exact", "local"):
        mask = _mask(z, 100.0, method=method)
        assert (mask[40:50, 30:60] == 255).all()
    assert (_mask(z, 100.0) != 255).sum() == np.isfinite(z).sum()


def test_aspect_points_downhill_clockwise_from_north():
    y, x = np.mgrid[:5, :7].astype(float)
    for z, aspect in ((-x, 90), (x, 270), (y, 0), (-y, 180)):  # rows run south
        slope, downhill = slope_aspect(z * 10, resolution=10.0)
        np.testing.assert_allclose(slope, 45.0)
        np.testing.assert_allclose(downhill % 360, aspect)
    slope, downhill = slope_aspect(np.zeros((4, 4)), resolution=10.0)
    assert (slope == 0).all()
    assert np.isnan(downhill).all()


def test_bad_input_is_refused():
    with pytest.raises(sc.SarcubeError, match='"exact" or "local"'):
        _mask(np.zeros((4, 4)), method="guess")
    with pytest.raises(sc.SarcubeError, match="between 0 and 90"):
        layover_shadow_mask(np.zeros((4, 4)), resolution=1.0, incidence_angle=-5.0, sensor_azimuth=90.0)
    with pytest.raises(sc.SarcubeError, match="of elevation's shape"):
        layover_shadow_mask(np.zeros((4, 4)), resolution=1.0, incidence_angle=np.zeros((3, 3)), sensor_azimuth=90.0)
