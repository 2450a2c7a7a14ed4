"""What `quality` says of a scene: what its holes are, where it lies, whether its slices fit; and how it says it."""

import logging

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from scipy import ndimage

import sarcube as sc
from sarcube.cube.holes import Hole, hole_reasons, hole_value
from sarcube.cube.quality.medians import medians_of_others
from sarcube.cube.quality.seam import cell_size, flight_heading, strongest_step
from sarcube.cube.quality.shift import displacement, measure_shifts, tiles_over
from sarcube.cube.quality.table import quality
from sarcube.errors import BandError, InputError
from sarcube.synthetic.archive import FLAWS, NODATA, USUAL_FLAWS

SIDE = 120
SHARES = ["valid", "zeros", "nodata", "fringe", "outside", "not_measured", "unread", "unknown"]


def ground(seed=0, side=SIDE, *, contrast=2.0):
    """Relief-like structure in dB."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((side, side)), 2)
    return contrast * field / field.std() - 8


def scenes(dates=5, side=SIDE, *, seed=0, moved=None, contrast=2.0):
    """Power (time, y, x) float32: the same ground under speckle of its own on every date; `moved` {date: (dy, dx)}."""
    rng = np.random.default_rng([seed, 1])
    base = ground(seed, side + 40, contrast=contrast)
    result = np.empty((dates, side, side), np.float32)
    for date in range(dates):
        looks = rng.standard_normal((9, side, side))
        speckle = (ndimage.gaussian_filter(looks, (0, 1.07, 1.07)) ** 2).sum(0)
        dy, dx = (moved or {}).get(date, (0, 0))
        part = base[20 - dy : 20 - dy + side, 20 - dx : 20 - dx + side]
        result[date] = 10 ** (part / 10) * speckle / speckle.mean()
    return result


def make_cube(vv, *, ids=None, tracks=None, **others):
    steps, rows, columns = vv.shape
    geobox = GeoBox((rows, columns), Affine(10, 0, 600_000, 0, -10, 100_000), "EPSG:32647")
    tracks = tracks or ["D164"] * steps
    return xr.Dataset(
        {name: (("time", "y", "x"), values) for name, values in {"vv": vv, **others}.items()},
        coords={
            **xr_coords(geobox),
            "time": pd.date_range("2022-01-01", periods=steps, freq="12D"),
            "scene_track": ("time", np.array(tracks, object)),
            "orbit_state": ("time", np.array(["descending"] * steps, object)),
            "relative_orbit": ("time", np.full(steps, 62, np.int16)),
            "platform": ("time", np.array(["SENTINEL-1A"] * steps, object)),
            "item_ids": ("time", np.array(ids or [f"scene-{n}" for n in range(steps)], object)),
        },
    )


def lines(table):
    return [" | ".join(said) for said in table["warnings"]]


@pytest.fixture(scope="module")
def calm():
    return quality(make_cube(scenes()))


def test_a_good_cube_has_no_warning(calm):
    assert lines(calm) == [""] * 5
    assert calm["vv_valid"].tolist() == [1.0] * 5
    assert (calm["shift_confidence"] == 1).all()
    assert calm[["shift_rows", "shift_columns"]].abs().to_numpy().max() < 0.5
    assert calm["seam_db"].isna().all()
    assert calm["slices"].tolist() == [1] * 5
    assert calm.columns[:5].tolist() == ["time", "track", "platform", "item_ids", "slices"]


def test_shares_say_what_the_holes_are_and_make_one():
    vv, vh = scenes(3), scenes(3, seed=1)
    vv[1, :12] = hole_value(Hole.FRINGE)
    vv[1, 12:24] = hole_value(Hole.NODATA)
    vv[1, 24:36] = hole_value(Hole.ZERO)
    vv[1, 36:48] = hole_value(Hole.OUTSIDE)
    vv[1, 48:60] = hole_value(Hole.NOT_FOUND, part=3)
    vv[1, 60:66] = hole_value(Hole.DAMAGED)
    vv[1, 66:78] = np.nan
    vv[1, 78:90] = np.uint32(0xFFFFFFFF).view(np.float32)  # a NaN of somebody else's
    vh[1] = hole_value(Hole.NOT_MEASURED)
    row = quality(make_cube(vv, vh=vh)).loc[1]
    expected = {"fringe": 0.1, "nodata": 0.1, "zeros": 0.1, "outside": 0.1, "unread": 0.15, "unknown": 0.2}
    expected |= {"valid": 0.25, "not_measured": 0}
    assert {name: row[f"vv_{name}"] for name in SHARES} == pytest.approx(expected)
    assert row["vh_not_measured"] == 1
    said = " | ".join(row["warnings"])
    assert "15.0% of VV could not be read" in said
    assert "10.0% of VV are zeros" in said
    assert "VH" not in said


def test_zeros_and_infinities_in_a_foreign_cube_are_not_valid():
    vv = scenes(3)
    vv = vv.astype(np.float64)
    vv[0, :30] = 0
    vv[0, 30:60] = -1.7976931348623157e308
    vv[0, 60:72] = -1
    vv[0, 72:84] = np.inf
    vv[0, 84:96] = -np.inf
    row = quality(make_cube(vv)).loc[0]
    shares = [row[f"vv_{name}"] for name in ("valid", "zeros", "nodata", "unknown")]
    assert shares == pytest.approx([0.2, 0.35, 0.45, 0])


@pytest.mark.parametrize("vector", [(1, 0), (2, 0), (0, -2), (2, 1), (-2, 2), (7, -5)])
def test_a_displaced_date_is_named_and_measured(vector, caplog):
    cube = make_cube(scenes(5, moved={3: vector}))
    with caplog.at_level(logging.WARNING):
        table = quality(cube)
    assert ["displaced by" in said for said in lines(table)] == [False, False, False, True, False]
    measured = table.loc[3, ["shift_rows", "shift_columns"]].to_numpy(float)
    assert np.hypot(*(measured - vector)) < 0.5
    assert 'scene "scene-3" (2022-02-06, D164): displaced by' in caplog.text


@pytest.mark.parametrize("displaced", [0, 1, 2])
def test_of_three_dates_the_odd_one_out_is_found(displaced):
    table = quality(make_cube(scenes(3, moved={displaced: (2, 0)})))
    assert ["displaced by" in said for said in lines(table)] == [date == displaced for date in range(3)]


def test_two_displaced_dates_of_six_do_not_accuse_the_others():
    table = quality(make_cube(scenes(6, moved={1: (2, 2), 4: (2, 2)})))
    assert [number for number, said in enumerate(lines(table)) if "displaced" in said] == [1, 4]
    assert table.loc[[0, 2, 3, 5], ["shift_rows", "shift_columns"]].abs().to_numpy().max() < 0.5


def test_speckle_without_ground_accuses_nobody():
    table = quality(make_cube(scenes(5, contrast=0.0)))
    assert not any("displaced" in said for said in lines(table))
    assert table["shift_confidence"].max() <= 0.5


def test_a_change_of_the_ground_is_no_displacement():
    vv = scenes(5)
    vv[4, 20:70, 30:80] *= 10**-0.5  # a slope slid
    vv[3, :, 60:] *= 10**-0.6  # wet snow
    table = quality(make_cube(vv))
    assert lines(table) == [""] * 5


def test_holes_do_not_hide_a_displacement():
    vv = scenes(5, moved={2: (0, 2)})
    rows, columns = np.indices((SIDE, SIDE))
    for date in range(5):  # the same edge on all dates: it must not correlate with itself
        vv[date, columns + 0.3 * rows < 40] = hole_value(Hole.NODATA)
    vv[2, 60:75, 70:90] = hole_value(Hole.ZERO)
    table = quality(make_cube(vv))
    assert ["displaced by" in said for said in lines(table)] == [False, False, True, False, False]


@pytest.mark.parametrize(
    ("vv", "why"),
    [
        (scenes(2), "its track has 2 dates, 3 are needed"),
        (scenes(4, 40), "too small"),
    ],
)
def test_what_cannot_be_measured_is_said(vv, why):
    table = quality(make_cube(vv))
    assert table[["shift_rows", "shift_columns", "shift_confidence"]].isna().all(axis=None)
    assert all(why in said for said in lines(table))


def test_a_scene_that_covers_little_is_not_measured():
    vv = scenes(5)
    vv[1, 30:] = hole_value(Hole.OUTSIDE)
    table = quality(make_cube(vv))
    assert np.isnan(table.loc[1, "shift_rows"])
    assert "too little" in lines(table)[1]
    assert not any(said for number, said in enumerate(lines(table)) if number != 1)


def test_an_empty_scene_is_named():
    vv = scenes(4)
    vv[2] = hole_value(Hole.NODATA)
    table = quality(make_cube(vv))
    assert lines(table) == ["", "", "empty: it has no valid pixel here", ""]


def test_tracks_are_never_held_against_each_other():
    vv = np.concatenate([scenes(3), scenes(3, seed=5)])[[0, 3, 1, 4, 2, 5]]
    tracks = ["D164", "A054"] * 3
    assert lines(quality(make_cube(vv, tracks=tracks))) == [""] * 6
    lonely = quality(make_cube(vv[:5], tracks=tracks[:5]))
    assert [("2 dates" in said) for said in lines(lonely)] == [False, True, False, True, False]


def test_dropped_scenes_are_left_out_of_table_and_medians():
    cube = make_cube(scenes(6, moved={1: (2, 0), 2: (2, 0), 3: (2, 0)}), ids=["a", "b", "c", "d", "e,f", "g"])
    table = quality(cube, drop=["b", "c"])
    assert table.index.tolist() == [0, 3, 4, 5]
    assert ["displaced" in said for said in lines(table)] == [False, True, False, False]
    assert quality(cube, drop=["f"]).index.tolist() == [0, 1, 2, 3, 5]
    assert cube.isel(time=table.index)["item_ids"].values.tolist() == table["item_ids"].tolist()


def test_wrong_input_is_refused():
    cube = make_cube(scenes(3))
    with pytest.raises(InputError, match="items that are not in this cube: nobody"):
        quality(cube, drop=["scene-1", "nobody"])
    with pytest.raises(InputError, match="must be a list"):
        quality(cube, drop="scene-1")
    with pytest.raises(InputError, match="scene_track"):
        quality(cube.drop_vars("scene_track"))
    with pytest.raises(BandError, match="none of vv, hh, vh, hv; it has dem"):
        quality(cube.rename(vv="dem"))


def test_all_scenes_left_out_is_an_empty_table(calm):
    cube = make_cube(scenes(3))
    table = quality(cube, drop=["scene-0", "scene-1", "scene-2"])
    assert len(table) == 0
    assert table.columns.tolist() == calm.columns.tolist()


def test_foreign_cubes_may_lack_ids_and_order_dims_otherwise(calm):
    cube = make_cube(scenes()).drop_vars(["item_ids", "platform", "orbit_state", "relative_orbit"])
    table = quality(cube.transpose("y", "x", "time"))
    pd.testing.assert_frame_equal(table.iloc[:, 4:], calm.iloc[:, 4:])


def flawed():
    vv = scenes(6, 230, moved={2: (2, 1)})
    vv[3, :, 50:120] = hole_value(Hole.UNKNOWN)
    vv[4, 100:] *= 10**0.1
    vv[5, 20:40] = 0
    return make_cube(vv, ids=["a", "b", "c", "d", "e,f", "g"], vh=scenes(6, 230, seed=3))


@pytest.mark.parametrize(
    "chunks", [{"time": 1, "y": 64, "x": 230}, {"time": 4, "y": 37, "x": 53}, {"time": -1, "y": 230, "x": 7}]
)
def test_chunks_change_no_figure(chunks):
    cube = flawed()
    pd.testing.assert_frame_equal(quality(cube), quality(cube.chunk(chunks)), check_exact=True)


def test_each_chunk_is_computed_once_and_none_before():
    cube = flawed().chunk(time=1, y=100, x=100)
    looked = []

    def note(block, block_info=None):
        looked.append(tuple(block_info[None]["chunk-location"]))
        return block

    counted = cube.assign(
        vv=cube.vv.copy(data=da.map_blocks(note, cube.vv.data, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)))
    )
    assert looked == []
    with dask.config.set(scheduler="synchronous"):
        quality(counted)
    assert sorted(looked) == list(np.ndindex(6, 3, 3))


def test_a_cube_rounded_on_disk_says_the_same(tmp_path):
    cube = flawed().chunk(time=1, y=128, x=128)
    for name in cube.data_vars:
        cube[name].attrs = {"units": "1", "long_name": name}
    sc.write_cube(cube, tmp_path / "cube.zarr")
    stored = quality(sc.open_cube(tmp_path / "cube.zarr"))
    fresh = quality(cube)
    pd.testing.assert_frame_equal(stored.filter(regex="^vv|^vh"), fresh.filter(regex="^vv|^vh"))
    np.testing.assert_allclose(stored.filter(regex="^shift"), fresh.filter(regex="^shift"), atol=0.15)
    assert stored.loc[4, "seam_db"] > 0.5
    np.testing.assert_allclose(stored["seam_db"], fresh["seam_db"], atol=0.02)
    assert [said.split(" (")[0] for said in lines(stored)] == [said.split(" (")[0] for said in lines(fresh)]


def sliced(raised, side=300, *, oblique=True):
    """Four passes, the third in two slices whose later one is raised by some dB."""
    vv = scenes(4, side)
    cube = make_cube(vv, ids=["a", "b", "c,d", "e"])
    rows, columns = np.indices((side, side))
    heading = flight_heading(cube.odc.geobox, relative_orbit=62, orbit_state="descending") if oblique else np.pi
    along = columns * np.sin(heading) - rows * np.cos(heading)
    cube["vv"][2] = np.where(along > np.median(along) + 5, vv[2] * 10 ** (raised / 10), vv[2])
    return cube


@pytest.mark.parametrize("oblique", [True, False])
def test_a_seam_of_one_db_is_found_across_the_flight_and_along_rows(oblique):
    table = quality(sliced(1.0, oblique=oblique))
    assert table.loc[2, "seam_db"] == pytest.approx(1.0, abs=0.25)
    assert ["seam of" in said for said in lines(table)] == [False, False, True, False]
    assert table["seam_db"].isna().tolist() == [True, True, False, True]


def test_slices_that_fit_have_no_seam():
    table = quality(sliced(0.0))
    assert table.loc[2, "seam_db"] < 0.4
    assert lines(table) == [""] * 4


def test_snow_on_one_side_of_the_swath_is_no_seam():
    cube = sliced(0.0)
    cube["vv"][2, 150:, :80] *= 10**-0.5
    assert quality(cube).loc[2, "seam_db"] < 0.5


def test_a_seam_that_cannot_be_measured_is_said():
    assert "seam not measured" in lines(quality(sliced(1.0, side=100)))[2]
    unknown = sliced(1.0).assign_coords(relative_orbit=("time", np.zeros(4, np.int16)))
    table = quality(unknown)
    assert "seam not measured: relative_orbit must be 1 to 175" in lines(table)[2]
    assert table["seam_db"].isna().all()
    bare = sliced(1.0).drop_vars(["relative_orbit", "orbit_state"])
    assert "no coordinate orbit_state, relative_orbit" in lines(quality(bare))[2]
    nowhere = sliced(1.0).drop_vars("spatial_ref").assign_coords(x=np.arange(300.0), y=np.arange(300.0))
    assert "CRS" in lines(quality(nowhere))[2]


def test_flight_goes_where_the_pass_goes():
    geobox = GeoBox((100, 100), Affine(10, 0, 600_000, 0, -10, 100_000), "EPSG:32647")
    down = flight_heading(geobox, relative_orbit=62, orbit_state="descending")
    assert np.cos(down) < -0.95  # southward
    assert np.degrees(down) % 360 == pytest.approx(191, abs=3)


def test_cells_are_few_whatever_the_size():
    assert cell_size((640, 500)) == 4
    assert -(-20_000 // cell_size((20_000, 9_000))) <= 256


def test_a_step_needs_room():
    short = np.zeros((40, 200), np.float32)
    assert np.isnan(strongest_step(short, heading=0.2))
    assert np.isnan(strongest_step(np.full((200, 200), np.nan, np.float32), heading=0.2))


@given(st.integers(1, 6000), st.integers(1, 6000))
def test_tiles_are_few_and_inside(height, width):
    tiles = tiles_over((height, width))
    assert len(tiles) in ((0,) if min(height, width) < 48 else (4, 6, 9))
    for tile in tiles:
        assert 0 <= tile.y0 < tile.y1 <= height
        assert 0 <= tile.x0 < tile.x1 <= width
        assert 32 <= tile.y1 - tile.y0 <= 256
        assert 32 <= tile.x1 - tile.x0 <= 256
    if tiles:
        assert min(tile.y0 for tile in tiles) == 0
        assert max(tile.x1 for tile in tiles) == width


@given(
    hnp.arrays(np.float32, (5, 3, 4), elements=st.sampled_from([1.0, 2.0, 2.5, 7.0, -3.0, float("nan")])),
    hnp.arrays(bool, 5),
)
def test_median_of_the_others_is_numpys(stack, trusted):
    trusted[:2] = True
    for date, median in enumerate(medians_of_others(stack, trusted=trusted)):
        others = np.delete(stack, date, axis=0)[np.delete(trusted, date)]
        known = np.isfinite(others).any(axis=0)
        assert (np.isnan(median) == ~known).all()
        np.testing.assert_array_equal(median[known], np.nanmedian(others[:, known], axis=0))


def test_nothing_to_correlate_is_nan():
    flat = np.full((80, 80), -8, np.float32)
    assert np.isnan(displacement(flat, flat)).all()
    assert np.isnan(displacement(np.full_like(flat, np.nan), flat)).all()
    assert np.isnan(measure_shifts([np.stack([flat] * 3)] * 4).rows).all()


@pytest.fixture(scope="module")
def event(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quality") / "event"
    flaws = ("zeros", "slices", "vv_only", "shift", "fringe")  # on four dates before and one after: none meet
    simulation = sc.simulate(folder, seed=31, size_km=2.6, pre_dates=4, post_dates=1, flaws=flaws)
    items = sc.search(simulation.event, catalog=folder, pre_days=60, post_days=12)
    return simulation, items


def test_the_flaws_of_a_simulated_event_are_found(event):
    simulation, items = event
    cube = sc.load(items, bbox=simulation.event.bbox).load()
    table = quality(cube)
    displaced = table[["displaced by" in said for said in lines(table)]]
    assert sorted(displaced["track"]) == sorted(simulation.tracks)
    assert (displaced["time"] > pd.Timestamp(simulation.event.first_after).tz_localize(None)).all()
    np.testing.assert_allclose(displaced[["shift_rows", "shift_columns"]], [[2, 1]] * 2, atol=0.5)
    assert sum("VV are zeros" in said for said in lines(table)) == 2
    assert (table["vh_not_measured"] == 1).sum() == 2
    assert (table["slices"] == 2).sum() == table["seam_db"].notna().sum() == 2


def test_border_fringe_is_eroded_and_reported(event):
    _, items = event
    whole = sc.load(items)
    steps = np.flatnonzero((hole_reasons(whole.vv.values) == Hole.FRINGE).any(axis=(1, 2)))
    assert len(steps) >= 2
    table = quality(whole.isel(time=steps))
    raw = quality(sc.load(items, border_fringe=0).isel(time=steps))
    assert (table["vv_fringe"] > 0).all()
    assert (raw["vv_fringe"] == 0).all()
    np.testing.assert_allclose(table["vv_valid"] + table["vv_fringe"], raw["vv_valid"])


def test_a_fringe_is_weak_noise_along_nodata_and_moves_no_other_flaw(tmp_path):
    assert "fringe" in FLAWS
    assert "fringe" not in USUAL_FLAWS
    small = {"seed": 4, "size_km": 2.0, "pre_dates": 3, "post_dates": 1}  # so few that both fall on one date
    plain = sc.simulate(tmp_path / "plain", flaws=("zeros",), **small)
    fringed = sc.simulate(tmp_path / "fringed", flaws=("zeros", "fringe"), **small)
    files = sorted(path.relative_to(plain.folder) for path in plain.folder.rglob("*.tiff"))
    assert files == sorted(path.relative_to(fringed.folder) for path in fringed.folder.rglob("*.tiff"))
    changed = [name for name in files if (plain.folder / name).read_bytes() != (fringed.folder / name).read_bytes()]
    assert len(changed) == 4  # one date of each track, VV and VH
    for name in changed:
        before, after = (rioxarray.open_rasterio(event.folder / name).values[0] for event in (plain, fringed))
        edge = (after == NODATA) & (before != NODATA)
        weak = (after != before) & ~edge
        assert ((before == 0) == (after == 0))[~edge].all()
        assert (after[weak] > 0).all()
        assert -35 < 10 * np.log10(np.median(after[weak]) / np.median(before[before > 0])) < -18
        distance = ndimage.distance_transform_edt(after != NODATA)
        assert 4 < distance[weak].max() <= 9
        assert edge.any()
