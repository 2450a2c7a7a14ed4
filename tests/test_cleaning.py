"""Inventories cleaned by what each track sees: by hand, by pixel, any chunks, real outlines."""

from pathlib import Path

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.errors import BandError, InputError
from sarcube.labels import cleaning as module
from sarcube.labels.cleaning import clean_inventory
from sarcube.labels.inventory import read_inventory
from sarcube.labels.rasterise import rasterise_inventory

LEFT, TOP, PIXEL = 500_000, 5_210_000, 10
CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA = 0, 1, 2, 3, 255
CIPONGKOR = Path(__file__).parents[2] / "shared" / "data" / "inventories" / "cipongkor_landslides_2024.geojson"


def _cube(*masks, chunks=None, geobox=None):
    masks = np.array(masks, np.uint8)
    geobox = geobox or GeoBox(masks.shape[1:], Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), "EPSG:32633")
    names = {"latitude": "y", "longitude": "x"}
    coords = {
        names.get(name, name): xr.DataArray(c.values, dims=names.get(name, name), attrs=c.attrs) if c.ndim else c
        for name, c in xr_coords(geobox).items()
    }
    data = masks if chunks is None else da.from_array(masks, chunks=chunks)
    return xr.Dataset(
        {"layover_shadow": (("track", "y", "x"), data, {"grid_mapping": "spatial_ref"})},
        coords={**coords, "track": ("track", ["A044", "D168", "D066"][: len(masks)])},
    )


def _box(y0, x0, y1, x1):
    """Rectangle in pixels: rows y0 to y1, columns x0 to x1."""
    return shapely.box(LEFT + PIXEL * x0, TOP - PIXEL * y1, LEFT + PIXEL * x1, TOP - PIXEL * y0)


def _inventory(*shapes, **columns):
    return gpd.GeoDataFrame(columns, geometry=list(shapes), crs="EPSG:32633")


def _random(seed, tracks):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(8, 40, 2))
    masks = rng.choice([CLEAR, CLEAR, CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA], (tracks, *shape))
    shapes = [
        shapely.Point(LEFT + PIXEL * x, TOP - PIXEL * y).buffer(PIXEL * r, quad_segs=3)
        for x, y, r in rng.uniform((-5, -5, 0.05), (45, 45, 6), (12, 3))
    ]
    return masks, _inventory(*shapes, name=[f"slide {n}" for n in range(12)])


def test_three_inventories_by_hand():
    up, down = np.zeros((2, 20, 30), int)
    up[:, 10:], up[:, 20:] = LAYOVER, NO_DATA
    down[:10] = SHADOW
    inventory = _inventory(
        _box(2, 2, 6, 6),  # seen by A044 alone
        _box(12, 8, 16, 12),  # half of it in layover for A044
        _box(12, 18, 16, 22),  # half in layover, half without data
        _box(8, 2, 12, 7),  # half in shadow for D168
        _box(-2, 4, 2, 6),  # half beside the cube
        _box(-9, 4, -3, 6),  # beside it
        name=list("abcdef"),
    ).set_index("name", drop=False)
    cleaned = clean_inventory(inventory, _cube(up, down))
    assert cleaned.original is inventory
    assert list(cleaned.per_track) == ["A044", "D168"]
    first, second = cleaned.per_track.values()

    assert first.index.tolist() == first["name"].tolist() == ["a", "b", "d", "e"]
    assert first["inventory_row"].tolist() == [0, 1, 3, 4]
    assert first["visible_share"].tolist() == pytest.approx([1, 0.5, 1, 1])
    assert first.loc["a", "geometry"] == inventory.loc["a", "geometry"]  # to the last digit
    assert first.loc["b", "geometry"].equals(_box(12, 8, 16, 10))
    assert first.loc["e", "geometry"].equals(_box(0, 4, 2, 6))
    assert second["name"].tolist() == ["b", "c", "d"]
    assert second.loc["d", "geometry"].equals(_box(10, 2, 12, 7))

    expected = pd.DataFrame(
        {
            "landslides": [5, 5],
            "outside": [1, 1],
            "kept": [3, 2],
            "partly_lost": [1, 1],
            "wholly_lost": [1, 2],
            "area_m2": [7200.0, 7200.0],
            "lost_m2": [800 + 1600.0, 1600 + 1000 + 400.0],
            "hidden_m2": [800 + 800.0, 1600 + 1000 + 400.0],
            "unknown_m2": [800.0, 0.0],
            "lost_share": [2400 / 7200, 3000 / 7200],
        },
        index=pd.Index(["A044", "D168"], name="track"),
    )
    pd.testing.assert_frame_equal(cleaned.lost, expected)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_a_pixel_is_landslide_afterwards_if_it_was_and_the_track_sees_it(seed):
    masks, inventory = _random(seed, 2)
    cube = _cube(*masks)
    before = rasterise_inventory(inventory, cube)
    for mask, left in zip(masks, clean_inventory(inventory, cube).per_track.values(), strict=True):
        np.testing.assert_array_equal(rasterise_inventory(left, cube), before & (mask == CLEAR))


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_areas_add_up_and_ground_is_only_lost(seed, tracks):
    masks, inventory = _random(seed, tracks)
    cube = _cube(*masks)
    _, per_track, lost = clean_inventory(inventory, cube)
    assert (lost["kept"] + lost["partly_lost"] + lost["wholly_lost"] == lost["landslides"]).all()
    assert (lost["landslides"] + lost["outside"] == len(inventory)).all()
    np.testing.assert_allclose(lost["hidden_m2"] + lost["unknown_m2"], lost["lost_m2"], atol=1e-3)
    for track, left in per_track.items():
        before = inventory.iloc[left["inventory_row"]]
        assert left["name"].equals(before["name"])
        assert left.is_valid.all()
        assert (left.difference(before).area < 1e-3).all()
        assert left.area.sum() == pytest.approx(lost.loc[track, "area_m2"] - lost.loc[track, "lost_m2"], abs=1e-3)
        assert left["visible_share"].between(0, 1 + 1e-9).all()
        assert (left["visible_share"] == 1).sum() == lost.loc[track, "kept"]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(4, 40)] * 2), st.integers(5, 40))
def test_chunks_and_blocks_change_nothing(seed, chunks, block):
    masks, inventory = _random(seed, 2)
    cleaned = clean_inventory(inventory, _cube(*masks))
    chunked = clean_inventory(inventory, _cube(*masks, chunks=(1, *chunks)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        blocks = clean_inventory(inventory, _cube(*masks))
    pd.testing.assert_frame_equal(cleaned.lost, chunked.lost, check_exact=True)
    pd.testing.assert_frame_equal(cleaned.lost, blocks.lost)
    for track, left in cleaned.per_track.items():
        pd.testing.assert_frame_equal(pd.DataFrame(left), pd.DataFrame(chunked.per_track[track]), check_exact=True)
        assert left.geometry.geom_equals(blocks.per_track[track].geometry).all()


def test_masks_are_computed_once_and_only_near_landslides():
    calls = []

    def counted(block, block_info=None):
        if block_info:
            calls.append(block_info[0]["chunk-location"])
        return block

    cube = _cube(np.full((60, 80), SHADOW), np.zeros((60, 80)), chunks=(1, 20, 20))
    lazy = cube["layover_shadow"].data.map_blocks(counted, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    cube["layover_shadow"] = (("track", "y", "x"), lazy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 40)
        cleaned = clean_inventory(_inventory(_box(2, 2, 38, 12), _box(30, 12, 37, 38)), cube)
    assert sorted(calls) == [(track, y, x) for track in range(2) for y in range(2) for x in range(2)]
    assert cleaned.lost["wholly_lost"].tolist() == [2, 0]


def test_slivers_are_dropped_on_request_from_landslides_that_lost_ground():
    mask = np.zeros((20, 30), int)
    mask[:, 10:14] = SHADOW
    inventory = _inventory(_box(2, 2, 6, 15), _box(8, 1, 9, 2))  # leaves 8 x 4 and 1 x 4 pixels; 1 pixel, untouched
    every, large = (clean_inventory(inventory, _cube(mask), min_area=area) for area in (0, 401))
    assert every.per_track["A044"].area.tolist() == [3600, 100]
    assert large.per_track["A044"].area.tolist() == [3200, 100]
    assert large.per_track["A044"].geom_type.tolist() == ["Polygon", "Polygon"]
    row = large.lost.loc["A044"]
    assert (row["lost_m2"], row["hidden_m2"]) == (2000, 1600)


def test_outlines_along_pixels_leave_no_slivers():
    # In coordinates that no float holds.
    geobox = GeoBox((40, 40), Affine(9.7, 0, 500_000.3, 0, -9.7, 5_210_000.1), "EPSG:32633")
    mask = np.full((40, 40), LAYOVER)
    mask[:, 20:] = CLEAR
    west, east = (
        shapely.box(*(geobox.affine * (column, 33)), *(geobox.affine * (column + 7, 3))) for column in (13, 20)
    )
    cleaned = clean_inventory(gpd.GeoDataFrame(geometry=[west, east], crs=32633), _cube(mask, geobox=geobox))
    assert cleaned.lost.loc["A044", ["kept", "partly_lost", "wholly_lost"]].tolist() == [1, 0, 1]
    assert cleaned.per_track["A044"].geometry.iloc[0] == east


def test_an_inventory_comes_in_any_crs_and_goes_in_the_cubes():
    mask = np.zeros((20, 20), int)
    mask[:, 10:] = BOTH
    inventory = _inventory(_box(2, 2, 6, 16), _box(8, 2, 12, 6))
    here, there = (clean_inventory(frame, _cube(mask)) for frame in (inventory, inventory.to_crs(4326)))
    pd.testing.assert_frame_equal(here.lost, there.lost, rtol=1e-6)
    left = there.per_track["A044"]
    assert (left.crs, there.original.crs) == ("EPSG:32633", "EPSG:4326")
    assert left.geometry.iloc[0].equals_exact(_box(2, 2, 6, 10), 1e-3, normalize=True)


def test_areas_of_a_cube_in_degrees_are_those_on_the_ground():
    geobox = GeoBox((300, 200), Affine(1e-3, 0, 12, 0, -1e-3, 70), "EPSG:4326")
    mask = np.zeros(geobox.shape, int)
    mask[150:] = SHADOW
    slide = shapely.box(12.05, 69.75, 12.1, 69.95)
    row = clean_inventory(gpd.GeoDataFrame(geometry=[slide], crs=4326), _cube(mask, geobox=geobox)).lost.loc["A044"]
    geod = pyproj.Geod(ellps="WGS84")
    whole, north = (
        # A densified outline: the sides of a geodesic polygon would leave the parallels.
        abs(geod.geometry_area_perimeter(shapely.box(12.05, low, 12.1, 69.95).segmentize(1e-3))[0])
        for low in (69.75, 69.85)
    )
    assert row["area_m2"] == pytest.approx(whole, rel=1e-6)
    assert row["hidden_m2"] == pytest.approx(whole - north, rel=1e-6)
    assert 0.5 < row["lost_share"] < 0.51  # the southern half is the wider one


def test_landslides_elsewhere_are_counted_and_warned_of(caplog):
    far = gpd.GeoDataFrame(geometry=[shapely.box(-120, -40, -119, -39), None, shapely.Polygon()], crs=4326)
    cleaned = clean_inventory(far, _cube(np.zeros((5, 5))))
    assert cleaned.lost.loc["A044", ["landslides", "outside", "area_m2"]].tolist() == [0, 1, 0]
    assert np.isnan(cleaned.lost.loc["A044", "lost_share"])
    assert len(cleaned.per_track["A044"]) == 0
    assert cleaned.per_track["A044"].crs == "EPSG:32633"
    assert "none of the 1 landslides" in caplog.text
    nothing = clean_inventory(far.iloc[:0], _cube(np.zeros((5, 5))))
    assert nothing.lost.loc["A044", "outside"] == 0


def test_a_landslide_that_crosses_itself_is_repaired():
    bow = shapely.Polygon([(LEFT + PIXEL * x, TOP - PIXEL * y) for x, y in ((1, 1), (9, 9), (9, 1), (1, 9))])
    mask = np.zeros((12, 12), int)
    mask[:, :5] = SHADOW
    cleaned = clean_inventory(_inventory(bow), _cube(mask))
    assert cleaned.per_track["A044"].area.tolist() == pytest.approx([1600])
    assert cleaned.lost.loc["A044", "lost_share"] == pytest.approx(0.5)


def test_a_landslide_of_parts_that_lie_over_one_another_keeps_its_ground():
    parts = shapely.MultiPolygon([_box(0, 0, 4, 4), _box(2, 2, 6, 6)])
    cleaned = clean_inventory(_inventory(parts), _cube(np.zeros((8, 8))))
    assert cleaned.per_track["A044"].area.tolist() == pytest.approx([2800])
    assert cleaned.lost["area_m2"].tolist() == pytest.approx([2800])


def test_what_cannot_be_used_is_refused():
    cube, inventory = _cube(np.zeros((20, 20))), _inventory(_box(0, 0, 2, 2))
    with pytest.raises(BandError, match=r"run sc\.add_geometry"):
        clean_inventory(inventory, cube.drop_vars("layover_shadow"))
    with pytest.raises(InputError, match=r"uint8 with dimensions.*float32"):
        clean_inventory(inventory, cube.astype(np.float32))
    with pytest.raises(InputError, match="codes 0 to 3 and 255, not 9"):
        clean_inventory(inventory, _cube(np.full((20, 20), 9)))
    with pytest.raises(InputError, match="no coordinate reference system"):
        clean_inventory(gpd.GeoDataFrame(geometry=[_box(0, 0, 2, 2)]), cube)
    with pytest.raises(InputError, match=r"also holds POINT.*read_inventory"):
        clean_inventory(_inventory(shapely.Point(LEFT, TOP)), cube)
    with pytest.raises(InputError, match="min_area must be"):
        clean_inventory(inventory, cube, min_area=-1)
    with pytest.raises(InputError, match=r"cleaned before.*drop\(columns="):
        clean_inventory(clean_inventory(inventory, cube).per_track["A044"], cube)


@pytest.mark.realdata
@pytest.mark.skipif(not CIPONGKOR.is_file(), reason=f"the real data is not at {CIPONGKOR}")
def test_a_real_inventory_is_cut_where_the_mask_is():
    inventory = read_inventory(CIPONGKOR).explode(ignore_index=True)
    projected = inventory.to_crs(32748)
    west, _, _, north = projected.total_bounds
    geobox = GeoBox((340, 330), Affine(10, 0, west - 100, 0, -10, north + 100), "EPSG:32748")
    blind = np.broadcast_to(np.where(np.arange(330) < 150, LAYOVER, CLEAR), geobox.shape)
    cleaned = clean_inventory(inventory, _cube(blind, np.zeros(geobox.shape), geobox=geobox))
    assert cleaned.lost.loc["D168", ["kept", "lost_m2"]].tolist() == [len(inventory), 0]
    east = projected.clip(shapely.box(west - 100 + 1500, -1e8, 1e8, 1e8))
    assert cleaned.per_track["A044"].area.sum() == pytest.approx(east.area.sum(), rel=1e-9)
    assert len(cleaned.per_track["A044"]) == len(east)
