"""Searching a real STAC API, pgstac on PostgreSQL: its pages, its links, its faults."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pystac
import pytest
from plain_items import plain_item, write_parquet

import sarcube as sc
from sarcube.acquisition.catalogs import answers, api, asking
from sarcube.acquisition.catalogs.find import catalog_of, find_items
from sarcube.acquisition.scenes import read_scene
from sarcube.errors import ReadError

EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")
TIMES = [f"2022-01-{day:02d}T11:30:00.25" for day in (2, 9, 14, 21, 26)]
NAMES = ["S1_0_rtc", "S1_1_rtc", "S1_2_rtc", "S1_3_rtc", "S1_4_rtc"]
PC_ITEMS = Path(__file__).resolve().parents[2] / "shared" / "data" / "planetary-computer-items"


@pytest.fixture
def pgstac(archive, monkeypatch):
    archive.environment(monkeypatch)
    monkeypatch.setattr(api, "_PAGE", 2)
    monkeypatch.setattr(asking, "SETTINGS", replace(asking.SETTINGS, attempts=3, first_pause=0.01, longest_pause=0.05))
    archive.add_items(plain_item(name, time) for name, time in zip(NAMES, TIMES, strict=True))
    archive.forget()
    return archive


def names(items):
    return [item.id for item in items]


def test_all_pages_of_a_real_api(pgstac):
    found = sc.search(EVENT, catalog=pgstac.api_url)
    assert names(found) == NAMES
    assert {catalog_of(item) for item in found} == {pgstac.api_url.rstrip("/")}
    assert len(pgstac.api_requests("/search")) == 4, "three pages before the event, an empty one after it"
    sc.search(EVENT, catalog=pgstac.api_url)
    assert len(pgstac.api_requests("/search")) == 4
    assert names(find_items(pgstac.api_url, collection="sentinel-1-rtc", bbox=EVENT.bbox))[::-1] == NAMES


@pytest.mark.parametrize("fault", ["503", "429", "truncate", "close"])
def test_a_page_that_fails_is_asked_again(pgstac, fault):
    pgstac.api_fail(fault, times=2, after=1)
    assert names(sc.search(EVENT, catalog=pgstac.api_url)) == NAMES


def test_an_api_that_is_down_after_a_search(pgstac, monkeypatch, caplog):
    first = sc.search(EVENT, catalog=pgstac.api_url)
    pgstac.api_fail("503", after=2)
    with pytest.raises(ReadError, match="did not answer page 3 of its search"):
        sc.search(EVENT, catalog=pgstac.api_url, pre_days=61)
    pgstac.api_fail("down")
    assert names(sc.search(EVENT, catalog=pgstac.api_url)) == NAMES
    assert "newer scenes may be missing" not in caplog.text
    monkeypatch.setattr(answers, "YOUNG", timedelta(0))
    second = sc.search(EVENT, catalog=pgstac.api_url)
    assert second.to_dict() == first.to_dict()
    assert "the connection was refused" in caplog.text
    assert "newer scenes may be missing" in caplog.text
    with pytest.raises(ReadError, match="did not answer"):
        sc.search(EVENT, catalog=pgstac.api_url, post_days=3)


@pytest.mark.realdata
@pytest.mark.skipif(not PC_ITEMS.exists(), reason="no real data in ../shared/data")
def test_real_items_are_the_same_from_every_catalogue(pgstac, tmp_path):
    documents = json.loads((PC_ITEMS / "sentinel-1-rtc-pc.json").read_text())
    pgstac.clear()
    pgstac.add_items(documents)
    items = [pystac.Item.from_dict(document) for document in documents]
    pystac.ItemCollection(items).save_object(str(tmp_path / "items.json"))
    table = write_parquet(documents, tmp_path / "items.parquet")
    event = sc.Event("real", bbox=(12.0, 25.0, 18.0, 40.0), time="2024-04-20")
    sources = [pgstac.api_url, tmp_path / "items.json", table, pystac.ItemCollection(items)]
    found = [sc.search(event, catalog=source) for source in sources]
    assert len(found[0]) == 4
    for other in found[1:]:
        assert names(other) == names(found[0])
        assert [read_scene(item) for item in other] == [read_scene(item) for item in found[0]]
        for item, same in zip(other, found[0], strict=True):
            assert {key: asset.to_dict() for key, asset in item.assets.items()} == {
                key: asset.to_dict() for key, asset in same.assets.items()
            }
            assert item.get_single_link("derived_from").href == same.get_single_link("derived_from").href
