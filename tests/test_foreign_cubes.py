"""Cubes and composites that others published, opened as ours."""

from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from foreign_rasters import nothing_may_compute, write_raster
from range_server import serve

import sarcube as sc
from sarcube.cube.foreign.landslide_cubes import open_landslide_cube
from sarcube.cube.foreign.sar_lra import open_sar_lra
from sarcube.cube.holes import Hole, hole_reasons
from sarcube.errors import BandError, InputError, ReadError

DAY = np.timedelta64(1, "D")
# As over Hokkaido: two descending tracks and one ascending, six days between the passes of each.
FIRSTS = {"d1": "2018-08-25T20:42:10", "d2": "2018-08-27T20:26:00", "a": "2018-08-26T08:41:30"}
SHAPE = (30, 40)


def published(*, states="da", crs="EPSG:32654", y_up=False, repeats=3, **changes):
    """Make a small cube with the names and dimensions of the published ones."""
    rng = np.random.default_rng(0)
    moments, kinds = [], []
    for repeat in range(repeats):
        for track, first in FIRSTS.items():
            jitter = np.timedelta64(int(rng.integers(-2000, 2000)), "ms")
            moments.append(np.datetime64(first, "ns") + repeat * 6 * DAY + jitter)
            kinds.append(track[0])
    order = np.argsort(moments)
    size = len(moments)
    times = np.array(moments)[order]
    letters = np.array(kinds)[order]
    if states == "full":
        letters = np.where(letters == "d", "descending", "ascending")
    power = rng.gamma(4, 0.025, (2, size, *SHAPE)).astype(np.float32)
    power[:, 0, 0, :4] = [0, np.nan, -1e-3, np.inf]
    grid = ("y", "x")
    variables = {
        "vv": (("timestep", *grid), power[0]),
        "vh": (("timestep", *grid), power[1] / 5),
        "dem": (grid, rng.uniform(0, 700, SHAPE)),
        "dem_slope_radians": (grid, rng.uniform(0, 1, SHAPE)),
        "dem_aspect": (grid, np.where(rng.random(SHAPE) < 0.1, -1, rng.uniform(0, 360, SHAPE))),
        "dem_curvature": (grid, rng.normal(size=SHAPE)),
        "landslides": (grid, np.where(rng.random(SHAPE) < 0.2, 1.0, np.nan)),
        "interferogram": (("timepair", *grid), rng.uniform(-3, 3, (2, *SHAPE))),
        "coherence": (("timepair", *grid), rng.uniform(0, 1, (2, *SHAPE))),
    }
    y = 4_740_000 - 10.0 * np.arange(SHAPE[0])
    coordinates = {
        "timestep": times,
        "timepair": np.array(["20180825_20180906", "20180906_20180918"], object),
        "y": y[::-1] if y_up else y,
        "x": 560_000 + 10.0 * np.arange(SHAPE[1]),
        "sat:orbit_state": ("timestep", letters.astype(object)),
    }
    cube = xr.Dataset(variables, coords=coordinates)
    if crs:
        cube = cube.rio.write_crs(crs)
    return cube.assign_coords(changes)


def write(cube, path, zarr_format):
    lazy = {name: array.chunk({dim: 1 if "time" in dim else 16 for dim in array.dims}) for name, array in cube.items()}
    states = cube["sat:orbit_state"].astype("U10" if zarr_format == 2 else object)
    coordinates = {"sat:orbit_state": states, "timepair": cube.timepair.astype("U20" if zarr_format == 2 else object)}
    stored = cube.assign(lazy).assign_coords(coordinates)
    stored.to_zarr(path, zarr_format=zarr_format, consolidated=False)
    return path


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_published_cube_opens_as_ours(tmp_path, zarr_format):
    theirs = published()
    path = write(theirs, tmp_path / "hokkaido_japan.zarr", zarr_format)
    cube = open_landslide_cube(path)
    assert all(isinstance(array.data, da.Array) for array in cube.data_vars.values())
    assert dict(cube.sizes) == {"time": 9, "y": 30, "x": 40, "timepair": 2}
    assert cube.rio.crs.to_epsg() == 32654
    assert cube.odc.geobox.affine == Affine(10, 0, 559_995, 0, -10, 4_740_005)
    np.testing.assert_array_equal(cube.time, theirs.timestep)
    assert set(cube.data_vars) == {
        *("vv", "vh", "elevation", "slope", "aspect", "dem_curvature", "landslide", "interferogram", "coherence")
    }
    for name, array in {**cube.data_vars, **cube.coords}.items():
        assert name == "spatial_ref" or "long_name" in array.attrs, name
        assert name not in cube.data_vars or "units" in array.attrs, name
    for band in ("vv", "vh"):
        values = theirs[band].values
        assert cube[band].dtype == np.float32
        np.testing.assert_array_equal(cube[band], np.where((values > 0) & (values < np.inf), values, np.nan))
    assert hole_reasons(cube.vv[0].values)[0, :4].tolist() == [Hole.ZERO, Hole.UNKNOWN, Hole.ZERO, Hole.NODATA]
    np.testing.assert_allclose(cube.slope, np.degrees(theirs.dem_slope_radians), rtol=1e-6)
    np.testing.assert_allclose(cube.elevation, theirs.dem, rtol=1e-6)
    np.testing.assert_allclose(cube.aspect, theirs.dem_aspect.where(theirs.dem_aspect >= 0), rtol=1e-6)
    assert cube.landslide.dtype == np.uint8
    np.testing.assert_array_equal(cube.landslide, theirs.landslides == 1)
    np.testing.assert_array_equal(cube.coherence, theirs.coherence.astype(np.float32))
    assert str(cube.pair_start.values[1])[:10] == "2018-09-06"
    assert str(cube.pair_end.values[1])[:10] == "2018-09-18"


@pytest.mark.parametrize("states", ["da", "full"])
def test_directions_are_understood_and_tracks_of_one_direction_kept_apart(states):
    cube = open_landslide_cube(published(states=states))
    assert list(cube.orbit_state.values[:3]) == ["descending", "ascending", "descending"]
    assert list(cube.scene_track.values) == ["D901", "A901", "D902"] * 3
    assert "unknown" in cube.relative_orbit.attrs["long_name"]
    one = sc.select_track(cube, "D902")
    assert (np.diff(one.time.values) // np.timedelta64(1, "h")).tolist() == [144, 144] or one.sizes["time"] == 3
    with pytest.raises(sc.SarcubeError, match="relative_orbit"):
        sc.add_geometry(cube)


def test_known_orbits_name_the_tracks():
    orbits = [46, 68, 119] * 3
    cube = open_landslide_cube(published(), relative_orbit=orbits)
    assert list(cube.scene_track.values[:3]) == ["D046", "A068", "D119"]
    said = published(**{"sat:relative_orbit": ("timestep", orbits)})
    assert list(open_landslide_cube(said).relative_orbit.values) == orbits
    with pytest.raises(InputError, match="contradicts"):
        open_landslide_cube(said, relative_orbit=7)
    with pytest.raises(InputError, match="1 to 175"):
        open_landslide_cube(published(), relative_orbit=0)
    with pytest.raises(InputError, match="2 values"):
        open_landslide_cube(published(), relative_orbit=[46, 68])


def test_directions_that_the_file_does_not_say():
    silent = published().drop_vars("sat:orbit_state")
    with pytest.raises(InputError, match="orbit_state="):
        open_landslide_cube(silent)
    assert set(open_landslide_cube(silent, orbit_state="d").orbit_state.values) == {"descending"}
    cube = open_landslide_cube(silent, orbit_state=["d", "a", "d"] * 3)
    assert list(cube.scene_track.values) == ["D901", "A901", "D902"] * 3
    with pytest.raises(InputError, match="contradicts"):
        open_landslide_cube(published(), orbit_state="a")
    with pytest.raises(InputError, match='"east" is no pass direction'):
        open_landslide_cube(silent, orbit_state="east")


def test_steps_are_sorted_and_what_is_given_goes_with_them():
    theirs = published()
    shuffled = theirs.isel(timestep=[4, 0, 8, 2, 1, 3, 7, 5, 6]).drop_vars("sat:orbit_state")
    states = theirs["sat:orbit_state"].values[[4, 0, 8, 2, 1, 3, 7, 5, 6]]
    xr.testing.assert_identical(
        open_landslide_cube(shuffled, orbit_state=states).compute(), open_landslide_cube(theirs).compute()
    )


def test_rows_are_turned_north_to_south():
    theirs = published(y_up=True)
    cube = open_landslide_cube(theirs)
    assert (np.diff(cube.y) < 0).all()
    np.testing.assert_allclose(cube.elevation, theirs.dem[::-1], rtol=1e-6)
    assert cube.odc.geobox.affine.e == -10


def test_decibels_are_neither_taken_for_power_nor_power_for_decibels():
    theirs = published()
    decibels = theirs.assign(
        vv=10 * np.log10(theirs.vv.where(theirs.vv > 0)), vh=10 * np.log10(theirs.vh.where(theirs.vh > 0))
    )
    with pytest.raises(InputError, match='scale="db"'):
        open_landslide_cube(decibels).vv.compute()
    with pytest.raises(InputError, match='scale="linear"'):
        open_landslide_cube(theirs.where(theirs > 0), scale="db").vv.compute()
    np.testing.assert_allclose(
        open_landslide_cube(decibels, scale="db").vv,
        open_landslide_cube(theirs).vv.where(np.isfinite(decibels.vv.values)),
        rtol=1e-5,
    )
    with pytest.raises(InputError, match="amplitude"):
        open_landslide_cube(theirs, scale="amplitude")


def test_chunks_change_no_value():
    theirs = published().isel(y=slice(0, 6), x=slice(0, 9))
    whole = open_landslide_cube(theirs).compute()
    for sizes in ({"y": 1, "x": 1}, {"timestep": 4, "y": 5, "x": 2}, {"timepair": 1, "x": 3}):
        xr.testing.assert_identical(open_landslide_cube(theirs.chunk(sizes)).compute(), whole)
    turned = theirs.transpose("y", "x", "timestep", "timepair")
    xr.testing.assert_identical(open_landslide_cube(turned).compute(), whole)


def test_zero_in_decibels_is_a_hole():
    theirs = published()
    decibels = 10 * np.log10(theirs.vv.where(theirs.vv > 0))
    decibels[1, :3] = 0
    cube = open_landslide_cube(theirs.assign(vv=decibels), scale="db")
    assert cube.vv[1, :3].isnull().all()
    assert cube.vv[1, 3:].notnull().all()


def test_the_crs_is_said_or_given():
    silent = published(crs=None)
    with pytest.raises(InputError, match="does not say its CRS"):
        open_landslide_cube(silent)
    assert open_landslide_cube(silent, crs="EPSG:32654").rio.crs.to_epsg() == 32654
    assert open_landslide_cube(silent.assign_coords(epsg=32654)).rio.crs.to_epsg() == 32654
    with pytest.raises(InputError, match="crs= is"):
        open_landslide_cube(published(), crs=32653)
    with pytest.raises(InputError, match="must be one such as"):
        open_landslide_cube(silent, crs="UTM")


def test_two_slices_of_one_pass_are_told(caplog):
    theirs = published()
    times = theirs.timestep.values.copy()
    times[1] = times[0] + np.timedelta64(25, "s")
    open_landslide_cube(theirs.assign_coords({"timestep": times, "sat:orbit_state": ("timestep", ["d"] * 9)}))
    assert "counted as two dates" in caplog.text


@pytest.mark.parametrize("text", [True, False])
def test_days_alone_are_times_too(text):
    theirs = published()
    days = theirs.timestep.values.astype("M8[D]")
    days = days.astype(str).astype(object) if text else days.astype("M8[ns]")
    cube = open_landslide_cube(theirs.assign_coords(timestep=days))
    assert list(cube.scene_track.values) == ["D901", "A901", "D902"] * 3


def test_what_is_no_published_cube(tmp_path):
    with pytest.raises(ReadError, match="unpack"):
        open_landslide_cube(tmp_path / "missing.zarr")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReadError, match="no Zarr group"):
        open_landslide_cube(tmp_path / "empty")
    theirs = published()
    with pytest.raises(InputError, match="timestep"):
        open_landslide_cube(theirs.rename(timestep="time"))
    with pytest.raises(BandError, match="neither vv nor vh"):
        open_landslide_cube(theirs.drop_vars(["vv", "vh"]))
    with pytest.raises(InputError, match="coordinate y"):
        open_landslide_cube(theirs.drop_vars("y"))
    uneven = theirs.y.values.copy()
    uneven[10:] -= 10
    with pytest.raises(InputError, match="not evenly spaced"):
        open_landslide_cube(theirs.assign_coords(y=uneven))
    with pytest.raises(InputError, match="counts its time steps"):
        open_landslide_cube(theirs.assign_coords(timestep=np.arange(9)))
    with pytest.raises(InputError, match="times that are none"):
        open_landslide_cube(theirs.assign_coords(timestep=np.array(["one"] * 9, object)))
    with pytest.raises(InputError, match="no times"):
        open_landslide_cube(theirs.drop_vars("timestep"))
    with pytest.raises(InputError, match="no slope in radians"):
        open_landslide_cube(theirs.assign(dem_slope_radians=theirs.dem_aspect)).slope.compute()


def test_layers_without_a_place_are_left_out_and_told(caplog):
    theirs = published().assign(weather=("timestep", np.zeros(9)), old_landslides=(("y", "x"), np.ones(SHAPE)))
    cube = open_landslide_cube(theirs)
    assert "left out weather" in caplog.text
    assert "old_landslides" in cube
    assert "vv" not in [record.args[1] for record in caplog.records]


def test_pairs_whose_labels_are_no_dates_keep_them():
    theirs = published().assign_coords(timepair=["co-event", "post-event"])
    cube = open_landslide_cube(theirs)
    assert list(cube.timepair.values) == ["co-event", "post-event"]
    assert "pair_start" not in cube.coords


def test_a_published_cube_is_worked_with_as_ours(tmp_path):
    cube = open_landslide_cube(published())
    event = sc.Event("Hokkaido", bbox=(141.7, 42.7, 141.8, 42.85), time="2018-09-05T18:07Z")
    stack = sc.composite(cube, event, track="D901", pre_days=60, post_days=12).compute()
    assert np.isfinite(stack).mean() > 0.99
    sc.write_cube(cube, tmp_path / "ours.zarr")
    again = sc.open_cube(tmp_path / "ours.zarr")
    np.testing.assert_array_equal(again.landslide, cube.landslide)
    assert list(again.scene_track.values) == list(cube.scene_track.values)


# --- SAR-LRA -------------------------------------------------------------------------------------------------------

NAMES = ("postVV", "postVH", "diffVV", "diffVH")
DEGREES = Affine(8.983152841195215e-05, 0, 99.9427, 0, -8.983152841195215e-05, 0.1439)


def composite(shape=(80, 100), bands=4):
    rng = np.random.default_rng(0)
    half = bands // 2
    post = np.array([-9, -15])[:half, None, None] + rng.normal(0, 2, (half, *shape))
    return np.concatenate([post, rng.normal(0, 1, (half, *shape))]).astype(np.float32)


def write_composite(path, values, descriptions=NAMES, **profile):
    return write_raster(path, values, transform=DEGREES, crs="EPSG:4326", descriptions=descriptions, **profile)


def test_a_sar_lra_composite_is_a_stack(tmp_path):
    path = write_composite(tmp_path / "SAR_DESCENDING_.tif", composite())
    with dask.config.set(scheduler=nothing_may_compute):
        stack = open_sar_lra(path)
    assert stack.dims == ("band", "y", "x")
    assert list(stack.band.values) == ["vv_post", "vh_post", "vv_diff", "vh_diff"]
    assert stack.dtype == np.float32
    assert stack.attrs["units"] == "dB"
    assert "sigma0" in stack.attrs["radiometry"]
    np.testing.assert_array_equal(stack, composite())
    assert stack.rio.crs.to_epsg() == 4326
    np.testing.assert_allclose(stack.odc.geobox.affine[:6], DEGREES[:6], rtol=1e-12)
    assert (np.diff(stack.y) < 0).all()


def test_bands_are_taken_by_their_names_or_in_the_papers_order(tmp_path):
    values = composite()
    mixed = write_composite(tmp_path / "mixed.tif", values[[2, 0, 3, 1]], [NAMES[i] for i in (2, 0, 3, 1)])
    np.testing.assert_array_equal(open_sar_lra(mixed), values)
    more = write_composite(tmp_path / "more.tif", np.concatenate([values, values[:1]]), [*NAMES, "FILL_MASK"])
    np.testing.assert_array_equal(open_sar_lra(more), values)
    bare = write_composite(tmp_path / "bare.tif", values, ())
    np.testing.assert_array_equal(open_sar_lra(bare), values)
    vv = write_composite(tmp_path / "vv.tif", values[[0, 2]], ())
    assert list(open_sar_lra(vv).band.values) == ["vv_post", "vv_diff"]
    np.testing.assert_array_equal(open_sar_lra(vv), values[[0, 2]])


@pytest.mark.parametrize(
    ("bands", "names"),
    [(1, ()), (3, ()), (5, ()), (4, ("VV", "VH", "VV_1", "VH_1")), (2, NAMES[:2]), (5, (*NAMES, "postVV"))],
)
def test_other_bands_are_refused(tmp_path, bands, names):
    path = write_composite(tmp_path / "a.tif", np.ones((bands, 10, 10), np.float32), names)
    with pytest.raises(BandError, match="expected"):
        open_sar_lra(path)


def test_fill_is_nan(tmp_path):
    values = composite()
    values[:, :5] = 0
    values[:, 5:8] = -np.inf
    values[1, 8] = -9999
    values[2, 9] = 0  # nothing changed there
    stack = open_sar_lra(write_composite(tmp_path / "a.tif", values, nodata=-9999))
    assert np.isnan(stack[:, :8]).all()
    assert np.isnan(stack[1, 8]).all()
    declared_nan = open_sar_lra(write_composite(tmp_path / "nan.tif", values, nodata=np.nan))
    assert np.isnan(declared_nan[:, :8]).all()
    np.testing.assert_array_equal(stack[:, 9:], values[:, 9:])


def test_a_composite_on_a_web_server(tmp_path):
    write_composite(tmp_path / "a.tif", composite(), tiled=True, blockxsize=32, blockysize=32, compress="deflate")
    with serve(tmp_path) as server:
        np.testing.assert_array_equal(open_sar_lra(f"{server.url}/a.tif"), composite())


def test_what_is_no_composite(tmp_path):
    power = composite()
    power[:2] = 10 ** (power[:2] / 10)
    with pytest.raises(InputError, match="not in dB"):
        open_sar_lra(write_composite(tmp_path / "power.tif", power)).compute()
    with pytest.raises(InputError, match="int16"):
        open_sar_lra(write_composite(tmp_path / "int.tif", composite().astype(np.int16)))
    with pytest.raises(ReadError, match="georeference"):
        open_sar_lra(write_raster(tmp_path / "nocrs.tif", composite(), crs=None))
    with pytest.raises(ReadError, match="there is no file"):
        open_sar_lra(tmp_path / "missing.tif")
    with pytest.raises(InputError, match="north-up"):
        open_sar_lra(write_raster(tmp_path / "up.tif", composite(), transform=Affine(1e-4, 0, 99, 0, 1e-4, 0)))


def test_a_composite_in_degrees_is_scored_and_boxed(tmp_path):
    pytest.importorskip("torch")
    stack = open_sar_lra(write_composite(tmp_path / "a.tif", composite((150, 200))))
    model = sc.load_model("cnn-vv-vh")
    with pytest.raises(
        InputError, match='trained on "gamma0 RTC, dB", and this stack holds "sigma0 on the ellipsoid, dB"'
    ):
        sc.score_windows(stack, model)
    model.spec = replace(model.spec, radiometry=stack.attrs["radiometry"])
    scores = sc.score_windows(stack, model, stride=32)
    assert np.isfinite(scores).all()
    boxes = sc.detect(stack, model, stride=32, score_threshold=0.0)
    assert len(boxes) > 0
    assert boxes.crs.to_epsg() == 4326
    west, south, east, north = boxes.total_bounds
    assert 99.94 < west < east < 99.97
    assert 0.12 < south < north < 0.144
    out = tmp_path / "boxes.gpkg"
    sc.write_detections(boxes, out)
    assert out.exists()
