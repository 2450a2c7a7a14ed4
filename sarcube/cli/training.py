"""The command that trains a model."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import geopandas as gpd
import typer
import xarray as xr

import sarcube as sc
from sarcube.cli.arguments import CubePath, EventFile, PostDays, PreDays
from sarcube.cli.console import out, say_written
from sarcube.cli.progress import computing, resumable, steps
from sarcube.errors import InputError
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.splits import Method, Split
from sarcube.training.config import Loss

if TYPE_CHECKING:
    from sarcube.models import Network


def train(
    cube: CubePath,
    event: EventFile,
    inventory: Annotated[Path, typer.Argument(help="Known landslides: GeoPackage, shapefile or GeoJSON.")],
    model: Annotated[Path, typer.Argument(help="MODEL.safetensors, where the trained model goes.")],
    track: Annotated[list[str] | None, typer.Option(help="Such as D164, repeatable; by default all.")] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    architecture: Annotated[
        str,
        typer.Option(help="cnn, cbam, nava2021 or resnet for windows; unet, unet_plus_plus, attention_unet: pixels."),
    ] = "cnn",
    filters: Annotated[int | None, typer.Option(help="Filters of a convolution, for windows.")] = None,
    split: Annotated[str, typer.Option(help="blocked: by squares of ground; random: patch by patch.")] = "blocked",
    block_size: Annotated[float, typer.Option(help="Side of a square of the blocked split, metres.")] = 3200.0,
    buffer: Annotated[float, typer.Option(help="Metres between the parts of the blocked split.")] = 640.0,
    clean: Annotated[
        bool | None, typer.Option(help="Leave out what a track cannot see; by default if the cube knows it.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the patches, at most.")] = 100,
    batch_size: Annotated[int, typer.Option(help="Patches in one step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    loss: Annotated[str, typer.Option(help="focal, focal_on_probabilities, bce or dice.")] = "focal",
    seed: Annotated[int, typer.Option(min=0, help="Decides weights, split, order and draws.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps.")] = "cpu",
    checkpoint: Annotated[
        Path | None, typer.Option(help="Kept while it trains; by default MODEL.checkpoint.", show_default=False)
    ] = None,
    log: Annotated[Path | None, typer.Option(help="LOG.csv, or a folder for TensorBoard.")] = None,
) -> None:
    """Train a model on a cube and an inventory of its landslides, and measure it on ground that it has not seen.

    An interrupted command goes on where it was when it is typed again.

    Example: sarcube train sumatra.zarr event.toml landslides.gpkg mine.safetensors --track D164 --log mine.csv
    """
    start = time.perf_counter()
    if model.suffix != ".safetensors":
        raise InputError(f'a model is written as .safetensors, not "{model.name}"')
    config = sc.TrainConfig(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        loss=cast(Loss, loss),
        seed=seed,
        device=device,
    )
    data, when = sc.open_cube(cube), sc.read_event(event)
    names = list(dict.fromkeys(track or sorted(data["scene_track"].to_numpy().tolist())))
    lazy = [sc.composite(data, when, track=n, pre_days=pre_days, post_days=post_days) for n in names]
    known = _inventories(sc.read_inventory(inventory), data, names, clean)
    with computing("compositing"):
        stacks = [stack.compute() for stack in lazy]
    fresh = _fresh_model(architecture, tuple(stacks[0]["band"].to_numpy().tolist()), filters, seed)
    parts = [_patches(stack, *known[name], fresh) for name, stack in zip(names, stacks, strict=True)]
    sets = sc.split_patches(
        concatenate_patches(parts),
        method=cast(Method, split),
        block_size=block_size,
        buffer=buffer,
        seed=seed,
    )
    _say_sizes(sets, simulated=bool(data.attrs.get("simulated")))
    kept = checkpoint or model.with_suffix(".checkpoint")
    with resumable(), steps() as tell:
        tell("training", 0, epochs)

        def progress(entry: dict[str, float]) -> None:
            said = f"validation loss {entry['validation_loss']:.5f}, AUPRC {entry['validation_auprc']:.3f}"
            tell(said, int(entry["epoch"]), epochs)

        trained = sc.train(
            sets.train, sets.validation, model=fresh, config=config, checkpoint=kept, log=log, progress=progress
        )
    trained.spec = replace(
        trained.spec,
        trained_on=f"event {when.name}, {'track' if len(names) == 1 else 'tracks'} {', '.join(names)}",
        simulated_only=bool(data.attrs.get("simulated")),
    )
    written = sc.save_model(trained, model)
    kept.unlink(missing_ok=True)
    best = min(trained.history, key=lambda entry: entry["validation_loss"])
    out.print(
        f"{len(trained.history)} epochs; epoch {best['epoch']:.0f} is kept: validation loss "
        f"{best['validation_loss']:.5f}, AUPRC {best['validation_auprc']:.3f}",
        highlight=False,
    )
    out.print(f"test: {sc.evaluate(cast(Any, trained), sets.test)}", highlight=False)
    say_written([written, *([log] if log else [])], start)


def _inventories(
    known: gpd.GeoDataFrame, cube: xr.Dataset, tracks: list[str], clean: bool | None
) -> dict[str, tuple[gpd.GeoDataFrame, gpd.GeoDataFrame | None]]:
    """Return for each track all landslides, and those that it can see where these are told apart."""
    if not ("layover_shadow" in cube if clean is None else clean):
        return dict.fromkeys(tracks, (known, None))
    seen = sc.clean_inventory(known, cube).per_track
    blind = [track for track in tracks if track not in seen]
    if blind:
        raise InputError(
            f"the cube's layover_shadow lacks the track {', '.join(blind)} and holds {', '.join(seen)}: add it with "
            "sc.add_geometry, choose others with --track, or train on what is mapped with --no-clean"
        )
    return {track: (known, seen[track]) for track in tracks}


def _fresh_model(architecture: str, bands: tuple[str, ...], filters: int | None, seed: int) -> "Network":
    from sarcube.models import ARCHITECTURES  # takes torch

    if architecture not in ARCHITECTURES:
        raise InputError(f'no architecture is called "{architecture}"; there are: {", ".join(sorted(ARCHITECTURES))}')
    make = getattr(sc.models, architecture)
    model: Network = make(len(bands), bands=bands, seed=seed)
    if filters is None:
        return model
    if "filters" not in model.spec.options:
        raise InputError(f'the architecture "{architecture}" takes no filters; leave --filters out')
    chosen: Network = make(len(bands), bands=bands, seed=seed, filters=filters)
    return chosen


def _patches(stack: xr.DataArray, known: gpd.GeoDataFrame, seen: gpd.GeoDataFrame | None, model: "Network") -> Patches:
    """Cut a stack into what a model learns from: labelled windows, or chips with masks."""
    size = model.spec.window_size
    if isinstance(model, sc.models.Segmenter):
        return sc.sample_chips(stack, known, cleaned=seen, size=size)
    return sc.sample_patches(stack, known, cleaned=seen, size=size)


def _say_sizes(sets: Split, *, simulated: bool) -> None:
    if simulated:
        out.print("SIMULATED event, not a measurement")
    for name, patches in zip(("training", "validation", "test"), sets, strict=True):
        out.print(f"{name}: {patches}", highlight=False)
