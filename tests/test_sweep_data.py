"""The papers' data sets: which events, tracks and bands are in each, on the same patches where they are compared."""

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

import sarcube as sc
from sarcube.change.bands import BOEHM_2022, NAVA_2021
from sarcube.errors import BandError, InputError, NoSceneError
from sarcube.events import BUFFERS
from sarcube.labels.splits import Split

GEOBOX = GeoBox((280, 260), Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")
BBOX = (15.0, 47.015, 15.035, 47.04)
DAYS = (-300, -200, -50, -38, -26, -14, -2, 10, 22, 34, 46, 58)


def mapped(name, *, seed=0, tracks=("A044", "D168"), polarisations=("vv", "vh"), days=DAYS, chunks=(1, 100, 90)):
    """Gamma-distributed power of some tracks, layers of the ground, and landslides in the first rows of windows."""
    draws = np.random.default_rng(seed)
    when = [(day, track) for day in days for track in tracks]
    shape = (len(when), *GEOBOX.shape)
    power = {p: draws.gamma(4, 0.02, shape).astype(np.float32) for p in polarisations}
    layers = {
        n: draws.normal(size=GEOBOX.shape).astype(np.float32) for n in ("elevation", "curvature", "slope", "aspect")
    }
    cube = xr.Dataset(
        {
            **{p: (("time", "y", "x"), da.from_array(values, chunks=chunks)) for p, values in power.items()},
            **{n: (("y", "x"), values) for n, values in layers.items()},
        },
        coords={
            **xr_coords(GEOBOX, dims=("y", "x")),
            "time": [pd.Timestamp("2021-06-01") + pd.Timedelta(days=day, hours=int(t[0] == "A")) for day, t in when],
            "scene_track": ("time", np.array([track for _, track in when], object)),
        },
    )
    box = GEOBOX.extent.boundingbox
    shapes = [
        shapely.box(box.left + x, box.top - 900, box.left + x + 300, box.top - 200) for x in range(100, 2800, 650)
    ]
    return sc.SweepEvent(sc.Event(name, BBOX, "2021-06-01"), cube, gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32633"))


def whole(patches):
    """All patches in each part."""
    return Split(patches, patches, patches)


def test_the_forty_configurations_are_lazy():
    def nothing_may_compute(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=nothing_may_compute):
        data = sc.nava_2026_data([mapped("one")])
    assert len(data) == 40
    labels = [dict(key) for key in data]
    assert {name: {label[name] for label in labels} for name in labels[0]} == {
        "bands": {"VV", "VV_VH"},
        "orbit": {"ascending", "descending"},
        "buffer": {f"{pre}-{post}" for pre, post in BUFFERS},
    }


def test_both_band_sets_are_learnt_on_the_same_patches_and_split_alike():
    one = mapped("one")
    one.cube["vh"][:, :3, :3] = np.nan  # a window that only VV has
    events = [one, mapped("VV alone", seed=1, polarisations=("vv",)), mapped("two", seed=2)]
    data = sc.nava_2026_data(events, buffers=[(60, 12)], orbits=["descending"])
    vv, both = data.values()
    made_vv, made_both = vv(), both()
    for part_vv, part_both in zip(made_vv, made_both, strict=True):
        assert part_vv.is_loaded
        assert part_both.bands == ("vv_post", "vh_post", "vv_diff", "vh_diff")
        assert set(part_both.events) == {"one", "two"}
        assert set(part_vv.events) == {"one", "two", "VV alone"}
        assert set(part_vv.tracks) == {"D168"}
        shared = part_vv.subset(part_vv.events != "VV alone")
        columns = ["event", "y0", "x0", "landslide"]
        pd.testing.assert_frame_equal(shared.table[columns], part_both.table[columns])
        np.testing.assert_array_equal(shared.images, part_both.images[:, [0, 2]])
    assert len(made_both.test)


def test_a_data_set_is_what_sampling_by_hand_gives():
    event = mapped("one")
    data = sc.nava_2026_data([event], split=whole)
    made = data[("bands", "VV_VH"), ("orbit", "ascending"), ("buffer", "60-24")]()
    stack = sc.composite(event.cube, event.event, track="A044", pre_days=60, post_days=24)
    expected = sc.sample_patches(stack, event.inventory)
    np.testing.assert_array_equal(made.test.images, expected.images)
    pd.testing.assert_frame_equal(made.test.table, expected.table)
    assert 0 < made.test.labels.sum() < len(made.test)


def test_cleaned_inventories_and_the_region_are_heeded():
    event = mapped("one")
    box = GEOBOX.extent.boundingbox
    west = gpd.GeoSeries([shapely.box(box.left, box.bottom, box.left + 1300, box.top)], crs="EPSG:32633")
    seen = {"A044": event.inventory.iloc[:0], "D168": event.inventory}
    event = sc.SweepEvent(event.event, event.cube, event.inventory, cleaned=seen, region=west)
    data = sc.nava_2026_data([event], bands=["VV"], buffers=[(60, 12)], split=whole)
    ascending, descending = (make().test for make in data.values())
    assert descending.labels.any()
    assert not ascending.labels.any()
    assert descending.table["right"].max() <= box.left + 1300
    event = sc.SweepEvent(event.event, event.cube, event.inventory, cleaned={"A044": event.inventory})
    with pytest.raises(InputError, match="cleaned= has the tracks A044, not D168"):
        sc.nava_2026_data([event], orbits=["descending"])[
            ("bands", "VV"), ("orbit", "descending"), ("buffer", "60-12")
        ]()


def test_what_cannot_be_made_says_why(caplog):
    event = mapped("one", tracks=("A044",), days=(-20, -10, 30))
    data = sc.nava_2026_data([event], split=whole)

    def make(bands, orbit, buffer):
        return data[("bands", bands), ("orbit", orbit), ("buffer", buffer)]()

    with pytest.raises(InputError, match="no event has a track of these data, descending"):
        make("VV", "descending", "60-48")
    with pytest.raises(NoSceneError, match="in the 12 days after"):
        make("VV", "ascending", "60-12")
    assert len(make("VV", "ascending", "60-48").test)
    alone = mapped("VV alone", polarisations=("vv",))
    with pytest.raises(InputError, match="no event has a track"):
        sc.nava_2026_data([alone])[("bands", "VV_VH"), ("orbit", "ascending"), ("buffer", "60-12")]()
    event.cube["vh"] = event.cube["vh"] * np.nan
    assert not len(make("VV", "ascending", "60-48").test)
    assert 'event "one", track A044 has no patch that is valid in all bands' in caplog.text
    with pytest.raises(InputError, match="there is no event"):
        sc.nava_2026_data([])
    with pytest.raises(InputError, match="bands must be one or more of VV, VV_VH"):
        sc.nava_2026_data([event], bands=["VH"])
    with pytest.raises(InputError, match="orbits must be"):
        sc.nava_2026_data([event], orbits=["ascending", "ascending"])


def test_boehms_inputs_and_time_steps():
    event = mapped("one", days=DAYS)
    data = sc.boehm_2022_data([event], split=whole, pre_days=60, post_days=60)
    assert len(data) == 4 * 4 + 1
    assert {dict(key)["steps"] for key in data if dict(key)["inputs"] == "DEM"} == {0}
    made = {name: data[("inputs", name), ("steps", 2)]().test for name in BOEHM_2022 if name != "DEM"}
    made["DEM"] = data[("inputs", "DEM"), ("steps", 0)]().test
    for name, chips in made.items():
        assert chips.bands == BOEHM_2022[name]
        assert set(chips.tracks) == {"A044", "D168"}
        assert chips.size == 128
        pd.testing.assert_frame_equal(chips.table, made["VV"].table)
        assert chips.read_masks(range(len(chips))).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(made["VV+VH+DEM"].images[:, 4:], made["DEM"].images)
    np.testing.assert_array_equal(made["VV+VH+DEM"].images[:, :2], made["VV"].images)
    dates = {"pre_days": 60, "post_days": 60, "pre_steps": 2, "post_steps": 2, "statistic": "mean"}
    stack = sc.composite(event.cube, event.event, track="A044", **dates)
    first = made["VV"].table.iloc[0]
    window = stack.isel(y=slice(first.y0, first.y0 + 128), x=slice(first.x0, first.x0 + 128)).compute()
    np.testing.assert_array_equal(made["VV"].images[0, 1], window.sel(band="vv_post"))
    (only,) = sc.boehm_2022_data([event], inputs={"VV": ["vv_post"]}, steps=[3])
    assert only == (("inputs", "VV"), ("steps", 3))
    with pytest.raises(NoSceneError, match="5 of the 9 scenes"):
        sc.boehm_2022_data([event], steps=[9])[("inputs", "VV"), ("steps", 9)]()


def test_the_eight_band_sets_of_2021():
    event = mapped("one")
    data = sc.nava_2021_data([event], split=whole)
    made = {dict(key)["bands"]: make().test for key, make in data.items()}
    assert list(made) == list(NAVA_2021)
    for name, windows in made.items():
        assert windows.bands == NAVA_2021[name]
        assert windows.size == 25
        pd.testing.assert_frame_equal(windows.table, made["BAD"].table)
    images = made["BAD"].images
    np.testing.assert_allclose(images[:, 1] - images[:, 0], images[:, 2], atol=1e-5)
    bare = sc.SweepEvent(event.event, event.cube.drop_vars("aspect"), event.inventory)
    with pytest.raises(BandError, match="aspect"):
        sc.nava_2021_data([bare])[(("bands", "BAD"),)]()


def test_a_sweep_over_them(tmp_path):
    """From events to the table, over what a cluster would get."""
    events = [mapped("one"), mapped("two", seed=1, tracks=("A044",))]
    data = sc.nava_2026_data(events, buffers=[(60, 12), (12, 12)])
    config = sc.TrainConfig(epochs=1, batch_size=8)
    setting = sc.SweepSetting({"filters": 2}, options={"filters": 2}, config=config)
    with dask.config.set(scheduler="threads", num_workers=2):
        results = sc.sweep(data, [setting], folder=tmp_path)
    assert results["status"].tolist() == ["finished"] * 8, results["message"].tolist()
    table = sc.sweep_table(results, by=("bands", "orbit", "buffer"))
    assert table["n"].tolist() == [1] * 8
    models = [sc.load_model(tmp_path / name) for name in results["weights"]]
    assert [len(model.spec.bands) for model in models] == [2] * 4 + [4] * 4
    assert {model.spec.trained_on for model in models} == {"events one, two", "events one"}
    pd.testing.assert_frame_equal(sc.sweep(data, [setting], folder=tmp_path), results)
