"""The command that builds a cube: from an event, from staged scenes, or from a folder of GeoTIFFs."""

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

import sarcube as sc
from sarcube.cli.arguments import PostDays, PreDays
from sarcube.cli.console import err, say_written
from sarcube.cli.progress import computing, resumable
from sarcube.cli.staging import Catalog, OnError, Polarisations, bands, say_holes, staging
from sarcube.cli.tables import describe_cube
from sarcube.cube.store.write import KEEP_BITS
from sarcube.errors import InputError


def build(
    source: Annotated[
        Path, typer.Argument(help="EVENT.toml, a staged folder with catalog.json, or a folder of RTC GeoTIFFs.")
    ],
    cube: Annotated[
        Path | None, typer.Argument(help="The Zarr store to write; of an event, NAME.zarr by default.")
    ] = None,
    event: Annotated[
        Path | None, typer.Option(help="With a folder: TOML file of an event, whose area and windows are taken.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="With an event: where its scenes are staged. Default: NAME.")
    ] = None,
    catalog: Catalog = None,
    dem: Annotated[
        Path | None,
        typer.Option(help="DEM of terrain, look geometry, layover, shadow. With an event: instead of Copernicus'."),
    ] = None,
    no_dem: Annotated[bool, typer.Option("--no-dem", help="With an event: no terrain, no look geometry.")] = False,
    annotation: Annotated[
        bool, typer.Option("--annotation", help="With an event: look geometry from the orbits of the source products.")
    ] = False,
    resolution: Annotated[float, typer.Option(help="Pixel size in metres.")] = 10.0,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    relative_orbit: Annotated[
        int | None, typer.Option(help="Only this one; of files whose names and tags do not tell it.")
    ] = None,
    orbit_state: Annotated[str | None, typer.Option(help="ascending or descending, likewise.")] = None,
    polarisations: Polarisations = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="With a folder: id of an item to leave out, repeatable.")
    ] = None,
    on_error: OnError = "raise",
    exact: Annotated[bool, typer.Option(help="Keep every bit, not 8 bits of the mantissa (0.01 dB).")] = False,
    append: Annotated[bool, typer.Option(help="With a folder: add new dates to the cube that is there.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace a cube that is there already.")] = False,
) -> None:
    """Build a cube: from an event (search, stage, load, terrain, geometry), or from scenes that are on this disk.

    Scenes on disk are a staged catalogue, or RTC GeoTIFFs of OPERA, HyP3 or Planetary Computer names. Run it again
    after an interruption: it goes on where it stopped. Run it again for an event days later: it adds what has come.
    """
    start = time.perf_counter()
    keep_bits = None if exact else KEEP_BITS
    if source.suffix.lower() == ".toml":
        _refuse("an event", event=event, drop=drop, append=append)
        if dem is not None and no_dem:
            raise InputError("--dem FILE and --no-dem contradict each other: give one of them")
        place = sc.read_event(source)
        name = _plain_name(place.name) if folder is None or cube is None else ""
        path = cube or Path(f"{name}.zarr")
        with staging() as progress, computing("writing the cube"):
            sc.build_cube(
                place,
                folder or Path(name),
                path,
                catalog=catalog,
                pre_days=pre_days,
                post_days=post_days,
                orbit_state=orbit_state,
                relative_orbit=relative_orbit,
                polarisations=bands(polarisations),
                resolution=resolution,
                dem=dem if dem is not None else not no_dem,
                annotation=annotation,
                keep_bits=keep_bits,
                on_error=on_error,
                overwrite=overwrite,
                progress=progress,
            )
    else:
        _refuse(
            "a folder",
            folder=folder,
            catalog=catalog,
            no_dem=no_dem,
            annotation=annotation,
            polarisations=polarisations,
        )
        if cube is None:
            raise InputError(f"say where to write the cube: sarcube build {source} CUBE.zarr")
        path = cube
        items, bbox = _scenes(source, event, pre_days, post_days, relative_orbit, orbit_state)
        data = sc.load(items, bbox=bbox, resolution=resolution, drop=tuple(drop or ()), on_error=on_error)
        if dem is not None:
            data = sc.add_geometry(sc.add_terrain(data, dem))
        with resumable(), computing("writing the cube"):
            sc.write_cube(data, path, keep_bits=keep_bits, append=append, overwrite=overwrite)
    built = sc.open_cube(path)
    describe_cube(built)
    say_written([path], start)
    if built.attrs.get("unread"):
        err.print("[bold yellow]holes:[/bold yellow] files could not be read; the same command tries just these again")
        raise typer.Exit(6)
    if built.attrs.get("not_staged"):
        say_holes()


def _scenes(
    source: Path,
    event: Path | None,
    pre_days: float,
    post_days: float,
    relative_orbit: int | None,
    orbit_state: str | None,
) -> tuple[Any, Any]:
    """Return the items of a folder, and the area of the event where one is given."""
    place = None if event is None else sc.read_event(event)
    if (source / "catalog.json").exists():
        if place is None:
            raise InputError(f"{source} is a catalogue: say which part of it with --event EVENT.toml")
        catalog: Any = source
    else:
        catalog = sc.items_from_folder(source, relative_orbit=relative_orbit, orbit_state=orbit_state)
    if place is None:
        return catalog, None
    return sc.search(place, catalog=catalog, pre_days=pre_days, post_days=post_days), place.bbox


def _refuse(form: str, **given: Any) -> None:
    """Say so where an option has no meaning, rather than do nothing with it."""
    if wrong := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        hint = (
            "new dates are added without it, and single scenes are left out by `sarcube build FOLDER CUBE --event "
            "EVENT.toml --drop ID`"
            if form == "an event"
            else "it goes with an EVENT.toml alone"
        )
        raise InputError(f"{', '.join(wrong)} cannot be given with {form}: {hint}")


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"\w([\w .-]*[\w-])?", name):
        raise InputError(f'the event is called "{name}", which is no name for a folder: give CUBE and --folder')
    return name
