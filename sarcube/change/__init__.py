"""Temporal medians, before-and-after composites and change maps that need no trained model."""

from sarcube.change.median import nanmedian, valid_count
from sarcube.change.statistics import nanmean, nanpercentile, nanstd

__all__ = ["nanmean", "nanmedian", "nanpercentile", "nanstd", "valid_count"]
