"""Commands that simulate an event."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import sarcube as sc
from sarcube.cli.console import out, say_written
from sarcube.cli.progress import computing, quiet, steps
from sarcube.synthetic.archive import FLAWS, USUAL_FLAWS


def demo(
    folder: Annotated[Path, typer.Argument(help="Where the map goes.")] = Path("sarcube-demo"),
    keep: Annotated[Path | None, typer.Option(help="Keep scenes, DEM, inventory and cube in this new folder.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another event.")] = 7,
    size_km: Annotated[float, typer.Option(help="Side of the event, 2 to 60 km.")] = 20.0,
) -> None:
    """Simulate an event and map its landslides: the whole path, offline, with the truth beside it."""
    from sarcube.demo import run_demo

    start = time.perf_counter()
    with steps() as progress, quiet("sarcube.cube.load"):  # the simulated archive's flaws are meant
        simulation, result = run_demo(folder, seed=seed, size_km=size_km, keep=keep, progress=progress, stage=computing)
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
    say_written([*result.files, *([keep] if keep else [])], start)


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
    with steps() as progress:
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
    say_written([folder / "event.toml", folder / "catalog.json", simulation.dem, simulation.inventory], start)
