"""Simulated events with known truth: for the demonstration, the tests, the docs and the benchmarks.

Nothing here is a measurement. Numbers are computed from real data or geometry [C], read in a document [D] or remembered
by the field and not verified [M], a prior to sample widely; each stands beside its mark and source.
"""
