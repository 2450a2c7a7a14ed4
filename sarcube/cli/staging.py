"""The command that brings the scenes of an event onto this disk."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

import sarcube as sc
from sarcube.cli.arguments import EventFile, PostDays, PreDays
from sarcube.cli.console import err, out, say_written
from sarcube.cli.progress import heard, resumable, transfers

Catalog = Annotated[
    str | None, typer.Option(help="Folder, ItemCollection, stac-geoparquet or API; else Planetary Computer.")
]
Polarisations = Annotated[str | None, typer.Option(help="Only scenes that have all of these, such as vv,vh.")]
OnError = Annotated[str, typer.Option(help="raise: stop at a file that cannot be read. skip: leave it out.")]


def bands(text: str | None) -> tuple[str, ...] | None:
    """Return the polarisations of an option: "vv,vh" -> ("vv", "vh")."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


@contextmanager
def staging() -> Iterator[Any]:
    """Show a bar of bytes, after a line that says how many there are to fetch, and tell who interrupts how to go on."""
    with heard("sarcube.acquisition.staging.stage"), resumable(), transfers() as progress:
        yield progress


def say_holes() -> None:
    """Say how to get what could not be fetched, and end with the exit code of holes."""
    err.print("[bold yellow]holes:[/bold yellow] what could not be fetched is missing; the same command tries it again")
    raise typer.Exit(6)


def stage(
    event: EventFile,
    folder: Annotated[Path, typer.Argument(help="Where the scenes go; one that a staging began goes on.")],
    catalog: Catalog = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    relative_orbit: Annotated[int | None, typer.Option(help="Only this relative orbit, 1 to 175.")] = None,
    orbit_state: Annotated[str | None, typer.Option(help="Only ascending or descending passes.")] = None,
    polarisations: Polarisations = None,
    dem: Annotated[bool, typer.Option("--dem", help="Also the Copernicus DEM of the area, as dem.tif.")] = False,
    annotation: Annotated[
        bool, typer.Option("--annotation", help="Also the annotations of the source products: exact look geometry.")
    ] = False,
    on_error: OnError = "raise",
) -> None:
    """Fetch the scenes of an event, clipped to its area, as a folder that needs no network.

    It says first how much there is to fetch. Run it again after an interruption: only what is missing is fetched. Run
    it again days later: it adds the scenes that have come.
    """
    from sarcube.building.build import UNSTAGED, stage_event

    start = time.perf_counter()
    place = sc.read_event(event)
    with staging() as progress:
        items = stage_event(
            place,
            folder,
            catalog=catalog,
            pre_days=pre_days,
            post_days=post_days,
            relative_orbit=relative_orbit,
            orbit_state=orbit_state,
            polarisations=bands(polarisations),
            dem=dem,
            annotation=annotation,
            on_error=on_error,
            progress=progress,
        )
    out.print(sc.availability(items, place).to_string())
    say_written([folder / "catalog.json", *([folder / "dem.tif"] if dem else [])], start)
    if missing := items.extra_fields[UNSTAGED]:
        for entry in missing:
            out.print(f"not staged: {entry['message']}", highlight=False, markup=False)
        say_holes()
