"""The command that says what keeps scenes from coming."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from sarcube.cli.console import err, out

_COLOURS = {"well": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}


def doctor(
    catalog: Annotated[str | None, typer.Option(help="URL of a STAC API; else Planetary Computer.")] = None,
) -> None:
    """Say in plain words what is wrong: this machine, its folders, the way to the archive, the archive.

    Exit code 4 if something failed. Shows no key, password or signature, so what it says may be passed on.
    """
    from sarcube.acquisition.doctor import examine  # half a second that no other command need wait

    counts = dict.fromkeys(_COLOURS, 0)
    findings = examine(catalog=catalog)
    while True:
        with err.status("asking"):
            finding = next(findings, None)
        if finding is None:
            break
        counts[finding.state] += 1
        row = Table.grid(padding=(0, 1))
        row.add_column(width=7)
        row.add_column(width=16)
        row.add_column()
        # As texts: what a server or a folder is called is no markup.
        row.add_row(Text(finding.state, style=_COLOURS[finding.state]), finding.name, Text(finding.words))
        if finding.advice:
            row.add_row("", "", Text(f"-> {finding.advice}", style="bold"))
        out.print(row)
    out.print(", ".join(f"{count} {state}" for state, count in counts.items() if count), highlight=False)
    if counts["failed"]:
        raise typer.Exit(4)
