"""The command that maps landslides with a model."""

import time
from pathlib import Path
from typing import Annotated

import typer

import sarcube as sc
from sarcube.cli.arguments import CubePath, EventFile, PostDays, PreDays
from sarcube.cli.console import out, say_written
from sarcube.cli.progress import computing


def detect(
    cube: CubePath,
    event: EventFile,
    folder: Annotated[Path, typer.Argument(help="Where the map goes.")],
    model: Annotated[str, typer.Option(help="A packaged model's name, or a .safetensors file.")] = "cnn-vv-vh",
    track: Annotated[list[str] | None, typer.Option(help="Such as D164, repeatable; by default all.")] = None,
    inventory: Annotated[Path | None, typer.Option(help="Known landslides: adds the comparison with them.")] = None,
    stride: Annotated[int, typer.Option(help="Pixels from one window to the next.")] = 32,
    min_slope: Annotated[
        float | None, typer.Option(help="Leave out windows of which less than 5 % is so steep, in degrees.")
    ] = None,
    min_visible_share: Annotated[
        float, typer.Option(help="Leave out windows of which the track sees less, 0 to 1.")
    ] = 0.0,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
) -> None:
    """Map likely landslides in a cube: boxes, probabilities, a picture."""
    start = time.perf_counter()
    known = None if inventory is None else sc.read_inventory(inventory)
    with computing("mapping landslides"):
        result = sc.map_landslides(
            sc.open_cube(cube),
            sc.read_event(event),
            folder,
            model=sc.load_model(model),
            tracks=track,
            pre_days=pre_days,
            post_days=post_days,
            stride=stride,
            min_slope=min_slope,
            min_visible_share=min_visible_share,
            inventory=known,
        )
    for name, evaluation in result.windows.items():
        out.print(f"{name}: {evaluation}\n{result.boxes[name]}")
    out.print(f"{len(result.detections)} boxes on {', '.join(result.scores)}")
    say_written(result.files, start)
