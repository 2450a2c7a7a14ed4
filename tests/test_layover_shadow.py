"""Layover and shadow against analytic truth (GEOMETRY 3): incidence 39 degrees, 300 m of relief, 1 m grid."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import sarcube as sc
from sarcube.sar import layover_shadow_mask, layover_shadow_parts, slope_aspect
from sarcube.sar.buffer import widen

THETA = 39.0
H = 300.0
T = math.radians(THETA)


def _profile(distance_height, n=3000):
    """A ridge constant along y: heights over the distance from the sensor, which stands in the west."""
    x, z = zip(*distance_height, strict=True)
    return np.tile(np.interp(np.arange(n, dtype=float), x, z), (3, 1))


def _mask(z, azimuth=270.0, **kwargs):
    return layover_shadow_mask(z, resolution=1.0, incidence_angle=THETA, sensor_azimuth=azimuth, **kwargs)


def test_gentle_hill_is_clear():
    rise, fall = H / math.tan(math.radians(30)), H / math.tan(math.radians(45))
    z = _profile([(0, 0), (1000, 0), (1000 + rise, H), (1000 + rise + fall, 0), (3000, 0)])
    assert (_mask(z) == 0).all()


RUN = H / math.tan(math.radians(60))
COT = 1 / math.tan(T)
RAMP = [(0, 0), (1200, 0), (1200 + RUN, H), (3000, H)]
STEP_UP = [(0, 0), (1499.99, 0), (1500, H), (3000, H)]
STEP_DOWN = [(0, H), (1500, H), (1500.01, 0), (3000, 0)]
BACKSLOPE = [(0, H), (1000, H), (1000 + RUN, 0), (3000, 0)]


@pytest.mark.parametrize(
    ("relief", "method", "bit", "begin", "end", "length"),
    [
        (RAMP, "exact", 2, 1200 - H * COT + RUN, 1200 + H * COT, 567.7),
        (RAMP, "local", 2, 1200, 1200 + RUN, 173.2),
        (STEP_UP, "exact", 2, 1500 - H * COT, 1500 + H * COT, 740.9),
        (STEP_DOWN, "exact", 1, 1500, 1500 + H * math.tan(T), 242.9),
        (BACKSLOPE, "exact", 1, 1000, 1000 + H * math.tan(T), 242.9),
        (BACKSLOPE, "local", 1, 1000, 1000 + RUN, 173.2),
    ],
)
def test_distortion_begins_and_ends_where_theory_says_to_one_pixel(relief, method, bit, begin, end, length):
    assert end - begin == pytest.approx(length, abs=0.1)
    mask = _mask(_profile(relief), method=method)[1]
    flagged = np.flatnonzero(mask & bit)
    assert flagged.size == np.ptp(flagged) + 1  # one stretch
    assert flagged[0] - 0.5 == pytest.approx(begin, abs=1)
    assert flagged[-1] + 0.5 == pytest.approx(end, abs=1)
    assert not (mask & ~np.uint8(bit)).any()


def test_active_and_passive_parts_of_a_ramp_and_of_a_backslope():
    for relief, active, passive, first, last in ((RAMP, 2, 8, 1200, 1200 + RUN), (BACKSLOPE, 1, 4, 1000, 1000 + RUN)):
        parts = _parts(_profile(relief))[1]
        own = np.flatnonzero(parts & active)
        assert own[0] - 0.5 == pytest.approx(first, abs=1)
        assert own[-1] + 0.5 == pytest.approx(last, abs=1)
        assert set(np.unique(parts)) == {0, active, passive}
        assert ((parts > 0) == (_mask(_profile(relief))[1] > 0)).all()


def _parts(z, azimuth=270.0):
    return layover_shadow_parts(z, resolution=1.0, incidence_angle=THETA, sensor_azimuth=azimuth)


@given(st.integers(0, 10**6), st.floats(0, 360))
def test_parts_make_up_the_mask(seed, azimuth):
    z = _fractal(seed, 60)
    z[20:23, 30:40] = np.nan
    exact, parts = _mask(z, azimuth), _parts(z, azimuth)
    assert ((parts == 255) == (exact == 255)).all()
    known = exact != 255
    np.testing.assert_array_equal(((parts & 3) | (parts >> 2))[known], exact[known])


@given(st.integers(0, 10**6), st.floats(0, 6), st.floats(0.5, 2))
def test_a_buffer_reaches_so_many_metres_and_no_data_stays(seed, buffer, across):
    mask = np.random.default_rng(seed).choice(
        np.array([0, 1, 2, 3, 255], np.uint8), (23, 31), p=[0.9, 0.03, 0.03, 0.02, 0.02]
    )
    wide = widen(mask, pixel=(1.0, across), buffer=buffer)
    assert ((wide == 255) == (mask == 255)).all()
    for bit in (1, 2):
        source = (mask & bit > 0) & (mask != 255)
        near = np.zeros(mask.shape, bool)
        if source.any():
            distance = ndimage.distance_transform_edt(~source, sampling=(1.0, across))
            unsure = np.abs(distance - buffer) < 1e-6
            near = distance <= buffer
            assert (((wide & bit > 0) == near) | unsure | (mask == 255)).all()
        else:
            assert not ((wide & bit > 0) & (mask != 255)).any()


def test_float32_is_judged_as_it_is_and_threads_change_nothing():
    z = _fractal(3, 600).astype(np.float32)
    settings = {"resolution": 1.0, "incidence_angle": THETA, "sensor_azimuth": 250.0}
    expected = layover_shadow_mask(z.astype(float), **settings)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: layover_shadow_mask(z, **settings), range(8)))
    for mask in found:
        np.testing.assert_array_equal(mask, expected)


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
