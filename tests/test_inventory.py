import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import make_inventory, make_stack, pixel_box

from sarcube.errors import InputError, ReadError
from sarcube.labels.inventory import clean_inventory, landslide_fraction, rasterise_inventory, read_inventory

BOW_TIE = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])  # crosses itself


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson", ".parquet"])
def test_what_geopandas_writes_is_read(tmp_path, suffix):
    inventory = make_inventory((0, 0, 5, 5), (10, 10, 20, 12)).to_crs("EPSG:4326")
    path = tmp_path / f"landslides{suffix}"
    inventory.to_parquet(path) if suffix == ".parquet" else inventory.to_file(path)
    read = read_inventory(path)
    assert read.crs == inventory.crs
    assert shapely.equals_exact(read.geometry.to_numpy(), inventory.geometry.to_numpy(), 1e-6, normalize=True).all()


def test_invalid_polygons_are_repaired_and_other_geometries_dropped(caplog):
    mixed = shapely.GeometryCollection([pixel_box(0, 0, 2, 2), shapely.LineString([(0, 0), (1, 1)])])
    shapes = [BOW_TIE, shapely.Point(0, 0), mixed, None, shapely.Polygon(), pixel_box(5, 5, 6, 6)]
    frame = gpd.GeoDataFrame({"name": list("abcdef")}, geometry=shapes, crs="EPSG:32647")
    cleaned = clean_inventory(frame)
    assert cleaned["name"].tolist() == ["a", "c", "f"]
    assert cleaned.geometry.is_valid.all()
    assert set(cleaned.geom_type) <= {"Polygon", "MultiPolygon"}
    assert cleaned.geometry.area.tolist() == pytest.approx([50, 400, 100])  # the bow tie keeps both its triangles
    assert "1 invalid" in caplog.text
    assert "3 geometries" in caplog.text


def test_an_inventory_without_a_crs_is_refused_with_the_remedy(tmp_path):
    frame = make_inventory((0, 0, 5, 5)).set_crs(None, allow_override=True)
    path = tmp_path / "nowhere.shp"
    with pytest.warns(UserWarning, match="crs"):
        frame.to_file(path)
    with pytest.raises(InputError, match="set_crs"):
        read_inventory(path)
    with pytest.raises(InputError, match="set_crs"):
        rasterise_inventory(frame, make_stack(8, 8))


def test_files_that_are_no_inventories_are_refused(tmp_path):
    with pytest.raises(ReadError, match="no inventory at"):
        read_inventory(tmp_path / "missing.gpkg")
    broken = tmp_path / "broken.gpkg"
    broken.write_bytes(b"not a database")
    with pytest.raises(ReadError, match="cannot be read"):
        read_inventory(broken)
    points = tmp_path / "points.geojson"
    gpd.GeoDataFrame(geometry=[shapely.Point(0, 0)], crs="EPSG:4326").to_file(points)
    with pytest.raises(InputError, match="none of its 1"):
        read_inventory(points)
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no geometries"):
        read_inventory(table)


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


@given(st.integers(16, 60), st.integers(16, 60), st.integers(1, 16), st.integers(0, 1000))
@settings(max_examples=50)
def test_fractions_are_those_of_counting(height, width, stride, seed):
    from sarcube.windows import window_origins

    label = (np.random.default_rng(seed).random((height, width)) < 0.2).astype(np.uint8)
    fractions = landslide_fraction(label, size=16, stride=stride)
    for i, y in enumerate(window_origins(height, 16, stride)):
        for j, x in enumerate(window_origins(width, 16, stride)):
            assert fractions[i, j] == label[y : y + 16, x : x + 16].sum() / 256
