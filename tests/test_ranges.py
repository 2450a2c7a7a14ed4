"""Byte ranges over HTTP: exactly the bytes that were asked for, or an error of the right kind; a real server."""

import logging
import os
import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from range_server import serve
from rasterio.windows import Window
from rtc_scenes import speckle, write_rtc

from sarcube.acquisition.files import connections, headers, patience, ranges
from sarcube.acquisition.files.answers import take_range
from sarcube.acquisition.files.headers import open_geotiff, read_grid, read_window
from sarcube.acquisition.files.ranges import Version, fetch, fetch_all, show_url
from sarcube.errors import ReadError

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    (folder / "a.bin").write_bytes(CONTENT)
    with serve(folder) as running:
        running.folder = folder
        yield running


@pytest.fixture(autouse=True)
def quick(server, monkeypatch):
    monkeypatch.setattr(
        ranges,
        "SETTINGS",
        replace(
            ranges.SETTINGS,
            attempts=3,
            first_pause=0.01,
            longest_pause=0.3,
            connect_timeout=2.0,
            read_timeout=0.4,
            answer_timeout=0.8,
            slowest=1e6,
            whole_file=200_000,
        ),
    )
    yield
    server.heal()
    server.forget()


def get(server, start=1000, stop=3000, path="a.bin", version=None):
    return fetch(f"{server.url}/{path}?sig=SECRET", start, stop, owner='item "S"', version=version)


def test_a_range_is_exactly_these_bytes(server):
    body, version = get(server, 17, 2017)
    assert body == CONTENT[17:2017]
    assert version.size == len(CONTENT)
    assert version.tag.startswith('"')
    assert [(entry.range, entry.status) for entry in server.requests()] == [("bytes=17-2016", 206)]


def test_without_a_version_the_bytes_end_with_the_file(server):
    assert get(server, 299_000, 400_000)[0] == CONTENT[299_000:]


def test_with_a_version_bytes_after_the_end_are_an_error_without_a_request(server):
    with pytest.raises(ReadError, match="ends at byte 300000, byte 300000 of it is needed"):
        get(server, 299_000, 300_001, version=Version(300_000, ""))
    assert server.requests() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 299_999), st.integers(1, 5000)), max_size=9))
def test_many_ranges_come_in_their_order(server, places):
    spans = [(start, min(start + length, 300_000)) for start, length in places]
    _, version = get(server)
    bodies = fetch_all(f"{server.url}/a.bin", spans, owner="x", version=version)
    assert bodies == [CONTENT[start:stop] for start, stop in spans]


RECOVERS = [
    ("408", {}),
    ("425", {}),
    ("429", {}),
    ("429", {"retry_after": 0}),
    ("500", {}),
    ("502", {}),
    ("503", {"retry_after": "nonsense"}),
    ("504", {}),
    ("truncate", {}),
    ("reset", {}),
    ("empty", {}),
    ("wrong range", {}),
    ("long", {}),
    ("encoded", {}),
    ("no content range", {}),
    ("stall", {"seconds": 1.0}),
    ("stall body", {"seconds": 1.0}),
    ("drip", {"seconds": 0.02}),
    ("drip headers", {"seconds": 0.05}),
]


@pytest.mark.parametrize(("fault", "details"), RECOVERS)
def test_what_may_pass_is_tried_again(server, fault, details):
    server.fail("a.bin", fault, times=2, **details)
    assert get(server)[0] == CONTENT[1000:3000]
    assert len(server.requests("a.bin")) == 3


FAILS = [
    ("404", "not_found", 1, "404 .Not Found.; there is no such file"),
    ("410", "not_found", 1, "410 .Gone."),
    ("401", "forbidden", 1, "401 .Unauthorized.; the server wants a login or a signature"),
    ("403", "forbidden", 1, "403 .Forbidden."),
    ("400", "forbidden", 1, "400"),
    ("501", "no_connection", 1, "501"),
    ("599", "no_connection", 1, "599 .no known status."),
    ("429", "throttled", 3, r"429 .Too Many Requests. \(3 attempts\); the server is busy"),
    ("503", "throttled", 3, "503"),
    ("500", "no_connection", 3, "500"),
    ("truncate", "damaged", 3, "ended after 1000 of 2000 bytes"),
    ("reset", "no_connection", 3, "broken off|refused"),
    ("empty", "no_connection", 3, "broken off"),
    ("wrong range", "damaged", 3, "sent bytes 999 to 2998, asked for were 1000 to 2999"),
    ("long", "damaged", 3, "sends 2007 bytes and says that they are bytes 1000 to 2999"),
    ("encoded", "damaged", 3, "gzip"),
    ("no content range", "damaged", 3, "which bytes"),
    ("no range", "damaged", 1, "does not know ranges and would send all 0 MB; download it"),
]


@pytest.mark.parametrize(("fault", "kind", "requests", "words"), FAILS)
def test_what_stays_wrong_is_an_error_of_its_kind(server, fault, kind, requests, words):
    server.fail("a.bin", fault)
    with pytest.raises(ReadError, match=words) as caught:
        get(server)
    assert caught.value.kind == kind
    assert len(server.requests("a.bin")) == requests
    assert f'cannot read {server.url}/a.bin?… of item "S": ' in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "details", "words"),
    [
        ("stall", {"seconds": 1.5}, "not a byte came within 0.4 s"),
        ("stall body", {"seconds": 1.5}, "not a byte came within 0.4 s"),
        ("drip", {"seconds": 0.05}, "the connection hangs"),
        ("drip headers", {"seconds": 0.05}, "its headers were not complete within 0.8 s"),
    ],
)
def test_a_server_that_hangs_ends_in_an_error(server, fault, details, words):
    server.fail("a.bin", fault, **details)
    with pytest.raises(ReadError, match=words) as caught:
        get(server)
    assert caught.value.kind == "no_connection"


def test_a_slow_server_that_is_right_is_waited_for(server, monkeypatch):
    """Longer in all than any timeout, never silent for long, and fast enough for its length."""
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, slowest=2e5))
    server.fail("a.bin", "slow", seconds=0.12)
    assert get(server, 0, 300_000)[0] == CONTENT
    assert len(server.requests("a.bin")) == 1


def test_no_one_listens(server):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ReadError, match="refused") as caught:
        fetch(f"http://127.0.0.1:{port}/a.tif?sig=SECRET", 0, 10, owner="x")
    assert caught.value.kind == "no_connection"
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http:///a.tif", "http://[::1/a.tif", "https://a b/x.tif", "http://.x./y"])
def test_an_address_that_is_none_is_an_error_that_says_so(url):
    with pytest.raises(ReadError) as caught:
        fetch(url, 0, 10, owner="x")
    assert caught.value.kind in ("not_found", "no_connection")


@pytest.mark.parametrize(
    ("to", "kind"),
    [("file:///etc/passwd", "forbidden"), ("ftp://127.0.0.1/x", "forbidden"), ("/vsicurl/x", "not_found")],
)
def test_redirects_go_to_the_web_only(server, to, kind):
    server.fail("a.bin", "redirect", to=to)
    with pytest.raises(ReadError) as caught:
        get(server)
    assert caught.value.kind == kind
    if kind == "forbidden":
        assert "redirects to f" in str(caught.value)
        assert "expected http or https" in str(caught.value)


def test_a_redirect_is_followed_and_a_circle_is_not(server):
    server.fail("moved.bin", "redirect", to="/a.bin")
    assert get(server, path="moved.bin")[0] == CONTENT[1000:3000]
    server.fail("round.bin", "redirect", to="round.bin")
    with pytest.raises(ReadError, match="more than 5 times"):
        get(server, path="round.bin")


def test_a_redirect_is_followed_before_its_body_comes(server):
    server.fail("moved.bin", "redirect", to="/a.bin", seconds=1.5)
    assert get(server, path="moved.bin")[0] == CONTENT[1000:3000]
    assert [entry.path.partition("?")[0] for entry in server.requests()] == ["/moved.bin", "/a.bin"]


@pytest.mark.parametrize("to", ["//[x", "http://[::1/a.bin", "http://h]/", "http://127.0.0.1:1/\xe9\xff"])
def test_a_redirect_to_nowhere_is_an_error_in_words(server, to):
    server.fail("moved.bin", "redirect", to=to)
    with pytest.raises(ReadError, match=r"cannot read .*moved\.bin"):
        get(server, path="moved.bin")


def test_a_file_that_is_replaced_between_two_reads_is_stale(server):
    path = server.folder / "b.bin"
    path.write_bytes(CONTENT)
    _, version = get(server, path="b.bin")
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(ReadError, match="replaced while it was being read: its ETag or date is another") as caught:
        get(server, path="b.bin", version=version)
    assert caught.value.kind == "stale"
    path.write_bytes(CONTENT[:2000])
    with pytest.raises(ReadError, match="its size is another"):
        get(server, path="b.bin", version=version)
    with pytest.raises(ReadError, match="it had 300000 bytes and has 2000"):
        get(server, 2500, 2600, path="b.bin", version=version)
    assert [entry.status for entry in server.requests("b.bin")] == [206, 206, 206, 416]


def test_without_any_tag_the_size_must_stay(server):
    path = server.folder / "c.bin"
    path.write_bytes(CONTENT)
    server.fail("c.bin", "no etag")
    _, version = get(server, path="c.bin")
    assert version == Version(300_000, "")
    path.write_bytes(CONTENT + b"more")
    with pytest.raises(ReadError, match="size is another"):
        get(server, path="c.bin", version=version)


def test_a_small_file_of_a_server_without_ranges_is_cut_here(server):
    (server.folder / "small.bin").write_bytes(CONTENT[:150_000])
    server.fail("small.bin", "no range")
    assert get(server, path="small.bin")[0] == CONTENT[1000:3000]
    assert get(server, 149_000, 400_000, path="small.bin")[0] == CONTENT[149_000:150_000]
    with pytest.raises(ReadError, match="no byte 150000"):
        get(server, 150_000, 150_001, path="small.bin")


def test_an_empty_file_is_damaged(server):
    (server.folder / "empty.bin").write_bytes(b"")
    with pytest.raises(ReadError, match="no byte 0") as caught:
        get(server, 0, 100, path="empty.bin")
    assert caught.value.kind == "damaged"


def test_an_answer_without_length_is_read_to_its_end(server):
    server.fail("a.bin", "no length")
    assert get(server)[0] == CONTENT[1000:3000]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": f"bytes 0-9/{'9' * 5000}"},
        {"Content-Range": "bytes 9-0/10"},
        {"Content-Range": "bytes */10"},
        {"Content-Range": "bytes 0-9/0"},
        {"Content-Range": "pages 0-9/10"},
        {"Content-Range": "bytes 0-9/10", "Content-Length": "9" * 5},
        {"Content-Encoding": "br"},
        {},
    ],
)
def test_headers_that_make_no_sense_are_damaged_answers(headers):
    raw = SimpleNamespace(read1=lambda size, **_: bytes(size))
    with pytest.raises(patience.Failure) as caught:
        take_range(SimpleNamespace(status_code=206, headers=headers, raw=raw), 0, 10, None, settings=ranges.SETTINGS)
    assert caught.value.kind == "damaged"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("0", 0), ("", 0), ("soon", 0), ("-3", 0)],
    ids=["seconds", "at once", "nothing", "no number", "negative"],
)
def test_what_a_retry_after_asks_for(text, seconds):
    assert patience.seconds_asked(text) == seconds


def test_a_retry_after_may_be_a_date():
    assert 3000 <= patience.seconds_asked(formatdate(time.time() + 3600)) <= 3600


def test_the_pause_obeys_the_server_grows_and_is_bounded():
    pause = partial(patience.pause_after, settings=patience.RangeSettings())
    assert all(7 <= pause(1, 7.0) <= 7.5 for _ in range(50))
    assert pause(1, 9999.0) == 60
    assert pause(40, 0.0) <= 60
    assert max(pause(1, 0.0) for _ in range(50)) <= 0.5 < max(pause(5, 0.0) for _ in range(50)) <= 8


def test_the_pause_is_waited(server, monkeypatch):
    waited = []
    monkeypatch.setattr(patience.time, "sleep", waited.append)
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, longest_pause=60.0))
    server.fail("a.bin", "503", retry_after=2, times=1)
    get(server)
    assert len(waited) == 1
    assert 2 <= waited[0] <= 2.01


def test_secrets_are_in_no_message_log_or_cause(server, caplog):
    caplog.set_level(logging.DEBUG, logger="sarcube")
    secret = server.url.replace("http://", "http://user:PASSWORD@")
    for fault in ("503", "reset", "stall", "empty", "no range", "404"):
        server.heal()
        server.fail("a.bin", fault, seconds=0.6)
        with pytest.raises(ReadError) as caught:
            fetch(f"{secret}/a.bin?sig=SECRET#SECRET", 0, 10, owner="x")
        assert caught.value.__cause__ is caught.value.__context__ is None
        assert "SECRET" not in str(caught.value) + caplog.text
        assert "PASSWORD" not in str(caught.value) + caplog.text
    assert "trying again" in caplog.text


@pytest.mark.parametrize("name", ["sig", "X-Amz-Signature", "X-Goog-Signature"])
def test_signatures_of_every_storage_stay_out_of_the_log_and_go_without_a_login(server, caplog, name):
    url = f"{server.url}/a.bin?{name}=SECRET"
    with caplog.at_level(logging.DEBUG):
        fetch(url, 0, 10, owner="x")
    assert "a.bin" in caplog.text
    assert "SECRET" not in caplog.text
    assert connections.login_for(url) is not None
    assert connections.login_for(f"{server.url}/a.bin?design=1") is None


def test_how_an_address_is_shown():
    assert show_url("https://u:p@h.org:8/a/b.tif?sig=1#x") == "https://h.org:8/a/b.tif?…"
    assert show_url("https://h.org/b.tif") == "https://h.org/b.tif"
    assert show_url("http://[::1/b") == "(an address that cannot be parsed)"


def test_eight_requests_at_a_time_at_most(server):
    server.fail("a.bin", "slow", seconds=0.02)
    _, version = get(server)
    server.forget()

    def block(_):
        spans = [(start, start + 1000) for start in range(0, 20_000, 2000)]
        return fetch_all(f"{server.url}/a.bin", spans, owner="x", version=version)

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(block, range(8)))) == 8
    assert 4 <= server.most_at_once() <= 8


def test_a_forked_process_has_its_own_connections(server):
    """Also when another thread holds the lock at the moment of the fork."""
    get(server)
    held, release = threading.Event(), threading.Event()

    def hold():
        with connections._lock, headers._lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        try:
            good = get(server)[0] == CONTENT[1000:3000] and not headers._lock.locked()
        finally:
            os._exit(0 if good else 1)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert get(server)[0] == CONTENT[1000:3000]


def test_an_error_keeps_its_kind_on_the_way_from_another_process(server):
    server.fail("a.bin", "404")
    with pytest.raises(ReadError) as caught:
        get(server)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.kind, str(again)) == ("not_found", str(caught.value))


# GeoTIFFs over these ranges.


@pytest.fixture
def tiff(server, request):
    """A file whose header lies at its end (its tags were changed after its pixels); its name is the test's."""
    name = f"{request.node.name.partition('[')[0]}.tif"
    path = write_rtc(server.folder / name, speckle(1, (200, 300)), tags={"A": "b"})
    return path, f"{server.url}/{name}"


def test_a_url_reads_like_the_file(server, tiff):
    path, url = tiff
    with open_geotiff(url, owner="x") as remote, rasterio.open(path) as local:
        assert read_grid(remote, owner="x") == read_grid(local, owner="x")
        assert (remote.nodata, remote.dtypes, remote.count) == (local.nodata, local.dtypes, local.count)
        assert remote.tags() == local.tags()
        for window in (Window(0, 0, 300, 200), Window(15, 31, 2, 2), Window(299, 199, 1, 1), Window(7, 0, 100, 9)):
            np.testing.assert_array_equal(read_window(remote, window), local.read(1, window=window))


def test_a_second_block_does_not_fetch_the_header_again(server, tiff):
    path, url = tiff
    with open_geotiff(url, owner="x") as dataset:
        read_window(dataset, Window(0, 0, 16, 16))
    first = len(server.requests(path.name))
    with open_geotiff(url, owner="x") as dataset:
        read_window(dataset, Window(64, 64, 32, 32))
    assert len(server.requests(path.name)) == first + 1


def test_only_the_tiles_of_the_window_are_fetched(server):
    path = server.folder / "wide.tif"
    write_rtc(path, speckle(1, (1024, 1024)))
    url = f"{server.url}/wide.tif"
    with open_geotiff(url, owner="x") as dataset:
        server.forget()
        read_window(dataset, Window(0, 0, 1024, 16))
    ((first, last),) = [entry.range.removeprefix("bytes=").split("-") for entry in server.requests("wide.tif")]
    assert int(last) - int(first) < path.stat().st_size / 50


def test_pixels_come_through_read_window_alone(server, tiff):
    """A direct read must not give zeros for tiles that were not fetched."""
    with pytest.raises(ReadError, match=r"cannot read http.*\.tif of x"), open_geotiff(tiff[1], owner="x") as dataset:
        dataset.read(1, window=Window(0, 0, 4, 4))


def test_overviews_open_from_disk_and_from_a_server(server, tiff):
    path, url = tiff
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], rasterio.enums.Resampling.average)
    for overview, shape in ((None, (200, 300)), (0, (100, 150)), (1, (50, 75))):
        with (
            open_geotiff(str(path), owner="x", overview=overview) as local,
            open_geotiff(url, owner="x", overview=overview) as remote,
        ):
            assert local.shape == remote.shape == shape
            assert read_grid(local, owner="x") == read_grid(remote, owner="x")
            window = Window(3, 5, 60, 40)
            np.testing.assert_array_equal(read_window(remote, window), read_window(local, window))
    for href in (str(path), url):
        with pytest.raises(ReadError), open_geotiff(href, owner="x", overview=2):
            pass


def test_every_band_of_a_url_can_be_read(server):
    values = np.stack([speckle(band, (40, 50)) for band in range(3)])
    for interleave in ("band", "pixel"):
        profile = {"driver": "GTiff", "width": 50, "height": 40, "count": 3, "dtype": "float32", "crs": "EPSG:32647"}
        profile |= {"transform": rasterio.Affine(10, 0, 6e5, 0, -10, 1e5), "interleave": interleave}
        with rasterio.open(server.folder / f"{interleave}.tif", "w", tiled=True, **profile) as dataset:
            dataset.write(values)
        with open_geotiff(f"{server.url}/{interleave}.tif", owner="x") as dataset:
            for band in (1, 2, 3):
                found = read_window(dataset, Window(5, 5, 30, 30), band=band)
                np.testing.assert_array_equal(found, values[band - 1, 5:35, 5:35])


def test_a_replaced_file_is_told_once_and_read_anew_after(server, tiff):
    path, url = tiff
    with open_geotiff(url, owner="x") as dataset:
        read_window(dataset, Window(0, 0, 16, 16))
    write_rtc(path, speckle(2, (200, 300)))
    with pytest.raises(ReadError, match="replaced") as caught, open_geotiff(url, owner="x") as dataset:
        read_window(dataset, Window(0, 0, 16, 16))
    assert caught.value.kind == "stale"
    with open_geotiff(url, owner="x") as dataset:
        np.testing.assert_array_equal(read_window(dataset, Window(0, 0, 16, 16)), speckle(2, (200, 300))[:16, :16])


def test_a_file_that_is_cut_off_is_damaged_where_its_tiles_are_missing(server):
    path = server.folder / "cut.tif"
    values = speckle(1, (512, 512))
    # A copy has its header at the start.
    rasterio.shutil.copy(
        write_rtc(server.folder / "uncut.tif", values), path, driver="GTiff", tiled=True, compress="lzw"
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_geotiff(f"{server.url}/cut.tif", owner="x") as dataset:
        np.testing.assert_array_equal(read_window(dataset, Window(0, 0, 16, 16)), values[:16, :16])
    with (
        pytest.raises(ReadError, match="cut off") as caught,
        open_geotiff(f"{server.url}/cut.tif", owner="x") as dataset,
    ):
        read_window(dataset, Window(496, 496, 16, 16))
    assert caught.value.kind == "damaged"


@pytest.mark.parametrize("content", [b"", b"<html>sorry</html>", b"II*\0" + bytes(100), bytes(100_000)])
def test_what_is_no_geotiff_on_a_server_is_damaged(server, content):
    (server.folder / "no.tif").write_bytes(content)
    with (
        pytest.raises(ReadError, match=r"cannot read http://.*/no\.tif of x") as caught,
        open_geotiff(f"{server.url}/no.tif", owner="x"),
    ):
        pass
    assert caught.value.kind == "damaged"


def test_a_vrt_on_a_server_opens_nothing(server, tiff):
    (server.folder / "v.tif").write_text(f"<VRTDataset><SourceFilename>{tiff[0]}</SourceFilename></VRTDataset>")
    with pytest.raises(ReadError, match="is no TIFF"), open_geotiff(f"{server.url}/v.tif", owner="x"):
        pass


def test_the_kept_headers_are_bounded(server, monkeypatch):
    monkeypatch.setattr(headers, "_MOST_HEADERS", 60_000)
    for number in range(8):
        write_rtc(server.folder / f"h{number}.tif", speckle(number, (200, 300)))
        with open_geotiff(f"{server.url}/h{number}.tif", owner="x"):
            kept = sum(remote.skeleton.nbytes for remote in headers._headers.values())
            assert kept <= 60_000 or len(headers._headers) == 1
    assert f"{server.url}/h7.tif" in headers._headers
    assert f"{server.url}/h0.tif" not in headers._headers


def test_tiles_beyond_all_measure_are_refused_before_a_byte_is_fetched(server, tiff, monkeypatch):
    monkeypatch.setattr(headers, "_MOST_TILE", 1000)
    with open_geotiff(tiff[1], owner="x"):
        server.forget()
    with pytest.raises(ReadError, match="make it a COG"), open_geotiff(tiff[1], owner="x") as dataset:
        read_window(dataset, Window(0, 0, 300, 200))
    assert server.requests(tiff[0].name) == []


def test_many_threads_read_one_file(server, tiff):
    values = speckle(1, (200, 300))

    def part(number):
        row, column = 7 * number % 150, 11 * number % 250
        with open_geotiff(tiff[1], owner="x") as dataset:
            found = read_window(dataset, Window(column, row, 50, 50))
        return np.array_equal(found, values[row : row + 50, column : column + 50])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(part, range(80)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 10**6)), max_size=20))
def test_spans_hold_every_tile_and_little_else(places):
    spans = headers._spans(places)
    assert spans == sorted(spans)
    for first, length in places:
        assert any(start <= first and first + length <= stop for start, stop in spans)
    assert all(stop - start <= headers._SPAN for start, stop in spans)
    assert len(spans) <= len(set(places))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: None, "not_found"),
        (lambda path: path.mkdir(), "damaged"),
        (lambda path: path.write_bytes(b""), "damaged"),
        (lambda path: path.write_bytes(b"II*\0garbage"), "damaged"),
    ],
)
def test_local_files_have_kinds_too(tmp_path, make, kind):
    make(tmp_path / "a.tif")
    with pytest.raises(ReadError, match=r'cannot read .*a\.tif of item "S"') as caught:  # noqa: SIM117
        with open_geotiff(str(tmp_path / "a.tif"), owner='item "S"'):
            pass
    assert caught.value.kind == kind


@pytest.mark.skipif(os.getuid() == 0, reason="the superuser may read everything")
def test_a_local_file_one_may_not_read_is_forbidden(tmp_path):
    path = write_rtc(tmp_path / "a.tif", speckle(1))
    path.chmod(0)
    with pytest.raises(ReadError) as caught, open_geotiff(str(path), owner="x"):
        pass
    assert caught.value.kind == "forbidden"


def test_a_local_file_that_is_cut_off_is_damaged(tmp_path):
    path = write_rtc(tmp_path / "a.tif", speckle(1, (200, 300)))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ReadError) as caught, open_geotiff(str(path), owner="x") as dataset:
        read_window(dataset, Window(0, 0, 300, 200))
    assert caught.value.kind == "damaged"
