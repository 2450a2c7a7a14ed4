"""The servers of the tests are what they say they are: signatures, faults, pages, logs, and none outlives the tests."""

import json
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import planetary_computer
import pystac
import pystac_client
import pytest
import rasterio
import requests
from rtc_scenes import scene, values_of
from servers.archive import Archive
from servers.programs import Program

PC_ITEMS = Path(__file__).resolve().parents[2] / "shared" / "data" / "planetary-computer-items"
WHERE = {"account": "sentinel1euwestrtc", "container": "sentinel1-grd-rtc"}


@pytest.fixture
def blob(archive: Archive, monkeypatch, tmp_path) -> str:
    """The address of a file of 1000 bytes, with the environment that reaches it."""
    archive.environment(monkeypatch)
    (tmp_path / "blob").write_bytes(bytes(range(250)) * 4)
    return archive.publish(tmp_path / "blob", **WHERE, name="GRD/a blob.tiff")


def get(href: str, first: int | None = None, last: int | None = None) -> requests.Response:
    headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
    return requests.get(href, headers=headers, timeout=20)


# Signatures


def test_signed_files_come_with_ranges_and_a_tag(archive, blob):
    signed = planetary_computer.sign_url(blob)  # the SDK's own path, to our token service and through our proxy

    whole, part = get(signed), get(signed, 10, 19)

    assert (whole.status_code, len(whole.content)) == (200, 1000)
    assert (part.status_code, part.content) == (206, bytes(range(10, 20)))
    assert part.headers["Content-Range"] == "bytes 10-19/1000"
    assert part.headers["ETag"] == whole.headers["ETag"]
    assert [(entry.status, entry.range, entry.bytes) for entry in archive.requests(blob)] == [
        (200, "", 1000),
        (206, "bytes=10-19", 10),
    ]
    assert [(asked.account, asked.container, asked.status) for asked in archive.tokens_asked()] == [
        (*WHERE.values(), 200)
    ]


def test_a_replaced_file_has_another_tag(archive, blob, tmp_path):
    before = get(archive.sign(blob)).headers["ETag"]
    (tmp_path / "blob").write_bytes(b"new")

    assert archive.publish(tmp_path / "blob", **WHERE, name="GRD/a blob.tiff") == blob
    assert get(archive.sign(blob)).headers["ETag"] != before


def test_without_a_valid_signature_nothing_is_given(archive, blob):
    good = archive.sign(blob)
    other = archive.sign(blob.replace("sentinel1-grd-rtc", "another"))
    for href in (
        blob,
        archive.sign(blob, seconds=-1),  # ended
        f"{blob}?{other.partition('?')[2]}",  # of another container
        good.replace("sig=", "sig=A"),
        good.replace("%3D", "%253D"),  # escaped twice
        good.replace("sp=rl", "sp=rwl"),
        good.replace("se=2", "se=3"),
        good.partition("&sig=")[0],
        f"{good}{good[-10:]}",
    ):
        assert get(href).status_code == 403, href
    assert get(good.replace("%3A", ":").replace("%3D", "=")).status_code == 200
    assert get(good.replace("a%20blob", "none")).status_code == 404
    assert get("http://elsewhere.example.com/").status_code == 502


def test_a_token_ends_when_it_says(archive, blob):
    archive.token_seconds = 1
    token = get(f"{archive.sas_url}/{WHERE['account']}/{WHERE['container']}").json()
    end = datetime.fromisoformat(token["msft:expiry"]).timestamp()
    signed = f"{blob}?{token['token']}"

    before = get(signed).status_code
    assert time.time() > end or before == 200
    time.sleep(max(0.0, end + 0.05 - time.time()))

    assert get(signed).status_code == 403
    assert "sig=" in token["token"]


@pytest.mark.parametrize("hours", [-3, 5])
def test_a_clock_that_is_off_shows_in_stamps_alone(archive, blob, hours):
    archive.token_skew = hours * 3600
    answer = get(f"{archive.sas_url}/{WHERE['account']}/{WHERE['container']}")
    end = datetime.fromisoformat(answer.json()["msft:expiry"]).timestamp()

    assert end - time.time() == pytest.approx(45 * 60 + hours * 3600, abs=60)
    assert get(f"{blob}?{answer.json()['token']}").status_code == 200


def test_unknown_containers_have_no_token(archive, blob):
    for place in ("nobody/sentinel1-grd-rtc", f"{WHERE['account']}/none", f"{WHERE['account']}/..", "x", ""):
        assert get(f"{archive.sas_url}/{place}").status_code == 404


# Faults


def test_files_fail_as_often_as_they_are_told(archive, blob):
    archive.fail(blob, "503", times=2, after=1, retry_after=7)
    signed = archive.sign(blob)

    answers = [get(signed) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert "Retry-After" not in answers[3].headers


def test_a_refusal_for_want_of_a_signature_counts_for_no_fault(archive, blob):
    archive.fail(blob, "429", times=1)

    assert [get(href).status_code for href in (blob, archive.sign(blob), archive.sign(blob))] == [403, 429, 200]


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "409", "429", "500", "502", "503", "504"])
def test_each_status_can_be_had(archive, blob, status):
    archive.fail("*", status)
    assert get(archive.sign(blob)).status_code == int(status)
    archive.heal()
    assert get(archive.sign(blob)).status_code == 200


def test_a_connection_can_be_closed(archive, blob):
    archive.fail(blob, "close", times=1)

    with pytest.raises(requests.ConnectionError):
        get(archive.sign(blob))
    assert get(archive.sign(blob)).status_code == 200


def test_an_answer_can_be_broken_off(archive, blob):
    archive.fail(blob, "truncate", times=2)

    for headers, status in (({}, 200), ({"Range": "bytes=500-599"}, 206)):
        with requests.get(archive.sign(blob), headers=headers, timeout=20, stream=True) as answer:
            body = answer.raw.read1(1000)
            assert answer.status_code == status
            assert len(body) == int(answer.headers["Content-Length"]) // 2
            assert body == (bytes(range(250)) * 2 if status == 200 else bytes(range(50)))
    assert get(archive.sign(blob), 0, 9).content == bytes(range(10))


def test_egress_can_be_throttled(archive, blob, tmp_path):
    (tmp_path / "blob").write_bytes(bytes(12_000))
    archive.publish(tmp_path / "blob", **WHERE, name="GRD/a blob.tiff")
    archive.fail(blob, "slow", rate=10_000, times=1)

    began = time.monotonic()
    assert len(get(archive.sign(blob)).content) == 12_000
    assert time.monotonic() - began > 0.5  # also on the fastest machine


def test_a_fault_that_is_none_is_refused(archive, blob):
    for fault, details in (("200", {}), ("slow", {}), ("close", {"rate": 1}), ("nonsense", {})):
        with pytest.raises(ValueError, match="expected"):
            archive.fail(blob, fault, **details)
    with pytest.raises(ValueError, match="expected"):
        archive.token_fault("nonsense")


def test_the_token_service_fails_as_it_is_told(archive, blob):
    url = f"{archive.sas_url}/{WHERE['account']}/{WHERE['container']}"
    archive.token_fault("429", times=1, retry_after=3)
    archive.token_fault("503", times=1, after=1)
    archive.token_fault("close", times=1)

    busy = get(url)
    assert (busy.status_code, busy.headers["Retry-After"]) == (429, "3")
    with pytest.raises(requests.ConnectionError):
        get(url)
    assert [get(url).status_code for _ in range(2)] == [503, 200]
    archive.token_fault("down")
    with pytest.raises(requests.ConnectionError, match="refused"):
        get(url)
    archive.heal()
    assert get(url).status_code == 200
    assert [asked.status for asked in archive.tokens_asked()] == [429, 0, 503, 200, 200]


def test_logs_can_be_emptied(archive, blob):
    get(archive.sign(blob))
    planetary_computer.sign_url(blob)
    get(archive.api_url)
    assert archive.requests()
    assert archive.tokens_asked()
    assert archive.api_requests("/")

    archive.forget()

    assert archive.requests() == archive.api_requests() == archive.tokens_asked() == []
    get(archive.sign(blob))
    assert len(archive.requests(blob)) == 1


# The API


def many(count: int) -> list[dict]:
    point = {"type": "Point", "coordinates": [100.0, 0.1]}
    return [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": f"S{number}",
            "geometry": point,
            "bbox": [100.0, 0.1, 100.0, 0.1],
            "properties": {"datetime": f"2022-02-{number + 1:02}T00:00:00Z"},
            "links": [],
            "assets": {},
        }
        for number in range(count)
    ]


def found(archive: Archive, **limits: object) -> list[pystac.Item]:
    search = pystac_client.Client.open(archive.api_url).search(collections=["sentinel-1-rtc"], **limits)
    return list(search.items())


def test_the_api_gives_pages(archive, monkeypatch):
    archive.environment(monkeypatch)
    archive.add_items(many(5))

    assert sorted(item.id for item in found(archive, limit=2)) == ["S0", "S1", "S2", "S3", "S4"]
    assert [entry.status for entry in archive.api_requests("/search")] == [200, 200, 200]
    assert {item.id for item in found(archive, datetime="2022-02-02/2022-02-03")} == {"S1", "S2"}
    assert found(archive, bbox=[101, 0, 102, 1]) == []


def test_items_are_replaced_and_removed(archive, monkeypatch):
    archive.environment(monkeypatch)
    items = many(3)
    archive.add_items(items)
    items[0]["properties"]["title"] = "it's new"
    archive.add_items(items[:1])
    archive.remove_items(["S1"])

    left = {item.id: item for item in found(archive)}

    assert sorted(left) == ["S0", "S2"]
    assert left["S0"].properties["title"] == "it's new"
    assert (left["S0"].get_root_link().href).startswith(archive.api_url)


def test_pages_fail_as_they_are_told(archive, monkeypatch):
    archive.environment(monkeypatch)
    archive.add_items(many(5))
    url, body = f"{archive.api_url}/search", {"collections": ["sentinel-1-rtc"], "limit": 2}

    def ask() -> requests.Response:
        return requests.post(url, json=body, timeout=20)

    archive.api_fail("503", after=1, times=1, retry_after=2)
    archive.api_fail("truncate", after=1, times=1)
    archive.api_fail("close", after=1, times=1)
    assert len(ask().json()["features"]) == 2
    assert ask().headers["Retry-After"] == "2"
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        ask()
    with pytest.raises(requests.ConnectionError):
        ask()
    assert ask().status_code == 200
    archive.api_fail("down")
    with pytest.raises(requests.ConnectionError, match="refused"):
        ask()
    archive.heal()
    assert ask().status_code == 200


def test_published_items_are_found_with_their_files(archive, monkeypatch, tmp_path):
    archive.environment(monkeypatch)
    local = scene(tmp_path, "S1")

    (published,) = archive.publish_items([local])
    (item,) = found(archive)

    for name, asset in local.assets.items():
        content = Path(asset.href).read_bytes()
        assert item.assets[name].href == published.assets[name].href
        assert item.assets[name].extra_fields["file:size"] == len(content)
        assert get(planetary_computer.sign_url(item.assets[name].href)).content == content
        with rasterio.open(
            f"/vsicurl/{archive.sign(item.assets[name].href)}"
        ) as dataset:  # GDAL goes through the proxy too
            np.testing.assert_array_equal(dataset.read(1), values_of(local, name))
    assert local.assets["vv"].href.startswith(str(tmp_path))


@pytest.mark.realdata
def test_real_items_are_found_again(archive, monkeypatch):
    file = PC_ITEMS / "sentinel-1-rtc-pc.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    archive.environment(monkeypatch)
    items = json.loads(file.read_text())
    archive.add_items(items)

    for item in items:
        moment = item["properties"]["datetime"]
        (again,) = [other for other in found(archive, bbox=item["bbox"], datetime=moment) if other.id == item["id"]]
        assert {key: asset.href for key, asset in again.assets.items()} == {
            key: asset["href"] for key, asset in item["assets"].items()
        }
        assert again.properties == pystac.Item.from_dict(item).properties  # both with what pystac makes of proj:epsg
        assert {link.rel for link in again.links} >= {"root", "parent", "collection", "self", "derived_from"}
    assert len(found(archive)) == len(items) == 4


# Processes


def test_each_test_begins_with_everything_empty(archive):
    assert archive.requests() == archive.api_requests() == archive.tokens_asked() == []
    assert list(archive.blobs.iterdir()) == []
    assert archive.token_seconds == 2700
    assert archive.token_skew == 0


def test_what_does_not_start_says_why(tmp_path):
    program = Program("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], folder=tmp_path)

    with pytest.raises(RuntimeError, match=r"broken ended \(1\).*\n.*no such thing"):
        program.wait_until(lambda: False)


def test_no_server_outlives_tests_that_are_killed(archive_servers, tmp_path_factory):
    folder = Path(archive_servers.blobs.parent / "second")  # where PostgreSQL's user may enter
    folder.mkdir()
    script = "import sys; from pathlib import Path; from servers.archive import Archive; " + (
        "Archive(Path(sys.argv[1])); print('up', flush=True); input()"
    )
    tests = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": f"{tests}:{tests.parent}", "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout.readline() == "up\n"
    assert len(running_in(folder)) >= 5  # two nginx, tokens, API, PostgreSQL

    process.send_signal(signal.SIGKILL)
    process.communicate()

    end = time.monotonic() + 20
    while running_in(folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert running_in(folder) == []


def running_in(folder: Path) -> list[str]:
    """Return the command lines of processes whose working folder is in a folder."""
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(folder):
                lines.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has ended, or is another user's
            continue
    return lines
