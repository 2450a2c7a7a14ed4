"""What goes wrong on the way to the scenes, made on real servers: what is told, and whose pixels come out."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rtc_scenes import scene, values_of

import sarcube as sc
from sarcube.acquisition.catalogs import asking
from sarcube.acquisition.files import headers, ranges
from sarcube.errors import ReadError

EVENT = sc.Event("test", bbox=(99.899, 0.9006, 99.9025, 0.9035), time="2022-02-14T00:00Z")
TIMES = ["2022-02-01T11:30:00", "2022-02-13T11:30:00", "2022-02-25T11:30:00"]


@pytest.fixture
def local(tmp_path):
    """Three dates of one track."""
    return [scene(tmp_path / "local", f"S{n}_rtc", seed=n, time=time) for n, time in enumerate(TIMES)]


@pytest.fixture
def made(archive, local, monkeypatch):
    """The archive with the three dates, and retries that do not wait long."""
    archive.environment(monkeypatch)
    for module in (ranges, asking):
        patient = replace(module.SETTINGS, attempts=3, first_pause=0.01, longest_pause=0.2)
        monkeypatch.setattr(module, "SETTINGS", patient)
    headers._headers.clear()  # each test has other files at these addresses
    archive.items = archive.publish_items(local)
    archive.forget()
    return archive


def find(made):
    return sc.search(EVENT, catalog=made.api_url)


def staged_from(made, folder, **settings):
    return sc.stage(find(made), folder, bbox=EVENT.bbox, **settings)


def assert_whole(items, local):
    """Every file is there, with the pixels of its source."""
    assert [item.id for item in items] == [item.id for item in local]
    for item, source in zip(items, local, strict=True):
        for band in ("vv", "vh"):
            if band in source.assets:
                np.testing.assert_array_equal(values_of(item, band), values_of(source, band))
        assert item.assets.keys() == source.assets.keys()


def test_without_a_fault(made, local, tmp_path):
    assert_whole(staged_from(made, tmp_path / "staged"), local)


@pytest.mark.parametrize("fault", ["503", "429", "close"])
def test_a_token_service_that_fails_a_while(made, local, tmp_path, fault):
    made.token_fault(fault, times=2, retry_after=0 if fault == "429" else None)
    assert_whole(staged_from(made, tmp_path / "staged"), local)


def test_a_token_service_that_is_down_is_named_and_what_is_there_stays(made, local, tmp_path):
    items = find(made)
    made.token_fault("down")
    with pytest.raises(ReadError, match="PC_SDK_SAS_URL") as raised:
        sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox)
    assert raised.value.kind == "no_connection"
    assert "S0_rtc" in str(raised.value) or "signature" in str(raised.value)
    made.heal()
    assert_whole(sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox), local)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_hours_off(made, local, tmp_path, hours):
    made.token_skew = 3600.0 * hours
    assert_whole(staged_from(made, tmp_path / "staged"), local)


def test_an_api_that_is_down_after_the_search(made, local, tmp_path):
    items = find(made)
    made.api_fail("down")
    assert_whole(sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox), local)
    cube = sc.load(items, bbox=EVENT.bbox)
    expected = sc.load(local, bbox=EVENT.bbox)
    np.testing.assert_array_equal(cube["vv"], expected["vv"])


def test_an_item_that_is_listed_but_unreadable(made, local, tmp_path):
    items = find(made)
    made.fail(items[1].assets["vh"].href, "404")
    with pytest.raises(ReadError, match="S1_rtc") as raised:
        sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox)
    assert raised.value.kind == "not_found"
    staged = sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox, on_error="skip")
    told = json.dumps(staged.extra_fields["sarcube:unstaged"])
    assert "S1_rtc" in told
    assert "vh" in told
    assert {item.id for item in staged} >= {"S0_rtc", "S2_rtc"}
    made.heal()
    assert_whole(sc.stage(items, tmp_path / "staged", bbox=EVENT.bbox), local)
    assert "S1_rtc" not in json.dumps(
        json.loads((tmp_path / "staged" / "catalog.json").read_text()).get("sarcube:unstaged")
    )


def test_single_polarised_items_are_staged_as_they_are(made, tmp_path):
    single = scene(tmp_path / "local", "S9_rtc", seed=9, time="2022-01-20T11:30:00", polarisations=("vv",))
    made.publish_items([single])
    staged = staged_from(made, tmp_path / "staged")
    assert {item.id: sorted(item.assets) for item in staged}["S9_rtc"] == ["vv"]
    cube = sc.load(staged, bbox=EVENT.bbox)
    assert np.isnan(cube["vh"][0]).all()
    assert cube.attrs["missing_polarisations"]
    both = sc.search(EVENT, catalog=made.api_url, polarisations=("vv", "vh"), pre_days=59)
    assert "S9_rtc" not in [item.id for item in both]


def test_of_a_scene_that_was_processed_twice_the_newest_is_staged(made, local, tmp_path, caplog):
    again = scene(tmp_path / "local", "S1_rtc_new", seed=77, time=TIMES[1], processed="2023-01-01T00:00:00Z")
    made.publish_items([again])
    with caplog.at_level(logging.WARNING):
        staged = staged_from(made, tmp_path / "staged")
    assert_whole(staged, [local[0], again, local[2]])
    assert "S1_rtc" in caplog.text
    assert not [entry for entry in made.requests() if "/S1_rtc/" in entry.path], "the older one was fetched"


def test_a_scene_that_is_missing_shows_in_the_table(made, tmp_path):
    made.remove_items(["S2_rtc"])
    table = sc.availability(find(made), EVENT)
    assert table.loc[("D164", "60-12"), ["before", "after"]].tolist() == [2, 0]


def test_a_file_of_another_size_than_its_item_says(made, local, tmp_path):
    broken = made.items[0].clone()
    broken.assets["vv"].extra_fields["file:size"] += 1
    made.add_items([broken])
    with pytest.raises(ReadError, match="S0_rtc") as raised:
        staged_from(made, tmp_path / "staged")
    assert raised.value.kind in ("stale", "damaged")


def test_a_file_whose_checksum_does_not_match(made, tmp_path):
    broken = made.items[0].clone()
    broken.assets["vv"].extra_fields["file:checksum"] = "0" * 32
    made.add_items([broken])
    with pytest.raises(ReadError, match="checksum") as raised:
        staged_from(made, tmp_path / "staged")
    assert raised.value.kind == "damaged"


def test_a_copy_that_was_damaged_on_the_disk_is_fetched_again(made, local, tmp_path):
    staged = staged_from(made, tmp_path / "staged")
    file = Path(staged[0].assets["vv"].href)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    made.forget()
    assert_whole(staged_from(made, tmp_path / "staged"), local)
    assert {entry.path.rpartition("/")[2] for entry in made.requests()} == {"iw-vv.rtc.tiff"}
    assert {entry.path.split("/")[-3] for entry in made.requests()} == {"S0_rtc"}


def test_throttled_egress_is_waited_for(made, local, tmp_path):
    made.fail("*", "429", times=2, retry_after=0)
    made.fail("*", "slow", rate=20_000)
    assert_whole(staged_from(made, tmp_path / "staged"), local)


def test_an_expired_signature_in_an_item_is_replaced(made, local, tmp_path):
    items = [item.clone() for item in made.items]
    for item in items:
        for asset in item.assets.values():
            asset.href = made.sign(asset.href, seconds=-60)
    made.add_items(items)
    found = find(made)
    assert not [asset for item in found for asset in item.assets.values() if "sig=" in asset.href]
    assert_whole(sc.stage(found, tmp_path / "staged", bbox=EVENT.bbox), local)
    np.testing.assert_array_equal(sc.load(items, bbox=EVENT.bbox)["vv"], sc.load(local, bbox=EVENT.bbox)["vv"])
