"""Layover and shadow of a side-looking radar from an elevation grid.

Codes are those of OPERA's RTC-S1 product: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data.
"""

import math

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from sarcube.errors import InputError
from sarcube.sar.look_lines import drift_of_columns, height_on_line, orient
from sarcube.sar.terrain import slope_aspect

Mask = NDArray[np.uint8]

CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA = 0, 1, 2, 3, 255
FLAG_VALUES = (CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA)
FLAG_MEANINGS = "clear shadow layover layover_and_shadow no_data"


@njit(parallel=True, cache=True, nogil=True)
def _along_look_lines(
    z: NDArray[np.float64],
    incidence: NDArray[np.float64],  # (y, x) or (1, 1), radians
    shear: float,
    step: float,
    backwards: bool,
    mask: Mask,
) -> None:
    """Exact test on lines that run along x and drift `shear` rows a column; `backwards`: the sensor is at high x."""
    rows, columns = z.shape
    constant = incidence.size == 1
    drift = drift_of_columns(shear, columns)
    first, last = min(0, drift[columns - 1]), max(0, drift[columns - 1])
    for line in prange(rows + last - first):
        known = np.zeros(columns, np.bool_)
        slant = np.empty(columns)  # R, order of arrival
        look = np.empty(columns)  # p, order of look angle
        across = along = 0.0
        sin_before = cos_before = np.nan
        gap = 0.0
        most_slant = most_look = -np.inf
        code = np.zeros(columns, np.uint8)
        for i in range(columns):
            c = columns - 1 - i if backwards else i
            r = line - last + drift[c]
            if r < 0 or r >= rows:
                continue
            gap += step
            theta = incidence[0, 0] if constant else incidence[r, c]
            if math.isnan(z[r, c]) or math.isnan(theta):
                continue
            s, k = math.sin(theta), math.cos(theta)
            if not math.isnan(sin_before):
                across += 0.5 * (s + sin_before) * gap
                along += 0.5 * (k + cos_before) * gap
            sin_before, cos_before, gap = s, k, 0.0
            known[i] = True
            height = height_on_line(z, r, c, shear * c - drift[c])
            slant[i] = across - height * k
            look[i] = along + height * s
            if slant[i] <= most_slant:
                code[i] |= LAYOVER
            if look[i] <= most_look:
                code[i] |= SHADOW
            most_slant = max(most_slant, slant[i])
            most_look = max(most_look, look[i])
        least_slant = np.inf
        for i in range(columns - 1, -1, -1):
            if not known[i]:
                continue
            if slant[i] >= least_slant:
                code[i] |= LAYOVER
            least_slant = min(least_slant, slant[i])
            c = columns - 1 - i if backwards else i
            mask[line - last + drift[c], c] = code[i]


def _exact(elevation: NDArray[np.float64], resolution: float, incidence: NDArray[np.float64], azimuth: float) -> Mask:
    """Passive and active distortion, linear in pixels (GEOMETRY 3); `azimuth` in radians from grid north."""
    turned, shear, step, backwards = orient(azimuth)
    if turned:
        elevation, incidence = np.ascontiguousarray(elevation.T), np.ascontiguousarray(incidence.T)
    mask = np.full(elevation.shape, NO_DATA, np.uint8)
    _along_look_lines(elevation, incidence, shear, step * resolution, backwards, mask)
    return np.ascontiguousarray(mask.T) if turned else mask


def _local(
    elevation: NDArray[np.float64], resolution: float, incidence: NDArray[np.float64], azimuth: NDArray[np.float64]
) -> Mask:
    """Active distortion by each pixel's own slope (Vollrath et al. 2020, section 2.2)."""
    slope, aspect = slope_aspect(elevation, resolution=resolution)
    facing = np.where(np.isnan(aspect), 0.0, np.cos(azimuth - np.radians(aspect)))
    toward = np.arctan(np.tan(np.radians(slope)) * facing)  # > 0: the slope faces the sensor
    layover = (toward >= incidence).astype(np.uint8) * LAYOVER
    shadow = (toward <= incidence - np.pi / 2).astype(np.uint8) * SHADOW
    known = np.isfinite(slope) & np.isfinite(incidence)
    return np.where(known, layover | shadow, NO_DATA).astype(np.uint8)


def layover_shadow_mask(
    elevation: ArrayLike,
    *,
    resolution: float,
    incidence_angle: ArrayLike,
    sensor_azimuth: ArrayLike,
    method: str = "exact",
) -> Mask:
    """Layover and shadow that an elevation grid casts on itself.

    Parameters
    ----------
    elevation : array_like
        (y, x), metres, rows north to south, square pixels; NaN is no data.
    resolution : float
        Pixel size in metres.
    incidence_angle : array_like
        Degrees from the ellipsoid's normal; a number or (y, x).
    sensor_azimuth : array_like
        Degrees clockwise from **grid** north, from the pixel to the sensor; a number or (y, x). The exact method
        looks along one direction, the mean over the grid.
    method : {"exact", "local"}
        "exact": along look lines, passive and active distortion, inside the grid given. "local": each pixel's own
        slope, active distortion only, as the papers use it (Vollrath, Mullissa & Reiche 2020), no buffer.

    Returns
    -------
    numpy.ndarray of uint8
        (y, x): 0 clear, 1 shadow, 2 layover, 3 both, 255 no data (OPERA RTC-S1's codes).

    Raises
    ------
    InputError
        For an unknown method, an elevation that is not two-dimensional or angles that are not angles.
    """
    z = np.ascontiguousarray(elevation, dtype=float)
    if z.ndim != 2:
        raise InputError(f"elevation must be (y, x), not of {z.ndim} dimensions")
    if not resolution > 0:
        raise InputError(f"resolution must be metres > 0, not {resolution!r}")
    incidence = np.radians(np.asarray(incidence_angle, float))
    azimuth = np.radians(np.asarray(sensor_azimuth, float))
    for name, angle in (("incidence_angle", incidence), ("sensor_azimuth", azimuth)):
        if angle.ndim and angle.shape != z.shape:
            raise InputError(f"{name} must be a number or of elevation's shape {z.shape}, not {angle.shape}")
    if np.any((incidence <= 0) | (incidence >= np.pi / 2)):
        raise InputError("incidence_angle must lie between 0 and 90 degrees")
    if method == "local":
        return _local(z, float(resolution), incidence, azimuth)
    if method != "exact":
        raise InputError(f'method must be "exact" or "local", not {method!r}')
    mean = math.atan2(np.nanmean(np.sin(azimuth)), np.nanmean(np.cos(azimuth)))
    return _exact(z, float(resolution), np.ascontiguousarray(np.atleast_2d(incidence)), mean)
