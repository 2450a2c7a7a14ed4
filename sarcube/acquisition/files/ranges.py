"""Byte ranges of a file on a web server: all the bytes that were asked for, or an error.

Everything the answer says of itself is checked: status, range, length, encoding, and that the file is still the one
whose first bytes were read. What may pass is tried again; what stays wrong is a `ReadError` that says of what kind.
Proxies, certificates and `.netrc` come from the environment, as `requests` reads them.
"""

import email.utils
import logging
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.client import responses
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sarcube.acquisition.hrefs import is_url
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RangeSettings:
    """How patient the reader is; times in seconds."""

    attempts: int = 5
    first_pause: float = 0.5  # doubled each time; a random part of it is waited
    longest_pause: float = 60.0  # also of what a server's Retry-After may ask
    connect_timeout: float = 10.0
    read_timeout: float = 30.0  # without a single byte
    answer_timeout: float = 60.0  # until status and headers are complete
    slowest: float = 16_384.0  # bytes per second: a body that is slower has hung
    whole_file: int = 4 << 20  # bytes: up to here a server without ranges is good enough


SETTINGS = RangeSettings()

_IN_FLIGHT = 8  # requests of a process at a time; servers throttle those who open more
_PARALLEL = 4  # requests for one call of `fetch_all`, so that two blocks share the above
_PIECE = 1 << 18  # bytes taken from a socket at once
_REDIRECTS = 5
_NUMBER = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_REDIRECTED = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_KINDS = {404: "not_found", 410: "not_found", 429: "throttled", 503: "throttled"}
_ADVICE = {
    "not_found": "there is no such file; search again, the item may be out of date",
    "forbidden": "the server wants a login or a signature, or refuses this one",
    "throttled": "the server is busy; try again later",
    "no_connection": "try again later",
}


@dataclass(frozen=True)
class Version:
    """Which content of a URL was read: its size in bytes, and its ETag (or else Last-Modified; "" for neither)."""

    size: int
    tag: str


def fetch(url: str, start: int, stop: int, *, owner: str, version: Version | None = None) -> tuple[bytes, Version]:
    """Read bytes [start, stop) of a URL.

    Parameters
    ----------
    url : str
        http or https; redirects are followed to such addresses only.
    start, stop : int
        First byte, and the byte after the last.
    owner : str
        Whose file it is, for the error message.
    version : Version, optional
        What an earlier read of this file returned. Without it, the bytes end where the file ends.

    Returns
    -------
    bytes
        Exactly these bytes.
    Version
        The content they belong to.

    Raises
    ------
    ReadError
        After the retries: "not_found", "forbidden", "throttled", "no_connection", "damaged" where the answer was not
        what was asked, "stale" where the file is no longer of this version.
    """
    if version is not None and stop > version.size:
        raise ReadError(
            f"cannot read {show_url(url)} of {owner}: it ends at byte {version.size}, byte {stop - 1} of it is "
            "needed; it was cut off where it comes from",
            kind="damaged",
        )
    attempt = 0
    while True:
        attempt += 1
        failure = _attempt(url, start, stop, version)
        if not isinstance(failure, _Failure):
            return failure
        if not failure.again or attempt >= SETTINGS.attempts:
            break
        pause = _pause(attempt, failure.wait)
        logger.info("%s of %s: %s; trying again in %.1f s", show_url(url), owner, failure, pause)
        time.sleep(pause)
    tries = f" ({attempt} attempts)" if attempt > 1 else ""
    hopeless = failure.kind == "no_connection" and not failure.again  # an untrusted certificate stays one
    advice = f"; {_ADVICE[failure.kind]}" if failure.kind in _ADVICE and not hopeless else ""
    raise ReadError(f"cannot read {show_url(url)} of {owner}: {failure}{tries}{advice}", kind=failure.kind)


def fetch_all(url: str, spans: Sequence[tuple[int, int]], *, owner: str, version: Version) -> list[bytes]:
    """Read several ranges [start, stop) of a URL, a few at a time; see `fetch`."""

    def one(span: tuple[int, int]) -> bytes:
        return fetch(url, *span, owner=owner, version=version)[0]

    if len(spans) < 2:
        return [one(span) for span in spans]
    with ThreadPoolExecutor(min(len(spans), _PARALLEL), thread_name_prefix="sarcube-ranges") as pool:
        waiting = [pool.submit(one, span) for span in spans]
        try:
            return [future.result() for future in waiting]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def show_url(url: str) -> str:
    """Return an address as it may be shown: without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(an address that cannot be parsed)"
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


class _Failure(Exception):  # noqa: N818  an answer that cannot be used, on its way to `fetch`
    def __init__(self, words: str, kind: str, *, again: bool = False, wait: float = 0.0) -> None:
        super().__init__(words)
        self.kind, self.again, self.wait = kind, again, wait


class _LateHeadersError(ConnectionError):
    pass


def _attempt(url: str, start: int, stop: int, version: Version | None) -> tuple[bytes, Version] | _Failure:
    # Returned, not raised: what a handler caught may hold the whole URL, and a signature with it.
    try:
        return _read_once(url, start, stop, version)
    except _Failure as failure:
        return failure


def _read_once(url: str, start: int, stop: int, version: Version | None) -> tuple[bytes, Version]:
    for _ in range(_REDIRECTS + 1):
        with _opened(url, start, stop) as response:
            if response.status_code not in _REDIRECTED:
                return _take(response, start, stop, version)
            target = urljoin(url, response.headers.get("Location", ""))
        if not is_url(target):
            raise _Failure(
                f"it redirects to {urlsplit(target).scheme}:, expected http or https; that is not opened", "forbidden"
            )
        url = target
    raise _Failure(f"it redirects more than {_REDIRECTS} times", "damaged")


@contextmanager
def _opened(url: str, start: int, stop: int) -> Iterator[requests.Response]:
    """Ask for a range; the only place where a URL is opened. What fails on the line becomes a `_Failure`."""
    session, slots = _connections()
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    timeouts = (SETTINGS.connect_timeout, SETTINGS.read_timeout)
    try:
        with (
            slots,
            session.get(url, headers=headers, timeout=timeouts, stream=True, allow_redirects=False) as response,
        ):
            yield response
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # the address itself
            raise _Failure("its address cannot be opened; expected http(s)://host/path", "not_found") from None
        raise _Failure(_words(error), "no_connection", again=not _has(error, ssl.SSLCertVerificationError)) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Failure(_words(error), "no_connection", again=True) from None


def _take(response: requests.Response, start: int, stop: int, version: Version | None) -> tuple[bytes, Version]:
    """Check an answer, then take its body."""
    status, headers = response.status_code, response.headers
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        said = headers.get("Content-Range", "").rpartition("/")[2]
        if version is not None and _NUMBER.fullmatch(said) and int(said) != version.size:
            raise _replaced(f"it had {version.size} bytes and has {said}")
        raise _Failure(f"the server has no byte {start} of it", "damaged", again=version is not None)
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise _refused(status, headers.get("Retry-After", ""))
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise _Failure(f"the answer is encoded ({encoding[:20]!r}), expected plain bytes", "damaged", again=True)
    first, last, size = _sent(status, headers, start, stop)
    # Body first: a line that breaks off within the headers leaves some of them out, and that is no other file.
    body = _body(response, last - first)
    found = Version(size, headers.get("ETag") or headers.get("Last-Modified") or "")
    if version is not None and found != version:
        what = "size" if found.size != version.size else "ETag or date"
        raise _replaced(f"its {what} is another")
    if start >= size:
        raise _Failure(f"the server has no byte {start} of it", "damaged")
    expected = (0, size) if status == HTTPStatus.OK else (start, min(stop, size))
    if (first, last) != expected:
        raise _Failure(
            f"the server sent bytes {first} to {last - 1}, asked for were {expected[0]} to {expected[1] - 1}",
            "damaged",
            again=True,
        )
    return body[start - first : stop - first], found


def _sent(status: int, headers: Any, start: int, stop: int) -> tuple[int, int, int]:
    """Return what an answer says it holds: first byte, byte after the last, size of the file."""
    length = headers.get("Content-Length", "")
    if status == HTTPStatus.OK:
        size = int(length) if _NUMBER.fullmatch(length) else -1
        if size < 0 or (size > SETTINGS.whole_file and (start, stop) != (0, size)):
            whole = f"all {size / 1e6:.0f} MB" if size >= 0 else "the whole file"
            raise _Failure(
                f"its server does not know ranges and would send {whole}; download it and load the local copy",
                "damaged",
            )
        return 0, size, size
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise _Failure("the server does not say which bytes it sends (no Content-Range)", "damaged", again=True)
    first, last, size = (int(text) for text in match.groups())
    sent = int(length) if _NUMBER.fullmatch(length) else last + 1 - first
    if not sent == last + 1 - first <= stop - start:
        raise _Failure(
            f"the server sends {sent} bytes and says that they are bytes {first} to {last}, asked for were {start} to "
            f"{stop - 1}",
            "damaged",
            again=True,
        )
    return first, last + 1, size


def _body(response: requests.Response, length: int) -> bytes:
    """Take exactly `length` bytes, within the time that the slowest connection may need for them."""
    limit = SETTINGS.answer_timeout + length / SETTINGS.slowest
    deadline = time.monotonic() + limit
    body = bytearray()
    while len(body) < length:
        # read1 returns what is there; read would wait for all of it, a dripping server for ever.
        try:
            piece = response.raw.read1(min(length - len(body), _PIECE), decode_content=False)
        except urllib3.exceptions.ReadTimeoutError:
            raise
        except urllib3.exceptions.ProtocolError as error:
            if _has(error, ConnectionError):
                raise
            piece = b""
        if not piece:
            raise _Failure(f"the connection ended after {len(body)} of {length} bytes", "damaged", again=True)
        body += piece
        if time.monotonic() > deadline and len(body) < length:
            raise _Failure(
                f"{len(body)} of {length} bytes came in {limit:.0f} s, the connection hangs",
                "no_connection",
                again=True,
            )
    return bytes(body)


def _replaced(how: str) -> _Failure:
    return _Failure(f"the file was replaced while it was being read: {how}; load the items again", "stale")


def _refused(status: int, retry_after: str) -> _Failure:
    name = responses.get(status, "no known status")
    kind = _KINDS.get(status) or ("no_connection" if status >= 500 or status in _AGAIN else "forbidden")
    return _Failure(
        f"the server answers {status} ({name})", kind, again=status in _AGAIN, wait=_retry_after(retry_after)
    )


def _retry_after(text: str) -> float:
    """Return the seconds that a Retry-After asks for: a number, or a date; 0 for nothing one can read."""
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _pause(attempt: int, wait: float) -> float:
    # Full jitter: clients that failed together do not come back together.
    jitter = random.uniform(0, SETTINGS.first_pause * 2 ** (attempt - 1))  # noqa: S311
    return min(wait + jitter, SETTINGS.longest_pause)


def _words(error: BaseException) -> str:
    """Say what went wrong on the line, without the URL that the libraries put into their messages."""
    for kind, words in (
        (ssl.SSLCertVerificationError, "its certificate is not trusted (set REQUESTS_CA_BUNDLE to your authority's)"),
        (socket.gaierror, "its host name is unknown, or there is no network"),
        (urllib3.exceptions.ProxyError, "the proxy (HTTPS_PROXY) does not let it through"),
        (ConnectionRefusedError, "the connection was refused"),
        (urllib3.exceptions.ConnectTimeoutError, f"no connection within {SETTINGS.connect_timeout:g} s"),
        (urllib3.exceptions.ReadTimeoutError, f"not a byte came within {SETTINGS.read_timeout:g} s"),
        (_LateHeadersError, f"its headers were not complete within {SETTINGS.answer_timeout:g} s"),
        (ConnectionError, "the connection was broken off"),
        (ssl.SSLError, "the encrypted connection failed"),
    ):
        if _has(error, kind):
            return words
    return f"the connection failed ({type(error).__name__})"


def _has(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an exception is, was caused by, or carries one of a kind: the libraries wrap them several times."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        one = queue.pop()
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if isinstance(one, kind):
            return True
        seen.add(id(one))
        queue += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return False


def _answered(connection: HTTPConnection, answer: Callable[[], Any]) -> Any:
    """Wait for status and headers, but not for ever: the read timeout starts again with every byte."""
    hung_up = threading.Event()
    watch = threading.Timer(SETTINGS.answer_timeout, _hang_up, (connection.sock, hung_up))
    watch.daemon = True
    watch.start()
    try:
        found = answer()
    finally:
        watch.cancel()
    if hung_up.is_set():  # the headers look complete, but end where the line was cut
        found.close()
        raise _LateHeadersError
    return found


def _hang_up(line: socket.socket, hung_up: threading.Event) -> None:
    hung_up.set()
    with suppress(OSError):  # it may just have been closed
        socket.socket.shutdown(line, socket.SHUT_RDWR)


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        return _answered(self, super().getresponse)


class _SecureConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        return _answered(self, super().getresponse)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """Connections with a watch over their headers, straight or through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager


_Connections = tuple[requests.Session, threading.BoundedSemaphore]
_open_connections: list[_Connections] = []  # none or one
_lock = threading.Lock()


def _connections() -> _Connections:
    """Return the session of this process and the slots for its requests."""
    with _lock:
        if not _open_connections:
            session = requests.Session()
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(pool_maxsize=_IN_FLIGHT, pool_block=True, max_retries=0))
            _open_connections.append((session, threading.BoundedSemaphore(_IN_FLIGHT)))
        return _open_connections[0]


def _forget_connections() -> None:
    """Start anew in a forked process: two processes cannot talk on one line, and a lock may be held for ever."""
    global _lock
    _lock = threading.Lock()
    _open_connections.clear()


os.register_at_fork(after_in_child=_forget_connections)
