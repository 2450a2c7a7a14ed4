"""Filters of detections: steep, dry, visible ground, and that they act before suppression."""

import dask.array as da
import numpy as np
import pytest
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import MeanModel, make_stack

import sarcube as sc
from sarcube.detection import filters
from sarcube.detection.detect import boxes_from_scores
from sarcube.errors import InputError

HEIGHT, WIDTH, SIZE = 100, 90, 16


@pytest.fixture(scope="module")
def scores():
    """Two windows that overlap, the better one at (16, 32), and one by itself at (64, 8)."""
    stack = make_stack(HEIGHT, WIDTH) * 0 - 5
    stack[:, 16:32, 32:48] = 5
    stack[:, 16:32, 40:56] = 4.5
    stack[:, 64:80, 8:24] = 5
    return sc.score_windows(stack.assign_attrs(track="A054"), MeanModel(), stride=8).compute()


def places(scores, **options):
    boxes = boxes_from_scores(scores, score_threshold=0.95, **options)
    return sorted(boxes[["row", "column"]].to_numpy().tolist())


def layer_of(values):
    return make_stack(HEIGHT, WIDTH)[0].drop_vars("band").copy(data=values)


@given(
    st.integers(1, 12),
    st.integers(12, 40),
    st.integers(12, 40),
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(0, 2**32),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_shares_are_those_of_each_window_however_it_is_cut(size, height, width, held, table, seed, lazy):
    random = np.random.default_rng(seed)
    values = random.random((height, width), np.float32)
    n = int(random.integers(0, 30))
    corners = np.stack([random.integers(0, height - size + 1, n), random.integers(0, width - size + 1, n)], axis=1)
    corners = corners[np.argsort(corners[:, 0])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filters, "_HELD_PIXELS", held)
        patch.setattr(filters, "_TABLE_PIXELS", table)
        given_ = da.from_array(values, chunks=7) if lazy else values
        shares = filters.window_shares(given_, lambda part: part > 0.5, corners, size)
    expected = [(values[y : y + size, x : x + size] > 0.5).mean() for y, x in corners]
    np.testing.assert_array_equal(shares, np.array(expected, np.float64))


def test_no_more_rows_are_flagged_at_a_time_than_are_held(monkeypatch):
    monkeypatch.setattr(filters, "_HELD_PIXELS", 40 * 50)
    corners = np.array([[y, x] for y in range(0, 985, 4) for x in (0, 34)])
    seen = []

    def flag(part):
        seen.append(part.shape)
        return part > 0

    filters.window_shares(np.ones((1000, 50)), flag, corners, 16)
    assert max(rows for rows, _ in seen) <= 40
    assert len(seen) > 20


def test_a_filtered_window_suppresses_no_other(scores):
    assert places(scores) == [[16, 32], [64, 8]]
    hidden = np.zeros((HEIGHT, WIDTH), np.uint8)
    hidden[16:32, 32:40] = 1
    assert places(scores, visible=hidden, min_visible_share=0.6) == [[16, 40], [64, 8]]
    boxes = boxes_from_scores(scores, score_threshold=0.95, visible=hidden, min_visible_share=0.6)
    assert boxes.set_index("row")["visible_share"].to_dict() == {16: 1.0, 64: 1.0}


def test_a_visible_share_at_the_limit_is_kept(scores):
    hidden = np.zeros((HEIGHT, WIDTH), np.uint8)
    hidden[64:80, 8:16] = 255
    assert [64, 8] in places(scores, visible=hidden, min_visible_share=0.5)
    assert [64, 8] not in places(scores, visible=hidden, min_visible_share=0.51)


def test_flat_ground_is_left_out_and_a_twentieth_of_steep_ground_is_enough(scores):
    slope = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    slope[64:80, 8:24] = 9.99
    slope[16, 32:45] = 10  # 13 of 256 pixels: 5.1 %
    assert places(scores, slope=slope, min_slope=10) == [[16, 32]]
    slope[16, 44] = 9.99  # 12 of 256: 4.7 %
    assert places(scores, slope=slope, min_slope=10) == []
    assert places(scores, slope=slope, min_slope=9) == [[16, 32], [64, 8]]


def test_what_is_mostly_water_is_left_out(scores):
    water = np.zeros((HEIGHT, WIDTH), np.uint8)
    water[64:72, 8:24] = 2
    assert places(scores, water=water) == [[16, 32], [64, 8]]  # half of it
    water[72, 8] = 1
    assert places(scores, water=water) == [[16, 32]]
    assert places(scores, water=water > 0) == [[16, 32]]


def test_layers_may_be_lazy_turned_and_given_to_detect(scores):
    random = np.random.default_rng(1)
    slope = layer_of(random.uniform(0, 30, (HEIGHT, WIDTH)))
    water = layer_of(random.random((HEIGHT, WIDTH)) < 0.45)
    hidden = layer_of((random.random((HEIGHT, WIDTH)) < 0.3).astype(np.uint8))
    stack, model = make_stack(HEIGHT, WIDTH) + 10, MeanModel()
    options = {"stride": 4, "score_threshold": 0.5, "min_slope": 28.4, "min_visible_share": 0.7}
    boxes = sc.detect(stack, model, slope=slope, water=water, visible=hidden, **options)
    lazy = {
        "slope": slope.chunk(y=30, x=17),
        "water": water.chunk(y=11).transpose("x", "y"),
        "visible": hidden.chunk(x=13),
    }
    assert_geodataframe_equal(sc.detect(stack, model, **lazy, **options), boxes)
    unfiltered = sc.detect(stack, model, stride=4, score_threshold=0.5)
    assert 0 < len(boxes) != len(unfiltered)
    assert boxes["visible_share"].min() >= 0.7


def test_layers_of_another_grid_or_kind_are_refused(scores):
    slope = layer_of(np.zeros((HEIGHT, WIDTH)))
    cases = [
        ({"water": np.zeros((HEIGHT, WIDTH))}, "water must be of bool or uint8, not float64"),
        ({"visible": np.ones((HEIGHT, WIDTH), bool)}, "visible must be of uint8"),
        ({"slope": np.zeros((HEIGHT, WIDTH - 1)), "min_slope": 5}, r"slope has the shape \(100, 89\)"),
        ({"slope": slope[1:], "min_slope": 5}, r"slope has the shape \(99, 90\), but the stack has \(100, 90\)"),
        ({"slope": slope.expand_dims("track"), "min_slope": 5}, "select_track"),
        ({"slope": slope.assign_coords(x=slope.x + 5), "min_slope": 5}, "its x differ"),
        ({"slope": slope[::-1], "min_slope": 5}, "its y differ"),
        ({"slope": slope.drop_vars("y"), "min_slope": 5}, "no coordinates y"),
        ({"slope": slope.rio.write_crs("EPSG:32648"), "min_slope": 5}, "reproject it first"),
        ({"slope": slope}, "go together"),
        ({"min_slope": 5}, "sc.add_terrain"),
        ({"slope": slope, "min_slope": 90}, "below 90"),
        ({"min_visible_share": 0.5}, "needs visible="),
        ({"min_visible_share": 1.5}, "from 0 to 1"),
    ]
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            boxes_from_scores(scores, **options)


def test_coordinates_that_differ_by_rounding_are_the_same_grid(scores):
    slope = layer_of(np.full((HEIGHT, WIDTH), 20.0))
    shifted = slope.assign_coords(x=slope.x * (1 + 1e-12))
    assert places(scores, slope=shifted, min_slope=10) == [[16, 32], [64, 8]]
