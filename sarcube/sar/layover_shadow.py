"""Layover and shadow of a side-looking radar from an elevation grid.

Codes are those of OPERA's RTC-S1 product: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data.
"""

import math

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError
from sarcube.sar.buffer import widen
from sarcube.sar.line_tables import PixelAngles, constant_tables
from sarcube.sar.look_codes import (
    ACTIVE_LAYOVER,
    ACTIVE_SHADOW,
    LAYOVER,
    NO_DATA,
    PASSIVE_LAYOVER,
    PASSIVE_SHADOW,
    SHADOW,
)
from sarcube.sar.look_lines import LookLines, orient
from sarcube.sar.look_scan import scan
from sarcube.sar.terrain import Resolution, slope_aspect

Mask = NDArray[np.uint8]
Floats = NDArray[np.floating]

_SERIAL_PIXELS = 1 << 18  # below this many pixels threads cost more than they bring


def local_mask(elevation: Floats, *, resolution: Resolution, incidence: Floats, azimuth: Floats | float) -> Mask:
    """Active distortion by each pixel's own slope (Vollrath et al. 2020, section 2.3).

    `incidence` and `azimuth` in radians, numbers or (y, x); azimuth to the sensor, from the grid's north. The slope
    toward the sensor is the height's rise along the look, so that flat ground needs no aspect.
    """
    slope, aspect = slope_aspect(elevation, resolution=resolution)
    facing = np.where(np.isnan(aspect), 0.0, np.cos(azimuth - np.radians(aspect)))
    toward = np.arctan(np.tan(np.radians(slope)) * facing)  # > 0: the slope faces the sensor
    layover = (toward >= incidence).astype(np.uint8) * LAYOVER
    shadow = (toward <= incidence - np.pi / 2).astype(np.uint8) * SHADOW
    known = np.isfinite(slope) & np.isfinite(incidence) & np.isfinite(azimuth)
    return np.where(known, layover | shadow, NO_DATA).astype(np.uint8)


def split_mask(exact: Mask, local: Mask) -> Mask:
    """Split a mask into bit flags: 1 active shadow, 2 active layover, 4 passive shadow, 8 passive layover.

    Active is what the ground's own slope distorts, passive what is distorted by other ground (GEOMETRY 3).
    255 is no data. Ground whose slope is not known, at the edge of a hole, counts as passive.
    """
    known_local = np.where(local == NO_DATA, 0, local)
    active, passive = exact & known_local, exact & ~known_local
    parts = (
        (active & SHADOW) * (ACTIVE_SHADOW // SHADOW)
        | (active & LAYOVER) * (ACTIVE_LAYOVER // LAYOVER)
        | (passive & SHADOW) * (PASSIVE_SHADOW // SHADOW)
        | (passive & LAYOVER) * (PASSIVE_LAYOVER // LAYOVER)
    )
    return np.where(exact == NO_DATA, NO_DATA, parts).astype(np.uint8)


def layover_shadow_mask(
    elevation: ArrayLike,
    *,
    resolution: float,
    incidence_angle: ArrayLike,
    sensor_azimuth: ArrayLike,
    method: str = "exact",
    buffer: float = 0.0,
) -> Mask:
    """Layover and shadow that an elevation grid casts on itself.

    Parameters
    ----------
    elevation : array_like
        (y, x), metres, rows north to south, square pixels; NaN is no data. float32 is not copied.
    resolution : float
        Pixel size in metres.
    incidence_angle : array_like
        Degrees from the ellipsoid's normal; a number or (y, x).
    sensor_azimuth : array_like
        Degrees clockwise from **grid** north, from the pixel to the sensor; a number or (y, x). The exact method
        looks along one direction, the mean over the grid.
    method : {"exact", "local"}
        "exact": along look lines, passive and active distortion, inside the grid given, in time linear in pixels.
        "local": each pixel's own slope, active distortion only, as the papers use it (Vollrath, Mullissa & Reiche
        2020, Remote Sens. 12, 1867, section 2.3).
    buffer : float
        Metres by which layover and shadow are widened. The papers use none.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x): 0 clear, 1 shadow, 2 layover, 3 both, 255 no data (OPERA RTC-S1's codes).

    Raises
    ------
    InputError
        For an unknown method, an elevation that is not two-dimensional, angles that are not angles, a buffer < 0.

    Notes
    -----
    Ground is in layover where the radar's signal reaches it together with ground elsewhere on its look line: some
    ground before it has as great a slant range R, or some behind it as small a one. It is in shadow where some ground
    before it has as great a look angle. With θ constant R = x sin θ - z cos θ, and x cos θ + z sin θ orders the look
    angles (x: ground distance from the sensor; Kropatsch & Strobl 1990, IEEE TGRS 28, give the definitions).
    """
    z = _checked(elevation)
    _check_settings(resolution, method, buffer)
    incidence = _radians(incidence_angle, "incidence_angle", z.shape)
    azimuth = _radians(sensor_azimuth, "sensor_azimuth", z.shape)
    if not np.isfinite(azimuth).any():
        raise InputError("sensor_azimuth must hold degrees from the pixel to the sensor; it is not finite anywhere")
    if np.any((incidence <= 0) | (incidence >= np.pi / 2)):
        raise InputError("incidence_angle must lie between 0 and 90 degrees")
    if method == "local":
        mask = local_mask(z, resolution=float(resolution), incidence=incidence, azimuth=azimuth)
    else:
        mask = _exact_mask(z, float(resolution), incidence, _mean_direction(azimuth))
    return widen(mask, pixel=(float(resolution), float(resolution)), buffer=float(buffer))


def layover_shadow_parts(
    elevation: ArrayLike, *, resolution: float, incidence_angle: ArrayLike, sensor_azimuth: ArrayLike
) -> Mask:
    """Tell active from passive layover and shadow: parameters as for `layover_shadow_mask`.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x), bit flags: 1 active shadow, 2 active layover, 4 passive shadow, 8 passive layover; 0 clear, 255 no data.
        Active is what the pixel's own slope distorts; passive is what other ground casts on it (GEOMETRY 3).
    """
    exact, local = (
        layover_shadow_mask(
            elevation,
            resolution=resolution,
            incidence_angle=incidence_angle,
            sensor_azimuth=sensor_azimuth,
            method=method,
        )
        for method in ("exact", "local")
    )
    return split_mask(exact, local)


def _exact_mask(z: Floats, resolution: float, incidence: NDArray[np.float64], azimuth: float) -> Mask:
    turned, shear, step, backwards = orient(azimuth)
    lines, length = LookLines(turned, backwards, shear), step * resolution
    threads = 1 if z.size < _SERIAL_PIXELS else numba.get_num_threads()
    if incidence.ndim:
        angles = PixelAngles(np.sin(incidence), np.cos(incidence), length)
        return scan(z, lines, angles, threads=threads)
    steps = z.shape[0 if turned else 1]
    tables = constant_tables(float(incidence), length=length, steps=steps, backwards=backwards)
    return scan(z, lines, tables, threads=threads)


def _checked(elevation: ArrayLike) -> Floats:
    z = np.asarray(elevation)
    if z.ndim != 2:
        raise InputError(f"elevation must be (y, x), not of {z.ndim} dimensions")
    return np.ascontiguousarray(z, dtype=np.float32 if z.dtype == np.float32 else np.float64)


def _check_settings(resolution: float, method: str, buffer: float) -> None:
    if not resolution > 0:
        raise InputError(f"resolution must be metres > 0, not {resolution!r}")
    if method not in ("exact", "local"):
        raise InputError(f'method must be "exact" or "local", not {method!r}')
    if not (buffer >= 0 and math.isfinite(buffer)):
        raise InputError(f"buffer must be metres >= 0, not {buffer!r}")


def _radians(angle: ArrayLike, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    radians: NDArray[np.float64] = np.radians(np.asarray(angle, float))
    if radians.ndim and radians.shape != shape:
        raise InputError(f"{name} must be a number or of elevation's shape {shape}, not {radians.shape}")
    return radians


def _mean_direction(azimuth: NDArray[np.float64]) -> float:
    return math.atan2(np.nanmean(np.sin(azimuth)), np.nanmean(np.cos(azimuth)))
