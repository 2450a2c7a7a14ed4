"""From a stack and a model to boxes around likely landslides."""

from sarcube.detection.nms import nms

__all__ = ["nms"]
