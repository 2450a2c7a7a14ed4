"""Inventories on grids in degrees: the same landslides, whichever way their longitudes are written."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.cube.geometry.visibility import visibility
from sarcube.labels.cleaning import clean_inventory
from sarcube.labels.rasterise import rasterise_fraction, rasterise_inventory

PIXEL = 1e-4
SOUTH, NORTH = -16.005, -16.002  # of the landslides
ACROSS = shapely.box(179.995, SOUTH, 180.005, NORTH)
CUT = shapely.MultiPolygon([shapely.box(179.995, SOUTH, 180, NORTH), shapely.box(-180, SOUTH, -179.995, NORTH)])
JUMPING = shapely.Polygon([(179.995, SOUTH), (-179.995, SOUTH), (-179.995, NORTH), (179.995, NORTH)])
BESIDE = shapely.box(-179.998, SOUTH, -179.996, NORTH)  # 180.002 to 180.004


def _grid(west):
    return GeoBox((100, 200), Affine(PIXEL, 0, west, 0, -PIXEL, -16), "EPSG:4326")


def _inventory(*shapes, crs=4326):
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)


def _cube(geobox):
    names = {"latitude": "y", "longitude": "x"}
    coords = {names.get(n, n): (names[n], c.values, c.attrs) if c.ndim else c for n, c in xr_coords(geobox).items()}
    mask = np.zeros((1, *geobox.shape), np.uint8)
    mask[:, :, 100:] = 1
    layer = (("track", "y", "x"), mask, {"grid_mapping": "spatial_ref"})
    return xr.Dataset({"layover_shadow": layer}, coords={**coords, "track": ("track", ["A001"])})


@pytest.mark.parametrize("west", [179.99, -180.01, 539.99])
@pytest.mark.parametrize("shape", [ACROSS, CUT, JUMPING], ids=["across", "cut", "jumping"])
def test_a_landslide_across_the_antimeridian_is_whole(west, shape):
    inventory = _inventory(shape)
    share = rasterise_fraction(inventory, _grid(west))
    assert rasterise_inventory(inventory, _grid(west)).sum() == 30 * 100
    assert share.sum() == pytest.approx(30 * 100, rel=1e-5)
    np.testing.assert_allclose(share[20:50, 50:150], 1, atol=1e-5)


def test_one_that_lies_beyond_is_found_and_others_stay_what_they_were():
    grid, far, empty = _grid(179.99), shapely.box(12, 45, 12.1, 45.1), shapely.Polygon()
    shapes = np.array([BESIDE, ACROSS, far, empty, None], object)
    beside, *others = on_turn_of_grid(shapes, grid)
    assert beside.equals_exact(shapely.box(180.002, SOUTH, 180.004, NORTH), 1e-9, normalize=True)
    assert others == [ACROSS, far, empty, None]
    assert shapes[0] == BESIDE
    assert rasterise_inventory(_inventory(BESIDE), grid).sum() == 30 * 20
    globe = shapely.box(-180, -90, 180, 90)
    assert list(on_turn_of_grid(np.array([globe, far], object), _grid(12))) == [globe, far]


def test_one_that_was_drawn_in_a_projection_is_found():
    drawn = _inventory(ACROSS).to_crs(32760)
    assert drawn.to_crs(4326).total_bounds[[0, 2]].round() == pytest.approx([-180, 180])  # so PROJ gives it back
    assert rasterise_inventory(drawn, _grid(179.99)).sum() == 30 * 100


@pytest.mark.parametrize("shape", [ACROSS, CUT, JUMPING], ids=["across", "cut", "jumping"])
def test_what_a_track_sees_of_it_is_half_of_its_area(shape):
    elsewhere = shapely.box(11.995, SOUTH, 12.005, NORTH)
    here, there = (
        clean_inventory(_inventory(slide), _cube(_grid(west))) for slide, west in ((shape, 179.99), (elsewhere, 11.99))
    )
    np.testing.assert_allclose(here.lost.to_numpy(float), there.lost.to_numpy(float), rtol=1e-6, atol=1e-3)
    assert here.lost.loc["A001", "lost_share"] == pytest.approx(0.5)
    table = visibility(_cube(_grid(179.99)), _inventory(shape)).table
    assert table.loc["A001", "landslide_seen_share"] == pytest.approx(0.5)
