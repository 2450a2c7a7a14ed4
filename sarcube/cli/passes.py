"""The command that says when a place is imaged again."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import sarcube as sc
from sarcube.acquisition.next_passes import next_passes
from sarcube.cli.console import out
from sarcube.errors import InputError

_MINUTE = "%Y-%m-%d %H:%M"


def passes(
    event: Annotated[Path | None, typer.Argument(help="TOML file of an event: its area only.")] = None,
    bbox: Annotated[
        tuple[float, float, float, float] | None,
        typer.Option(metavar="W S E N", help="The area instead, in degrees: west, south, east, north."),
    ] = None,
    after: Annotated[str | None, typer.Option(help="A moment (UTC), such as 2022-02-25T01:39Z; else now.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Such as D164, repeatable; by default all.")] = None,
    catalog: Annotated[str | None, typer.Option(help="Folder, ItemCollection or API; else Planetary Computer.")] = None,
    cycles: Annotated[int, typer.Option(min=1, max=300, help="Passes of each platform and track to foretell.")] = 2,
) -> None:
    """Say when each track images a place again: 12 days after it did last, if ESA's plan stays the same."""
    if (event is None) == (bbox is None):
        raise InputError("say where: either EVENT.toml or --bbox W S E N")
    place = bbox if event is None else sc.read_event(event).bbox
    assert place is not None
    moment = sc.Event("the place", bbox=place, time=datetime.now(UTC) if after is None else after).first_after
    table = next_passes(place, after=moment, tracks=track or None, catalog=catalog, cycles=cycles)
    shown = table.assign(time=table["time"].dt.strftime(_MINUTE), last_seen=table["last_seen"].dt.strftime(_MINUTE))
    out.print(shown.to_string(index=False), highlight=False, markup=False)
    out.print(_sentence(table.iloc[0], pd.Timestamp(moment).tz_localize(None)), highlight=False, markup=False)


def _sentence(first: Any, moment: pd.Timestamp) -> str:
    wait = max(first["time"] - moment, pd.Timedelta(0)).round("h")
    days, hours = wait.days, wait.seconds // 3600
    return (
        f"The first pass after {moment:{_MINUTE}} UTC is {first['platform']}'s on {first['track']}, "
        f"at {first['time']:{_MINUTE}} UTC, in {days} days and {hours} hours; "
        f"it came at {first['regular']} of its last 3 dates and covers {first['covered']:.0%} of the area."
    )
