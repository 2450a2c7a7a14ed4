"""Connections to web servers: one session for a process, a watch over every answer, and failures in plain words.

Proxies, certificates and `.netrc` come from the environment, as `requests` reads them.
"""

import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sarcube.acquisition.files.patience import Failure, RangeSettings

_IN_FLIGHT = 8  # reads of a process at a time; servers throttle those who open more
_PIECE = 1 << 18  # bytes taken from a socket at once
_SIGNATURE = re.compile(r"(\b(?:sig|x-amz-signature|x-goog-signature)=)[^&\s\"']+", re.IGNORECASE)


def show_url(url: str) -> str:
    """Return an address as it may be shown: without user, password, query and fragment, which may be secrets."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "(an address that cannot be parsed)"
    return urlunsplit((parts.scheme, host, parts.path, "…" if parts.query else "", ""))


def joined(base: str, href: str) -> str:
    """Return where an address leads that a server gives, relative to that of its answer.

    Raises
    ------
    Failure
        If it cannot be parsed.
    """
    try:
        target = urljoin(base, href)
        urlsplit(target)
    except ValueError:
        raise Failure("it leads to an address that cannot be parsed", "damaged") from None
    return target


@contextmanager
def opened(
    url: str, *, headers: Mapping[str, str], settings: RangeSettings, posted: Mapping[str, Any] | None = None
) -> Iterator[requests.Response]:
    """Open a URL, the only place where one is; the body is not read yet, redirects are not followed.

    What is `posted` goes as JSON; without it the URL is got. A signature goes without a login of `.netrc`: storage
    refuses both together.

    Raises
    ------
    Failure
        For what fails on the line, also while the body is read, without a word of the URL.
    """
    session, _ = _connections()
    _waiting.seconds = settings.answer_timeout
    timeouts = (settings.connect_timeout, settings.read_timeout)
    asked = {"Accept-Encoding": "identity", **headers}
    method = "GET" if posted is None else "POST"
    login = login_for(url)
    try:
        with session.request(
            method,
            url,
            json=posted,
            headers=asked,
            auth=login,
            timeout=timeouts,
            stream=True,
            allow_redirects=False,
        ) as response:
            yield response
    except requests.RequestException as error:
        if isinstance(error, ValueError):  # the address itself
            raise Failure("its address cannot be opened; expected http(s)://host/path", "not_found") from None
        trusted = not _has(error, ssl.SSLCertVerificationError)
        raise Failure(_words(error, settings), "no_connection", again=trusted) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Failure(_words(error, settings), "no_connection", again=True) from None


def login_for(url: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest] | None:
    """Return how to log in where a URL leads: None, as `.netrc` says, or, where it carries a signature, not at all."""
    return (lambda request: request) if _SIGNATURE.search(url) else None


def slots() -> threading.BoundedSemaphore:
    """Return the slots that reads of this process take, each for as long as it holds a connection."""
    return _connections()[1]


def body_of(response: requests.Response, most: int, *, settings: RangeSettings) -> bytes:
    """Take a body, at most so many bytes, within the time that the slowest connection may need for them.

    Fewer bytes are all there were, or all that came before the connection ended.
    """
    limit = settings.answer_timeout + most / settings.slowest
    deadline = time.monotonic() + limit
    body = bytearray()
    while len(body) < most:
        # read1 returns what is there; read would wait for all of it, a dripping server for ever.
        try:
            piece = response.raw.read1(min(most - len(body), _PIECE), decode_content=False)
        except urllib3.exceptions.ReadTimeoutError:
            raise
        except urllib3.exceptions.ProtocolError as error:
            if _has(error, ConnectionError):
                raise
            break
        if not piece:
            break
        body += piece
        if time.monotonic() > deadline and len(body) < most:
            words = f"{len(body)} of {most} bytes came in {limit:.0f} s, the connection hangs"
            raise Failure(words, "no_connection", again=True)
    return bytes(body)


def _words(error: BaseException, settings: RangeSettings) -> str:
    """Say what went wrong on the line, without the URL that the libraries put into their messages."""
    for kind, words in (
        (ssl.SSLCertVerificationError, "its certificate is not trusted (set REQUESTS_CA_BUNDLE to your authority's)"),
        (socket.gaierror, "its host name is unknown, or there is no network"),
        (urllib3.exceptions.ProxyError, "the proxy (HTTPS_PROXY) does not let it through"),
        (ConnectionRefusedError, "the connection was refused"),
        (urllib3.exceptions.ConnectTimeoutError, f"no connection within {settings.connect_timeout:g} s"),
        (urllib3.exceptions.ReadTimeoutError, f"not a byte came within {settings.read_timeout:g} s"),
        (_LateHeadersError, f"its headers were not complete within {settings.answer_timeout:g} s"),
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


class _LateHeadersError(ConnectionError):
    pass


_waiting = threading.local()  # .seconds: how long this thread waits for status and headers


def _answered(connection: HTTPConnection, answer: Callable[[], Any]) -> Any:
    """Wait for status and headers, but not for ever: the read timeout starts again with every byte."""
    hung_up = threading.Event()
    watch = threading.Timer(_waiting.seconds, _hang_up, (connection.sock, hung_up))
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


class _Session(requests.Session):
    """A session that leaves redirects alone: of one that is not followed, requests reads the body, however long."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


_Connections = tuple[requests.Session, threading.BoundedSemaphore]
_open_connections: list[_Connections] = []  # none or one
_lock = threading.Lock()


def _connections() -> _Connections:
    """Return the session of this process and the slots for its reads."""
    with _lock:
        if not _open_connections:
            session = _Session()
            for scheme in ("http://", "https://"):
                # Twice the slots: behind a proxy what asks for signatures shares the pool, and must not wait for reads.
                session.mount(scheme, _Adapter(pool_maxsize=2 * _IN_FLIGHT, pool_block=True, max_retries=0))
            _open_connections.append((session, threading.BoundedSemaphore(_IN_FLIGHT)))
            logging.getLogger("urllib3.connectionpool").addFilter(_hide_signatures)
        return _open_connections[0]


def _hide_signatures(record: logging.LogRecord) -> bool:
    """Take signatures out of what urllib3 logs of every request when someone asks for its log."""
    if isinstance(record.args, tuple):
        record.args = tuple(_SIGNATURE.sub(r"\1…", arg) if isinstance(arg, str) else arg for arg in record.args)
    return True


def _forget_connections() -> None:
    """Start anew in a forked process: two processes cannot talk on one line, and a lock may be held for ever."""
    global _lock
    _lock = threading.Lock()
    _open_connections.clear()


os.register_at_fork(after_in_child=_forget_connections)
