"""Labels and fractions: the rule of centres, any chunks, areas to the last digit."""

from pathlib import Path

import dask
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from simple_stack import LEFT, PIXEL, TOP, make_inventory, make_stack, pixel_box

from sarcube.errors import InputError
from sarcube.labels import rasterise as module
from sarcube.labels.inventory import read_inventory
from sarcube.labels.rasterise import (
    grid_of,
    landslide_fraction,
    lazy_label,
    rasterise_fraction,
    rasterise_inventory,
)
from sarcube.windows import window_origins

CIPONGKOR = Path(__file__).parents[2] / "shared" / "data" / "inventories" / "cipongkor_landslides_2024.geojson"


def _inventory(*shapes):
    return gpd.GeoDataFrame(geometry=list(shapes), crs="EPSG:32647")


def _polygon(*points):
    """Polygon from points in pixels: row and column."""
    return shapely.Polygon([(LEFT + PIXEL * x, TOP - PIXEL * y) for y, x in points])


def _drawn(seed, size, number=15):
    """Discs, rings, and triangles whose corners are centres or corners of pixels, so that edges run through centres."""
    rng = np.random.default_rng(seed)
    shapes = []
    for y, x, radius in rng.uniform((-5, -5, 0.05), (size + 5, size + 5, size / 4), (number, 3)):
        disc = shapely.Point(LEFT + PIXEL * x, TOP - PIXEL * y).buffer(PIXEL * radius, quad_segs=3)
        shapes.append(disc.difference(disc.buffer(-PIXEL * radius / 2)) if radius > 3 else disc)
    for corners in rng.integers(-6, 2 * size + 6, (number, 3, 2)) / 2:
        triangle = _polygon(*corners)
        shapes += [triangle] if triangle.is_valid and triangle.area else []
    return shapes


def test_a_pixel_is_landslide_if_its_centre_is():
    inventory = make_inventory((2, 3, 4, 6), (6.4, 0, 7.6, 1))
    label = rasterise_inventory(inventory, make_stack(10, 12))
    expected = np.zeros((10, 12), np.uint8)
    expected[2:4, 3:6] = 1
    expected[6:8, 0] = 1
    np.testing.assert_array_equal(label, expected)
    missed = rasterise_inventory(make_inventory((6.6, 0, 7.4, 1)), make_stack(10, 12))
    assert not missed.any()


def test_the_inventory_is_brought_to_the_grid_of_the_stack():
    inventory = make_inventory((20, 30, 60, 70))
    stack = make_stack(100, 120)
    there = rasterise_inventory(inventory, stack)
    np.testing.assert_array_equal(rasterise_inventory(inventory.to_crs("EPSG:4326"), stack.odc.geobox), there)
    assert there.sum() == 1600


def test_an_empty_inventory_burns_nothing():
    label = rasterise_inventory(make_inventory(), make_stack(9, 9))
    assert label.shape == (9, 9)
    assert not label.any()


def test_data_without_a_grid_are_refused():
    with pytest.raises(InputError, match="write_crs"):
        rasterise_inventory(make_inventory((0, 0, 1, 1)), make_stack(9, 9).drop_vars("spatial_ref").drop_encoding())


@pytest.mark.parametrize("burn", [rasterise_inventory, rasterise_fraction, lazy_label])
def test_what_cannot_be_burnt_is_refused(burn):
    stack = make_stack(9, 9)
    with pytest.raises(InputError, match="set_crs"):
        burn(make_inventory((0, 0, 5, 5)).set_crs(None, allow_override=True), stack)
    with pytest.raises(InputError, match=r"also holds POINT.*read_inventory"):
        burn(_inventory(shapely.Point(LEFT, TOP)), stack)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 60), st.sampled_from([None, 7, 16]))
def test_tiles_burn_what_the_whole_grid_burns(seed, size, tile):
    shapes = [shape for shape in _drawn(seed, size) if len(shape.exterior.coords) > 4]  # centres on edges are below
    grid = grid_of(make_stack(size, size + 3))
    whole = rasterize(shapes, out_shape=grid.shape, transform=grid.affine, dtype="uint8") if shapes else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile or module._TILE)
        np.testing.assert_array_equal(
            rasterise_inventory(_inventory(*shapes), grid), np.broadcast_to(whole, grid.shape)
        )


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(5, 60), st.tuples(*[st.integers(1, 40)] * 2), st.integers(3, 50))
def test_chunks_never_change_a_label(seed, size, chunks, tile):
    inventory = _inventory(*_drawn(seed, size))
    stack = make_stack(size, size + 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile)
        label = lazy_label(inventory, stack.chunk(dict(zip(("y", "x"), chunks, strict=True))))
        np.testing.assert_array_equal(label.compute(scheduler="sync"), rasterise_inventory(inventory, stack))


def test_a_lazy_label_is_a_layer_of_the_stack():
    def refuse(*_args, **_kwargs):
        raise AssertionError("computed while the graph was built")

    inventory, stack = make_inventory((2, 3, 40, 60)), make_stack(50, 80).chunk({"y": 20, "x": 33})
    with dask.config.set(scheduler=refuse):
        label = lazy_label(inventory, stack)
        again = lazy_label(inventory, stack.to_dataset("band"))
    assert (label.name, label.dims, label.dtype) == ("landslide", ("y", "x"), np.uint8)
    assert label.chunks == ((20, 20, 10), (33, 33, 14))
    assert label.data.name == again.data.name  # the same in every process
    assert label.data.name != lazy_label(make_inventory((2, 3, 40, 61)), stack).data.name
    assert label.attrs["flag_meanings"] == "no_landslide landslide"
    assert label.attrs["grid_mapping"] == "spatial_ref"
    assert label.odc.geobox == stack.odc.geobox
    xr.testing.assert_equal(stack.assign_coords(landslide=label).landslide.drop_vars("landslide"), label)
    np.testing.assert_array_equal(label, rasterise_inventory(inventory, stack))
    assert lazy_label(make_inventory(), make_stack(9, 9)).compute().sum() == 0  # of what is not chunked, and of nothing


def test_centres_on_edges_are_given_alike_to_every_block():
    # A square with its corners in centres, cut along a diagonal that runs through centres.
    half, other = _polygon((2.5, 2.5), (2.5, 42.5), (42.5, 2.5)), _polygon((42.5, 42.5), (2.5, 42.5), (42.5, 2.5))
    for shapes in ([half], [other], [half, other]):
        whole = rasterise_inventory(_inventory(*shapes), make_stack(50, 50))
        for size in (1, 3, 16):
            part = lazy_label(_inventory(*shapes), make_stack(50, 50).chunk({"y": size, "x": size + 1}))
            np.testing.assert_array_equal(part, whole)


def test_fractions_by_hand():
    half = _polygon((0, 0), (0, 2), (2, 0))  # a triangle over four pixels
    quarter = pixel_box(3.5, 3.5, 4, 4)
    within = _polygon((6.2, 6.2), (6.2, 6.7), (6.4, 6.7))
    ring = pixel_box(1, 4, 3, 7).difference(pixel_box(1.5, 5, 2.5, 6))
    share = rasterise_fraction(_inventory(half, quarter, quarter, within, ring), make_stack(8, 9))
    expected = np.zeros((8, 9))
    expected[:2, :2] = [[1, 0.5], [0.5, 0]]
    expected[3, 3], expected[6, 6] = 0.25, 0.05
    expected[1:3, 4:7] = [[1, 0.5, 1]] * 2
    assert share.dtype == np.float32
    np.testing.assert_allclose(share, expected, atol=1e-7)
    assert set(np.unique(share)) >= {0, 1}  # not nearly


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.integers(3, 50))
def test_fractions_are_the_areas_of_the_union_in_each_pixel(seed, height, width, tile):
    shapes = _drawn(seed, max(height, width), 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_TILE", tile)
        share = rasterise_fraction(_inventory(*shapes), make_stack(height, width))
    y, x = np.mgrid[:height, :width]
    pixels = shapely.box(LEFT + PIXEL * x, TOP - PIXEL * (y + 1), LEFT + PIXEL * (x + 1), TOP - PIXEL * y)
    union = shapely.union_all(shapes)
    np.testing.assert_allclose(share, shapely.area(shapely.intersection(pixels, union)) / PIXEL**2, atol=1e-6)
    on_grid = union.intersection(pixel_box(0, 0, height, width)).area
    assert share.sum(dtype=np.float64) * PIXEL**2 == pytest.approx(on_grid, rel=1e-6, abs=1e-4)


def test_fractions_of_a_polygon_that_crosses_itself_are_those_of_the_repaired_one():
    bow_tie = _polygon((0, 0), (4, 4), (4, 0), (0, 4))
    share = rasterise_fraction(_inventory(bow_tie), make_stack(6, 6))
    outer, inner = [0.5, 1, 1, 0.5], [0, 0.5, 0.5, 0]
    np.testing.assert_allclose(share[:4, :4], [outer, inner, inner, outer])


def test_ground_in_two_parts_of_one_landslide_is_landslide():
    parts = shapely.MultiPolygon([pixel_box(0, 0, 4, 4), pixel_box(2, 2, 6, 6)])
    for burn in (rasterise_inventory, rasterise_fraction):
        assert burn(_inventory(parts), make_stack(8, 8)).sum() == 28


def test_each_tile_is_burnt_with_the_parts_near_it_alone():
    parts = [pixel_box(y, x, y + 2, x + 3) for y in range(0, 40, 8) for x in range(0, 40, 8)]
    one, many = _inventory(shapely.MultiPolygon(parts)), _inventory(*parts)
    stack = make_stack(40, 40)
    assert len(module.in_pixels(one, grid_of(stack))) == len(parts)
    np.testing.assert_array_equal(rasterise_inventory(one, stack), rasterise_inventory(many, stack))


def test_a_turned_grid_and_one_in_degrees_have_their_fractions():
    turned = GeoBox((60, 60), Affine.translation(LEFT, TOP) * Affine.rotation(30) * Affine.scale(10, -10), "EPSG:32647")
    disc = shapely.Point(*(turned.affine * (30.3, 29.1))).buffer(123)
    assert rasterise_fraction(_inventory(disc), turned).sum() * 100 == pytest.approx(disc.area, rel=1e-6)
    assert rasterise_inventory(_inventory(disc), turned).sum() * 100 == pytest.approx(disc.area, rel=0.02)
    degrees = GeoBox((50, 70), Affine(1e-4, 0, 107.3, 0, -1e-4, -6.9), "EPSG:4326")
    box = gpd.GeoDataFrame(geometry=[shapely.box(107.30005, -6.9021, 107.301, -6.902)], crs=4326)
    assert rasterise_fraction(box, degrees).sum() == pytest.approx(9.5, rel=1e-6)


@given(st.integers(16, 60), st.integers(16, 60), st.integers(1, 16), st.integers(0, 1000))
@settings(max_examples=50)
def test_fractions_are_those_of_counting(height, width, stride, seed):
    label = (np.random.default_rng(seed).random((height, width)) < 0.2).astype(np.uint8)
    fractions = landslide_fraction(label, size=16, stride=stride)
    for i, y in enumerate(window_origins(height, 16, stride)):
        for j, x in enumerate(window_origins(width, 16, stride)):
            assert fractions[i, j] == label[y : y + 16, x : x + 16].sum() / 256


@pytest.mark.realdata
@pytest.mark.skipif(not CIPONGKOR.is_file(), reason=f"the real data is not at {CIPONGKOR}")
def test_a_real_inventory_keeps_its_area():
    inventory = read_inventory(CIPONGKOR).to_crs(32748)
    west, _, _, north = inventory.total_bounds
    grid = GeoBox((340, 330), Affine(10, 0, west - 100, 0, -10, north + 100), "EPSG:32748")
    share = rasterise_fraction(inventory, grid)
    assert share.sum(dtype=np.float64) * 100 == pytest.approx(inventory.area.sum(), rel=1e-6)
    assert rasterise_inventory(inventory, grid).sum() * 100 == pytest.approx(inventory.area.sum(), rel=0.01)
