"""Which scenes are one pass, and which one acquisition: whatever their order."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcube.acquisition.scenes import Scene, drop_duplicates, group_passes, pass_time

START = datetime(2022, 2, 1, 11, 30, tzinfo=UTC)


def make(
    name, *, days=0.0, seconds=0.0, platform="SENTINEL-1A", orbit=164, state="descending", processed=None, burst=""
):
    start = START + timedelta(days=days, seconds=seconds)
    return Scene(
        id=name,
        time=start + timedelta(seconds=12.5),
        start=start,
        end=start + timedelta(seconds=25),
        orbit_state=state,
        relative_orbit=orbit,
        platform=platform,
        burst=burst,
        processed=None if processed is None else datetime(processed, 1, 1, tzinfo=UTC),
        rasters={},
    )


# Flights: day, platform, track. Slices of a flight: multiples of 25 s. Processings of a slice: up to a second apart.
flights = st.tuples(
    st.sampled_from([0, 6, 12]),
    st.sampled_from(["SENTINEL-1A", "SENTINEL-1C"]),
    st.sampled_from([("descending", 164), ("ascending", 54), ("descending", 62)]),
)
slices = st.tuples(flights, st.integers(0, 4))
archives = st.dictionaries(slices, st.integers(1, 3), min_size=1, max_size=8).flatmap(
    lambda counts: st.permutations(
        [(flight, number, copy) for (flight, number), copies in counts.items() for copy in range(copies)]
    )
)


def scenes_of(archive):
    return [
        make(
            f"{day:02d}-{platform}-{state}-{orbit}-{number}-{copy}",
            days=day,
            seconds=25.0 * number + 0.3 * copy,
            platform=platform,
            state=state,
            orbit=orbit,
            processed=2022 + copy,
        )
        for (day, platform, (state, orbit)), number, copy in archive
    ]


@given(archives)
def test_every_slice_is_kept_once_and_every_flight_is_one_pass(archive):
    kept, dropped = drop_duplicates(scenes_of(archive))
    assert len(kept) == len({(flight, number) for flight, number, _ in archive})
    assert len(kept) + len(dropped) == len(archive)
    assert all(new.processed > old.processed for old, new in dropped)
    passes = group_passes(kept)
    assert len(passes) == len({flight for flight, _, _ in archive})
    assert sorted(scene.id for group in passes for scene in group) == sorted(scene.id for scene in kept)
    for group in passes:
        assert len({(scene.track, scene.platform) for scene in group}) == 1
        assert [scene.id for scene in group] == sorted(scene.id for scene in group)
    assert [pass_time(group) for group in passes] == sorted(pass_time(group) for group in passes)


@given(archives, st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(archive, random):
    scenes = scenes_of(archive)
    shuffled = random.sample(scenes, len(scenes))
    assert drop_duplicates(scenes) == drop_duplicates(shuffled)
    assert group_passes(scenes) == group_passes(shuffled)


def test_without_processing_times_the_last_id_wins():
    kept, dropped = drop_duplicates([make("b"), make("c"), make("a")])
    assert [scene.id for scene in kept] == ["c"]
    assert [(old.id, new.id) for old, new in dropped] == [("a", "c"), ("b", "c")]


def test_bursts_that_start_together_are_no_duplicates():
    kept, dropped = drop_duplicates([make("a", burst="T137-1-IW1"), make("b", burst="T137-1-IW2", seconds=0.9)])
    assert len(kept) == 2
    assert dropped == []


@pytest.mark.parametrize(("pause", "passes"), [(0, 1), (200, 1), (299, 1), (301, 2), (5000, 2)])
def test_minutes_divide_passes(pause, passes):
    assert len(group_passes([make("a"), make("b", seconds=25 + pause)])) == passes
