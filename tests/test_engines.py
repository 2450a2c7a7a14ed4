"""odc-stac and stackstac behind our call: the same values as the native engine, and no hole that nobody hears of."""

import os
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pyproj
import pytest
import xarray as xr
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

import sarcube as sc
from sarcube.cube import engines
from sarcube.cube.engines import read_with_engine
from sarcube.cube.holes import Hole, hole_reasons
from sarcube.errors import InputError, ReadError
from tests.range_server import serve
from tests.rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, write_rtc

ENGINES = ("odc", "stackstac")
NATIVE_BLOCKS = ((40,), (50,))


def grid(*, left=LEFT, top=TOP, shape=(40, 50), resolution=10.0, crs=CRS):
    return GeoBox(shape, Affine(resolution, 0, left, 0, -resolution, top), crs)


def native(items, geobox):
    return sc.load(items, geobox=geobox, border_fringe=0)


def read(engine, steps, geobox, *, bands=("vv", "vh"), blocks=None, resampling="nearest"):
    """Read with an engine, all bands, into memory."""
    blocks = blocks or tuple((size,) for size in geobox.shape)
    lazy = read_with_engine(engine, steps, bands=bands, geobox=geobox, blocks=blocks, resampling=resampling)
    return {band: array.compute(scheduler="synchronous") for band, array in lazy.items()}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """One scene with every kind of pixel that is no measurement."""
    folder = tmp_path_factory.mktemp("one")
    files = {}
    for seed, band in enumerate(("vv", "vh")):
        values = speckle(seed)
        values[3:6, 4:9] = 0
        values[8:10, 20] = -32768
        values[12, 30] = np.nan
        values[13, 30] = np.inf
        values[14, 30] = -0.1
        values[15, 30] = 1e-12  # tiny, and a measurement
        files[band] = write_rtc(folder / f"{band}.tif", values)
    return make_item("one", files)


@pytest.mark.parametrize("engine", ENGINES)
def test_load_gives_the_same_cube_with_either_engine(tmp_path, engine):
    items = [
        scene(tmp_path, "north", seed=1, time="2022-02-01T11:30:00"),
        scene(tmp_path, "south", seed=2, time="2022-02-01T11:30:25", top=TOP - 300),
        scene(tmp_path, "later", seed=3, time="2022-02-13T11:30:00", left=LEFT + 3.3, polarisations=("vv",)),
        scene(tmp_path, "across", seed=4, time="2022-02-05T11:30:00", orbit_state="ascending", relative_orbit=54),
    ]
    settings = {"bbox": tuple(items[0].bbox), "resolution": 10, "chunks": {"y": 17, "x": 20, "time": 2}}
    expected = sc.load(items, **settings, border_fringe=0)
    found = sc.load(items, **settings, engine=engine)
    assert expected.sizes["time"] == 3
    assert found["vv"].chunks == expected["vv"].chunks
    assert found.attrs.pop("engine") == engine
    assert expected.attrs.pop("engine") == "native"
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(found, expected)
        for band in ("vv", "vh"):
            assert found[band].dtype == np.float32
            np.testing.assert_array_equal(hole_reasons(found[band].values), hole_reasons(expected[band].values))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "geobox",
    [
        grid(),
        grid(left=LEFT - 30, top=TOP + 20, shape=(50, 60)),
        grid(left=LEFT + 150, top=TOP - 50, shape=(20, 20)),
        grid(left=LEFT - 33, top=TOP + 23, shape=(50, 60)),
        grid(left=LEFT + 5, top=TOP - 5, shape=(37, 41)),  # every centre is as near to four pixels
        grid(resolution=20, shape=(20, 25)),
        grid(resolution=30, shape=(15, 15)),
        grid(resolution=7, shape=(61, 67)),
    ],
    ids=["same", "larger", "inside", "sub-pixel", "half-pixel", "20 m", "30 m", "7 m"],
)
@pytest.mark.parametrize("side", [64, 13])
def test_values_are_those_of_the_native_engine_on_parallel_grids(one, engine, geobox, side):
    expected = native([one], geobox)
    blocks = tuple((side,) * (size // side) + ((size % side,) if size % side else ()) for size in geobox.shape)
    found = read(engine, [[one]], geobox, blocks=blocks)
    for band in ("vv", "vh"):
        assert found[band].dtype == np.float32
        assert np.isnan(expected[band].values).any()
        np.testing.assert_array_equal(found[band], expected[band].values)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dx=st.floats(-600, 600).map(lambda value: round(value, 3)),
    dy=st.floats(-500, 500).map(lambda value: round(value, 3)),
    cut=st.integers(1, 29),
    engine=st.sampled_from(ENGINES),
)
def test_any_offset_and_any_blocks_give_the_native_values(one, dx, dy, cut, engine):
    geobox = grid(left=LEFT + dx, top=TOP + dy, shape=(30, 30))
    source = one.assets["vv"].href
    found = read(engine, [[one]], geobox, bands=("vv",), blocks=((cut, 30 - cut), (30 - cut, cut)))
    try:
        expected = native([one], geobox)["vv"].values
    except sc.errors.AreaError:
        expected = np.full((1, 30, 30), np.nan)
    np.testing.assert_array_equal(found["vv"], expected, err_msg=source)


@pytest.mark.parametrize("engine", ENGINES)
def test_across_utm_zones_nearly_every_pixel_is_the_native_one_and_the_rest_a_neighbour(tmp_path, engine):
    item = scene(tmp_path, "west", seed=3, shape=(300, 320), polarisations=("vv",))
    x, y = pyproj.Transformer.from_crs(CRS, "EPSG:32648", always_xy=True).transform(LEFT, TOP)
    geobox = grid(left=round(x, -1) + 500, top=round(y, -1) - 500, shape=(256, 256), crs="EPSG:32648")
    expected = native([item], geobox)["vv"].values[0]
    found = read(engine, [[item]], geobox, bands=("vv",), blocks=((128, 128), (128, 128)))["vv"][0]
    assert np.isfinite(expected).mean() > 0.9
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    assert same.mean() > 0.999
    # GDAL's transformation is right to an eighth of a pixel: a value that differs is that of a pixel beside it.
    padded = np.pad(expected, 1, constant_values=np.nan)
    around = np.stack([padded[i : i + 256, j : j + 256] for i in range(3) for j in range(3)])
    beside = (around == found).any(0) | (np.isnan(found) & np.isnan(around).any(0))
    assert beside.all()


@pytest.mark.parametrize("engine", ENGINES)
def test_of_two_slices_the_first_valid_value_wins_in_the_order_given(tmp_path, engine):
    north, south = speckle(1, (20, 30)), speckle(2, (20, 30))
    north[15:, :5] = 0  # where the southern slice has measurements
    items = [
        make_item("north", {"vv": write_rtc(tmp_path / "north.tif", north)}, time="2022-02-01T11:30:00"),
        make_item("south", {"vv": write_rtc(tmp_path / "south.tif", south, top=TOP - 100)}, time="2022-02-01T11:30:25"),
    ]
    geobox = grid(shape=(30, 30))
    expected = np.full((30, 30), np.nan, np.float32)
    expected[10:] = south
    expected[:20] = np.where(north > 0, north, expected[:20])
    found = read(engine, [items], geobox, bands=("vv",), blocks=((7, 23), (30,)))["vv"]
    np.testing.assert_array_equal(found, expected[np.newaxis])
    np.testing.assert_array_equal(native(items, geobox)["vv"].values, found)
    assert (read(engine, [items[::-1]], geobox, bands=("vv",))["vv"][0, 10:] == south).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_date_without_vh_is_a_hole_that_says_not_measured(tmp_path, engine):
    items = [
        scene(tmp_path, "both", seed=1, time="2022-02-01T11:30:00"),
        scene(tmp_path, "single", seed=2, time="2022-02-13T11:30:00", polarisations=("vv",)),
    ]
    found = read(engine, [[item] for item in items], grid())
    expected = native(items, grid())
    for band in ("vv", "vh"):
        np.testing.assert_array_equal(found[band], expected[band].values)
    assert (hole_reasons(found["vh"][1]) == Hole.NOT_MEASURED).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_hole_says_why_as_the_native_one_does(one, engine):
    geobox = grid(left=LEFT - 33, top=TOP + 23, shape=(50, 60))
    reasons = hole_reasons(read(engine, [[one]], geobox)["vv"])
    assert {Hole.ZERO, Hole.NODATA, Hole.OUTSIDE} <= set(reasons.ravel().tolist())
    np.testing.assert_array_equal(reasons, hole_reasons(native([one], geobox)["vv"].values))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("resampling", ["bilinear", "average"])
def test_other_resamplings_keep_a_constant_field(tmp_path, engine, resampling):
    file = write_rtc(tmp_path / "flat.tif", np.full((40, 50), 0.25, np.float32))
    geobox = grid(left=LEFT + 32, top=TOP - 32, resolution=15, shape=(20, 25))
    found = read(engine, [[make_item("flat", {"vv": file})]], geobox, bands=("vv",), resampling=resampling)["vv"]
    np.testing.assert_allclose(found, 0.25, rtol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_average_to_three_times_the_pixel_is_the_mean_of_nine(tmp_path, engine):
    values = speckle(4, (30, 30))
    item = make_item("nine", {"vv": write_rtc(tmp_path / "nine.tif", values)})
    geobox = grid(resolution=30, shape=(10, 10))
    found = read(engine, [[item]], geobox, bands=("vv",), resampling="average")["vv"][0]
    np.testing.assert_allclose(found, values.reshape(10, 3, 10, 3).mean((1, 3)), rtol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_file_is_an_error_that_names_the_item(tmp_path, engine):
    item = scene(tmp_path, "gone", polarisations=("vv",))
    Path(item.assets["vv"].href).unlink()
    with pytest.raises(ReadError, match='of item "gone"'):
        read(engine, [[item]], grid(), bands=("vv",))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_goes_after_its_header_was_read_is_an_error_of_the_engine(tmp_path, engine, monkeypatch):
    item = scene(tmp_path, "gone", polarisations=("vv",))
    file = Path(item.assets["vv"].href)
    monkeypatch.setattr(engines, "check_header", lambda dataset, source: file.unlink())
    with pytest.raises(ReadError, match=f'{engine} cannot read .* of item "gone"'):
        read(engine, [[item]], grid(), bands=("vv",))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_truncated_file_is_an_error_and_no_hole(tmp_path, engine):
    item = scene(tmp_path, "short", polarisations=("vv",))
    file = Path(item.assets["vv"].href)
    os.truncate(file, file.stat().st_size * 2 // 3)
    with pytest.raises(ReadError, match='of item "short"'):
        read(engine, [[item]], grid(), bands=("vv",))


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A web server, its folder, and a scene in it whose address is the server's."""
    folder = tmp_path_factory.mktemp("web")
    local = scene(folder, "scene", seed=6, shape=(300, 320), polarisations=("vv",))
    with serve(folder) as server:
        remote = local.clone()
        remote.assets["vv"].href = f"{server.url}/scene/iw-vv.rtc.tiff?signature=secret"
        yield server, local, remote


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("geobox", "resampling"),
    [
        (grid(left=LEFT + 503, top=TOP - 503, shape=(120, 130)), "nearest"),
        (grid(left=LEFT - 300, top=TOP + 300, resolution=30, shape=(60, 60)), "nearest"),
        (grid(left=LEFT + 503, top=TOP - 503, shape=(120, 130)), "bilinear"),
        (grid(left=LEFT + 500, top=TOP - 500, resolution=35, shape=(40, 40)), "average"),
    ],
)
def test_a_file_on_a_web_server_gives_what_the_local_one_gives(web, engine, geobox, resampling):
    _, local, remote = web
    settings = {"bands": ("vv",), "blocks": ((25, geobox.shape[0] - 25), geobox.shape[1:]), "resampling": resampling}
    expected = read(engine, [[local]], geobox, **settings)["vv"]
    found = read(engine, [[remote]], geobox, **settings)["vv"]
    assert np.isfinite(expected).any()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(hole_reasons(found), hole_reasons(expected))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("fault", "after", "kind"), [("404", 0, "not_found"), ("lying range", 2, "damaged")])
def test_what_a_web_server_does_wrong_is_an_error_and_no_hole(web, engine, fault, after, kind):
    server, _, remote = web
    geobox = grid(shape=(300, 320))
    name = f"{engine}-{kind}.tif"
    folder = Path(web[1].assets["vv"].href).parents[1]
    (folder / name).write_bytes(Path(web[1].assets["vv"].href).read_bytes())
    item = remote.clone()
    item.assets["vv"].href = f"{server.url}/{name}?signature=secret"
    server.fail(name, fault, after=after)
    with pytest.raises(ReadError, match='of item "scene"') as caught:
        read(engine, [[item]], geobox, bands=("vv",), blocks=((150, 150), (320,)))
    assert caught.value.kind == kind
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_is_not_where_its_item_says_is_refused(tmp_path, engine):
    item = scene(tmp_path, "moved", polarisations=("vv",))
    item.properties["proj:transform"][2] += 20
    with pytest.raises(ReadError, match="not where its item"):
        read(engine, [[item]], grid(), bands=("vv",))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("form", ["proj:code", "proj:wkt2", "nothing"])
def test_an_item_may_say_its_grid_in_any_form_or_not_at_all(tmp_path, engine, form):
    item = scene(tmp_path, "form", polarisations=("vv",))
    expected = native([item], grid())["vv"].values
    del item.properties["proj:epsg"]
    if form == "nothing":
        del item.properties["proj:transform"], item.properties["proj:shape"]
    else:
        item.properties[form] = CRS if form == "proj:code" else pyproj.CRS(CRS).to_wkt()
    np.testing.assert_array_equal(read(engine, [[item]], grid(), bands=("vv",))["vv"], expected)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_without_an_epsg_code_is_read(tmp_path, engine):
    own = "+proj=tmerc +lat_0=0 +lon_0=100 +k=1 +x_0=500000 +ellps=WGS84 +units=m"
    file = write_rtc(tmp_path / "own.tif", speckle(5), crs=own, left=500_000, top=TOP)
    known = write_rtc(tmp_path / "known.tif", speckle(5))
    item = make_item("own", {"vv": known})
    item.assets["vv"].href = str(file)
    del item.properties["proj:epsg"], item.properties["proj:transform"], item.properties["proj:shape"]
    x, y = pyproj.Transformer.from_crs(own, CRS, always_xy=True).transform(500_000, TOP)
    geobox = grid(left=x + 50, top=y - 50, shape=(25, 30))
    expected = native([item], geobox)["vv"].values
    assert np.isfinite(expected).all()
    assert (read(engine, [[item]], geobox, bands=("vv",))["vv"] == expected).mean() > 0.99


def test_a_grid_without_an_epsg_code_is_for_odc_alone(one):
    own = "+proj=tmerc +lat_0=0 +lon_0=100 +k=1 +x_0=500000 +ellps=WGS84 +units=m"
    x, y = pyproj.Transformer.from_crs(CRS, own, always_xy=True).transform(LEFT, TOP)
    geobox = grid(left=x, top=y, crs=own)
    with pytest.raises(InputError, match="stackstac needs a CRS with an EPSG code"):
        read("stackstac", [[one]], geobox)
    expected = native([one], geobox)["vv"].values
    assert np.isfinite(expected).mean() > 0.9
    np.testing.assert_array_equal(read("odc", [[one]], geobox)["vv"], expected)


@pytest.mark.parametrize(("engine", "resampling"), [("native", "nearest"), ("gdal", "nearest"), ("odc", "cubic")])
def test_an_unknown_engine_or_resampling_is_an_input_error(one, engine, resampling):
    with pytest.raises(InputError, match="must be one of"):
        read(engine, [[one]], grid(), resampling=resampling)


@pytest.mark.parametrize("href", ["file:///etc/hostname", "<VRTDataset/>", "/vsicurl/http://127.0.0.1/a.tif"])
def test_an_address_that_is_not_opened_reaches_no_engine(one, href):
    item = one.clone()
    item.assets["vv"].href = href
    with pytest.raises(InputError, match="address that is not opened"):
        read("odc", [[item]], grid())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_vrt_named_like_a_geotiff_is_not_opened(one, tmp_path, engine):
    disguised = tmp_path / "disguised.tif"
    disguised.write_text(f"<VRTDataset><SourceFilename>{one.assets['vv'].href}</SourceFilename></VRTDataset>")
    item = one.clone()
    item.assets["vv"].href = str(disguised)
    with pytest.raises(ReadError, match='of item "one"'):
        read(engine, [[item]], grid(), bands=("vv",))


@pytest.mark.parametrize("engine", ENGINES)
def test_chunks_are_those_asked_for_and_threads_read_the_same(one, engine):
    blocks = ((16, 16, 8), (30, 20))
    lazy = read_with_engine(engine, [[one]] * 3, bands=("vv",), geobox=grid(), blocks=blocks, resampling="nearest")
    assert lazy["vv"].chunks == ((1, 1, 1), *blocks)
    assert lazy["vv"].dtype == np.float32
    np.testing.assert_array_equal(
        lazy["vv"].compute(scheduler="threads", num_workers=4), native([one], grid())["vv"].values.repeat(3, 0)
    )


def test_names_are_the_same_in_another_process(one, tmp_path):
    one.save_object(include_self_link=False, dest_href=str(tmp_path / "one.json"))
    code = (
        "import sys, pystac; from tests.test_engines import *;"
        "item = pystac.Item.from_file(sys.argv[1]);"
        "print(read_with_engine('odc', [[item]], bands=('vv',), geobox=grid(), blocks=NATIVE_BLOCKS,"
        " resampling='nearest')['vv'].name)"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "one.json")],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
    here = read_with_engine("odc", [[one]], bands=("vv",), geobox=grid(), blocks=NATIVE_BLOCKS, resampling="nearest")
    assert answers == {f"{here['vv'].name}\n"}
