"""Sentinel-1 radar cubes and landslide maps, offline, on a laptop.

Public names are loaded on first use, so that `import sarcube` takes neither torch nor much time.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    # name: module that holds it
    "Event": "sarcube.events",
    "read_event": "sarcube.events",
    "SarcubeError": "sarcube.errors",
    "search": "sarcube.acquisition.catalog",
    "availability": "sarcube.acquisition.availability",
    "items_from_folder": "sarcube.acquisition.folder",
    "load": "sarcube.cube.load",
    "add_terrain": "sarcube.cube.geometry",
    "add_geometry": "sarcube.cube.geometry",
    "select_track": "sarcube.cube.track",
    "write_cube": "sarcube.cube.store",
    "open_cube": "sarcube.cube.store",
    "composite": "sarcube.change.composite",
    "landslide_density": "sarcube.change.baselines",
    "read_inventory": "sarcube.labels.inventory",
    "sample_patches": "sarcube.labels.patches",
    "load_model": "sarcube.models.weights",
    "save_model": "sarcube.models.weights",
    "TrainConfig": "sarcube.training",
    "train": "sarcube.training",
    "score_windows": "sarcube.detection.scores",
    "detect": "sarcube.detection.detect",
    "write_detections": "sarcube.detection.export",
    "map_landslides": "sarcube.mapping",
    "evaluate": "sarcube.evaluation",
    "plot_event": "sarcube.plotting",
    "simulate": "sarcube.synthetic.event",
}
_SUBPACKAGES = ("models", "sar", "change", "windows", "detection", "metrics", "synthetic")

__all__ = ["__version__", *_SUBPACKAGES, *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        value = getattr(import_module(_PUBLIC[name]), name)
    elif name in _SUBPACKAGES:
        value = import_module(f"sarcube.{name}")
    else:
        raise AttributeError(f"module 'sarcube' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
