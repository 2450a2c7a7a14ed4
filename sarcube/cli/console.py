"""Where the commands write: results to standard output, all else to standard error."""

import time
from pathlib import Path

from rich.console import Console

out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)


def say_written(files: list[Path], start: float) -> None:
    """Name the files that a command wrote, and how long it took since `start`."""
    out.print(f"done in {time.perf_counter() - start:.0f} s, written:")
    for file in files:
        out.print(f"  {file}", highlight=False)
