"""Annotations of the products that scenes were made from: their state vectors give the exact look geometry."""

import logging
import tempfile
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
import pystac
import shapely

from sarcube.acquisition.catalogs.areas import footprint
from sarcube.acquisition.catalogs.find import Source
from sarcube.acquisition.files.connections import show_url
from sarcube.acquisition.files.orbit_files import KINDS, OrbitFile, read_orbit_file
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import read_scene
from sarcube.acquisition.staging.annotation_record import forget_lack, read_lack, write_lack
from sarcube.acquisition.staging.clip import WORK
from sarcube.acquisition.staging.grd import annotation_hrefs, source_grd
from sarcube.acquisition.staging.names import names_for
from sarcube.acquisition.staging.pieces import Pieces, make_folder, sync_file, sync_folder
from sarcube.errors import InputError, ReadError
from sarcube.sar.orbit import solve_points
from sarcube.sar.trajectory import solve

logger = logging.getLogger(__name__)

FOLDER = "annotations"
_PIECE = 1 << 20  # bytes fetched at once: an annotation of a GRD product has two of these
_MOST_BYTES = 1 << 26  # what the reader takes
_OTHER_TRACK = 0.1  # degrees of incidence; the neighbouring track differs by several
_PASSING = ("no_connection", "throttled", "stale")  # kinds of failure that another try may mend


def stage_annotations(
    items: Iterable[pystac.Item],
    folder: Path,
    *,
    catalog: Source | None,
    pieces: Pieces,
    tell: Callable[[int], object],
    failed: Callable[[str, ReadError], object],
) -> dict[str, list[Path]]:
    """Copy the annotation of the GRD product behind each scene into the folder `annotations`.

    One polarisation is enough, VV where there is one: all have the same state vectors. What is there already, whole
    and of its scene, is not fetched again. That a scene has none is noted there too: each call asks again, and where
    nobody answers the note stands.

    Parameters
    ----------
    items : iterable of pystac.Item
        The scenes, with their links.
    folder : Path
        The staged folder.
    catalog : str, Path or pystac.ItemCollection, optional
        Where the collection sentinel-1-grd is searched if a scene's link `derived_from` leads to nothing; behind it
        the STAC API that the item came from. The folder itself: what is noted is not asked again.
    pieces : Pieces
        Of the folder.
    tell : callable
        Told the number of bytes as they come.
    failed : callable
        Told the id of a scene, and why, where a catalogue or a server does not answer and nothing is noted: the
        annotation may be there. It raises to stop; else the next scene's turn comes.

    Returns
    -------
    dict of str to list of Path
        By item id the annotation, for `sc.add_geometry(orbit_files=...)`. None of a scene is an empty list, and said
        in the log: its track is served by those of other dates, or by the reference orbit.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    items = list(items)
    names = names_for([item.id for item in items], taken={})
    silent = isinstance(catalog, str | Path) and Path(catalog).resolve() == folder.resolve()
    found: dict[str, list[Path]] = {}
    for item in items:
        target, found[item.id] = folder / FOLDER / f"{names[item.id]}.xml", []
        if _is_there(target, item):
            found[item.id] = [target]
            continue
        noted = read_lack(target, item=item.id)
        try:
            # Who did not answer once is not waited for again where it is known what was answered before.
            why = _stage(item, target, catalog, pieces, tell) if noted is None or not silent else noted.why
        except ReadError as error:
            silent = True
            if noted is None:
                failed(item.id, error)
                continue
            logger.warning("%s; what was answered on %s stands", error, f"{noted.asked:%Y-%m-%d %H:%M} UTC")
            why = noted.why
        if why is None:
            found[item.id] = [target]
            continue
        logger.warning(
            "%s has no annotation: %s; its track takes the state vectors of another date, or the reference orbit "
            "(0.0063° in incidence)",
            item.id,
            why,
        )
    return found


def _is_there(target: Path, item: pystac.Item) -> bool:
    if not target.exists():
        return False
    try:
        _check(target, item)
    except ReadError as error:
        logger.warning("%s; it is fetched again", error)
        return False
    return True


def _stage(
    item: pystac.Item, target: Path, catalog: Source | None, pieces: Pieces, tell: Callable[[int], object]
) -> str | None:
    """Put an annotation in place, or note why there is none; return why. A ReadError: nobody answers."""
    grd = source_grd(item, catalog=catalog)
    why = f"the GRD product it was made from is in no catalogue{'' if grd is None else ' with an annotation'}"
    for href in [] if grd is None else annotation_hrefs(grd):
        try:
            _copy(href, target, item, pieces=pieces, tell=tell)
        except ReadError as error:
            if error.kind in _PASSING:
                raise
            logger.info("%s", error)
            why = str(error)
        else:
            forget_lack(target)
            return None
    write_lack(target, item=item.id, why=why, work=pieces.home / WORK)
    return why


def _copy(href: str, target: Path, item: pystac.Item, *, pieces: Pieces, tell: Callable[[int], object]) -> None:
    """Fetch an annotation and put it in place, if it is whole and of the scene."""
    owner = f'the annotation of item "{item.id}"'
    content = _fetch(href, owner=owner, pieces=pieces, tell=tell) if is_url(href) else _read(href, owner=owner)
    work = pieces.home / WORK
    make_folder(work)
    make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=work) as temporary:
        file = Path(temporary) / target.name
        file.write_bytes(content)
        sync_file(file)
        try:
            _check(file, item)
        except ReadError:
            if is_url(href):
                pieces.drop(href)
            raise
        file.replace(target)
    sync_folder(target.parent)
    if is_url(href):
        pieces.drop(href)


def _fetch(href: str, *, owner: str, pieces: Pieces, tell: Callable[[int], object]) -> bytes:
    body, version = pieces.fetch(href, 0, _PIECE, owner=owner)
    tell(len(body))
    if version.size > _MOST_BYTES:
        raise _too_large(show_url(href), owner)
    parts = [body]
    for start in range(len(body), version.size, _PIECE):
        body, _ = pieces.fetch(href, start, min(start + _PIECE, version.size), owner=owner, version=version)
        tell(len(body))
        parts.append(body)
    return b"".join(parts)


def _read(path: str, *, owner: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ReadError(f"there is no {path}, {owner}", kind="not_found") from error
    except OSError as error:
        raise ReadError(f"cannot read {path}, {owner}: {error}", kind="forbidden") from error
    if len(content) > _MOST_BYTES:
        raise _too_large(path, owner)
    return content


def _too_large(where: str, owner: str) -> ReadError:
    return ReadError(f"{where}, {owner}, has more than {_MOST_BYTES} bytes; an annotation has 2 million")


def _check(path: Path, item: pystac.Item) -> None:
    """Read a file and refuse it unless it is the annotation of a scene's own pass.

    Raises
    ------
    ReadError
        If it is broken, of another kind, or its satellite was not where the scene was seen from, then.
    """
    file = read_orbit_file(path)
    if file.kind != KINDS[0]:
        raise ReadError(f"{path.name} is a {file.kind}, expected a SAFE annotation")
    reason = _why_another(file, item)
    if reason:
        raise ReadError(f'{path.name} is not the annotation of item "{item.id}": {reason}')


def _why_another(file: OrbitFile, item: pystac.Item) -> str:
    """Return in what way an annotation's state vectors are not of a scene's pass; "" if they are."""
    scene, trajectory = read_scene(item), file.trajectory
    epoch = trajectory.epoch
    assert epoch is not None  # files have it
    start, end = ((_utc(moment) - epoch) / np.timedelta64(1, "s") for moment in (scene.start, scene.end))
    first, last = trajectory.limits
    if start < first or end > last:
        return f"its state vectors are of {trajectory.span()}, the scene of {scene.start} to {scene.end}"
    # A point in the middle of what the scene covers; of two parts, at the antimeridian, in the larger.
    point = max(shapely.get_parts(footprint(item)), key=shapely.area).representative_point()
    lat, lon, height = np.array([point.y]), np.array([point.x]), np.zeros(1)
    seen = solve(trajectory, lat, lon, height, ascending=scene.orbit_state == "ascending")
    try:
        expected = solve_points(lat, lon, height, relative_orbit=scene.relative_orbit, orbit_state=scene.orbit_state)
    except InputError as error:
        return str(error)
    if not (seen.right[0] and seen.inside[0] and abs(seen.incidence[0] - expected.incidence[0]) <= _OTHER_TRACK):
        return f"its satellite does not see the scene from {scene.track}"
    return ""


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")
