"""Questions to a STAC API: asked until they are answered whole, of the API's own host only.

pystac-client words the questions; here they are sent, and what comes back is checked.
"""

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

import sarcube
from sarcube.acquisition.files.connections import body_of, joined, opened, show_url
from sarcube.acquisition.files.patience import Failure, RangeSettings, persist, refusal

SETTINGS = RangeSettings(read_timeout=60.0, slowest=2_048.0)  # pages are small, and databases take their time

_HEADERS = {
    "Accept": "application/geo+json, application/json",
    "Accept-Encoding": "gzip",  # a tenth of the bytes
    "User-Agent": f"sarcube/{sarcube.__version__}",
}
_LARGEST = 64 << 20  # bytes of a page: more is no page
_PATIENCE = 240.0  # seconds for a body that does not say how long it is
_REDIRECTS = 5
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Question:
    """One request: GET, or POST where there is a body."""

    url: str
    body: dict[str, Any] | None = None

    @property
    def method(self) -> str:
        """The method of the request."""
        return "GET" if self.body is None else "POST"


def ask(question: Question, *, api: str, is_answer: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | Failure:
    """Ask until there is an answer: a JSON object that `is_answer` accepts, or the failure that stays."""

    def attempt() -> dict[str, Any] | Failure:
        # Returned, not raised: what a handler caught may hold the whole URL.
        try:
            return _ask_once(question, api, is_answer)
        except Failure as failure:
            return failure

    return persist(attempt, settings=SETTINGS, what=show_url(question.url))


def own_address(url: str, *, api: str) -> str:
    """Return an address that an API refers to, if it is one of its own host's; never http where the API is https.

    Raises
    ------
    Failure
        If it leads elsewhere: to another host, or to no web server at all.
    """
    try:
        own, found = urlsplit(api), urlsplit(url)
        same = found.scheme in _PORTS and (own.hostname, _port(own)) == (found.hostname, _port(found))
    except ValueError:
        same = False
    if not same:
        raise Failure(
            f"it sends the question on to {show_url(url)[:120]}, which is not its own host; that is not asked",
            "forbidden",
        )
    scheme = "https" if "https" in (own.scheme, found.scheme) else "http"
    user, at, _ = own.netloc.rpartition("@")
    host = f"[{found.hostname}]" if ":" in (found.hostname or "") else found.hostname
    port = _port(found)
    return urlunsplit(found._replace(scheme=scheme, netloc=f"{user}{at}{host}" + (f":{port}" if port else "")))


def _port(parts: Any) -> int | None:
    """Return the port of an address, None for the one that its scheme has anyway."""
    return None if parts.port == _PORTS.get(parts.scheme) else parts.port


def _ask_once(question: Question, api: str, is_answer: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    url = own_address(question.url, api=api)
    for _ in range(_REDIRECTS + 1):
        with opened(url, headers=_HEADERS, settings=SETTINGS, posted=question.body) as response:
            if response.status_code not in (301, 302, 303, 307, 308):
                return _take(response, is_answer)
            if question.body is not None and response.status_code < 307:
                raise Failure("it redirects a question that was posted and drops its words", "damaged")
            url = own_address(joined(url, response.headers.get("Location", "")), api=api)
    raise Failure(f"it redirects more than {_REDIRECTS} times", "damaged")


def _take(response: requests.Response, is_answer: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Check an answer and read it."""
    length = response.headers.get("Content-Length", "")
    if length.isdecimal():
        most, settings = min(int(length), _LARGEST), SETTINGS
    else:
        most, settings = _LARGEST, replace(SETTINGS, answer_timeout=0.0, slowest=_LARGEST / _PATIENCE)
    body = _unpacked(body_of(response, most, settings=settings), response.headers.get("Content-Encoding", "identity"))
    if response.status_code != 200:
        failure = refusal(response.status_code, response.headers.get("Retry-After", ""))
        failure.words += _said(body)
        raise failure
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Failure("the answer is no JSON, or ends in the middle", "damaged", again=True) from None
    if not isinstance(document, dict) or not is_answer(document):
        raise Failure("the answer is JSON, but not that of a STAC API", "damaged", again=True)
    return document


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding.lower() == "identity":
        return body
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise Failure(f"the answer is encoded ({encoding[:20]!r}), expected gzip or plain text", "damaged", again=True)
    unpacking = zlib.decompressobj(wbits=31)
    try:
        text = unpacking.decompress(body, _LARGEST)
    except zlib.error:
        raise Failure("the answer is packed, but damaged", "damaged", again=True) from None
    if not unpacking.eof:
        raise Failure("the answer ends in the middle, or has no end", "damaged", again=True)
    return text


def _said(body: bytes) -> str:
    """Return what an API says about why it refuses."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    said = next((document.get(key) for key in ("description", "detail", "message")), None) if document else None
    return f': "{re.sub(r"[^ -~]+", " ", said)[:200]}"' if isinstance(said, str) else ""
