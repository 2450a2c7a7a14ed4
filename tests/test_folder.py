"""Items from the names, tags and headers of files."""

import numpy as np
import pytest
from rtc_scenes import LEFT, TOP, speckle, values_of, write_rtc

import sarcube as sc
from sarcube.errors import InputError, ReadError

OPERA = "OPERA_L2_RTC-S1_T164-292319-IW2_20211119T{hour}5858Z_{processed}Z_S1A_30_v1.0_{polarisation}.tif"
HYP3 = "S1A_IW_20210101T{hour}5858_DVP_RTC30_G_{flags}_1A2B_{polarisation}.tif"
GRD = "S1C_IW_GRDH_1SDV_20250419T235904_20250419T235929_053498_067DF2"


def opera(folder, *, hour="23", processed="20250830T120333", polarisations=("VV", "VH"), seed=0, **settings):
    for number, polarisation in enumerate(polarisations):
        name = OPERA.format(hour=hour, processed=processed, polarisation=polarisation)
        write_rtc(folder / name, speckle(seed + number), **settings)


def hyp3(folder, *, hour="11", flags="gpuned", **settings):
    for number, polarisation in enumerate(("VV", "VH")):
        write_rtc(folder / HYP3.format(hour=hour, flags=flags, polarisation=polarisation), speckle(number), **settings)


def test_opera_names_say_all_but_the_pass_direction(tmp_path):
    opera(tmp_path / "T164-292319-IW2")
    (item,) = sc.items_from_folder(tmp_path)
    assert item.id == "OPERA_L2_RTC-S1_T164-292319-IW2_20211119T235858Z_20250830T120333Z_S1A_30_v1.0"
    assert set(item.assets) == {"vv", "vh"}
    properties = item.properties
    assert properties["platform"] == "SENTINEL-1A"
    assert properties["sat:relative_orbit"] == 164
    assert properties["processing:datetime"] == "2025-08-30T12:03:33Z"
    assert properties["s1:burst_id"] == "T164-292319-IW2"
    assert item.datetime.isoformat() == "2021-11-19T23:58:58+00:00"
    # Half past six in the morning at 100° E.
    assert properties["sat:orbit_state"] == "descending"
    west, south, east, north = item.bbox
    assert west < 99.9 < east
    assert south < 0.903 < north


@pytest.mark.parametrize(("hour", "expected"), [("11", "ascending"), ("23", "descending")])
def test_the_hour_tells_the_pass_direction(tmp_path, hour, expected):
    opera(tmp_path, hour=hour)
    (item,) = sc.items_from_folder(tmp_path)
    assert item.properties["sat:orbit_state"] == expected


def test_tags_go_before_the_hour(tmp_path):
    tags = {
        "ORBIT_PASS_DIRECTION": "ascending",
        "ZERO_DOPPLER_START_TIME": "2021-11-19T23:58:58.250000Z",
        "ZERO_DOPPLER_END_TIME": "2021-11-19T23:59:01.350000Z",
    }
    opera(tmp_path, tags=tags)
    (item,) = sc.items_from_folder(tmp_path)
    assert item.properties["sat:orbit_state"] == "ascending"
    assert item.properties["start_datetime"] == "2021-11-19T23:58:58.250000Z"
    assert item.datetime.isoformat() == "2021-11-19T23:58:59.800000+00:00"


def test_near_the_poles_the_hour_tells_nothing(tmp_path):
    opera(tmp_path, crs="EPSG:32633", left=500_000, top=8_700_000)
    with pytest.raises(InputError, match="pass orbit_state="):
        sc.items_from_folder(tmp_path)
    (item,) = sc.items_from_folder(tmp_path, orbit_state="ascending")
    assert item.properties["sat:orbit_state"] == "ascending"


def test_reprocessed_bursts_are_two_items_and_one_step(tmp_path):
    opera(tmp_path, processed="20211120T010000", seed=1)
    opera(tmp_path, processed="20250830T120333", seed=5)
    items = sc.items_from_folder(tmp_path)
    assert len(items) == 2
    cube = sc.load(items)
    assert cube.sizes["time"] == 1
    np.testing.assert_array_equal(cube.vv.values[0], speckle(5))


def test_neighbouring_bursts_of_a_second_are_no_duplicates(tmp_path):
    """Bursts of two sub-swaths begin within a second and overlap: both are kept."""
    opera(tmp_path)
    for polarisation in ("VV", "VH"):
        path = tmp_path / OPERA.format(hour="23", processed="20250830T120333", polarisation=polarisation)
        name = path.name.replace("292319-IW2", "292319-IW1")
        write_rtc(tmp_path / name, speckle(9), left=LEFT + 300)
    cube = sc.load(sc.items_from_folder(tmp_path))
    assert dict(cube.sizes) == {"time": 1, "y": 40, "x": 80}
    assert cube.attrs["duplicates_dropped"] == []
    assert cube.vv.notnull().all()


def test_hyp3_names_need_the_relative_orbit(tmp_path):
    hyp3(tmp_path / "S1A_IW_20210101T115858_DVP_RTC30_G_gpuned_1A2B")
    write_rtc(tmp_path / "S1A_IW_20210101T115858_DVP_RTC30_G_gpuned_1A2B_dem.tif", speckle(0))
    with pytest.raises(InputError, match=r"cannot be known: .* pass relative_orbit= "):
        sc.items_from_folder(tmp_path)
    (item,) = sc.items_from_folder(tmp_path, relative_orbit=54)
    assert item.id == "S1A_IW_20210101T115858_DVP_RTC30_G_gpuned_1A2B"
    assert item.properties["sat:relative_orbit"] == 54
    assert item.properties["sat:orbit_state"] == "ascending"
    assert sc.load([item]).scene_track.values[0] == "A054"


@pytest.mark.parametrize(
    ("flags", "found"),
    [("spuned", "sigma0 in power"), ("gduned", "gamma0 in decibel"), ("gauned", "gamma0 in amplitude")],
)
def test_hyp3_radiometry_that_is_not_gamma0_power_is_refused(tmp_path, flags, found):
    hyp3(tmp_path, flags=flags)
    with pytest.raises(InputError, match=f"holds {found}; expected gamma0 in power"):
        sc.items_from_folder(tmp_path, relative_orbit=54)


@pytest.mark.parametrize(
    "name",
    [
        f"{GRD}_DCEC/measurement/iw-{{}}.rtc.tiff",
        f"{GRD}_rtc/iw-{{}}.rtc.tiff",
        f"{GRD}_rtc_{{}}.tiff",
        f"{GRD}_{{}}.tif",
    ],
)
def test_planetary_computer_names(tmp_path, name):
    for number, polarisation in enumerate(("vv", "vh")):
        write_rtc(tmp_path / name.format(polarisation), speckle(number))
    with pytest.raises(InputError, match="relative_orbit="):
        sc.items_from_folder(tmp_path)
    (item,) = sc.items_from_folder(tmp_path, relative_orbit=164)
    assert item.id == f"{GRD}_rtc"
    assert item.properties["platform"] == "SENTINEL-1C"
    assert item.properties["start_datetime"] == "2025-04-19T23:59:04Z"
    assert item.properties["end_datetime"] == "2025-04-19T23:59:29Z"
    assert item.properties["sat:orbit_state"] == "descending"
    cube = sc.load([item])
    np.testing.assert_array_equal(cube.vv.values[0], values_of(item))


def test_the_track_comes_from_tags_where_they_say_it(tmp_path):
    hyp3(tmp_path, tags={"RELATIVE_ORBIT_NUMBER": "054", "ORBIT_PASS_DIRECTION": "A"})
    (item,) = sc.items_from_folder(tmp_path)
    assert (item.properties["sat:relative_orbit"], item.properties["sat:orbit_state"]) == (54, "ascending")


def test_an_argument_that_contradicts_a_file_is_an_error(tmp_path):
    opera(tmp_path, tags={"ORBIT_PASS_DIRECTION": "descending"})
    with pytest.raises(InputError, match=r"relative_orbit of .* contradictory: 164 and 54"):
        sc.items_from_folder(tmp_path, relative_orbit=54)
    with pytest.raises(InputError, match=r"orbit_state of .* contradictory: ascending and descending"):
        sc.items_from_folder(tmp_path, orbit_state="ascending")
    assert len(sc.items_from_folder(tmp_path, orbit_state="descending", relative_orbit=164)) == 1


def test_polarisations_of_different_extent_keep_their_own(tmp_path):
    opera(tmp_path, polarisations=("VV",))
    name = OPERA.format(hour="23", processed="20250830T120333", polarisation="VH")
    write_rtc(tmp_path / name, speckle(3, (10, 12)), left=LEFT + 100, top=TOP - 50)
    (item,) = sc.items_from_folder(tmp_path)
    cube = sc.load([item])
    assert dict(cube.sizes) == {"time": 1, "y": 40, "x": 50}
    np.testing.assert_array_equal(cube.vh.values[0, 5:15, 10:22], speckle(3, (10, 12)))
    assert int(cube.vh.notnull().sum()) == 120


def test_a_broken_file_is_named(tmp_path):
    opera(tmp_path)
    path = tmp_path / OPERA.format(hour="23", processed="20250830T120333", polarisation="VH")
    path.write_bytes(b"")
    with pytest.raises(ReadError, match=path.name):
        sc.items_from_folder(tmp_path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_file_without_a_grid_is_named(tmp_path):
    opera(tmp_path, crs=None)
    with pytest.raises(ReadError, match="no georeference"):
        sc.items_from_folder(tmp_path)


def test_two_copies_of_one_file_are_an_error(tmp_path):
    opera(tmp_path / "a")
    opera(tmp_path / "b")
    with pytest.raises(InputError, match="keep one"):
        sc.items_from_folder(tmp_path)


def test_a_folder_without_rtc_files_says_what_is_understood(tmp_path):
    with pytest.raises(InputError, match=r"OPERA RTC-S1, HyP3 RTC or Planetary Computer .* found 0 GeoTIFFs"):
        sc.items_from_folder(tmp_path)
    write_rtc(tmp_path / "dem.tif", speckle(0))
    with pytest.raises(InputError, match=r"found 1 GeoTIFFs such as dem\.tif"):
        sc.items_from_folder(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        sc.items_from_folder(tmp_path / "nothing")


@pytest.mark.parametrize("arguments", [{"orbit_state": "up"}, {"relative_orbit": 0}, {"relative_orbit": 176}])
def test_arguments_that_cannot_be(tmp_path, arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        sc.items_from_folder(tmp_path, **arguments)
