"""The command line: thin commands over the public names."""

import logging
import sys
from typing import Annotated

import typer
from rich.logging import RichHandler

from sarcube.cli.bench import bench
from sarcube.cli.build import build
from sarcube.cli.change import composite, density
from sarcube.cli.console import err
from sarcube.cli.cubes import info, quality, verify
from sarcube.cli.detection import detect
from sarcube.cli.doctor import doctor
from sarcube.cli.evaluation import evaluate
from sarcube.cli.explanation import explain
from sarcube.cli.passes import passes
from sarcube.cli.scenes import search
from sarcube.cli.simulation import demo, simulate
from sarcube.cli.staging import stage
from sarcube.cli.training import train
from sarcube.errors import SarcubeError

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


@app.callback()
def _settings(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what is done.")] = False,
) -> None:
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("sarcube").setLevel(logging.INFO if verbose else logging.WARNING)


_scenes = (demo, simulate, search, passes, stage, build, doctor)
_cubes = (info, verify, quality, composite, density, train, detect, evaluate, explain, bench)
for _command in (*_scenes, *_cubes):
    app.command()(_command)


def main() -> None:
    """Run the command line; what sarcube raises on purpose becomes one line and an exit code."""
    try:
        app()
    except SarcubeError as error:
        err.print(f"[bold red]error:[/bold red] {error}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        err.print("interrupted")
        sys.exit(130)
