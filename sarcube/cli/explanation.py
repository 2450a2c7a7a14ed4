"""The command that says why a model sees landslides where it does."""

import time
from pathlib import Path
from typing import Annotated

import geopandas as gpd
import numpy as np
import typer
import xarray as xr
from pyproj import Transformer

import sarcube as sc
from sarcube.atomic import replacing
from sarcube.cli.arguments import CubePath, EventFile, PostDays, PreDays
from sarcube.cli.console import out, say_written
from sarcube.cli.model_stack import stack_for
from sarcube.cli.progress import computing
from sarcube.cli.stack_zarr import write_stack_zarr
from sarcube.cog import write_cog
from sarcube.errors import AreaError, InputError
from sarcube.labels.rasterise import grid_of

_SUFFIXES = (".tif", ".tiff", ".zarr")


def explain(
    model: Annotated[str, typer.Argument(help="A packaged model's name, or a .safetensors file.")],
    cube: CubePath,
    event: EventFile,
    output: Annotated[Path, typer.Argument(help="OUT.tif (replaced if there) or OUT.zarr (new).")],
    track: Annotated[str | None, typer.Option(help="Such as D164; needed where the cube holds several.")] = None,
    box: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="The area in degrees, widened to a window at least; by default all."),
    ] = None,
    inventory: Annotated[
        Path | None, typer.Option(help="Known landslides: baselines are windows without one; drawn in the figure.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw bands and contributions here: explain.png.")] = None,
    stride: Annotated[int | None, typer.Option(help="Pixels from one window to the next; by default a window.")] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
) -> None:
    """Map what each pixel of each band contributes to the logit of a landslide, and the mean over the bands.

    Contributions are counted from the mean logit of 15 windows of the same stack, drawn from those without a landslide
    of the inventory; without one, from all.
    """
    start = time.perf_counter()
    if output.suffix.lower() not in _SUFFIXES:
        raise InputError(f'contributions are written as {", ".join(_SUFFIXES)}, not "{output.name}"')
    network, known = sc.load_model(model), None if inventory is None else sc.read_inventory(inventory)
    with computing("compositing"):
        stack = stack_for(
            network, sc.open_cube(cube), sc.read_event(event), track=track, pre_days=pre_days, post_days=post_days
        ).compute()
    none = gpd.GeoDataFrame(geometry=[], crs=grid_of(stack).crs)
    patches = sc.sample_patches(stack, none if known is None else known, size=network.spec.window_size)
    area = stack if box is None else _cut(stack, box, network.spec.window_size)
    with computing("explaining"):
        layer = sc.explain(network, area, baselines=patches, stride=stride).compute()
    mean = layer.mean("band").assign_coords(band="mean")
    bands = xr.concat([layer, mean], "band", coords="minimal", compat="override").assign_attrs(layer.attrs)
    files = [(write_stack_zarr if output.suffix.lower() == ".zarr" else write_cog)(bands, output)]
    if figure is not None:
        drawn = sc.plot_explanation(area, layer, inventory=known)
        with replacing(figure) as file:
            drawn.savefig(file)
        files.append(figure)
    said = "SIMULATED " if stack.attrs.get("simulated") else ""
    out.print(f"{said}{stack.attrs['event']}, {stack.attrs['track']}: {layer.attrs['long_name']}", highlight=False)
    drawn_from = "all windows" if known is None else "windows without a known landslide"
    base = f"mean logit of {layer.attrs['baselines']} drawn from {drawn_from}, {layer.attrs['base_value']:.3f}"
    out.print(f"bands: {', '.join(bands['band'].values)}; counted from the {base}", highlight=False)
    say_written(files, start)


def _cut(stack: xr.DataArray, box: tuple[float, float, float, float], size: int) -> xr.DataArray:
    """Cut a box in degrees out of a stack, widened to a window where it is smaller, and moved in from the border.

    Raises
    ------
    AreaError
        If no pixel lies in the box.
    """
    grid = grid_of(stack)
    to_grid = Transformer.from_crs("EPSG:4326", grid.crs.to_wkt() if grid.crs else None, always_xy=True)
    left, bottom, right, top = to_grid.transform_bounds(*box)
    first, last = ~grid.affine * (left, top), ~grid.affine * (right, bottom)
    chosen = {}
    for axis, begin, end in zip(("x", "y"), first, last, strict=True):
        length = stack.sizes[axis]
        start, stop = int(np.floor(max(begin, 0))), int(np.ceil(min(end, length)))
        if start >= stop:
            held = ", ".join(
                f"{value:.4f}" for value in to_grid.transform_bounds(*grid.boundingbox.bbox, direction="INVERSE")
            )
            raise AreaError(
                f"the box {box} holds no pixel of the stack, which covers {held} (west, south, east, north)"
            )
        missing = max(size - (stop - start), 0)
        start = max(min(start - missing // 2, length - size), 0)
        chosen[axis] = slice(start, max(stop, start + size))
    return stack.isel(chosen)
