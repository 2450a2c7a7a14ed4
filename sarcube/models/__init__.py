"""Detectors: one architecture per file, and what a model says about itself.

Importing this package takes torch; `import sarcube` alone does not.
"""

from collections.abc import Callable

from sarcube.errors import InputError
from sarcube.models.attention_unet import attention_unet, attention_unet_from_spec
from sarcube.models.cbam import cbam, cbam_from_spec
from sarcube.models.classifier import WindowClassifier
from sarcube.models.cnn import cnn, cnn_from_spec
from sarcube.models.nava2021 import nava2021, nava2021_from_spec
from sarcube.models.network import Network
from sarcube.models.resnet import resnet, resnet_from_spec
from sarcube.models.sar_lra import from_sar_lra
from sarcube.models.segmenter import Segmenter
from sarcube.models.spec import ModelSpec
from sarcube.models.unet import unet, unet_from_spec
from sarcube.models.unet_plus_plus import unet_plus_plus, unet_plus_plus_from_spec

__all__ = [
    "ModelSpec",
    "Network",
    "Segmenter",
    "WindowClassifier",
    "attention_unet",
    "build",
    "cbam",
    "cnn",
    "from_sar_lra",
    "nava2021",
    "resnet",
    "unet",
    "unet_plus_plus",
]

ARCHITECTURES: dict[str, Callable[[ModelSpec], Network]] = {
    "attention_unet": attention_unet_from_spec,
    "cbam": cbam_from_spec,
    "cnn": cnn_from_spec,
    "nava2021": nava2021_from_spec,
    "resnet": resnet_from_spec,
    "unet": unet_from_spec,
    "unet_plus_plus": unet_plus_plus_from_spec,
}


def build(spec: ModelSpec) -> Network:
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
