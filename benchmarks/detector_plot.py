"""Windows a second by stride, filters and precision, beside SAR-LRA's pipeline: the picture."""

from pathlib import Path
from typing import Any

from sarcube.plotting.charts import REFERENCE, chart, finish, styles


def draw_rates(result: dict[str, Any], path: Path) -> None:
    """Draw the table that the part `growth` measured, and the rival's rates where they were measured."""
    lines = list(dict.fromkeys((row["filters"], row["precision"]) for row in result["growth"]))
    figure = chart(9, 5.5, title="Windows a second on one machine, by stride", simulated=True)
    ax = figure.add_subplot()
    for (filters, precision), style in zip(lines, styles(len(lines)), strict=True):
        rows = [row for row in result["growth"] if (row["filters"], row["precision"]) == (filters, precision)]
        rows.sort(key=lambda row: row["stride"])
        ax.plot(
            [row["stride"] for row in rows],
            [row["windows_per_second"] for row in rows],
            label=f"F = {filters}, {precision}",
            **style,
        )
    for filters in sorted({filters for filters, _ in lines}):
        details = result.get(f"sar_lra_f{filters}")
        if details:
            rate = details["details"]["sar_lra_512"]["windows_per_second"]
            ax.axhline(rate, **REFERENCE)
            who = "SAR-LRA's pipeline" if result["counts"]["sar_lra"] else "its torch twin (does not count)"
            place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "bottom", "fontsize": 9}
            ax.text(0.99, rate, f"{who}, F = {filters}, stride 32", **place)
    strides = sorted({row["stride"] for row in result["growth"]})
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter("{x:,.0f}")
    ax.set_xticks(strides, [str(stride) for stride in strides])
    finish(ax, x="stride, pixels", y="windows a second")
    ax.legend(frameon=False, fontsize=9)
    figure.savefig(path)
