"""What reaches the radar: backscatter of the ground gathered by slant range, as terrain-corrected products hold it.

Pixels at the same range of one look line arrive together. A terrain-flattened product gives each of them the power that
arrived over the area that sent it (Small 2011, IEEE TGRS 49), so foreslopes share few values, layover mixes slopes, and
shadow holds noise alone.
"""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sarcube.sar import layover_shadow_mask, slope_aspect
from sarcube.sar.look_codes import BOTH, SHADOW
from sarcube.sar.look_lines import drift_of_columns, height_on_line, orient

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """One track's view of a landscape: arrays in the order of its look lines, ready for `receive`.

    toward (y, x): slope toward the sensor, radians; azimuth: from grid north, to the sensor; mask (y, x): codes.
    """

    slant_cell: Field
    area: Field
    shear: float
    turned: bool
    toward: Field
    azimuth: float
    mask: NDArray[np.uint8]


def look_at(elevation: Field, *, resolution: float, incidence: Field, azimuth: float) -> Look:
    """Prepare a track's look: `incidence` (y, x) and `azimuth`, one number from grid north, in radians."""
    slope, aspect = slope_aspect(elevation, resolution=resolution)
    facing = np.where(np.isnan(aspect), 0, np.cos(azimuth - np.radians(aspect)))
    toward = np.arctan(np.tan(np.radians(slope)) * facing).astype(np.float32)
    mask = layover_shadow_mask(
        elevation, resolution=resolution, incidence_angle=np.degrees(incidence), sensor_azimuth=math.degrees(azimuth)
    )
    # Illuminated area across the line of sight, per map pixel: cos θ + tan α_r sin θ (GEOMETRY 2); none in shadow.
    area = np.clip(np.cos(incidence) + np.tan(toward) * np.sin(incidence), 0, 12)
    area[(mask == SHADOW) | (mask == BOTH)] = 0
    turned, shear, step, backwards = orient(azimuth)
    z, theta, area = (
        np.ascontiguousarray(a.T if turned else a, dtype=np.float32) for a in (elevation, incidence, area)
    )
    cell = np.empty_like(z)
    _slant_cells(z, theta, shear, step * resolution, backwards, float(resolution * np.sin(incidence.mean())), cell)
    return Look(cell, area, shear, turned, toward, azimuth, mask)


def receive(look: Look, power: Field) -> Field:
    """Linear power (y, x) that the track's terrain-flattened product holds for the ground's `power`; 0 in shadow."""
    ground = np.ascontiguousarray(power.T if look.turned else power, dtype=np.float32)
    result = np.zeros_like(ground)
    _gather(ground, look.slant_cell, look.area, look.shear, result)
    return np.ascontiguousarray(result.T) if look.turned else result


@njit(parallel=True, cache=True, nogil=True)
def _slant_cells(z: Field, theta: Field, shear: float, step: float, backwards: bool, size: float, cell: Field) -> None:
    """Slant range of every pixel, in cells of `size` metres from the nearest of its line."""
    rows, columns = z.shape
    drift = drift_of_columns(shear, columns)
    first, last = min(0, drift[columns - 1]), max(0, drift[columns - 1])
    for line in prange(rows + last - first):
        across, least = 0.0, np.inf
        for i in range(columns):
            c = columns - 1 - i if backwards else i
            r = line - last + drift[c]
            if r < 0 or r >= rows:
                continue
            across += math.sin(theta[r, c]) * step
            slant = across - height_on_line(z, r, c, shear * c - drift[c]) * math.cos(theta[r, c])
            least = min(least, slant)
            cell[r, c] = slant / size
        for c in range(columns):
            r = line - last + drift[c]
            if 0 <= r < rows:
                cell[r, c] -= least / size


@njit(parallel=True, cache=True, nogil=True)
def _gather(power: Field, cell: Field, area: Field, shear: float, result: Field) -> None:
    rows, columns = power.shape
    drift = drift_of_columns(shear, columns)
    first, last = min(0, drift[columns - 1]), max(0, drift[columns - 1])
    for line in prange(rows + last - first):
        farthest = 0.0
        for c in range(columns):
            r = line - last + drift[c]
            if 0 <= r < rows:
                farthest = max(farthest, cell[r, c])
        sent = np.zeros(int(farthest) + 2)
        lit = np.zeros(sent.size)
        for c in range(columns):
            r = line - last + drift[c]
            if 0 <= r < rows and area[r, c] > 0:
                k = int(cell[r, c])
                t = cell[r, c] - k
                sent[k] += (1 - t) * area[r, c] * power[r, c]
                sent[k + 1] += t * area[r, c] * power[r, c]
                lit[k] += (1 - t) * area[r, c]
                lit[k + 1] += t * area[r, c]
        for c in range(columns):
            r = line - last + drift[c]
            if 0 <= r < rows:
                k = int(cell[r, c])
                t = cell[r, c] - k
                there = (1 - t) * lit[k] + t * lit[k + 1]
                if there > 1e-3:
                    result[r, c] = ((1 - t) * sent[k] + t * sent[k + 1]) / there
