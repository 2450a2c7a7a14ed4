"""Layover and shadow over a grid, block by block: the same for any blocks, azimuths, passes and latitudes."""

import itertools

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from relief import fractal

import sarcube as sc
from sarcube.cube.geometry import bands
from sarcube.cube.geometry.distortion import Ground, lazy_exact, lazy_local
from sarcube.cube.geometry.look import LookNodes
from sarcube.sar import layover_shadow_mask

RESOLUTION = 10.0


def _nodes(shape, azimuth, *, near=39.0, far=39.0, turn=0.0):
    """A look of our own: grid azimuth to the sensor, turned by `turn` over the grid, θ from near to far side."""
    rows, columns = (np.linspace(-0.5, n - 0.5, 5) for n in shape)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    phi = np.radians(azimuth + turn * ((y + x) / sum(shape) - 0.5))
    away = np.stack([np.cos(phi), -np.sin(phi)]) / RESOLUTION
    mean = away.mean((1, 2))
    distance = (y * mean[0] + x * mean[1]) / np.hypot(*mean)
    share = (distance - distance.min()) / np.ptp(distance)
    incidence = near + (far - near) * share
    return LookNodes(
        rows=rows,
        columns=columns,
        incidence=np.stack([incidence, incidence]),
        azimuth=np.stack([np.degrees(phi)] * 2),
        slant_range=np.full(y.shape, 8e5) + distance * RESOLUTION * np.sin(np.radians(incidence)),
        away=away,
        convergence=np.zeros(y.shape),
        undulation=np.zeros(y.shape),
        source="made for this test",
        heights="made for this test",
    )


def _ground(elevation, chunks):
    down, across = (np.full(elevation.shape[0], RESOLUTION) for _ in range(2))
    return Ground(da.from_array(elevation, chunks=chunks), down, across)


def _cuts(draw, size):
    """Random chunk sizes along an axis."""
    edges = sorted(draw(st.sets(st.integers(1, size - 1), max_size=6)) | {0, size})
    return tuple(int(b - a) for a, b in itertools.pairwise(edges))


@st.composite
def _cases(draw):
    shape = draw(st.integers(90, 170)), draw(st.integers(90, 170))
    special = st.sampled_from([0.0, 90.0, 180.0, 270.0, 45.0, 135.0, 225.0, 315.0])
    near_special = special.flatmap(lambda at: st.floats(at - 0.6, at + 0.6))
    return {
        "shape": shape,
        "azimuth": draw(st.one_of(st.floats(0, 360), near_special)),
        "angles": draw(st.sampled_from([(39.0, 39.0), (29.0, 46.0), (25.0, 55.0)])),
        "turn": draw(st.sampled_from([0.0, 0.8])),
        "chunks": (_cuts(draw, shape[0]), _cuts(draw, shape[1])),
        "seed": draw(st.integers(0, 10**6)),
    }


@settings(max_examples=40)
@given(_cases())
def test_chunked_equals_whole_to_the_pixel(case):
    elevation = fractal(case["seed"], case["shape"], relief=220, decay=1.3)
    elevation[case["shape"][0] // 2, 20:60] = np.nan
    near, far = case["angles"]
    nodes = _nodes(case["shape"], case["azimuth"], near=near, far=far, turn=case["turn"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_BAND", 370.0)
        whole, parts = (
            lazy_exact(_ground(elevation, chunks), nodes, max_relief=221).compute(scheduler="sync")
            for chunks in (case["shape"], case["chunks"])
        )
    assert (whole & 2 > 0).mean() > 0.01
    np.testing.assert_array_equal(parts, whole)
    assert ((whole == 255) == np.isnan(elevation)).all()


@given(st.integers(0, 10**6), st.floats(0, 360))
def test_ground_beyond_the_relief_makes_no_difference(seed, azimuth):
    elevation = fractal(seed, (150, 140), relief=150, decay=1.3)
    nodes = _nodes(elevation.shape, azimuth, near=29.0, far=46.0)
    narrow, wide = (
        lazy_exact(_ground(elevation, (25, 25)), nodes, max_relief=relief).compute(scheduler="sync")
        for relief in (151, 5000)
    )
    np.testing.assert_array_equal(narrow, wide)


@given(st.integers(0, 10**6), st.floats(0, 360), st.floats(25, 55))
def test_one_angle_gives_the_mask_of_the_array_function(seed, azimuth, theta):
    elevation = fractal(seed, (130, 120), relief=250, decay=1.4)
    nodes = _nodes(elevation.shape, azimuth, near=theta, far=theta)
    nodes.slant_range[:] = 1e15  # a sensor so far that nothing bends
    found = lazy_exact(_ground(elevation, (40, 60)), nodes, max_relief=251).compute(scheduler="sync")
    expected = layover_shadow_mask(
        elevation, resolution=RESOLUTION, incidence_angle=theta, sensor_azimuth=azimuth, method="exact"
    )
    assert (found != expected).mean() <= 1e-4  # ties, summed in another order
    local = lazy_local(_ground(elevation, (40, 60)), nodes).compute(scheduler="sync")
    expected = layover_shadow_mask(
        elevation, resolution=RESOLUTION, incidence_angle=theta, sensor_azimuth=azimuth, method="local"
    )
    assert (local != expected).mean() <= 1e-4  # θ is float32 in a cube


def test_relief_beyond_the_limit_raises_and_says_what_to_give():
    elevation = fractal(1, (120, 120), relief=400)
    nodes = _nodes(elevation.shape, 260.0)
    lazy = lazy_exact(_ground(elevation, (60, 60)), nodes, max_relief=100)
    with pytest.raises(sc.SarcubeError, match=r"more than max_relief = 100 m.*give max_relief=\d+"):
        lazy.compute(scheduler="sync")


def test_a_hill_beyond_the_neighbouring_block_casts_its_shadow():
    elevation = np.zeros((20, 300), np.float32)
    elevation[:, 100:103] = 1000.0
    nodes = _nodes(elevation.shape, 270.0, near=45.0, far=45.0)
    nodes.slant_range[:] = 1e15
    mask = lazy_exact(_ground(elevation, (20, 17)), nodes, max_relief=1000).compute(scheduler="sync")
    assert (mask[:, 104:202] & 1).all()
    assert not (mask[:, 205:] & 1).any()
    assert (mask[:, 2:99] & 2).all()


def test_nothing_computes_while_the_graph_is_built():
    def refuse(*args, **kwargs):
        raise AssertionError("something was computed")

    elevation = fractal(1, (100, 100), relief=300)
    with dask.config.set(scheduler=refuse):
        lazy_exact(_ground(elevation, (30, 30)), _nodes((100, 100), 260.0), max_relief=300)
        lazy_local(_ground(elevation, (30, 30)), _nodes((100, 100), 260.0))


def test_bands_take_the_look_of_their_own_place():
    """A grid whose look turns: each band's direction is that of its middle, to a hundredth of a degree."""
    nodes = _nodes((6000, 500), 260.0, turn=1.0)
    found = bands.bands_over(nodes, (6000, 500))
    assert [(band.first, band.last) for band in found] == [(0, 2048), (2048, 4096), (4096, 6000)]
    for band in found:
        row, column = (band.first + band.last - 1) / 2, 249.5
        expected = 260.0 + 1.0 * ((row + column) / 6500 - 0.5)
        azimuth = np.degrees(np.arctan2(band.toward[1], -band.toward[0])) % 360
        assert azimuth == pytest.approx(expected, abs=0.01)
        assert band.lines.shear == pytest.approx(band.toward[0] / band.toward[1])


def test_infinite_heights_are_refused():
    elevation = fractal(1, (60, 60), relief=100)
    elevation[30, 30] = np.inf
    lazy = lazy_exact(_ground(elevation, (60, 60)), _nodes((60, 60), 260.0), max_relief=100)
    with pytest.raises(sc.SarcubeError, match="infinite heights"):
        lazy.compute(scheduler="sync")
    elevation[:] = np.nan
    mask = lazy_exact(_ground(elevation, (60, 60)), _nodes((60, 60), 260.0), max_relief=100).compute(scheduler="sync")
    assert (mask == 255).all()


def test_a_relief_that_was_rounded_is_no_other_relief():
    elevation = fractal(1, (60, 60), relief=2000)
    elevation[elevation.argmax() // 60, elevation.argmax() % 60] = 2000.4
    lazy_exact(_ground(elevation, (60, 60)), _nodes((60, 60), 260.0), max_relief=2000).compute(scheduler="sync")
