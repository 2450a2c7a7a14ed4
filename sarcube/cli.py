"""The command line: thin commands over the public names."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from dask.callbacks import Callback
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import sarcube as sc
from sarcube.cube.store.write import KEEP_BITS
from sarcube.errors import InputError, SarcubeError, StoreError, TrackError
from sarcube.synthetic.archive import FLAWS, USUAL_FLAWS

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Sentinel-1 radar cubes and landslide maps, offline, on a laptop.\n\n"
    "Start with [bold]sarcube demo[/bold]: it simulates an event, builds its cube, maps its landslides and compares "
    "the map with the truth.",
    epilog="Exit codes: 0 done; 2 wrong usage; 3 nothing there (no scene, track, band, area); 4 a file is missing or "
    "broken; 5 a store or disk problem; 6 done, but files that could not be read left holes; 1 anything else; "
    "130 interrupted.",
)

EventFile = Annotated[Path, typer.Argument(help="TOML file with name, bbox and time (or pre_end and post_start).")]
CubePath = Annotated[Path, typer.Argument(help="A cube that `sarcube build` wrote.")]
PreDays = Annotated[float, typer.Option(help="Days before the event that count as before.")]
PostDays = Annotated[float, typer.Option(help="Days after the event that count as after.")]


@app.callback()
def _settings(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")] = False,
) -> None:
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("sarcube").setLevel(logging.INFO if verbose else logging.WARNING)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where the map goes.")] = Path("sarcube-demo"),
    keep: Annotated[Path | None, typer.Option(help="Keep scenes, DEM, inventory and cube in this new folder.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another event.")] = 7,
    size_km: Annotated[float, typer.Option(help="Side of the event, 2 to 60 km.")] = 20.0,
) -> None:
    """Simulate an event and map its landslides: the whole path, offline, with the truth beside it."""
    from sarcube.demo import run_demo

    start = time.perf_counter()
    with _steps() as progress, _quiet("sarcube.cube.load"):  # the simulated archive's flaws are meant
        simulation, result = run_demo(
            folder, seed=seed, size_km=size_km, keep=keep, progress=progress, stage=_computing
        )
    table = Table(title=f"SIMULATED event {simulation.event.name}: {simulation.slides} landslides, not a measurement")
    for column in ("track", "windows", "slides in", "F1", "prec.", "rec.", "AUPRC", "boxes", "area found"):
        table.add_column(column, justify="left" if column == "track" else "right")
    for name, w in result.windows.items():
        b = result.boxes[name]
        cells = (w.f1, w.precision, w.recall, w.auprc)
        table.add_row(
            name,
            str(w.n),
            str(w.positives),
            *(f"{c:.3f}" for c in cells),
            str(b.boxes),
            f"{b.landslide_area_found:.0%}",
        )
    out.print(table)
    _written([*result.files, *([keep] if keep else [])], start)


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="A new folder for catalogue, scenes, DEM and inventory.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    size_km: Annotated[float, typer.Option(help="Side of the event, 2 to 60 km.")] = 20.0,
    pre_dates: Annotated[int, typer.Option(help="Dates per track before the event, 1 to 35.")] = 5,
    post_dates: Annotated[int, typer.Option(help="Dates per track after the event, 1 to 6.")] = 2,
    landslides: Annotated[bool, typer.Option(help="Whether anything slides.")] = True,
    flaw: Annotated[
        list[str] | None, typer.Option(help=f"A flaw of the archive, repeatable: {', '.join(FLAWS)}, or none.")
    ] = None,
) -> None:
    """Write a simulated event with known truth, as a folder that looks like staged Planetary Computer scenes."""
    start = time.perf_counter()
    flaws = USUAL_FLAWS if not flaw else tuple(f for f in flaw if f != "none")
    with _steps() as progress:
        simulation = sc.simulate(
            folder,
            seed=seed,
            size_km=size_km,
            pre_dates=pre_dates,
            post_dates=post_dates,
            landslides=landslides,
            flaws=flaws,
            progress=progress,
        )
    out.print(f"SIMULATED: {simulation.slides} landslides, tracks {', '.join(simulation.tracks)}")
    _written([folder / "event.toml", folder / "catalog.json", simulation.dem, simulation.inventory], start)


@app.command()
def search(
    event: EventFile,
    catalog: Annotated[str | None, typer.Option(help="Folder, ItemCollection or API; else Planetary Computer.")] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
) -> None:
    """List which tracks have scenes before and after an event."""
    place = sc.read_event(event)
    items = sc.search(place, catalog=catalog, pre_days=pre_days, post_days=post_days)
    out.print(sc.availability(items, place).to_string())


@app.command()
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
    with _computing("writing the cube"):
        sc.write_cube(data, cube, keep_bits=None if exact else KEEP_BITS, append=append, overwrite=overwrite)
    built = sc.open_cube(cube)
    _describe(built)
    _written([cube], start)
    if built.attrs.get("unread"):
        err.print("[bold yellow]holes:[/bold yellow] files could not be read; the same command tries just these again")
        raise typer.Exit(6)


@app.command()
def info(
    cube: CubePath,
    incomplete: Annotated[bool, typer.Option(help="Also a cube that was never completed.")] = False,
) -> None:
    """Say what a cube holds: extent, layers, tracks, dates."""
    _describe(sc.open_cube(cube, allow_incomplete=incomplete))


@app.command()
def verify(cube: CubePath) -> None:
    """Read every byte of a cube and compare it with its checksums."""
    with _steps() as progress:
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


@app.command()
def quality(
    cube: CubePath,
    drop: Annotated[list[str] | None, typer.Option(help="Id of an item to leave out, repeatable.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the whole table here.")] = None,
) -> None:
    """Say per scene what is missing, whether it is displaced, and how its slices fit."""
    with _computing("looking at the scenes"), _quiet("sarcube.cube.quality"):  # the table below says it all
        table = sc.quality(sc.open_cube(cube), drop=tuple(drop or ()))
    if csv is not None:
        table.to_csv(csv, index=False)
    _quality_table(table)


@app.command()
def detect(
    cube: CubePath,
    event: EventFile,
    folder: Annotated[Path, typer.Argument(help="Where the map goes.")],
    model: Annotated[str, typer.Option(help="A packaged model's name, or a .safetensors file.")] = "cnn-vv-vh",
    track: Annotated[list[str] | None, typer.Option(help="Such as D164, repeatable; by default all.")] = None,
    inventory: Annotated[Path | None, typer.Option(help="Known landslides: adds the comparison with them.")] = None,
    stride: Annotated[int, typer.Option(help="Pixels from one window to the next.")] = 32,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
) -> None:
    """Map likely landslides in a cube: boxes, probabilities, a picture."""
    start = time.perf_counter()
    known = None if inventory is None else sc.read_inventory(inventory)
    with _computing("mapping landslides"):
        result = sc.map_landslides(
            sc.open_cube(cube),
            sc.read_event(event),
            folder,
            model=sc.load_model(model),
            tracks=track,
            pre_days=pre_days,
            post_days=post_days,
            stride=stride,
            inventory=known,
        )
    for name, evaluation in result.windows.items():
        out.print(f"{name}: {evaluation}\n{result.boxes[name]}")
    out.print(f"{len(result.detections)} boxes on {', '.join(result.scores)}")
    _written(result.files, start)


def _describe(data: Any) -> None:
    names = data["scene_track"].to_numpy()
    x = data["x"].to_numpy()
    said = " SIMULATED, not a measurement;" if data.attrs.get("simulated") else ""
    out.print(
        f"cube:{said} {data.sizes['time']} dates of {data.sizes['y']} x {data.sizes['x']} pixels, "
        f"{abs(x[1] - x[0]):g} m, {data.rio.crs}\nlayers: {', '.join(map(str, data.data_vars))}"
    )
    table = Table("track", "dates", "first", "last")
    for name in sorted(set(names)):
        days = data["time"].to_numpy()[names == name].astype("M8[D]")
        table.add_row(name, str(len(days)), str(days.min()), str(days.max()))
    out.print(table)
    if "incomplete" in data.attrs:
        out.print(f"incomplete: {data.attrs['incomplete']}")
    for label in (
        "duplicates_dropped",
        "dropped_on_request",
        "missing_polarisations",
        "items_without_vv_and_vh",
        "unread",
    ):
        for line in data.attrs.get(label, []):
            out.print(f"{label.replace('_', ' ')}: {line}")


def _quality_table(data: Any) -> None:
    table = Table(title="shares of pixels; displacement in pixels against the track's other dates")
    shares = [name for name in data.columns if name.endswith(("_valid", "_zeros", "_nodata", "_fringe", "_unread"))]
    shares = [name for name in shares if name.endswith("_valid") or (data[name] > 0).any()]
    for column in ("date", "track", *(name.replace("_", " ") for name in shares), "rows", "columns", "seam dB"):
        table.add_column(column, justify="left" if column in ("date", "track") else "right")
    for _, row in data.iterrows():
        numbers = [f"{row[name]:.2f}" for name in ("shift_rows", "shift_columns", "seam_db")]
        table.add_row(f"{row['time']:%Y-%m-%d}", row["track"], *(f"{row[name]:.1%}" for name in shares), *numbers)
    out.print(table)
    for _, row in data.iterrows():
        for warning in row["warnings"]:
            out.print(f"{row['time']:%Y-%m-%d} {row['track']} {row['item_ids']}: {warning}", highlight=False)


def _written(files: list[Path], start: float) -> None:
    out.print(f"done in {time.perf_counter() - start:.0f} s, written:")
    for file in files:
        out.print(f"  {file}", highlight=False)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


@contextmanager
def _steps() -> Iterator[Any]:
    """Show a bar that is told (what, done, total); it goes when the last step is done."""
    bar = _bar()
    task = bar.add_task("", total=None)

    def tell(what: str, done: int, total: int) -> None:
        bar.start()
        bar.update(task, description=what, completed=done, total=total)
        if done == total:
            bar.stop()

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def _computing(what: str) -> Iterator[None]:
    """Show a bar for every Dask computation inside."""
    with _bar() as bar, _DaskBar(bar, what):
        yield


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Let a part of sarcube say nothing below an error."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _DaskBar(Callback):
    """Counts finished tasks of whatever Dask computes; Dask wants a class here."""

    def __init__(self, bar: Progress, what: str) -> None:
        self._bar, self._task = bar, bar.add_task(what, total=None)

    def _start_state(self, dsk: Any, state: Any) -> None:
        self._bar.update(self._task, completed=0, total=sum(len(state[k]) for k in ("ready", "waiting")))

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        self._bar.advance(self._task)


def main() -> None:
    """Run the command line; what sarcube raises on purpose becomes one line and an exit code."""
    try:
        app()
    except SarcubeError as error:
        err.print(f"[bold red]error:[/bold red] {error}", highlight=False)
        if isinstance(error, TrackError):
            err.print("tracks are listed by: sarcube info CUBE")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)


if __name__ == "__main__":
    main()
