"""The main job on a simulated event: the path a user's own event takes, from staged scenes to the map."""

import contextlib
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from sarcube.acquisition.catalogs.search import search
from sarcube.cube.geometry.layers import add_geometry
from sarcube.cube.geometry.terrain import add_terrain
from sarcube.cube.load import load
from sarcube.cube.store.write import open_cube, write_cube
from sarcube.errors import StoreError
from sarcube.labels.inventory import read_inventory
from sarcube.mapping import LandslideMap, map_landslides
from sarcube.models.weights import load_model
from sarcube.synthetic.event import Simulation, simulate

MODEL = "cnn-vv-vh"
PRE_DAYS, POST_DAYS = 60, 24

Progress = Callable[[str, int, int], None]
Stage = Callable[[str], AbstractContextManager[object]]


def run_demo(
    folder: str | Path,
    *,
    seed: int = 7,
    size_km: float = 20.0,
    keep: str | Path | None = None,
    progress: Progress | None = None,
    stage: Stage = contextlib.nullcontext,
) -> tuple[Simulation, LandslideMap]:
    """Simulate an event, build its cube, map its landslides and hold the map against the truth. No network.

    Parameters
    ----------
    folder : str or path
        Gets the map, as `map_landslides` writes it.
    seed, size_km
        Of the simulation (`sc.simulate`).
    keep : str or path, optional
        A new folder for the simulated scenes, DEM, inventory and the cube; by default they are deleted at the end.
    progress : callable, optional
        Told of the simulation's steps.
    stage : callable, optional
        Opened as a context around each later step, with its name.

    Returns
    -------
    Simulation, LandslideMap

    Raises
    ------
    InputError, StoreError
        As `sc.simulate` does.
    """
    with contextlib.ExitStack() as stack:
        if keep is None:
            try:
                scenes = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sarcube-demo-"))) / "event"
            except OSError as error:
                raise StoreError(
                    f"no temporary folder for the simulated scenes: {error}; give one with keep"
                ) from error
        else:
            scenes = Path(keep)
        simulation = simulate(scenes, seed=seed, size_km=size_km, progress=progress)
        event = simulation.event
        with stage("building the cube"):
            items = search(event, catalog=scenes, pre_days=PRE_DAYS, post_days=POST_DAYS)
            cube = add_geometry(add_terrain(load(items, bbox=event.bbox), simulation.dem))
            cube = open_cube(write_cube(cube, scenes / "cube.zarr"))
        with stage("mapping landslides"):
            result = map_landslides(
                cube,
                event,
                folder,
                model=load_model(MODEL),
                pre_days=PRE_DAYS,
                post_days=POST_DAYS,
                inventory=read_inventory(simulation.inventory),
            )
    return simulation, result
