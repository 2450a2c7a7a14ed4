"""Search: the same items from a folder, a file, memory and an API; and what it refuses."""

import json
from datetime import timedelta
from pathlib import Path

import pystac
import pytest
from plain_items import write_parquet
from rtc_scenes import LEFT, scene, write_catalogue
from stac_server import serve

import sarcube as sc
from sarcube.acquisition.catalogs.find import catalog_of, find, find_items
from sarcube.acquisition.hrefs import resolve_href
from sarcube.errors import InputError, NoSceneError, ReadError

EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")
TIMES = {
    "early": "2021-11-01T11:30:00",
    "pre_a": "2022-01-20T11:30:00",
    "pre_b": "2022-02-01T11:30:00",
    "post": "2022-02-25T11:30:00",
    "late": "2022-04-14T11:30:00",
}


@pytest.fixture
def archive(tmp_path):
    items = [scene(tmp_path, name, time=time) for name, time in TIMES.items()]
    items.append(scene(tmp_path, "ascending", time=TIMES["pre_a"], orbit_state="ascending", relative_orbit=62))
    items.append(scene(tmp_path, "elsewhere", time=TIMES["pre_b"], left=LEFT + 100_000))
    write_catalogue(tmp_path, items)
    return tmp_path, items


def names(items):
    return [item.id for item in items]


@pytest.fixture
def api(archive, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path_factory.mktemp("cache")))
    remote = []
    for item in archive[1]:
        copy = item.clone()
        copy.collection_id = "sentinel-1-rtc"
        for key, asset in copy.assets.items():
            asset.href = f"https://example.org/{item.id}/{key}.tif"
        remote.append(copy)
    with serve(remote) as server:
        yield server.url


def sources(archive):
    folder, items = archive
    collection = folder / "collection of items.json"
    pystac.ItemCollection(items).save_object(str(collection))
    table = folder / "items.parquet"
    write_parquet(items, table)
    in_memory = pystac.ItemCollection(items)
    return [folder, str(folder), folder / "catalog.json", collection, table, in_memory]


def test_every_kind_of_catalogue_gives_the_same(archive, api):
    expected = ["ascending", "pre_a", "pre_b", "post"]
    for catalogue in sources(archive):
        found = sc.search(EVENT, catalog=catalogue)
        assert isinstance(found, pystac.ItemCollection)
        assert names(found) == expected, catalogue
        for item in found:
            assert Path(item.assets["vv"].href) == archive[0] / item.id / "iw-vv.rtc.tiff"
    found = sc.search(EVENT, catalog=api)
    assert names(found) == expected
    assert found[0].assets["vh"].href == "https://example.org/ascending/vh.tif"


def test_windows_are_open_at_the_event(archive):
    folder, items = archive
    moment = items[2].datetime  # of pre_b
    at_event = sc.Event("at", bbox=EVENT.bbox, time=moment)
    assert names(sc.search(at_event, catalog=folder, pre_days=60, post_days=30)) == ["ascending", "pre_a", "post"]
    just_after = sc.Event("after", bbox=EVENT.bbox, time=moment + timedelta(seconds=1))
    assert "pre_b" in names(sc.search(just_after, catalog=folder))
    exact = sc.Event("exact", bbox=EVENT.bbox, time=moment + timedelta(days=12))
    assert names(sc.search(exact, catalog=folder, pre_days=12)) == ["pre_b", "post"]


def test_scenes_between_the_ends_of_a_long_event_belong_to_neither(archive):
    storm = sc.Event("storm", bbox=EVENT.bbox, pre_end="2022-01-25", post_start="2022-02-20")
    assert names(sc.search(storm, catalog=archive[0])) == ["ascending", "pre_a", "post"]


def test_only_one_track(archive):
    folder = archive[0]
    assert names(sc.search(EVENT, catalog=folder, orbit_state="ascending")) == ["ascending"]
    assert names(sc.search(EVENT, catalog=folder, relative_orbit=164)) == ["pre_a", "pre_b", "post"]
    with pytest.raises(NoSceneError, match="on other tracks"):
        sc.search(EVENT, catalog=folder, orbit_state="ascending", relative_orbit=164)
    with pytest.raises(InputError, match="orbit_state"):
        sc.search(EVENT, catalog=folder, orbit_state="up")


def test_found_items_load(archive):
    cube = sc.load(sc.search(EVENT, catalog=archive[0]), bbox=EVENT.bbox)
    assert list(cube.scene_track.values) == ["A062", "D164", "D164", "D164"]
    assert cube.vv.notnull().any(["y", "x"]).all()


def test_the_collection_in_memory_stays_as_it_is(archive):
    folder, items = archive
    items = [item.clone() for item in items]
    for item in items:
        item.assets["vv"].href = f"../{item.id}/iw-vv.rtc.tiff"
        item.set_self_href(str(folder / "items" / f"{item.id}.json"))
    relative = pystac.ItemCollection(items, clone_items=False)
    before = [item.to_dict() for item in items]
    found = sc.search(EVENT, catalog=relative)
    assert Path(found[0].assets["vv"].href).is_file()
    assert [item.to_dict() for item in items] == before


def test_nested_catalogues_and_cycles(archive):
    folder, _ = archive
    (folder / "catalog.json").rename(folder / "collection.json")
    document = json.loads((folder / "collection.json").read_text())
    document["type"] = "Collection"
    document["links"].append({"rel": "child", "href": "collection.json"})
    (folder / "collection.json").write_text(json.dumps(document))
    top = {"type": "Catalog", "links": [{"rel": "child", "href": "./collection.json"}]}
    (folder / "catalog.json").write_text(json.dumps(top))
    assert len(sc.search(EVENT, catalog=folder)) == 4


def test_nothing_in_the_windows_says_what_is_nearest(archive):
    event = sc.Event("between", bbox=EVENT.bbox, time="2021-12-20")
    message = (
        r"searched 2021-12-10 00:00 to 2021-12-20 00:00 and 2021-12-20 00:00 to 2022-01-01 00:00 UTC, bbox .*"
        r"holds 6 scenes over this area .* the last before them at 2021-11-01 11:30, "
        r"the first after them at 2022-01-20 11:30; make pre_days or post_days longer"
    )
    with pytest.raises(NoSceneError, match=message):
        sc.search(event, catalog=archive[0], pre_days=10)


def test_nothing_in_the_area_says_so(archive):
    event = sc.Event("away", bbox=(10, 45, 10.1, 45.1), time="2022-02-14")
    with pytest.raises(NoSceneError, match=r"holds 7 scenes, none of them over this area \(5 in these windows\)"):
        sc.search(event, catalog=archive[0])
    with pytest.raises(NoSceneError, match=r"in the collection in memory.*holds no scene at all"):
        sc.search(event, catalog=pystac.ItemCollection([]))


def test_an_api_without_a_scene_is_asked_for_the_nearest(api):
    event = sc.Event("between", bbox=EVENT.bbox, time="2021-12-20")
    with pytest.raises(NoSceneError, match=r"last before them at 2021-11-01 11:30, the first after them at 2022-01-20"):
        sc.search(event, catalog=api, pre_days=10)
    event = sc.Event("away", bbox=(10, 45, 10.1, 45.1), time="2022-02-14")
    with pytest.raises(NoSceneError, match="no scene at all within 90 days"):
        sc.search(event, catalog=api)


def test_other_collections_are_left_out_and_named(archive):
    folder, items = archive
    items = [item.clone() for item in items]
    for item in items:
        item.collection_id = "sentinel-1-rtc" if item.id == "post" else "sentinel-1-grd"
    assert names(sc.search(EVENT, catalog=pystac.ItemCollection(items))) == ["post"]
    with pytest.raises(NoSceneError, match=r"no scene of the collection opera, but 7 items of sentinel-1-grd, "):
        sc.search(EVENT, catalog=pystac.ItemCollection(items), collection="opera")
    moment = items[3].datetime
    found = find_items(
        pystac.ItemCollection(items), collection="sentinel-1-rtc", bbox=EVENT.bbox, spans=[(moment, moment)]
    )
    assert names(found) == ["post"]
    assert find_items(folder, collection="sentinel-1-rtc", bbox=EVENT.bbox) == [], "these name no collection"


def test_only_scenes_with_all_polarisations(archive):
    folder, _ = archive
    path = folder / "items" / "pre_a.json"
    document = json.loads(path.read_text())
    document["assets"]["VV"] = document["assets"].pop("vv")
    path.write_text(json.dumps(document))
    path = folder / "items" / "post.json"
    document = json.loads(path.read_text())
    del document["assets"]["vh"]
    path.write_text(json.dumps(document))
    assert names(sc.search(EVENT, catalog=folder, polarisations=("vv", "vh"))) == ["ascending", "pre_a", "pre_b"]
    message = (
        r"with VV and HH\. It holds 3 scenes over this area in these windows on other tracks and 1 that were left out "
        r"because they are not there in VV and HH\."
    )
    with pytest.raises(NoSceneError, match=message):
        sc.search(EVENT, catalog=folder, polarisations=("VV", "HH"), orbit_state="ascending")


def test_an_event_across_the_antimeridian(tmp_path):
    scenes = [
        scene(tmp_path, "east", time=TIMES["pre_a"], crs="EPSG:32760", left=815_000, top=8_000_000),
        scene(tmp_path, "west", time=TIMES["pre_b"], crs="EPSG:32701", left=190_000, top=8_000_000),
        scene(tmp_path, "far", time=TIMES["post"], crs="EPSG:32731", left=500_000, top=8_000_000),
    ]
    event = sc.Event("fiji", bbox=(179.9, -18.2, -179.9, -17.9), time="2022-02-14")
    assert names(sc.search(event, catalog=pystac.ItemCollection(scenes))) == ["east", "west"]


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("file:///etc/passwd", "not opened"),
        ("/vsizip/x.zip/vv.tif", "not opened"),
        ("/VSICURL/http://127.0.0.1/vv.tif", "not opened"),
        ('<VRTDataset rasterXSize="1"></VRTDataset>', "not opened"),
        (" \n<VRTDataset/>", "not opened"),
        ("s3://bucket/vv.tif", "not opened"),
        ("GTIFF_DIR:1:vv.tif", "not opened"),
        ("", "not opened"),
        ("/etc/passwd", "points outside its catalogue"),
        ("../../../../etc/passwd", "points outside its catalogue"),
    ],
)
def test_hostile_hrefs_are_refused(archive, href, message):
    path = archive[0] / "items" / "post.json"
    document = json.loads(path.read_text())
    document["assets"]["vv"]["href"] = href
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f'item "post" .*{message}'):
        sc.search(EVENT, catalog=archive[0])


def test_a_symbolic_link_out_of_the_catalogue_is_refused(archive, tmp_path_factory):
    folder = archive[0]
    outside = tmp_path_factory.mktemp("outside") / "vv.tif"
    inside = folder / "post" / "iw-vv.rtc.tiff"
    inside.rename(outside)
    inside.symlink_to(outside)
    with pytest.raises(InputError, match="points outside"):
        sc.search(EVENT, catalog=folder)


@pytest.mark.parametrize("link", ["../elsewhere.json", "https://example.org/item.json", "file:///etc/passwd"])
def test_links_out_of_the_catalogue_are_refused(archive, link):
    path = archive[0] / "catalog.json"
    path.write_text(json.dumps({"type": "Catalog", "links": [{"rel": "item", "href": link}]}))
    with pytest.raises(InputError):
        sc.search(EVENT, catalog=archive[0])


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("c:/scenes/vv.tif", "found on the web"),
        ("//[x/vv.tif", "found on the web"),
        ("s3://bucket/vv.tif?sig=SECRET", "not opened: 's3://bucket/vv.tif...'"),
        ("c:/vv.tif?sig=SECRET", "not opened: 'c:/vv.tif...'"),
    ],
)
def test_what_is_on_the_web_leads_to_no_local_file(href, message):
    with pytest.raises(InputError, match=message) as raised:
        resolve_href(href, owner='item "x"', base="https://example.org/stac/items/x")
    assert "SECRET" not in str(raised.value)


def test_items_come_in_the_order_of_the_catalogue(archive):
    folder, items = archive
    found, _ = find(folder, collection="sentinel-1-rtc", bbox=EVENT.bbox, spans=None)
    assert names(found) == [item.id for item in items if item.id != "elsewhere"]


def test_a_track_is_found_however_it_is_written(archive):
    items = pystac.ItemCollection(archive[1]).clone()
    for item, orbit in zip(items, ("164", 164.0, "164", 164, 164.0, 164, 164), strict=True):
        if item.id != "ascending":
            item.properties |= {"sat:orbit_state": "DESCENDING", "sat:relative_orbit": orbit}
    expected = names(sc.search(EVENT, catalog=pystac.ItemCollection(archive[1]), orbit_state="descending"))
    assert names(sc.search(EVENT, catalog=items, orbit_state="descending", relative_orbit=164)) == expected


@pytest.mark.parametrize("orbit", [0, 176, "164", 1.5])
def test_a_relative_orbit_that_is_none_is_refused(archive, orbit):
    with pytest.raises(InputError, match="relative_orbit must be a number from 1 to 175"):
        sc.search(EVENT, catalog=archive[0], relative_orbit=orbit)


def test_a_saved_page_of_a_longer_answer_is_told(archive, caplog):
    page = pystac.ItemCollection(archive[1]).to_dict(transform_hrefs=False)
    file = archive[0] / "page.json"
    for links in ([], [{"rel": "next", "href": "https://example.org/search?token=2"}]):
        caplog.clear()
        file.write_text(json.dumps(page | {"links": links}))
        assert sc.search(EVENT, catalog=file)
        assert ("page.json is one page of a longer answer" in caplog.text) == bool(links)


@pytest.mark.parametrize("name", ["links", "features"])
@pytest.mark.parametrize("content", [None, "abc", [1], {}])
def test_lists_that_are_none_name_their_file(tmp_path, name, content):
    kind = "Catalog" if name == "links" else "FeatureCollection"
    (tmp_path / "catalog.json").write_text(json.dumps({"type": kind, name: content}))
    with pytest.raises(ReadError, match=rf"catalog\.json is no STAC: its {name} must be a list"):
        sc.search(EVENT, catalog=tmp_path)


@pytest.mark.parametrize("content", ["not json", "[1, 2]", '{"type": "Feature", "id": "x"}', '{"type": "Point"}'])
def test_a_broken_catalogue_names_its_file(archive, content):
    (archive[0] / "items" / "post.json").write_text(content)
    with pytest.raises(ReadError, match=r"post\.json"):
        sc.search(EVENT, catalog=archive[0])


def test_a_folder_without_a_catalogue_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="items_from_folder"):
        sc.search(EVENT, catalog=tmp_path)
    with pytest.raises(InputError, match="no STAC catalogue"):
        sc.search(EVENT, catalog=tmp_path / "nothing.json")


def test_a_staged_copy_still_knows_the_api_that_it_came_from(tmp_path):
    item = scene(tmp_path, "S1")
    item.add_link(pystac.Link("canonical", "https://example.org/stac/collections/sentinel-1-rtc/items/S1"))
    item.set_self_href(str(tmp_path / "S1.json"))
    assert catalog_of(item) == "https://example.org/stac"
