"""State vectors from files: what is read, which pass is picked, and what is refused."""

from dataclasses import replace
from itertools import permutations
from pathlib import Path

import defusedxml.ElementTree as ElementTree
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from orbit_samples import EPOCH, annotation_xml, earth_fixed, eof_xml, reference_trajectory, turned

import sarcube as sc
from sarcube.acquisition.files.orbit_files import read_orbit_file
from sarcube.cube.geometry.orbit_choice import orbit_for_track
from sarcube.errors import ReadError
from sarcube.sar import Trajectory, look_from_orbit, look_geometry, tracks_over
from sarcube.sar.ellipsoid import incidence_from_geocentric
from sarcube.sar.orbit import solve_points
from sarcube.sar.reference_orbit import PERIOD
from sarcube.sar.trajectory import solve

LAT, LON = 45.435053, 1.681007
A059 = {"relative_orbit": 59, "orbit_state": "ascending"}
PATH = reference_trajectory(59, 741.7 + np.arange(-75.0, 76.0, 10.0))  # A059 sees the place at 741.7 s


def geolocation_grid():
    """Points around the place with the angle between the line of sight and the Earth's radius: (n, 4)."""
    lat, lon, height = (v.ravel() for v in np.meshgrid([LAT - 0.5, LAT, LAT + 0.5], [LON, LON + 1.0], [0.0, 2000.0]))
    point = earth_fixed(lat, lon, height)
    dense = reference_trajectory(59, 741.7 + np.arange(-20.0, 20.0, 0.001)).positions
    nearest = [np.linalg.norm(dense - p, axis=1).argmin() for p in point]
    sight = dense[nearest] - point
    cosine = (sight * point).sum(1) / np.linalg.norm(sight, axis=1) / np.linalg.norm(point, axis=1)
    return np.stack([lat, lon, height, np.degrees(np.arccos(cosine))], axis=1)


GRID = geolocation_grid()
ANNOTATION = annotation_xml(PATH, GRID)
EOF = eof_xml(PATH)


def read(folder, content, name="s1a-iw-grd-vv.xml"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_orbit_file(path)


# What is read


def test_an_annotation_gives_its_vectors_and_measures_itself(tmp_path):
    file = read(tmp_path, ANNOTATION)
    assert (file.name, file.kind) == ("s1a-iw-grd-vv.xml", "SAFE annotation")
    assert_allclose(file.trajectory.times, PATH.times)
    assert_allclose(file.trajectory.positions, PATH.positions, rtol=0, atol=1e-6)
    assert_allclose(file.trajectory.velocities, PATH.velocities, rtol=0, atol=1e-6)
    assert file.trajectory.epoch == EPOCH
    assert file.incidence_error < 1e-5


@pytest.mark.parametrize(
    ("file_type", "kind"), [("AUX_POEORB", "precise orbit file"), ("AUX_RESORB", "restituted orbit file")]
)
@pytest.mark.parametrize("namespace", ["", ' xmlns="http://eop-cfi.esa.int/CFI"'])
def test_an_orbit_file_gives_the_same_vectors(tmp_path, file_type, kind, namespace):
    file = read(tmp_path, eof_xml(PATH, file_type=file_type, namespace=namespace), "S1A.EOF")
    assert (file.name, file.kind) == ("S1A.EOF", kind)
    assert_allclose(file.trajectory.times, PATH.times)
    assert_allclose(file.trajectory.positions, PATH.positions, rtol=0, atol=1e-6)
    assert_allclose(file.trajectory.velocities, PATH.velocities, rtol=0, atol=1e-6)
    assert file.trajectory.epoch == EPOCH  # UTC, although TAI tells the seconds


def test_a_leap_second_does_not_stop_the_clock(tmp_path):
    # 2016 ended with 23:59:60 UTC: the UTC texts of these vectors lie nine seconds apart there, TAI goes on.
    path = replace(PATH, epoch=np.datetime64("2016-12-31T23:59:30", "us"))
    repeated = eof_xml(path)
    for second in range(50, -1, -10):
        repeated = repeated.replace(f"UTC=2017-01-01T00:00:{second:02d}", f"UTC=2017-01-01T00:00:{second - 1:02d}")
    repeated = repeated.replace("UTC=2017-01-01T00:00:-1", "UTC=2016-12-31T23:59:60")
    assert_allclose(read(tmp_path, repeated).trajectory.times, PATH.times)


# Which pass is picked


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """An orbit file of 26 hours, 9361 vectors, from a minute after the node of orbit 50."""
    path = reference_trajectory(50, 60.0 + np.arange(9361) * 10.0)
    return read(tmp_path_factory.mktemp("day"), eof_xml(path), "S1A_OPER_AUX_POEORB.EOF")


def test_the_right_revolution_of_a_day_is_picked_for_every_track(day):
    """Relative orbits 50 to 65 are in the file; what it gives is what the reference orbit gives."""
    seen = set()
    for lat in (-75.0, -45.0, -1.0, 0.0, 2.0, 45.0, 75.0):
        for lon in range(-180, 180, 20):
            for state in ("ascending", "descending"):
                for orbit in set(tracks_over(lat, lon, orbit_state=state)) & set(range(47, 70)):
                    track = {"relative_orbit": orbit, "orbit_state": state}
                    source = orbit_for_track([day], lat=lat, lon=lon, **track)
                    if source is None:
                        assert not 51 <= orbit <= 64
                        continue
                    assert 50 <= orbit <= 66
                    seen.add(orbit)
                    look = look_from_orbit(lat, lon, 500.0, source.trajectory, orbit_state=state)
                    assert_allclose(look, look_geometry(lat, lon, 500.0, **track), rtol=0, atol=0.002)
    assert seen >= set(range(51, 65))


def test_an_orbit_file_is_cut_to_minutes_around_the_area(day):
    source = orbit_for_track([day], lat=[LAT, LAT - 1, LAT + 1], lon=LON, **A059)
    assert source.text == (
        "precise orbit file S1A_OPER_AUX_POEORB.EOF (state vectors); expected error 0.0001 degrees in incidence"
    )
    assert 24 <= source.trajectory.times.size <= 30
    assert source.trajectory.epoch == day.trajectory.epoch
    middle = source.trajectory.times.mean() + 60.0
    assert middle == pytest.approx(9 * PERIOD + 741.7, abs=10.0)  # since the node of orbit 50
    with pytest.raises(sc.SarcubeError, match="span"):
        look_from_orbit(LAT + 15.0, LON - 3.0, 0.0, source.trajectory, orbit_state="ascending")


def test_annotations_come_first_then_precise_then_restituted_files_in_any_order(tmp_path, day):
    annotation = read(tmp_path, ANNOTATION)
    restituted = replace(day, kind="restituted orbit file")
    for files in permutations([annotation, day, restituted]):
        assert orbit_for_track(files, lat=LAT, lon=LON, **A059).text.startswith("SAFE annotation s1a-iw-grd-vv.xml")
        rest = [file for file in files if file is not annotation]
        assert orbit_for_track(rest, lat=LAT, lon=LON, **A059).text.startswith("precise")
    assert orbit_for_track([restituted], lat=LAT, lon=LON, **A059).text.startswith("restituted")


def test_of_two_annotations_the_one_that_reaches_further_around_the_area_is_taken(tmp_path):
    early = reference_trajectory(59, 741.7 + np.arange(-130.0, 21.0, 10.0))
    files = [read(tmp_path, annotation_xml(early, GRID), "a.xml"), read(tmp_path, ANNOTATION, "b.xml")]
    for order in (files, files[::-1]):
        assert "b.xml" in orbit_for_track(order, lat=LAT, lon=LON, **A059).text


def test_no_pass_no_source(tmp_path, day):
    annotation = read(tmp_path, ANNOTATION)
    assert orbit_for_track([], lat=LAT, lon=LON, **A059) is None
    over = tracks_over(LAT, LON, orbit_state="ascending")
    assert set(over) == {59, 132}
    assert orbit_for_track([annotation, day], lat=LAT, lon=LON, relative_orbit=132, orbit_state="ascending") is None
    for orbit in tracks_over(LAT, LON, orbit_state="descending"):
        assert orbit_for_track([annotation], lat=LAT, lon=LON, relative_orbit=orbit, orbit_state="descending") is None
    # The area's far corner is seen later than the annotation knows: by half a minute, and by four.
    for north, west in ((6.4, 1.5), (20.0, 4.0)):
        area = {"lat": [LAT, LAT + north], "lon": [LON, LON - west], **A059}
        assert orbit_for_track([annotation], **area) is None
        assert orbit_for_track([day], **area) is not None
    with pytest.raises(sc.SarcubeError, match="track A060 does not look at"):
        orbit_for_track([annotation], lat=LAT, lon=LON, relative_orbit=60, orbit_state="ascending")


@pytest.mark.parametrize(("degrees", "found"), [(0.001, True), (0.2, False)])
def test_a_pass_in_the_orbital_tube_is_the_tracks_and_one_beside_it_is_not(tmp_path, degrees, found):
    """A thousandth of a degree is 80 m here, a fifth 16 km."""
    beside = Trajectory(PATH.times, turned(PATH.positions, degrees), turned(PATH.velocities, degrees), EPOCH)
    source = orbit_for_track([read(tmp_path, eof_xml(beside))], lat=LAT, lon=LON, **A059)
    assert (source is not None) == found


def test_what_an_annotation_measured_is_what_the_layer_says(tmp_path):
    grid = GRID + np.array([0, 0, 0, 0.0042])
    source = orbit_for_track([read(tmp_path, annotation_xml(PATH, grid))], lat=LAT, lon=LON, **A059)
    assert source.text.endswith("expected error 0.0042 degrees in incidence")


# What is refused

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE product [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12))
    + "]><product>&m;</product>"
)
SPIN = np.array([0, 100.0, 0])
FIRST_END = ANNOTATION.index("</orbit>") + len("</orbit>")
REFUSED = {
    "no_bytes": ("", "is broken"),
    "html": ("<html><body>Please log in<br></body></html>", "is broken"),
    "another_kind": ("<manifest/>", "expected a SAFE annotation .*got XML of type 'manifest'"),
    "truncated": (ANNOTATION[: len(ANNOTATION) // 2], "is broken"),
    "binary": (bytes(range(256)), "is broken"),
    "odd_encoding": (b'<?xml version="1.0" encoding="klingon"?><product/>', "is broken"),
    "entity_bomb": (BOMB, "declares a document type"),
    "outside_entity": ('<!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><p>&x;</p>', "declares a document type"),
    "document_type": ("<!DOCTYPE product><product/>", "declares a document type"),
    "no_vectors": ("<product/>", "has no generalAnnotation/orbitList/orbit"),
    "no_grid": (annotation_xml(PATH, []), "has no geolocationGrid"),
    "inertial": (annotation_xml(PATH, GRID, frame="J2000"), "in the frame 'J2000'; expected 'Earth Fixed'"),
    "grid_contradicts": (
        annotation_xml(PATH, GRID + np.array([0, 0, 0, 0.02])),
        r"contradicts itself.* differ by 0\.020°",
    ),
    "grid_elsewhere": (annotation_xml(PATH, GRID + np.array([400, 0, 0, 0])), "out of range"),
    "grid_not_finite": (annotation_xml(PATH, GRID * np.nan), "out of range"),
    "no_number": (ANNOTATION.replace("<x>", "<x>about "), "no usable state vectors: could not convert"),
    "no_time": (
        ANNOTATION.replace("<time>2021-08-09", "<time>yesterday"),
        "no usable state vectors: Invalid isoformat",
    ),
    "other_zone": (ANNOTATION.replace("</time>", "+02:00</time>"), "must be UTC"),
    "missing_field": (ANNOTATION.replace("<y>", "<w>").replace("</y>", "</w>"), "a orbit lacks position/y"),
    "one_vector": (ANNOTATION[:FIRST_END] + ANNOTATION[ANNOTATION.index("</orbitList>") :], "two states or more"),
    "time_repeats": (ANNOTATION.replace("12:00:10", "12:00:00"), "must rise"),
    "kilometres": (
        annotation_xml(Trajectory(PATH.times, PATH.positions / 1e3, PATH.velocities / 1e3, EPOCH), GRID),
        "must be metres",
    ),
    "absurd": (
        annotation_xml(Trajectory(PATH.times, PATH.positions * 1e250, PATH.velocities * 1e250, EPOCH), GRID),
        "must be metres",
    ),
    "velocity_of_another_frame": (
        eof_xml(Trajectory(PATH.times, PATH.positions, PATH.velocities + SPIN, EPOCH)),
        "velocities must be those of the positions",
    ),
    "spaced": (eof_xml(reference_trajectory(59, np.arange(3) * 100.0)), "at most 60 s apart; 100 s"),
    "predicted": (eof_xml(PATH, file_type="MPL_ORBPRE"), "of type 'MPL_ORBPRE'; expected .*AUX_POEORB or AUX_RESORB"),
    "inertial_eof": (eof_xml(PATH, frame="MEAN_OF_2000"), "in the frame 'MEAN_OF_2000'; expected 'EARTH_FIXED'"),
    "no_list": ("<Earth_Explorer_File/>", "lacks Earth_Explorer_Header/Fixed_Header/File_Type"),
    "empty_list": (EOF[: EOF.index("<OSV>")] + EOF[EOF.index("</List_of") :], "has no Data_Block/List_of_OSVs/OSV"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_files_that_are_no_orbit_are_refused_by_name(tmp_path, case):
    content, reason = REFUSED[case]
    with pytest.raises(ReadError, match=reason) as caught:
        read(tmp_path, content, "orbit-of-mine.xml")
    assert "orbit-of-mine.xml" in str(caught.value)


def test_files_that_are_not_there_or_are_folders_or_too_large_are_refused(tmp_path):
    with pytest.raises(ReadError, match=r"there is no SAFE annotation or orbit file at .*absent\.xml") as caught:
        read_orbit_file(tmp_path / "absent.xml")
    assert caught.value.kind == "not_found"
    with pytest.raises(ReadError, match="cannot be read"):
        read_orbit_file(str(tmp_path))
    large = tmp_path / "large.xml"
    with large.open("wb") as file:
        file.truncate((1 << 26) + 1)
    with pytest.raises(ReadError, match=r"large\.xml has more than"):
        read_orbit_file(large)


@given(data=st.data(), content=st.sampled_from([ANNOTATION.encode(), EOF.encode()]))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(tmp_path_factory, data, content):
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from(b"0<>&9eE-.x \xff"))
    try:
        file = read(tmp_path_factory.getbasetemp(), bytes(damaged))
    except ReadError:
        return
    assert file.incidence_error <= 0.01


# Real annotations

FOLDER = Path(__file__).parents[2] / "shared" / "data" / "annotations"
REAL = [("s1a", 59, "ascending"), ("s1b", 168, "descending")]


def on_real_annotations(test):
    for mark in (
        pytest.mark.parametrize(("mission", "orbit", "state"), REAL),
        pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the real data is not at {FOLDER}"),
        pytest.mark.realdata,
    ):
        test = mark(test)
    return test


def real(mission):
    """A real annotation's file, and its grid: latitude, longitude, height, incidence, seconds of range; times."""
    (path,) = FOLDER.glob(f"{mission}-*.xml")
    points = ElementTree.parse(path).findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    names = "latitude", "longitude", "height", "incidenceAngle", "slantRangeTime"
    grid = np.array([[float(point.findtext(name)) for point in points] for name in names])
    return path, grid, np.array([point.findtext("azimuthTime") for point in points], "M8[us]")


def on_normal(geocentric, lat, azimuth):
    """GEOMETRY 1a: to first order."""
    return geocentric - 0.1924 * np.sin(np.radians(2 * lat)) * np.cos(np.radians(azimuth))


@on_real_annotations
def test_every_grid_point_by_state_vectors(mission, orbit, state):
    path, (lat, lon, height, geocentric, delay), times = real(mission)
    file = read_orbit_file(path)
    assert lat.size == 210
    assert file.incidence_error < 1e-6  # of all 210 points, turned exactly: seen 0.0000003
    incidence, azimuth = look_from_orbit(lat, lon, height, file.trajectory, orbit_state=state)
    assert_allclose(incidence, on_normal(geocentric, lat, azimuth), rtol=0, atol=0.001)  # seen 0.00053

    solved = solve(file.trajectory, lat, lon, height, ascending=state == "ascending")
    assert_allclose(solved.slant_range, delay * 299792458 / 2, rtol=0, atol=0.01)
    assert_allclose(solved.time, (times - file.trajectory.epoch) / np.timedelta64(1, "s"), rtol=0, atol=2e-4)


@on_real_annotations
def test_every_grid_point_by_the_reference_orbit(mission, orbit, state):
    path, (lat, lon, height, geocentric, delay), _ = real(mission)
    _, azimuth = look_from_orbit(lat, lon, height, read_orbit_file(path).trajectory, orbit_state=state)
    look = solve_points(lat, lon, height, relative_orbit=orbit, orbit_state=state)
    assert_allclose(look.incidence, incidence_from_geocentric(geocentric, lat, height, azimuth), rtol=0, atol=0.0063)
    assert_allclose(look.azimuth, azimuth, rtol=0, atol=0.0022)  # what REFERENCE_SOURCE promises
    assert_allclose(look.slant_range, delay * 299792458 / 2, rtol=0, atol=200.0)  # an orbital tube of 100 m radius


@on_real_annotations
def test_an_orbit_file_of_the_annotations_vectors_says_the_same(mission, orbit, state, tmp_path):
    path, (lat, lon, height, _, _), _ = real(mission)
    annotation = read_orbit_file(path)
    eof = read(tmp_path, eof_xml(annotation.trajectory), "S1.EOF")
    area = {"lat": lat[[0, 100, -1]], "lon": lon[[0, 100, -1]], "relative_orbit": orbit, "orbit_state": state}
    looks = []
    for file in (annotation, eof):
        source = orbit_for_track([file], **area)
        assert file.name in source.text
        looks.append(look_from_orbit(lat, lon, height, source.trajectory, orbit_state=state))
    assert_allclose(looks[0], looks[1], rtol=0, atol=1e-9)
