"""Signatures inside the read, against a token service and a blob storage that wants them; both real, on loopback."""

import logging
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from planetary_computer.settings import Settings
from rasterio.windows import Window
from rtc_scenes import CRS, LEFT, TOP, scene, speckle, write_rtc
from token_server import serve_signed, token_of

import sarcube as sc
from sarcube.acquisition import signing, token_service, tokens
from sarcube.acquisition.files import headers, ranges
from sarcube.acquisition.files.connections import slots
from sarcube.acquisition.files.headers import open_geotiff, read_window
from sarcube.acquisition.files.ranges import fetch, fetch_all
from sarcube.acquisition.signing import expired, renew, sign, unsigned
from sarcube.errors import ReadError

CONTENT = np.random.default_rng(0).bytes(20_000)
BLOB = "http://rtc.blob.core.windows.net/scenes/a.bin"
OTHER = "http://rtc.blob.core.windows.net/others/a.bin"
LATER, EARLIER = (datetime.now(UTC) + timedelta(hours=h) for h in (3, -3))


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    for container in ("scenes", "others"):
        (folder / container).mkdir()
        (folder / container / "a.bin").write_bytes(CONTENT)
    with serve_signed(folder) as server:
        server.folder = folder
        yield server


@pytest.fixture
def server(running, monkeypatch, tmp_path):
    """The servers, a process that knows no token, and a reader that is soon out of patience."""
    quick = replace(ranges.SETTINGS, attempts=3, first_pause=0.01, longest_pause=0.3, read_timeout=5.0)
    monkeypatch.setattr(ranges, "SETTINGS", quick)
    monkeypatch.setattr(tokens, "_BETWEEN", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path))  # no settings of the person who runs this
    monkeypatch.delenv("PC_SDK_SUBSCRIPTION_KEY", raising=False)
    for name, value in running.environment().items():
        monkeypatch.setenv(name, value)
    forget()
    yield running
    running.heal()
    running.forget()
    forget()


def forget():
    Settings.get.cache_clear()
    tokens._containers.clear()
    token_service._warned.clear()
    headers._headers.clear()


def get(href=BLOB, start=1000, stop=3000):
    return fetch(href, start, stop, owner='item "S"')[0] == CONTENT[start:stop]


def refused(href=BLOB):
    with pytest.raises(ReadError) as caught:
        get(href)
    assert "sig=" not in str(caught.value)
    assert 'of item "S": ' in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value


def is_signed(href):
    return "sig=" in href


# What is signed, and what an address keeps.


@pytest.mark.parametrize("href", [BLOB, BLOB.upper().replace("/SCENES/A.BIN", "/scenes/a.bin"), f"{BLOB}?x=1#y"])
def test_blobs_get_a_signature(server, href):
    signed = sign(href)
    assert is_signed(signed)
    assert unsigned(signed).lower() == href.lower()


@pytest.mark.parametrize(
    "href",
    [
        "/data/a.tif",
        "C:\\data\\a.tif",
        "http://127.0.0.1/scenes/a.tif",
        "https://blob.core.windows.net/scenes/a.tif",
        "https://evil.example/rtc.blob.core.windows.net/a.tif",
        "https://rtc.blob.core.windows.net.evil.example/scenes/a.tif",
        "https://ai4edatasetspublicassets.blob.core.windows.net/assets/a.png",
        "https://rtc.blob.core.windows.net/scenes",
        "https://rtc.blob.core.windows.net/../token/a.tif",
        "https://rtc.blob.core.windows.net/a%2fb/a.tif",
        "s3://rtc.blob.core.windows.net/scenes/a.tif",
        "https://[::1/a.tif",
        "",
    ],
)
def test_nothing_else_is_signed(server, href):
    assert sign(href) == href
    assert renew(href) is False
    assert server.tokens() == 0


def test_https_is_signed_as_well(server):
    """The container is the same, and so is its token."""
    assert sign(BLOB.replace("http:", "https:")).partition("?")[2] == sign(BLOB).partition("?")[2]
    assert server.tokens() == 1


NAMES = st.text(st.characters(categories=["L", "N"], max_codepoint=126), min_size=1, max_size=6)
QUERIES = st.lists(st.tuples(NAMES.filter(lambda n: n.lower() not in signing._SAS), NAMES), max_size=4)


@given(query=QUERIES, place=st.integers(0, 4), blob=st.booleans())
def test_without_its_signature_an_address_is_what_it_was_to_the_letter(query, place, blob):
    href = BLOB if blob else "http://127.0.0.1:8/x/a.bin"
    parts = [f"{name}={value}" for name, value in query]
    token = token_of("rtc/scenes", str(LATER)).split("&")
    plain = href + ("?" + "&".join(parts) if parts else "")
    carrying = href + "?" + "&".join(parts[:place] + token + parts[place:])
    assert unsigned(carrying) == plain
    assert unsigned(plain) == plain


@pytest.mark.parametrize("href", ["http://h.org/a?sp=1&st=2&sr=3", "http://h.org/a?sig=1", "/a?se=1", "a.tif", BLOB])
def test_what_is_no_signature_of_azure_is_left(href):
    """Elsewhere these names may say which file is meant."""
    assert unsigned(href) == href


@pytest.mark.parametrize(
    ("end", "gone"),
    [
        (EARLIER.isoformat(), True),
        (EARLIER.strftime("%Y-%m-%dT%H:%M:%SZ"), True),
        (EARLIER.strftime("%Y-%m-%dT%H:%MZ"), True),
        ("2014-04-03", True),
        (LATER.strftime("%Y-%m-%dT%H:%M:%SZ"), False),
        ("soon", False),
        ("", False),
    ],
    ids=[
        "as Python writes it",
        "past",
        "to the minute",
        "a day",
        "to come",
        "no moment",
        "empty",
    ],  # no clock in a name
)
def test_when_a_signature_has_expired(end, gone):
    assert expired(f"{BLOB}?sp=r&se={quote(end)}&sig=x") is gone


def test_an_address_without_a_signature_has_none_that_expired():
    assert not expired(BLOB)
    assert not expired(f"{BLOB}?si=policy&sig=x")  # a stored policy says when


# One token for everyone.


def test_a_read_is_signed_and_a_second_one_asks_for_no_token(server):
    assert get()
    assert get(start=0, stop=10)
    assert server.tokens() == 1
    assert [entry.status for entry in server.reads()] == [206, 206]


def test_many_threads_make_one_request(server):
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: get(start=n, stop=n + 50), range(40)))
    assert server.tokens() == 1


def test_eight_threads_that_wait_for_a_token_make_one_request(server, tmp_path):
    server.fail("token/rtc/scenes", "hold", until=str(tmp_path / "go"))
    together = threading.Barrier(9)

    def one(_):
        together.wait(20)
        return sign(BLOB)

    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(one, number) for number in range(8)]
        together.wait(20)
        while not server.tokens():
            time.sleep(0.01)
        (tmp_path / "go").touch()
        assert len({future.result() for future in waiting}) == 1
    assert server.tokens() == 1


def test_each_container_has_a_token_of_its_own(server):
    assert get(BLOB)
    assert get(OTHER)
    assert [entry.path for entry in server.requests() if "/token/" in entry.path] == [
        "/token/rtc/scenes",
        "/token/rtc/others",
    ]


def test_a_broken_container_keeps_no_other_from_being_read(server, tmp_path):
    """More readers than slots wait for the token of one; the other one's file is read meanwhile."""
    server.fail("token/rtc/scenes", "hold", until=str(tmp_path / "go"))
    with ThreadPoolExecutor(12) as pool:
        waiting = [pool.submit(get, BLOB) for _ in range(12)]
        while not server.tokens():
            time.sleep(0.01)
        assert get(OTHER)
        assert not any(future.done() for future in waiting)
        (tmp_path / "go").touch()
        assert all(future.result() for future in waiting)


def test_a_forked_process_asks_for_itself(server):
    """Also when another thread is asking at the moment of the fork, and holds every lock."""
    assert get()
    held, release, asking = threading.Event(), threading.Event(), tokens._container("rtc", "scenes").asking

    def hold():
        with asking, tokens._lock, token_service._lock:
            held.set()
            release.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = get()
        finally:
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    release.set()
    thread.join()
    assert server.tokens() == 2
    assert get()
    assert server.tokens() == 2


# Tokens end.


def test_a_build_outlives_its_tokens(server):
    """Tokens of 2 s, renewed before they end: all pixels are those of the files."""
    server.rule(life=2.0)
    items = [scene(server.folder / "scenes", "B0")]
    remote, local = cube_of(online(server, items)), cube_of(items)
    began = time.monotonic()
    for y in range(0, 40, 10):
        for band in ("vv", "vh"):
            found, true = (cube[band].isel(y=slice(y, y + 10)).values for cube in (remote, local))
            np.testing.assert_array_equal(found.view(np.uint32), true.view(np.uint32))
            time.sleep(0.5)
    asked, refusals = server.tokens(), [entry for entry in server.reads() if entry.status == 403]
    assert 3 <= asked <= 1 + (time.monotonic() - began) / 0.75
    assert len(refusals) < asked


def test_a_token_is_renewed_before_it_ends(server, monkeypatch):
    server.rule(life=600.0)
    first = sign(BLOB)
    held = tokens._container("rtc", "scenes").held
    assert 535 < held.due - time.monotonic() < 541
    assert 595 < held.end - time.monotonic() < 601
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 545)
    assert sign(BLOB) != first
    assert server.tokens() == 2


def test_a_short_life_has_a_short_margin(server):
    server.rule(life=2.0)
    sign(BLOB)
    held = tokens._container("rtc", "scenes").held
    assert held.end - held.due == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("fault", ["503", "404", "429"])
def test_a_service_that_is_down_at_renewal_is_no_matter_while_the_old_token_is_good(server, monkeypatch, fault):
    server.rule(life=600.0)
    first = sign(BLOB)
    server.fail("token/rtc/scenes", fault, retry_after=7)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + 550)
    assert [sign(BLOB) for _ in range(20)] == [first] * 20
    assert server.tokens() == 2  # not at every read
    server.heal()
    monkeypatch.setattr(time, "monotonic", lambda: real() + 585)
    assert sign(BLOB) != first


def test_a_token_that_is_refused_early_is_renewed_once(server):
    """The service says an hour; the storage disagrees, as when a key was changed."""
    assert get()
    server.rule(epoch="2")
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: get(start=n, stop=n + 50), range(8)))
    assert server.tokens() == 2
    statuses = [entry.status for entry in server.reads()]
    assert 2 <= statuses.count(403) + 1 <= 9
    assert statuses.count(206) == 9


def test_who_is_late_with_a_refusal_does_not_drop_the_new_token(server):
    old = sign(BLOB)
    assert renew(old)
    new = sign(BLOB)
    assert new != old
    assert renew(old)
    assert sign(BLOB) == new
    assert server.tokens() == 2


def test_a_token_that_ends_in_the_queue_for_a_slot_is_not_sent(server):
    with ThreadPoolExecutor(1) as pool:
        with ExitStack() as queue:
            for _ in range(8):
                queue.enter_context(slots())
            waiting = pool.submit(get)
            while not server.tokens() or not lines_in(threading.Semaphore.acquire):
                time.sleep(0.01)
            server.rule(epoch="2")
            assert renew(BLOB)
        assert waiting.result()
    assert [entry.status for entry in server.reads()] == [206]


def test_a_file_that_stays_refused(server, monkeypatch):
    monkeypatch.setattr(ranges, "_FRESH", 60.0)  # also on a machine that is busy
    server.fail("scenes/a.bin", "403")
    error = refused()
    assert error.kind == "forbidden"
    assert "the server answers 403 (Forbidden), also with a new signature; the server wants a login" in str(error)
    assert "`sarcube doctor`" in str(error)
    assert [entry.status for entry in server.reads()] == [403, 403]
    assert server.tokens() == 2


def test_renewals_are_a_second_apart_at_least(server, monkeypatch):
    """However often the server refuses: the service is not asked for every read."""
    monkeypatch.setattr(tokens, "_BETWEEN", 100.0)
    waited = []
    assert get()
    monkeypatch.setattr(time, "sleep", waited.append)
    server.rule(epoch="2")
    assert get()
    assert len(waited) == 1
    assert 50 < waited[0] <= 100


def test_every_read_takes_longer_than_a_signature_lives(server, monkeypatch):
    """The signature ends on its way each time: this ends, in an error."""
    monkeypatch.setattr(ranges, "_FRESH", 0.0)
    server.rule(life=-5.0, claims=60.0)
    assert refused().kind == "forbidden"
    assert len(server.reads()) == 6


# The clocks.


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize(("skew", "where"), [(-10_000.0, "ahead of"), (10_000.0, "behind")])
def test_a_clock_that_is_wrong(server, caplog, skew, where, dated):
    """Ours is hours ahead: every token has ended when it comes. Or behind: they seem to last for hours."""
    server.rule(skew=skew, dated=dated, life=60.0)
    began = time.monotonic()
    assert all(get(start=n, stop=n + 9) for n in range(6))
    assert server.tokens() == 1
    if dated:  # by the service's clock it is known when the token ends, to a few seconds
        assert 55 < tokens._container("rtc", "scenes").held.end - began < 65
    said = [record.getMessage() for record in caplog.records if record.name.startswith("sarcube")]
    if dated:
        assert len(said) == 1
        assert f"this machine's clock is 3 hours {where} that of the signature service; set it right" in said[0]
    elif skew < 0:
        assert len(said) == 1
        assert "a new signature for rtc/scenes ended 3 hours ago: this machine's clock is wrong" in said[0]
    server.rule(skew=skew, dated=dated, life=60.0, epoch="2")  # as when it has ended
    assert all(get(start=n, stop=n + 9) for n in range(6))
    assert server.tokens() == 2
    assert [entry.status for entry in server.reads()].count(403) == 1


@pytest.mark.parametrize("dated", [True, False])
@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
def test_short_tokens_and_a_wrong_clock(server, skew, dated):
    server.rule(skew=skew, dated=dated, life=1.2)
    for number in range(6):
        assert get(start=number, stop=number + 9)
        time.sleep(0.3)
    assert 2 <= server.tokens() <= 7


def test_clocks_that_differ_a_little_are_no_matter(server, caplog):
    server.rule(skew=20.0)
    assert get()
    assert not caplog.records


def test_a_token_for_years_is_a_wrong_clock(server, caplog):
    server.rule(skew=86_400.0 * 400, dated=False)
    assert get()
    assert "lasts 400 days: this machine's clock is wrong" in caplog.text


# The service fails.


def test_a_service_that_cannot_be_reached(server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}/token"
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{address}?key=SECRET")
    forget()
    error = refused()
    assert error.kind == "no_connection"
    assert f"no signature for rtc/scenes: the signature service {address}" in str(error)
    assert "(PC_SDK_SAS_URL) fails: the connection was refused (3 attempts); try again later; `sarcube" in str(error)
    assert "SECRET" not in str(error)
    assert server.reads() == []


RECOVERS = ["429", "500", "502", "503", "504", "408", "empty", "truncate", "garbage"]


@pytest.mark.parametrize("fault", RECOVERS)
def test_what_may_pass_is_tried_again(server, fault):
    server.fail("token/rtc/scenes", fault, times=2, retry_after=0, body="<html>")
    assert get()
    assert server.tokens() == 3


FAILS = [
    ("429", {}, "throttled", 3, "429 (Too Many Requests) (3 attempts); the service is busy; try again later"),
    ("503", {}, "throttled", 3, "503 (Service Unavailable) (3 attempts)"),
    ("500", {}, "no_connection", 3, "500 (Internal Server Error) (3 attempts)"),
    ("501", {}, "no_connection", 1, "501"),
    ("empty", {}, "no_connection", 3, "broken off"),
    ("redirect", {"to": "http://login.example/?sig=SECRET"}, "damaged", 1, "302 and leads to http://login.example/?…"),
    ("garbage", {"body": "<html>Please log in</html>"}, "damaged", 3, "its answer is no token (3 attempts); expected"),
    ("garbage", {"body": ""}, "damaged", 3, "no token"),
    ("garbage", {"body": "[" * 60_000}, "damaged", 3, "no token"),
    ("garbage", {"body": "[]"}, "damaged", 3, "no token"),
    ("garbage", {"body": '{"token": "sig=SECRET"}'}, "damaged", 3, "no token"),
    ("garbage", {"body": '{"msft:expiry": "never", "token": "sig=SECRET"}'}, "damaged", 3, "no token"),
    ("garbage", {"body": '{"msft:expiry": "2099-01-01", "token": ""}'}, "damaged", 3, "stand in an address"),
    (
        "garbage",
        {"body": '{"msft:expiry": "2099-01-01", "token": "SECRET\\r\\nX: y"}'},
        "damaged",
        3,
        "stand in an add",
    ),
    ("garbage", {"body": '{"msft:expiry": "2099-01-01", "token": "a=b#SECRET"}'}, "damaged", 3, "stand in an address"),
]


@pytest.mark.parametrize(("fault", "details", "kind", "requests", "words"), FAILS)
def test_what_stays_wrong_is_an_error_of_the_service(server, fault, details, kind, requests, words):
    server.fail("token/rtc/scenes", fault, **details)
    error = refused()
    assert error.kind == kind
    assert f"the signature service {server.url}/token (PC_SDK_SAS_URL) fails: " in str(error)
    assert words in str(error)
    assert "SECRET" not in str(error)
    assert server.tokens() == requests
    assert server.reads() == []
    server.heal()
    assert get()


def test_a_service_that_says_nothing(server, monkeypatch, tmp_path):
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, attempts=2, read_timeout=0.2))
    server.fail("token/rtc/scenes", "hold", until=str(tmp_path / "go"))
    error = refused()
    assert error.kind == "no_connection"
    assert "not a byte came within 0.2 s (2 attempts)" in str(error)
    (tmp_path / "go").touch()


def test_a_retry_after_is_waited_for(server, monkeypatch):
    waited = []
    monkeypatch.setattr(ranges, "SETTINGS", replace(ranges.SETTINGS, longest_pause=60.0))
    monkeypatch.setattr(time, "sleep", waited.append)
    server.fail("token/rtc/scenes", "429", times=1, retry_after=7)
    server.fail("token/rtc/scenes", "429", times=1, retry_after=3600)  # nobody waits for an hour
    assert get()
    assert [round(pause) for pause in waited if pause] == [7, 60]


def test_eight_threads_fail_together(server):
    """A service that is down is asked as often as for one."""
    server.fail("token/rtc/scenes", "503")
    with ThreadPoolExecutor(8) as pool:
        with tokens._container("rtc", "scenes").asking:
            waiting = [pool.submit(refused) for _ in range(8)]
            while len(lines := lines_in(tokens.token)) < 8 or len(set(lines)) > 1:
                time.sleep(0.05)
        assert {future.result().kind for future in waiting} == {"throttled"}
    assert server.tokens() == 3


def lines_in(function):
    """Return where the threads are that are in a function, or in what it calls."""
    lines = []
    for frame in sys._current_frames().values():
        while frame is not None and frame.f_code is not function.__code__:
            frame = frame.f_back
        lines += [frame.f_lineno] if frame else []
    return lines


def test_settings_that_make_no_sense(server, monkeypatch):
    monkeypatch.setenv("PC_SDK_SAS_URL", "nonsense")
    forget()
    assert "fails: its address cannot be opened; expected http(s)://host/path" in str(refused())


# Containers that Planetary Computer does not have.


def test_a_public_container_is_read_without_a_signature(server):
    server.rule(unknown=["scenes"], public=["scenes"])
    assert all(get(start=n, stop=n + 9) for n in range(5))
    assert server.tokens() == 1  # remembered
    assert not any(is_signed(entry.path) for entry in server.reads())
    assert renew(BLOB) is False


@pytest.mark.parametrize("status", ["403", "404", "401", "410"])
def test_a_private_container_names_both_facts(server, status):
    server.fail("token/rtc/scenes", status)
    error = refused()
    assert error.kind == "forbidden"
    assert "the server answers 403 (Forbidden); the signature service" in str(error)
    assert f"{server.url}/token (PC_SDK_SAS_URL) has none for rtc/scenes (the server answers {status}" in str(error)
    assert refused().kind == "forbidden"
    assert server.tokens() == 1
    assert len(server.reads()) == 2


def test_a_missing_file_of_an_unknown_container_names_both_facts(server):
    """Azure says 404 for what one may not see."""
    server.rule(unknown=["scenes"], public=["scenes"])
    error = refused("http://rtc.blob.core.windows.net/scenes/missing.bin")
    assert error.kind == "not_found"
    assert "has none for rtc/scenes (the server answers 404 (Not Found)), none was added; there is no such" in str(
        error
    )


def own(end, *, epoch="1"):
    return f"{BLOB}?{token_of('rtc/scenes', end.isoformat(), epoch)}"


def test_a_signature_of_ones_own_is_left(server):
    assert sign(own(LATER)) == own(LATER)
    assert get(own(LATER))
    assert server.tokens() == 0


def test_a_signature_that_has_expired_is_stripped(server):
    signed = sign(f"{own(EARLIER)}&x=1")
    assert unsigned(signed) == f"{BLOB}?x=1"
    assert signed.count("sig=") == 1
    assert get(own(EARLIER))
    assert all(entry.status == 206 for entry in server.reads())


def test_a_signature_of_ones_own_that_is_refused_is_replaced(server):
    """Once: it is not tried again at the next read."""
    stale = own(LATER, epoch="old")
    assert get(stale)
    assert get(stale)
    assert [entry.status for entry in server.reads()] == [403, 206, 206]
    assert server.tokens() == 1


def test_a_private_container_of_ones_own(server):
    """The service has no token for it: what the address carries is all there is, also if a clock says that it ended."""
    server.rule(unknown=["scenes"], skew=-7200.0 * 2)
    assert get(own(EARLIER))
    assert refused(own(LATER, epoch="old")).kind == "forbidden"
    assert refused(own(EARLIER, epoch="old")).kind == "forbidden"


def test_a_subscription_key_is_sent_and_never_shown(server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "KEY-SECRET\n")
    forget()
    server.rule(key="KEY-SECRET")
    server.fail("token/rtc/scenes", "503", times=3)
    assert "KEY-SECRET" not in str(refused()) + caplog.text
    assert get()
    assert "KEY-SECRET" not in caplog.text


# Nobody sees a signature.


def test_signatures_are_in_no_log_message_or_text(server, caplog):
    caplog.set_level(logging.DEBUG)  # of all loggers: urllib3 says every address it opens
    assert get()
    held = tokens._container("rtc", "scenes").held
    secret = held.value.partition("sig=")[2]
    for fault in ("503", "truncate", "403", "404"):
        server.heal()
        server.fail("scenes/a.bin", fault)
        assert secret not in str(refused())
    server.heal()
    server.rule(epoch="2")
    assert get()
    assert secret not in repr(held) + repr(tokens._containers) + caplog.text
    assert "sig=…" in caplog.text  # it was there to be hidden


@pytest.mark.parametrize("echo", [False, True])
def test_a_redirect_takes_no_signature_to_another_host(server, echo):
    """Also when the server puts the query it was sent into the new address."""
    signature = sign(BLOB).partition("?")[2]
    elsewhere = f"{server.url}/scenes/a.bin"
    server.fail("scenes/a.bin", "redirect", times=1, to=f"{elsewhere}?x=1&{signature}" if echo else elsewhere)
    assert get()
    assert [entry.path for entry in server.requests("scenes/a.bin")][1:] == [
        "/scenes/a.bin?x=1" if echo else "/scenes/a.bin"
    ]


def test_a_redirect_to_another_container_is_signed_for_that_one(server):
    server.fail("scenes/a.bin", "redirect", to=OTHER)
    assert get()
    assert server.tokens() == 2
    first, second = server.reads()
    assert first.path.partition("sig=")[2] != second.path.partition("sig=")[2]


def test_a_redirect_may_bring_a_signature_of_its_own(server):
    server.fail("scenes/a.bin", "redirect", to=f"{OTHER}?{token_of('rtc/others', LATER.isoformat())}")
    assert get()
    assert server.tokens("rtc/others") == 0


# Cubes.


def online(server, items, *, query=""):
    """Return the items as Planetary Computer's catalogue gives them."""
    copies = [item.clone() for item in items]
    for item in copies:
        for asset in item.assets.values():
            path = asset.href.removeprefix(str(server.folder)).lstrip("/")
            asset.href = f"http://rtc.blob.core.windows.net/{path}{query}"
    return copies


def cube_of(items, **settings):
    box = GeoBox((40, 50), Affine(10, 0, LEFT, 0, -10, TOP), CRS)
    return sc.load(items, geobox=box, chunks={"y": 10, "x": 25}, border_fringe=0, **settings)


@pytest.mark.parametrize("engine", ["native", "odc", "stackstac"])
def test_every_engine_reads_what_is_signed(server, engine):
    items = [scene(server.folder / "scenes", "E0", seed=3)]
    stale = online(server, items, query=f"?{token_of('rtc/scenes', EARLIER.isoformat())}")
    for remote in (online(server, items), stale):
        cube = cube_of(remote, engine=engine)
        np.testing.assert_array_equal(cube.vv.values, cube_of(items).vv.values)
    assert server.tokens() == 1
    assert {entry.status for entry in server.reads()} == {206}


def test_a_written_cube_holds_no_signature(server, tmp_path):
    items = online(server, [scene(server.folder / "scenes", "W0", seed=4)], query=own(LATER).removeprefix(BLOB))
    sc.write_cube(cube_of(items), tmp_path / "cube.zarr")
    signature = own(LATER).partition("sig=")[2].encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(signature in path.read_bytes() for path in files)


def test_a_header_is_kept_without_its_signature(server):
    """Two addresses that differ by their signature are one file; it is read with the one that is given then."""
    values = speckle(1)
    write_rtc(server.folder / "scenes" / "h.tif", values)
    href = "http://rtc.blob.core.windows.net/scenes/h.tif"
    for epoch in ("1", "2"):
        server.rule(unknown=["scenes"], epoch=epoch)
        with open_geotiff(f"{href}?{token_of('rtc/scenes', LATER.isoformat(), epoch)}", owner="x") as dataset:
            np.testing.assert_array_equal(read_window(dataset, Window(0, 0, 16, 16)), values[:16, :16])
    assert list(headers._headers) == [href]
    assert [entry.status for entry in server.reads()] == [206] * 3  # the header once, and a tile each


def test_parts_of_one_file_are_signed_each(server):
    _, version = fetch(BLOB, 0, 10, owner="x")
    spans = [(start, start + 100) for start in range(0, 2000, 200)]
    assert fetch_all(BLOB, spans, owner="x", version=version) == [CONTENT[start:stop] for start, stop in spans]
    assert all(is_signed(entry.path) for entry in server.reads())
