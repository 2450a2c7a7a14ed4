"""What the radar saw: look geometry, terrain, layover and shadow, radiometry, as functions on plain arrays."""

from sarcube.sar.layover_shadow import layover_shadow_mask
from sarcube.sar.orbit import look_geometry, tracks_over
from sarcube.sar.radiometry import from_db, to_db
from sarcube.sar.terrain import slope_aspect

__all__ = ["from_db", "layover_shadow_mask", "look_geometry", "slope_aspect", "to_db", "tracks_over"]
