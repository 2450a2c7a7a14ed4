"""Search: the same items from a folder, a file, memory and an API; and what it refuses."""

import json
import socket
import threading
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pystac
import pytest
from rtc_scenes import LEFT, scene, write_catalogue
from shapely.geometry import box, shape

import sarcube as sc
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


class StacApi(BaseHTTPRequestHandler):
    """Enough of a STAC API: a landing page and item search in pages of two."""

    items = ()

    def do_GET(self):
        self._answer(self._landing_page())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self._search(body))

    def _landing_page(self):
        root = self._root()
        return {
            "type": "Catalog",
            "id": "api",
            "stac_version": "1.0.0",
            "description": "test",
            "conformsTo": [
                "https://api.stacspec.org/v1.0.0/core",
                "https://api.stacspec.org/v1.0.0/item-search",
            ],
            "links": [
                {"rel": "root", "href": root},
                {"rel": "self", "href": root},
                {"rel": "search", "href": f"{root}/search", "method": "POST", "type": "application/geo+json"},
            ],
        }

    def _search(self, body):
        assert body["collections"] == ["sentinel-1-rtc"]
        start, end = (datetime.fromisoformat(text) for text in body["datetime"].split("/"))
        area = box(*body["bbox"])
        found = [
            item.to_dict()
            for item in self.items
            if start - timedelta(seconds=1) <= item.datetime <= end + timedelta(seconds=1)
            and area.intersects(shape(item.geometry))
        ]
        first = int(body.get("token", 0))
        links = []
        if first + 2 < len(found):
            following = {**body, "token": first + 2}
            links = [{"rel": "next", "href": f"{self._root()}/search", "method": "POST", "body": following}]
        return {"type": "FeatureCollection", "features": found[first : first + 2], "links": links}

    def _root(self):
        return f"http://{self.headers['Host']}{urlsplit(self.path).path.removesuffix('/search').rstrip('/')}"

    def _answer(self, document):
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/geo+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def api(archive):
    _, items = archive
    remote = []
    for item in items:
        copy = item.clone()
        for key, asset in copy.assets.items():
            asset.href = f"https://example.org/{item.id}/{key}.tif"
        copy.set_self_href(f"https://example.org/items/{item.id}")
        remote.append(copy)
    handler = type("Api", (StacApi,), {"items": remote})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def sources(archive):
    folder, items = archive
    collection = folder / "collection of items.json"
    pystac.ItemCollection(items).save_object(str(collection))
    return [folder, str(folder), folder / "catalog.json", collection, pystac.ItemCollection(items)]


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


def test_an_api_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        unused = server.getsockname()[1]
    with pytest.raises(ReadError, match="did not answer"):
        sc.search(EVENT, catalog=f"http://127.0.0.1:{unused}")


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
