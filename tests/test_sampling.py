"""Masks at a DEM's own sampling, brought to the cube's grid: nothing distorted is lost, nothing unknown is clear."""

import dask.array as da
import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from relief import fractal
from simple_cube import GEOBOX, simple_cube

import sarcube as sc
from sarcube.cube.geometry.sampling import sampled_chunks, sampled_grid, sampling_of, to_pixels
from sarcube.sar.look_codes import NO_DATA


def _write(path, heights, *, size, origin=(500_000 - 400, 5_210_000 + 400), nodata=-9999):
    affine = Affine(size, 0, origin[0], 0, -size, origin[1])
    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:32633", "nodata": nodata}
    with rasterio.open(
        path, "w", width=heights.shape[1], height=heights.shape[0], transform=affine, **profile
    ) as target:
        target.write(heights, 1)
    return path


@pytest.mark.parametrize(
    ("pixel", "posting", "expected"),
    [(10, 10, (1, 1)), (10, 5, (2, 1)), (10, 1, (10, 1)), (10, 30, (1, 3)), (10, 25, (1, 2)), (10, 1e9, (1, 60))],
)
def test_a_sample_is_a_whole_number_of_pixels_or_the_other_way_round(pixel, posting, expected):
    geobox = GeoBox((40, 60), Affine(10, 0, 0, 0, -10, 0), "EPSG:32633")
    assert sampling_of(geobox, pixel=pixel, posting=posting) == expected


def test_the_sampled_grid_starts_where_the_cube_does_and_covers_it():
    geobox = GeoBox((40, 61), Affine(10, 0, 300, 0, -10, 900), "EPSG:32633")
    fine, coarse = sampled_grid(geobox, 4, 1), sampled_grid(geobox, 1, 3)
    assert fine.shape == (160, 244)
    assert fine.boundingbox == geobox.boundingbox
    assert coarse.shape == (14, 21)
    assert coarse.resolution.x == 30
    assert (coarse.boundingbox.left, coarse.boundingbox.top) == (300, 900)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_pixels_take_all_flags_of_their_samples(samples, pixels, seed):
    samples, pixels = (samples, 1) if seed % 2 else (1, pixels)
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    fine = tuple(-(-size * samples // pixels) for size in shape)
    mask = rng.choice(np.array([0, 1, 2, 3, NO_DATA], np.uint8), fine, p=[0.7, 0.08, 0.08, 0.04, 0.1])
    lazy = da.from_array(mask, chunks=sampled_chunks(fine, samples))
    chunks = da.core.normalize_chunks((7, 5), shape)
    found = to_pixels(lazy, shape, chunks, samples, pixels)
    assert found.chunks == chunks
    for (row, column), code in np.ndenumerate(found.compute(scheduler="sync")):
        rows, columns = (
            slice(at * samples // pixels, max((at + 1) * samples // pixels, at * samples // pixels + 1))
            for at in (row, column)
        )
        mine = mask[rows, columns].ravel()
        flags = int(np.bitwise_or.reduce(mine[mine != NO_DATA], initial=0))
        assert code == (flags or (NO_DATA if (mine == NO_DATA).any() else 0))


@pytest.mark.parametrize("method", ["exact", "local"])
@pytest.mark.parametrize("posting", [5.0, 30.0])
def test_masks_are_found_where_the_dem_has_its_posts(tmp_path, posting, method):
    """A wall 20 m wide that a cube of 10 m smooths: at 5 m it throws what it throws."""
    size = int(3000 / posting)
    heights = fractal(5, (size, size), relief=700, decay=1.6)
    dem = _write(tmp_path / "dem.tif", heights, size=posting)
    cube = sc.add_terrain(simple_cube(), dem)
    own, plain = (sc.add_geometry(cube, method=method, dem=given) for given in (dem, None))
    for other in ((31, 44), (200, 190)):
        again = sc.add_geometry(sc.add_terrain(simple_cube(other), dem), method=method, dem=dem)
        np.testing.assert_array_equal(again.layover_shadow, own.layover_shadow)
    assert own.layover_shadow.data.chunks == plain.layover_shadow.data.chunks
    assert "dem.tif" in own.layover_shadow.attrs["ground"]
    mask, smooth = own.layover_shadow.values, plain.layover_shadow.values
    assert (mask != NO_DATA).all()
    if posting == 5.0:
        # Every flag of the finer mask is kept, and steep ground that 10 m smooth away is found.
        assert (mask & 2 > 0).sum() > 1.05 * (smooth & 2 > 0).sum()
    else:
        blocks = mask[:, :210, :189].reshape(2, 70, 3, 63, 3)
        assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_holes_of_a_finer_dem_are_never_clear(tmp_path):
    heights = np.full((600, 600), 500, np.float32)
    heights[300:303, 300:303] = -9999
    dem = _write(tmp_path / "dem.tif", heights, size=5.0)
    cube = sc.add_geometry(sc.add_terrain(simple_cube(), dem), dem=dem)
    mask = cube.layover_shadow.values
    x, y = 500_000 - 400 + 5 * 301.5, 5_210_000 + 400 - 5 * 301.5
    column, row = int((x - GEOBOX.affine.c) // 10), int((GEOBOX.affine.f - y) // 10)
    assert (mask[:, row, column] == NO_DATA).all()
    assert (mask == NO_DATA).mean() < 0.01
    assert np.isin(mask, [0, NO_DATA]).all()
