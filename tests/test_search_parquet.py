"""Catalogues in stac-geoparquet: the same items as elsewhere, of a large file only what is asked for."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_items import plain_item, write_parquet
from stac_server import serve

import sarcube as sc
from sarcube.acquisition.scenes import read_scene
from sarcube.errors import InputError, NoSceneError, ReadError

EVENT = sc.Event("test", bbox=(99.899, 0.901, 99.902, 0.903), time="2022-02-14T00:00Z")
REAL_ITEMS = Path(__file__).parents[2] / "shared" / "data" / "planetary-computer-items" / "sentinel-1-rtc-pc.json"
AWAY = (10.0, 45.0, 10.1, 45.1)


def names(items):
    return [item.id for item in items]


def said(items):
    """What items say, as far as a catalogue may not change it: times may be written in other words."""
    return [
        (
            *(item.id, item.collection_id, json.dumps(item.geometry), item.bbox, read_scene(item)),
            {key: asset.to_dict() for key, asset in item.assets.items()},
            sorted((link.rel, link.href) for link in item.links if link.rel != "self"),
        )
        for item in items
    ]


@pytest.fixture(scope="module")
def server():
    with serve(page=2) as api:
        yield api


moments = st.datetimes(datetime(2021, 12, 1), datetime(2022, 3, 10)).map(lambda time: time.isoformat())
drawn = st.builds(
    dict,
    time=moments,
    bounds=st.sampled_from([(99.85, 0.85, 99.95, 0.95), AWAY, (99.902, 0.903, 100, 1), (99.0, 0.0, 99.9, 0.9015)]),
    polarisations=st.sampled_from([("vv", "vh"), ("vv",), ("VV", "VH"), ("hh", "hv")]),
    relative_orbit=st.sampled_from([164, 62]),
)


@given(drawn=st.lists(drawn, min_size=1, max_size=6), polarisations=st.sampled_from([None, ("vv",), ("vh", "vv")]))
def test_every_kind_of_catalogue_says_the_same(server, tmp_path_factory, drawn, polarisations):
    folder = tmp_path_factory.mktemp("catalogue")
    items = [plain_item(f"S1_{number}", api=server.url, **fields) for number, fields in enumerate(drawn)]
    pystac.ItemCollection(items).save_object(str(folder / "items.json"))
    write_parquet(items, folder / "items.parquet")
    (folder / "parts" / "year=2022").mkdir(parents=True)
    for number, item in enumerate(items):
        write_parquet([item], folder / "parts" / "year=2022" / f"{number}.parquet")
    server.put(items)
    sources = [folder / "items.json", str(folder / "items.parquet"), folder / "parts", pystac.ItemCollection(items)]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SARCUBE_CACHE", str(folder / "cache"))
        for source in [server.url, *sources]:
            try:
                found.append(said(sc.search(EVENT, catalog=source, polarisations=polarisations)))
            except NoSceneError:
                found.append([])
    for other, source in zip(found[1:], sources, strict=True):
        assert other == found[0], source


@pytest.mark.realdata
@pytest.mark.skipif(not REAL_ITEMS.exists(), reason="no real data in ../shared/data")
def test_real_items_are_the_same_from_a_table_and_an_api(server, tmp_path, monkeypatch):
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "cache"))
    documents = json.loads(REAL_ITEMS.read_text())
    server.put(documents)
    write_parquet(documents, tmp_path / "items.parquet")
    event = sc.Event("real", bbox=(14.0, 29.0, 16.0, 33.0), time="2024-04-20")
    collection = pystac.ItemCollection([pystac.Item.from_dict(document) for document in documents])
    found = [sc.search(event, catalog=source) for source in (server.url, tmp_path / "items.parquet", collection)]
    assert len(found[0]) >= 2
    assert said(found[0]) == said(found[1]) == said(found[2])
    for item, same in zip(found[0], found[1], strict=True):
        assert item.get_self_href() == same.get_self_href()
        assert item.extra_fields == same.extra_fields


def test_groups_of_rows_that_cannot_be_wanted_are_not_read(tmp_path):
    """A large file is read in part: damage where nothing is wanted does not matter, elsewhere it is an error."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    items = [plain_item(f"S1_{day:03d}", (start + timedelta(days=day)).isoformat()[:19]) for day in range(200)]
    items += [plain_item(f"away_{day:03d}", "2022-02-01T00:00:00", bounds=AWAY) for day in range(50)]
    items += [plain_item(f"wanted_{day:03d}", "2022-02-02T00:00:00") for day in range(50)]
    file = write_parquet(items, tmp_path / "items.parquet")
    pq.write_table(pq.read_table(file), file, row_group_size=50)
    content, groups = bytearray(file.read_bytes()), pq.ParquetFile(file).metadata
    for group in range(5):
        for column in range(groups.num_columns):
            chunk = groups.row_group(group).column(column)
            first = chunk.dictionary_page_offset or chunk.data_page_offset
            content[first : first + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(content)
    assert names(sc.search(EVENT, catalog=file)) == [f"wanted_{day:03d}" for day in range(50)]
    early = sc.Event("early", bbox=EVENT.bbox, time="2020-02-14")
    with pytest.raises(ReadError, match=r"cannot read the catalogue file .*items\.parquet"):
        sc.search(early, catalog=file)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", None])
def test_times_of_every_precision(tmp_path, unit, zone):
    items = [plain_item("pre", "2022-02-01T11:30:00"), plain_item("early", "2021-02-01T11:30:00")]
    file = write_parquet(items, tmp_path / "items.parquet")
    table = pq.read_table(file)
    column = table.schema.get_field_index("datetime")
    cast = table["datetime"].cast(pa.timestamp(unit, zone))
    pq.write_table(table.set_column(column, "datetime", cast), file)
    (found,) = sc.search(EVENT, catalog=file)
    assert found.datetime == datetime(2022, 2, 1, 11, 30, tzinfo=UTC)


def test_items_with_only_start_and_end(tmp_path):
    item = plain_item("span", "2022-02-01T11:30:00")
    document = item.to_dict()
    document["properties"]["datetime"] = None
    write_parquet([document, plain_item("pre", "2022-02-02T11:30:00")], tmp_path / "items.parquet")
    assert names(sc.search(EVENT, catalog=tmp_path / "items.parquet")) == ["span", "pre"]


def test_what_one_item_says_others_do_not_say_empty(tmp_path):
    first, second = plain_item("first", "2022-02-01T11:30:00"), plain_item("second", "2022-02-02T11:30:00")
    second.properties["processing:datetime"] = "2023-01-01T00:00:00Z"
    second.assets["vv"].extra_fields["file:size"] = 1000
    second.assets["quicklook"] = pystac.Asset("https://archive.example/q.png", title="A view")
    second.add_link(pystac.Link("license", "https://archive.example/license", title="Free"))
    write_parquet([first, second], tmp_path / "items.parquet")
    found = sc.search(EVENT, catalog=tmp_path / "items.parquet")
    assert said(found) == said([first, second])
    assert set(found[0].properties) == set(first.properties)
    assert "null" not in json.dumps([item.to_dict() for item in found])


def test_boxes_across_the_antimeridian(tmp_path):
    across = plain_item("across", "2022-02-01T11:30:00", bounds=(179.5, -18.5, 180, -17.5))
    document = across.to_dict() | {"bbox": [179.5, -18.5, -179.5, -17.5]}
    east, west = ([[[x, -18.5], [x + 0.5, -18.5], [x + 0.5, -17.5], [x, -17.5], [x, -18.5]]] for x in (179.5, -180.0))
    document["geometry"] = {"type": "MultiPolygon", "coordinates": [east, west]}
    write_parquet([document], tmp_path / "items.parquet")
    for bbox in ((179.9, -18.2, -179.9, -17.9), (-179.9, -18.2, -179.8, -17.9), (179.8, -18.2, 179.9, -17.9)):
        event = sc.Event("fiji", bbox=bbox, time="2022-02-14")
        assert names(sc.search(event, catalog=tmp_path / "items.parquet")) == ["across"]


def test_relative_and_hostile_addresses(tmp_path):
    item = plain_item("relative", "2022-02-01T11:30:00")
    item.assets["vv"].href = "./scenes/vv.tif"
    write_parquet([item], tmp_path / "items.parquet")
    (found,) = sc.search(EVENT, catalog=tmp_path / "items.parquet")
    assert found.assets["vv"].href == str(tmp_path / "scenes" / "vv.tif")
    for href in ("../vv.tif", "/etc/passwd", "file:///etc/passwd", "/vsizip/x.zip"):
        item.assets["vv"].href = href
        write_parquet([item], tmp_path / "items.parquet")
        with pytest.raises(InputError, match='item "relative"'):
            sc.search(EVENT, catalog=tmp_path / "items.parquet")


def test_nothing_found_says_what_is_near(tmp_path):
    write_parquet([plain_item("late", "2022-04-01T11:30:00")], tmp_path / "items.parquet")
    with pytest.raises(NoSceneError, match=r"1 scenes over this area outside these windows, the first after them at"):
        sc.search(EVENT, catalog=tmp_path / "items.parquet")
    write_parquet([plain_item("far", "2023-04-01T11:30:00")], tmp_path / "items.parquet")
    with pytest.raises(NoSceneError, match="holds no scene at all within 90 days"):
        sc.search(EVENT, catalog=tmp_path / "items.parquet")


def test_what_is_no_stac_geoparquet(tmp_path):
    file = tmp_path / "items.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(ReadError, match=r"cannot read the catalogue file .*items\.parquet"):
        sc.search(EVENT, catalog=file)
    pq.write_table(pa.table({"id": ["a"], "score": [0.5]}), file)
    with pytest.raises(ReadError, match=r"^\S*items\.parquet is no stac-geoparquet: it has no column assets, bbox, d"):
        sc.search(EVENT, catalog=file)
    columns = {
        "id": ["a"],
        "geometry": [b"nonsense"],
        "bbox": [[0.0, 0.0, 1.0, 1.0]],
        "assets": ["x"],
        "datetime": ["x"],
    }
    pq.write_table(pa.table(columns), file)
    with pytest.raises(ReadError, match=r"cannot read the catalogue file .*items\.parquet: .*strftime"):
        sc.search(EVENT, catalog=file)
    columns["datetime"] = [datetime(2022, 2, 1, tzinfo=UTC)]
    pq.write_table(pa.table(columns), file)
    with pytest.raises(ReadError, match="holds items that cannot be read as stac-geoparquet"):
        sc.search(EVENT, catalog=file)


def test_a_catalogue_in_json_goes_first(tmp_path):
    """Other tables may lie in the folder of a catalogue."""
    (tmp_path / "catalog.json").write_text(json.dumps({"type": "Catalog", "links": []}))
    write_parquet([plain_item("pre", "2022-02-01T11:30:00")], tmp_path / "items.parquet")
    with pytest.raises(NoSceneError, match="holds no scene at all"):
        sc.search(EVENT, catalog=tmp_path)
