"""Annotations staged beside the scenes: found behind each item, of its own pass, whole or not there."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyproj
import pystac
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox
from orbit_samples import EPOCH, annotation_xml, earth_fixed, eof_xml, reference_trajectory
from range_server import serve
from shapely.geometry import box, mapping
from simple_cube import simple_cube

import sarcube as sc
from sarcube.acquisition.staging.annotation import stage_annotations
from sarcube.acquisition.staging.grd import annotation_hrefs
from sarcube.acquisition.staging.pieces import Pieces

LAT, LON = 45.435053, 1.681007  # A059 sees the place 741.7 s after its node
SEEN = EPOCH.item().replace(tzinfo=UTC) + timedelta(seconds=75)
GRD_ID = "S1A_IW_GRDH_1SDV_20210809T120102_20210809T120127_039156_049F13"
PRODUCT = f"{GRD_ID}_DCEC"
DATA = Path(__file__).parents[2] / "shared/data"


def annotation(orbit=59, *, shift=0.0):
    """An annotation of a pass that sees the place; `shift` moves its clock by seconds."""
    path = reference_trajectory(
        orbit, 741.7 + np.arange(-75.0, 76.0, 10.0), epoch=EPOCH + np.timedelta64(int(shift), "s")
    )
    grid = np.array([[LAT, LON, 0.0], [LAT + 0.3, LON, 1000.0]])
    point = earth_fixed(*grid.T)
    dense = reference_trajectory(orbit, 741.7 + np.arange(-20.0, 20.0, 0.001)).positions
    sight = dense[[np.linalg.norm(dense - p, axis=1).argmin() for p in point]] - point
    cosine = (sight * point).sum(1) / np.linalg.norm(sight, axis=1) / np.linalg.norm(point, axis=1)
    return annotation_xml(path, np.column_stack([grid, np.degrees(np.arccos(cosine))]))


XML = annotation()
ANOTHER_TIME = annotation(shift=3600)
RFI = '<?xml version="1.0"?><rfi><adsHeader><missionId>S1A</missionId></adsHeader></rfi>'


def make_item(name=f"{GRD_ID}_rtc", *, collection="sentinel-1-rtc", lon=LON, **properties):
    outline = box(lon - 0.3, LAT - 0.2, lon + 0.3, LAT + 0.2)
    start, end = SEEN - timedelta(seconds=12), SEEN + timedelta(seconds=13)
    return pystac.Item(
        id=name,
        geometry=mapping(outline),
        bbox=list(outline.bounds),
        datetime=SEEN,
        collection=collection,
        properties={
            "start_datetime": start.isoformat(),
            "end_datetime": end.isoformat(),
            "platform": "SENTINEL-1A",
            "sar:instrument_mode": "IW",
            "sar:polarizations": ["VV", "VH"],
            "sat:orbit_state": "ascending",
            "sat:relative_orbit": 59,
            **properties,
        },
    )


def grd_item(home, *, said="annotation/iw-{}.xml", polarisations=("vh", "vv")):
    """The item of the product in a folder or at a URL, with the assets that the Planetary Computer gives it."""
    item = make_item(GRD_ID, collection="sentinel-1-grd", **{"sar:polarizations": [p.upper() for p in polarisations]})
    item.add_asset("safe-manifest", pystac.Asset(f"{home}/{PRODUCT}/manifest.safe"))
    for polarisation in polarisations:
        item.add_asset(f"schema-product-{polarisation}", pystac.Asset(f"{home}/{PRODUCT}/{said.format(polarisation)}"))
        item.add_asset(polarisation, pystac.Asset(f"{home}/{PRODUCT}/measurement/iw-{polarisation}.tiff"))
    return item


def derived(item, href):
    item.add_link(pystac.Link("derived_from", href))
    return item


def write_product(folder, *, content=XML, polarisation="vv"):
    path = folder / PRODUCT / "annotation" / f"iw-{polarisation}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def stage(items, folder, *, catalog=None, told=None):
    folder.mkdir(exist_ok=True)
    tell = [].append if told is None else told.append
    return stage_annotations(items, folder, catalog=catalog, pieces=Pieces(folder), tell=tell, failed=stop)


def stop(item, error):
    raise error


def lacks(folder):
    """What is noted of scenes without an annotation, by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in (folder / "annotations").glob("*.json")}


@pytest.fixture
def archive(tmp_path):
    """A product on a web server with its item, as an API gives it."""
    folder = tmp_path / "archive"
    write_product(folder)
    with serve(folder) as server:
        (folder / GRD_ID).write_text(json.dumps(grd_item(server.url).to_dict()))
        yield server, folder


@pytest.fixture
def impatient(monkeypatch):
    """Ask twice, at once."""
    from sarcube.acquisition.catalogs import asking
    from sarcube.acquisition.files import ranges
    from sarcube.acquisition.files.patience import RangeSettings

    for module in (asking, ranges):
        monkeypatch.setattr(module, "SETTINGS", RangeSettings(attempts=2, first_pause=0.01))


# Where it is found


def test_the_annotation_behind_a_scene_is_fetched_once(archive, tmp_path):
    server, _ = archive
    item, told = derived(make_item(), f"{server.url}/{GRD_ID}"), []
    found = stage([item], tmp_path / "staged", told=told)
    path = tmp_path / "staged" / "annotations" / f"{item.id}.xml"
    assert found == {item.id: [path]}
    assert path.read_text() == XML
    assert sum(told) == len(XML)
    asked = [request.path for request in server.requests()]
    assert asked == [f"/{GRD_ID}", f"/{PRODUCT}/annotation/iw-vv.xml"]
    server.forget()
    assert stage([item], tmp_path / "staged") == found
    assert server.requests() == []


def test_a_link_of_a_static_catalogue_is_relative_to_the_item(tmp_path):
    folder = tmp_path / "catalogue"
    write_product(folder)
    (folder / "grd.json").write_text(json.dumps(grd_item(".").to_dict()))
    item = derived(make_item(), "../grd.json")
    item.set_self_href(str(folder / "items" / "scene.json"))
    found = stage([item], tmp_path / "staged", catalog=folder)
    assert found[item.id][0].read_text() == XML


def test_without_a_link_the_product_is_found_by_its_id(tmp_path):
    write_product(tmp_path)
    other = grd_item(tmp_path)
    other.id = other.id.replace("049F13", "049F14")
    catalog = pystac.ItemCollection([other, grd_item(tmp_path)])
    found = stage([make_item()], tmp_path / "staged", catalog=catalog)
    assert len(found[f"{GRD_ID}_rtc"]) == 1


@pytest.mark.parametrize("name", [f"{GRD_ID}_rtc", f"{PRODUCT}_rtc", GRD_ID])
@pytest.mark.parametrize("product", [GRD_ID, PRODUCT])
def test_ids_with_and_without_their_unique_part_are_one_product(tmp_path, name, product):
    write_product(tmp_path)
    grd = grd_item(tmp_path)
    grd.id = product
    assert stage([make_item(name)], tmp_path / "staged", catalog=pystac.ItemCollection([grd]))[name]


def test_behind_a_dead_link_the_product_is_searched(archive, tmp_path):
    server, folder = archive
    item = derived(make_item(), f"{server.url}/gone")
    found = stage([item], tmp_path / "staged", catalog=pystac.ItemCollection([grd_item(folder)]))
    assert len(found[item.id]) == 1


def test_where_the_catalogue_names_the_file_of_interference_its_neighbour_is_taken(tmp_path):
    write_product(tmp_path)
    rfi = tmp_path / PRODUCT / "annotation" / "rfi" / "rfi-iw-vv.xml"
    rfi.parent.mkdir()
    rfi.write_text(RFI)
    catalog = pystac.ItemCollection([grd_item(tmp_path, said="annotation/rfi/rfi-iw-{}.xml")])
    found = stage([make_item()], tmp_path / "staged", catalog=catalog)
    assert found[f"{GRD_ID}_rtc"][0].read_text() == XML


@pytest.mark.parametrize("said", ["iw-{}.xml", "rfi-iw-{}.xml"])  # the folder left out, which happens too
def test_where_the_catalogue_leaves_the_folder_out_it_is_put_back(tmp_path, said):
    write_product(tmp_path)
    found = stage([make_item()], tmp_path / "staged", catalog=pystac.ItemCollection([grd_item(tmp_path, said=said)]))
    assert found[f"{GRD_ID}_rtc"][0].read_text() == XML


def test_names_of_other_archives_are_taken_as_they_are(tmp_path):
    item = make_item(GRD_ID, collection="sentinel-1-grd")
    long = "https://host/s1a-iw-grd-vv-20210809t173953-20210809t174018-039156-049f13-001.xml"
    item.add_asset("schema-product-vv", pystac.Asset(long))
    assert annotation_hrefs(item) == [long]


def test_one_polarisation_is_enough_vv_first(tmp_path):
    write_product(tmp_path, polarisation="vh")
    catalog = pystac.ItemCollection([grd_item(tmp_path, polarisations=("vh",))])
    assert stage([make_item()], tmp_path / "one", catalog=catalog)[f"{GRD_ID}_rtc"]
    assert annotation_hrefs(grd_item(tmp_path))[0].endswith("iw-vv.xml")
    # VV is listed but gone: VH has the same state vectors.
    assert stage([make_item()], tmp_path / "two", catalog=pystac.ItemCollection([grd_item(tmp_path)]))[f"{GRD_ID}_rtc"]


@pytest.mark.realdata
def test_the_raw_item_of_the_planetary_computer_leads_to_the_product_annotation():
    path = DATA / "planetary-computer-items/sentinel-1-grd-item-raw.json"
    if not path.exists():
        pytest.skip(f"no real data at {path}")
    hrefs = annotation_hrefs(pystac.Item.from_dict(json.loads(path.read_text())))
    product = "S1A_IW_GRDH_1SDV_20230628T210705_20230628T210730_049191_05EA4D_21D1"
    assert [href.partition(product)[2] for href in hrefs] == ["/annotation/iw-vv.xml", "/annotation/iw-vh.xml"]


# What is not there, and what is refused


@pytest.mark.parametrize("link", [None, "gone", "file:///etc/passwd", "/vsicurl/http://host/x", "broken.json"])
def test_a_scene_without_its_product_is_named_and_goes_on(archive, tmp_path, caplog, impatient, link):
    server, folder = archive
    (folder / "broken.json").write_text('{"type": "Feature", "id"')
    item = make_item()
    if link is not None:
        derived(item, f"{server.url}/{link}" if link in ("gone", "broken.json") else link)
    with caplog.at_level(logging.INFO):
        assert stage([item], tmp_path / "staged") == {item.id: []}
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any(f"{item.id} has no annotation" in warning for warning in warnings)
    assert lacks(tmp_path / "staged")[item.id]["why"] == "the GRD product it was made from is in no catalogue"


def test_that_a_scene_has_none_is_known_without_a_network(archive, tmp_path, caplog, impatient):
    server, _ = archive
    dead = derived(make_item("S1A_gone"), f"{server.url}/gone")
    items, staged = (
        [derived(make_item(), f"{server.url}/{GRD_ID}"), dead, derived(make_item("S1A_too"), dead.links[0].href)],
        tmp_path / "staged",
    )
    found = stage(items, staged)
    assert [len(found[item.id]) for item in items] == [1, 0, 0]
    for path in ("gone", GRD_ID):
        server.fail(path, "503")
    server.forget()
    assert stage(items, staged) == found
    assert "what was answered on 20" in caplog.text
    asked = {request.path for request in server.requests()}
    assert asked == {"/gone"}
    assert len(server.requests()) == 2, "a server that does not answer was asked again for the next scene"
    with pytest.raises(sc.errors.ReadError):
        stage([*items, derived(make_item("S1A_new"), f"{server.url}/gone")], staged)  # nobody ever answered for this
    server.heal()
    server.forget()
    assert stage(items, staged, catalog=staged) == found
    assert server.requests() == [], "the folder itself was to be asked alone"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"item": "x"}', b"\xff", b"[" * 100_000])
def test_what_was_noted_is_replaced_by_an_answer(archive, tmp_path, content):
    server, folder = archive
    item, staged = derived(make_item(), f"{server.url}/late"), tmp_path / "staged"
    stage([item], staged)
    (note,) = (staged / "annotations").glob("*.json")
    assert json.loads(note.read_text())["item"] == item.id
    note.write_bytes(content)  # damaged: as if it were not there
    stage([item], staged)
    assert lacks(staged)[item.id]["item"] == item.id
    (folder / "late").write_text((folder / GRD_ID).read_text())
    assert len(stage([item], staged)[item.id]) == 1
    assert lacks(staged) == {}


def test_one_scene_that_fails_does_not_take_the_others_along(archive, tmp_path, impatient):
    server, _ = archive
    server.fail("busy", "503")
    items = [derived(make_item("S1A_first"), f"{server.url}/busy"), derived(make_item(), f"{server.url}/{GRD_ID}")]
    failed = {}
    (tmp_path / "staged").mkdir()
    found = stage_annotations(
        items,
        tmp_path / "staged",
        catalog=None,
        pieces=Pieces(tmp_path / "staged"),
        tell=[].append,
        failed=failed.__setitem__,
    )
    assert [len(found[item.id]) for item in items] == [0, 1]
    assert [error.kind for error in failed.values()] == ["throttled"]
    assert lacks(tmp_path / "staged") == {}


def test_a_catalogue_that_was_given_serves_where_the_link_does_not_answer(archive, tmp_path, impatient):
    server, folder = archive
    server.fail(GRD_ID, "503")
    item = derived(make_item(), f"{server.url}/{GRD_ID}")
    assert stage([item], tmp_path / "staged", catalog=pystac.ItemCollection([grd_item(folder)]))[item.id]


HOSTILE = '<?xml version="1.0"?><!DOCTYPE product [<!ENTITY a "b">]><product>&a;</product>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HOSTILE, "declares a document type"),
        (XML[:-400], "is broken"),
        (RFI, "is no orbit source"),
        (eof_xml(reference_trajectory(59, np.arange(650.0, 850.0, 10.0))), "expected a SAFE annotation"),
        (ANOTHER_TIME, "its state vectors are of 2021-08-09T13:00:00 UTC"),
        (annotation(orbit=132), "is not the annotation of item"),
    ],
    ids=["hostile", "cut", "another kind", "orbit file", "another time", "another track"],
)  # fmt: skip
def test_what_is_not_the_annotation_of_the_pass_is_not_kept(tmp_path, caplog, content, message):
    write_product(tmp_path, content=content)
    catalog = pystac.ItemCollection([grd_item(tmp_path, polarisations=("vv",))])
    with caplog.at_level(logging.INFO):
        assert stage([make_item()], tmp_path / "staged", catalog=catalog) == {f"{GRD_ID}_rtc": []}
    assert message in caplog.text
    (path,) = (tmp_path / "staged" / "annotations").iterdir()
    assert message in json.loads(path.read_text())["why"]


def test_a_server_that_is_busy_stops_the_staging(archive, tmp_path, impatient):
    server, _ = archive
    item = derived(make_item(), f"{server.url}/{GRD_ID}")
    for path in (GRD_ID, f"{PRODUCT}/annotation/iw-vv.xml"):
        server.fail(path, "503")
        with pytest.raises(sc.errors.ReadError) as caught:
            stage([item], tmp_path / "staged")
        assert caught.value.kind == "throttled"
        server.heal()
    assert stage([item], tmp_path / "staged")[item.id]


def test_what_came_before_an_interruption_is_not_fetched_again(tmp_path):
    folder = tmp_path / "archive"
    write_product(folder, content=XML + " " * (5 << 19))  # white space may follow: three pieces
    with serve(folder) as server:
        item = make_item()
        catalog = pystac.ItemCollection([grd_item(server.url)])
        (tmp_path / "staged").mkdir()
        pieces = Pieces(tmp_path / "staged")
        with pytest.raises(KeyboardInterrupt):
            stage_annotations(
                [item], tmp_path / "staged", catalog=catalog, pieces=pieces, tell=_interrupting(2), failed=stop
            )
        assert not (tmp_path / "staged" / "annotations").exists()
        assert stage([item], tmp_path / "staged", catalog=catalog)[item.id]
        ranges = [request.range for request in server.requests()]
        assert len(ranges) == len(set(ranges)) == 3


def _interrupting(number):
    seen = []

    def tell(n):
        seen.append(n)
        if len(seen) == number:
            raise KeyboardInterrupt

    return tell


@pytest.mark.parametrize("harm", ["cut", "another"])
def test_a_damaged_annotation_is_fetched_again(archive, tmp_path, harm):
    server, _ = archive
    item = derived(make_item(), f"{server.url}/{GRD_ID}")
    (path,) = stage([item], tmp_path / "staged")[item.id]
    path.write_text(XML[:1000] if harm == "cut" else ANOTHER_TIME)
    assert stage([item], tmp_path / "staged")[item.id] == [path]
    assert path.read_text() == XML


def test_names_come_from_ids_that_nobody_vouched_for(tmp_path):
    write_product(tmp_path)
    grd = grd_item(tmp_path)
    item = make_item("../../../evil/\n")
    path = tmp_path / "grd.json"
    path.write_text(json.dumps(grd.to_dict()))
    derived(item, str(path))
    (found,) = stage([item], tmp_path / "staged")[item.id]
    assert found.parent == tmp_path / "staged" / "annotations"
    assert found.name.isascii()


def test_a_secret_in_a_link_is_not_shown(archive, tmp_path, caplog):
    server, _ = archive
    item = derived(make_item(), f"{server.url}/gone?sig=SECRET")
    with caplog.at_level(logging.DEBUG, logger="sarcube"):
        stage([item], tmp_path / "staged")
    assert "SECRET" not in "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("sarcube")
    )


def test_a_cube_takes_its_look_geometry_from_it(tmp_path):
    write_product(tmp_path)
    found = stage([make_item()], tmp_path / "staged", catalog=pystac.ItemCollection([grd_item(tmp_path)]))
    x, y = pyproj.Transformer.from_crs(4326, 32631, always_xy=True).transform(LON, LAT)
    geobox = GeoBox((20, 30), Affine(100, 0, round(x) - 1500, 0, -100, round(y) + 1000), "EPSG:32631")
    cube = simple_cube(geobox=geobox, tracks=(("A059", 59, "ascending"),))
    cube["elevation"] = ("y", "x"), np.zeros(geobox.shape, np.float32)
    cube = sc.add_geometry(cube, orbit_files=[path for paths in found.values() for path in paths])
    assert cube.incidence_angle.attrs["source"].startswith(f"SAFE annotation {GRD_ID}_rtc.xml (state vectors)")
    assert np.isfinite(cube.incidence_angle.values).all()


# The real ones


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "orbit", "state", "lat", "lon"),
    [("s1a-iw-grd-vv-20210809t173953-20210809t174018-039156-049f13-001", 59, "ascending", 45.435053, 1.681007),
     ("s1b-iw-grd-vv-20210401t052623-20210401t052648-026269-032297-001", 168, "descending", 47.117028, 12.432669)],
)  # fmt: skip
def test_real_annotations_belong_to_their_scenes_and_to_no_other(tmp_path, name, orbit, state, lat, lon):
    source = DATA / f"annotations/{name}.xml"
    if not source.exists():
        pytest.skip(f"no real data at {source}")
    start, end = (datetime.strptime(part, "%Y%m%dt%H%M%S").replace(tzinfo=UTC) for part in name.split("-")[4:6])
    outline = box(lon - 0.2, lat - 0.2, lon + 0.2, lat + 0.2)

    def item_of(**properties):
        item = make_item(
            "scene_rtc",
            **{"start_datetime": start.isoformat(), "end_datetime": end.isoformat(), "sat:orbit_state": state,
               "sat:relative_orbit": orbit, **properties},
        )  # fmt: skip
        item.geometry, item.bbox, item.datetime = mapping(outline), list(outline.bounds), start
        return item

    grd = item_of()
    grd.id, grd.collection_id = "scene", "sentinel-1-grd"
    grd.add_asset("schema-product-vv", pystac.Asset(str(source)))
    catalog = pystac.ItemCollection([grd])
    (path,) = stage([item_of()], tmp_path / "right", catalog=catalog)["scene_rtc"]
    assert path.read_bytes() == source.read_bytes()
    for number, wrong in enumerate(
        [{"sat:relative_orbit": orbit % 175 + 1}, {"sat:relative_orbit": (orbit + 72) % 175 + 1}]
    ):
        assert stage([item_of(**wrong)], tmp_path / f"wrong{number}", catalog=catalog) == {"scene_rtc": []}
