"""Byte ranges of a file on a web server: all the bytes that were asked for, or an error.

Everything the answer says of itself is checked: status, range, length, encoding, and that the file is still the one
whose first bytes were read. What may pass is tried again; what stays wrong is a `ReadError` that says of what kind.
An address is signed within each attempt, so that a long build outlives its signatures, and shown without one.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from sarcube.acquisition.files.answers import Version as Version
from sarcube.acquisition.files.answers import take_range
from sarcube.acquisition.files.connections import joined, opened, slots
from sarcube.acquisition.files.connections import show_url as show_url
from sarcube.acquisition.files.patience import Failure, persist, refusal
from sarcube.acquisition.files.patience import RangeSettings as RangeSettings
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.signing import renew, sign, signed_from_memory, why_unsigned, without_carried
from sarcube.errors import ReadError

SETTINGS = RangeSettings()

_PARALLEL = 4  # requests for one call of `fetch_all`, so that two blocks share the slots of the process
_REDIRECTS = 5
_SIGNINGS = 3  # in the queue for a slot, before a signature that has just ended is sent all the same
_RENEWALS = 5  # in one attempt, where signatures expire on their way
_FRESH = 1.0  # seconds since it was signed: what is refused sooner had no time to expire on its way
_REDIRECTED = {301, 302, 303, 307, 308}
_REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
_ADVICE = {
    "not_found": "there is no such file; search again, the item may be out of date",
    "forbidden": "the server wants a login or a signature, or refuses this one; `sarcube doctor` says more",
    "throttled": "the server is busy; try again later",
    "no_connection": "try again later",
}


def fetch(url: str, start: int, stop: int, *, owner: str, version: Version | None = None) -> tuple[bytes, Version]:
    """Read bytes [start, stop) of a URL.

    Parameters
    ----------
    url : str
        http or https; redirects are followed to such addresses only. It is signed here where its host wants it.
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
    failure = persist(
        lambda: _attempt(url, start, stop, version), settings=SETTINGS, what=f"{show_url(url)} of {owner}"
    )
    if not isinstance(failure, Failure):
        return failure
    raise ReadError(f"cannot read {show_url(url)} of {owner}: {failure}{_advice(url, failure)}", kind=failure.kind)


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


class _RefusedError(Failure):
    """A refusal, the address as it was sent, and how long before that it was signed."""

    def __init__(self, refused: Failure, sent: str, seconds: float) -> None:
        super().__init__(refused.words, refused.kind, again=refused.again, wait=refused.wait, status=refused.status)
        self.sent, self.seconds = sent, seconds


class _UnsignedError(Failure):
    """There is no signature to be had: the file was not asked for, and what to do was said."""


def _attempt(url: str, start: int, stop: int, version: Version | None) -> tuple[bytes, Version] | Failure:
    """Read a range; if it is refused, sign anew and read it again, once if that is refused before it can expire."""
    renewals = 0
    while True:
        found = _read_once(url, start, stop, version)
        if not isinstance(found, _RefusedError):
            return found
        if renewals == _RENEWALS or (renewals and found.seconds < _FRESH) or not renew(found.sent):
            found.words += ", also with a new signature" if renewals else ""
            return found
        renewals += 1


def _read_once(url: str, start: int, stop: int, version: Version | None) -> tuple[bytes, Version] | Failure:
    # Returned, not raised: what a handler caught may hold the whole URL, and a signature with it.
    try:
        return _follow(url, start, stop, version)
    except Failure as failure:
        return failure
    except ReadError as error:
        return _UnsignedError(str(error), error.kind)


def _follow(url: str, start: int, stop: int, version: Version | None) -> tuple[bytes, Version]:
    headers = {"Range": f"bytes={start}-{stop - 1}"}
    for _ in range(_REDIRECTS + 1):
        with _signed(url) as (sent, since), opened(sent, headers=headers, settings=SETTINGS) as response:
            status = response.status_code
            if status in _REFUSED:
                raise _RefusedError(refusal(status, ""), sent, time.monotonic() - since)
            if status not in _REDIRECTED:
                return take_range(response, start, stop, version, settings=SETTINGS)
            target = without_carried(joined(url, response.headers.get("Location", "")), sent=sent)
        if not is_url(target):
            raise Failure(
                f"it redirects to {urlsplit(target).scheme}:, expected http or https; that is not opened", "forbidden"
            )
        url = target
    raise Failure(f"it redirects more than {_REDIRECTS} times", "damaged")


@contextmanager
def _signed(url: str) -> Iterator[tuple[str, float]]:
    """Hold one of the slots for reads, and give the address with its signature, and the moment it was signed."""
    for number in range(_SIGNINGS):
        # This may take a while, and so not in a slot: files of other containers need none of it.
        signed, since = sign(url, settings=SETTINGS), time.monotonic()
        with slots():
            still = signed_from_memory(url)
            if still is not None or number == _SIGNINGS - 1:
                yield still or signed, since
                return


def _advice(url: str, failure: Failure) -> str:
    """Return what else is known of a failure, and what to do."""
    hopeless = failure.kind == "no_connection" and not failure.again  # an untrusted certificate stays one
    if hopeless or isinstance(failure, _UnsignedError):
        return ""
    said = [why_unsigned(url) if 400 <= failure.status < 500 else "", _ADVICE.get(failure.kind, "")]
    return "".join(f"; {words}" for words in said if words)
