"""Answers of catalogues on the web, kept for a while: what was asked once need not be asked again on a bad line.

They lie in the user's cache folder (`SARCUBE_CACHE`, else `XDG_CACHE_HOME/sarcube`, else `~/.cache/sarcube`), in files
that are there whole or not at all. A cache that cannot be written or read is none: what it would have held is asked.
"""

import gzip
import hashlib
import json
import logging
import os
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sarcube.atomic import replacing
from sarcube.errors import StoreError

logger = logging.getLogger(__name__)

YOUNG = timedelta(minutes=10)  # an answer that is no older is as good as a new one
_LARGEST = 200_000_000  # bytes of all answers together; the oldest go first
_SIGNATURE = re.compile(r"[?&](sig|x-amz-signature|x-goog-signature)=", re.IGNORECASE)
_told: set[str] = set()  # folders that could not be written and about which that was said


@dataclass(frozen=True)
class Answer:
    """What was answered, and when (UTC)."""

    document: Any
    time: datetime

    @property
    def is_young(self) -> bool:
        """Whether it may stand for a new answer; one from the future tells only that a clock was set."""
        return timedelta(0) <= datetime.now(UTC) - self.time < YOUNG


def key_of(method: str, url: str, body: Any = None) -> str:
    """Return the name under which the answer to a request is kept."""
    return hashlib.sha256(json.dumps([method, url, body], sort_keys=True).encode()).hexdigest()


def kept(key: str) -> Answer | None:
    """Return the answer that is kept under a key, however old; None if there is none, or a damaged one."""
    folder = answers_folder()
    if folder is None:
        return None
    try:
        # gzip checks length and sum: what comes out is what went in.
        content = json.loads(gzip.decompress((folder / _name(key)).read_bytes()))
        return Answer(content["document"], datetime.fromisoformat(content["time"]).astimezone(UTC))
    except FileNotFoundError:
        return None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        logger.debug("the kept answer %s is not used: %r", folder / _name(key), error)
        return None


def keep(key: str, answer: Answer) -> None:
    """Keep an answer; one that carries a signature is not kept, and where nothing can be written nothing is."""
    folder = answers_folder()
    text = json.dumps({"time": answer.time.isoformat(), "document": answer.document})
    if folder is None or _SIGNATURE.search(text):
        logger.debug("an answer is not kept: there is no home for it, or it has signed addresses")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / _name(key)) as temporary:
            temporary.write_bytes(gzip.compress(text.encode(), 6))
        _make_room(folder)
    except (OSError, StoreError) as error:
        if str(folder) not in _told:
            _told.add(str(folder))
            logger.info("answers of catalogues are not kept: %s", error)


def drop(key: str) -> None:
    """Forget the answer that is kept under a key, if there is one."""
    folder = answers_folder()
    if folder is None:
        return
    try:
        (folder / _name(key)).unlink(missing_ok=True)
    except OSError as error:
        logger.debug("the kept answer %s stays: %s", key, error)


def _name(key: str) -> str:
    return f"{key}.json.gz"


def answers_folder() -> Path | None:
    """Return the folder that answers are kept in; None for a user without a home."""
    chosen = os.environ.get("SARCUBE_CACHE")
    if chosen:
        return Path(chosen) / "answers"
    caches = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # The rules of XDG: a path that is not absolute does not count.
        home = Path(caches) if Path(caches).is_absolute() else Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return home / "sarcube" / "answers"


def _make_room(folder: Path) -> None:
    files = []
    for file in folder.glob("*.json.gz"):
        try:
            state = file.stat()
        except FileNotFoundError:  # another process was faster
            continue
        files.append((state.st_mtime_ns, state.st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total <= _LARGEST:
            break
        file.unlink(missing_ok=True)
        total -= size
