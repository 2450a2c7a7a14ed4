import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import make_inventory, make_stack

from sarcube.errors import BandError, InputError
from sarcube.gaps import count_gaps, fill_gaps, window_sums
from sarcube.labels.patches import concatenate_patches, sample_patches


def test_patches_are_cut_on_a_grid_without_overlap():
    stack = make_stack(100, 70)
    patches = sample_patches(stack, make_inventory((0, 0, 4, 4)), size=16)
    assert patches.images.shape == (6 * 4, 4, 16, 16)
    assert patches.images.dtype == np.float32
    assert patches.bands == tuple(stack["band"].to_numpy())
    assert sorted(zip(patches.y0.tolist(), patches.x0.tolist(), strict=True)) == [
        (y, x) for y in range(0, 96, 16) for x in range(0, 64, 16)
    ]
    for image, y, x in zip(patches.images, patches.y0, patches.x0, strict=True):
        np.testing.assert_array_equal(image, stack.to_numpy()[:, y : y + 16, x : x + 16])


def test_a_patch_is_a_landslide_above_the_fraction_not_at_it():
    inventory = make_inventory((0, 0, 1, 16), (16, 0, 17, 16), (17, 0, 18, 1))  # 16 and 17 of 256 pixels
    patches = sample_patches(make_stack(32, 16), inventory, size=16, min_landslide_fraction=16 / 256)
    assert patches.fraction.tolist() == [16 / 256, 17 / 256]
    assert patches.labels.tolist() == [False, True]


def test_one_missing_pixel_is_filled_and_two_discard_the_patch():
    stack = make_stack(16, 48)
    complete = stack.to_numpy().copy()
    stack[1, 3, 4] = np.nan
    stack[0, 5, 20], stack[1, 5, 21] = np.nan, np.inf
    patches = sample_patches(stack, make_inventory(), size=16)
    assert patches.x0.tolist() == [0, 32]
    assert np.isfinite(patches.images).all()
    others = np.delete(complete[1, :, :16].ravel(), 3 * 16 + 4)
    assert patches.images[0, 1, 3, 4] == np.median(others)
    np.testing.assert_array_equal(patches.images[0, 0], complete[0, :, :16])


def test_dask_gives_the_same_patches_for_odd_chunks():
    stack, inventory = make_stack(70, 90), make_inventory((5, 5, 30, 30))
    eager = sample_patches(stack, inventory, size=16, stride=8)
    lazy = sample_patches(stack.chunk({"band": 3, "y": 13, "x": 17}), inventory, size=16, stride=8)
    np.testing.assert_array_equal(eager.images, lazy.images)
    np.testing.assert_array_equal(eager.fraction, lazy.fraction)
    assert len(eager) == 7 * 10


def test_joining_and_selecting():
    a = sample_patches(make_stack(32, 32), make_inventory((0, 0, 16, 16)), size=16)
    b = sample_patches(make_stack(16, 16, seed=1), make_inventory(), size=16)
    both = concatenate_patches([a, b])
    assert len(both) == 5
    assert both.labels.tolist() == [True, False, False, False, False]
    np.testing.assert_array_equal(both.images[4], b.images[0])
    chosen = both.subset(both.labels)
    assert len(chosen) == 1
    assert str(chosen) == "1 patches of 16 x 16 pixels, 1 of them landslides"


def test_patches_that_do_not_fit_together_are_refused():
    a = sample_patches(make_stack(32, 32), make_inventory(), size=16)
    with pytest.raises(BandError, match="different bands"):
        concatenate_patches([a, sample_patches(make_stack(32, 32, bands=("vv_post",)), make_inventory(), size=16)])
    with pytest.raises(InputError, match="different sizes"):
        concatenate_patches([a, sample_patches(make_stack(32, 32), make_inventory(), size=32)])
    with pytest.raises(InputError, match="no patches"):
        concatenate_patches([])


def test_stacks_and_options_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="does not fit"):
        sample_patches(make_stack(32, 32), make_inventory())
    with pytest.raises(InputError, match="min_landslide_fraction"):
        sample_patches(make_stack(64, 64), make_inventory(), min_landslide_fraction=5)
    with pytest.raises(InputError, match="dimensions"):
        sample_patches(make_stack(64, 64)[0], make_inventory())


def test_an_inventory_that_lies_elsewhere_is_mentioned(caplog):
    sample_patches(make_stack(64, 64), make_inventory((500, 500, 600, 600)))
    assert "none of the 1 landslides" in caplog.text


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
