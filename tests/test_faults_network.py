"""What a cube is told when a web server fails: recovered is bit-equal to the local read, else an error of its kind."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from odc.geo.geobox import GeoBox
from range_server import serve
from rtc_scenes import CRS, LEFT, TOP, make_item, scene, speckle, write_rtc

import sarcube as sc
from sarcube.acquisition.files import headers, patience, ranges
from sarcube.errors import ReadError

PASSES = ("2022-02-01T11:30:00", "2022-02-13T11:30:00")
FILE = "S1/iw-vv.rtc.tiff"  # the file that the faults are put on


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    with serve(folder) as server:
        server.root = folder
        yield server


@pytest.fixture
def server(running, request, monkeypatch):
    """The server, a folder of its own for the test, and a reader that is soon out of patience."""
    quick = replace(
        ranges.SETTINGS,
        attempts=3,
        first_pause=0.01,
        longest_pause=0.3,
        read_timeout=0.4,
        answer_timeout=0.6,
        slowest=1e5,
    )
    monkeypatch.setattr(ranges, "SETTINGS", quick)
    number = sum(1 for _ in running.root.iterdir())
    running.folder = running.root / f"test{number}"
    running.folder.mkdir()
    yield running
    running.heal()
    running.forget()


def scenes(server):
    """Write two passes into the folder that is served."""
    return [
        scene(server.folder, f"S{number}", seed=number, time=time, polarisations=("vv",))
        for number, time in enumerate(PASSES)
    ]


def online(server, items):
    """Return the items as a catalogue on the server would give them: a signature in every address."""
    copies = [item.clone() for item in items]
    for item in copies:
        for asset in item.assets.values():
            path = asset.href.removeprefix(str(server.root)).lstrip("/")
            asset.href = f"{server.url}/{path}?sig=SECRET"
    return copies


def cube_of(items):
    box = GeoBox((40, 50), Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    return sc.load(items, geobox=box, chunks={"y": 20, "x": 25}).vv


def bits(array):
    return array.view(np.uint32)


def fail(server, fault, **details):
    server.fail(f"{server.folder.name}/{FILE}", fault, **details)


def assert_recovers(server, items):
    local, remote = cube_of(items).values, cube_of(online(server, items)).values
    assert np.isfinite(local).all()
    np.testing.assert_array_equal(bits(remote), bits(local))


def assert_fails(server, items, kind, words):
    """Compute the cube; the error names the file and its item, and the scene beside it can still be read."""
    cube = cube_of(online(server, items))
    with pytest.raises(ReadError, match=words) as caught:
        cube.compute(scheduler="synchronous")
    assert caught.value.kind == kind
    assert f"{server.url}/{server.folder.name}/{FILE}?…" in str(caught.value)
    assert 'of item "S1"' in str(caught.value)
    assert "SECRET" not in str(caught.value)
    np.testing.assert_array_equal(cube[0].values, cube_of(items)[0].values)
    assert_no_wrong_pixel(cube[1], cube_of(items)[1].values)


def assert_no_wrong_pixel(step, true):
    """Read a step block by block: each is an error, or right."""
    for y in range(0, 40, 20):
        for x in range(0, 50, 25):
            try:
                block = step[y : y + 20, x : x + 25].values
            except ReadError:
                continue
            np.testing.assert_array_equal(bits(block), bits(true[y : y + 20, x : x + 25]))


def test_a_server_without_faults_gives_the_local_cube(server):
    assert_recovers(server, scenes(server))


def test_404(server):
    fail(server, "404")
    assert_fails(server, scenes(server), "not_found", "404 .Not Found.; there is no such file; search again")


def test_403(server):
    fail(server, "403")
    assert_fails(server, scenes(server), "forbidden", "403 .Forbidden.; the server wants a login or a signature")


@pytest.mark.parametrize("status", ["429", "503", "500", "502", "504", "408"])
def test_a_busy_server_is_asked_again(server, status):
    fail(server, status, times=2, retry_after=0)
    assert_recovers(server, scenes(server))
    asked = server.requests(f"{server.folder.name}/{FILE}")
    assert [entry.status for entry in asked].count(int(status)) == 2


@pytest.mark.parametrize("status", ["429", "503"])
def test_a_server_that_stays_busy(server, status):
    fail(server, status)
    assert_fails(
        server, scenes(server), "throttled", rf"{status} .*\(3 attempts\); the server is busy; try again later"
    )


def test_a_retry_after_is_waited_for(server, monkeypatch):
    fail(server, "429", times=1, retry_after=7)
    fail(server, "503", times=1, retry_after=3600)  # nobody waits for an hour
    pauses = []
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, longest_pause=60.0))
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    assert_recovers(server, scenes(server))
    assert [round(pause) for pause in sorted(pauses)] == [7, 60]  # two threads ask at once


FAULTS = {
    "truncate": ("truncate", {}, "damaged", r"the connection ended after \d+ of \d+ bytes"),
    "wrong range": ("wrong range", {}, "damaged", r"the server sen(t|ds).* asked for were"),
    "no content range": ("no content range", {}, "damaged", "does not say which bytes it sends"),
    "encoded": ("encoded", {}, "damaged", "encoded .'gzip'., expected plain bytes"),
    "reset": ("reset", {}, "no_connection", "the connection was broken off|refused"),
    "empty": ("empty", {}, "no_connection", "the connection was broken off"),
    "stall": ("stall", {"seconds": 0.7}, "no_connection", "not a byte came within 0.4 s"),
    "stall body": ("stall body", {"seconds": 0.7}, "no_connection", "not a byte came within 0.4 s"),
    "drip": ("drip", {"seconds": 0.05}, "no_connection", "the connection hangs"),
    "drip headers": ("drip headers", {"seconds": 0.05}, "no_connection", "headers were not complete within 0.6 s"),
}


@pytest.mark.parametrize("after", [0, 1], ids=["at the header", "at the pixels"])
@pytest.mark.parametrize("row", FAULTS)
def test_a_fault_that_passes_leaves_no_trace(server, row, after):
    fault, details, _, _ = FAULTS[row]
    fail(server, fault, times=1, after=after, **details)
    assert_recovers(server, scenes(server))


@pytest.mark.parametrize("after", [0, 1], ids=["at the header", "at the pixels"])
@pytest.mark.parametrize("row", FAULTS)
def test_a_fault_that_stays_stops_the_build(server, row, after, monkeypatch):
    fault, details, kind, words = FAULTS[row]
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2))
    fail(server, fault, after=after, **details)
    items = scenes(server)
    cube = cube_of(online(server, items))
    with pytest.raises(ReadError, match=words) as caught:
        cube.compute(scheduler="synchronous")
    assert caught.value.kind == kind
    assert 'of item "S1"' in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_slow_server_is_waited_for(server):
    fail(server, "slow", seconds=0.05)
    assert_recovers(server, scenes(server))


def test_a_range_that_lies_about_itself(server):
    """Other bytes under the right Content-Range: nothing in the answer tells. The tiles' checksums do."""
    fail(server, "lying range", after=1)
    assert_fails(server, scenes(server), "damaged", "damaged tile")


def test_a_header_that_lies_about_itself(server):
    fail(server, "lying range")
    with pytest.raises(ReadError, match=r"is no TIFF|sends \d+ bytes and says") as caught:
        cube_of(online(server, scenes(server))).compute()
    assert caught.value.kind == "damaged"


def flip(path, *, place, bit=3):
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def tile_places(path):
    with rasterio.open(path) as dataset:
        for row in range(3):
            for column in range(4):
                offset, size = (
                    int(dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1))
                    for what in ("OFFSET", "SIZE")
                )
                yield offset, size


def test_flipped_bits_in_deflated_tiles_are_found(server):
    """Also those that still decode: deflate's checksum is verified."""
    items = scenes(server)
    true = cube_of(items)[1].values
    path = server.folder / FILE
    good, random = path.read_bytes(), np.random.default_rng(0)
    places = list(tile_places(path))
    found = 0
    for _ in range(25):
        path.write_bytes(good)
        offset, size = places[random.integers(len(places))]
        flip(path, place=offset + int(random.integers(size)), bit=int(random.integers(8)))
        headers._headers.clear()  # it would say, rightly, that the file was replaced
        try:
            values = cube_of(online(server, items))[1].values
        except ReadError as error:
            assert error.kind == "damaged"  # noqa: PT017  it need not be raised
            assert "damaged tile" in str(error)  # noqa: PT017
            found += 1
        else:
            np.testing.assert_array_equal(bits(values), bits(true))  # a bit that fills up a byte
    assert found >= 20


def test_flipped_bits_of_an_uncompressed_file_cannot_be_seen(server):
    """No checksum, no way to know: this is the limit of what is promised."""
    values = speckle(5)
    path = write_rtc(server.folder / "deflated.tif", values)
    rasterio.shutil.copy(path, server.folder / "plain.tif", driver="GTiff", tiled=True, blockxsize=16, blockysize=16)
    offset, _ = next(tile_places(server.folder / "plain.tif"))
    flip(server.folder / "plain.tif", place=offset, bit=0)
    item = make_item("S", {"vv": server.folder / "plain.tif"})
    remote, local = cube_of(online(server, [item])).values, cube_of([item]).values
    np.testing.assert_array_equal(bits(remote), bits(local))
    assert (bits(remote[0]) != bits(values)).sum() == 1


def test_a_file_that_is_replaced_during_the_build(server):
    items = scenes(server)
    cube = cube_of(online(server, items))
    cube[1, :20, :25].compute()
    path = server.folder / FILE
    write_rtc(path, speckle(99))
    with pytest.raises(
        ReadError, match=r"replaced while it was being read: its .* is another; load the items again"
    ) as caught:
        cube[1, 20:, 25:].compute()
    assert caught.value.kind == "stale"
    np.testing.assert_array_equal(cube_of(online(server, items))[1].values, cube_of(items)[1].values)


def test_an_etag_that_changes_without_the_bytes_is_another_file_too(server):
    fail(server, "replaced", after=2)
    assert_fails_with_stale(server)


def assert_fails_with_stale(server):
    with pytest.raises(ReadError, match="ETag") as caught:
        cube_of(online(server, scenes(server))).compute(scheduler="synchronous")
    assert caught.value.kind == "stale"


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://127.0.0.1/a.tif", "gopher://127.0.0.1/"])
def test_a_redirect_to_another_scheme(server, to):
    fail(server, "redirect", to=to)
    assert_fails(
        server, scenes(server), "forbidden", f"it redirects to {to.partition(':')[0]}:, expected http or https"
    )


def test_a_redirect_to_a_local_path_stays_on_the_server(server):
    items = scenes(server)
    fail(server, "redirect", to=str(server.folder / FILE))
    assert_fails(server, items, "not_found", "404")


def test_a_redirect_on_the_web_is_followed(server):
    items = scenes(server)
    (server.folder / "moved.tiff").write_bytes((server.folder / FILE).read_bytes())
    fail(server, "redirect", to=f"{server.url}/{server.folder.name}/moved.tiff")
    assert_recovers(server, items)


def test_a_server_without_ranges(server, monkeypatch):
    """A small file is cut here, a large one is not downloaded again for every block."""
    items = scenes(server)
    fail(server, "no range")
    assert_recovers(server, items)
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, whole_file=1000))
    assert_fails(server, items, "damaged", "does not know ranges.*download it and load the local copy")


def test_a_file_that_was_cut_off_where_it_comes_from(server):
    items = scenes(server)
    true = cube_of(items)[1].values
    path = server.folder / FILE
    rasterio.shutil.copy(path, server.folder / "copy.tif", driver="GTiff", tiled=True, blockxsize=16, blockysize=16)
    path.write_bytes((server.folder / "copy.tif").read_bytes()[:-3000])
    step = cube_of(online(server, items))[1]
    with pytest.raises(ReadError, match="cut off where it comes from") as caught:
        step.compute()
    assert caught.value.kind == "damaged"
    assert_no_wrong_pixel(step, true)


def test_a_part_of_the_file_that_was_zeroed(server):
    items = scenes(server)
    true = cube_of(items)[1].values
    path = server.folder / FILE
    offset, size = list(tile_places(path))[5]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    step = cube_of(online(server, items))[1]
    with pytest.raises(ReadError, match="damaged tile"):
        step.compute()
    assert_no_wrong_pixel(step, true)


def test_an_error_page_instead_of_the_file(server):
    items = scenes(server)
    (server.folder / FILE).write_text("<html>Please log in</html>" * 10)
    with pytest.raises(ReadError, match="it is no TIFF") as caught:
        cube_of(online(server, items)).compute()
    assert caught.value.kind == "damaged"


def test_the_header_is_fetched_once_and_each_block_asks_for_its_tiles_alone(server):
    items = scenes(server)
    cube = cube_of(online(server, items))
    cube.compute(scheduler="synchronous")
    asked = server.requests(f"{server.folder.name}/{FILE}")
    assert len(asked) == 1 + 4  # the header, and four blocks of tiles that lie next to each other
    assert all(entry.status == 206 for entry in asked)
