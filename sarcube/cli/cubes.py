"""Commands that build a cube, look at it and check it."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

import sarcube as sc
from sarcube.cli.arguments import CubePath, PostDays, PreDays
from sarcube.cli.console import err, out, say_written
from sarcube.cli.progress import computing, quiet, steps
from sarcube.cli.tables import describe_cube, quality_table
from sarcube.cube.store.write import KEEP_BITS
from sarcube.errors import InputError, StoreError


def build(
    source: Annotated[Path, typer.Argument(help="A staged folder with catalog.json, or a folder of RTC GeoTIFFs.")],
    cube: Annotated[Path, typer.Argument(help="The Zarr store to write, such as sumatra.zarr.")],
    event: Annotated[Path | None, typer.Option(help="TOML file of an event: its area and windows only.")] = None,
    dem: Annotated[Path | None, typer.Option(help="DEM: adds terrain, look geometry, layover and shadow.")] = None,
    resolution: Annotated[float, typer.Option(help="Pixel size in metres.")] = 10.0,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    relative_orbit: Annotated[int | None, typer.Option(help="Of files whose names and tags do not tell it.")] = None,
    orbit_state: Annotated[str | None, typer.Option(help="ascending or descending, likewise.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Id of an item to leave out, repeatable.")] = None,
    on_error: Annotated[
        str, typer.Option(help="raise: stop at a file that cannot be read. skip: leave holes.")
    ] = "raise",
    exact: Annotated[bool, typer.Option(help="Keep every bit, not 8 bits of the mantissa (0.01 dB).")] = False,
    append: Annotated[bool, typer.Option(help="Add new dates to the cube that is there.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a cube that is there already.")] = False,
) -> None:
    """Build a cube from staged scenes: a catalogue, or RTC GeoTIFFs of OPERA, HyP3 or Planetary Computer names.

    Run it again after an interruption: it goes on where it stopped.
    """
    start = time.perf_counter()
    place = None if event is None else sc.read_event(event)
    if (source / "catalog.json").exists():
        if place is None:
            raise InputError(f"{source} is a catalogue: say which part of it with --event EVENT.toml")
        catalog: Any = source
    else:
        catalog = sc.items_from_folder(source, relative_orbit=relative_orbit, orbit_state=orbit_state)
    items = catalog if place is None else sc.search(place, catalog=catalog, pre_days=pre_days, post_days=post_days)
    data = sc.load(
        items,
        bbox=None if place is None else place.bbox,
        resolution=resolution,
        drop=tuple(drop or ()),
        on_error=on_error,
    )
    if dem is not None:
        data = sc.add_geometry(sc.add_terrain(data, dem))
    with computing("writing the cube"):
        sc.write_cube(data, cube, keep_bits=None if exact else KEEP_BITS, append=append, overwrite=overwrite)
    built = sc.open_cube(cube)
    describe_cube(built)
    say_written([cube], start)
    if built.attrs.get("unread"):
        err.print("[bold yellow]holes:[/bold yellow] files could not be read; the same command tries just these again")
        raise typer.Exit(6)


def info(
    cube: CubePath,
    incomplete: Annotated[bool, typer.Option(help="Also a cube that was never completed.")] = False,
) -> None:
    """Say what a cube holds: extent, layers, tracks, dates."""
    describe_cube(sc.open_cube(cube, allow_incomplete=incomplete))


def verify(cube: CubePath) -> None:
    """Read every byte of a cube and compare it with its checksums."""
    with steps() as progress:
        progress("verifying", 0, 1)
        findings = sc.verify_cube(cube)
        progress("verifying", 1, 1)
    for finding in findings:
        out.print(str(finding), highlight=False)
    if findings:
        raise StoreError(
            f"{cube}: {len(findings)} findings; run the `sarcube build` that made it again: it repairs just these"
        )
    out.print(f"{cube} is whole")


def quality(
    cube: CubePath,
    drop: Annotated[list[str] | None, typer.Option(help="Id of an item to leave out, repeatable.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table here.")] = None,
) -> None:
    """Say per scene what is missing, whether it is displaced, and how its slices fit."""
    with computing("looking at the scenes"), quiet("sarcube.cube.quality"):  # the table below says it all
        table = sc.quality(sc.open_cube(cube), drop=tuple(drop or ()))
    if csv is not None:
        table.to_csv(csv, index=False)
    quality_table(table)
