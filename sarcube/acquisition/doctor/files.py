"""A file of the archive: its signature, whether it comes, how fast."""

import json
import time
from datetime import UTC, datetime
from http import HTTPStatus

from sarcube.acquisition.doctor import patience
from sarcube.acquisition.doctor.asking import Answer, ask, refused
from sarcube.acquisition.doctor.findings import Finding, Trouble, in_time, in_units, printable
from sarcube.acquisition.files.connections import body_of, opened, show_url
from sarcube.acquisition.files.patience import Failure, RangeSettings
from sarcube.acquisition.files.ranges import fetch
from sarcube.acquisition.signing import sign
from sarcube.acquisition.token_service import service
from sarcube.errors import ReadError

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF in both orders of bytes
_SAMPLE = 1 << 18  # bytes whose reading is measured
_SLOW = 100_000.0  # bytes per second: a gigabyte takes hours
_REDIRECTED = {301, 302, 303, 307, 308}
_OURS = "of the doctor's test"


def signature_address(container: str) -> str:
    """Return where the signature of an "account/container" is asked for.

    Raises
    ------
    Trouble
        If the settings that say so cannot be read.
    """
    try:
        address, _ = service()
    except Failure as failure:
        raise Trouble(f"where signatures are asked for is not known: {failure}", "correct that file") from None
    return f"{address}/{container}"


def ask_for_signature(container: str, answers: list[Answer]) -> Finding:
    """Ask for a container's signature, and see how long it lives by the clocks of both sides; it is not kept."""
    address, (_, key) = signature_address(container), service()
    # No redirects: a key is for this host alone.
    answer = ask(address, headers={"Ocp-Apim-Subscription-Key": key} if key else None, redirects=False)
    answers.append(answer)
    if answer.status == HTTPStatus.NOT_FOUND:
        return Finding("signature", "well", f"{container} has none to give: its files are public or someone's own")
    if answer.status != HTTPStatus.OK:
        raise refused(answer, f"the service that signs for {container}")
    end = _end_of(answer)
    here, there = end - answer.came, end - answer.clock if answer.clock is not None else None
    if here <= 0:
        words = f"a signature for {container} comes, and has expired {in_time(-here)} ago by this machine's clock"
        return Finding("signature", "warning", words, "set this machine's clock")
    words = f"one for {container} comes, good for {in_time(here)}"
    if there is not None and abs(there - here) > 60:
        words += f" by this machine's clock and for {in_time(max(there, 0))} by the server's"
        return Finding("signature", "warning", words, "set this machine's clock")
    return Finding("signature", "well", words)


def open_file(href: str, answers: list[Answer]) -> Finding:
    """Read the first bytes of a file, signed as every read is."""
    settings = RangeSettings(
        attempts=1, connect_timeout=patience.CONNECT, read_timeout=patience.ANSWER, answer_timeout=15
    )
    shown = show_url(href)
    try:
        start = time.monotonic()
        with opened(sign(href, settings=settings), headers={"Range": "bytes=0-15"}, settings=settings) as response:
            seconds, came = time.monotonic() - start, time.time()
            body = body_of(response, 16, settings=settings)
            answer = Answer(shown, response.status_code, dict(response.headers), body, came, seconds)
    except ReadError as error:
        raise Trouble(str(error), "see the line on signatures") from None
    except Failure as failure:
        raise Trouble(f"{shown}: {failure}", "try again; see the lines on proxy and connection") from None
    answers.append(answer)
    if answer.status in _REDIRECTED:
        return Finding("files", "well", f"{shown} leads on to another address")
    if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise _refused_file(answer)
    if not body.startswith(_MAGIC):
        raise Trouble(
            f"{shown} is no TIFF, it begins with {printable(body[:12])}",
            "a login page of the network may be in between: open any page in a browser; else report it to who runs the "
            "catalogue",
        )
    if answer.status == HTTPStatus.OK:
        length = answer.headers.get("Content-Length", "")
        words = f"{shown}: the server does not know byte ranges and sends whole files"
        if length.isdecimal() and int(length) <= settings.whole_file:
            return Finding("files", "warning", words, "files as small as this one are read all the same")
        raise Trouble(words, "download the files and use sc.items_from_folder, or ask for a server with ranges")
    size = answer.headers.get("Content-Range", "").rpartition("/")[2]
    many = f", of {in_units(int(size))}" if size.isdecimal() and len(size) < 19 else ""
    return Finding("files", "well", f"{shown}{many}, gives parts of itself")


def measure_speed(href: str) -> Finding:
    """Read 256 KiB as every read is done, and say what a gigabyte would take."""
    start = time.monotonic()
    try:
        body, _ = fetch(href, 0, _SAMPLE, owner=_OURS)
    except ReadError as error:
        raise Trouble(str(error), "try again later") from None
    seconds = max(time.monotonic() - start, 1e-6)
    rate = len(body) / seconds
    words = (
        f"{in_units(len(body))} came in {in_time(seconds)}, {in_units(rate)}/s on one connection; at this rate "
        f"staging 1 GB takes {in_time(1e9 / rate)}, several connections may take less"
    )
    if rate >= _SLOW:
        return Finding("speed", "well", words)
    advice = "stage a small area and few dates first; an interrupted `sarcube stage` goes on where it stopped"
    return Finding("speed", "warning", f"slow: {words}", advice)


def _end_of(answer: Answer) -> float:
    """Return when a signature ends, seconds since 1970."""
    try:
        document = json.loads(answer.body)
        moment = datetime.fromisoformat(document["msft:expiry"])
        if not document["token"]:
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Trouble(
            f"what signs at {answer.url} answers no signature, expected JSON with msft:expiry and token",
            "a login page of the network may be in between: open any page in a browser; else check PC_SDK_SAS_URL",
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _refused_file(answer: Answer) -> Trouble:
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return Trouble(
            f"the storage refuses {answer.url} ({answer.status}): its signature is missing, expired or not for it",
            "look at the lines on clock, signature and credentials; files of your own need a signature in their href",
        )
    if answer.status == HTTPStatus.NOT_FOUND:
        return Trouble(
            f"the catalogue lists {answer.url}, which is not there (404)",
            "search again: scenes are reprocessed and get new addresses; with on_error='skip' the others are staged",
        )
    return refused(answer, "the storage")
