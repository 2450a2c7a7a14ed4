"""`sarcube search`, as a user types it."""

import json

import pytest
from plain_items import plain_item
from rtc_scenes import scene, write_catalogue

import sarcube as sc
from sarcube import cli

EVENT = """
name = "test"
bbox = [99.899, 0.901, 99.902, 0.903]
time = "2022-02-14T00:00:00Z"
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run `sarcube search event.toml ...` in a folder with three scenes: exit code, what was printed, complained of."""
    items = [
        scene(tmp_path / "scenes", "both", time="2022-01-20T11:30:00"),
        scene(tmp_path / "scenes", "single", time="2022-02-01T11:30:00", polarisations=("vv",)),
        scene(tmp_path / "scenes", "up", time="2022-02-20T11:30:00", orbit_state="ascending", relative_orbit=62),
    ]
    write_catalogue(tmp_path / "scenes", items)
    (tmp_path / "event.toml").write_text(EVENT)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["sarcube", "search", "event.toml", *arguments])
        with pytest.raises(SystemExit) as left:  # typer ends every command so
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return call


def test_what_was_found_is_a_catalogue(run, tmp_path):
    code, out, err = run("--catalog", "scenes", "--out", "items.json")
    assert code == 0, err
    assert "D164" in out
    assert "A062" in out
    assert "3 items written: items.json" in out
    written = json.loads((tmp_path / "items.json").read_text())
    assert written["sarcube:search"]["catalog"] == "scenes"
    event = sc.read_event("event.toml")
    again, first = (sc.search(event, catalog=source) for source in ("items.json", "scenes"))
    assert [item.to_dict()["assets"] for item in again] == [item.to_dict()["assets"] for item in first]
    code, same, err = run("--catalog", "items.json")
    assert code == 0, err
    assert same == out.replace("3 items written: items.json\n", "")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--polarisations", "vv, VH"), ["both", "up"]),
        (("--orbit-state", "ascending"), ["up"]),
        (("--relative-orbit", "164"), ["both", "single"]),
        (("--pre-days", "14"), ["single", "up"]),
        (("--post-days", "3"), ["both", "single"]),
    ],
)
def test_only_what_is_wanted(run, tmp_path, options, ids):
    code, _, err = run("--catalog", "scenes", "--out", "items.json", *options)
    assert code == 0, err
    assert [item["id"] for item in json.loads((tmp_path / "items.json").read_text())["features"]] == ids


def test_nothing_found_and_wrong_usage(run, tmp_path):
    code, _, err = run("--catalog", "scenes", "--polarisations", "hh", "--out", "items.json")
    assert code == 3
    assert "3 that were left out because they are not there in HH" in " ".join(err.split())
    code, _, err = run("--catalog", "scenes", "--polarisations", "xx")
    assert code == 2
    assert "polarisations must be some of" in err
    assert not (tmp_path / "items.json").exists()


def test_a_catalogue_is_not_written_where_it_cannot_be_read(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    code, _, err = run("--catalog", "scenes", "--out", "elsewhere/items.json")
    assert code == 2
    assert "write it into the folder of the catalogue, or one above" in " ".join(err.split())
    code, _, err = run("--catalog", "scenes", "--out", "missing/items.json")
    assert code in (2, 5)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_items_of_an_archive_may_be_written_anywhere(run, tmp_path):
    document = plain_item("remote", "2022-02-01T11:30:00").to_dict()
    (tmp_path / "remote.json").write_text(json.dumps({"type": "FeatureCollection", "features": [document]}))
    (tmp_path / "elsewhere").mkdir()
    code, _, err = run("--catalog", "remote.json", "--out", "elsewhere/items.json")
    assert code == 0, err
    (item,) = sc.search(sc.read_event("event.toml"), catalog="elsewhere/items.json")
    assert item.assets["vv"].href == "https://archive.example/remote/iw-vv.rtc.tiff"
