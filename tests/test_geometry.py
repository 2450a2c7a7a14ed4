"""Terrain and look geometry as layers of a cube: lazy, the same for any chunks, equal to the kernels."""

import dask
import dask.array as da
import numpy as np
import pyproj
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from orbit_samples import eof_xml, reference_trajectory
from relief import fractal
from scipy import ndimage
from simple_cube import GEOBOX, simple_cube

import sarcube as sc
from sarcube.cube.geometry.look import solve_look
from sarcube.sar import layover_shadow_mask, look_geometry, tracks_over


def _heights(x, y):
    return 600 + 250 * np.sin(x / 330) * np.cos(y / 270) + 0.1 * (x - 500_000)


@pytest.fixture
def dem(tmp_path):
    """A smooth DEM of 30 m in the cube's CRS, off its grid."""
    path = tmp_path / "dem.tif"
    affine = Affine(30, 0, 499_781, 0, -30, 5_210_217)
    c, r = np.meshgrid(np.arange(90), np.arange(90))
    heights = _heights(affine.c + 30 * (c + 0.5), affine.f - 30 * (r + 0.5)).astype(np.float32)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=90,
        height=90,
        count=1,
        dtype="float32",
        crs="EPSG:32633",
        transform=affine,
        nodata=-9999,
    ) as target:
        target.write(heights, 1)
    return path


def _nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def test_lazy_and_the_same_for_any_chunks(dem):
    with dask.config.set(scheduler=_nothing_may_compute):
        cubes = [
            sc.add_geometry(sc.add_terrain(simple_cube(chunks), dem)) for chunks in ((210, 190), (64, 50), (37, 190))
        ]
        local = [sc.add_geometry(c, method="local") for c in cubes]
    whole, *parts = (c.compute() for c in cubes)
    for part in parts:
        xr.testing.assert_identical(part, whole)
    whole, *parts = (c.compute() for c in local)
    for part in parts:
        xr.testing.assert_identical(part, whole)


def test_elevation_slope_and_mask_are_those_of_the_kernels(dem):
    cube = sc.add_geometry(sc.add_terrain(simple_cube(), dem)).compute()
    x, y = np.meshgrid(cube.x.values, cube.y.values)
    # Cubic convolution of a smooth surface sampled at a thirtieth of its wavelength.
    np.testing.assert_allclose(cube.elevation, _heights(x, y), atol=0.2)
    expected = sc.sar.slope_aspect(cube.elevation.values, resolution=10.0)[0]
    np.testing.assert_allclose(cube.slope, expected, atol=1e-4)
    for track, orbit, state in (("A044", 44, "ascending"), ("D168", 168, "descending")):
        here = cube.sel(track=track)
        lon, lat = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
        theta, azimuth = look_geometry(lat, lon, cube.elevation.values, relative_orbit=orbit, orbit_state=state)
        np.testing.assert_allclose(here.incidence_angle, theta, atol=5e-4)
        np.testing.assert_allclose(here.sensor_azimuth, azimuth, atol=5e-4)
        mask = layover_shadow_mask(
            cube.elevation.values,
            resolution=10.0,
            incidence_angle=here.incidence_angle.values.astype(float),
            sensor_azimuth=solve_look(GEOBOX, relative_orbit=orbit, orbit_state=state).mean_grid_azimuth,
        )
        # The layer takes the second order in height along, which angles at the pixels' own heights do not hold.
        assert (here.layover_shadow.values != mask).mean() < 1e-3
        assert here.layover_shadow.attrs["flag_meanings"].split()[2] == "layover"
    assert (cube.layover_shadow == 2).any()


def test_holes_in_the_dem_are_no_data_never_clear(dem):
    with rasterio.open(dem, "r+") as target:
        values = target.read(1)
        values[20:30, 20:30] = -9999
        target.write(values, 1)
    cube = sc.add_geometry(sc.add_terrain(simple_cube(), dem)).compute()
    hole = cube.elevation.isnull().values
    assert 900 < hole.sum() < 2500
    assert (cube.layover_shadow.values[:, hole] == 255).all()
    assert (cube.layover_shadow.values[:, ~hole] != 255).all()
    assert cube.slope.isnull().values[hole].all()


def test_clear_errors(dem, tmp_path):
    with pytest.raises(sc.SarcubeError, match="there is no DEM at"):
        sc.add_terrain(simple_cube(), tmp_path / "none.tif")
    (tmp_path / "broken.tif").write_bytes(b"not a raster")
    with pytest.raises(sc.SarcubeError, match=r"broken\.tif cannot be read"):
        sc.add_terrain(simple_cube(), tmp_path / "broken.tif")
    far = simple_cube().assign_coords(y=simple_cube().y + 50_000)
    with pytest.raises(sc.SarcubeError, match="does not touch the cube"):
        sc.add_terrain(far, dem)
    with pytest.raises(sc.SarcubeError, match=r"run sc\.add_terrain"):
        sc.add_geometry(simple_cube())
    with pytest.raises(sc.SarcubeError, match='"exact" or "local"'):
        sc.add_geometry(sc.add_terrain(simple_cube(), dem), method="guess")


def test_a_dem_that_covers_in_part_warns(dem, caplog):
    far = simple_cube()
    far = far.assign_coords(y=far.y + 1500)
    sc.add_terrain(far, dem)
    assert "only in part" in caplog.text


def _on_dem(geobox, **options):
    """A cube whose elevation is fractal relief, made without a file."""
    cube = simple_cube(geobox=geobox, **options)
    elevation = fractal(4, geobox.shape.yx, relief=900, decay=1.7)
    attrs = {"units": "m", "long_name": "made relief", "actual_range": [0.0, 900.0]}
    return cube.assign(elevation=(("y", "x"), da.from_array(elevation, chunks=(50, 70)), attrs))


def _tracks(lat, lon):
    """Both passes whose swath holds a place, as `simple_cube` takes them."""
    found = []
    for state in ("descending", "ascending"):
        seen = tracks_over(lat, lon, orbit_state=state)
        orbit = min(seen, key=lambda track: abs(seen[track] - 38))
        found.append((f"{state[0].upper()}{orbit:03d}", orbit, state))
    return tuple(found)


@pytest.mark.parametrize(
    ("crs", "lat", "lon"),
    [("EPSG:32633", 45, 13), ("EPSG:32755", -42, 147), ("EPSG:32624", 75, -40), ("EPSG:32647", 0.5, 100),
     ("EPSG:4326", 45, 13), ("EPSG:4326", 75, -40), ("EPSG:4326", -42, 147)],
)  # fmt: skip
def test_the_same_for_any_chunks_on_every_latitude_and_in_degrees(crs, lat, lon):
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    across, down = (15 / 111_000 / np.cos(np.radians(lat)), 12 / 111_000) if crs == "EPSG:4326" else (10, 10)
    geobox = GeoBox((150, 170), Affine(across, 0, x, 0, -down, y), crs)
    tracks = _tracks(lat, lon)
    whole = sc.add_geometry(_on_dem(geobox, tracks=tracks).chunk(y=-1, x=-1), split=True, buffer=25).compute()
    parts = _on_dem(geobox, tracks=tracks).chunk(y=(31, 90, 29), x=(100, 7, 63))
    xr.testing.assert_identical(sc.add_geometry(parts, split=True, buffer=25).compute(), whole)
    assert set(whole.track.values) == {name for name, _, _ in tracks}
    assert (whole.layover_shadow == 2).mean() > 0.05
    assert (whole.layover_shadow == 1).any()


def test_a_cube_in_degrees_sees_what_a_projected_one_sees():
    """The same cone of ground, 60 degrees steep: shares of layover and of shadow do not hang on the grid."""
    lat, lon, reach = 60.0, 15.0, 1200.0
    geod = pyproj.Geod(ellps="WGS84")
    x, y = pyproj.Transformer.from_crs(4326, 32633, always_xy=True).transform(lon, lat)
    metres = GeoBox((480, 480), Affine(5, 0, x - reach, 0, -5, y + reach), "EPSG:32633")
    across, down = 5 / 111_412 / np.cos(np.radians(lat)), 5 / 111_412
    degrees = GeoBox((480, 480), Affine(across, 0, lon - 240 * across, 0, -down, lat + 240 * down), "EPSG:4326")
    shares = []
    for geobox in (metres, degrees):
        cube = simple_cube(geobox=geobox, tracks=_tracks(lat, lon)[:1])
        lons, lats = np.meshgrid(cube.x.values, cube.y.values)
        if geobox is metres:
            lons, lats = pyproj.Transformer.from_crs(32633, 4326, always_xy=True).transform(lons, lats)
        distance = geod.inv(np.full(lons.size, lon), np.full(lons.size, lat), lons.ravel(), lats.ravel())[2]
        cone = np.maximum(0, (400 - distance.reshape(lons.shape)) * np.tan(np.radians(60))).astype(np.float32)
        mask = sc.add_geometry(cube.assign(elevation=(("y", "x"), cone))).layover_shadow.values[0]
        shares.append([float((mask & bit > 0).mean()) for bit in (1, 2)])
    np.testing.assert_allclose(shares[0], shares[1], rtol=0.01)
    assert min(shares[0]) > 0.01


def test_parts_and_buffer(dem):
    cube = sc.add_terrain(simple_cube(), dem)
    plain, local = sc.add_geometry(cube, split=True).compute(), sc.add_geometry(cube, method="local").compute()
    exact, parts = plain.layover_shadow.values, plain.distortion_parts.values
    known = exact != 255
    active, passive = parts & 3, parts >> 2 & 3
    assert (((active | passive) == exact) | ~known).all()
    assert ((active & passive) == 0)[known].all()
    seen = known & (local.layover_shadow.values != 255)
    assert ((active == (exact & local.layover_shadow.values)) | ~seen).all()
    assert (passive[known] == 2).any()
    assert plain.distortion_parts.attrs["flag_masks"] == [1, 2, 4, 8]
    wide = sc.add_geometry(cube, buffer=30).compute()
    assert (exact[1] & 2).any()
    distance = ndimage.distance_transform_edt(exact[1] & 2 == 0) * 10
    np.testing.assert_array_equal(wide.layover_shadow.values[1] & 2 > 0, distance <= 30)
    assert wide.layover_shadow.attrs["buffer_m"] == 30


def test_the_range_of_heights_bounds_what_is_read_around(dem):
    cube = sc.add_terrain(simple_cube(), dem)
    low, high = cube.elevation.attrs["actual_range"]
    assert low <= float(cube.elevation.min()) < float(cube.elevation.max()) <= high
    lied = cube.assign(elevation=cube.elevation.assign_attrs(actual_range=[500.0, 600.0]))
    with pytest.raises(sc.SarcubeError, match=r"more than max_relief = 100 m.*give max_relief="):
        sc.add_geometry(lied).compute()
    expected = sc.add_geometry(cube).layover_shadow
    xr.testing.assert_equal(sc.add_geometry(lied, max_relief=3000).layover_shadow, expected)
    unknown = cube.assign(elevation=cube.elevation.drop_attrs())
    xr.testing.assert_equal(sc.add_geometry(unknown).layover_shadow, expected)
    xr.testing.assert_equal(sc.add_geometry(unknown.compute()).layover_shadow, expected)


def test_a_stored_cube_takes_geometry(dem, tmp_path):
    cube = sc.add_terrain(simple_cube((64, 64)), dem)
    path = sc.write_cube(cube, tmp_path / "cube.zarr", keep_bits=None)
    xr.testing.assert_equal(sc.add_geometry(sc.open_cube(path)).layover_shadow, sc.add_geometry(cube).layover_shadow)


def test_state_vectors_are_taken_where_they_saw_the_track(dem, tmp_path, caplog):
    cube = sc.add_terrain(simple_cube(), dem)
    plain = sc.add_geometry(cube)
    assert plain.incidence_angle.attrs["source"].startswith("reference orbit; expected error 0.0063")
    file = tmp_path / "made.EOF"
    file.write_text(eof_xml(reference_trajectory(168, np.arange(0, 6000, 10.0))))
    found = sc.add_geometry(cube, orbit_files=[file])
    source = found.incidence_angle.attrs["source"]
    assert f"D168: precise orbit file {file.name}" in source
    assert "A044: reference orbit" in source
    assert "no orbit file holds a pass of A044" in caplog.text
    np.testing.assert_allclose(found.incidence_angle, plain.incidence_angle, atol=0.003)
    other = tmp_path / "other.EOF"
    other.write_text(eof_xml(reference_trajectory(90, np.arange(0, 6000, 10.0))))
    with pytest.raises(sc.SarcubeError, match=r"none of the orbit files .* sees this area from A044, D168"):
        sc.add_geometry(cube, orbit_files=[other])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"buffer": -1.0}, "buffer must be metres >= 0"), ({"buffer": np.inf}, "buffer must be metres >= 0"),
     ({"max_relief": 0}, "max_relief must be metres > 0"), ({"dem": "none.tif"}, "there is no DEM at"),
     ({"orbit_files": ["none.EOF"]}, "none.EOF")],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(dem, options, message):
    with pytest.raises(sc.SarcubeError, match=message):
        sc.add_geometry(sc.add_terrain(simple_cube(), dem), **options)


def test_a_cube_without_tracks_is_refused(dem):
    with pytest.raises(sc.SarcubeError, match="lacks scene_track"):
        sc.add_geometry(sc.add_terrain(simple_cube(), dem).drop_vars("scene_track"))
