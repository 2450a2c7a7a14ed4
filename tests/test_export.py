import errno
import sqlite3
import xml.etree.ElementTree as ET

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from simple_stack import LEFT, TOP, MeanModel, make_stack

import sarcube as sc
from sarcube.cog import write_cog
from sarcube.detection.export import score_map, write_detections
from sarcube.errors import InputError, StoreError


@pytest.fixture
def boxes():
    return sc.detect(make_stack(64, 80) + 10, MeanModel(), stride=16)


def read(path):
    return gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path, layer=0)


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet", ".geojson", ".shp"])
@pytest.mark.parametrize("count", [0, 1, None])
def test_boxes_come_back_from_every_format(boxes, tmp_path, suffix, count):
    boxes = boxes.iloc[:count]
    path = write_detections(boxes, tmp_path / f"boxes{suffix}")
    back = read(path).rename(columns={"visible": "visible_share"})
    if len(boxes) or suffix != ".geojson":  # GeoJSON has columns only where it has features
        assert set(boxes.columns) <= set(back.columns)
    assert back.crs.to_epsg() == (4326 if suffix == ".geojson" else 32647)
    assert len(back) == len(boxes)
    if len(boxes):
        np.testing.assert_allclose(back["score"], boxes["score"], rtol=1e-6)
    # RFC 7946 text has seven decimals of a degree: a centimetre
    differing = shapely.symmetric_difference(back.to_crs(boxes.crs).geometry.to_numpy(), boxes.geometry.to_numpy())
    assert (shapely.area(differing) <= 0.02 * shapely.length(boxes.geometry.to_numpy())).all()
    assert not [p for p in tmp_path.iterdir() if p.stem != "boxes"]


def test_the_geopackage_carries_a_style_that_is_its_default(boxes, tmp_path):
    path = write_detections(boxes, tmp_path / "boxes.gpkg")
    with sqlite3.connect(path) as connection:
        name, column, qml, default = connection.execute(
            "SELECT f_table_name, f_geometry_column, styleQML, useAsDefault FROM layer_styles"
        ).fetchone()
        tables = dict(connection.execute("SELECT table_name, data_type FROM gpkg_contents"))
        geometry = connection.execute("SELECT table_name, column_name FROM gpkg_geometry_columns").fetchone()
    connection.close()
    assert ((name, column), default) == (geometry, 1)
    assert tables == {"detections": "features", "layer_styles": "attributes"}
    renderer = ET.fromstring(qml).find("renderer-v2")
    assert renderer.get("attr") == "score"
    ranges = [(float(r.get("lower")), float(r.get("upper"))) for r in renderer.iter("range")]
    assert [low for low, _ in ranges[1:]] == [high for _, high in ranges[:-1]]
    assert (ranges[0][0], ranges[-1][1]) == (0, 1)
    symbols = {symbol.get("name") for symbol in renderer.iter("symbol")}
    assert {r.get("symbol") for r in renderer.iter("range")} == symbols


def test_an_existing_file_is_replaced(boxes, tmp_path):
    for _ in range(2):
        path = write_detections(boxes, tmp_path / "boxes.gpkg")
    write_detections(boxes.iloc[:1], path)
    assert len(read(path)) == 1


def test_other_formats_and_frames_are_refused(boxes, tmp_path):
    with pytest.raises(InputError, match=r"\.gpkg, \.parquet, \.geojson, \.shp"):
        write_detections(boxes, tmp_path / "boxes.kml")
    with pytest.raises(InputError, match="set_crs"):
        write_detections(boxes.set_crs(None, allow_override=True), tmp_path / "boxes.gpkg")
    with pytest.raises(StoreError, match="does not exist; make it first"):
        write_detections(boxes, tmp_path / "nowhere" / "boxes.gpkg")


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
def test_a_full_disk_leaves_what_was_there(boxes, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"result{suffix}"
    path.write_bytes(b"what was there")
    monkeypatch.setattr("pyogrio.write_dataframe", full_disk)
    monkeypatch.setattr(gpd.GeoDataFrame, "to_parquet", full_disk)
    with pytest.raises(StoreError, match=r"No space left on device; is the disk full"):
        write_detections(boxes, path)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_boxes_that_do_not_arrive_are_noticed(boxes, tmp_path, monkeypatch):
    monkeypatch.setattr("pyogrio.read_info", lambda path: {"features": 1})
    with pytest.raises(StoreError, match=f"only 1 of {len(boxes)}"):
        write_detections(boxes, tmp_path / "boxes.geojson")
    assert not list(tmp_path.iterdir())


def test_the_score_map_puts_each_window_at_its_centre():
    scores = sc.score_windows(make_stack(64, 83), MeanModel(), stride=8)
    layer = score_map(scores)
    assert layer.chunks is not None
    assert layer.rio.crs == scores.rio.crs
    assert layer.rio.resolution() == (80, -80)
    np.testing.assert_array_equal(layer["y"], scores["y"])
    np.testing.assert_array_equal(layer["x"][:-1], scores["x"][:-1])
    assert scores["column"].to_numpy()[-2:].tolist() == [64, 67]  # clamped, drawn in the next cell
    assert layer["x"].to_numpy()[-1] == layer["x"].to_numpy()[-2] + 80
    assert layer.rio.transform() * (0, 0) == (LEFT + 40, TOP - 40)
    np.testing.assert_array_equal(layer.compute().to_numpy(), scores.compute().to_numpy())
    with pytest.raises(InputError, match="score_windows"):
        score_map(layer)


def test_a_map_of_a_single_window_keeps_its_cell_size(tmp_path):
    layer = score_map(sc.score_windows(make_stack(16, 16), MeanModel(), stride=8))
    with rasterio.open(write_cog(layer, tmp_path / "one.tif")) as dataset:
        assert dataset.res == (80, 80)
        assert dataset.bounds == (LEFT + 40, TOP - 120, LEFT + 120, TOP - 40)
