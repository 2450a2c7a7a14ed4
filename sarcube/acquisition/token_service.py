"""Ask Planetary Computer's signature service for the token of a container, once.

Where it is, with which subscription key, and what an answer is, `planetary_computer` says. The request itself is ours:
the SDK's has no timeout, does not hear what a Retry-After asks for, and takes a token that lives less than a minute for
expired at once.
"""

import json
import logging
import math
import os
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import requests

from sarcube.acquisition.files.connections import body_of, joined, opened, show_url
from sarcube.acquisition.files.patience import Failure, RangeSettings, refusal

logger = logging.getLogger(__name__)

_MARGIN = 60.0  # seconds before its end that a token is renewed; a quarter of a short life
_SHORTEST = 1.0  # seconds: of a token that is said to live no longer only the server knows the end
_LONGEST = 8 * 86_400.0  # seconds: Azure lets no such signature live for more than a week
_SKEW = 60.0  # seconds that two clocks may differ without a word
_NONE_FOR = 300.0  # seconds that "there is no token" is believed
_MOST = 1 << 16  # bytes of an answer
_QUERY = re.compile(r"[!-\"$-~]+")  # what a query may hold
_UNITS = ((86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))
_ADVICE = {
    "throttled": "the service is busy; try again later",
    "no_connection": "try again later; `sarcube doctor` looks for what is wrong",
    "damaged": "expected was JSON with msft:expiry and token: is the address right, or is there a login page between?",
    "not_found": "is the address right?",
}


@dataclass(frozen=True)
class Token:
    """A signature; moments are those of `time.monotonic`, infinite where only the server knows the end."""

    value: str = field(repr=False)
    due: float  # for renewal
    end: float


@dataclass(frozen=True)
class NoToken:
    """That the service has no token for a container, in words: its files are public, or someone else's."""

    words: str
    end: float


def ask(name: str, *, settings: RangeSettings) -> Token | NoToken | Failure:
    """Ask for the token of "account/container"; a failure is returned, and says whether it may pass."""
    try:
        address, key = service()
        headers = {"Cache-Control": "no-cache", **({"Ocp-Apim-Subscription-Key": key} if key else {})}
        asked = time.time()
        with opened(f"{address}/{name}", headers=headers, settings=settings) as response:
            return _take(response, name, asked, settings)
    except Failure as failure:
        return failure


def complaint(name: str, failure: Failure) -> str:
    """Say that it was the service that failed, which one, and what to do."""
    advice = f"; {_ADVICE[failure.kind]}" if failure.kind in _ADVICE else ""
    return f"no signature for {name}: the signature service {_address()} (PC_SDK_SAS_URL) fails: {failure}{advice}"


def service() -> tuple[str, str]:
    """Return where tokens are asked for, and the subscription key, "" for none.

    Raises
    ------
    Failure
        If the settings cannot be read.
    """
    from planetary_computer.settings import Settings  # half a second, which only those wait who need a signature

    try:
        settings = Settings.get()
    except (OSError, ValueError) as error:
        words = f"its settings, PC_SDK_… and ~/.planetarycomputer/settings.env, cannot be read ({type(error).__name__})"
        raise Failure(words, "damaged") from None
    return str(settings.sas_url).rstrip("/"), (settings.subscription_key or "").strip()


def _address() -> str:
    try:
        return show_url(service()[0])
    except Failure:
        return "of unknown address"


def _take(response: requests.Response, name: str, asked: float, settings: RangeSettings) -> Token | NoToken:
    status, headers = response.status_code, response.headers
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        target = show_url(joined(response.url, headers.get("Location", "")))
        raise Failure(f"it answers {status} and leads to {target}, which is not followed", "damaged")
    if status != HTTPStatus.OK:
        failure = refusal(status, headers.get("Retry-After", ""))
        if failure.again or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise failure
        words = f"the signature service {_address()} (PC_SDK_SAS_URL) has none for {name} ({failure}), none was added"
        return NoToken(words, time.monotonic() + _NONE_FOR)
    value, expiry = _read(body_of(response, _MOST, settings=settings))
    left = _seconds_left(name, expiry, headers.get("Date", ""), asked, received=time.time())
    if left <= _SHORTEST:
        return Token(value, math.inf, math.inf)
    end = time.monotonic() + left
    return Token(value, end - min(_MARGIN, left / 4), end)


def _read(body: bytes) -> tuple[str, float]:
    """Return the token in an answer, and the moment of its end in seconds since 1970."""
    from planetary_computer.sas import SASToken

    try:
        found = SASToken(**json.loads(body))
        value, expiry = found.token.lstrip("?"), found.expiry
        end = (expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, RecursionError):  # pydantic's as well; their words may hold the token
        raise Failure("its answer is no token", "damaged", again=True) from None
    if not _QUERY.fullmatch(value):
        raise Failure("its answer holds a token that cannot stand in an address", "damaged", again=True)
    return value, end


def _seconds_left(name: str, expiry: float, date: str, asked: float, *, received: float) -> float:
    """Return how long a token will live; by the service's clock where ours differs, then up to a second too short."""
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        theirs = math.nan
    left = expiry - received
    if theirs > received + 1 or theirs < asked - 2:  # cut to whole seconds, in any order with ours; NaN compares false
        left = expiry - theirs - 1 - (received - asked)
        ahead = received - theirs
        if abs(ahead) > _SKEW:
            which = "ahead of" if ahead > 0 else "behind"
            _warn(f"this machine's clock is {_span(ahead)} {which} that of the signature service")
    if left < -_SKEW:
        _warn(
            f"a new signature for {name} ended {_span(left)} ago: this machine's clock is wrong by about that or more"
        )
    elif left > _LONGEST:
        _warn(f"a new signature for {name} lasts {_span(left)}: this machine's clock is wrong by about that")
    return left


def _span(seconds: float) -> str:
    size, unit = next((entry for entry in _UNITS if abs(seconds) >= 2 * entry[0]), _UNITS[-1])
    return f"{abs(seconds) / size:.0f} {unit}"


_lock = threading.Lock()
_warned: list[str] = []  # none or one: a clock is wrong once


def _warn(words: str) -> None:
    with _lock:
        if _warned:
            return
        _warned.append(words)
    logger.warning("%s; set it right. Until then a signature is renewed at the latest when it is refused", words)


def _forget_warning() -> None:
    """Start with a free lock in a forked process: another thread may have held it."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_warning)
