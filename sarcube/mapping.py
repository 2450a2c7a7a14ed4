"""From a cube to a map of likely landslides: composites, scores, boxes, and the files a user takes away."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import xarray as xr
from shapely.geometry import box

from sarcube.atomic import replacing
from sarcube.change.composite import composite
from sarcube.cog import write_cog
from sarcube.cube.track import select_track
from sarcube.detection.detect import boxes_from_scores
from sarcube.detection.export import score_map, write_detections
from sarcube.detection.scores import score_windows
from sarcube.errors import BandError, StoreError
from sarcube.evaluation.detections import DetectionEvaluation, evaluate_detections
from sarcube.evaluation.evaluate import evaluate_scores
from sarcube.evaluation.summary import Evaluation
from sarcube.events import Event
from sarcube.labels.rasterise import grid_of, rasterise_inventory
from sarcube.plotting import plot_event

if TYPE_CHECKING:
    from sarcube.models.network import Network


@dataclass(frozen=True)
class LandslideMap:
    """What `map_landslides` found and wrote.

    Attributes
    ----------
    detections : GeoDataFrame
        Boxes of all tracks, as `sarcube.detect` gives them.
    scores : dict of str to DataArray
        Probability of every window, per track.
    windows : dict of str to Evaluation
        Per track, all windows against the inventory; empty without one.
    boxes : dict of str to DetectionEvaluation
        Per track, the boxes against the inventory; empty without one.
    files : list of Path
        Detections, probabilities, picture, metrics.
    """

    detections: gpd.GeoDataFrame
    scores: dict[str, xr.DataArray]
    windows: dict[str, Evaluation]
    boxes: dict[str, DetectionEvaluation]
    files: list[Path]


def map_landslides(
    cube: xr.Dataset,
    event: Event,
    folder: str | Path,
    *,
    model: "Network",
    tracks: Sequence[str] | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    stride: int = 32,
    min_slope: float | None = None,
    water: xr.DataArray | None = None,
    min_visible_share: float = 0.0,
    inventory: gpd.GeoDataFrame | None = None,
) -> LandslideMap:
    """Score every window of every track, keep the best boxes, and write the map.

    Parameters
    ----------
    cube : xarray.Dataset
        From `sc.load` or `sc.open_cube`; with `layover_shadow` (see `sc.add_geometry`) each box tells what share of it
        the track can see.
    event : Event
    folder : str or path
        Gets detections.gpkg, probability-TRACK.tif, quicklook.png and metrics.json; files of that name are replaced.
    model : WindowClassifier
        From `sc.load_model`; its bands decide which polarisations are used.
    tracks : sequence of str, optional
        Such as ["D164"]; by default all of the cube. Each is mapped by itself.
    pre_days, post_days : float
        Windows before and after the event.
    stride : int
        Pixels from one window to the next.
    min_slope : float, optional
        Degrees: leaves out windows on gentler ground, by the cube's `slope` (see `sc.add_terrain`).
    water : (y, x) DataArray of bool or uint8, optional
        Leaves out windows that are mostly water.
    min_visible_share : float
        Leaves out windows of which the track sees less, by the cube's `layover_shadow`. What each of the three does
        to the letter, `sc.detect` tells.
    inventory : GeoDataFrame, optional
        Known landslides: adds the evaluation of every window and box against them.

    Returns
    -------
    LandslideMap

    Raises
    ------
    TrackError, NoSceneError, BandError, AreaError, InputError
        As `sc.composite`, `sc.score_windows` and `sc.detect` do; BandError too if the cube lacks the layer that a
        filter needs.
    StoreError
        If the folder cannot be written.
    """
    _check_layers(cube, min_slope, min_visible_share)
    folder = _made(Path(folder))
    names = list(tracks) if tracks else sorted(set(cube["scene_track"].to_numpy().tolist()))
    polarisations = tuple(dict.fromkeys(band.split("_")[0] for band in model.spec.bands))
    stacks = [
        composite(cube, event, track=n, pre_days=pre_days, post_days=post_days, polarisations=polarisations)
        for n in names
    ]
    scores, windows, boxes, found = {}, {}, {}, []
    known = None if inventory is None else _inside(inventory, stacks[0])
    label = None if known is None else rasterise_inventory(known, stacks[0])
    for name, stack in zip(names, stacks, strict=True):
        scores[name] = score_windows(stack, model, stride=stride).compute()
        visible = select_track(cube, name)["layover_shadow"].compute() if "layover_shadow" in cube else None
        found.append(
            boxes_from_scores(
                scores[name],
                visible=visible,
                min_visible_share=min_visible_share,
                slope=None if min_slope is None else cube["slope"],
                min_slope=min_slope,
                water=water,
            )
        )
        if known is not None and label is not None:
            windows[name] = evaluate_scores(scores[name], label)
            boxes[name] = evaluate_detections(found[-1], known)
    detections = gpd.GeoDataFrame(pd.concat(found, ignore_index=True), crs=found[0].crs)

    files = [write_detections(detections, folder / "detections.gpkg")]
    files += [write_cog(score_map(scores[n]), folder / f"probability-{n}.tif") for n in names]
    figure = plot_event(
        stacks,
        scores=list(scores.values()),
        detections=detections,
        inventory=known,
        layover_shadow=cube.get("layover_shadow"),
        elevation=cube.get("elevation"),
    )
    with replacing(folder / "quicklook.png") as path:
        figure.savefig(path)
    filters = {"min_slope": min_slope, "water": water is not None, "min_visible_share": min_visible_share}
    with replacing(folder / "metrics.json") as path:
        path.write_text(json.dumps(_record(cube, event, stacks, scores, found, windows, boxes, filters), indent=1))
    files += [folder / "quicklook.png", folder / "metrics.json"]
    return LandslideMap(detections, scores, windows, boxes, files)


def _check_layers(cube: xr.Dataset, min_slope: float | None, min_visible_share: float) -> None:
    if min_slope is not None and "slope" not in cube:
        raise BandError('min_slope needs "slope", which the cube does not hold: run sc.add_terrain first')
    if min_visible_share > 0 and "layover_shadow" not in cube:
        raise BandError('min_visible_share needs "layover_shadow", which the cube does not hold: run sc.add_geometry')


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error}; give another one") from error
    return folder


def _inside(inventory: gpd.GeoDataFrame, stack: xr.DataArray) -> gpd.GeoDataFrame:
    """Landslides that reach into the stack's area; those beyond could not be found."""
    grid = grid_of(stack)
    area = box(*grid.boundingbox.bbox)
    local = inventory.to_crs(str(grid.crs))
    return local[local.intersects(area)].clip(area)


def _record(
    cube: xr.Dataset,
    event: Event,
    stacks: Sequence[xr.DataArray],
    scores: dict[str, xr.DataArray],
    found: Sequence[gpd.GeoDataFrame],
    windows: dict[str, Evaluation],
    boxes: dict[str, DetectionEvaluation],
    filters: dict[str, Any],
) -> dict[str, Any]:
    """Return what was run, on what, and what came of it."""
    first = next(iter(scores.values()))
    record: dict[str, Any] = {
        "event": event.name,
        "filters": filters,
        "simulated": bool(cube.attrs.get("simulated", False)),
        "model": first.attrs["model"],
        "threshold": first.attrs["threshold"],
        "stride": first.attrs["stride"],
        "sarcube": version("sarcube"),
        "python": platform.python_version(),
        "items": list(cube.attrs.get("items", [])),
        "tracks": {},
    }
    for (name, score), stack, frame in zip(scores.items(), stacks, found, strict=True):
        record["tracks"][name] = {
            "dates_pre": stack.attrs["dates_pre"],
            "dates_post": stack.attrs["dates_post"],
            "windows": int(score.count()),
            "boxes": len(frame),
            **({"all_windows": asdict(windows[name]), "all_boxes": asdict(boxes[name])} if name in windows else {}),
        }
    return record
