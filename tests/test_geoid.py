"""The geoid's height: with PROJ's grid, without it, and never from the network."""

import logging

import numpy as np
import pyproj
import pytest
import rasterio
from numpy.testing import assert_allclose
from pyproj.datadir import append_data_dir, get_data_dir, set_data_dir
from rasterio.transform import from_origin

import sarcube as sc
from sarcube.cube.geometry import geoid
from sarcube.cube.geometry.geoid import geoid_undulation

ABSENT = "no geoid: PROJ's grid us_nga_egm08_25.tif is not installed"


@pytest.fixture
def proj_data(tmp_path, monkeypatch):
    """A folder that PROJ looks into for this test; what is installed on this machine is out of sight."""
    before = get_data_dir()
    monkeypatch.setattr(geoid, "get_user_data_dir", lambda: str(tmp_path / "nobody"))
    append_data_dir(str(tmp_path))
    yield tmp_path
    set_data_dir(before)


@pytest.fixture(autouse=True)
def _said_nothing_yet():
    geoid._log_absence.cache_clear()


def plane(lat, lon):
    return 40.0 + 0.5 * np.asarray(lat) - 0.25 * np.asarray(lon)


def write_tif(folder, name, heights=None):
    """A vertical shift grid, 1 degree apart, 40..50 N and 0..20 E, as PROJ's GeoTIFF grids are."""
    if heights is None:
        heights = plane(*np.meshgrid(np.arange(50.0, 39.0, -1.0), np.arange(0.0, 21.0), indexing="ij"))
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "height": heights.shape[0], "width": heights.shape[1]}
    transform = from_origin(-0.5, 50.5, 1.0, 1.0)
    with rasterio.open(folder / name, "w", crs="EPSG:4979", transform=transform, **profile) as grid:
        grid.write(heights.astype("float32"), 1)
        grid.update_tags(TYPE="VERTICAL_OFFSET_GEOGRAPHIC_TO_VERTICAL", AREA_OR_POINT="Point")
        grid.set_band_description(1, "geoid_undulation")


def write_gtx(folder, name, constant):
    """The older format: header, then rows from the south, big-endian."""
    heights = np.full((3, 3), constant, ">f4")
    header = np.array([-90.0, -180.0, 90.0, 180.0], ">f8").tobytes() + np.array([3, 3], ">i4").tobytes()
    (folder / name).write_bytes(header + heights.tobytes())


def test_without_a_grid_there_are_zeros_and_a_text_that_says_so(proj_data, caplog):
    with caplog.at_level(logging.INFO, logger="sarcube"):
        undulation, text = geoid_undulation([[45.0], [46.0]], [10.0, 11.0, 12.0])
        again, _ = geoid_undulation(0.0, 0.0)
    assert undulation.shape == (2, 3)
    assert not undulation.any()
    assert again == 0.0
    assert text.startswith(ABSENT)
    assert text.endswith("less than 0.005 degrees")
    (record,) = caplog.records  # once, at info
    assert record.levelno == logging.INFO
    assert "pyproj sync" in record.getMessage()


def test_the_most_a_missing_geoid_moves_the_incidence_is_below_five_thousandths():
    """107 m is the largest undulation of all; near incidence at the equator feels it most."""
    for lat, lon, orbit in ((45.4, 1.7, 59), (0.0, 12.4, 59)):
        low, high = (
            sc.sar.look_geometry(lat, lon, height, relative_orbit=orbit, orbit_state="ascending")[0]
            for height in (0.0, 107.0)
        )
        assert 0 < high - low < 0.005


def test_an_installed_grid_is_applied_with_the_sign_of_the_undulation(proj_data, caplog):
    write_tif(proj_data, "us_nga_egm08_25.tif")
    lat, lon = np.array([[47.25], [44.5]]), np.array([3.0, 11.75, np.nan])
    with caplog.at_level(logging.INFO, logger="sarcube"):
        undulation, text = geoid_undulation(lat, lon)
    assert_allclose(undulation[:, :2], plane(lat, lon[:2]), atol=1e-3)  # a plane: bilinear is exact
    assert np.isnan(undulation[:, 2]).all()
    assert text == "EGM2008 geoid, PROJ's grid us_nga_egm08_25.tif"
    assert not caplog.records


def test_egm96_is_the_second_choice_and_old_names_count(proj_data):
    write_gtx(proj_data, "egm96_15.gtx", -12.5)
    undulation, text = geoid_undulation(10.0, 20.0)
    assert undulation == -12.5
    assert text == "EGM96 geoid, PROJ's grid egm96_15.gtx"
    write_gtx(proj_data, "egm08_25.gtx", 33.0)
    assert geoid_undulation(10.0, 20.0)[0] == 33.0


def test_a_point_outside_the_grid_is_an_error(proj_data):
    write_tif(proj_data, "us_nga_egm08_25.tif")
    with pytest.raises(sc.SarcubeError, match=r"gives no geoid at -20\.000°, 10\.000°"):
        geoid_undulation([45.0, -20.0], 10.0)


def test_a_broken_grid_is_an_error(proj_data):
    # No other test uses this name: PROJ opens a grid that it has once known only when it is needed.
    (proj_data / "us_nga_egm96_15.tif").write_bytes(b"no grid")
    with pytest.raises(sc.SarcubeError, match=r"us_nga_egm96_15\.tif cannot be read"):
        geoid_undulation(45.0, 10.0)


def test_the_network_is_left_alone(proj_data, monkeypatch):
    """Even where PROJ may fetch grids, an absent one is absent: no pipeline is made that could ask for it."""
    monkeypatch.setattr(pyproj.Transformer, "from_pipeline", lambda *_: pytest.fail("PROJ was asked for a grid"))
    assert geoid_undulation(45.0, 10.0)[1].startswith(ABSENT)
    assert not pyproj.network.is_network_enabled()
