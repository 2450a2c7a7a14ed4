"""Densities of conditions among landslides that are found and those that are missed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from sarcube.errors import InputError
from sarcube.plotting.charts import COLOURS, chart, finish

Floats = NDArray[np.float64]

_POINTS = 400  # of a drawn curve
_PANEL, _ROW, _NARROWEST = 5.2, 3.7, 10.0  # inches: width and height of a panel, width of a figure
_MARGIN = 0.08  # of the range of values, on both sides of an axis without bounds
_FOUND, _MISSED = (COLOURS[0], "-"), (COLOURS[1], "--")
_ROUNDING = 1e-6  # relative
_RUG = 0.06  # height of a group's ticks, of the highest density
_ROOM = 1.3  # height of a panel, of the highest density: the key stands over the curves
_FINEST = 1.0  # degrees: narrowest kernel of a direction
_UNIFORM = 360 / np.sqrt(12)  # degrees: standard deviation of a uniform direction


class _Axis(NamedTuple):
    """How a condition is drawn: its label, what its density is per, the bounds that no value can leave."""

    label: str
    per: str = ""
    bounds: tuple[float, float] = (-np.inf, np.inf)
    circular: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    @property
    def logarithmic(self) -> bool:
        return self.per == "decade"


_COMPASS = tuple((45.0 * n, name) for n, name in enumerate(("N", "NE", "E", "SE", "S", "SW", "W", "NW", "N")))
_AXES = {
    "slope": _Axis("slope (degrees)", "degree", (0, 90)),
    "aspect": _Axis("aspect, downhill direction", "degree", (0, 360), circular=True, ticks=_COMPASS),
    "look_aspect": _Axis(
        "angle between aspect and direction to the sensor (degrees)",
        "degree",
        (0, 180),
        ticks=((0, "0\nfaces it"), (45, "45"), (90, "90"), (135, "135"), (180, "180\nfaces away")),
    ),
    "incidence_angle": _Axis("incidence angle (degrees)", "degree", (0, 90)),
    "local_incidence_angle": _Axis("local incidence angle (degrees)", "degree", (0, 180)),
    "landslide_area": _Axis("area of the landslide (m²)", "decade"),
    "largest_landslide_area": _Axis("area of the largest landslide (m²)", "decade"),
    "layover_share": _Axis("share in layover", bounds=(0, 1)),
    "shadow_share": _Axis("share in shadow", bounds=(0, 1)),
    "fraction": _Axis("share of landslide pixels", bounds=(0, 1)),
}


def plot_densities(
    predictions: pd.DataFrame,
    columns: Sequence[str] = ("slope", "aspect", "landslide_area"),
    *,
    threshold: float,
    title: str | None = None,
    simulated: bool = False,
) -> Figure:
    """Draw how conditions are distributed among the landslides that are found and among those that are missed.

    It is the form of figures 7, S1 and S2 of Nava et al. 2026 (GMD 19, 167).

    Parameters
    ----------
    predictions : pandas.DataFrame
        One row per patch with landslide (bool), score (probability) and the columns to draw, as
        `sarcube.describe_patches` gives them.
    columns : sequence of str
        A panel each. Those of `describe_patches` have labels, units and bounds; any other column of numbers may be
        drawn under its own name.
    threshold : float
        A landslide is found if its score is at least this.
    title : str, optional
        By default what is compared, and the threshold.
    simulated : bool
        Stamp the figure: its data are simulated.

    Returns
    -------
    matplotlib.figure.Figure
        Densities that integrate to 1, of found (true positives, solid) and missed (false negatives, dashed), with a
        tick for every patch under them. n counts the patches whose condition is known. Landslides without a score are
        in neither group, and the title counts them.

    Raises
    ------
    InputError
        If a column is missing or holds no numbers, no column is given, the threshold is not finite, or there is no
        landslide with a score.

    Notes
    -----
    Gaussian kernels of Scott's bandwidth. At the bounds that no value can leave, such as a slope of 0, the density is
    reflected (Silverman 1986, Density Estimation, section 2.10), so that it does not leak beyond; aspect is wrapped
    around the circle, with the circular standard deviation in Scott's rule, at most that of a uniform direction; areas
    are drawn per decade. A group of fewer than two different values has no density, and the panel says so.
    """
    _check(predictions, columns)
    if not np.isfinite(threshold):
        raise InputError(f"the threshold must be a finite number, not {threshold}")
    scores = predictions["score"].to_numpy(na_value=np.nan)  # of their own precision, as they are counted elsewhere
    landslide = predictions["landslide"].to_numpy(bool)
    scored = landslide & np.isfinite(scores)
    if not scored.any():
        raise InputError("there is no landslide with a score: nothing was found or missed that could be compared")
    across = min(len(columns), 3)
    down = -(-len(columns) // across)
    title = title or f"Landslides found and missed at threshold {threshold:.2f}"
    if unscored := int((landslide & ~scored).sum()):
        title += f"; {unscored} without a score"
    figure = chart(max(_PANEL * across, _NARROWEST), _ROW * down, title=title, simulated=simulated)
    panels = figure.subplots(down, across, squeeze=False).ravel().tolist()
    groups = {"found": scored & (scores >= threshold), "missed": scored & (scores < threshold)}
    for ax, column in zip(panels, columns, strict=False):
        values = predictions[column].to_numpy(np.float64, na_value=np.nan)
        _draw(ax, {name: values[group & np.isfinite(values)] for name, group in groups.items()}, _axis(column))
    for ax in panels[len(columns) :]:
        ax.set_axis_off()
    return figure


def _axis(column: str) -> _Axis:
    return _AXES.get(column, _Axis(column))


def _check(predictions: pd.DataFrame, columns: Sequence[str]) -> None:
    if isinstance(columns, str) or not columns:
        raise InputError(f'columns must be one or more names of columns, such as ["slope"], not {columns!r}')
    if missing := [name for name in ("landslide", "score", *columns) if name not in predictions]:
        raise InputError(
            f"the table lacks {', '.join(missing)}: scores come from sc.score_patches, conditions from "
            "sc.describe_patches"
        )
    for name in columns:
        if not pd.api.types.is_numeric_dtype(predictions[name]):
            raise InputError(f'"{name}" holds no numbers, so that it has no density; sc.evaluate_by_condition counts')
        if _axis(name).logarithmic and (predictions[name] <= 0).any():
            raise InputError(f'"{name}" is drawn per decade, and so must be > 0')


def _draw(ax: Axes, groups: dict[str, Floats], axis: _Axis) -> None:
    """Draw a panel: a curve and a row of ticks for each group of values (n,)."""
    values = {name: np.log10(group) if axis.logarithmic else group for name, group in groups.items()}
    low, high = _limits(np.concatenate(list(values.values())), axis)
    along = np.linspace(low, high, _POINTS)
    densities = {n: _density(group, along, axis) for n, group in values.items() if _varied(group)}
    top = max((float(density.max()) for density in densities.values()), default=1.0)
    for row, (name, (colour, dash)) in enumerate(zip(groups, (_FOUND, _MISSED), strict=True)):
        style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 2}
        density = densities.get(name, np.full(len(along), np.nan))  # nothing is drawn, but the key has its line
        ax.plot(_shown(along, axis), density, label=f"{name}, n = {len(groups[name])}", **style)
        ax.fill_between(_shown(along, axis), density, color=colour, alpha=0.15, linewidth=0)
        height = np.full(len(groups[name]), -_RUG * (row + 0.8) * top)
        ax.plot(groups[name], height, linestyle="none", marker="|", color=colour, alpha=0.5, markersize=7)
    ax.set_ylim(-_RUG * 2.6 * top, _ROOM * top)
    if lacking := [name for name in groups if name not in densities]:
        note = f"no density of {' and '.join(lacking)}:\nfewer than two different values"
        ax.text(0.02, 0.97, note, transform=ax.transAxes, ha="left", va="top", fontsize=9)
    if axis.logarithmic:
        ax.set_xscale("log")
    ax.set_xlim(*_shown(np.array([low, high]), axis))
    if axis.ticks:
        ax.set_xticks([place for place, _ in axis.ticks], [label for _, label in axis.ticks])
    finish(ax, x=axis.label, y=f"density per {axis.per}" if axis.per else "density")
    ax.set_yticks([tick for tick in ax.get_yticks() if 0 <= tick <= _ROOM * top])
    ax.legend(loc="upper right", fontsize=9)


def _varied(values: Floats) -> bool:
    """Whether there are two values at least that rounding does not explain."""
    return len(values) > 1 and bool(np.ptp(values) > _ROUNDING * np.abs(values).max())


def _limits(values: Floats, axis: _Axis) -> tuple[float, float]:
    """Return where an axis begins and ends: about the values, and within the bounds; a circle is drawn whole."""
    if axis.ticks:
        return axis.bounds
    if not values.size:
        return (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    margin = _MARGIN * (high - low) or _MARGIN * max(abs(low), 1.0)
    return max(low - margin, axis.bounds[0]), min(high + margin, axis.bounds[1])


def _density(values: Floats, along: Floats, axis: _Axis) -> Floats:
    """Density of values (n,) at the places of a curve (k,), by Gaussian kernels: see `plot_densities`."""
    if axis.circular:
        return _circular_density(values, along)
    kernels = gaussian_kde(values)
    low, high = axis.bounds
    if np.isinf(high - low):
        return np.asarray(kernels(along))
    # Between two mirrors there are images of images; the widest kernel, of a value at each bound, reaches the third.
    turns = 2 * (high - low) * np.arange(-2, 3)
    return np.asarray(sum(kernels(along + turn) + kernels(2 * low - along + turn) for turn in turns))


def _circular_density(degrees: Floats, along: Floats) -> Floats:
    """Density per degree of directions, by Gaussian kernels wrapped around the circle."""
    length = min(float(abs(np.exp(1j * np.radians(degrees)).mean())), 1.0)
    spread = np.degrees(np.sqrt(-2 * np.log(length))) if length > 0 else np.inf
    width = max(min(spread, _UNIFORM) * len(degrees) ** (-1 / 5), _FINEST)
    away = along[:, np.newaxis] - degrees
    # One turn after the other, for memory; the widest kernel, of two opposite directions, is 90 degrees.
    total: Floats = sum(np.exp(-0.5 * ((away + turn) / width) ** 2).sum(axis=1) for turn in 360.0 * np.arange(-2, 3))
    return np.asarray(total / (len(degrees) * width * np.sqrt(2 * np.pi)))


def _shown(values: Floats, axis: _Axis) -> Floats:
    shown: Floats = 10**values if axis.logarithmic else values
    return shown
