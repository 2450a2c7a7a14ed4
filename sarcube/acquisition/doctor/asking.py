"""One request at a time, with little patience; what fails on the line in plain words, and what to do about it."""

import importlib.metadata
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import responses
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

from sarcube.acquisition.doctor import patience
from sarcube.acquisition.doctor.findings import Trouble, in_time
from sarcube.acquisition.files.connections import login_for, show_url
from sarcube.acquisition.files.patience import seconds_asked

NO_HOST = "(no host)"
OFFLINE = "without a network everything from staged scenes still works: give catalog= their folder"
_AUTHORITY = "set REQUESTS_CA_BUNDLE to the file with the certificates of your network's authority"
_MOST = 4 << 20  # bytes of an answer; a page of one item has some ten thousand
_TUNNEL = re.compile(r"Tunnel connection failed: ([0-9]{3})")
_WRONG_DATE = {9, 10}  # OpenSSL: not yet valid, no longer valid
_WRONG_NAME = {62, 64}  # OpenSSL: another host name, another IP address

_Error = TypeVar("_Error", bound=BaseException)


@dataclass(frozen=True)
class Answer:
    """What a server answered: `url` may be shown, `came` is by this machine's clock, `seconds` is how long it took."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    came: float
    seconds: float

    @property
    def host(self) -> str:
        """The host that was asked."""
        return host_of(self.url)

    @property
    def clock(self) -> float | None:
        """The server's time, seconds since 1970, as it was in the middle of the way; None if it does not tell."""
        try:
            date = parsedate_to_datetime(self.headers.get("Date", "")).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
        age = self.headers.get("Age", "0")  # of an answer that a cache kept
        return date + 0.5 + (int(age) if age.isdecimal() and len(age) < 9 else 0)  # a date is cut to whole seconds


def ask(url: str, *, headers: Mapping[str, str] | None = None, redirects: bool = True) -> Answer:
    """Send one GET, through whatever proxy the environment names, and take what comes.

    Raises
    ------
    Trouble
        If no answer comes. Any status is an answer.
    """
    sent = {"User-Agent": f"sarcube/{importlib.metadata.version('sarcube')}", "Cache-Control": "no-cache"}
    limits = (patience.CONNECT, patience.ANSWER)
    try:
        with requests.get(
            url,
            headers={**sent, **(headers or {})},
            auth=login_for(url),
            timeout=limits,
            stream=True,
            allow_redirects=redirects,
        ) as response:
            came = time.time()
            body = response.raw.read(_MOST, decode_content=True) or b""
            return Answer(
                show_url(response.url),
                response.status_code,
                response.headers,
                body,
                came,
                response.elapsed.total_seconds(),
            )
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise trouble_of(error, host_of(url)) from None


def trouble_of(error: BaseException, host: str) -> Trouble:
    """Say what went wrong on the line to a host, without the address that the libraries put into their messages."""
    tunnel = _TUNNEL.search(str(error))
    if tunnel is not None:
        return refused_by_proxy(int(tunnel[1]), host)
    certificate = _inside(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return _untrusted(certificate, host)
    if _inside(error, urllib3.exceptions.ProxyError) is not None:
        return Trouble(f"the proxy does not answer on the way to {host}", "see the line on the proxy")
    if _inside(error, socket.gaierror) is not None:
        return Trouble(
            f"the name {host} is not known: no network, no name server, or no such host", f"check the line; {OFFLINE}"
        )
    if _inside(error, ConnectionRefusedError) is not None:
        return Trouble(
            f"{host} refuses the connection: nothing listens there, or a firewall is in between",
            "check the address and its port, and the firewall",
        )
    if _inside(error, TimeoutError) or _inside(error, urllib3.exceptions.TimeoutError):
        return Trouble(
            f"{host} does not answer in time: a very bad line, or a firewall that drops what goes there",
            "try again; if a browser reaches it, ask for the network's proxy and set https_proxy",
        )
    if _inside(error, ssl.SSLError) is not None:
        return Trouble(
            f"the encrypted connection to {host} failed: what answers there does not speak TLS, or another TLS",
            "check the address (https or http, port); a proxy in between may need https_proxy",
        )
    if isinstance(error, ValueError):
        return Trouble("the address cannot be opened", "expected is http(s)://host/path")
    if _inside(error, ConnectionError) is not None or isinstance(error, urllib3.exceptions.HTTPError):
        return Trouble(f"the connection to {host} was broken off", "try again")
    return Trouble(f"the connection to {host} failed ({type(error).__name__})", "try again")


def refused_by_proxy(status: int, host: str) -> Trouble:
    """Say that the proxy, not the host, refused."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return Trouble(
            f"the proxy wants a login before it lets anything through to {host} (407)",
            "set https_proxy=http://USER:PASSWORD@PROXY:PORT",
        )
    return Trouble(
        f"the proxy does not let connections through to {host} ({status} {responses.get(status, '')})".rstrip(),
        f"ask who runs the proxy to allow {host}",
    )


def refused(answer: Answer, what: str) -> Trouble:
    """Say what a status that is no success means, for a catalogue or a service."""
    said = f"{what} at {answer.url} answers {answer.status} ({responses.get(answer.status, 'no known status')})"
    if answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return refused_by_proxy(answer.status, answer.host)
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Trouble(
            f"{said}: it wants a login, or does not serve this network",
            f"put a login for {answer.host} into ~/.netrc, or use another network",
        )
    if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = seconds_asked(answer.headers.get("Retry-After", ""))
        asked = f" and asks to wait {in_time(wait)}" if wait > 0 else ""
        return Trouble(
            f"{said}: throttled, too much is asked of it{asked}",
            f"wait {in_time(max(wait, 60))} and try again; run one job at a time; a subscription key raises the limits",
        )
    if answer.status >= 500:
        return Trouble(f"{said}: it is broken or under repair", f"try again in some minutes; {OFFLINE}")
    if answer.status == HTTPStatus.NOT_FOUND:
        return Trouble(f"{said}: there is nothing at this address", "check the address")
    return Trouble(said, "check the address")


def host_of(url: str) -> str:
    """Return the host of an address, with its port where it has one; never its user or password."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or NO_HOST
    except ValueError:
        return NO_HOST


def certificates_for(url: str) -> str:
    """Return the file or folder of certificates that `requests` holds a server's against."""
    with requests.Session() as session:
        chosen = session.merge_environment_settings(url, {}, None, None, None)["verify"]
    return chosen if isinstance(chosen, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH


def _untrusted(error: ssl.SSLCertVerificationError, host: str) -> Trouble:
    if error.verify_code in _WRONG_DATE:
        now = datetime.now(UTC)
        return Trouble(
            f"the certificate of {host} is not valid at this machine's time, {now:%Y-%m-%d %H:%M} UTC "
            f"({error.verify_message})",
            "set the clock if it is wrong; else the server's owner must renew it",
        )
    if error.verify_code in _WRONG_NAME:
        return Trouble(
            f"what answers for {host} has the certificate of another host",
            "check the address; a login page of the network may be in between: open any page in a browser",
        )
    return Trouble(f"the certificate of {host} is not trusted ({error.verify_message})", _AUTHORITY)


def _inside(error: BaseException | None, kind: type[_Error]) -> _Error | None:
    """Return the first exception of a kind that an exception is, was caused by, or carries."""
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        if isinstance(one, kind):
            return one
        seen.add(id(one))
        queue += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return None
