"""What is to be staged: one job for each polarisation of each scene, and whether its source is what its item says."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
import pystac
from affine import Affine

from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.hrefs import is_url, resolve_href
from sarcube.acquisition.scenes import Grid, Scene, polarisation_asset
from sarcube.acquisition.staging.area import Bounds, window_of
from sarcube.acquisition.staging.claims import SOURCE, fits_checksum
from sarcube.acquisition.staging.clip import MARGIN, Clip, Tell, fetch_clip, plan_clip
from sarcube.acquisition.staging.pieces import Pieces
from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

_TOLERANCE = 0.01  # of a pixel: as the loader has it


@dataclass(frozen=True)
class Job:
    """One file to stage; `grid`, `size` and `checksum` are what the item says of the source, None for nothing."""

    item: str
    polarisation: str
    href: str
    target: Path
    grid: Grid | None
    size: int | None
    checksum: str | None

    @property
    def owner(self) -> str:
        """Whose file it is, for messages."""
        return f'item "{self.item}" ({self.polarisation})'

    @property
    def address(self) -> str:
        """The href as it may be shown."""
        return show_url(self.href) if is_url(self.href) else self.href


def jobs_for(item: pystac.Item, scene: Scene, home: Path) -> list[Job]:
    """Return the jobs of one scene, whose staged files lie in `home`.

    Raises
    ------
    InputError
        If an address may not be opened.
    """
    jobs = []
    for polarisation, raster in scene.rasters.items():
        target = home / f"iw-{polarisation}.rtc.tiff"
        asset = polarisation_asset(item, polarisation)
        assert asset is not None
        fields = asset.extra_fields
        href = resolve_href(raster.href, owner=f'item "{item.id}" ({polarisation})')
        grid, size, checksum = raster.grid, fields.get("file:size"), fields.get("file:checksum")
        if href == str(target):  # an item of this very folder: what it was staged from is its source
            origin = fields.get(SOURCE, {})
            grid, size, checksum = None, origin.get("size"), None
            href = origin["href"] if is_url(str(origin.get("href"))) else href
        jobs.append(
            Job(
                item.id,
                polarisation,
                href,
                target,
                grid,
                size if isinstance(size, int) else None,
                checksum if isinstance(checksum, str) else None,
            )
        )
    return jobs


def is_beside(job: Job, bbox: Bounds) -> bool:
    """Return whether the item itself says that its file has no pixel in the area."""
    return job.grid is not None and window_of(job.grid, bbox, margin=MARGIN, block=(1, 1)) is None


def plan_job(job: Job, *, bbox: Bounds, pieces: Pieces) -> Clip | None:
    """Read the header of a job's source and compare it with the item; see `plan_clip`.

    Raises
    ------
    ReadError
        If it cannot be read, or is not what its item says.
    """
    if job.href == str(job.target):
        raise ReadError(
            f"{job.target} of {job.owner} is damaged or missing and is its own source; stage the item from where it "
            "came from"
        )
    try:
        clip = plan_clip(job.href, job.target, owner=job.owner, bbox=bbox, pieces=pieces)
    except ReadError as error:
        if error.kind != "stale":
            raise
        clip = plan_clip(job.href, job.target, owner=job.owner, bbox=bbox, pieces=pieces)  # replaced within its header
    if clip is not None:
        _check_size(job, clip)
        _check_grid(job, clip.grid)
    return clip


def fetch_job(job: Job, clip: Clip, *, bbox: Bounds, pieces: Pieces, tell: Tell) -> Clip:
    """Stage one file; if its source is replaced meanwhile, the new one is staged from the start.

    Returns
    -------
    Clip
        What was staged.

    Raises
    ------
    ReadError
        If the source cannot be read, or is not what its item says.
    StoreError
        If the disk is full, or cannot be written.
    """
    try:
        _fetch(job, clip, pieces, tell)
    except ReadError as error:
        if error.kind != "stale":
            raise
        logger.warning("%s; its new content is fetched", error)
        again = plan_job(job, bbox=bbox, pieces=pieces)
        if again is None:
            raise
        clip = again
        _fetch(job, clip, pieces, tell)
    return clip


def _fetch(job: Job, clip: Clip, pieces: Pieces, tell: Tell) -> None:
    fetch_clip(clip, pieces=pieces, tell=tell)
    if job.checksum is not None and fits_checksum(clip, job.checksum, pieces) is False:
        clip.target.unlink()
        if clip.version is not None:
            pieces.drop(clip.href)
        raise ReadError(
            f"{job.address} of {job.owner} does not fit the checksum that its item gives; it is damaged, or was "
            "replaced: search again, or fetch it again"
        )


def _check_size(job: Job, clip: Clip) -> None:
    found = Path(job.href).stat().st_size if clip.version is None else clip.version.size
    if job.size is not None and found != job.size:
        what, kind = ("cut off", "damaged") if found < job.size else ("replaced", "stale")
        raise ReadError(
            f"{job.address} of {job.owner} has {found} bytes, its item says {job.size}: it was {what} where it comes "
            "from; search again, or wait until it is mended",
            kind=kind,
        )


def _check_grid(job: Job, found: Grid) -> None:
    """Compare as the loader does: in the staged copy nobody could see any more that file and item disagree."""
    said = job.grid
    if said is None or said == found:
        return
    corners = np.array([(x, y, 1) for x in (0, said.shape[1]) for y in (0, said.shape[0])]).T
    there = np.array(~Affine(*said.transform) @ Affine(*found.transform)).reshape(3, 3) @ corners
    is_same = pyproj.CRS.from_user_input(said.crs) == pyproj.CRS.from_user_input(found.crs)
    if said.shape != found.shape or not is_same or np.abs(there - corners).max() > _TOLERANCE:
        raise ReadError(
            f"{job.address} is not where {job.owner} puts it: the item says {said}, the file {found}; the file was "
            "replaced or the item is stale: search again",
            kind="stale",
        )
