"""The questions in their order, and which need not be asked because an earlier one explains them."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from sarcube.acquisition.catalogs.find import PLANETARY_COMPUTER
from sarcube.acquisition.doctor import folders, installation, patience
from sarcube.acquisition.doctor.archive import find_collection, newest_item, open_catalogue
from sarcube.acquisition.doctor.asking import NO_HOST, Answer, host_of
from sarcube.acquisition.doctor.clock import compare_clock
from sarcube.acquisition.doctor.files import (
    ask_for_signature,
    measure_speed,
    open_file,
    signature_address,
)
from sarcube.acquisition.doctor.findings import Finding, Trouble, check, check_for
from sarcube.acquisition.doctor.line import Way, certificates, proxies, proxy_for, reach
from sarcube.acquisition.doctor.login import credentials
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.signing import container_of
from sarcube.errors import InputError

# Where the Planetary Computer keeps sentinel-1-rtc, for when its catalogue cannot be asked.
_STORAGE = "https://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc/GRD"


@dataclass
class _Visit:
    """What is known of the archive so far: answers, and how far the way to each host leads."""

    no_proxy_answers: bool
    answers: list[Answer] = field(default_factory=list)
    ways: dict[str, Way | None] = field(default_factory=dict)


def diagnose(*, catalog: str | None = None) -> list[Finding]:
    """Look for what keeps scenes from coming; see `examine`."""
    return list(examine(catalog=catalog))


def examine(*, catalog: str | None = None) -> Iterator[Finding]:
    """Look for what keeps scenes from coming, one question after the other.

    Parameters
    ----------
    catalog : str, optional
        URL of a STAC API. Default: the Planetary Computer's.

    Yields
    ------
    Finding
        What this machine, its folders, the way to the archive and the archive are like. Nothing is written but
        temporary files; of the archive's files 256 KiB are read.

    Raises
    ------
    InputError
        If `catalog` is no http(s) address.
    """
    url = PLANETARY_COMPUTER if catalog is None else catalog
    if not is_url(url) or host_of(url) == NO_HOST:
        raise InputError(
            f'the doctor asks a STAC API: expected its address, http(s)://host/path, not "{show_url(url)}"; a '
            "folder needs no network, `sarcube search EVENT.toml --catalog FOLDER` says what is in it"
        )
    return _examine(url)


def _examine(url: str) -> Iterator[Finding]:
    yield check("versions", installation.versions)
    yield check("projections", installation.projections)
    yield check("geotiff", installation.geotiff)
    yield check("settings", installation.settings)
    yield check("threads", installation.threads)
    yield check("compiled code", folders.compiled_code)
    yield check("cache", folders.cache_folder)
    yield check("working folder", folders.working_folder)
    yield check("temporary folder", folders.temporary_folder)
    storage = _STORAGE if host_of(url) == host_of(PLANETARY_COMPUTER) else None
    known = [url, *([] if storage is None else [storage, *_signing(storage)])]
    yield (proxy := check("proxy", lambda: proxies(known)))
    yield check("certificates", lambda: certificates(known))
    yield check("credentials", lambda: credentials([url]))
    yield from _ask_archive(url, storage, _Visit(no_proxy_answers=proxy.state == "failed"))


def _signing(file: str) -> list[str]:
    """Return where the signature of a file is asked for; nothing where that is not known, as later lines tell."""
    try:
        return [signature_address("/".join(container_of(file) or ()))]
    except Trouble:
        return []


def _ask_archive(url: str, storage: str | None, visit: _Visit) -> Iterator[Finding]:
    """Ask catalogue, collection, item, signature and file, as far as each is reached; then compare the clocks."""
    yield from _connect(url, visit)
    href = yield from _ask_catalogue(url, visit)
    file = href or storage
    if file is None:
        yield from _skip(("signature",), "no file of the archive is known")
        signed = False
    else:
        signed = yield from _ask_signature(file, visit)
    if href is None:
        yield from _skip(("files", "speed"), "no file of the archive is known")
    elif not signed:
        yield from _skip(("files", "speed"), "there is no signature")
    else:
        yield from _read_file(href, visit)
    yield check("clock", lambda: compare_clock(visit.answers))


def _connect(url: str, visit: _Visit) -> Iterator[Finding]:
    """Try the way to a host, once."""
    host = host_of(url)
    if host in visit.ways:
        return
    if Way.NOWHERE in visit.ways.values():
        visit.ways[host] = None
        yield Finding("connection", "skipped", f"to {host}: there is no network")
        return
    if visit.no_proxy_answers and proxy_for(url) is not None:
        visit.ways[host] = None
        yield Finding("connection", "skipped", f"to {host}: the proxy on its way cannot be used")
        return
    finding, visit.ways[host] = check_for("connection", lambda: reach(url))
    yield finding


def _ask_catalogue(url: str, visit: _Visit) -> Generator[Finding, None, str | None]:
    """Ask a catalogue; return the address of a file that it lists."""
    if visit.ways[host_of(url)] is not Way.REACHED:
        yield from _skip(("catalogue", "collection", "items"), f"no connection to {host_of(url)}")
        return None
    finding, catalogue = check_for("catalogue", lambda: open_catalogue(url, visit.answers))
    yield finding
    if catalogue is None:
        yield from _skip(("collection", "items"), "the catalogue does not answer as it should")
        return None
    yield (there := check("collection", lambda: find_collection(catalogue)))
    if there.state == "failed":
        yield from _skip(("items",), "the collection does not answer")
        return None
    finding, href = check_for("items", lambda: newest_item(catalogue))
    yield finding
    return href


def _ask_signature(file: str, visit: _Visit) -> Generator[Finding, None, bool]:
    """Ask for the signature that a file needs; return whether it can be read with what came, or needs none."""
    place = container_of(file)
    if place is None:
        yield Finding("signature", "skipped", f"files at {host_of(file)} need none from the Planetary Computer")
        return True
    container = "/".join(place)
    try:
        service = signature_address(container)
    except Trouble as trouble:
        yield Finding("signature", "failed", trouble.words, trouble.advice)
        return False
    yield from _connect(service, visit)
    if visit.ways[host_of(service)] is not Way.REACHED:
        yield from _skip(("signature",), f"no connection to {host_of(service)}")
        return False
    yield (finding := check("signature", lambda: ask_for_signature(container, visit.answers)))
    return finding.state != "failed"


def _read_file(href: str, visit: _Visit) -> Iterator[Finding]:
    """Read the beginning of a file, then more of it."""
    yield from _connect(href, visit)
    if visit.ways[host_of(href)] is not Way.REACHED:
        yield from _skip(("files", "speed"), f"no connection to {host_of(href)}")
        return
    yield (finding := check("files", lambda: open_file(href, visit.answers)))
    if finding.state == "failed":
        yield from _skip(("speed",), "the file cannot be read")
        return
    yield check_for("speed", lambda: (measure_speed(href), None), seconds=patience.READ)[0]


def _skip(names: Sequence[str], why: str) -> Iterator[Finding]:
    for name in names:
        yield Finding(name, "skipped", why)
