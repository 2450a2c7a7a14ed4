from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import make_inventory, make_stack, pixel_box

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.gaps import count_gaps, fill_gaps, window_sums
from sarcube.labels import pixels
from sarcube.labels.patches import concatenate_patches, patches_from_arrays
from sarcube.labels.rasterise import rasterise_inventory


def test_patches_are_cut_on_a_grid_without_overlap():
    stack = make_stack(100, 70)
    patches = sc.sample_patches(stack, make_inventory((0, 0, 4, 4)), size=16)
    assert patches.images.shape == (6 * 4, 4, 16, 16)
    assert patches.images.dtype == np.float32
    assert patches.bands == tuple(stack["band"].to_numpy())
    assert (patches.events == "test").all()
    assert (patches.tracks == "D164").all()
    origins = list(zip(patches.table["y0"], patches.table["x0"], strict=True))
    assert origins == [(y, x) for y in range(0, 96, 16) for x in range(0, 64, 16)]
    for image, (y, x), box in zip(patches.images, origins, patches.to_frame().geometry, strict=True):
        np.testing.assert_array_equal(image, stack.to_numpy()[:, y : y + 16, x : x + 16])
        assert box.equals(pixel_box(y, x, y + 16, x + 16))


def test_a_patch_is_a_landslide_above_the_fraction_not_at_it():
    inventory = make_inventory((0, 0, 1, 16), (16, 0, 17, 16), (17, 0, 18, 1))  # 16 and 17 of 256 pixels
    patches = sc.sample_patches(make_stack(32, 16), inventory, size=16, min_landslide_fraction=16 / 256)
    assert patches.fraction.tolist() == [16 / 256, 17 / 256]
    assert patches.labels.tolist() == [False, True]


def test_a_landslide_that_the_track_does_not_see_is_neither_landslide_nor_background():
    everything = make_inventory((0, 0, 8, 8), (0, 16, 8, 24), (0, 32, 8, 40))
    seen = make_inventory((0, 0, 8, 8), (0, 16, 3, 19))  # the second in part, the third not at all
    patches = sc.sample_patches(make_stack(16, 64), everything, cleaned=seen, size=16)
    assert patches.table["x0"].tolist() == [0, 48]
    assert patches.labels.tolist() == [True, False]
    assert patches.fraction.tolist() == [0.25, 0]  # of all that is there


def test_patches_lie_wholly_in_the_region_that_was_mapped():
    region = gpd.GeoSeries([pixel_box(0, 0, 32, 40), pixel_box(0, 40, 16, 64)], crs="EPSG:32647").to_crs("EPSG:4326")
    grown = region.to_crs("EPSG:32647").buffer(0.01).to_crs("EPSG:4326")  # rounding on the way to degrees and back
    patches = sc.sample_patches(make_stack(48, 80), make_inventory(), region=grown, size=16)
    origins = set(zip(patches.table["y0"], patches.table["x0"], strict=True))
    assert origins == {(0, 0), (0, 16), (0, 32), (0, 48), (16, 0), (16, 16)}
    with pytest.raises(InputError, match="the region has no coordinate"):
        sc.sample_patches(make_stack(48, 80), make_inventory(), region=gpd.GeoSeries([pixel_box(0, 0, 9, 9)]), size=16)


def test_a_region_across_the_antimeridian_holds_the_patches_of_both_sides():
    stack = make_stack(16, 64).drop_vars("spatial_ref")
    degrees = {"x": 179.9967 + 1e-4 * (np.arange(64) + 0.5), "y": 45 - 1e-4 * (np.arange(16) + 0.5)}
    stack = stack.assign_coords(degrees).rio.write_crs("EPSG:4326")
    sides = [shapely.box(179.99, 44.99, 180, 45.01), shapely.box(-180, 44.99, -179.99, 45.01)]
    both = gpd.GeoSeries([shapely.MultiPolygon(sides)], crs="EPSG:4326")
    assert len(sc.sample_patches(stack, make_inventory(), region=both, size=16)) == 4
    west = gpd.GeoSeries(sides[:1], crs="EPSG:4326")
    assert sc.sample_patches(stack, make_inventory(), region=west, size=16).table["x0"].tolist() == [0, 16]


def test_a_region_that_no_patch_can_lie_in_is_refused_and_an_invalid_one_repaired():
    bow_tie = shapely.Polygon([pixel_box(0, 0, 32, 32).exterior.coords[n] for n in (0, 2, 1, 3)])
    region = gpd.GeoSeries([bow_tie, pixel_box(0, 0, 32, 16), None], crs="EPSG:32647")
    patches = sc.sample_patches(make_stack(32, 32), make_inventory(), region=region, size=16)
    assert list(zip(patches.table["y0"], patches.table["x0"], strict=True)) == [(0, 0), (16, 0)]
    for nothing in ([], [None], [shapely.Polygon()]):
        region = gpd.GeoSeries(nothing, crs="EPSG:32647")
        with pytest.raises(InputError, match="region holds no polygon"):
            sc.sample_patches(make_stack(32, 32), make_inventory(), region=region, size=16)
    point = gpd.GeoSeries([shapely.Point(0, 0)], crs="EPSG:32647")
    with pytest.raises(InputError, match="the region must hold polygons"):
        sc.sample_chips(make_stack(32, 32), make_inventory(), region=point, size=16)


def test_one_missing_pixel_is_filled_and_two_discard_the_patch():
    stack = make_stack(16, 48)
    complete = stack.to_numpy().copy()
    stack[1, 3, 4] = np.nan
    stack[0, 5, 20], stack[1, 5, 21] = np.nan, np.inf
    patches = sc.sample_patches(stack, make_inventory(), size=16)
    assert patches.table["x0"].tolist() == [0, 32]
    assert np.isfinite(patches.images).all()
    others = np.delete(complete[1, :, :16].ravel(), 3 * 16 + 4)
    assert patches.images[0, 1, 3, 4] == np.median(others)
    np.testing.assert_array_equal(patches.images[0, 0], complete[0, :, :16])
    assert np.isnan(stack.to_numpy()[1, 3, 4])  # what was given stays as it was
    np.testing.assert_array_equal(patches.images, patches.load().images)


@pytest.mark.parametrize("stride", [16, 8, 5])
def test_dask_gives_the_same_patches_for_odd_chunks(stride, monkeypatch):
    monkeypatch.setattr(pixels, "TILE", 37)  # several tiles in a small stack
    monkeypatch.setattr("sarcube.labels.sampling.TILE", 37)
    stack, inventory = make_stack(70, 90), make_inventory((5, 5, 30, 30))
    stack[:, 40:44, 50:60] = np.nan
    eager = sc.sample_patches(stack, inventory, size=16, stride=stride)
    lazy = sc.sample_patches(stack.chunk({"band": 3, "y": 13, "x": 17}), inventory, size=16, stride=stride)
    assert eager.table.equals(lazy.table)
    np.testing.assert_array_equal(eager.images, lazy.images)
    # And both are what one sees without tiles.
    label = rasterise_inventory(inventory, stack)
    rows, columns = np.arange(0, 70 - 15, stride), np.arange(0, 90 - 15, stride)
    usable = count_gaps(stack.to_numpy(), rows, columns, 16) <= 1
    assert len(eager) == usable.sum()
    np.testing.assert_array_equal(eager.fraction, window_sums(label, rows, columns, 16)[usable] / 256)


def test_pixels_are_read_when_they_are_asked_for_and_each_tile_once(monkeypatch):
    monkeypatch.setattr(pixels, "TILE", 32)
    asked = []

    def note(block, block_info=None):
        asked.append(tuple(block_info[0]["chunk-location"]))
        return block

    stack = make_stack(96, 96)
    lazy = stack.chunk({"y": 32, "x": 32})
    lazy.data = lazy.data.map_blocks(note, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32))
    patches = sc.sample_patches(lazy, make_inventory(), size=16)
    asked.clear()
    chosen = patches.subset(np.flatnonzero((patches.table["y0"] >= 32) & (patches.table["x0"] < 64)))
    assert asked == []
    images = chosen.read(np.random.default_rng(0).permutation(len(chosen)))
    assert sorted(asked) == [(0, 1, 0), (0, 1, 1), (0, 2, 0), (0, 2, 1)]
    assert images.shape == (16, 4, 16, 16)
    assert chosen.load().is_loaded
    assert not chosen.is_loaded


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_reading_keeps_the_order_asked_for(seed):
    draws = np.random.default_rng(seed)
    patches = concatenate_patches(
        [sc.sample_patches(make_stack(64, 48, seed=n).chunk({"y": 20}), make_inventory(), size=16) for n in (1, 2)]
    )
    chosen = draws.integers(0, len(patches), 10)  # some twice
    np.testing.assert_array_equal(patches.read(chosen), patches.load().images[chosen])
    np.testing.assert_array_equal(patches.subset(chosen).images, patches.images[chosen])


def test_a_mask_is_no_index():
    patches = sc.sample_patches(make_stack(32, 32), make_inventory(), size=16)
    assert patches.read([]).shape == (0, 4, 16, 16)
    with pytest.raises(InputError, match=r"not a mask: patches\.subset"):
        patches.read([False, True, False, True])


def test_vv_alone_has_the_patches_of_both_polarisations():
    stack = make_stack(32, 48)
    stack[1, :16, :16] = np.nan  # VH is missing there: neither has the patch
    both = sc.sample_patches(stack, make_inventory(), size=16)
    for patches in (both, both.load()):
        vv = patches.select_bands(("vv_post", "vv_diff"))
        assert vv.bands == ("vv_post", "vv_diff")
        assert vv.table.equals(both.table)
        np.testing.assert_array_equal(vv.images, both.images[:, [0, 2]])
    with pytest.raises(BandError, match="not hh_post"):
        both.select_bands(("hh_post",))


def test_chips_have_masks_and_keep_what_is_missing():
    stack = make_stack(64, 96)
    stack[2, 3:9, 4:20] = np.nan
    stack[:, 32:, 64:] = np.nan
    inventory = make_inventory((10, 10, 12, 13), (40, 70, 60, 90), (0, 31, 1, 32))
    chips = sc.sample_chips(stack.chunk({"y": 10, "x": 30}), inventory, size=32)
    assert list(zip(chips.table["y0"], chips.table["x0"], strict=True)) == [(0, 0)]  # the other landslide has no data
    np.testing.assert_array_equal(chips.images[0], stack.to_numpy()[:, :32, :32])
    np.testing.assert_array_equal(chips.read_masks([0])[0], rasterise_inventory(inventory, stack)[:32, :32])
    assert chips.read_masks([0]).sum() == 7
    everything = sc.sample_chips(stack, inventory, size=32, background=True)
    assert len(everything) == 5
    assert everything.labels.tolist() == [True, False, False, False, False]
    loaded = everything.load()
    np.testing.assert_array_equal(loaded.read_masks(range(5)), everything.read_masks(range(5)))
    np.testing.assert_array_equal(loaded.images, everything.images)
    assert len(sc.sample_chips(stack, inventory, size=32, min_landslide_pixels=8)) == 0
    with pytest.raises(InputError, match="at least 1"):
        sc.sample_chips(stack, inventory, size=32, min_landslide_pixels=0)


def test_a_landslide_that_is_not_seen_is_neither_in_a_mask():
    inventory, seen = make_inventory((2, 2, 6, 6), (10, 10, 12, 14)), make_inventory((2, 2, 6, 4))
    for stack in (make_stack(32, 32), make_stack(32, 32).chunk({"y": 7, "x": 9})):
        chips = sc.sample_chips(stack, inventory, cleaned=seen, size=16, background=True)
        mask = chips.read_masks([0])[0]
        assert (mask[2:6, 2:4] == 1).all()
        assert (mask[2:6, 4:6] == 255).all()
        assert (mask[10:12, 10:14] == 255).all()
        assert (mask == 0).sum() == 256 - 16 - 8
        assert chips.labels.tolist() == [True, False, False, False]
    assert len(sc.sample_chips(stack, inventory, cleaned=make_inventory(), size=16)) == 0


def test_joining_and_selecting():
    a = sc.sample_patches(make_stack(32, 32), make_inventory((0, 0, 16, 16)), size=16)
    b = sc.sample_patches(make_stack(16, 16, seed=1), make_inventory(), size=16)
    for both in (concatenate_patches([a, b]), concatenate_patches([a.load(), b.load()])):
        assert len(both) == 5
        assert both.labels.tolist() == [True, False, False, False, False]
        np.testing.assert_array_equal(both.images[4], b.images[0])
        assert both.tiles.tolist() == [0, 0, 0, 0, 1]
        chosen = both.subset(both.labels)
        assert len(chosen) == 1
        assert str(chosen) == "1 patches of 16 x 16 pixels, 1 of them landslides (test D164)"


def test_patches_that_do_not_fit_together_are_refused():
    a = sc.sample_patches(make_stack(32, 32), make_inventory((0, 0, 9, 9)), size=16)
    with pytest.raises(BandError, match="different bands"):
        concatenate_patches([a, sc.sample_patches(make_stack(32, 32, bands=("vv_post",)), make_inventory(), size=16)])
    with pytest.raises(InputError, match="different sizes"):
        concatenate_patches([a, sc.sample_patches(make_stack(32, 32), make_inventory(), size=32)])
    with pytest.raises(InputError, match="no patches"):
        concatenate_patches([])
    with pytest.raises(InputError, match=r"call \.load\(\)"):
        concatenate_patches([a, a.load()])
    with pytest.raises(InputError, match="with masks and patches without"):
        concatenate_patches([a, sc.sample_chips(make_stack(32, 32), make_inventory((0, 0, 9, 9)), size=16)])
    with pytest.raises(InputError, match="different radiometry"):
        concatenate_patches([a, replace(a, radiometry="gamma0 RTC, dB")])
    with pytest.raises(InputError, match="sample_chips makes some"):
        a.read_masks([0])


def test_the_radiometry_of_the_stack_is_kept():
    stack = make_stack(32, 32).assign_attrs(radiometry="sigma0 on the ellipsoid, dB")
    assert sc.sample_patches(stack, make_inventory(), size=16).radiometry == "sigma0 on the ellipsoid, dB"


def test_arrays_become_patches():
    images = np.random.default_rng(0).normal(size=(3, 2, 8, 8))
    patches = patches_from_arrays(images, np.array([True, False, False]), bands=("a", "b"), event="e")
    assert patches.images.dtype == np.float32
    assert np.isnan(patches.fraction).all()
    assert str(patches) == "3 patches of 8 x 8 pixels, 1 of them landslides (e)"
    masks = np.ones((3, 8, 8), np.uint8)
    images[0, 0, 0] = np.nan
    with_masks = patches_from_arrays(images, np.ones(3, bool), bands=("a", "b"), masks=masks)
    assert np.isnan(with_masks.images[0, 0, 0]).all()
    np.testing.assert_array_equal(with_masks.read_masks([1]), masks[:1])
    assert patches_from_arrays(images, np.array([1, 0, 1]), bands=("a", "b")).labels.tolist() == [True, False, True]
    for labels in ([0.2, 0, 1], [np.nan, 0, 1]):
        with pytest.raises(InputError, match="labels must be True and False"):
            patches_from_arrays(images, np.array(labels), bands=("a", "b"))
    with pytest.raises(InputError, match=r"labels must have the shape \(n,\)"):
        patches_from_arrays(images, np.ones((3, 1), bool), bands=("a", "b"))
    for value in (255, 0.7):
        with pytest.raises(InputError, match=r"masks must be .*: masks > 0, perhaps"):
            patches_from_arrays(images, np.ones(3, bool), bands=("a", "b"), masks=masks * value)
    with pytest.raises(InputError, match=r"fraction must have the shape \(3,\)"):
        patches_from_arrays(images, np.ones(3, bool), bands=("a", "b"), fraction=np.zeros(2))
    with pytest.raises(InputError, match=r"images must have the shape \(3, 1"):
        patches_from_arrays(images, np.ones(3, bool), bands=("a",))
    with pytest.raises(InputError, match="masks must have the shape"):
        patches_from_arrays(images, np.ones(3, bool), bands=("a", "b"), masks=masks[:2])


def test_stacks_and_options_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="does not fit"):
        sc.sample_patches(make_stack(32, 32), make_inventory())
    with pytest.raises(InputError, match="min_landslide_fraction"):
        sc.sample_patches(make_stack(64, 64), make_inventory(), min_landslide_fraction=5)
    with pytest.raises(InputError, match="dimensions"):
        sc.sample_patches(make_stack(64, 64)[0], make_inventory())
    with pytest.raises(InputError, match="set_crs"):
        sc.sample_patches(make_stack(64, 64), make_inventory().set_crs(None, allow_override=True))


def test_an_inventory_that_lies_elsewhere_is_mentioned(caplog):
    patches = sc.sample_patches(make_stack(64, 64), make_inventory((500, 500, 600, 600)))
    assert "none of the 1 landslides" in caplog.text
    assert not patches.labels.any()


def test_a_stack_without_a_valid_window_has_no_patches():
    stack = make_stack(64, 64)
    stack[:] = np.nan
    patches = sc.sample_patches(stack, make_inventory(), size=16)
    assert len(patches) == 0
    assert patches.images.shape == (0, 4, 16, 16)
    assert len(patches.load()) == 0


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(max_examples=40)
def test_gap_counts_are_those_of_counting(seed, size):
    draws = np.random.default_rng(seed)
    image = draws.normal(size=(2, 20, 17)).astype(np.float32)
    image[draws.random(image.shape) < 0.1] = np.nan
    rows, columns = np.arange(20 - size + 1), np.arange(0, 17 - size + 1, 2)
    counts = count_gaps(image, rows, columns, size)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            assert counts[i, j] == np.isnan(image[:, y : y + size, x : x + size]).any(axis=0).sum()


def test_gaps_that_break_the_rule_are_refused():
    windows = np.zeros((1, 2, 4, 4), np.float32)
    windows[0, :, 0, 0] = windows[0, 1, 2, 2] = np.nan
    with pytest.raises(InputError, match="2 pixels"):
        fill_gaps(windows)
    with pytest.raises(InputError, match="integer"):
        window_sums(np.zeros((4, 4)), np.array([0]), np.array([0]), 2)
