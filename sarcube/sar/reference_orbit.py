"""The orbit that every Sentinel-1 follows, and where each relative orbit crosses the equator.

Sentinel-1 repeats 175 orbits in 12 days within a tube of about 100 m, so the relative orbit and the pass fix the
geometry. One revolution is integrated once from a state vector at the ascending node and turned to the track.
"""

from functools import lru_cache

import numpy as np

from sarcube.sar.ellipsoid import SEMI_MAJOR
from sarcube.sar.trajectory import Floats, Trajectory

PERIOD = 12 * 86400.0 / 175  # seconds
NODE_SHIFT = 360.0 * 12 / 175  # degrees west from one relative orbit to the next

# WGS 84 rotation; gravity field to degree 4 (EGM96 zonal terms, m and s).
_MU = 3.986004418e14
_EARTH_RATE = 7.292115e-5
_J2, _J3, _J4 = 1.0826266836e-3, -2.5326564853e-6, -1.6196215914e-6

# Earth-fixed state at the ascending node at longitude 0, and the track's node (checked on nine real products).
_NODE_POSITION = (7076951.12, 0.0, 0.0)
_NODE_VELOCITY = (-9.0316, -1583.8670, 7430.3014)
_NODE_LONGITUDE_59 = 8.3745

_STEPS = 1200  # of one revolution, 4.9 s each
_MARGIN = 24  # steps, two minutes


def node_longitude(relative_orbit: int) -> float:
    """Longitude of a track's ascending node in degrees, not wrapped."""
    return _NODE_LONGITUDE_59 - NODE_SHIFT * (relative_orbit - 59)


@lru_cache(maxsize=1)
def revolution() -> Trajectory:
    """Integrate one revolution from the ascending node at longitude 0, time 0.

    It goes on for two minutes beyond each node, for a slice that crosses the node keeps its orbit's number.
    Zonal gravity to J4, Coriolis and centrifugal acceleration; Runge-Kutta of order 4.
    """
    step = PERIOD / _STEPS
    state = np.array([*_NODE_POSITION, *_NODE_VELOCITY])
    forward = [state]
    for _ in range(_STEPS + _MARGIN):
        forward.append(_runge_kutta(forward[-1], step))
    backward = [state]
    for _ in range(_MARGIN):
        backward.append(_runge_kutta(backward[-1], -step))
    states = np.array(backward[:0:-1] + forward)
    times = np.arange(-_MARGIN, _STEPS + _MARGIN + 1, dtype=np.float64) * step
    return Trajectory(times, np.ascontiguousarray(states[:, :3]), np.ascontiguousarray(states[:, 3:]))


def _runge_kutta(state: Floats, step: float) -> Floats:
    k1 = _motion(state)
    k2 = _motion(state + step / 2 * k1)
    k3 = _motion(state + step / 2 * k2)
    k4 = _motion(state + step * k3)
    result: Floats = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return result


def _motion(state: Floats) -> Floats:
    """Differentiate an Earth-fixed state: zonal gravity to J4 (Vallado 2013, 8.6), Coriolis, centrifugal."""
    x, y, z, vx, vy, vz = state
    r = np.sqrt(x * x + y * y + z * z)
    q, w = SEMI_MAJOR / r, (z / r) ** 2
    u = z / r
    j2 = 1.5 * _J2 * q**2
    j3 = 2.5 * _J3 * q**3
    j4 = 0.625 * _J4 * q**4
    common = -_MU / r**3
    plane = common * (1 - j2 * (5 * w - 1) - j3 * (7 * u**3 - 3 * u) + j4 * (3 - 42 * w + 63 * w * w))
    axis = common * (z * (1 + j2 * (3 - 5 * w) + j4 * (15 - 70 * w + 63 * w * w)) - r * j3 * (7 * w * w - 6 * w + 0.6))
    return np.array(
        [
            vx,
            vy,
            vz,
            plane * x + 2 * _EARTH_RATE * vy + _EARTH_RATE**2 * x,
            plane * y - 2 * _EARTH_RATE * vx + _EARTH_RATE**2 * y,
            axis,
        ]
    )
