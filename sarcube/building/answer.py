"""What a catalogue answered, kept beside the scenes: a build can go on when the catalogue no longer answers."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pystac

from sarcube.acquisition.catalogs.find import PLANETARY_COMPUTER, Source
from sarcube.acquisition.catalogs.search import search
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.signing import unsigned
from sarcube.acquisition.staging.shelf import CATALOG
from sarcube.atomic import replacing
from sarcube.errors import InputError, ReadError, StoreError
from sarcube.events import Event

logger = logging.getLogger(__name__)

ANSWERS = "searches"  # folder; a file for each question
_ASKED = "sarcube:asked"
_SEARCH = "sarcube:search"


@dataclass(frozen=True)
class Question:
    """What a catalogue is asked: the arguments of `search`, the catalogue left out."""

    event: Event
    pre_days: float
    post_days: float
    orbit_state: str | None
    relative_orbit: int | None
    polarisations: Sequence[str] | None

    def ask(self, catalog: Source | None) -> pystac.ItemCollection:
        """Search; raises what `search` raises."""
        return search(
            self.event,
            pre_days=self.pre_days,
            post_days=self.post_days,
            catalog=catalog,
            orbit_state=self.orbit_state,
            relative_orbit=self.relative_orbit,
            polarisations=self.polarisations,
        )

    def spelled_out(self) -> dict[str, Any]:
        """Return the question as JSON holds it, the same for the same question."""
        bands = None if self.polarisations is None else sorted(name.lower() for name in self.polarisations)
        return {
            "bbox": list(self.event.bbox),
            "pre_end": self.event.last_before.isoformat(),
            "post_start": self.event.first_after.isoformat(),
            "pre_days": float(self.pre_days),
            "post_days": float(self.post_days),
            "orbit_state": self.orbit_state,
            "relative_orbit": self.relative_orbit,
            "polarisations": bands,
        }


def find_scenes(question: Question, folder: Path, *, catalog: Source | None) -> pystac.ItemCollection:
    """Ask a catalogue, and keep the answer in the folder; without an answer, take the one kept of this very question.

    The catalogue is always asked first: it may hold a new scene. Only where a web service does not answer, or a
    catalogue in files is gone, the answer kept stands in, with a warning that says how old it is.

    Raises
    ------
    ReadError, InputError, NoSceneError
        As `search` does; if the catalogue cannot be asked, only where the folder keeps no answer to this question.
    StoreError
        If the folder cannot be written.
    """
    asked = {**question.spelled_out(), "catalog": _name(catalog)}
    try:
        found = question.ask(catalog)
    except (ReadError, InputError) as error:
        if not _is_out_of_reach(catalog, error):
            raise
        return _kept(folder, asked, error)
    _keep(folder, found, asked)
    return found


def _name(catalog: Source | None) -> str:
    if isinstance(catalog, pystac.ItemCollection):
        return "the collection in memory"
    name = str(PLANETARY_COMPUTER if catalog is None else catalog)
    return show_url(name) if is_url(name) else str(Path(name).resolve())


def _is_out_of_reach(catalog: Source | None, error: Exception) -> bool:
    if isinstance(catalog, pystac.ItemCollection):
        return False
    if catalog is None or is_url(str(catalog)):
        return isinstance(error, ReadError)
    return not Path(catalog).exists()  # such as a disk that is not plugged in


def _path(folder: Path, asked: dict[str, Any]) -> Path:
    return folder / ANSWERS / f"{sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]}.json"


def _kept(folder: Path, asked: dict[str, Any], error: ReadError | InputError) -> pystac.ItemCollection:
    path = _path(folder, asked)
    try:
        document = json.loads(path.read_bytes())
        items = pystac.ItemCollection.from_dict(document, preserve_dict=False)
        answered = datetime.fromisoformat(document[_SEARCH]["answered"])
        days = (datetime.now(UTC) - answered).total_seconds() / 86400
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pystac.STACError) as problem:
        what = "no answer" if isinstance(problem, FileNotFoundError) else "no readable answer"
        message = f"{error}. {folder} keeps {what} to this very search either"
        if (folder / CATALOG).exists():
            message += (
                f"; to build from what is staged there, whether or not that is all, give it as the catalogue "
                f"(catalog={str(folder)!r}, --catalog {folder})"
            )
        if isinstance(error, InputError):
            raise InputError(message) from error
        raise ReadError(message, kind=error.kind) from error
    logger.warning(
        "%s. Going on with its answer of %s, %.1f days old, which %s keeps; newer scenes are not in it",
        error,
        f"{answered:%Y-%m-%d %H:%M} UTC",
        days,
        path,
    )
    return items


def _keep(folder: Path, found: pystac.ItemCollection, asked: dict[str, Any]) -> None:
    document = found.to_dict(transform_hrefs=False)  # transforming would follow links
    for item in document["features"]:
        for asset in item["assets"].values():
            asset["href"] = unsigned(asset["href"])
    document[_ASKED] = asked
    path = _path(folder, asked)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document))
