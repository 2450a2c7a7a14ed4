"""What is said of a staged file, and whether it is so: size, SHA-256, and which bytes of which source it holds."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from hashlib import new, sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sarcube.acquisition.files.ranges import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.signing import unsigned
from sarcube.acquisition.staging.clip import Clip
from sarcube.acquisition.staging.pieces import PARTS, Pieces, make_folder, write_whole

logger = logging.getLogger(__name__)

SOURCE = "sarcube:source"
CLAIM = ("file:size", "file:checksum", SOURCE)
DONE = "done"  # folder of the claims of files that no catalogue lists yet
# Beginnings of multihashes; the Planetary Computer writes a bare MD5.
_CHECKSUMS = {
    ("1220", 64): "sha256",
    ("1340", 128): "sha512",
    ("1114", 40): "sha1",
    ("d50110", 32): "md5",
    ("", 32): "md5",
}
_READ = 1 << 22

Claim = Mapping[str, Any]


def claim_of(clip: Clip) -> dict[str, Any]:
    """Return what the catalogue says of a file that was just written."""
    (top, bottom), (left, right) = clip.window
    window = {"window": [top, left, bottom - top, right - left]}  # row, column, rows, columns of the source
    return {**digest(clip.target), SOURCE: {**_source(clip), **window}}


def digest(path: Path) -> dict[str, Any]:
    """Return size and checksum of a file as STAC's file extension has them: a multihash of SHA-256."""
    found = sha256()
    with path.open("rb") as file:
        while part := file.read(_READ):
            found.update(part)
    return {"file:size": path.stat().st_size, "file:checksum": f"1220{found.hexdigest()}"}


def is_whole(path: Path, claim: Claim) -> bool:
    """Return whether a file is there, and is what is said of it."""
    try:
        if path.stat().st_size == claim.get("file:size") and digest(path).items() <= claim.items():
            return True
    except FileNotFoundError:
        logger.info("%s is missing; it is staged again", path)
        return False
    logger.warning("%s is not what was staged there; it is staged again", path)
    return False


def is_of(claim: Claim, href: str, *, size: int | None) -> bool:
    """Return whether a staged file comes from this source, as far as can be said without a network.

    `size` is what the item says of the source. A local source that is not there now is believed.
    """
    said = claim.get(SOURCE)
    if not isinstance(said, Mapping) or said.get("href") != _shown(href) or size not in (None, said.get("size")):
        return False
    try:
        return is_url(href) or _local(Path(href)).items() <= said.items()
    except FileNotFoundError:
        return True


def write_claim(folder: Path, target: Path, bbox: Iterable[float], claim: Claim) -> None:
    """Keep what is said of a file until the catalogue lists it."""
    make_folder(folder / PARTS / DONE)
    path = target.relative_to(folder).as_posix()
    document = {"path": path, "area": list(bbox), "claim": claim}
    write_whole(folder / PARTS / DONE / f"{sha256(path.encode()).hexdigest()[:32]}.json", json.dumps(document).encode())


def read_claims(folder: Path) -> Iterator[tuple[Path, list[float], Claim]]:
    """Return the files that are finished but in no catalogue, for which area, and what is said of them."""
    for path in sorted((folder / PARTS / DONE).glob("*.json")):
        document = json.loads(path.read_bytes())  # written whole
        yield folder / document["path"], document["area"], document["claim"]


def fits_checksum(clip: Clip, checksum: str, pieces: Pieces) -> bool | None:
    """Return whether a source is what its item's checksum says; None if that cannot be known.

    The checksum is that of the whole file: of a large one on a server only a part is ever fetched.
    """
    kinds = ((start, name) for (start, length), name in _CHECKSUMS.items() if len(checksum) == len(start) + length)
    start, name = next(((start, name) for start, name in kinds if checksum.startswith(start)), ("", ""))
    if not name:
        return None
    found = new(name, usedforsecurity=False)
    content = _local_bytes(Path(clip.href)) if clip.version is None else pieces.read_whole(clip.href, clip.version)
    if content is None:
        return None
    for part in content:
        found.update(part)
    return found.hexdigest() == checksum.removeprefix(start).lower()


def _source(clip: Clip) -> dict[str, Any]:
    if clip.version is None:
        return {"href": _shown(clip.href), **_local(Path(clip.href))}
    return {"href": _shown(clip.href), "size": clip.version.size, "etag": clip.version.tag}


def _local(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"size": status.st_size, "modified": str(status.st_mtime_ns)}


def _shown(href: str) -> str:
    """Return an address without anything that may be a secret; of a local file just its name."""
    if not is_url(href):
        return Path(href).name
    return urlsplit(show_url(unsigned(href)))._replace(query="").geturl()


def _local_bytes(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(_READ):
            yield part
