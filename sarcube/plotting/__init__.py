"""Pictures: what changed, what was found, where and why the radar could not see, and how good detectors are.

Figures are made without pyplot, so that a script's own figures and backend stay as they are; save one with
`figure.savefig("event.png")`.
"""

from sarcube.plotting.change import plot_change
from sarcube.plotting.cross_section import plot_cross_section
from sarcube.plotting.densities import plot_densities
from sarcube.plotting.distortion import plot_distortion
from sarcube.plotting.explanation import plot_explanation
from sarcube.plotting.false_colour import plot_rgb
from sarcube.plotting.quick_look import plot_event, plot_stack
from sarcube.plotting.reliability import plot_reliability
from sarcube.plotting.runs import plot_sweep
from sarcube.plotting.time_series import plot_time_series

__all__ = [
    "plot_change",
    "plot_cross_section",
    "plot_densities",
    "plot_distortion",
    "plot_event",
    "plot_explanation",
    "plot_reliability",
    "plot_rgb",
    "plot_stack",
    "plot_sweep",
    "plot_time_series",
]
