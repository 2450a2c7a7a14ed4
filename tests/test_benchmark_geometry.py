"""`python -m benchmarks.geometry`: a rival that is right, relief without seams, all keys; no speed is tested."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.geometry import BLOCKS
from benchmarks.geometry_scene import SHAPE, scene_grid
from benchmarks.relief import RELIEF, fractal_patch, lazy_relief
from benchmarks.rivals_geometry import mask_by_accumulate
from sarcube.cube.geometry.look import solve_look
from sarcube.sar import layover_shadow_mask

THETA = 39.0


@pytest.fixture(scope="module")
def relief():
    """Steep enough for layover and shadow all over, and not square."""
    return fractal_patch(480, seed=3)[:350].copy() * np.float32(700)


@pytest.mark.parametrize("azimuth", [260.0, 100.0, 225.0, 314.0, 10.0, 190.0, 270.0, 0.0])
def test_the_rival_finds_our_mask_to_the_pixel(relief, azimuth):
    ours = layover_shadow_mask(relief, resolution=10.0, incidence_angle=THETA, sensor_azimuth=azimuth)
    assert (ours & 2 > 0).mean() > 0.05
    assert (ours & 1 > 0).mean() > 0.01
    for block in (*BLOCKS, 7, None):
        rival = mask_by_accumulate(relief, resolution=10.0, incidence=THETA, azimuth=azimuth, block=block, threads=2)
        np.testing.assert_array_equal(rival, ours)


def test_the_rival_is_right_where_lines_are_rows(relief):
    z = relief[:20, :200].astype(float)
    theta, x = math.radians(THETA), 10.0 * np.arange(z.shape[1])
    slant, look = x * math.sin(theta) - z * math.cos(theta), x * math.cos(theta) + z * math.sin(theta)
    layover, shadow = np.zeros(z.shape, bool), np.zeros(z.shape, bool)
    for i in range(z.shape[1]):
        here = slice(i, i + 1)
        layover[:, i] = (slant[:, here] <= slant[:, :i]).any(1) | (slant[:, here] >= slant[:, i + 1 :]).any(1)
        shadow[:, i] = (look[:, here] <= look[:, :i]).any(1)
    mask = mask_by_accumulate(z, resolution=10.0, incidence=THETA, azimuth=270.0, block=8, threads=2)
    np.testing.assert_array_equal(mask, 2 * layover + shadow)


def test_a_patch_repeats_without_a_seam():
    patch = fractal_patch(256, seed=5)
    assert patch.min() == 0
    assert patch.max() == 1
    twice = np.tile(patch, (2, 2))
    for axis in (0, 1):
        steps = np.abs(np.diff(twice, axis=axis)).max(axis=1 - axis)
        assert steps[255] <= np.delete(steps, 255).max()


def test_relief_is_the_same_for_any_chunks():
    whole = lazy_relief((300, 333), chunk=333, seed=0).compute(scheduler="sync")
    parts = lazy_relief((300, 333), chunk=70, seed=0)
    assert parts.numblocks == (5, 5)
    np.testing.assert_array_equal(parts.compute(scheduler="sync"), whole)
    assert whole.dtype == np.float32
    assert whole.min() == 0
    assert whole.max() == pytest.approx(RELIEF)


def test_the_track_looks_at_the_whole_scene_as_in_a_swath():
    nodes = solve_look(scene_grid(SHAPE), relative_orbit=117, orbit_state="ascending")
    assert nodes.incidence.min() > 28
    assert nodes.incidence.max() < 48


@pytest.mark.slow
def test_it_runs_at_a_tiny_size(tmp_path):
    command = [sys.executable, "-m", "benchmarks.geometry", "--json", str(tmp_path / "g.json"), "--rounds", "1"]
    subprocess.run(
        [*command, "--size", "256", "--scene", "1200x1500", "--work", str(tmp_path / "work")],
        check=True,
        cwd=Path(__file__).parents[1],
    )
    result = json.loads((tmp_path / "g.json").read_text())
    for key in (
        "ratio_numpy",
        "ratio_numpy_whole_array",
        "ratio_scene",
        "ratio_scene_strict",
        "ratio_scene_to_zarr",
        "peak_rss_gib",
        "fraction_of_bandwidth",
        "fraction_of_bandwidth_scene",
        "look_over_mask",
    ):
        assert math.isfinite(result[key]), key
        assert result[key] > 0, key
    assert result["simulated"]
    assert result["environment"]["threads"] == 2
    assert result["kernel"]["pixels_unlike"] == 0
    assert result["scene"]["share_no_data"] == 0
    assert 15 < result["kernel"]["median_slope"] < 30
    assert 0.01 < result["scene"]["share_layover"] < 0.5
    assert set(result["scene"]["parts_alone"]) == {"kernel", "decode", "encode"}
    assert [path.name for path in (tmp_path / "work").glob("geometry-*")] == []  # what it wrote is gone
