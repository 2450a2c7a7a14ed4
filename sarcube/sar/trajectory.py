"""A sensor's path in the Earth-fixed frame, and how it looks at a point at zero Doppler."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sarcube.errors import InputError
from sarcube.sar.ellipsoid import earth_fixed, local_frame

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_CANDIDATES = 100  # samples that a point is compared to before the solution starts


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States of a sensor in the Earth-fixed frame, at times that rise and need not be equally spaced.

    Attributes
    ----------
    times : (n,) float64 array
        Seconds; of state vectors since the first one.
    positions, velocities : (n, 3) float64 arrays
        x, y, z in metres and metres per second, in the frame that turns with the Earth.
    epoch : numpy.datetime64, optional
        UTC at time 0, in microseconds; a reference orbit has none.

    Raises
    ------
    InputError
        For fewer than two states, shapes that do not fit, times that do not rise, or values that are not finite.
    """

    times: Floats
    positions: Floats
    velocities: Floats
    epoch: np.datetime64 | None = None

    def __post_init__(self) -> None:
        n = self.times.size
        shapes = self.times.shape, self.positions.shape, self.velocities.shape
        if n < 2 or shapes != ((n,), (n, 3), (n, 3)):
            raise InputError(
                "a trajectory needs two states or more: times (n,), positions and velocities (n, 3); "
                f"got {', '.join(map(str, shapes))}"
            )
        if not all(np.isfinite(values).all() for values in (self.times, self.positions, self.velocities)):
            raise InputError("a trajectory's times, positions and velocities must be finite numbers")
        if not (np.diff(self.times) > 0).all():
            raise InputError("a trajectory's times must rise from state to state; sort them and drop repeated ones")

    @property
    def limits(self) -> tuple[float, float]:
        """First and last time at which a state is given: the span and one spacing beyond each end.

        Cubic Hermite extrapolation by one spacing of Sentinel-1's state vectors (10 s) errs by 0.02 m in position and
        less than 0.0001 degrees in both angles.
        """
        t = self.times
        return float(2 * t[0] - t[1]), float(2 * t[-1] - t[-2])

    def span(self) -> str:
        """First and last state's time as text: UTC where the epoch is known, else seconds."""
        first, last = float(self.times[0]), float(self.times[-1])
        if self.epoch is None:
            return f"{first:.1f} s to {last:.1f} s"
        utc = [self.epoch + np.timedelta64(round(t * 1e6), "us") for t in (first, last)]
        return " to ".join(f"{np.datetime_as_string(t, unit='s')} UTC" for t in utc)


class Solution(NamedTuple):
    """Where the sensor stands at zero Doppler, per point (n,)."""

    incidence: Floats  # degrees from the ellipsoid's normal
    azimuth: Floats  # degrees, point to sensor, clockwise from true north, 0 to 360
    slant_range: Floats  # metres
    right: Flags  # the point lies to the right of a path of the asked pass
    inside: Flags  # the trajectory reaches the zero-Doppler time
    time: Floats  # seconds on the trajectory's clock


def solve(trajectory: Trajectory, lat: Floats, lon: Floats, height: Floats, *, ascending: bool) -> Solution:
    """Solve for the zero-Doppler position of the sensor, seen from points (n,): degrees and metres above WGS 84.

    The time follows from t + (P - S)·V / |V|², repeated: it contracts by about 0.1 a step.
    """
    normal, east, north = local_frame(lat, lon)
    point = earth_fixed(normal, height)
    time = _nearest_time(trajectory, point, ascending)
    for _ in range(12):
        position, velocity = _state(trajectory, time)
        time = time + _dot(point - position, velocity) / _dot(velocity, velocity)
    position, velocity = _state(trajectory, time)
    right = _dot(np.cross(velocity, position, axis=0), point - position) > 0
    # A point far from the pass is drawn to the other half of the orbit: that half does not count.
    right &= (velocity[2] > 0) == ascending
    first, last = trajectory.limits
    sight = position - point
    slant_range = np.sqrt(_dot(sight, sight))
    sight /= slant_range
    return Solution(
        incidence=np.degrees(np.arccos(np.clip(_dot(normal, sight), -1, 1))),
        azimuth=np.degrees(np.arctan2(_dot(east, sight), _dot(north, sight))) % 360,
        slant_range=slant_range,
        right=right,
        inside=(time >= first) & (time <= last),
        time=time,
    )


def _nearest_time(trajectory: Trajectory, point: Floats, ascending: bool) -> Floats:
    """Time of the coarse sample of the asked pass that is nearest to each point: (3, n) -> (n,)."""
    coarse = slice(None, None, max(1, trajectory.times.size // _CANDIDATES))
    of_pass = (trajectory.velocities[coarse, 2] > 0) == ascending
    if not of_pass.any():  # nothing of that pass: any start will do, `right` comes out false
        of_pass[:] = True
    candidates, when = trajectory.positions[coarse][of_pass], trajectory.times[coarse][of_pass]
    nearest = np.empty(point.shape[1])
    for start in range(0, nearest.size, 16384):  # bounded memory for whole rasters
        part = slice(start, start + 16384)
        # Written out, for a matrix product rounds differently with the number of points.
        x, y, z = (candidates[:, i, None] * point[i, part] for i in range(3))
        nearest[part] = when[np.argmin((candidates**2).sum(1)[:, None] - 2 * (x + y + z), 0)]
    return nearest


def _state(trajectory: Trajectory, time: Floats) -> tuple[Floats, Floats]:
    """Position and velocity, (n,) s -> (3, n) m and m/s, by cubic Hermite interpolation."""
    times = trajectory.times
    index = np.clip(np.searchsorted(times, time, side="right") - 1, 0, times.size - 2)
    step = times[index + 1] - times[index]
    s = (time - times[index]) / step
    p0, p1 = trajectory.positions[index].T, trajectory.positions[index + 1].T
    v0, v1 = trajectory.velocities[index].T * step, trajectory.velocities[index + 1].T * step
    position = (
        p0 * (2 * s**3 - 3 * s**2 + 1) + v0 * (s**3 - 2 * s**2 + s) + p1 * (3 * s**2 - 2 * s**3) + v1 * (s**3 - s**2)
    )
    velocity = p0 * (6 * s**2 - 6 * s) + v0 * (3 * s**2 - 4 * s + 1) + p1 * (6 * s - 6 * s**2) + v1 * (3 * s**2 - 2 * s)
    return position, velocity / step


def _dot(a: Floats, b: Floats) -> Floats:
    """Scalar products of columns: (3, n) -> (n,)."""
    result: Floats = (a * b).sum(0)
    return result
