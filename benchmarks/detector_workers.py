"""Processes that take turns: one works, the others wait for a line."""

import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
Ask = Callable[..., Answer]
Turn = Callable[[], Answer]

_HERE = Path(__file__).parents[1]
RIVAL = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": ""}
"""Variables of the processes, unless they are set: TensorFlow leaves oneDNN out by itself on processors without VNNI,
where it is twice as fast with it."""


@contextmanager
def worker(module: str, *arguments: object, python: str | Path = sys.executable) -> Iterator[Ask]:
    """Start a module of benchmarks that serves; give a function that asks it with keywords and waits for the answer."""
    command = [str(python), "-m", f"benchmarks.{module}", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_HERE, env=RIVAL | os.environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(**request: object) -> Answer:
            print(json.dumps(request), file=requests, flush=True)
            line = answers.readline()
            if not line:
                raise RuntimeError(f"benchmarks.{module} ended without an answer; what it said last stands above")
            return dict(json.loads(line))

        try:
            yield ask
        finally:
            process.stdin.close()  # the end of its work
            process.wait(timeout=60)


def take_turns(turns: Mapping[str, Turn], *, rounds: int) -> dict[str, list[Answer]]:
    """Let each work once, one after another, and all again."""
    answers: dict[str, list[Answer]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            gc.collect()
            answers[name].append(turn())
            say(name, answers[name][-1])
    return answers


def say(name: str, answer: Answer) -> None:
    """Print what a turn took."""
    rate = f"{answer['windows'] / answer['seconds']:9.0f} windows/s" if "windows" in answer else " " * 19
    print(f"  {name:28s} {answer['seconds']:8.3f} s {rate} {answer['peak_rss_gib']:6.2f} GiB", flush=True)


def rate(answers: list[Answer]) -> float:
    """Return the median of the rounds' windows per second."""
    return statistics.median(answer["windows"] / answer["seconds"] for answer in answers)


def peak(answers: list[Answer]) -> float:
    """Return the highest peak of resident memory, GiB."""
    return max(answer["peak_rss_gib"] for answer in answers)
