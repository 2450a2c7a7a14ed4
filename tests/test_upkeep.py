"""A cube kept up with its scenes: lengthened, or written anew where what it holds has changed; never silently."""

import logging
import shutil

import numpy as np
import pytest
import xarray as xr
from rtc_scenes import scene

import sarcube as sc
from sarcube.building.upkeep import keep_up
from sarcube.errors import StoreError

TIMES = ["2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00", "2022-01-20T11:30:00"]
BBOX = (99.9, 0.9015, 99.902, 0.903)
LAYERS = ("vv", "vh", "incidence_angle")
OTHER_TRACK = {"time": "2022-03-01T23:00:00", "orbit_state": "ascending", "relative_orbit": 54}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four dates of one track on a grid that lies a third of a pixel aside, one of another, one of VV alone."""
    folder = tmp_path_factory.mktemp("scenes")
    items = [scene(folder, f"S{n}", seed=n, time=time, left=599_996.6) for n, time in enumerate(TIMES)]
    return {
        "dates": items,
        "newer": scene(folder, "S1new", seed=9, time=TIMES[1], left=599_996.6, processed="2023-01-01T00:00:00"),
        "slice": scene(folder, "S1b", seed=8, time="2022-02-13T11:30:25", left=599_996.6),
        "vv": scene(folder, "S1", seed=1, time=TIMES[1], left=599_996.6, polarisations=("vv",)),
        "other track": scene(folder, "A1", seed=7, left=599_996.6, **OTHER_TRACK),
    }


def per_track(cube):
    """A layer per track, in the place of look geometry."""
    tracks = sorted(set(cube.scene_track.values.astype(str)))
    shape = (len(tracks), cube.sizes["y"], cube.sizes["x"])
    layer = (("track", "y", "x"), np.full(shape, 39.5, np.float32), {"units": "degree"})
    return cube.assign(incidence_angle=layer).assign_coords(track=tracks)


def update(items, path, **settings):
    defaults = {"bbox": BBOX, "resolution": 10, "dress": per_track, "keep_bits": 8, "overwrite": False}
    return keep_up(items, path, **{**defaults, **settings})


def at_once(items, path):
    """The cube as a script writes it."""
    return sc.open_cube(sc.write_cube(per_track(sc.load(items, bbox=BBOX)), path))


def assert_same(cube, expected):
    xr.testing.assert_identical(cube.drop_attrs().compute(), expected.drop_attrs().compute())
    assert sorted(cube.attrs["items"]) == sorted(expected.attrs["items"])  # those appended come last


def state_of(path):
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def path(scenes, tmp_path):
    return update(scenes["dates"][:2], tmp_path / "cube.zarr")


def test_a_second_call_changes_nothing(scenes, path, tmp_path):
    assert_same(sc.open_cube(path), at_once(scenes["dates"][:2], tmp_path / "once.zarr"))
    before = state_of(path)
    update(scenes["dates"][:2], path)
    assert state_of(path) == before


@pytest.mark.parametrize("order", [(2, 3), (3, 2)])
def test_new_dates_are_appended(scenes, path, tmp_path, order, caplog):
    """Earlier or later than what is there, one after the other, and the old chunks stay the very files."""
    old = {name: state for name, state in state_of(path).items() if any(f"/{layer}/c/" in name for layer in LAYERS)}
    items = scenes["dates"][:2]
    with caplog.at_level(logging.WARNING):
        for number in order:
            items = [*items, scenes["dates"][number]]
            update(items, path)
            update(items, path)
    assert not caplog.records
    now = state_of(path)
    assert {name: now[name] for name in old} == old
    assert_same(sc.open_cube(path), at_once(sorted(items, key=lambda item: item.datetime), tmp_path / "once.zarr"))
    assert sc.verify_cube(path) == []


def test_a_new_date_waits_for_a_build_that_was_interrupted(scenes, path, tmp_path):
    (path / ".sarcube" / "COMPLETE").unlink()
    shutil.rmtree(path / "vh" / "c" / "1")
    kept = path / "vv" / "c" / "0" / "0" / "0"
    before = kept.stat().st_mtime_ns
    update(scenes["dates"][:3], path)
    assert kept.stat().st_mtime_ns == before
    assert_same(sc.open_cube(path), at_once(scenes["dates"][:3], tmp_path / "once.zarr"))


def test_an_append_that_was_interrupted_is_finished(scenes, path, tmp_path, monkeypatch):
    import sarcube.cube.store.append as appending

    class Killed(BaseException):
        """As if the process had ended here."""

    def killed(store):
        raise Killed

    # The commit record is there, and nothing has been moved into place yet.
    with monkeypatch.context() as patch:
        patch.setattr(appending, "finish_append", killed)
        with pytest.raises(Killed):
            update(scenes["dates"][:3], path)
    with pytest.raises(StoreError, match="dates are being added"):
        sc.open_cube(path)
    update(scenes["dates"], path)
    assert_same(sc.open_cube(path), at_once(sorted(scenes["dates"], key=lambda i: i.datetime), tmp_path / "once.zarr"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("newer", "other items make 1 of its dates now, 2022-02-13 D164 first"),
        ("slice", "other items make 1 of its dates now, 2022-02-13 D164 first"),
        ("other track", "there are scenes of A054 now"),
    ],
)
def test_what_changed_is_written_anew(scenes, path, tmp_path, caplog, change, why):
    items = sorted([*scenes["dates"][:2], scenes[change]], key=lambda item: (item.datetime, item.id))
    update(items, path)
    assert why in caplog.text
    wanted = [item for item in items if change != "newer" or item.id != "S1"]
    assert_same(sc.open_cube(path), at_once(wanted, tmp_path / "once.zarr"))
    before = state_of(path)
    update(items, path)
    assert state_of(path) == before


def test_a_polarisation_that_comes_later_is_written(scenes, tmp_path, caplog):
    dates = scenes["dates"]
    path = update([scenes["vv"]], tmp_path / "one.zarr")
    update([dates[1]], path)
    assert "there are scenes of VH now" in caplog.text
    assert_same(sc.open_cube(path), at_once([dates[1]], tmp_path / "one-once.zarr"))
    caplog.clear()
    path = update([dates[0], scenes["vv"]], tmp_path / "two.zarr")
    assert sc.open_cube(path).attrs["missing_polarisations"]
    update(dates[:2], path)
    assert "is written anew" in caplog.text
    assert_same(sc.open_cube(path), at_once(dates[:2], tmp_path / "two-once.zarr"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resolution": 20}, "it has .* pixels of 10 m .* this one would have .* of 20 m"),
        ({"bbox": (99.9, 0.9015, 99.903, 0.903)}, "of another area or resolution"),
        ({"keep_bits": None}, "vv keeps 8 bits there, all here"),
        ({"dress": lambda cube: cube}, "incidence_angle is in the cube there alone"),
        ({"dress": lambda c: per_track(c).assign(slope=c.vv[0] * 0)}, "slope is not in the cube there"),
    ],
)
def test_another_cube_is_refused_and_replaced_when_asked(scenes, path, settings, message):
    before = state_of(path)
    with pytest.raises(StoreError, match=message):
        update(scenes["dates"][:3], path, **settings)
    assert state_of(path) == before
    update(scenes["dates"][:3], path, overwrite=True, **settings)
    assert sc.open_cube(path).sizes["time"] == 3


def test_fewer_dates_are_refused(scenes, path):
    with pytest.raises(StoreError, match="holds 1 dates that this search and the folder do not, 2022-02-01 D164 first"):
        update(scenes["dates"][1:3], path)


def test_what_is_no_cube_is_left_alone(scenes, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"a picture")
    with pytest.raises(StoreError, match="is no sarcube cube"):
        update(scenes["dates"], tmp_path / "photos")


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_damage_is_repaired_whoever_brought_the_dates(scenes, path, tmp_path, first):
    update(scenes["dates"][:3], path)
    chunk = path / "vh" / "c" / ("0" if first else "2") / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 4
    chunk.write_bytes(content)
    update(scenes["dates"][:3], path)
    assert sc.verify_cube(path) == []
    assert_same(sc.open_cube(path), at_once(scenes["dates"][:3], tmp_path / "once.zarr"))


def test_damaged_metadata_are_repaired(scenes, path, tmp_path):
    (path / "zarr.json").write_text("{}")
    update(scenes["dates"][:2], path)
    assert_same(sc.open_cube(path), at_once(scenes["dates"][:2], tmp_path / "once.zarr"))
