"""The example of a simulated event: it prints what it wrote, and what it wrote is there and small."""

import runpy
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from PIL import Image

EXAMPLE = Path(__file__).parents[1] / "examples" / "simulated_event_change.py"
NAMES = ("simulated-change.jpg", "simulated-rgb.jpg", "simulated-time-series.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("change") / "pictures"
    # In a process of its own, as a user runs it: it quietens the library's log.
    command = [sys.executable, str(EXAMPLE), "--out", str(folder), "--size-km", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return folder, done.stdout


def test_the_largest_slide_is_the_place():
    boxes = [shapely.box(500_000, 0, 500_100, 100), shapely.box(500_400, 0, 500_800, 400)]
    inventory = gpd.GeoDataFrame(geometry=boxes, crs=32647)
    point = runpy.run_path(str(EXAMPLE))["largest_slide"](inventory)
    x, y = gpd.GeoSeries([shapely.Point(point)], crs=4326).to_crs(32647).iloc[0].coords[0]
    assert (x, y) == pytest.approx((500_600, 200), abs=0.01)


def test_pictures_are_drawn_and_small(run):
    for name in NAMES:
        path = run[0] / name
        assert path.stat().st_size < 300_000
        with Image.open(path) as image:
            assert image.width > 700
            assert len(image.convert("L").getcolors()) > 50


def test_it_prints_what_it_wrote(run):
    first, *rest = run[1].splitlines()
    assert first.startswith("simulated-7, track ")
    assert "landslides" in first
    assert [line.partition(":")[0] for line in rest] == [str(run[0] / name) for name in NAMES]
