"""Searching a STAC API: page by page, over a line that breaks, and with what was answered before."""

import gzip
import json
import logging
import re
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_items import plain_item
from stac_server import serve

import sarcube as sc
from sarcube.acquisition.catalogs import answers, asking, paging
from sarcube.acquisition.catalogs.find import catalog_of, find_items
from sarcube.errors import InputError, NoSceneError, ReadError

EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")
TIMES = [f"2022-01-{day:02d}T11:30:00" for day in (2, 9, 14, 21, 26)]
NAMES = ["S1_0_rtc", "S1_1_rtc", "S1_2_rtc", "S1_3_rtc", "S1_4_rtc"]


def names(items):
    return [item.id for item in items]


@pytest.fixture(scope="module")
def server():
    with serve(page=2) as api:
        yield api


@pytest.fixture
def api(server, tmp_path, monkeypatch):
    """An API with five scenes before the event, in pages of two, the newest first; a cache of one's own."""
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(asking, "SETTINGS", replace(asking.SETTINGS, attempts=3, first_pause=0.01, longest_pause=0.05))
    server.heal()
    server.offer("GET", "POST")
    server.put(plain_item(name, time, api=server.url) for name, time in zip(NAMES, TIMES, strict=True))
    server.forget()
    return server


def search(api, **kwargs):
    return sc.search(EVENT, catalog=api.url, **kwargs)


def grow_old(monkeypatch):
    monkeypatch.setattr(answers, "YOUNG", timedelta(0))


@pytest.mark.parametrize("methods", [("GET", "POST"), ("POST",), ("GET",)])
def test_all_pages_are_read_once(api, methods):
    api.offer(*methods)
    found = search(api)
    assert names(found) == NAMES
    assert api.asked() == [0, 1, 2, 3, 1], "landing page, three pages before the event, an empty one after it"
    requests = api.requests()
    assert {entry.method for entry in requests[1:]} == {"POST" if "POST" in methods else "GET"}
    assert {entry.headers["User-Agent"] for entry in requests} == {f"sarcube/{sc.__version__}"}
    told = found.extra_fields["sarcube:search"]
    assert {key: told[key] for key in ("pre_days", "post_days", "catalog", "collection")} == {
        "pre_days": 60,
        "post_days": 12,
        "catalog": api.url,
        "collection": "sentinel-1-rtc",
    }
    assert abs(datetime.fromisoformat(told["answered"]) - datetime.now(UTC)) < timedelta(minutes=5)


def test_an_item_on_two_pages_is_there_once(api):
    api.fail(2, "overlap")
    assert names(search(api)) == NAMES


PASSING = ["503", "429", "500", "truncate", "half", "packed", "garbage", "list", "other", "close"]


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_again(api, fault, page):
    api.fail(page, fault, times=2)
    assert names(search(api)) == NAMES
    assert api.asked() == {0: [0, 0, 0, 1, 2, 3, 1], 2: [0, 1, 2, 2, 2, 3, 1]}[page]


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        ("503", "throttled", 3),
        ("429", "throttled", 3),
        ("502", "no_connection", 3),
        ("close", "no_connection", 3),
        ("truncate", "damaged", 3),
        ("garbage", "damaged", 3),
        ("other", "damaged", 3),
        ("403", "forbidden", 1),
        ("404", "not_found", 1),
        ("400", "forbidden", 1),
    ],
)
def test_what_stays_is_an_error_that_names_the_page(api, fault, kind, attempts):
    api.fail(2, fault)
    with pytest.raises(ReadError, match=rf"the catalogue {api.url} did not answer page 2 of its search: ") as caught:
        search(api)
    assert caught.value.kind == kind
    assert api.asked() == [0, 1] + [2] * attempts


def test_retry_after_is_obeyed(api, monkeypatch):
    waits = []
    monkeypatch.setattr(asking, "SETTINGS", replace(asking.SETTINGS, longest_pause=30.0))
    monkeypatch.setattr(time, "sleep", waits.append)
    api.fail(1, "429", times=1, retry_after=17)
    search(api)
    assert len(waits) == 1
    assert 17 <= waits[0] < 18


def test_what_an_api_says_of_its_refusal_is_told(api):
    api.fail(1, "400", said="Collection\x1b[31m 'sentinel-1-rtc'  does not exist" + "!" * 500)
    with pytest.raises(ReadError, match=r"400 \(Bad Request\): \"Collection \[31m 'sentinel-1-rtc'") as caught:
        search(api)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("fault", ["stall", "drip", "drip headers"])
def test_an_answer_that_does_not_end_is_not_waited_for(api, monkeypatch, fault):
    short = replace(asking.SETTINGS, attempts=2, read_timeout=0.3, answer_timeout=0.3, slowest=1e6)
    monkeypatch.setattr(asking, "SETTINGS", short)
    api.fail(1, fault, seconds=0.05 if fault != "stall" else 1)
    with pytest.raises(ReadError, match=r"page 1 .*\(2 attempts\)") as caught:
        search(api)
    assert caught.value.kind == "no_connection"
    assert api.asked() == [0, 1, 1]


def test_a_search_that_broke_off_goes_on_at_the_page_that_failed(api):
    api.fail(3, "503")
    with pytest.raises(ReadError, match=r"page 3 .* search again and it goes on there"):
        search(api)
    api.heal()
    api.forget()
    assert names(search(api)) == NAMES
    assert api.asked() == [3, 1]


def test_the_same_search_twice_asks_once(api, tmp_path):
    first = search(api)
    asked = api.asked()
    second = search(api)
    assert api.asked() == asked
    assert second.to_dict() == first.to_dict()
    search(api, post_days=24)
    assert api.asked() == [*asked, 1], "the same time before the event, another after it"
    assert len(list((tmp_path / "cache" / "answers").iterdir())) == 4, "landing page and three whole answers, no pages"


def test_an_old_answer_is_asked_again(api, monkeypatch):
    search(api)
    grow_old(monkeypatch)
    api.put([plain_item("new_rtc", "2022-02-02T11:30:00", api=api.url)])
    assert names(search(api)) == ["new_rtc"]


@pytest.mark.parametrize("page", [0, 1, 2, 3])
@pytest.mark.parametrize("fault", ["503", "close", "garbage"])
def test_an_old_answer_is_used_where_none_comes(api, monkeypatch, caplog, page, fault):
    first = search(api)
    grow_old(monkeypatch)
    # Should a page of now be joined to pages of then, this scene would be there, and another lost.
    added = plain_item("S1_5_rtc", "2022-02-02T11:30:00", api=api.url)
    api.put([*(plain_item(name, time, api=api.url) for name, time in zip(NAMES, TIMES, strict=True)), added])
    api.fail(page, fault)
    second = search(api)
    assert names(second) == NAMES
    told = second.extra_fields["sarcube:search"]["answered"]
    assert told == first.extra_fields["sarcube:search"]["answered"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    pattern = (
        r"did not answer.*Its answer of \d{4}-\d\d-\d\d \d\d:\d\d UTC is used, 0:\d\d:\d\d old: newer scenes may be"
    )
    assert re.search(pattern, warnings[0])
    api.heal()
    caplog.clear()
    assert names(search(api)) == [*NAMES, "S1_5_rtc"]
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("fault", ["401", "403", "404", "400"])
def test_a_refusal_is_no_reason_for_an_old_answer(api, monkeypatch, fault):
    search(api)
    grow_old(monkeypatch)
    api.fail(1, fault)
    with pytest.raises(ReadError):
        search(api)


def test_half_an_old_answer_is_none(api, monkeypatch):
    api.fail(3, "503")
    with pytest.raises(ReadError):
        search(api)
    grow_old(monkeypatch)
    with pytest.raises(ReadError, match="page 3"):
        search(api)
    assert api.asked() == [0, 1, 2, 3, 3, 3, 0, 1, 2, 3, 3, 3]


def test_an_api_that_is_not_there(api):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(
        ReadError, match=r"did not answer: the connection was refused .*give catalog= a folder"
    ) as caught:
        sc.search(EVENT, catalog=f"http://127.0.0.1:{port}")
    assert caught.value.kind == "no_connection"


@pytest.mark.parametrize(
    ("page", "fault", "words", "asked"),
    [(2, "again", "one that it gave before", [0, 1, 2]), (-1, "for ever", "more and more pages", list(range(21)))],
)
def test_an_api_that_pages_for_ever_is_stopped(api, monkeypatch, page, fault, words, asked):
    monkeypatch.setattr(paging, "_MOST_PAGES", 20)
    api.fail(page, fault)
    with pytest.raises(ReadError, match=words) as caught:
        search(api)
    assert caught.value.kind == "damaged"
    assert api.asked() == asked


@pytest.mark.parametrize("methods", [("POST",), ("GET",)])
@pytest.mark.parametrize(
    "to", ["http://127.0.0.1:1/search", "http://evil.example/x", "file:///etc/passwd", "ftp://h/x"]
)
def test_only_the_apis_own_host_is_asked(api, methods, to):
    api.offer(*methods)
    api.fail(-1, "next", to=to)
    with pytest.raises(ReadError, match=r"page 2 of its search: it sends the question on to .* not its own host"):
        search(api)


def test_redirects_within_the_host_are_followed_and_no_others(api):
    api.offer("GET")
    api.fail(1, "redirect", times=1, status=302, to="/moved/search?collections=sentinel-1-rtc&bbox=99,0,100,1")
    assert names(search(api)) == NAMES
    with serve() as other:
        api.fail(0, "redirect", status=302, to=other.url)
        with pytest.raises(ReadError, match="not its own host"):
            sc.search(EVENT, catalog=f"{api.url}/elsewhere")
        assert other.asked() == []
    api.heal()
    api.fail(0, "redirect", status=302, to="/round/and/round")
    with pytest.raises(ReadError, match="redirects more than 5 times"):
        sc.search(EVENT, catalog=f"{api.url}/round")


@pytest.mark.parametrize("methods", [("GET",), ("POST",)])
def test_addresses_that_cannot_be_parsed_are_an_error_in_words(api, methods):
    api.offer(*methods)
    api.fail(-1, "next", to="http://[x")
    with pytest.raises(ReadError, match="page 1 of its search: it leads to an address that cannot be parsed"):
        search(api)
    api.heal()
    api.fail(0, "redirect", status=302, to="//[x")
    with pytest.raises(ReadError, match="leads to an address that cannot be parsed"):
        sc.search(EVENT, catalog=f"{api.url}/nowhere")


def test_https_stays_https():
    own = asking.own_address
    assert own("http://api.example/stac/search?token=1", api="https://api.example/stac") == (
        "https://api.example/stac/search?token=1"
    )
    assert own("http://api.example:80/x", api="https://api.example") == "https://api.example/x"
    assert own("https://API.example:443/x", api="https://me:word@api.example/") == "https://me:word@api.example/x"
    assert own("https://api.example/x", api="http://api.example") == "https://api.example/x"
    for other in ("https://api.example:8443/x", "https://api.example.evil/x", "https://me@evil/x", "/x", "https://[/"):
        with pytest.raises(asking.Failure, match="not its own host"):
            own(other, api="https://api.example/")


def test_a_page_that_is_no_api_says_so(api):
    api.fail(0, "other")
    with pytest.raises(ReadError, match=rf"{api.url} did not answer: the answer is JSON, but not that of a STAC API"):
        search(api)


def test_secrets_in_an_address_are_neither_shown_nor_kept(api, tmp_path, caplog):
    host = urlsplit(api.url).netloc
    url = f"http://me:password@{host}/?subscription-key=k3y"
    items = [plain_item(name, time) for name, time in zip(NAMES, TIMES, strict=True)]
    items[0].assets["vv"].href = "vv.tif"
    api.put(items)
    api.fail(2, "503")
    with caplog.at_level(logging.DEBUG, logger="sarcube"), pytest.raises(ReadError) as caught:
        sc.search(EVENT, catalog=url)
    api.heal()
    found = sc.search(EVENT, catalog=url)
    assert names(found) == NAMES
    shown = f"{caught.value} {caplog.text} {found.to_dict()}"
    assert "k3y" not in shown
    assert "password" not in shown
    assert not (tmp_path / "cache").exists()
    assert all(entry.headers["Authorization"].startswith("Basic ") for entry in api.requests())


def test_netrc_and_proxies_of_the_environment_are_used(api, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine stac.example login me password word\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", api.url)
    found = sc.search(EVENT, catalog="http://stac.example")
    assert names(found) == NAMES
    requests = api.requests()
    assert all(entry.path.startswith("http://stac.example/") for entry in requests)
    assert all(entry.headers["Authorization"] == "Basic bWU6d29yZA==" for entry in requests)


def test_both_sides_of_the_antimeridian_are_asked(api):
    sides = [
        plain_item("west_rtc", TIMES[0], bounds=(-180, -18.1, -179.8, -17.9)),
        plain_item("east_rtc", TIMES[1], bounds=(179.8, -18.1, 180, -17.9)),
        plain_item("far_rtc", TIMES[2], bounds=(0, -18.1, 1, -17.9)),
    ]
    api.put(sides)
    event = sc.Event("fiji", bbox=(179.9, -18.2, -179.9, -17.9), time="2022-02-14")
    assert names(sc.search(event, catalog=api.url)) == ["west_rtc", "east_rtc"]


def test_relative_addresses_are_relative_to_the_item(api):
    item = plain_item("near_rtc", TIMES[0], api=api.url)
    item.assets["vv"].href = "../vv.tif"
    api.put([item])
    (found,) = search(api)
    assert found.assets["vv"].href == f"{api.url}/collections/sentinel-1-rtc/vv.tif"


def test_hostile_items_stay_harmless(api):
    odd = plain_item("../../evil", TIMES[0], api=api.url)
    odd.assets["vv"].href = "/etc/passwd"
    odd.assets["vh"].href = "//other.example/vh.tif"
    odd.add_asset("thumbnail", pystac.Asset("file:///etc/passwd"))
    odd.set_self_href(None)
    odd.add_link(pystac.Link("self", "file:///etc/shadow"))
    api.put([odd])
    (item,) = search(api)
    host = urlsplit(api.url).netloc
    assert item.assets["vv"].href == f"http://{host}/etc/passwd", "on the API's host, not on this machine"
    assert item.assets["vh"].href == "http://other.example/vh.tif"
    assert "thumbnail" not in item.assets
    assert item.get_self_href() is None


@pytest.mark.parametrize("href", ["file:///etc/passwd", "/vsizip/x.zip/vv.tif", "s3://bucket/vv.tif", "c:/x.tif", ""])
def test_a_polarisation_with_an_address_that_is_not_opened(api, href):
    odd = plain_item("odd", TIMES[0], api=api.url)
    odd.assets["vv"].href = href
    api.put([odd])
    with pytest.raises(InputError, match=r'item "odd" \(vv\) has an address that is not opened'):
        search(api)


@pytest.mark.parametrize("geometry", [{"type": "Polygon", "coordinates": "no"}, {"type": "Blob"}])
def test_a_broken_geometry_names_its_item(api, geometry):
    document = plain_item("odd", TIMES[0]).to_dict() | {"geometry": geometry}
    api.put([document])
    with pytest.raises(ReadError, match='item "odd" has a geometry that cannot be read'):
        search(api)


def test_an_item_that_is_none(api):
    document = plain_item("odd", TIMES[0]).to_dict()
    del document["links"], document["assets"]
    document["stac_version"] = 7
    api.put([document])
    with pytest.raises(ReadError, match=f"{api.url} holds an item that cannot be read"):
        search(api)


def test_expired_signatures_are_taken_out_and_valid_ones_not_kept(api, tmp_path):
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    item = plain_item("signed_rtc", TIMES[0], api=api.url)
    blob = "https://mine.blob.core.windows.net/scenes/vv.tif"
    item.assets["vv"].href = f"{blob}?se=2022-01-01T00%3A00%3A00Z&sp=r&sig=0ld"
    item.assets["vh"].href = f"{blob}?se={soon}&sp=r&sig=n3w"
    api.put([item])
    (found,) = search(api)
    assert found.assets["vv"].href == blob
    assert found.assets["vh"].href == f"{blob}?se={soon}&sp=r&sig=n3w"
    kept = b"".join(gzip.decompress(file.read_bytes()) for file in (tmp_path / "cache" / "answers").iterdir())
    assert b"sig" not in kept
    assert b"conformsTo" in kept


def test_only_scenes_with_all_polarisations(api):
    items = [
        plain_item("both_rtc", TIMES[0]),
        plain_item("single_rtc", TIMES[1], polarisations=("vv",)),
        plain_item("upper_rtc", TIMES[2], polarisations=("VV", "VH")),
        plain_item("ice_rtc", TIMES[3], polarisations=("hh", "hv")),
    ]
    api.put(items)
    assert names(search(api, polarisations=("vv", "vh"))) == ["both_rtc", "upper_rtc"]
    assert names(search(api, polarisations=["VV"])) == ["both_rtc", "single_rtc", "upper_rtc"]
    with pytest.raises(NoSceneError, match="4 that were left out because they are not there in VV and HH"):
        search(api, polarisations=("VV", "hh"))
    with pytest.raises(
        NoSceneError, match=r"with HV\. It holds 4 scenes over this area in these windows on other tracks\."
    ):
        search(api, polarisations="hv", relative_orbit=1)
    for wrong in ("v", (), ("vv", "vx")):
        with pytest.raises(InputError, match="polarisations must be some of vv, vh, hh, hv"):
            search(api, polarisations=wrong)


def test_nothing_there_although_the_second_question_fails(api):
    event = sc.Event("before", bbox=EVENT.bbox, time="2021-11-01")
    with pytest.raises(
        NoSceneError, match=r"5 scenes over this area outside .* the first after them at 2022-01-02 11:30"
    ):
        sc.search(event, catalog=api.url)
    other = sc.Event("before", bbox=EVENT.bbox, time="2021-11-02")
    api.fail(2, "503")
    with pytest.raises(NoSceneError, match=r"could not be asked for others: the catalogue .* did not answer page 2"):
        sc.search(other, catalog=api.url)


def test_items_of_other_collections_are_found_by_name(api):
    grd = plain_item("S1_0", TIMES[0], collection="sentinel-1-grd", api=api.url)
    api.put([plain_item("S1_0_rtc", TIMES[0], api=api.url), grd])
    assert names(search(api, collection="sentinel-1-grd")) == ["S1_0"]
    moment = datetime.fromisoformat(TIMES[0]).replace(tzinfo=UTC)
    for spans in (None, [(moment, moment)]):
        assert names(find_items(api.url, collection="sentinel-1-grd", bbox=EVENT.bbox, spans=spans)) == ["S1_0"]
    later = moment + timedelta(seconds=0.5)
    assert find_items(api.url, collection="sentinel-1-grd", bbox=EVENT.bbox, spans=[(later, later)]) == []
    assert find_items(api.url, collection="cop-dem-glo-30", bbox=EVENT.bbox) == []


def test_an_item_knows_its_api_also_from_a_file(api, tmp_path):
    found = search(api)
    assert {catalog_of(item) for item in found} == {api.url}
    assert catalog_of(plain_item("raw", TIMES[0])) is None
    raw = plain_item("raw", TIMES[0])
    raw.add_link(pystac.Link("root", f"{api.url}/"))
    assert catalog_of(raw) == api.url
    found.save_object(str(tmp_path / "items.json"))
    again = sc.search(EVENT, catalog=tmp_path / "items.json")
    assert {catalog_of(item) for item in again} == {api.url}
    assert [item.to_dict() for item in again] == [item.to_dict() for item in found]
    assert again[0].get_single_link("derived_from").href == f"{api.url}/collections/sentinel-1-grd/items/S1_0"


def test_a_cache_that_cannot_be_written_is_none(api, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.INFO, logger="sarcube"):
        assert names(search(api)) == NAMES
        assert names(search(api)) == NAMES
    assert api.asked() == [0, 1, 2, 3, 1] * 2
    told = [record for record in caplog.records if "are not kept" in record.getMessage()]
    assert [record.levelno for record in told] == [logging.INFO]


def test_where_answers_are_kept(tmp_path, monkeypatch):
    answer = answers.Answer({"a": 1}, datetime.now(UTC))
    for environment, folder in (
        ({"SARCUBE_CACHE": str(tmp_path / "mine"), "XDG_CACHE_HOME": str(tmp_path / "no")}, tmp_path / "mine"),
        ({"XDG_CACHE_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg" / "sarcube"),
        ({"XDG_CACHE_HOME": "relative", "HOME": str(tmp_path / "home")}, tmp_path / "home" / ".cache" / "sarcube"),
    ):
        for name in ("SARCUBE_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        answers.keep("0" * 64, answer)
        assert [file.name for file in (folder / "answers").iterdir()] == ["0" * 64 + ".json.gz"]
        assert answers.kept("0" * 64) == answer


def test_a_damaged_answer_is_asked_again(api, tmp_path):
    search(api)
    files = sorted((tmp_path / "cache" / "answers").iterdir())
    damages = [b"", b"no gzip", gzip.compress(b'{"time": "2022", "document": []'), gzip.compress(b"[]")]
    for file, damage in zip(files, damages, strict=False):
        file.write_bytes(damage)
    api.forget()
    assert names(search(api)) == NAMES
    assert api.asked() == [0, 1, 2, 3, 1]
    api.forget()
    assert names(search(api)) == NAMES
    assert api.asked() == []


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_damaged_answer_is_believed(tmp_path_factory, at, flip):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARCUBE_CACHE", str(tmp_path_factory.mktemp("cache")))
        answer = answers.Answer({"features": list(range(50))}, datetime(2022, 2, 1, tzinfo=UTC))
        answers.keep("f" * 64, answer)
        (file,) = (answers.answers_folder()).iterdir()
        content = bytearray(file.read_bytes())
        content[at % len(content)] ^= flip
        file.write_bytes(content)
        assert answers.kept("f" * 64) in (None, answer)
        file.write_bytes(content[: at % len(content)])
        assert answers.kept("f" * 64) is None


def test_answers_from_the_future_are_old():
    now = datetime.now(UTC)
    assert answers.Answer([], now - timedelta(minutes=9)).is_young
    assert not answers.Answer([], now - timedelta(minutes=11)).is_young
    assert not answers.Answer([], now + timedelta(minutes=5)).is_young


def test_the_cache_stays_small(tmp_path, monkeypatch):
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path))
    now = datetime.now(UTC)
    noise = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(2000))
    for number in range(3):
        answers.keep(f"{number}", answers.Answer(noise, now))
    size = (tmp_path / "answers" / "0.json.gz").stat().st_size
    monkeypatch.setattr(answers, "_LARGEST", 3 * size + 10)
    answers.keep("3", answers.Answer(noise, now))
    assert sorted(file.name[0] for file in (tmp_path / "answers").iterdir()) == ["1", "2", "3"]


def test_many_may_keep_the_same_answer_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path))
    monkeypatch.setattr(answers, "_LARGEST", 1000)
    now = datetime.now(UTC)
    wrong = []

    def work(seed):
        for number in range(20):
            key = f"{(seed + number) % 4}"
            answers.keep(key, answers.Answer({"key": key}, now))
            found = answers.kept(key)
            if found is not None and found.document != {"key": key}:
                wrong.append(found)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert all(json.loads(gzip.decompress(file.read_bytes())) for file in (tmp_path / "answers").iterdir())
