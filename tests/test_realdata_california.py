"""Real OPERA RTC-S1 bursts over California: from a folder of GeoTIFFs to a cube on disk."""

from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

import sarcube as sc

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"
PLACES = ["T137-292319-IW2", "T137-292321-IW2", "T137-292325-IW1"]

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the real data is not at {FOLDER}"),
]


@pytest.fixture(scope="module")
def items():
    return sc.items_from_folder(FOLDER)


def of_place(items, place):
    return [item for item in items if item.properties["s1:burst_id"] == place]


def test_every_file_is_in_an_item(items):
    assert sum(len(item.assets) for item in items) == len(list(FOLDER.rglob("*.tif"))) == 368
    assert len(items) == 184
    assert {item.properties["sat:relative_orbit"] for item in items} == {137}
    # Two in the morning UTC is six in the evening in California: the files' tags were lost in cropping.
    assert {item.properties["sat:orbit_state"] for item in items} == {"ascending"}
    assert {item.properties["platform"] for item in items} == {"SENTINEL-1A", "SENTINEL-1B"}
    assert all(item.properties["processing:datetime"] > item.properties["start_datetime"] for item in items)


@pytest.mark.parametrize("place", PLACES)
def test_cube_of_a_place(items, place, tmp_path):
    here = of_place(items, place)
    cube = sc.load(here, resolution=30)
    sc.write_cube(cube, tmp_path / "california.zarr")
    cube = sc.open_cube(tmp_path / "california.zarr").load()

    assert dict(cube.sizes) == {"time": 46, "y": 100, "x": 100}
    assert cube.rio.crs.to_epsg() == 32611
    assert set(cube.scene_track.values) == {"A137"}
    assert str(cube.time.values[0])[:10] == "2021-11-19"
    assert str(cube.time.values[-1])[:10] == "2025-01-02"
    assert cube.indexes["time"].is_monotonic_increasing
    assert cube.indexes["time"].is_unique
    assert cube.attrs["missing_polarisations"] == cube.attrs["duplicates_dropped"] == []
    assert [identifier.split("_")[4][:8] for identifier in cube.item_ids.values] == [
        f"{time:%Y%m%d}" for time in cube.indexes["time"]
    ]

    for band, lowest, highest in (("vv", -20, 0), ("vh", -28, -6)):
        decibel = 10 * np.log10(cube[band].values)
        low, median, high = np.nanquantile(decibel, [0.05, 0.5, 0.95])
        assert lowest < low < median < high < highest, (band, low, median, high)
    # Cross-polarised backscatter is weaker, by 4 to 12 dB on land.
    ratio = 10 * np.log10(np.nanmedian(cube.vv.values) / np.nanmedian(cube.vh.values))
    assert 4 < ratio < 12


@pytest.mark.parametrize("place", PLACES)
def test_ragged_extents_are_covered_where_the_files_are(items, place):
    here = of_place(items, place)
    cube = sc.load(here, resolution=30).load()
    shapes = {}
    for item in here:
        with rasterio.open(item.assets["vv"].href) as dataset:
            shapes[item.id] = dataset.shape
            values = dataset.read(1)
        step = cube.vv.sel(time=cube.item_ids == item.id).values[0]
        rows, columns = values.shape
        np.testing.assert_array_equal(step[:rows, :columns], np.where(values > 0, values, np.nan))
        assert np.isnan(step[rows:]).all()
        assert np.isnan(step[:, columns:]).all()
    assert set(shapes.values()) == {(100, 100), (25, 25)}
    covered = cube.vv.notnull().mean(["y", "x"])
    assert float(covered.max()) > 0.99
    assert float(covered.min()) == pytest.approx(1 / 16, rel=0.02)


def test_search_finds_the_dates_of_an_event(items):
    event = sc.Event("nothing slid", bbox=tuple(of_place(items, PLACES[0])[0].bbox), time="2024-09-20")
    found = sc.search(event, catalog=items, pre_days=60, post_days=12)
    table = sc.availability(found, event)
    assert set(table.index.get_level_values("track")) == {"A137"}
    assert table.loc[("A137", "60-12"), ["before", "after"]].tolist() == [5, 1]
    cube = sc.load(found, bbox=event.bbox, resolution=30)
    assert cube.vv.chunks[0] == (1,) * 6
    whole = sc.load(found, bbox=event.bbox, resolution=30, chunks={"time": -1, "y": 17, "x": 31})
    xr.testing.assert_equal(cube.compute(), whole.compute())


def test_four_places_are_one_pass(items):
    """Bursts of one flight, seconds and tens of kilometres apart, share their time step."""
    one_day = [item for item in items if item.id.split("_")[4].startswith("20241209")]
    assert len(one_day) == 4
    cube = sc.load(one_day, resolution=300)
    assert cube.sizes["time"] == 1
    assert len(cube.item_ids.values[0].split(",")) == 4


@pytest.mark.parametrize("moment", ["2023-12-05", "2024-09-20"])  # full extents; ragged ones among the dates before
def test_the_demos_detector_where_nothing_slid(items, moment, tmp_path):
    """Every detection here is a false alarm. The model knows simulated events only, and 10 m, not 30 m resampled."""
    flagged, scored = 0, 0
    for place in PLACES:
        here = of_place(items, place)
        event = sc.Event(f"{place}, nothing slid", bbox=tuple(here[0].bbox), time=moment)
        cube = sc.load(sc.search(event, catalog=pystac.ItemCollection(here), post_days=24), resolution=10)
        sc.write_cube(cube, tmp_path / f"{place}.zarr")
        cube = sc.open_cube(tmp_path / f"{place}.zarr")
        result = sc.map_landslides(cube, event, tmp_path / place, model=sc.load_model("cnn-vv-vh"), post_days=24)
        scores = result.scores["A137"].to_numpy()
        assert np.isfinite(scores).all()
        flagged += int((scores >= sc.load_model("cnn-vv-vh").spec.threshold).sum())
        scored += int(np.isfinite(scores).sum())
        stack = sc.composite(cube, event, track="A137", post_days=24).compute()
        assert abs(float(stack.sel(band="vv_diff").median())) < 3
        assert not cube.attrs.get("simulated")
    print(f"\nCalifornia, {moment}, nothing slid: {flagged} of {scored} windows flagged ({flagged / scored:.1%})")
    assert scored > 200
