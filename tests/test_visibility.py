"""What the tracks see: hand-made masks with known answers, any chunks, landslides that are tiny, split or outside."""

from pathlib import Path

import dask
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

import sarcube as sc
from sarcube.cube.geometry import visibility as module
from sarcube.cube.geometry.visibility import visibility
from sarcube.errors import BandError, InputError

LEFT, TOP, PIXEL = 500_000, 5_210_000, 10
CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA = 0, 1, 2, 3, 255
KM2 = PIXEL**2 / 1e6  # of a pixel
CIPONGKOR = Path(__file__).parents[2] / "shared" / "data" / "inventories" / "cipongkor_landslides_2024.geojson"


def _cube(*masks, chunks=None, geobox=None, names=("A044", "D168", "D066")):
    masks = np.array(masks, np.uint8)
    geobox = geobox or GeoBox(masks.shape[1:], Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), "EPSG:32633")
    coords = {
        **{name: xr.DataArray(c.values, dims=dim, attrs=c.attrs) if c.ndim else c for (name, c), dim in _axes(geobox)},
        "track": ("track", list(names[: len(masks)])),
    }
    data = masks if chunks is None else da.from_array(masks, chunks=chunks)
    attrs = {"grid_mapping": "spatial_ref", "source": "by hand"}
    return xr.Dataset({"layover_shadow": (("track", "y", "x"), data, attrs)}, coords=coords)


def _axes(geobox):
    """Coordinates by the names y and x, also in degrees."""
    for name, values in xr_coords(geobox).items():
        short = {"latitude": "y", "longitude": "x"}.get(name, name)
        yield (short, values), short


def _box(y0, x0, y1, x1):
    """Rectangle in pixels: rows y0 to y1, columns x0 to x1."""
    return shapely.box(LEFT + PIXEL * x0, TOP - PIXEL * y1, LEFT + PIXEL * x1, TOP - PIXEL * y0)


def _inventory(*shapes):
    return gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:32633")


# Four columns of ground by two tracks: what each sees of them.
FIRST = np.array([[CLEAR, CLEAR, LAYOVER, NO_DATA, NO_DATA]] * 4)
SECOND = np.array([[CLEAR, SHADOW, BOTH, CLEAR, NO_DATA]] * 4)


def test_areas_and_shares_by_hand():
    table = visibility(_cube(FIRST, SECOND)).table
    expected = pd.DataFrame(
        {
            "area_km2": np.array([12, 16, 16, 12]) * KM2,
            "seen_km2": np.array([8, 8, 12, 4]) * KM2,
            "seen_share": [8 / 12, 8 / 16, 12 / 16, 4 / 12],
            "layover_share": [4 / 12, 4 / 16, 4 / 16, 4 / 12],
            "shadow_share": [0, 8 / 16, 4 / 16, 8 / 12],
            "no_data_km2": np.array([8, 4, 4, 8]) * KM2,
        },
        index=pd.Index(["A044", "D168", "any track", "all tracks"], name="track"),
    )
    pd.testing.assert_frame_equal(table, expected)


def test_layer_counts_the_tracks_that_see():
    seeing = visibility(_cube(FIRST, SECOND)).tracks_seeing
    assert seeing.dtype == np.uint8
    np.testing.assert_array_equal(seeing, [[2, 1, 0, 1, 255]] * 4)
    assert set(seeing.attrs) == {"units", "long_name", "flag_values", "flag_meanings", "nodata", "grid_mapping"}
    assert "track" not in seeing.coords


def test_ground_without_data_is_in_no_share():
    table, seeing = visibility(_cube(np.full((3, 4), NO_DATA)), _inventory(_box(0, 0, 2, 2)))
    row = table.loc["any track"]
    assert (row["area_km2"], row["landslides"], row["landslide_km2"]) == (0, 0, 0)
    assert row["no_data_km2"] == pytest.approx(12 * KM2)
    assert row[["seen_share", "layover_share", "landslide_seen_share"]].isna().all()
    assert (seeing == 255).all()


def _by_hand(masks, shapes, geobox):
    """The landslide columns from whole masks and a point-in-polygon test, without blocks."""
    masks = np.asarray(masks)
    known, seen = masks != NO_DATA, masks == CLEAR
    known = np.concatenate([known, [known.any(axis=0)], [known.all(axis=0)]])
    seen = np.concatenate([seen, [seen.any(axis=0)], [seen.all(axis=0)]])
    column, row = np.meshgrid(np.arange(masks.shape[2]), np.arange(masks.shape[1]))
    x, y = geobox.affine * (column + 0.5, row + 0.5)
    half_x, half_y = geobox.affine.a / 2, -geobox.affine.e / 2
    union = np.zeros(masks.shape[1:], bool)
    counts = np.zeros((2, len(known)), int)
    for shape in shapes:
        pixels = shapely.contains_xy(shape, x, y)
        union |= pixels
        if not pixels.any():
            pixels = shapely.intersects(shapely.box(x - half_x, y - half_y, x + half_x, y + half_y), shape)
        of_it, seen_of_it = (known & pixels).sum(axis=(1, 2)), (seen & pixels).sum(axis=(1, 2))
        counts += [of_it > 0, 2 * seen_of_it > of_it]
    return counts, (known & union).sum(axis=(1, 2)), (seen & union).sum(axis=(1, 2))


def test_landslides_by_hand():
    mask = np.zeros((20, 30), int)
    mask[:, 10:] = LAYOVER
    mask[:, 20:] = NO_DATA
    inventory = _inventory(
        _box(2, 2, 6, 6),  # seen
        _box(2, 7, 6, 12),  # three fifths seen
        _box(8, 7, 12, 13),  # half seen: not the larger part
        _box(8, 13, 12, 16),  # blind
        _box(14, 18, 18, 26),  # blind, and most of it unknown
        _box(2, 22, 6, 28),  # wholly unknown
        shapely.union_all([_box(14, 1, 16, 3), _box(17, 5, 19, 8)]),  # two parts, seen
        _box(12.1, 4.1, 12.2, 4.2),  # holds no centre: seen
        _box(12.7, 15.8, 12.9, 16.2),  # nor does this: on two pixels, blind
        _box(-8, 2, -3, 6),  # beside the cube
        _box(3, 3, 5, 5),  # lies in the first
    )
    row = visibility(_cube(mask), inventory).table.loc["A044"]
    seen = 16 + 12 + 12 + 4 + 6
    known = 16 + 20 + 24 + 12 + 8 + 4 + 6  # the last landslide lies in the first and adds nothing
    assert (row["landslides"], row["landslides_seen"]) == (9, 5)
    assert row["landslide_km2"] == pytest.approx(known * KM2)
    assert row["landslide_seen_km2"] == pytest.approx(seen * KM2)
    assert row["landslide_seen_share"] == pytest.approx(seen / known)


def test_an_edge_through_centres_gives_them_to_one_side():
    cube = _cube(np.zeros((20, 20)))
    corners = [shapely.Point(box.centroid) for box in (_box(2, 2, 3, 3), _box(2, 12, 3, 13), _box(12, 2, 13, 3))]
    corners.append(shapely.Point(_box(12, 12, 13, 13).centroid))
    # A square with its corners in centres, whole and cut along either diagonal.
    whole = shapely.MultiPoint(corners).convex_hull
    halves = [shapely.MultiPoint([corners[i] for i in side]).convex_hull for side in ((0, 1, 2), (1, 2, 3))]
    others = [shapely.MultiPoint([corners[i] for i in side]).convex_hull for side in ((0, 1, 3), (0, 2, 3))]
    for shapes in ([whole], halves, others):
        assert visibility(cube, _inventory(*shapes)).table.loc["A044", "landslide_km2"] == pytest.approx(100 * KM2)


def test_a_ring_that_crosses_itself_is_counted():
    bow = shapely.Polygon([(LEFT + PIXEL * x, TOP - PIXEL * y) for x, y in ((1, 1), (9, 9), (9, 1), (1, 9))])
    small = shapely.transform(bow, lambda points: (points - (LEFT, TOP)) * 0.001 + (LEFT + 121, TOP - 121))
    row = visibility(_cube(np.zeros((20, 20))), _inventory(bow, small)).table.loc["A044"]
    assert row["landslides_seen"] == 2
    assert 0 < row["landslide_km2"] < 64 * KM2


def test_what_one_track_loses_the_other_may_see():
    first, second = np.zeros((2, 10, 10), int)
    first[:, :6], second[:, 4:] = LAYOVER, SHADOW
    inventory = _inventory(_box(0, 0, 4, 4), _box(0, 6, 4, 10), _box(5, 4, 10, 6))
    table = visibility(_cube(first, second), inventory).table
    assert table["landslides"].tolist() == [3, 3, 3, 3]
    assert table["landslides_seen"].tolist() == [1, 1, 2, 0]
    assert table.loc["any track", "landslide_seen_share"] == pytest.approx(32 / 42)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.tuples(*[st.integers(4, 40)] * 2), st.integers(5, 40))
def test_chunks_and_blocks_change_nothing(seed, tracks, chunks, block):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(8, 40, 2))
    masks = rng.choice([CLEAR, CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA], (tracks, *shape))
    shapes = [
        shapely.Point(LEFT + PIXEL * x, TOP - PIXEL * y).buffer(PIXEL * r, quad_segs=3)
        for x, y, r in rng.uniform((-5, -5, 0.05), (45, 45, 6), (12, 3))
    ]
    inventory = _inventory(*shapes)
    table, seeing = visibility(_cube(*masks), inventory)
    chunked = visibility(_cube(*masks, chunks=(1, *chunks)), inventory)
    pd.testing.assert_frame_equal(chunked.table, table, check_exact=True)
    xr.testing.assert_identical(chunked.tracks_seeing.compute(), seeing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        in_blocks = visibility(_cube(*masks), inventory).table
    pd.testing.assert_frame_equal(in_blocks, table, rtol=1e-12)
    geobox = GeoBox(shape, Affine(PIXEL, 0, LEFT, 0, -PIXEL, TOP), "EPSG:32633")
    (number, number_seen), known, seen = _by_hand(masks, shapes, geobox)
    np.testing.assert_allclose(table["landslide_km2"], known * KM2)
    np.testing.assert_allclose(table["landslide_seen_km2"], seen * KM2)
    np.testing.assert_array_equal(table["landslides"], number)
    np.testing.assert_array_equal(table["landslides_seen"], number_seen)


def test_the_layer_is_lazy_and_the_masks_are_computed_once():
    calls = []

    def counted(block, block_info=None):
        if block_info:
            calls.append(block_info[0]["chunk-location"])
        return block

    cube = _cube(FIRST, SECOND, chunks=(1, 2, 3))
    lazy = cube.layover_shadow.data.map_blocks(counted, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8))
    cube["layover_shadow"] = (("track", "y", "x"), lazy)
    seeing = visibility(cube, _inventory(_box(0, 0, 2, 2), _box(1, 1, 4, 4))).tracks_seeing
    assert len(calls) == len(set(calls)) == 2 * 2 * 2
    assert seeing.chunks is not None
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(seeing, [[2, 1, 0, 1, 255]] * 4)


def test_an_inventory_comes_in_any_crs():
    mask = np.zeros((20, 20), int)
    mask[:, 10:] = LAYOVER
    inventory = _inventory(_box(2, 2, 6, 6), _box(2, 12, 6, 16))
    here, there = (visibility(_cube(mask), table).table for table in (inventory, inventory.to_crs(4326)))
    pd.testing.assert_frame_equal(here, there)
    assert here.loc["A044", "landslides_seen"] == 1


def test_landslides_beside_the_cube_are_warned_of(caplog):
    far = gpd.GeoDataFrame(geometry=[shapely.box(-120, -40, -119, -39)], crs=4326)
    table = visibility(_cube(np.zeros((5, 5))), far).table
    assert (table["landslides"] == 0).all()
    assert "none of the 1 landslides" in caplog.text
    nothing = visibility(_cube(np.zeros((5, 5))), far.iloc[:0]).table
    pd.testing.assert_frame_equal(nothing, table)


def test_a_cube_in_degrees_has_its_areas_on_the_ground():
    geobox = GeoBox((300, 200), Affine(1e-3, 0, 12, 0, -1e-3, 70), "EPSG:4326")
    mask = np.zeros(geobox.shape, int)
    mask[150:] = SHADOW
    inventory = gpd.GeoDataFrame(geometry=[shapely.box(12.05, 69.95, 12.1, 69.99)], crs=4326)
    row = visibility(_cube(mask, geobox=geobox), inventory).table.loc["A044"]
    north, whole = (
        # A densified outline: the sides of a geodesic polygon would leave the parallels.
        abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shapely.box(12, low, 12.2, 70).segmentize(1e-3))[0])
        / 1e6
        for low in (69.85, 69.7)
    )
    assert row["seen_km2"] == pytest.approx(north, rel=1e-6)
    assert row["area_km2"] == pytest.approx(whole, rel=1e-6)
    assert row["seen_share"] < 0.5  # the southern half is the wider one
    assert row["landslide_seen_share"] == 1


def test_what_cannot_be_used_is_refused():
    cube = _cube(FIRST)
    with pytest.raises(BandError, match=r"run sc\.add_geometry"):
        visibility(cube.drop_vars("layover_shadow"))
    with pytest.raises(InputError, match=r"uint8 with dimensions.*float32"):
        visibility(cube.astype(np.float32))
    with pytest.raises(InputError, match="uint8 with dimensions"):
        visibility(cube.isel(track=0))
    with pytest.raises(InputError, match="codes 0 to 3 and 255, not 9"):
        visibility(_cube(FIRST + 9 * (FIRST == CLEAR)))
    with pytest.raises(InputError, match="no coordinate reference system"):
        visibility(cube, gpd.GeoDataFrame(geometry=[_box(0, 0, 2, 2)]))
    with pytest.raises(InputError, match=r"also holds POINT.*read_inventory"):
        visibility(cube, _inventory(_box(0, 0, 2, 2), shapely.Point(LEFT, TOP)))


@pytest.mark.realdata
@pytest.mark.skipif(not CIPONGKOR.is_file(), reason=f"the real data is not at {CIPONGKOR}")
def test_a_real_inventory_keeps_its_number_and_area():
    inventory = sc.read_inventory(CIPONGKOR).to_crs(32748)
    parts = inventory.explode()
    west, _, _, north = inventory.total_bounds
    geobox = GeoBox((340, 330), Affine(10, 0, west - 100, 0, -10, north + 100), "EPSG:32748")
    column = np.arange(330)
    blind = np.broadcast_to(np.where(column < 150, LAYOVER, CLEAR), geobox.shape)
    table = visibility(_cube(blind, np.zeros(geobox.shape), geobox=geobox), parts).table
    assert table["landslides"].tolist() == [len(parts)] * 4
    # Most are a few pixels large; their sum is known better than each of them.
    assert table.loc["D168", "landslide_km2"] == pytest.approx(inventory.area.sum() / 1e6, rel=0.01)
    east = inventory.clip(shapely.box(west - 100 + 1500, -1e8, 1e8, 1e8)).area.sum() / inventory.area.sum()
    assert table.loc["A044", "landslide_seen_share"] == pytest.approx(east, abs=0.01)
