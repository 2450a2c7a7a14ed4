"""The work of one call: a few files at a time, counted in bytes, stopped as a whole."""

import logging
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sarcube.acquisition.staging.claims import CLAIM, Claim, claim_of, is_of, is_whole, read_claims, write_claim
from sarcube.acquisition.staging.clip import Clip
from sarcube.acquisition.staging.jobs import Job, fetch_job, plan_job
from sarcube.acquisition.staging.pieces import Pieces
from sarcube.acquisition.staging.shelf import Shelf
from sarcube.errors import ReadError, StoreError

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

_AT_ONCE = 4  # files
_Result = TypeVar("_Result")


class _StoppedError(Exception):
    """Another file failed: this one is given up at its next piece."""


class Meter:
    """Counts bytes as they come, from several threads, and tells how many; stops those who count once it is told to."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._lock = progress or (lambda what, done, total: None), threading.Lock()
        self._done = self._total = 0
        self._stopped = False

    def plan(self, total: int) -> None:
        """Say how many bytes are to come."""
        self._total = total
        self._progress("planned", 0, total)

    def tell(self, nbytes: int) -> None:
        """Say that some came."""
        if self._stopped:
            raise _StoppedError
        with self._lock:
            self._done += nbytes
            self._total = max(self._total, self._done)  # a source that was replaced is fetched anew
            self._progress("staging", self._done, self._total)

    def stop(self) -> None:
        """Have `tell` fail from now on."""
        self._stopped = True


@dataclass(frozen=True)
class Run:
    """One call of `stage`: where to, by which means, and what could not be read so far (item, asset, why)."""

    shelf: Shelf
    pieces: Pieces
    meter: Meter
    skip: bool
    failures: list[tuple[str | None, str, ReadError]] = field(default_factory=list)

    def attempt(self, work: Callable[[], _Result], *, item: str | None, asset: str) -> _Result | None:
        """Return what some work gives; None, and a line in the log, where it fails and failures are skipped."""
        try:
            return work()
        except ReadError as error:
            self.pass_over(error, item=item, asset=asset)
            return None

    def pass_over(self, error: ReadError, *, item: str | None, asset: str) -> None:
        """Note a failure, and say it in the log, where failures are skipped; else raise it."""
        if not self.skip:
            raise error
        logger.warning("left out: %s", error)
        self.failures.append((item, asset, error))


def trusted(jobs: Iterable[Job], shelf: Shelf) -> dict[Job, Claim]:
    """Return the jobs whose files are there already, whole and from the same source, and what is said of them."""
    claims: dict[Path, Claim] = {}
    for job in jobs:
        asset = shelf.assets(job.item).get(job.polarisation)
        if asset is not None:
            claims[job.target] = {name: asset[name] for name in CLAIM if name in asset}
    claims |= {target: claim for target, area, claim in read_claims(shelf.folder) if area == list(shelf.area)}

    def check(job: Job) -> Claim | None:
        claim = claims.get(job.target)
        if claim is None:
            return None
        if job.href != str(job.target) and not is_of(claim, job.href, size=job.size):
            logger.warning("%s comes from another source now; it is staged again", job.owner)
            return None
        return claim if is_whole(job.target, claim) else None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = zip(jobs, pool.map(check, jobs), strict=True)
        return {job: claim for job, claim in found if claim is not None}


def plan_all(jobs: Iterable[Job], run: Run) -> dict[Job, Clip]:
    """Read the headers of sources; those that lie beside the area are left out."""

    def plan(job: Job) -> Clip | None:
        return plan_job(job, bbox=run.shelf.area, pieces=run.pieces)

    return {job: clip for job, clip in _each(plan, jobs, run).items() if clip is not None}


def check_room(clips: Iterable[Clip], folder: Path, *, other: int) -> None:
    """Compare what staging needs with the room on the disk; `other` is what else is to be written, in bytes.

    Raises
    ------
    StoreError
        If it is too little.
    """
    clips = list(clips)
    # A copy replaces its pieces, but has overviews and is packed less tightly; for a while both are there, and raw
    # pixels, of a few files.
    copies = sum(clip.nbytes + (clip.nbytes + clip.kept) // 2 if clip.version else clip.room // 2 for clip in clips)
    needed = copies + sum(sorted(clip.room for clip in clips)[-_AT_ONCE:]) + other
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StoreError(
            f"staging needs about {needed / 1e6:.0f} MB in {folder}, {free / 1e6:.0f} MB are free; free some, take a "
            "smaller area, or another folder"
        )


def fetch(clips: dict[Job, Clip], run: Run) -> dict[Job, Claim]:
    """Stage files; return what is to be said of each."""
    shelf, pieces = run.shelf, run.pieces
    users, lock = Counter(clip.href for clip in clips.values()), threading.Lock()

    def one(job: Job) -> Claim:
        clip = fetch_job(job, clips[job], bbox=shelf.area, pieces=pieces, tell=run.meter.tell)
        claim = claim_of(clip)
        write_claim(shelf.folder, job.target, shelf.area, claim)
        with lock:
            users[clip.href] -= 1
            if users[clip.href] == 0:
                pieces.drop(clip.href)
        return claim

    return _each(one, clips, run)


def _each(work: Callable[[Job], _Result], jobs: Iterable[Job], run: Run) -> dict[Job, _Result]:
    """Do some work for each job, a few at a time; what fails is skipped, or stops the others."""
    results: dict[Job, _Result] = {}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sarcube-stage") as pool:
        waiting = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(waiting):
                job = waiting[future]
                try:
                    results[job] = future.result()
                except ReadError as error:
                    run.pass_over(error, item=job.item, asset=job.polarisation)
        except BaseException:
            run.meter.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {job: results[job] for job in waiting.values() if job in results}
