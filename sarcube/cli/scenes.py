"""The command that asks a catalogue for scenes."""

import json
from pathlib import Path
from typing import Annotated

import pystac
import typer

import sarcube as sc
from sarcube.acquisition.hrefs import is_url
from sarcube.atomic import replacing
from sarcube.cli.arguments import EventFile, PostDays, PreDays
from sarcube.cli.console import out
from sarcube.errors import InputError


def search(
    event: EventFile,
    catalog: Annotated[
        str | None, typer.Option(help="Folder, ItemCollection, stac-geoparquet or API; else Planetary Computer.")
    ] = None,
    pre_days: PreDays = 60,
    post_days: PostDays = 12,
    polarisations: Annotated[str | None, typer.Option(help="Only scenes with all of these: vv,vh.")] = None,
    relative_orbit: Annotated[int | None, typer.Option(help="Only this relative orbit.")] = None,
    orbit_state: Annotated[str | None, typer.Option(help="Only ascending or descending passes.")] = None,
    written: Annotated[
        Path | None, typer.Option("--out", help="Write the items as JSON: a catalogue for --catalog.")
    ] = None,
) -> None:
    """List which tracks have scenes before and after an event."""
    place = sc.read_event(event)
    items = sc.search(
        place,
        catalog=catalog,
        pre_days=pre_days,
        post_days=post_days,
        polarisations=None if polarisations is None else [name.strip() for name in polarisations.split(",")],
        relative_orbit=relative_orbit,
        orbit_state=orbit_state,
    )
    if written is not None:
        _write(items, written)
    out.print(str(sc.availability(items, place)), markup=False)
    if written is not None:
        out.print(f"{len(items)} items written: {written}", highlight=False)


def _write(items: pystac.ItemCollection, file: Path) -> None:
    home = file.resolve().parent
    hrefs = [asset.href for item in items for asset in item.assets.values()]
    away = next((href for href in hrefs if not is_url(href) and not Path(href).is_relative_to(home)), None)
    if away is not None:
        raise InputError(
            f"cannot write {file}: a catalogue is read only with files below its own folder, {away} is not; "
            "write it into the folder of the catalogue, or one above"
        )
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(items.to_dict(), indent=1), encoding="utf-8")
