"""Copy scenes once and whole: clipped to an area, with a static catalogue; from then on nothing needs a network."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pystac

from sarcube.acquisition.catalogs.find import PLANETARY_COMPUTER, Source, catalog_of
from sarcube.acquisition.staging.annotation import stage_annotations
from sarcube.acquisition.staging.area import Bounds
from sarcube.acquisition.staging.claims import Claim
from sarcube.acquisition.staging.clip import Clip
from sarcube.acquisition.staging.dem import DemPlan, plan_dem, write_dem
from sarcube.acquisition.staging.documents import annotation_assets
from sarcube.acquisition.staging.jobs import Job, is_beside, jobs_for
from sarcube.acquisition.staging.listing import list_staged, sweep, tidy, unstaged
from sarcube.acquisition.staging.names import names_for
from sarcube.acquisition.staging.order import Order, order_of
from sarcube.acquisition.staging.pieces import Pieces, make_folder
from sarcube.acquisition.staging.shelf import items_of, read_shelf, write_shelf
from sarcube.acquisition.staging.work import Meter, Run, check_room, fetch, plan_all, trusted
from sarcube.errors import AreaError, InputError, NoSceneError, SarcubeError, StoreError
from sarcube.events import checked_bbox
from sarcube.lock import writing

logger = logging.getLogger(__name__)

UNSTAGED = "sarcube:unstaged"
_SEARCH = "sarcube:search"


def stage(
    items: Iterable[pystac.Item],
    folder: str | Path,
    *,
    bbox: Bounds,
    dem: bool = False,
    annotation: bool = False,
    catalog: Source | None = None,
    on_error: str = "raise",
    progress: Callable[[str, int, int], None] | None = None,
) -> pystac.ItemCollection:
    """Copy scenes into a folder, clipped to an area, with a static catalogue: all that follows needs no network.

    Of each file whole blocks are copied, the area and 64 pixels around it; no pixel is resampled or changed. The same
    call again, after an interruption, fetches only what is missing; on a folder that is complete it verifies every
    file without a network, and fetches what is broken again. Items that the folder does not hold yet are added. Only
    one process writes to a folder at a time.

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        What `search` or `items_from_folder` returned. Of an acquisition that was processed twice the newest is staged;
        items beside the area are left out. The log names both.
    folder : str or Path
        Made if it is not there. It may be moved, and copied to another machine.
    bbox : (west, south, east, north)
        Area in degrees; west greater than east crosses the antimeridian.
    dem : bool
        Copy the Copernicus DEM of the area and 5 km around it as well, to `dem.tif`.
    annotation : bool
        Copy the annotations of the GRD products behind the scenes as well, into `annotations`.
    catalog : str, Path or pystac.ItemCollection, optional
        Where DEM and GRD products are looked for, before the STAC API that the items came from. Without either, the
        DEM comes from the Planetary Computer.
    on_error : {"raise", "skip"}
        "skip": what cannot be read is left out, and listed in the catalogue and in `extra_fields["sarcube:unstaged"]`
        of the result; the next call tries it again.
    progress : callable, optional
        Told (what, bytes done, bytes in all); the first time, "planned", before anything but headers is fetched.

    Returns
    -------
    pystac.ItemCollection
        The staged items with absolute paths, sorted by time, then id, as `search(catalog=folder)` finds them.

    Raises
    ------
    NoSceneError
        If there are no items, or no DEM.
    AreaError
        If no item touches the area.
    InputError
        If an argument or an item cannot be used, or the folder holds another area or something else.
    ReadError
        If a source cannot be read, or is not what its item says. What was fetched stays.
    StoreError
        If the disk has not enough room (said before anything is fetched), or cannot be written, or another process
        writes to the folder.

    Notes
    -----
    What is verified: the size of a source against its item's `file:size`; the checksum of every deflated tile; that the
    source is not replaced while it is read; that the copy, read again, has the same pixels. The item's `file:checksum`
    is that of the whole file, so it is verified where all of it is read: local files, and files small enough to come
    in one piece. A source that is replaced between two calls is fetched anew, if anything of it was still to be
    fetched.
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f'on_error must be "raise" or "skip", not {on_error!r}')
    area = checked_bbox(bbox)
    about = dict(getattr(items, "extra_fields", {}))
    order = order_of(items)
    home = Path(folder).resolve()
    try:
        make_folder(home.parent)
        with writing(home):
            shelf = read_shelf(home, area)
            make_folder(home)
            run = Run(shelf, Pieces(home), Meter(progress), skip=on_error == "skip")
            ids = _scenes(order, run, heights=lambda: _plan_dem(order, run, catalog) if dem else None)
            if annotation:
                _annotations(order, ids, run, catalog)
            staged = items_of(shelf, ids)
            tidy(order, run)
    except SarcubeError:
        raise
    except OSError as error:
        raise StoreError(
            f"cannot write {home}: {error.strerror or error}; what is there is kept, and staging again goes on from it"
        ) from error
    extra = {_SEARCH: about[_SEARCH]} if _SEARCH in about else {}
    return pystac.ItemCollection(staged, clone_items=False, extra_fields={**extra, UNSTAGED: unstaged(run)})


def _scenes(order: Order, run: Run, *, heights: Callable[[], DemPlan | None]) -> list[str]:
    """Stage the scenes, and the DEM; write the catalogue. Returns the ids of the items that are staged."""
    shelf = run.shelf
    sweep(shelf.folder)
    shelf.names |= names_for((scene.id for scene in order.scenes), taken=shelf.names)
    jobs = [
        job
        for scene in order.scenes
        for job in jobs_for(order.items[scene.id], scene, shelf.home(shelf.names[scene.id]))
        if not is_beside(job, shelf.area)
    ]
    claims = trusted(jobs, shelf)
    clips = plan_all([job for job in jobs if job not in claims], run)
    dem = run.attempt(heights, item=None, asset="dem")
    _say(claims, clips, dem, run)
    found = claims | fetch(clips, run)
    claims = {job: found[job] for job in jobs if job in found}  # in an order that no interruption changes
    ids = [scene.id for scene in order.scenes if any(job.item == scene.id for job in claims)]
    if not ids:
        if run.failures:
            raise run.failures[0][2]
        raise AreaError(
            f"none of {len(order.items)} items touches the area {shelf.area} (west, south, east, north in degrees)"
        )
    failed = {item for item, _, _ in run.failures}
    for scene in order.scenes:
        if scene.id not in ids and scene.id not in failed:
            logger.info('left out item "%s": no pixel of it is in the area', scene.id)
    if dem is not None:
        run.attempt(lambda: write_dem(dem, pieces=run.pieces, tell=run.meter.tell), item=None, asset="dem")
    list_staged(order, ids, claims, run)
    return ids


def _say(claims: Mapping[Job, Claim], clips: Mapping[Job, Clip], dem: DemPlan | None, run: Run) -> None:
    """Tell how much is to be fetched, before it is; and whether there is room for it."""
    height_bytes = dem.nbytes if dem is not None else 0
    nbytes = sum(clip.nbytes for clip in clips.values()) + height_bytes
    logger.info(
        "%d files to stage, %.1f MB to fetch; %d files and %.1f MB of others are there already",
        len(clips),
        nbytes / 1e6,
        len(claims),
        sum(clip.kept for clip in clips.values()) / 1e6,
    )
    check_room(clips.values(), run.shelf.folder, other=2 * height_bytes)
    run.meter.plan(nbytes)


def _annotations(order: Order, ids: Sequence[str], run: Run, catalog: Source | None) -> None:
    """Stage annotations, and list them in the catalogue."""
    shelf = run.shelf
    items = [order.items[one] for one in ids]
    found = stage_annotations(
        items,
        shelf.folder,
        catalog=catalog,
        pieces=run.pieces,
        tell=run.meter.tell,
        failed=lambda one, error: run.pass_over(error, item=one, asset="annotation"),
    )
    for one, paths in found.items():
        shelf.items[one]["assets"] |= annotation_assets(paths, shelf.home(shelf.names[one]))
    shelf.unstaged += [entry for entry in unstaged(run) if entry not in shelf.unstaged]
    write_shelf(shelf, ids)


def _plan_dem(order: Order, run: Run, catalog: Source | None) -> DemPlan:
    """Plan the DEM of the catalogue that was given, and where that has none, of the API that the items came from."""
    apis = [api for api in map(catalog_of, order.items.values()) if api is not None]
    sources: list[Source] = [*([] if catalog is None else [catalog]), *apis[:1]]
    for source in sources[:-1]:
        try:
            return plan_dem(run.shelf.area, run.shelf.folder, catalog=source, pieces=run.pieces)
        except NoSceneError as error:
            logger.info("%s; it is looked for at %s", error, sources[-1])
    source = sources[-1] if sources else PLANETARY_COMPUTER
    return plan_dem(run.shelf.area, run.shelf.folder, catalog=source, pieces=run.pieces)
