"""The command that asks a catalogue for scenes."""

from typing import Annotated

import typer

import sarcube as sc
from sarcube.cli.arguments import EventFile, PostDays, PreDays
from sarcube.cli.console import out


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
