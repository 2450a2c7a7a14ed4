"""Arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

EventFile = Annotated[Path, typer.Argument(help="TOML file with name, bbox and time (or pre_end and post_start).")]
CubePath = Annotated[Path, typer.Argument(help="A cube that `sarcube build` wrote.")]
PreDays = Annotated[float, typer.Option(help="Days before the event that count as before.")]
PostDays = Annotated[float, typer.Option(help="Days after the event that count as after.")]
