"""Bytes fetched once: what came stays on disk until the file that it is for is finished, whatever happens in between.

A piece is a file named by its range and its checksum, `1048576-3145728-89abcdef`, in a folder for its URL (without a
signature: these change from day to day). It is written under another name, flushed to the disk and renamed, so that a
name like this stands for a whole piece; its checksum is verified all the same each time it is read. Which content of
the URL the pieces are of (size and ETag) is in `version.json`, which is there before the first of them.
"""

import json
import logging
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import google_crc32c

from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.files.ranges import Version, fetch
from sarcube.acquisition.signing import unsigned
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

PARTS = ".parts"
_VERSION = "version.json"
_NAME = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9a-f]{8})")
_TEMPORARY = ".new-"

Span = tuple[int, int]


@dataclass
class _Held:
    """What is on disk of a URL: of which content, and the checksum of each piece."""

    version: Version | None = None
    pieces: dict[Span, int] = field(default_factory=dict)


class Pieces:
    """The pieces in a folder that is being staged; one process at a time, any number of threads.

    Parameters
    ----------
    folder : Path
        The staged folder, which must exist; the pieces are below its `.parts`.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / PARTS
        self._held: dict[str, _Held] = {}
        self._lock = threading.RLock()

    def fetch(
        self, url: str, start: int, stop: int, *, owner: str, version: Version | None = None
    ) -> tuple[bytes, Version]:
        """Return bytes [start, stop) of a URL, from the disk if they are there; else as `ranges.fetch`, and kept.

        Without a version the one on disk is as good as any. Where the server has another one, the pieces of the old
        one are dropped.

        Raises
        ------
        ReadError
            As `ranges.fetch`.
        OSError
            If a piece cannot be written.
        """
        known = self._version(url)
        if known is not None and version in (None, known):
            body = self._read(url, start, min(stop, known.size))
            if body is not None:
                return body, known
        try:
            body, found = fetch(url, start, stop, owner=owner, version=version)
        except ReadError as error:
            if error.kind == "stale":
                self.drop(url)
            raise
        if known is not None and found != known:
            logger.info("%s of %s was replaced: what had been fetched of it is fetched anew", show_url(url), owner)
            self.drop(url)
        self._keep(url, start, body, found)
        return body, found

    def missing(self, url: str, spans: Iterable[Span], version: Version) -> list[Span]:
        """Return those of the ranges [start, stop) that are not on disk."""
        with self._lock:
            held = self._load(url)
            if held.version != version:
                return list(spans)
            return [span for span in spans if _around(held.pieces, *span) is None]

    def read_whole(self, url: str, version: Version) -> Iterator[bytes] | None:
        """Return all bytes of a URL, one piece after the other, if they are on disk; else None."""
        with self._lock:
            held = self._load(url)
            spans = sorted(held.pieces)
        cuts, reached = [], 0
        for start, stop in spans:
            if start <= reached < stop:
                cuts.append((reached, stop))
                reached = stop
        if held.version != version or reached != version.size:
            return None
        return (self.fetch(url, *cut, owner="a staged file", version=version)[0] for cut in cuts)

    def forget(self, url: str, spans: Iterable[Span]) -> None:
        """Drop the pieces that hold these ranges: they came whole, but were found to be broken where they come from."""
        with self._lock:
            held = self._load(url)
            for span in spans:
                while (piece := _around(held.pieces, *span)) is not None:
                    self._lose(url, piece)

    def drop(self, url: str) -> None:
        """Drop all pieces of a URL."""
        with self._lock:
            self._held.pop(unsigned(url), None)
            shutil.rmtree(self._folder(url), ignore_errors=True)

    def _version(self, url: str) -> Version | None:
        with self._lock:
            return self._load(url).version

    def _load(self, url: str) -> _Held:
        """Return what is on disk of a URL; read once."""
        key = unsigned(url)
        if key not in self._held:
            folder = self._folder(url)
            version = _read_version(folder / _VERSION)
            held = _Held(version)
            if version is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                for path in folder.iterdir():
                    match = _NAME.fullmatch(path.name)
                    if match:
                        held.pieces[int(match[1]), int(match[2])] = int(match[3], 16)
                    elif path.name.startswith(_TEMPORARY):
                        path.unlink()  # of a writer that was killed
            self._held[key] = held
        return self._held[key]

    def _read(self, url: str, start: int, stop: int) -> bytes | None:
        with self._lock:
            held = self._load(url)
            span = _around(held.pieces, start, stop)
            path = None if span is None else self._path(url, span)
        if span is None or path is None:
            return None
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            content = b""
        if len(content) == span[1] - span[0] and google_crc32c.value(content) == held.pieces.get(span):
            return content[start - span[0] : stop - span[0]]
        logger.warning("%s is damaged; it is fetched again", path)
        with self._lock:
            self._lose(url, span)
        return None

    def _keep(self, url: str, start: int, body: bytes, version: Version) -> None:
        span, check = (start, start + len(body)), int(google_crc32c.value(body))
        folder = self._folder(url)
        with self._lock:  # while it is written too: another thread may find the URL replaced, and drop the folder
            if self._load(url).version != version:
                self.drop(url)
                make_folder(folder)
                write_whole(folder / _VERSION, json.dumps(asdict(version)).encode())
                self._held[unsigned(url)] = _Held(version)
            write_whole(folder / _name(span, check), body)
            self._load(url).pieces[span] = check

    def _lose(self, url: str, span: Span) -> None:
        path = self._path(url, span)
        self._load(url).pieces.pop(span, None)
        path.unlink(missing_ok=True)

    def _path(self, url: str, span: Span) -> Path:
        return self._folder(url) / _name(span, self._load(url).pieces[span])

    def _folder(self, url: str) -> Path:
        return self.home / sha256(unsigned(url).encode()).hexdigest()[:32]


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and have the disk know it."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, also after the power has failed."""
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(6)}")
    try:
        temporary.write_bytes(content)
        sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Have the disk know what is in a file."""
    _sync(path)


def sync_folder(folder: Path) -> None:
    """Have the disk know the names in a folder."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _name(span: Span, check: int) -> str:
    return f"{span[0]}-{span[1]}-{check:08x}"


def _around(pieces: Iterable[Span], start: int, stop: int) -> Span | None:
    """Return a piece that holds [start, stop): the first bytes of a small file are all of it."""
    return next((span for span in pieces if span[0] <= start and stop <= span[1]), None)


def _read_version(path: Path) -> Version | None:
    try:
        said = json.loads(path.read_bytes())
        return Version(int(said["size"]), str(said["tag"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
