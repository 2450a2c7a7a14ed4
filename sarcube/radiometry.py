"""What backscatter is, in the words that `attrs["radiometry"]` and a model's spec use for it: they must agree."""

GAMMA0 = "gamma0 RTC"
"""Terrain-flattened gamma0: what `sc.load` gives."""
SIGMA0 = "sigma0 on the ellipsoid"
"""What `sc.to_sigma0` gives, and Earth Engine's COPERNICUS/S1_GRD holds."""
GAMMA0_DB, SIGMA0_DB = f"{GAMMA0}, dB", f"{SIGMA0}, dB"
"""Composites of these, and models that were trained on them."""
