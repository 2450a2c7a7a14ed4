"""Commands that say what changed, without weights."""

import time
from pathlib import Path
from typing import Annotated

import typer
import xarray as xr

import sarcube as sc
from sarcube.atomic import replacing
from sarcube.cli.arguments import CubePath, EventFile, PostDays, PreDays
from sarcube.cli.console import out, say_written
from sarcube.cli.progress import computing
from sarcube.cli.stack_zarr import write_stack_zarr
from sarcube.cog import write_cog
from sarcube.errors import BandError, InputError

_SUFFIXES = (".tif", ".tiff", ".zarr")


def composite(
    cube: CubePath,
    event: EventFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.tif (replaced if there) or OUT.zarr (new).")],
    track: Annotated[str | None, typer.Option(help="Such as D164; needed where the cube holds several.")] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    polarisation: Annotated[list[str] | None, typer.Option(help="vv or vh, repeatable; by default both.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw the change here, such as change.png.")] = None,
) -> None:
    """Compare the ground before an event with the ground after it: medians in dB, and their difference."""
    start = time.perf_counter()
    if output.suffix.lower() not in _SUFFIXES:
        raise InputError(f'a composite is written as {", ".join(_SUFFIXES)}, not "{output.name}"')
    data = sc.open_cube(cube)
    stack = sc.composite(
        data,
        sc.read_event(event),
        track=track,
        pre_days=pre_days,
        post_days=post_days,
        polarisations=tuple(polarisation or ("vv", "vh")),
    )
    with computing("compositing"):
        files = [(write_stack_zarr if output.suffix.lower() == ".zarr" else write_cog)(stack, output)]
    if picture is not None:
        with computing("drawing"):
            files.append(_draw(stack, data, picture))
    _say_of(stack)
    out.print(f"bands: {', '.join(map(str, stack['band'].values))}", highlight=False)
    for side, dates in (("before", stack.attrs["dates_pre"]), ("after", stack.attrs["dates_post"])):
        out.print(f"{side}: {len(dates)} dates, {dates[0]} to {dates[-1]}", highlight=False)
    say_written(files, start)


def density(
    cube: CubePath,
    event: EventFile,
    output: Annotated[Path, typer.Option("--output", "-o", help="OUT.tif; replaced if there.")],
    pre_days: PreDays = 1095,
    post_days: PostDays = 15,
    radius: Annotated[int, typer.Option(help="Radius of the circle that is counted in, pixels.")] = 10,
    percentile: Annotated[float, typer.Option(help="Drops above this percentile of the area count.")] = 99.0,
    min_slope: Annotated[float, typer.Option(help="Gentler slopes, in degrees, are masked.")] = 10.0,
    mask_distortion: Annotated[bool, typer.Option(help="Leave out layover and shadow, track by track.")] = False,
    per_track: Annotated[
        bool, typer.Option("--per-track/--across-tracks", help="One median per track, or per pass direction (paper).")
    ] = True,
    polygons: Annotated[Path | None, typer.Option(help="Outlines of what is dense, as FILE.gpkg.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Density, 0 to 1, that the outlines begin at.")] = None,
    min_area: Annotated[float, typer.Option(help="Smallest outline, in square metres.")] = 0.0,
) -> None:
    """Map where backscatter dropped most: Handwerger's density of strong decrease, and outlines of what is dense."""
    start = time.perf_counter()
    if (polygons is None) != (threshold is None):
        raise InputError("outlines need both --polygons FILE.gpkg and --threshold, a density from 0 to 1")
    if polygons is not None and polygons.suffix.lower() != ".gpkg":
        raise InputError(f'outlines are written as .gpkg, not "{polygons.name}"')
    data = sc.open_cube(cube)
    needed = ("slope", "layover_shadow") if mask_distortion else ("slope",)
    missing = [name for name in needed if name not in data]
    if missing:
        raise BandError(f"{cube} has no {' and no '.join(missing)}: `sarcube build` with --dem adds them")
    layer = sc.landslide_density(
        data,
        sc.read_event(event),
        pre_days=pre_days,
        post_days=post_days,
        radius_pixels=radius,
        percentile=percentile,
        min_slope=min_slope,
        mask_distortion=mask_distortion,
        per_track=per_track,
    )
    with computing("counting drops"):
        layer = layer if polygons is None else layer.compute()  # outlines need all of it: not to be computed twice
        files = [write_cog(layer, output)]
    if polygons is not None and threshold is not None:
        from sarcube.cli.outlines import write_outlines  # geopandas takes half a second

        objects = sc.change_objects(layer, threshold=threshold, min_area=min_area)
        files.append(write_outlines(objects, polygons))
        out.print(f"{len(objects)} outlines, {objects['area_m2'].sum() / 1e6:.2f} km²", highlight=False)
    _say_of(layer)
    say_written(files, start)


def _draw(stack: xr.DataArray, cube: xr.Dataset, path: Path) -> Path:
    figure = sc.plot_event(stack, elevation=cube.get("elevation"))
    with replacing(path) as file:
        figure.savefig(file)
    return path


def _say_of(layer: xr.DataArray) -> None:
    """Name the layer's event and tracks, and say so if it is simulated."""
    said = "SIMULATED " if layer.attrs.get("simulated") else ""
    tracks = layer.attrs.get("tracks") or [layer.attrs["track"]]
    out.print(f"{said}{layer.attrs['event']}, {', '.join(tracks)}: {layer.attrs['long_name']}", highlight=False)
