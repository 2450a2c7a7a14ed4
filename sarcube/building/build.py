"""From an event to a cube: search, stage, load, terrain, geometry, Zarr."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pystac
import xarray as xr

from sarcube.acquisition.catalogs.find import Source
from sarcube.acquisition.staging.dem import DEM
from sarcube.acquisition.staging.shelf import read_shelf
from sarcube.acquisition.staging.stage import UNSTAGED as UNSTAGED
from sarcube.acquisition.staging.stage import stage
from sarcube.building.answer import Question, find_scenes
from sarcube.building.upkeep import keep_up
from sarcube.cube.geometry.layers import add_geometry
from sarcube.cube.geometry.terrain import add_terrain
from sarcube.cube.store.write import KEEP_BITS, state_of
from sarcube.errors import InputError, ReadError, StoreError
from sarcube.events import Event

Progress = Callable[[str, int, int], None]


def build_cube(
    event: Event,
    folder: str | Path,
    path: str | Path,
    *,
    catalog: Source | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    orbit_state: str | None = None,
    relative_orbit: int | None = None,
    polarisations: Sequence[str] | None = None,
    resolution: float = 10,
    dem: bool | str | Path = True,
    annotation: bool = False,
    keep_bits: int | None = KEEP_BITS,
    on_error: str = "raise",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Find the scenes of an event, stage them, and build their cube with terrain and look geometry: one run.

    Call it again after an interruption, at whatever moment, and it goes on where it stopped; call it again days later,
    and it adds the scenes that have come since. Nothing is fetched twice, and of the cube only what is missing is
    computed. Where the items of a date have changed (a newer processing, another slice), or a new track or
    polarisation comes, the cube is written anew from the staged files and the old one stays until the new one is
    complete.

    Parameters
    ----------
    event : Event
        Place and moment.
    folder : str or path
        Where the scenes are staged, as `stage` does it. It also keeps the catalogue's last answers, in `searches`.
    path : str or path
        The Zarr store, such as "sumatra.zarr".
    catalog, pre_days, post_days, orbit_state, relative_orbit, polarisations
        Which scenes, as `search` takes them. The catalogue is asked in each call, since it may hold a new scene. If it
        does not answer, or is not there any more, its last answer to this very search stands in, with a warning that
        says how old it is: once all is staged, the run needs no network. `catalog=folder` asks nobody: the cube is
        built from what is staged.
    resolution : float
        Size of a pixel in metres.
    dem : bool, str or path
        True: stage the Copernicus DEM and add terrain and look geometry. A path: take this DEM instead. False: add
        neither.
    annotation : bool
        Stage the annotations of the scenes' source products too, and take the look geometry from their orbits.
    keep_bits : int, optional
        Bits of the mantissa that radar power keeps, as `write_cube` takes it; None: all.
    on_error : {"raise", "skip"}
        "skip": scenes and annotations that cannot be fetched are left out and the cube's `attrs["not_staged"]` lists
        them; the next call tries them again.
    overwrite : bool
        Replace the cube at the path, whatever it is of. What is staged stays.
    progress : callable, optional
        Told (what, bytes done, bytes in all) while scenes are staged.

    Returns
    -------
    Path
        Where the cube is.

    Raises
    ------
    NoSceneError, ReadError, InputError, StoreError, AreaError
        As `search`, `stage`, `load`, `add_terrain`, `add_geometry` and `write_cube` do. What was finished stays.
    StoreError
        If the cube at the path is another one: of dates that this search and the folder do not hold, of another area,
        resolution or number of bits, or with other layers.
    """
    _check(dem, annotation, resolution)
    _check_places(Path(folder).resolve(), Path(path).resolve())
    staged = stage_event(
        event,
        folder,
        catalog=catalog,
        pre_days=pre_days,
        post_days=post_days,
        orbit_state=orbit_state,
        relative_orbit=relative_orbit,
        polarisations=polarisations,
        dem=dem is True,
        annotation=annotation,
        on_error=on_error,
        progress=progress,
    )
    dress = partial(
        _dress,
        dem=_heights(dem, Path(folder), staged),
        annotations=_annotations(staged) if annotation else {},
        not_staged=[f"{entry['item']}: {entry['asset']}" for entry in staged.extra_fields[UNSTAGED] if entry["item"]],
    )
    return keep_up(
        list(staged),
        path,
        bbox=event.bbox,
        resolution=resolution,
        dress=dress,
        keep_bits=keep_bits,
        overwrite=overwrite,
    )


def stage_event(
    event: Event,
    folder: str | Path,
    *,
    catalog: Source | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    orbit_state: str | None = None,
    relative_orbit: int | None = None,
    polarisations: Sequence[str] | None = None,
    dem: bool = True,
    annotation: bool = False,
    on_error: str = "raise",
    progress: Progress | None = None,
) -> pystac.ItemCollection:
    """Find the scenes of an event and stage them: the first half of `build_cube`, whose parameters these are.

    Returns
    -------
    pystac.ItemCollection
        All that the folder holds of this search, also what an earlier call staged and the catalogue no longer lists;
        `extra_fields["sarcube:unstaged"]` says what could not be fetched.
    """
    folder = Path(folder)
    question = Question(event, pre_days, post_days, orbit_state, relative_orbit, polarisations)
    read_shelf(folder.resolve(), event.bbox)  # refuses the folder of another area before anything is kept in it
    is_itself = isinstance(catalog, str | Path) and Path(catalog).resolve() == folder.resolve()
    found = question.ask(folder) if is_itself else find_scenes(question, folder, catalog=catalog)
    staged = stage(
        found,
        folder,
        bbox=event.bbox,
        dem=dem,
        annotation=annotation,
        catalog=catalog,
        on_error=on_error,
        progress=progress,
    )
    held = question.ask(folder)
    held.extra_fields[UNSTAGED] = staged.extra_fields[UNSTAGED]
    return held


def _check(dem: bool | str | Path, annotation: bool, resolution: float) -> None:
    """Refuse now what would be refused after an hour of fetching."""
    if annotation and dem is False:
        raise InputError(
            "annotations (annotation=True, --annotation) give look geometry its orbits; without heights (dem=False, "
            "--no-dem) there is none: leave out one of the two"
        )
    if not resolution > 0:
        raise InputError(f"resolution must be a pixel size in metres > 0, not {resolution!r}")
    if not isinstance(dem, bool) and not Path(dem).exists():
        raise ReadError(f"there is no DEM at {dem}", kind="not_found")


def _check_places(folder: Path, path: Path) -> None:
    if path == folder or path in folder.parents:
        raise InputError(f"the scenes cannot be staged in the cube's own folder: {folder} is in {path}; choose another")
    if state_of(path) == "foreign":
        raise StoreError(f"{path} exists and is no sarcube cube; it is left as it is: choose another path")


def _heights(dem: bool | str | Path, folder: Path, staged: pystac.ItemCollection) -> Path | None:
    """Return the DEM to take, or None.

    Raises
    ------
    ReadError
        If it was to be staged and could not be: a cube without terrain is not what was asked for.
    """
    if dem is False:
        return None
    path = folder / DEM if dem is True else Path(dem)
    if not path.exists():
        why = next((entry["message"] for entry in staged.extra_fields[UNSTAGED] if entry["asset"] == "dem"), "")
        raise ReadError(
            f"there is no DEM at {path}{': ' if why else ''}{why}; give one of your own (dem=PATH, --dem FILE), or go "
            "without terrain (dem=False, --no-dem)",
            kind="not_found",
        )
    return path


def _annotations(staged: pystac.ItemCollection) -> dict[str, list[Path]]:
    """Return the annotations that were staged, by item id."""
    return {
        item.id: [Path(asset.href) for key, asset in item.assets.items() if key.split("-")[0] == "annotation"]
        for item in staged
    }


def _dress(
    cube: xr.Dataset,
    *,
    dem: Path | None,
    annotations: dict[str, list[Path]],
    not_staged: Sequence[str],
) -> xr.Dataset:
    """Add terrain and look geometry, and say which scenes are missing."""
    if not_staged:
        cube = cube.assign_attrs(not_staged=list(not_staged))
    if dem is None:
        return cube
    items = [name for names in cube["item_ids"].values for name in str(names).split(",")]
    orbit_files = [path for name in items for path in annotations.get(name, ())]
    return add_geometry(add_terrain(cube, dem), orbit_files=orbit_files)
