"""That a scene has no annotation, why, and when that was found out: kept beside the annotations.

So a call that nobody answers knows it from an annotation that was never asked for.
"""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sarcube.acquisition.staging.pieces import make_folder, sync_folder, write_whole

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lack:
    """Why a scene has no annotation, and when a catalogue said so (UTC)."""

    why: str
    asked: datetime


def write_lack(annotation: Path, *, item: str, why: str, work: Path) -> None:
    """Note that there is none, in a file of the annotation's name but ``.json`` at its end, made in `work`."""
    make_folder(work)
    make_folder(annotation.parent)
    note = {"item": item, "annotation": None, "why": why, "asked": datetime.now(UTC).isoformat(timespec="seconds")}
    path = _path(annotation)
    write_whole(work / path.name, json.dumps(note, indent=1).encode() + b"\n")
    (work / path.name).replace(path)
    sync_folder(path.parent)


def read_lack(annotation: Path, *, item: str) -> Lack | None:
    """Return what was noted of an annotation of an item; None where nothing was, or the note is damaged."""
    path = _path(annotation)
    try:
        note = json.loads(path.read_bytes())
        return Lack(str(note["why"]), datetime.fromisoformat(note["asked"])) if note["item"] == item else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        logger.warning("%s cannot be read (%r): the annotation is asked for again", path, error)
        return None


def forget_lack(annotation: Path) -> None:
    """Take the note away: the annotation is there now."""
    _path(annotation).unlink(missing_ok=True)


def _path(annotation: Path) -> Path:
    return annotation.with_suffix(".json")
