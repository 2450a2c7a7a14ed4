"""The ground under the scenes: Copernicus DEM GLO-30 as one raster, over the area and a margin."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import xarray as xr

from sarcube.acquisition.catalogs.find import Source
from sarcube.acquisition.signing import unsigned
from sarcube.acquisition.staging.clip import Clip, fetch_clip, plan_clip
from sarcube.acquisition.staging.dem_raster import lazy_raster
from sarcube.acquisition.staging.dem_record import is_recorded, write_record
from sarcube.acquisition.staging.dem_tiles import COLLECTION, href_of, shown, tiles_over
from sarcube.acquisition.staging.pieces import Pieces, make_folder, sync_file, sync_folder
from sarcube.acquisition.staging.posts import (
    MARGIN,
    Bounds,
    open_tile,
    square_name,
    squares_over,
    widen,
)
from sarcube.cog import write_cog
from sarcube.errors import NoSceneError, ReadError

logger = logging.getLogger(__name__)

DEM = "dem.tif"
_HOME = "dem"  # folder of the tiles' parts, below the pieces
_BORDER = 2  # posts around a tile's part of the area, which the columns of a finer neighbour can need

BBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class DemPlan:
    """What the DEM of an area is made of.

    Attributes
    ----------
    target : Path
        The raster to write.
    bbox : (west, south, east, north)
        The area without its margin, degrees.
    tiles : tuple of (str, Path)
        The tiles that lie over it, and where the part of each that is needed is kept meanwhile. None if the raster is
        there already.
    clips : tuple of Clip
        The parts that are to be fetched.
    missing : tuple of str
        Names of the tiles over the area that the catalogue does not have.
    nbytes : int
        To be fetched.
    """

    target: Path
    bbox: BBox
    tiles: tuple[tuple[str, Path], ...]
    clips: tuple[Clip, ...]
    missing: tuple[str, ...]
    nbytes: int


def plan_dem(bbox: BBox, folder: Path, *, catalog: Source, pieces: Pieces) -> DemPlan:
    """Find out what the DEM of an area takes: of each tile only the header is fetched.

    Parameters
    ----------
    bbox : (west, south, east, north)
        Degrees; west greater than east crosses the antimeridian.
    folder : Path
        Where `dem.tif` is to lie.
    catalog : str, Path or pystac.ItemCollection
        That has the collection cop-dem-glo-30.
    pieces : Pieces
        Of the folder.

    Returns
    -------
    DemPlan
        Of nothing to do where the folder holds the DEM of this area, whole.

    Raises
    ------
    NoSceneError
        If the catalogue has no tile over the area.
    ReadError
        If the catalogue or a header cannot be read.

    Notes
    -----
    The margin is 5 km, for who loads a cube wider than the area because layover and shadow come from outside; the
    layers of `sc.add_terrain` themselves need two posts. What hides a pixel, or is laid over it, from x away stands
    x / tan θ above it (shadow) or x·tan θ (layover; θ the incidence angle). Ground farther away than 5 km does so only
    if it is 2800 m higher, at 29.2°, the steepest look of IW, or 4800 m for shadow, at 46°: the faces of the highest
    mountains. The Earth's whole relief, 9300 m, would ask for 17 km.
    """
    target = folder / DEM
    if is_recorded(target, bbox=bbox, margin=MARGIN):
        return DemPlan(target, bbox, (), (), (), 0)
    bounds = widen(bbox)
    squares = squares_over(bounds)
    items = tiles_over(bounds, catalog)
    home = pieces.home / _HOME
    make_folder(home)
    tiles, clips = [], []
    for square, item in items.items():
        href = href_of(item)
        path = home / f"{square_name(square)}-{sha256(f'{unsigned(href)} {bounds}'.encode()).hexdigest()[:16]}.tif"
        if not path.exists():  # what is there is whole
            clip = plan_clip(
                href, path, owner=f'DEM tile "{item.id}"', bbox=_part(bounds, square), margin=_BORDER, pieces=pieces
            )
            if clip is None:
                continue
            clips.append(clip)
        tiles.append((square, item.id, path))
    if not tiles:
        raise NoSceneError(
            f"{shown(catalog)} has no tile of {COLLECTION} over bbox {bbox} and {MARGIN / 1000:g} km around it, "
            f"expected {', '.join(map(square_name, squares))}; "
            "give a catalogue that has it (catalog=, --catalog), a DEM of your own (sc.build_cube's dem=PATH, "
            "`sarcube build --dem FILE`), or go without (dem=False; `sarcube build --no-dem`)"
        )
    there = {square for square, _, _ in tiles}
    missing = tuple(square_name(square) for square in squares if square not in there)
    return DemPlan(
        target,
        bbox,
        tuple((name, path) for _, name, path in tiles),
        tuple(clips),
        missing,
        sum(clip.nbytes for clip in clips),
    )


def write_dem(plan: DemPlan, *, pieces: Pieces, tell: Callable[[int], None]) -> Path:
    """Write the DEM of an area as a Cloud Optimized GeoTIFF in EPSG:4326.

    Parameters
    ----------
    plan : DemPlan
        From `plan_dem`.
    pieces : Pieces
        Of the folder.
    tell : callable
        Told the number of bytes as they come.

    Returns
    -------
    Path
        One band of float32, metres above the EGM2008 geoid, NaN where there is no tile; its tags and the record
        beside it, `dem.json`, say from which tiles, and which are missing. Across the antimeridian the longitudes
        count on beyond 180.

    Raises
    ------
    ReadError
        If a tile cannot be read, or lies on another grid than the posts of Copernicus DEM.
    StoreError
        If the raster cannot be written.
    OSError
        If its record cannot.

    Notes
    -----
    Tiles meet without a seam: their posts are those of one grid and are taken bit for bit. Where the area crosses a
    parallel on which the columns' spacing changes (50, 60, 70, 80, 85°), the grid is the finer one, and heights
    between the columns of the coarser tiles are linear along the parallel.
    """
    if not plan.tiles:
        return plan.target
    if plan.missing:
        logger.warning(
            "%s has no tile %s: that part of %s is no data, which is not sea level; it is open sea, or land that "
            "the public GLO-30 leaves out, as Armenia and Azerbaijan",
            COLLECTION,
            ", ".join(plan.missing),
            plan.target.name,
        )
    for clip in plan.clips:
        fetch_clip(clip, pieces=pieces, tell=tell)
    home = pieces.home / _HOME
    try:
        raster = write_cog(_raster(plan), home / plan.target.name)
    except ReadError:
        shutil.rmtree(home)  # what is kept there cannot be used: it may be a disk's fault
        raise
    sync_file(raster)
    raster.replace(plan.target)
    sync_folder(plan.target.parent)
    write_record(
        plan.target,
        collection=COLLECTION,
        bbox=plan.bbox,
        margin=MARGIN,
        tiles=[name for name, _ in plan.tiles],
        missing=plan.missing,
    )
    shutil.rmtree(home)
    return plan.target


def _raster(plan: DemPlan) -> xr.DataArray:
    bounds = widen(plan.bbox)
    layer = lazy_raster(
        [open_tile(path, owner=f'DEM tile "{name}"', bounds=bounds) for name, path in plan.tiles], bounds
    )
    layer.attrs |= _tags(plan)
    return layer


def _part(bounds: Bounds, square: tuple[int, int]) -> BBox:
    """Return what of an area lies in a tile, in the tile's own degrees."""
    south, west = square
    turn = 360 * round(((bounds[0] + bounds[2]) / 2 - west - 0.5) / 360)
    return (
        max(bounds[0] - turn, west),
        max(bounds[1], south),
        min(bounds[2] - turn, west + 1),
        min(bounds[3], south + 1),
    )


def _tags(plan: DemPlan) -> dict[str, Any]:
    return {
        "source": f"Copernicus DEM GLO-30 ({COLLECTION})",
        "vertical_datum": "EGM2008 (EPSG:3855)",
        "area": plan.bbox,
        "margin": f"{MARGIN:g} m around the area",
        "tiles": [name for name, _ in plan.tiles],
        "missing_tiles": list(plan.missing) or "none",
        "resampling": "none; linear along the parallel between the columns of tiles with fewer of them",
    }
