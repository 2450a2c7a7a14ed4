"""More dates for a cube: all of them or none, whenever the power goes."""

import shutil
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from rtc_scenes import scene

import sarcube as sc
from sarcube.cube.holes import Hole, hole_value
from sarcube.cube.store.verify import verify_cube
from sarcube.cube.store.write import open_cube, write_cube
from sarcube.errors import InputError, StoreError

TIMES = ["2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00", "2022-01-20T11:30:00"]


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return [
        scene(folder, f"S{n}", seed=n, time=time, polarisations=("vv", "vh")[: 1 + (n != 3)])
        for n, time in enumerate(TIMES)
    ]


def load(items, **settings):
    return sc.load(items, **{"chunks": {"y": 32, "x": 32}, "border_fringe": 0, **settings})


@pytest.fixture
def path(items, tmp_path):
    return write_cube(load(items[:2]), tmp_path / "cube.zarr")


def bits(array):
    return array.values.view(np.uint32)


def assert_same(cube, expected):
    xr.testing.assert_identical(cube.drop_attrs().compute(), expected.drop_attrs().compute())
    for band in ("vv", "vh"):
        np.testing.assert_array_equal(bits(cube[band]), bits(expected[band]))
        assert cube[band].attrs == expected[band].attrs


def test_appended_dates_make_the_cube_that_is_written_at_once(items, path, tmp_path):
    write_cube(load(items[:3]), path, append=True)
    assert_same(open_cube(path), open_cube(write_cube(load(items[:3]), tmp_path / "at_once.zarr")))
    assert open_cube(path).attrs["items"] == ["S0", "S1", "S2"]
    assert verify_cube(path) == []


def test_an_earlier_date_comes_last_on_disk_and_first_in_the_cube(items, path, tmp_path):
    """The date has no VH either: it is NaN there and says why."""
    write_cube(load(items[3:]), path, append=True)
    cube = open_cube(path)
    assert cube.item_ids.values.tolist() == ["S3", "S0", "S1"]
    expected = load([items[3], *items[:2]])
    assert_same(cube, open_cube(write_cube(expected, tmp_path / "at_once.zarr")))
    assert (bits(cube.vh)[0] == hole_value(Hole.NOT_MEASURED).view(np.uint32)).all()
    assert cube.attrs["missing_polarisations"] == ["2022-01-20T11:30:12Z D164: vh"]
    assert xr.open_zarr(path).item_ids.values.tolist() == ["S0", "S1", "S3"]


def test_finished_dates_are_not_read_again(items, path, monkeypatch):
    import sarcube.cube.lazy as loading

    read, mosaic = [], loading.mosaic
    monkeypatch.setattr(loading, "mosaic", lambda sources, *rest: read.append(sources) or mosaic(sources, *rest))
    write_cube(load(items[:3]), path, append=True)
    assert {source.item for sources in read for source in sources} == {"S2"}
    read.clear()
    write_cube(load(items[:3]), path, append=True)
    write_cube(load(items[:2]), path)
    write_cube(load(items[1:3]), path, append=True)
    assert not read


def test_static_layers_stay_and_layers_of_another_track_are_missed(items, tmp_path):
    def with_layers(cube):
        return cube.assign(
            elevation=(("y", "x"), np.full(cube.vv.shape[1:], 12.5, np.float32)),
            incidence_angle=(
                ("track", "y", "x"),
                da.full((1, *cube.vv.shape[1:]), 39.5, dtype="f4", chunks=(1, 32, 32)),
            ),
        ).assign_coords(track=["D164"])

    path = write_cube(with_layers(load(items[:2])), tmp_path / "cube.zarr")
    write_cube(load(items[2:3]), path, append=True)
    write_cube(with_layers(load(items[3:])), path, append=True)
    cube = open_cube(path)
    assert cube.sizes["time"] == 4
    assert (cube.elevation == 12.5).all()
    assert (cube.incidence_angle == 39.5).all()
    strange = scene(tmp_path, "A", time="2022-03-01T23:00:00", orbit_state="ascending", relative_orbit=54)
    with pytest.raises(StoreError, match="the store has no layers of track A054"):
        write_cube(load([strange]), path, append=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda cube: cube.isel(x=slice(1, None)), "x differs: it is another grid"),
        (lambda cube: cube.drop_vars("platform"), "platform is in the store alone"),
        (lambda cube: cube.assign(more=cube.vv * 2), "more is in the cube given alone"),
        (lambda cube: cube.chunk(x=20), r"vv has chunks \(1, 32, 32\) in the store, \(1, 32, 20\) in the cube given"),
        (lambda cube: cube.assign_attrs(border_fringe=3), 'attribute "border_fringe" is 0 in the store, 3 in the cube'),
        (lambda cube: cube.assign(vv=cube.vv.astype("f8")), "vv has type <f4 in the store, <f8 in the cube given"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_store_stays(items, path, change, message):
    before = open_cube(path).compute()
    with pytest.raises(StoreError, match=message):
        write_cube(change(load(items[:3])), path, append=True)
    xr.testing.assert_identical(open_cube(path).compute(), before)
    with pytest.raises(StoreError, match="vv has kept bits 8 in the store, all in the cube given"):
        write_cube(load(items[:3]), path, append=True, keep_bits=None)


def test_chunks_of_several_dates_cannot_grow(items, tmp_path):
    path = write_cube(load(items[:2], chunks={"time": 2}), tmp_path / "cube.zarr")
    with pytest.raises(StoreError, match="a chunk of vv holds 2 dates; it must hold one"):
        write_cube(load(items[:3], chunks={"time": 2}), path, append=True)


def test_there_must_be_a_complete_cube_to_append_to(items, path, tmp_path):
    with pytest.raises(StoreError, match=r"no sarcube cube at .* leave append=True out"):
        write_cube(load(items), tmp_path / "nothing.zarr", append=True)
    with pytest.raises(InputError, match="give one of them"):
        write_cube(load(items), path, append=True, overwrite=True)
    (path / ".sarcube/COMPLETE").unlink()
    with pytest.raises(StoreError, match="never completed, so no dates can be added"):
        write_cube(load(items), path, append=True)


def test_another_append_after_one_that_was_given_up(items, path, monkeypatch, tmp_path):
    import sarcube.cube.store.append as appending

    def killed(*_):
        raise Killed

    monkeypatch.setattr(appending, "_commit", killed)
    with pytest.raises(Killed):
        write_cube(load(items[2:]), path, append=True)
    monkeypatch.undo()
    assert verify_cube(path) == []
    write_cube(load(items[2:3]), path, append=True)
    assert not (path / "vv/c/3").exists()
    assert_same(open_cube(path), open_cube(write_cube(load(items[:3]), tmp_path / "at_once.zarr")))


def test_what_each_call_brought_is_repaired_by_that_call(items, path):
    write_cube(load(items[2:]), path, append=True)
    for broken, cube, settings in (
        ("vv/c/0/0/0", load(items[:2]), {}),
        ("vh/c/3/0/1", load(items[2:]), {"append": True}),
        ("vv/c/2/1/0", load(items[2:]), {}),
    ):
        good = (path / broken).read_bytes()
        (path / broken).unlink()
        assert [finding.kind for finding in verify_cube(path)] == ["missing"]
        other = load(items[2:]) if cube.sizes["time"] == 2 and settings == {} and broken[5] == "0" else load(items[:2])
        with pytest.raises(StoreError, match="appended from another"):
            write_cube(other, path)
        assert [finding.kind for finding in verify_cube(path)] == ["missing"]  # nothing was made worse
        write_cube(cube, path, **settings)
        assert (path / broken).read_bytes() == good
        assert verify_cube(path) == []


def test_dates_that_could_not_be_read_are_listed_with_the_old_ones(items, path, tmp_path):
    lost = scene(tmp_path / "more", "S9", time="2022-03-09T11:30:00")
    (tmp_path / "more/S9/iw-vv.rtc.tiff").unlink()
    write_cube(load([lost], on_error="skip"), path, append=True)
    assert open_cube(path).attrs["unread"][0] == (
        "2022-03-09T11:30:12Z D164 vv rows 0-32 columns 0-32: item S9: not found"
    )


@pytest.mark.slow
def test_the_power_may_go_at_any_step(items, tmp_path, monkeypatch):
    """Every rename of an append in turn is where it ends; before the commit the old cube opens, after it none does."""
    chunks = {"y": 64, "x": 64}
    template = write_cube(load(items[:2], chunks=chunks), tmp_path / "template.zarr")
    old = open_cube(template).compute()
    cube = load(items[:3], chunks=chunks)
    expected = open_cube(write_cube(cube, tmp_path / "at_once.zarr")).compute()
    path = tmp_path / "cube.zarr"
    states = []
    for last in range(200):
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(template, path)
        moves_left = iter(range(last))

        def dying(move, moves_left=moves_left):
            def moved(self, target):
                if next(moves_left, None) is None:
                    raise Killed
                return move(self, target)

            return moved

        with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
            patch.setattr(Path, "replace", dying(Path.replace))
            patch.setattr(Path, "rename", dying(Path.rename))
            try:
                write_cube(cube, path, append=True)
                break
            except Killed:
                pass
        if (path / ".sarcube/append/COMMIT").exists():
            states.append("committed")
            assert "interrupted" in {finding.kind for finding in verify_cube(path)}
            with pytest.raises(StoreError, match=r"run sarcube.write_cube\(..., append=True\) again"):
                open_cube(path)
        else:
            steps = open_cube(path).sizes["time"]
            states.append({2: "old", 3: "new"}[steps])
            xr.testing.assert_identical(open_cube(path).compute(), old) if steps == 2 else None
            assert verify_cube(path) == []
        write_cube(cube, path, append=True)
        xr.testing.assert_equal(open_cube(path).compute(), expected)
        assert verify_cube(path) == []
        assert not (path / ".sarcube/append").exists()
    assert states == sorted(states, key=["old", "committed", "new"].index)
    assert states.count("old") > 5
    assert states.count("committed") > 20
