"""Many trainings into one table: the papers' comparisons of bands, buffers, settings and time steps."""
