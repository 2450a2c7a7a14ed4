"""The command that times a model on this machine."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table

import sarcube as sc
from sarcube.atomic import replacing
from sarcube.cli.console import err, out

if TYPE_CHECKING:
    from sarcube.detection.block import Precision


def bench(
    model: Annotated[str, typer.Option(help="A packaged model's name, or a .safetensors file.")] = "cnn-vv-vh",
    size: Annotated[int, typer.Option(help="Pixels along a side of the image.")] = 2048,
    stride: Annotated[
        list[int] | None, typer.Option(help="Pixels from one window to the next, repeatable; by default 32.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="float32, bfloat16 or screened, repeatable; by default float32.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is one.")] = "cpu",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was found here.")] = None,
) -> None:
    """Time a model on simulated noise in memory: how many windows it scores in a second on this machine."""
    # Torch, which no other command need wait for.
    from sarcube.detection.throughput import measure_throughput, processor

    network, machine = sc.load_model(model), processor()
    found = []
    for way in cast("list[Precision]", precision or ["float32"]):  # score_windows refuses others
        for step in stride or [32]:
            with err.status(f"stride {step}, {way}"):
                found.append(measure_throughput(network, size=size, stride=step, precision=way, device=device))
    flags = " ".join(machine["flags"]) or "unknown"
    out.print(
        f"{model} ({network.spec.architecture}, {network.spec.window_size} x {network.spec.window_size} x "
        f"{len(network.spec.bands)}) on SIMULATED noise, {size} x {size} pixels, {device}\n"
        f"{machine['cpu'] or 'unknown processor'}, {os.cpu_count()} cores, flags: {flags}",
        highlight=False,
    )
    table = Table()
    for column in ("stride", "precision", "windows", "seconds", "windows/s", "Mpx/s", "peak GiB"):
        table.add_column(column, justify="left" if column == "precision" else "right")
    for row in found:
        peak = "unknown" if row.peak_memory_gib is None else f"{row.peak_memory_gib:.2f}"
        rates = f"{row.windows_per_second:.0f}", f"{row.megapixels_per_second:.2f}"
        table.add_row(str(row.stride), row.precision, str(row.windows), f"{row.seconds:.3f}", *rates, peak)
    out.print(table)
    if json_file is not None:
        said = {"simulated": True, "model": model, **machine, "cores": os.cpu_count()}
        with replacing(json_file) as file:
            file.write_text(json.dumps(said | {"results": [asdict(row) for row in found]}, indent=1))
        out.print(f"written: {json_file}", highlight=False)
