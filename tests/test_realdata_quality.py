"""`quality` on real OPERA RTC-S1 bursts over California: a displaced date is found, none is accused as they are."""

from pathlib import Path

import numpy as np
import pytest

import sarcube as sc
from sarcube.cube.quality.table import quality

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"
PLACE = "T137-292321-IW2"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the real data is not at {FOLDER}"),
]


@pytest.fixture(scope="module")
def cube():
    items = [item for item in sc.items_from_folder(FOLDER) if item.properties["s1:burst_id"] == PLACE]
    return sc.load(items, resolution=30, border_fringe=0).load()


def displaced(table):
    return [number for number, said in table["warnings"].items() if any("displaced" in line for line in said)]


def test_real_scenes_are_not_accused(cube):
    table = quality(cube)
    assert displaced(table) == []
    covered = table["vv_valid"] > 0.9
    assert covered.sum() == 31
    assert (np.hypot(table["shift_rows"], table["shift_columns"])[covered] < 0.5).all()
    assert (table["shift_confidence"][covered] > 0.6).all()
    assert table["shift_rows"][~covered].isna().all()  # crops of 25 x 25 pixels
    assert all("shift not measured: too little" in " ".join(said) for said in table["warnings"][~covered])
    assert (table["vv_unread"] == 0).all()
    assert set(table["platform"]) == {"SENTINEL-1A", "SENTINEL-1B"}


def test_displaced_real_scenes_are_found(cube):
    valid = np.isfinite(cube.vv.values).mean(axis=(1, 2)) > 0.9
    dates = np.flatnonzero(valid)[[3, 12, 20, 29]]
    vectors = [(2, 0), (0, 2), (2, 2), (-2, 1)]
    moved = cube.copy(deep=True)
    for date, vector in zip(dates, vectors, strict=True):
        for band in ("vv", "vh"):
            shifted = cube[band][date].shift(y=vector[0], x=vector[1])
            moved[band][date] = shifted.values
    table = quality(moved)
    assert displaced(table) == dates.tolist()
    np.testing.assert_allclose(table.loc[dates, ["shift_rows", "shift_columns"]], vectors, atol=0.4)


def test_of_three_real_dates_the_displaced_one_is_found(cube):
    valid = np.isfinite(cube.vv.values).mean(axis=(1, 2)) > 0.9
    three = cube.isel(time=np.flatnonzero(valid)[[0, 15, 30]]).copy(deep=True)
    assert displaced(quality(three)) == []
    three["vv"][1] = three["vv"][1].shift(y=2).values
    assert displaced(quality(three)) == [1]
