"""Commands that look at a cube and check it."""

from pathlib import Path
from typing import Annotated

import typer

import sarcube as sc
from sarcube.cli.arguments import CubePath
from sarcube.cli.console import out
from sarcube.cli.progress import computing, quiet, steps
from sarcube.cli.tables import describe_cube, quality_table
from sarcube.errors import StoreError


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
