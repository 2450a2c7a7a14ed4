"""Bytes fetched once: what is on disk is not asked for again, and what is not whole there counts for nothing."""

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from range_server import serve

from sarcube.acquisition.files import ranges
from sarcube.acquisition.files.ranges import Version
from sarcube.acquisition.staging.pieces import Pieces, make_folder, write_whole
from sarcube.errors import ReadError

CONTENT = np.random.default_rng(0).bytes(200_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    (folder / "a.bin").write_bytes(CONTENT)
    with serve(folder) as running:
        running.folder = folder
        yield running


@pytest.fixture(autouse=True)
def fresh(server, monkeypatch):
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2, first_pause=0.01))
    (server.folder / "a.bin").write_bytes(CONTENT)
    yield
    server.heal()
    server.forget()


def get(pieces, server, start, stop, version=None, query=""):
    return pieces.fetch(f"{server.url}/a.bin{query}", start, stop, owner='item "S"', version=version)


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_came_is_not_asked_for_again_by_this_process_or_the_next(server, tmp_path):
    body, version = get(Pieces(tmp_path), server, 1000, 5000)
    assert body == CONTENT[1000:5000]
    pieces = Pieces(tmp_path)
    assert get(pieces, server, 1000, 5000, version) == (body, version)
    assert get(pieces, server, 1000, 5000) == (body, version)
    assert get(pieces, server, 1200, 1300, version)[0] == CONTENT[1200:1300]  # a part of it
    assert len(server.requests()) == 1
    assert get(pieces, server, 999, 1300, version)[0] == CONTENT[999:1300]  # a byte more
    assert len(server.requests()) == 2


def test_a_piece_is_named_by_its_range_and_checksum(server, tmp_path):
    get(Pieces(tmp_path), server, 0, 300_000)  # to the end of the file
    name, said = files(tmp_path)
    assert name.startswith("0-200000-")
    assert said == "version.json"
    (folder,) = (tmp_path / ".parts").iterdir()
    assert json.loads((folder / said).read_text())["size"] == 200_000


def test_a_signature_is_no_part_of_what_a_piece_is(server, tmp_path):
    get(Pieces(tmp_path), server, 0, 100, query="?sv=2021&sig=SECRET1&se=2030-01-01T00%3A00%3A00Z")
    get(Pieces(tmp_path), server, 0, 100, query="?sv=2021&sig=SECRET2&se=2031-01-01T00%3A00%3A00Z")
    assert len(server.requests()) == 1
    assert not any(b"SECRET" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone", "longer"])
def test_a_piece_that_is_not_whole_is_fetched_again(server, tmp_path, harm, caplog):
    get(Pieces(tmp_path), server, 1000, 5000)
    (piece,) = tmp_path.rglob("1000-5000-*")
    whole = bytearray(piece.read_bytes())
    pieces = Pieces(tmp_path)
    _, version = get(pieces, server, 1000, 1001)  # it is known to be there
    if harm == "gone":
        piece.unlink()
    else:
        whole[17] ^= harm == "flip"
        piece.write_bytes({"flip": whole, "cut": whole[:-1], "empty": b"", "longer": whole + b"x"}[harm])
    with caplog.at_level(logging.WARNING):
        assert get(pieces, server, 1000, 5000, version)[0] == CONTENT[1000:5000]
    assert "is damaged; it is fetched again" in caplog.text
    assert len(server.requests()) == 2
    assert get(Pieces(tmp_path), server, 1000, 5000, version)[0] == CONTENT[1000:5000]
    assert len(server.requests()) == 2


def test_what_a_killed_writer_left_is_taken_away(server, tmp_path):
    get(Pieces(tmp_path), server, 0, 100)
    (folder,) = (tmp_path / ".parts").iterdir()
    (folder / ".new-0123").write_bytes(b"half")
    get(Pieces(tmp_path), server, 0, 100)
    assert not (folder / ".new-0123").exists()
    assert len(server.requests()) == 1


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"size": 1}'])
def test_pieces_of_nobody_knows_which_content_count_for_nothing(server, tmp_path, said):
    get(Pieces(tmp_path), server, 0, 100)
    (folder,) = (tmp_path / ".parts").iterdir()
    (folder / "version.json").write_bytes(said)
    assert get(Pieces(tmp_path), server, 0, 100)[0] == CONTENT[:100]
    assert len(server.requests()) == 2


def test_pieces_of_what_was_replaced_are_dropped(server, tmp_path, caplog):
    pieces = Pieces(tmp_path)
    _, old = get(pieces, server, 0, 100)
    (server.folder / "a.bin").write_bytes(CONTENT[::-1] + b"more")
    with caplog.at_level(logging.INFO):
        body, new = get(pieces, server, 500, 600)
    assert "was replaced: what had been fetched of it is fetched anew" in caplog.text
    assert body == CONTENT[::-1][500:600]
    assert new != old
    assert get(pieces, server, 0, 100)[0] == CONTENT[::-1][:100]
    assert len(list(tmp_path.rglob("*-*-*"))) == 2


def test_a_stale_source_is_an_error_once_and_new_after_it(server, tmp_path):
    pieces = Pieces(tmp_path)
    _, old = get(pieces, server, 0, 100)
    (server.folder / "a.bin").write_bytes(CONTENT[::-1])
    with pytest.raises(ReadError) as caught:
        get(pieces, server, 500, 600, old)
    assert caught.value.kind == "stale"
    assert files(tmp_path) == []
    assert get(pieces, server, 0, 100)[0] == CONTENT[::-1][:100]


def test_what_fails_leaves_nothing_behind(server, tmp_path):
    server.fail("a.bin", "truncate")
    with pytest.raises(ReadError):
        get(Pieces(tmp_path), server, 0, 1000)
    assert files(tmp_path) == []


def test_what_is_missing(server, tmp_path):
    pieces = Pieces(tmp_path)
    spans = [(0, 100), (1000, 2000), (1500, 2500)]
    url = f"{server.url}/a.bin"
    _, version = get(pieces, server, 1000, 2000)
    assert pieces.missing(url, spans, version) == [(0, 100), (1500, 2500)]
    assert pieces.missing(url, spans, Version(7, "another")) == spans
    pieces.forget(url, [(1200, 1300)])
    assert pieces.missing(url, spans, version) == spans
    get(pieces, server, 0, 100, version)
    pieces.drop(url)
    assert Pieces(tmp_path).missing(url, spans, version) == spans
    assert files(tmp_path) == []


def test_a_whole_file_is_read_from_its_pieces(server, tmp_path):
    pieces = Pieces(tmp_path)
    url = f"{server.url}/a.bin"
    _, version = get(pieces, server, 150_000, 200_000)
    get(pieces, server, 0, 70_000, version)
    assert pieces.read_whole(url, version) is None
    get(pieces, server, 60_000, 150_000, version)
    assert b"".join(pieces.read_whole(url, version)) == CONTENT
    assert pieces.read_whole(url, Version(version.size, "another")) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(places=st.lists(st.tuples(st.integers(0, 199_999), st.integers(1, 40_000), st.booleans()), max_size=8))
def test_any_ranges_in_any_order_are_the_files_bytes_and_none_is_asked_for_twice(server, tmp_path_factory, places):
    folder = tmp_path_factory.mktemp("out")
    server.forget()
    pieces, seen, asked = Pieces(folder), [], 0
    for start, length, again in places:
        pieces = Pieces(folder) if again else pieces
        stop = min(start + length, 200_000)
        assert get(pieces, server, start, stop)[0] == CONTENT[start:stop]
        asked += not any(first <= start and stop <= after for first, after in seen)
        seen.append((start, stop))
    assert len(server.requests()) == asked


def test_several_threads(server, tmp_path):
    pieces = Pieces(tmp_path)
    _, version = get(pieces, server, 0, 10)
    spans = [(start, start + 3000) for start in range(10, 180_000, 3000)]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda span: get(pieces, server, *span, version)[0], spans))
    assert bodies == [CONTENT[start:stop] for start, stop in spans]
    assert len(server.requests()) == 1 + len(spans)
    assert Pieces(tmp_path).missing(f"{server.url}/a.bin", spans, version) == []


def test_a_source_that_is_replaced_under_several_threads_is_stale_for_each(server, tmp_path):
    pieces = Pieces(tmp_path)
    _, version = get(pieces, server, 0, 10)
    started = threading.Barrier(9)

    def one(start):
        started.wait()
        try:
            return get(pieces, server, start, start + 3000, version)[0] == CONTENT[start : start + 3000]
        except ReadError as error:
            return error.kind

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(one, start) for start in range(10, 24_000, 3000)]
        started.wait()
        (server.folder / "new.bin").write_bytes(CONTENT[::-1])
        (server.folder / "new.bin").replace(server.folder / "a.bin")
    came = {result.result() for result in results}
    assert came <= {True, "stale"}
    body, new = get(pieces, server, 50, 90)
    # A piece that came before it was replaced may be kept after the others were dropped: its version tells.
    assert body == (CONTENT if new == version else CONTENT[::-1])[50:90]
    assert get(Pieces(tmp_path), server, 50, 90, new)[0] == body


def test_a_file_is_whole_or_as_it_was(tmp_path):
    make_folder(tmp_path / "a" / "b")
    path = tmp_path / "a" / "b" / "c"
    write_whole(path, b"first")
    with pytest.raises(TypeError):
        write_whole(path, "no bytes")
    assert path.read_bytes() == b"first"
    assert files(tmp_path) == ["c"]
