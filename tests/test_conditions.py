"""Conditions of patches: planes whose slope, direction and angles are known, any chunks, several events and tracks."""

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
from sarcube.errors import AreaError, BandError, InputError, TrackError
from sarcube.evaluation.conditions import describe_patches

LEFT, TOP, PIXEL, SIZE = 500_000.0, 5_210_000.0, 10.0, 16
SHAPE = (48, 64)
TRACKS = ("A044", "D168")


def grid(shape=SHAPE, *, left=LEFT, top=TOP, pixel=PIXEL, crs="EPSG:32633"):
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, top), crs)


def make_cube(*, slope=20.0, aspect=90.0, azimuth=(270.0, 90.0), mask=0, geobox=None, chunks=None, cover=None):
    """Layers that are one number, or an array (y, x) of them; incidence rises by 0.01 degrees a column and a track."""
    geobox = geobox or grid()
    shape = tuple(geobox.shape)

    def layer(values, dtype=np.float32):
        array = np.broadcast_to(np.asarray(values, dtype), shape).copy()
        return array if chunks is None else da.from_array(array, chunks=chunks)

    def layers(values, dtype=np.float32):
        stack = [layer(value, dtype) for value in values]
        return np.stack(stack) if chunks is None else da.stack(stack)

    incidence = [30 + 0.01 * np.arange(shape[1]) + 10 * n for n in range(len(TRACKS))]
    variables = {
        "slope": (("y", "x"), layer(slope)),
        "aspect": (("y", "x"), layer(aspect)),
        "incidence_angle": (("track", "y", "x"), layers(incidence)),
        "sensor_azimuth": (("track", "y", "x"), layers(azimuth)),
        "layover_shadow": (("track", "y", "x"), layers([mask, 0], np.uint8)),
    }
    if cover is not None:
        variables["cover"] = (("y", "x"), layer(cover, np.uint8), {"nodata": 255})
    return xr.Dataset(variables, coords={**xr_coords(geobox, dims=("y", "x")), "track": list(TRACKS)})


def make_table(*origins, landslide=False, event="one", track="A044", geobox=None, size=SIZE):
    """Patches from pixels (y0, x0)."""
    a, _, c, _, e, f = (geobox or grid()).affine[:6]
    y0, x0 = np.array(origins).T
    corners = {"left": c + a * x0, "bottom": f + e * (y0 + size), "right": c + a * (x0 + size), "top": f + e * y0}
    return pd.DataFrame(
        {
            "event": event,
            "track": track,
            "stack": 0,
            "y0": y0,
            "x0": x0,
            **corners,
            "crs": str((geobox or grid()).crs),
            "fraction": 0.0,
            "landslide": landslide,
        }
    )


def pixel_box(y0, x0, y1, x1):
    return shapely.box(LEFT + PIXEL * x0, TOP - PIXEL * y1, LEFT + PIXEL * x1, TOP - PIXEL * y0)


def inventory(*shapes):
    return gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:32633")


def test_a_plane_is_described_as_what_it_is():
    table = describe_patches(make_table((0, 0), (16, 32)), make_cube(slope=25.0, aspect=80.0, azimuth=(60.0, 90.0)))
    np.testing.assert_allclose(table["slope"], 25)
    np.testing.assert_allclose(table["aspect"], 80, atol=1e-4)
    # On the central meridian grid north is true north, but for thousandths of a degree this far east of it.
    np.testing.assert_allclose(table["look_aspect"], 20, atol=0.01)
    np.testing.assert_allclose(table["incidence_angle"], [30 + 0.01 * 7.5, 30 + 0.01 * 39.5], atol=1e-5)
    assert table["distortion"].tolist() == ["none", "none"]
    assert "landslide_area" not in table
    assert "land_cover" not in table


def test_of_each_patch_the_layers_of_its_own_track():
    patches = pd.concat([make_table((0, 0), track=track) for track in ("D168", "A044", "D168")], ignore_index=True)
    table = describe_patches(patches, make_cube(azimuth=(270.0, 90.0), mask=2))
    np.testing.assert_allclose(table["incidence_angle"], [40.075, 30.075, 40.075], atol=1e-5)
    np.testing.assert_allclose(table["look_aspect"], [0, 180, 0], atol=0.01)
    assert table["distortion"].tolist() == ["none", "layover", "none"]


@given(st.lists(st.floats(0, 359.9), min_size=1, max_size=6), st.floats(-180, 180))
@settings(deadline=None, max_examples=25)
def test_a_mean_direction_turns_with_the_ground(directions, turn):
    """The mean of a circle has no seam: what is turned before is turned after."""
    aspect = np.resize(directions, SHAPE)
    patches = make_table((0, 0), (20, 30))
    before, after = (
        describe_patches(patches, make_cube(aspect=(aspect + by) % 360))["aspect"].to_numpy() for by in (0, turn)
    )
    units = np.exp(1j * np.radians([aspect[y : y + SIZE, x : x + SIZE] for y, x in ((0, 0), (20, 30))]))
    known = abs(units.mean((1, 2))) > 0.01  # where directions nearly cancel out, rounding decides which is left
    difference = (after - before - turn + 180) % 360 - 180
    np.testing.assert_allclose(difference[known], 0, atol=0.05)


def test_north_is_the_mean_of_359_and_1():
    aspect = np.where(np.arange(SHAPE[1]) % 2, 359.0, 1.0)
    (mean,) = describe_patches(make_table((0, 0)), make_cube(aspect=aspect))["aspect"]
    assert min(mean, 360 - mean) == pytest.approx(0, abs=1e-4)


def test_flat_ground_and_opposite_slopes_have_no_aspect():
    table = describe_patches(make_table((0, 0)), make_cube(slope=0.0, aspect=np.nan))
    assert table[["aspect", "look_aspect"]].isna().all(axis=None)
    assert table["slope"].tolist() == [0]
    both = describe_patches(make_table((0, 0)), make_cube(aspect=np.where(np.arange(SHAPE[1]) % 2, 10.0, 190.0)))
    assert both["aspect"].isna().all()
    # Half of the ground looks 80 degrees off the sensor in the west, half of it 100 degrees: 90 on average.
    assert both["look_aspect"].tolist() == [pytest.approx(90, abs=0.01)]


def test_away_from_the_central_meridian_grid_north_counts():
    geobox = grid(left=700_000.0)
    x, y = 700_000 + 10 * SIZE / 2, TOP - 10 * SIZE / 2
    convergence = (
        pyproj.Proj("EPSG:32633").get_factors(*pyproj.Proj("EPSG:32633")(x, y, inverse=True)).meridian_convergence
    )
    assert convergence > 1.5
    cube = make_cube(aspect=100.0, azimuth=(100.0, 0.0), geobox=geobox)
    (angle,) = describe_patches(make_table((0, 0), geobox=geobox), cube)["look_aspect"]
    assert angle == pytest.approx(convergence, abs=0.01)


def test_a_landslide_is_described_by_its_own_pixels():
    slope = np.full(SHAPE, 10.0)
    slope[:8, :4] = 35.0
    slides = inventory(pixel_box(0, 0, 8, 4))
    origins = (0, 0), (16, 0)
    cube = make_cube(slope=slope, mask=np.where(slope > 30, 3, 0))
    hit = describe_patches(make_table(*origins, landslide=True), cube, inventory=slides)
    assert hit["slope"].tolist() == [35, 10]  # no landslide pixel lies in the second, whatever its label says
    assert hit["distortion"].tolist() == ["both", "none"]
    assert hit["layover_share"].tolist() == [1, 0]
    share = 8 * 4 / SIZE**2
    for missed in (
        describe_patches(make_table(*origins, landslide=False), cube, inventory=slides),
        describe_patches(make_table(*origins, landslide=True), cube),
    ):
        np.testing.assert_allclose(missed["slope"], [10 + 25 * share, 10], rtol=1e-6)
        np.testing.assert_allclose(missed["shadow_share"], [share, 0])


def test_size_is_that_of_the_landslide_that_covers_most():
    broad, long = pixel_box(0, 0, 6, 6), pixel_box(10, 12, 14, 60)
    apart = shapely.MultiPolygon([pixel_box(30, 40, 33, 43), pixel_box(40, 40, 43, 43)])
    table = describe_patches(
        make_table((0, 0), (0, 30), (28, 36), (28, 0)), make_cube(), inventory=inventory(long, broad, apart)
    )
    assert table["landslide_area"].tolist()[:3] == pytest.approx([3600, 4 * 48 * 100, 1800])
    assert table["largest_landslide_area"].tolist()[:3] == pytest.approx([19200, 19200, 1800])
    assert table[["landslide_area", "largest_landslide_area"]].iloc[3].isna().all()


def test_a_landslide_beside_a_patch_does_not_touch_it():
    table = describe_patches(make_table((0, 0)), make_cube(), inventory=inventory(pixel_box(0, 16, 4, 20)))
    assert table["landslide_area"].isna().all()


def test_areas_are_square_metres_on_a_grid_in_degrees():
    geobox = grid(left=15.0, top=47.0, pixel=1e-4, crs="EPSG:4326")
    shape = shapely.box(15.0004, 46.9985, 15.0014, 46.9995)
    slides = gpd.GeoDataFrame(geometry=[shape], crs="EPSG:4326")
    truth = abs(pyproj.Geod(ellps="WGS84").geometry_area_perimeter(shape)[0])
    (area,) = describe_patches(make_table((0, 0), geobox=geobox), make_cube(geobox=geobox), inventory=slides)[
        "landslide_area"
    ]
    assert area == pytest.approx(truth, rel=1e-4)


def test_land_cover_is_the_most_frequent_class():
    cover = np.full(SHAPE, 7)
    cover[:, :9] = 3
    cover[16:32] = 255
    cover[32:, :8] = 9
    cover[32:, 8:16] = 4
    table = describe_patches(make_table((0, 0), (0, 16), (16, 0), (32, 0)), make_cube(cover=cover), land_cover="cover")
    assert table["land_cover"].tolist() == [3, 7, pd.NA, 4]  # of two that are equally frequent, the lower
    assert "cover" not in table


def test_what_a_mask_does_not_know_is_not_counted():
    mask = np.full(SHAPE, 255)
    mask[:, :2], mask[:, 16:] = 1, 0
    table = describe_patches(make_table((0, 0), (0, 2), (0, 16)), make_cube(mask=mask))
    np.testing.assert_allclose(table["shadow_share"], [1, 0, 0])
    assert table["distortion"].tolist() == ["shadow", "none", "none"]
    unknown = describe_patches(make_table((0, 0)), make_cube(mask=255))
    assert unknown["distortion"].isna().all()
    assert unknown["layover_share"].isna().all()


def random_ground(draws, chunks=None):
    holes = draws.random(SHAPE) < 0.1
    return make_cube(
        slope=np.where(holes, np.nan, draws.uniform(0, 60, SHAPE)),
        aspect=np.where(holes, np.nan, draws.uniform(0, 360, SHAPE)),
        azimuth=draws.uniform(0, 360, (2, *SHAPE)),
        mask=draws.choice([0, 1, 2, 3, 255], SHAPE),
        cover=draws.choice([1, 2, 3, 255], SHAPE),
        chunks=chunks,
    )


@given(st.integers(0, 999), st.tuples(st.integers(5, 48), st.integers(7, 64)))
@settings(deadline=None, max_examples=10)
def test_chunks_and_order_change_nothing(seed, chunks):
    draws = np.random.default_rng(seed)
    origins = np.column_stack([draws.integers(0, n - SIZE + 1, 12) for n in SHAPE])
    patches = make_table(*origins).assign(
        landslide=draws.random(12) < 0.5, track=draws.choice(TRACKS, 12), note=np.arange(12)
    )
    slides = inventory(*(pixel_box(y, x, y + 9, x + 5) for y, x in origins[:4]))
    numpy, lazy = (random_ground(np.random.default_rng(seed), given) for given in (None, chunks))
    expected = describe_patches(patches, numpy, inventory=slides, land_cover="cover")
    pd.testing.assert_frame_equal(expected[patches.columns], patches)
    order = draws.permutation(12)
    with dask.config.set(scheduler="synchronous"):
        got = describe_patches(patches.iloc[order], lazy, inventory=slides, land_cover="cover")
    pd.testing.assert_frame_equal(got.loc[range(12)], expected, check_exact=True)


def test_windows_of_several_tiles(monkeypatch):
    monkeypatch.setattr("sarcube.labels.pixels.TILE", 8)
    patches = make_table(*[(y, x) for y in range(0, 33, 8) for x in range(0, 49, 8)])
    few = describe_patches(patches, random_ground(np.random.default_rng(1)))
    monkeypatch.undo()
    pd.testing.assert_frame_equal(few, describe_patches(patches, random_ground(np.random.default_rng(1))))
    assert few["slope"].nunique() == len(few) == 35


def test_each_event_has_its_own_cube():
    east = grid(left=LEFT + 50_000)
    cubes = {"one": make_cube(slope=10.0), "two": make_cube(slope=40.0, geobox=east)}
    patches = pd.concat(
        [
            make_table((0, 0), event="two", geobox=east),
            make_table((0, 0), (8, 8)),
        ]
    )
    slides = {"one": inventory(pixel_box(0, 0, 4, 4)), "two": inventory()}
    table = describe_patches(patches, cubes, inventory=slides)
    assert table["slope"].tolist() == [40, 10, 10]
    assert table.index.tolist() == [0, 0, 1]
    assert table["landslide_area"].notna().tolist() == [False, True, False]


def test_events_are_those_of_a_table_that_was_kept_as_text():
    """There a name of digits comes back as a number, and no name as NaN."""
    cubes = {"5": make_cube(slope=10.0), "": make_cube(slope=20.0)}
    for event, slope in ((5, 10), (np.nan, 20)):
        found = describe_patches(make_table((0, 0), event=event), cubes)
        assert found["slope"].tolist() == [pytest.approx(slope)]
    assert describe_patches(make_table((0, 0), event=5), {5: make_cube()})["event"].tolist() == [5]


def test_a_cube_of_finer_pixels_serves_as_well():
    fine = grid((96, 128), pixel=5.0)
    table = describe_patches(make_table((16, 32)), make_cube(geobox=fine))
    assert table["incidence_angle"].tolist() == [pytest.approx(30 + 0.01 * (64 + 15.5), abs=1e-5)]


def test_local_incidence_joins_where_the_cube_has_it():
    cube = make_cube(slope=20.0, aspect=90.0, azimuth=(90.0, 270.0))
    patches = pd.concat([make_table((0, 0), track=track) for track in TRACKS])
    table = describe_patches(patches, sc.add_local_incidence(cube))
    # A slope toward the sensor takes its angle off, one that faces away adds it.
    np.testing.assert_allclose(table["local_incidence_angle"], [30.075 - 20, 40.075 + 20], atol=1e-3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t, c: (t, c.drop_vars("slope")), BandError, "add_terrain"),
        (lambda t, c: (t, c.drop_vars(["layover_shadow", "aspect"])), BandError, "aspect, layover_shadow"),
        (lambda t, c: (t.assign(track="D001"), c), TrackError, "D001"),
        (lambda t, c: (t.assign(left=t.left - 20, right=t.right - 20), c), AreaError, "1 of 1"),
        (lambda t, c: (t.assign(crs="EPSG:32634"), c), InputError, "EPSG:32634"),
        (lambda t, c: (t.assign(crs=""), c), InputError, "made of arrays"),
        (lambda t, c: (t.assign(crs=np.nan), c), InputError, "made of arrays"),
        (lambda t, c: (t.assign(left=np.nan), c), InputError, "made of arrays"),
        (lambda t, c: (t.drop(columns="crs"), c), InputError, "lacks crs"),
        (lambda t, c: (t.iloc[:0], c), InputError, "no patch"),
        (lambda t, c: (t, {"another": c}), InputError, "another"),
    ],
)
def test_what_cannot_be_described_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        describe_patches(*change(make_table((0, 0)), make_cube()))


def test_classes_are_whole_numbers():
    cube = make_cube(cover=1)
    with pytest.raises(InputError, match="whole numbers"):
        describe_patches(make_table((0, 0)), cube, land_cover="slope")
    with pytest.raises(BandError, match="add_layer"):
        describe_patches(make_table((0, 0)), cube, land_cover="landcover")
