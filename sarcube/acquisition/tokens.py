"""The signatures of this process: one for each container, asked for once for all threads, renewed before it ends."""

import logging
import math
import os
import threading
import time
from dataclasses import dataclass, field, replace

from sarcube.acquisition import token_service
from sarcube.acquisition.files.patience import Failure, RangeSettings, persist
from sarcube.acquisition.token_service import NoToken, Token
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

_BETWEEN = 1.0  # seconds between two tokens for a container, however soon the server refuses the first
_MOST_REFUSED = 1000


@dataclass
class _Container:
    """What is known of a container; it changes under the module's lock, and one thread asks at a time."""

    name: str
    asking: threading.Lock = field(default_factory=threading.Lock)
    held: Token | NoToken | None = None
    came: float = -math.inf  # when the last token did
    rounds: int = 0  # how often was asked, however it ended
    failed: tuple[str, str] | None = None  # how the last round did: message and kind
    refused: set[int] = field(default_factory=set)  # hashes of signatures that came with an address


_containers: dict[tuple[str, str], _Container] = {}
_lock = threading.Lock()


def token(account: str, container: str, *, settings: RangeSettings) -> Token | NoToken:
    """Return the token of a container, asked for if none is held that is still good.

    Raises
    ------
    ReadError
        If the service does not say, after the retries: "no_connection", "throttled", "damaged", "not_found".
    """
    place = _container(account, container)
    while True:
        seen = place.rounds  # first: what is held after it is of this round or later
        held = _good(place)
        if isinstance(held, Token) and time.monotonic() >= held.due:
            return _renewed_early(place, held, settings)
        if held is not None:
            return held
        with place.asking:
            if place.rounds == seen and _good(place) is None:
                _ask(place, settings)
            if place.rounds != seen and place.failed is not None:
                message, kind = place.failed
                raise ReadError(message, kind=kind)


def remembered(account: str, container: str) -> Token | NoToken | None:
    """Return what is known without a request: the token, that there is none, or None."""
    return _good(_container(account, container))


def drop(account: str, container: str, *, href: str, carried: str) -> bool:
    """Forget what signed an address that was refused; False if the service has no other.

    `carried` is the signature in the address, "" for none: one from here, or one that came with it.
    """
    place = _container(account, container)
    with _lock:
        if isinstance(place.held, Token) and (not carried or place.held.value in href):
            place.held = None
        elif carried:
            if len(place.refused) >= _MOST_REFUSED:
                place.refused.clear()
            place.refused.add(hash(carried))
        return not isinstance(place.held, NoToken)


def was_refused(account: str, container: str, carried: str) -> bool:
    """Return whether a signature that came with an address was refused before."""
    return hash(carried) in _container(account, container).refused


def _container(account: str, container: str) -> _Container:
    with _lock:
        return _containers.setdefault((account, container), _Container(f"{account}/{container}"))


def _good(place: _Container) -> Token | NoToken | None:
    held = place.held
    return held if held is not None and time.monotonic() < held.end else None


def _ask(place: _Container, settings: RangeSettings) -> None:
    time.sleep(max(0.0, place.came + _BETWEEN - time.monotonic()))
    found: Token | NoToken | Failure = persist(
        lambda: token_service.ask(place.name, settings=settings),
        settings=settings,
        what=f"signature for {place.name}",
    )
    with _lock:
        if isinstance(found, Failure):
            place.failed = token_service.complaint(place.name, found), found.kind
        else:
            place.held, place.came, place.failed = found, time.monotonic(), None
        place.rounds += 1


def _renewed_early(place: _Container, held: Token, settings: RangeSettings) -> Token:
    """Renew a token that is due while it is still good: one thread tries, once, the others go on with what there is."""
    if not place.asking.acquire(blocking=False):
        return held
    try:
        if place.held is not held:
            return held
        found = token_service.ask(place.name, settings=settings)
        with _lock:
            if isinstance(found, Token):
                place.held, place.came = found, time.monotonic()
                return found
            if place.held is held:
                wait = found.wait if isinstance(found, Failure) else 0.0
                place.held = replace(held, due=time.monotonic() + max(wait, (held.end - held.due) / 4))
        logger.info("the signature for %s is not renewed yet, the old one is still good: %s", place.name, found)
        return held
    finally:
        place.asking.release()


def _forget_tokens() -> None:
    """Start anew in a forked process: a lock may be held for ever, by a thread that is not in it."""
    global _lock
    _lock = threading.Lock()
    _containers.clear()


os.register_at_fork(after_in_child=_forget_tokens)
