"""What charts of scores share: room for title and stamp, styles of lines that all can tell apart, named axes."""

from itertools import cycle, islice
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sarcube.plotting.maps import DPI, draw_stamp

# Okabe & Ito's colour-blind safe palette; shape and dash tell apart what colour does not.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v")
_DASHES = ("-", "--", "-.")
REFERENCE: dict[str, Any] = {"color": "#7F7F7F", "linewidth": 1.8, "linestyle": (0, (1, 1.5)), "zorder": 1}
_HEAD = 0.6  # inches above the panels


def chart(width: float, height: float, *, title: str, simulated: bool) -> Figure:
    """Make an empty figure of some inches, its title on the left, and the stamp where data are simulated."""
    figure = Figure(figsize=(width, height + _HEAD), dpi=DPI, layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    top = 1 - _HEAD / (height + _HEAD)
    engine.set(rect=(0, 0, 1, top))  # type: ignore[call-arg]  # every engine has settings of its own
    place = 0.15 / width, (1 + top) / 2
    figure.suptitle(title, x=place[0], y=place[1], ha="left", va="center", fontsize=14, weight="bold")
    if simulated:
        draw_stamp(figure)
    return figure


def styles(number: int) -> list[dict[str, Any]]:
    """Return the style of each of some lines: colour, marker and dash, no two alike up to 105."""
    cycles = (islice(cycle(values), number) for values in (COLOURS, _MARKERS, _DASHES))
    return [
        {"color": colour, "marker": marker, "linestyle": dash, "markersize": 6, "linewidth": 1.6}
        for colour, marker, dash in zip(*cycles, strict=True)
    ]


def finish(ax: Axes, *, x: str, y: str) -> None:
    """Name the axes, with their units, and draw a grid behind what is drawn."""
    ax.set_xlabel(x, fontsize=10)
    ax.set_ylabel(y, fontsize=10)
    ax.tick_params(labelsize=9)
    ax.grid(color="#DDDDDD", linewidth=0.6)
    ax.set_axisbelow(True)
