import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcube.labels.order import draw_epoch, reading_order


@given(st.integers(0, 10_000), st.integers(0, 200), st.integers(1, 12), st.integers(1, 70), st.booleans())
def test_every_chosen_patch_comes_once(seed, n, most_tiles, at_once, shuffled):
    draws = np.random.default_rng(seed)
    tiles = draws.integers(0, most_tiles, n)
    chosen = np.flatnonzero(draws.random(n) < 0.6)
    shares = reading_order(tiles, chosen, draws=draws if shuffled else None, at_once=at_once)
    assert sorted(np.concatenate([*shares, np.zeros(0, int)]).tolist()) == chosen.tolist()
    assert all(len(share) == at_once for share in shares[:-1])
    # A tile lies in as many shares as its patches need, or one more.
    for tile in np.unique(tiles[chosen]):
        inside = [share for share in shares if (tiles[share] == tile).any()]
        assert len(inside) <= -(-(tiles[chosen] == tile).sum() // at_once) + 1


def test_the_order_follows_from_the_draws_alone():
    tiles = np.repeat(np.arange(10), 20)
    chosen = np.arange(200)

    def order(seed, chosen=chosen):
        return np.concatenate(reading_order(tiles, chosen, draws=np.random.default_rng(seed), at_once=64))

    np.testing.assert_array_equal(order(1), order(1))
    np.testing.assert_array_equal(order(1), order(1, chosen[::-1]))
    assert (order(1) != order(2)).any()


def test_a_share_is_a_mix_of_tiles_and_of_places_in_them():
    tiles = np.repeat(np.arange(40), 25)
    shares = reading_order(tiles, np.arange(1000), draws=np.random.default_rng(0), at_once=250)
    for share in shares:
        changes = (np.diff(tiles[share]) != 0).mean()
        assert changes > 0.8  # neighbours in the order are seldom of one tile
        assert len(np.unique(tiles[share])) in (10, 11)


def test_without_draws_patches_come_tile_by_tile():
    tiles = np.array([2, 0, 1, 0, 2, 1])
    (share,) = reading_order(tiles, np.arange(6))
    assert share.tolist() == [1, 3, 2, 5, 0, 4]
    assert reading_order(tiles, np.zeros(0, int)) == []


def test_an_epoch_takes_all_landslides_and_a_fresh_draw_of_the_background():
    labels = np.arange(1000) < 10
    draws = np.random.default_rng(0)
    first, second = draw_epoch(labels, 5, draws), draw_epoch(labels, 5, draws)
    for chosen in (first, second):
        assert len(chosen) == len(set(chosen)) == 60
        assert labels[chosen].sum() == 10
        assert (np.diff(chosen) > 0).all()
    assert set(first) != set(second)
    assert draw_epoch(labels, None, draws).tolist() == list(range(1000))
    assert len(draw_epoch(labels, 1e6, draws)) == 1000


@pytest.mark.parametrize("ratio", [0.01, 1, 1.2])
def test_the_background_is_never_none(ratio):
    labels = np.arange(50) < 20
    chosen = draw_epoch(labels, ratio, np.random.default_rng(0))
    assert (~labels[chosen]).sum() == max(1, round(ratio * 20))
