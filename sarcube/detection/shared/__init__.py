"""Scores of overlapping windows from maps that they share, equal to those of each window alone."""
