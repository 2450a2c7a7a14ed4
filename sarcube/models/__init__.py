"""Detectors: one architecture per file, and what a model says about itself.

Importing this package takes torch; `import sarcube` alone does not.
"""

from collections.abc import Callable

from sarcube.errors import InputError
from sarcube.models.classifier import WindowClassifier
from sarcube.models.cnn import cnn, cnn_from_spec
from sarcube.models.spec import ModelSpec

__all__ = ["ModelSpec", "WindowClassifier", "build", "cnn"]

ARCHITECTURES: dict[str, Callable[[ModelSpec], WindowClassifier]] = {"cnn": cnn_from_spec}


def build(spec: ModelSpec) -> WindowClassifier:
    """Make a model with fresh weights from what a spec says.

    Raises
    ------
    InputError
        If no architecture has that name, or its options cannot be used.
    """
    if spec.architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InputError(f'no architecture is called "{spec.architecture}"; there are: {known}')
    return ARCHITECTURES[spec.architecture](spec)
