"""Points on WGS 84: Earth-fixed coordinates, the local frame, and two meanings of the incidence angle."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEMI_MAJOR = 6378137.0
ECCENTRICITY_SQUARED = 6.69437999014e-3


def local_frame(lat: Floats, lon: Floats) -> tuple[Floats, Floats, Floats]:
    """Unit vectors up (the ellipsoid's normal), east and north: (n,) degrees -> (3, n) each."""
    phi, lam = np.radians(lat), np.radians(lon)
    normal = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)])
    return normal, east, np.cross(normal, east, axis=0)


def earth_fixed(normal: Floats, height: Floats) -> Floats:
    """Earth-fixed coordinates (3, n) in metres of points on normals (3, n), `height` metres above the ellipsoid."""
    prime_vertical = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY_SQUARED * normal[2] ** 2)
    point: Floats = normal * (prime_vertical + height)
    point[2] -= normal[2] * prime_vertical * ECCENTRICITY_SQUARED
    return point


def incidence_from_geocentric(geocentric: Floats, lat: Floats, height: Floats, sensor_azimuth: Floats) -> Floats:
    """Incidence angle from the ellipsoid's normal, of one from the Earth's radius as SAFE annotations give it.

    All in degrees and metres. With δ the geodetic minus the geocentric latitude of the point and φ the sensor azimuth,
    cos(geocentric) = cos δ cos θ - sin δ sin θ cos φ (the radius leans from the normal by δ toward the equator); this
    is solved for θ. To first order θ = geocentric - 0.1924° sin(2 lat) cos φ, within 0.001 degrees of it.
    """
    phi = np.radians(lat)
    prime_vertical = SEMI_MAJOR / np.sqrt(1 - ECCENTRICITY_SQUARED * np.sin(phi) ** 2)
    delta = phi - np.arctan2(
        (prime_vertical * (1 - ECCENTRICITY_SQUARED) + height) * np.sin(phi), (prime_vertical + height) * np.cos(phi)
    )
    along, across = np.cos(delta), np.sin(delta) * np.cos(np.radians(sensor_azimuth))
    cosine = np.clip(np.cos(np.radians(geocentric)) / np.hypot(along, across), -1, 1)
    result: Floats = np.degrees(np.arccos(cosine) - np.arctan2(across, along))
    return result
