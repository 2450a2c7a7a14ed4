"""What the radar saw: look geometry, terrain, layover and shadow, as functions on plain arrays."""

from sarcube.sar.layover_shadow import layover_shadow_mask
from sarcube.sar.orbit import look_geometry, tracks_over
from sarcube.sar.terrain import slope_aspect

__all__ = ["layover_shadow_mask", "look_geometry", "slope_aspect", "tracks_over"]
