from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcube.errors import InputError
from sarcube.windows import regular_origins, window_blocks, window_origins


@st.composite
def grids(draw):
    size = draw(st.integers(1, 80))
    return draw(st.integers(size, 400)), size, draw(st.integers(1, size))


@given(grids())
def test_every_pixel_lies_in_a_window_and_no_window_leaves_the_axis(grid):
    length, size, stride = grid
    origins = window_origins(length, size, stride)
    covered = set()
    for origin in origins:
        covered.update(range(origin, origin + size))
    assert covered == set(range(length))
    assert all(type(origin) is int for origin in origins)


@given(grids())
def test_all_but_the_last_lie_on_the_regular_grid(grid):
    length, size, stride = grid
    origins = window_origins(length, size, stride)
    assert origins[:-1] == [stride * i for i in range(len(origins) - 1)]
    assert origins[-1] == length - size or (origins[-1] % stride == 0 and origins[-1] + size == length)
    assert all(0 < b - a <= stride for a, b in pairwise(origins))


def test_the_last_window_is_clamped_only_where_the_grid_ends_early():
    assert window_origins(128, 64, 32) == [0, 32, 64]
    assert window_origins(129, 64, 32) == [0, 32, 64, 65]
    assert window_origins(64, 64, 64) == [0]
    assert regular_origins(129, 64, 32) == [0, 32, 64]


@given(grids(), st.integers(1, 20))
def test_blocks_hold_every_window_once_with_all_its_pixels_and_no_more(grid, per_block):
    length, size, stride = grid
    origins = window_origins(length, size, stride)
    blocks = list(window_blocks(origins, size, per_block))
    assert [i for block in blocks for i in range(block.first, block.stop)] == list(range(len(origins)))
    for block in blocks:
        assert block.stop - block.first <= per_block
        assert block.start_pixel == origins[block.first]
        assert block.stop_pixel == origins[block.stop - 1] + size


@pytest.mark.parametrize(
    ("length", "size", "stride", "message"),
    [
        (63, 64, 32, "does not fit"),
        (64, 0, 1, "at least 1 pixel"),
        (64, 8, 0, "stride"),
        (64, 8, 9, "stride"),  # pixels would lie between windows
    ],
)
def test_grids_that_cannot_be_are_refused(length, size, stride, message):
    with pytest.raises(InputError, match=message):
        window_origins(length, size, stride)


def test_blocks_of_nothing_are_refused():
    with pytest.raises(InputError, match="at least 1 window"):
        list(window_blocks([0], 8, 0))
