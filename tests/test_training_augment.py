import itertools

import numpy as np
import pytest

from sarcube.training.augment import augmented

EVERYTHING = ("flip_y", "flip_x", "rotate", "zoom", "translate")


def numbered(n=64, size=20):
    """Images whose pixels tell which they are, and masks that tell the same."""
    pixels = np.arange(n * size * size, dtype=np.float32).reshape(n, size, size)
    return np.stack([pixels, pixels + 0.5], axis=1), pixels


def test_flip_y_mirrors_about_half_north_to_south_and_does_nothing_else():
    images, masks = numbered()
    after, _ = augmented(images, masks, ("flip_y",), np.random.default_rng(0))
    changed = 0
    for one, other in zip(images, after, strict=True):
        np.testing.assert_array_equal(other, one[:, ::-1] if (one != other).any() else one)
        changed += int((one != other).any())
    assert 16 < changed < 48


def test_flip_x_mirrors_east_to_west():
    images, _ = numbered()
    after, _ = augmented(images, None, ("flip_x",), np.random.default_rng(0))
    mirrored = [not np.array_equal(one, other) for one, other in zip(images, after, strict=True)]
    assert 16 < sum(mirrored) < 48
    np.testing.assert_array_equal(after[mirrored], images[mirrored][..., ::-1])


def test_rotate_turns_by_quarters():
    images, _ = numbered()
    after, _ = augmented(images, None, ("rotate",), np.random.default_rng(0))
    turns = [
        next(k for k in range(4) if np.array_equal(np.rot90(one, k, axes=(1, 2)), other))
        for one, other in zip(images, after, strict=True)
    ]
    assert set(turns) == {0, 1, 2, 3}


def test_translate_moves_the_window_and_reflects_at_its_edges():
    images, _ = numbered(400)
    after, _ = augmented(images, None, ("translate",), np.random.default_rng(0))
    moves = {}
    for one, other in zip(images, after, strict=True):
        padded = np.pad(one, ((0, 0), (2, 2), (2, 2)), mode="symmetric")
        moves[one[0, 0, 0]] = next(
            (y, x)
            for y, x in itertools.product(range(5), repeat=2)
            if np.array_equal(padded[:, y : y + 20, x : x + 20], other)
        )
    assert set(moves.values()) == set(itertools.product(range(5), repeat=2))  # a tenth of 20 pixels at most


def test_zoom_enlarges_or_reduces_by_a_tenth_at_most_around_the_middle():
    size = 61
    rows = np.broadcast_to(np.arange(size, dtype=np.float32)[:, None], (300, 1, size, size))
    after, _ = augmented(rows, None, ("zoom",), np.random.default_rng(0))
    inner = after[:, 0, 10:51, 0]  # no reflection here
    assert (inner[:, 20] == 30).all()
    spans = (inner[:, -1] - inner[:, 0]) / 40
    assert 0.9 <= spans.min() < 0.95
    assert 1.07 < spans.max() <= 1.15
    assert (np.diff(inner, axis=1) >= 0).all()
    columns = rows.swapaxes(2, 3)
    np.testing.assert_array_equal(
        augmented(columns, None, ("zoom",), np.random.default_rng(0))[0], after.swapaxes(2, 3)
    )


@pytest.mark.parametrize("names", [(), *((name,) for name in EVERYTHING), EVERYTHING])
def test_image_and_mask_move_alike_and_no_value_is_made_up(names):
    images, masks = numbered()
    kept_images, kept_masks = images.copy(), masks.copy()
    after, masks_after = augmented(images, masks, names, np.random.default_rng(3))
    np.testing.assert_array_equal(after[:, 0], masks_after)
    np.testing.assert_array_equal(after[:, 1], masks_after + 0.5)
    for number, mask in enumerate(masks_after):
        assert np.isin(mask, masks[number]).all()
    np.testing.assert_array_equal(images, kept_images)
    np.testing.assert_array_equal(masks, kept_masks)


def test_draws_decide_and_the_order_of_the_names_does_not():
    images, masks = numbered()
    first, _ = augmented(images, masks, EVERYTHING, np.random.default_rng(1))
    again, _ = augmented(images, None, EVERYTHING[::-1], np.random.default_rng(1))
    other, _ = augmented(images, masks, EVERYTHING, np.random.default_rng(2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # One patch's fate depends on the draws, not on the pixels of the others.
    images[1:] = 0
    np.testing.assert_array_equal(augmented(images, None, EVERYTHING, np.random.default_rng(1))[0][0], first[0])
