"""What the radar saw: look geometry, terrain, layover and shadow, radiometry, as functions on plain arrays."""

from sarcube.sar.layover_shadow import layover_shadow_mask, layover_shadow_parts
from sarcube.sar.orbit import look_from_orbit, look_geometry, tracks_over
from sarcube.sar.radiometry import (
    from_db,
    gamma0_to_sigma0,
    local_incidence_angle,
    sigma0_to_gamma0,
    slope_correction,
    to_db,
)
from sarcube.sar.terrain import slope_aspect
from sarcube.sar.trajectory import Trajectory

__all__ = [
    "Trajectory",
    "from_db",
    "gamma0_to_sigma0",
    "layover_shadow_mask",
    "layover_shadow_parts",
    "local_incidence_angle",
    "look_from_orbit",
    "look_geometry",
    "sigma0_to_gamma0",
    "slope_aspect",
    "slope_correction",
    "to_db",
    "tracks_over",
]
