"""Temporal medians, before-and-after composites and change maps that need no trained model."""

from sarcube.change.median import nanmedian, valid_count

__all__ = ["nanmedian", "valid_count"]
