"""What a web server's answer says of itself, held against what was asked: status, range, length, encoding, content."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

import requests

from sarcube.acquisition.files.connections import body_of
from sarcube.acquisition.files.patience import Failure, RangeSettings, refusal

_NUMBER = re.compile(r"[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")


@dataclass(frozen=True)
class Version:
    """Which content of a URL was read: its size in bytes, and its ETag (or else Last-Modified; "" for neither)."""

    size: int
    tag: str


def take_range(
    response: requests.Response, start: int, stop: int, version: Version | None, *, settings: RangeSettings
) -> tuple[bytes, Version]:
    """Check an answer, then take its body: bytes [start, stop), and the content that they belong to.

    Raises
    ------
    Failure
        If the answer is a refusal, or is not what was asked; "stale" if the content is no longer of this version.
    """
    status, headers = response.status_code, response.headers
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        said = headers.get("Content-Range", "").rpartition("/")[2]
        if version is not None and _NUMBER.fullmatch(said) and int(said) != version.size:
            raise _replaced(f"it had {version.size} bytes and has {said}")
        raise Failure(f"the server has no byte {start} of it", "damaged", again=version is not None)
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise refusal(status, headers.get("Retry-After", ""))
    encoding = headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise Failure(f"the answer is encoded ({encoding[:20]!r}), expected plain bytes", "damaged", again=True)
    first, last, size = _sent(status, headers, start, stop, settings)
    # Body first: a line that breaks off within the headers leaves some of them out, and that is no other file.
    body = body_of(response, last - first, settings=settings)
    if len(body) < last - first:
        raise Failure(f"the connection ended after {len(body)} of {last - first} bytes", "damaged", again=True)
    found = Version(size, headers.get("ETag") or headers.get("Last-Modified") or "")
    if version is not None and found != version:
        what = "size" if found.size != version.size else "ETag or date"
        raise _replaced(f"its {what} is another")
    if start >= size:
        raise Failure(f"the server has no byte {start} of it", "damaged")
    expected = (0, size) if status == HTTPStatus.OK else (start, min(stop, size))
    if (first, last) != expected:
        raise Failure(
            f"the server sent bytes {first} to {last - 1}, asked for were {expected[0]} to {expected[1] - 1}",
            "damaged",
            again=True,
        )
    return body[start - first : stop - first], found


def _sent(
    status: int, headers: Mapping[str, str], start: int, stop: int, settings: RangeSettings
) -> tuple[int, int, int]:
    """Return what an answer says it holds: first byte, byte after the last, size of the file."""
    length = headers.get("Content-Length", "")
    if status == HTTPStatus.OK:
        size = int(length) if _NUMBER.fullmatch(length) else -1
        if size < 0 or (size > settings.whole_file and (start, stop) != (0, size)):
            whole = f"all {size / 1e6:.0f} MB" if size >= 0 else "the whole file"
            raise Failure(
                f"its server does not know ranges and would send {whole}; download it and load the local copy",
                "damaged",
            )
        return 0, size, size
    match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None:
        raise Failure("the server does not say which bytes it sends (no Content-Range)", "damaged", again=True)
    first, last, size = (int(text) for text in match.groups())
    sent = int(length) if _NUMBER.fullmatch(length) else last + 1 - first
    if not sent == last + 1 - first <= stop - start:
        raise Failure(
            f"the server sends {sent} bytes and says that they are bytes {first} to {last}, asked for were {start} to "
            f"{stop - 1}",
            "damaged",
            again=True,
        )
    return first, last + 1, size


def _replaced(how: str) -> Failure:
    return Failure(f"the file was replaced while it was being read: {how}; load the items again", "stale")
