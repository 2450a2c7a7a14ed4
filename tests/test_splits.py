from dataclasses import replace
from functools import cache

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import LEFT, TOP, make_inventory, make_stack

import sarcube as sc
from sarcube.errors import InputError
from sarcube.labels.patches import concatenate_patches, patches_from_arrays
from sarcube.labels.splits import share_ground


@cache
def event_of(name, *, track="D164", height=400, width=420, seed=0, landslides=18):
    """Patches of 16 pixels (160 m); landslides of 8 x 8 pixels here and there."""
    draws = np.random.default_rng(seed)
    corners = draws.integers(0, [height - 8, width - 8], (landslides, 2))
    stack = make_stack(height, width, seed=seed).assign_attrs(event=name, track=track)
    return sc.sample_patches(stack, make_inventory(*((y, x, y + 8, x + 8) for y, x in corners)), size=16)


@pytest.fixture(scope="module")
def two_events():
    return concatenate_patches([event_of("a"), event_of("b", seed=1)])


def boxes_of(patches):
    table = patches.table
    return set(zip(table["event"], table["track"], table["left"], table["top"], strict=True))


@pytest.mark.parametrize("method", ["random", "blocked"])
def test_parts_are_disjoint_and_the_seed_decides(two_events, method):
    def split(seed):
        return sc.split_patches(two_events, method=method, block_size=800, buffer=160, seed=seed)

    first, again, other = split(0), split(0), split(1)
    parts = [boxes_of(part) for part in first]
    assert len(set.union(*parts)) == sum(map(len, parts))
    assert [boxes_of(part) for part in again] == parts != [boxes_of(part) for part in other]
    for part in first:
        assert set(part.events) == {"a", "b"}
        assert 0 < part.labels.sum() < len(part)
        np.testing.assert_array_equal(part.images[:3], part.read([0, 1, 2]))


def test_a_random_split_has_the_papers_shares_in_each_event_and_class(two_events):
    split = sc.split_patches(two_events, max_test_ratio=None)
    assert sum(map(len, split)) == len(two_events)
    for event in "ab":
        for label in (True, False):
            of_all = ((two_events.events == event) & (two_events.labels == label)).sum()
            counts = [((part.events == event) & (part.labels == label)).sum() for part in split]
            np.testing.assert_allclose(counts, np.array([0.67 * 0.6, 0.67 * 0.4, 0.33]) * of_all, atol=1)


def test_the_background_of_tests_is_capped_and_that_of_training_if_asked():
    patches = event_of("a", landslides=4)
    split = sc.split_patches(patches, max_test_ratio=3, max_train_ratio=2)
    for part, ratio in zip(split, (2, 3, 3), strict=True):
        positive = part.labels.sum()
        assert (~part.labels).sum() == ratio * positive > 0
    everything = sc.split_patches(patches, max_test_ratio=None)
    assert sum(map(len, everything)) == len(patches)


@given(st.integers(0, 1000), st.sampled_from([400.0, 800.0, 1600.0]), st.sampled_from([0.0, 100.0, 320.0]))
@settings(max_examples=20)
def test_blocks_are_whole_and_kept_apart(seed, block_size, buffer):
    both = concatenate_patches([event_of("a"), event_of("a", track="A054", seed=2)])
    split = sc.split_patches(
        both, method="blocked", block_size=block_size, buffer=buffer, max_test_ratio=None, seed=seed
    )
    pairs = [(split.train, split.validation), (split.train, split.test), (split.validation, split.test)]
    for a, b in pairs:
        here, there = (part.table[["left", "bottom", "right", "top"]].to_numpy() for part in (a, b))
        gap = np.maximum(here[:, None, :2] - there[None, :, 2:], there[None, :, :2] - here[:, None, 2:])
        gap = np.hypot(*np.moveaxis(gap.clip(min=0), 2, 0)) - (gap.max(axis=2) < 0)  # -1 where two overlap
        assert gap.min(initial=np.inf) >= buffer  # by hand, of every pair
        assert not len(share_ground(a, b, buffer=buffer))
    # Both tracks' patches of one place are in one part, or left out together.
    of_track = [
        {
            t: set(part.table[part.tracks == t][["left", "top"]].itertuples(index=False, name=None))
            for t in ("D164", "A054")
        }
        for part in split
    ]
    for number, part in enumerate(of_track):
        for other in of_track[:number] + of_track[number + 1 :]:
            assert not part["D164"] & other["A054"]


def test_a_blocked_split_nears_the_shares_asked_for():
    patches = event_of("a", height=1600, width=1600, landslides=300)
    split = sc.split_patches(patches, method="blocked", block_size=800, buffer=0, max_test_ratio=None)
    landslides = np.array([part.labels.sum() for part in split]) / patches.labels.sum()
    np.testing.assert_allclose(landslides, [0.67 * 0.6, 0.67 * 0.4, 0.33], atol=0.03)
    assert sum(map(len, split)) == len(patches)


def test_blocks_are_metres_where_the_map_is_in_feet():
    metric, sides = event_of("a"), ["left", "bottom", "right", "top"]
    feet = (metric.table[sides] - [LEFT, TOP, LEFT, TOP]) * 3937 / 1200 + [6.5e6, 2.1e6, 6.5e6, 2.1e6]
    stretched = metric.table.assign(crs="EPSG:2227", **feet)
    in_feet = replace(metric, table=stretched)
    options = {"method": "blocked", "block_size": 800, "buffer": 0, "max_test_ratio": None}
    expected, found = (sc.split_patches(patches, **options) for patches in (metric, in_feet))
    # Nearly the same blocks: only the projections differ, by far less than 1 %.
    for a, b in zip(expected, found, strict=True):
        assert len(b) == pytest.approx(len(a), rel=0.2)
    first = metric.subset([0])
    near = share_ground(in_feet, replace(first, table=first.table.assign(**stretched.iloc[[0]])), buffer=190)
    assert len(near) == 8  # 160 m lie between it and the next but one, 226 m across the corner


def test_two_events_of_one_name_are_told_apart_or_refused():
    here = event_of("a", height=64, width=64)
    for elsewhere in ("EPSG:32632", "EPSG:32710"):  # the first has no place in the plane of the other
        there = replace(here, table=here.table.assign(crs=elsewhere, bottom=1000.0, top=1160.0))
        both = concatenate_patches([here, there])
        with pytest.raises(InputError, match=r'event "a" lie more than 2000 km apart.*attrs\["event"\]'):
            sc.split_patches(both, method="blocked", block_size=300, buffer=0)


def test_a_random_split_of_one_tracks_patches_over_one_another_is_warned_of(caplog):
    one, other = event_of("a"), event_of("a", track="A054", seed=2)
    sc.split_patches(concatenate_patches([one, other]))  # as the papers do
    assert not caplog.text
    inventory, stack = make_inventory((0, 0, 8, 8)), make_stack(64, 64)
    dense = sc.sample_patches(stack, inventory, size=16, stride=8)
    for patches in (dense, concatenate_patches([one, event_of("a", seed=3)])):
        caplog.clear()
        split = sc.split_patches(patches)
        shared = sum(len(share_ground(part, split.train)) for part in split[1:])
        assert shared > 0
        judged = len(split.validation) + len(split.test)
        assert f"{shared} of {judged} patches for validation and test share ground with training" in caplog.text
        caplog.clear()
        sc.split_patches(patches, method="blocked", block_size=160, buffer=0)
        assert "share ground" not in caplog.text


def test_a_part_that_the_buffer_leaves_nothing_of_is_mentioned(caplog):
    split = sc.split_patches(event_of("a"), method="blocked", block_size=1000, buffer=5000)
    assert len(split.train) == len(split.validation) == 0 < len(split.test)
    assert "all its patches for training lie within 5000 m" in caplog.text
    assert "all its patches for validation lie within 5000 m" in caplog.text


def test_events_on_the_same_ground_are_no_places_never_seen(two_events, caplog):
    far = replace(event_of("c"), table=event_of("c").table.assign(crs="EPSG:32648"))
    list(sc.leave_one_event_out(concatenate_patches([event_of("a"), far]), block_size=800, buffer=0))
    assert not caplog.text
    list(sc.leave_one_event_out(two_events, block_size=800, buffer=0))
    assert 'event "b": 650 of its 650 patches share ground with other events' in caplog.text


def test_ground_is_compared_across_projections():
    here = event_of("a", height=64, width=64)
    shrunk = here.to_frame().buffer(-5, join_style="mitre")  # as degrees and metres are turned to one another
    degrees = shrunk.to_crs("EPSG:4326").bounds.set_axis(["left", "bottom", "right", "top"], axis=1)
    table = here.table.assign(**degrees, crs="EPSG:4326")
    elsewhere = replace(here, table=table)
    assert len(share_ground(elsewhere, here)) == len(here)
    first = here.subset([0])
    assert share_ground(elsewhere, first).tolist() == [0]
    assert share_ground(elsewhere, first, buffer=10).tolist() == [0, 1, 4, 5]
    frame = concatenate_patches([here, elsewhere]).to_frame()
    assert frame.crs == "EPSG:4326"
    areas = frame.to_crs("EPSG:32647").area
    np.testing.assert_allclose(areas[: len(here)], 160.0**2, rtol=1e-6)


def test_leaving_one_event_out(two_events):
    found = dict(sc.leave_one_event_out(two_events, block_size=800, buffer=160))
    assert list(found) == ["a", "b"]
    for name, split in found.items():
        assert set(split.test.events) == {name}
        assert set(split.train.events) == set(split.validation.events) == {"a", "b"} - {name}
        assert split.test.labels.sum() == two_events.labels[two_events.events == name].sum()
        assert (~split.test.labels).sum() <= 10 * split.test.labels.sum()
        assert not boxes_of(split.train) & boxes_of(split.validation)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "spatial"}, "blocked"),
        ({"test_fraction": 1}, "shares"),
        ({"validation_fraction": -0.1}, "shares"),
        ({"block_size": 0}, "block_size"),
        ({"buffer": -1}, "buffer"),
        ({"max_test_ratio": 0}, "ratio"),
        ({"max_test_ratio": float("inf")}, "None for all"),
        ({"block_size": float("inf")}, "block_size"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"method": "blocked", "block_size": 1e6}, "too few"),
    ],
)
def test_what_cannot_be_is_refused(two_events, options, message):
    with pytest.raises(InputError, match=message):
        sc.split_patches(two_events, **options)


def test_arrays_know_no_place():
    images, labels = np.zeros((20, 1, 8, 8), np.float32), np.arange(20) < 10
    patches = patches_from_arrays(images, labels, bands=("vv_post",))
    assert sum(map(len, sc.split_patches(patches))) == 20
    with pytest.raises(InputError, match="nobody knows where"):
        sc.split_patches(patches, method="blocked")
    with pytest.raises(InputError, match="nobody knows where"):
        patches.to_frame()
    with pytest.raises(InputError, match="at least two events"):
        next(sc.leave_one_event_out(patches))


def test_boxes_on_the_map():
    frame = event_of("a", height=32, width=48).to_frame()
    assert isinstance(frame, gpd.GeoDataFrame)
    assert frame.crs == "EPSG:32647"
    pd.testing.assert_series_equal(frame.area, pd.Series(160.0**2, index=frame.index))
    assert frame.geometry[1].bounds == (400160, 4999840, 400320, 5000000)
