from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from simple_stack import make_inventory, pixel_box

from sarcube.errors import InputError, ReadError
from sarcube.labels.inventory import read_inventory, repair_inventory, require_polygons

REAL = Path(__file__).parents[2] / "shared" / "data" / "inventories"
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
    repaired = repair_inventory(frame)
    assert repaired["name"].tolist() == ["a", "c", "f"]
    assert repaired.geometry.is_valid.all()
    assert set(repaired.geom_type) <= {"Polygon", "MultiPolygon"}
    assert repaired.geometry.area.tolist() == pytest.approx([50, 400, 100])  # the bow tie keeps both its triangles
    assert "1 invalid" in caplog.text
    assert "3 geometries" in caplog.text


def test_parts_that_lie_over_one_another_are_united_not_cut_out(caplog):
    two = shapely.MultiPolygon([pixel_box(0, 0, 20, 20), pixel_box(10, 10, 30, 30)])
    nested = shapely.GeometryCollection([two, shapely.Point(0, 0)])
    repaired = repair_inventory(gpd.GeoDataFrame(geometry=[two, nested], crs="EPSG:32647"))
    assert repaired.geometry.is_valid.all()
    assert repaired.area.tolist() == pytest.approx([70_000, 70_000])
    assert "2 invalid" in caplog.text


def test_an_inventory_without_a_crs_is_refused_with_the_remedy(tmp_path):
    frame = make_inventory((0, 0, 5, 5)).set_crs(None, allow_override=True)
    path = tmp_path / "nowhere.shp"
    with pytest.warns(UserWarning, match="crs"):
        frame.to_file(path)
    with pytest.raises(InputError, match="set_crs"):
        read_inventory(path)


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


def test_only_polygons_with_a_place_are_an_inventory():
    require_polygons(gpd.GeoDataFrame(geometry=[pixel_box(0, 0, 1, 1), None, shapely.Polygon()], crs="EPSG:32647"))
    with pytest.raises(InputError, match=r"also holds LINESTRING, POINT: read it with sc\.read_inventory"):
        require_polygons(
            gpd.GeoDataFrame(geometry=[shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)])], crs="EPSG:32647")
        )
    with pytest.raises(InputError, match="set_crs"):
        require_polygons(gpd.GeoDataFrame(geometry=[pixel_box(0, 0, 1, 1)]))


@pytest.mark.realdata
@pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}")
@pytest.mark.parametrize(
    ("name", "utm", "parts", "area", "repaired"),
    [
        ("cipongkor_landslides_2024", 32748, 79, 541_527.9, True),
        ("papau_new_guinea_landslide_2024", 32754, 1, 85_368.6, False),
    ],
)
def test_real_inventories_are_repaired_without_a_loss(name, utm, parts, area, repaired, caplog):
    path = REAL / f"{name}.geojson"
    inventory = read_inventory(path)
    drawn = gpd.read_file(path)
    assert drawn.is_valid.all() != repaired
    assert ("1 invalid polygons were repaired" in caplog.text) == repaired
    assert "dropped" not in caplog.text
    assert inventory.is_valid.all()
    assert (len(inventory), len(inventory.explode())) == (1, parts)
    assert inventory.to_crs(utm).area.sum() == pytest.approx(area, abs=0.1)  # rings touch and do not overlap
    assert drawn.to_crs(utm).area.sum() == pytest.approx(area, abs=0.1)
    assert inventory.drop(columns="geometry").equals(drawn.drop(columns="geometry"))
