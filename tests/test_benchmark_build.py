"""`python -m benchmarks.build` runs at a tiny size and says what it promises; how fast is not tested."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from benchmarks.build_scenes import cube_grid, make_scenes
from benchmarks.rivals_build import round_power

RATIOS = (
    "ratio_floor",
    "ratio_odc",
    "ratio_odc_aligned",
    "ratio_odc_offset",
    "ratio_stackstac",
    "ratio_lazy_odc",
    "peak_rss_gib",
    "peak_rss_gib_4x",
    "peak_rss_gib_16x",
)


@pytest.mark.slow
def test_it_runs_at_a_tiny_size_and_all_builds_agree(tmp_path):
    command = [sys.executable, "-m", "benchmarks.build", "--json", str(tmp_path / "b.json"), "--size", "256"]
    subprocess.run(
        [*command, "--rounds", "1", "--work", str(tmp_path / "work")], check=True, cwd=Path(__file__).parents[1]
    )
    result = json.loads((tmp_path / "b.json").read_text())
    assert all(math.isfinite(result[key]) and result[key] > 0 for key in RATIOS)
    assert result["simulated"]
    assert result["environment"]["threads"] == 2
    for name in ("aligned", "offset"):
        assert result[name]["share_valid"] > 0.98
        assert result[name]["share_equal_to_odc"] == 1
        assert result[name]["share_equal_to_stackstac"] == 1
    assert [path.name for path in (tmp_path / "work").glob("build-*")] == []  # what it built is gone


def test_scenes_are_made_once_and_lie_where_their_items_say(tmp_path):
    items = make_scenes(tmp_path, size=128, offset=True, distinct=2)
    moments = {item.datetime for item in items}
    files = [Path(item.assets["vv"].href) for item in items]
    assert len(items) == len(moments) == len(set(files)) == 12
    made = [file.stat().st_mtime_ns for file in files]
    for item, file in list(zip(items, files, strict=True))[:2]:
        with rasterio.open(file) as dataset:
            assert list(dataset.transform)[:6] == pytest.approx(item.properties["proj:transform"][:6])
            assert dataset.transform != cube_grid(128).affine
            values = dataset.read(1)
        assert values.dtype == np.float32
        assert (values > 0).all()
        assert 0.02 < values.mean() < 0.3
    assert files[0].samefile(files[2])
    make_scenes(tmp_path, size=128, offset=True, distinct=2)
    assert [file.stat().st_mtime_ns for file in files] == made


def test_the_rivals_round_to_the_nearest_and_to_even(tmp_path):
    step = np.float32(2**-8)
    values = np.array([1, 1 + step / 2, 1 + step * 1.5, 1 + step * 0.51, 3e-7, np.nan], np.float32)
    rounded = round_power(values, keep_bits=8)
    assert rounded[:4].tolist() == [1, 1, 1 + 2 * step, 1 + step]
    assert abs(rounded[4] / values[4] - 1) <= 2**-9
    assert np.isnan(rounded[5])
