"""A process that does one piece of work for every line on its standard input: idle, but warm, between two turns.

The interpreter of a rival runs it as well: nothing but the standard library is imported.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_gib

Request = dict[str, Any]


def serve(work: Callable[[Request], dict[str, Any]]) -> None:
    """Answer each line of JSON on standard input with one on standard output: what `work` gives, and `peak_rss_gib`.

    That is the peak of resident memory while the work was done, with all that the process held before.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak of resident memory starts anew from here
        answer = work(json.loads(line))
        print(json.dumps(answer | {"peak_rss_gib": peak_gib()}), file=answers, flush=True)
