"""Look geometry: where Sentinel-1 stands when it sees a point, from the reference orbit or from state vectors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sarcube.errors import InputError
from sarcube.sar.reference_orbit import PERIOD, node_longitude, revolution
from sarcube.sar.trajectory import Floats, Solution, Trajectory, solve

# A right-looking IW, EW or SM swath lies within these angles; outside, the track does not image the point.
_PLAUSIBLE_INCIDENCE = (15.0, 60.0)


class Look(NamedTuple):
    """How the sensor sees points, each of the points' shape; NaN where a coordinate is not finite."""

    incidence: Floats  # degrees from the ellipsoid's normal
    azimuth: Floats  # degrees, point to sensor, clockwise from true north, 0 to 360
    slant_range: Floats  # metres


def look_geometry(
    lat: ArrayLike, lon: ArrayLike, height: ArrayLike = 0.0, *, relative_orbit: int, orbit_state: str
) -> tuple[Floats, Floats]:
    """Incidence angle and sensor azimuth of points on one Sentinel-1 track, from the reference orbit.

    Parameters
    ----------
    lat, lon : array_like
        Geodetic latitude and longitude, degrees, WGS 84, any shapes that broadcast.
    height : array_like
        Height above the ellipsoid in metres (0.04 degrees of incidence per kilometre).
    relative_orbit : int
        1 to 175, from the item's `sat:relative_orbit`.
    orbit_state : {"ascending", "descending"}
        From the item's `sat:orbit_state`.

    Returns
    -------
    incidence_angle, sensor_azimuth : numpy.ndarray of float64
        Degrees, of the broadcast shape: angle at the point between the ellipsoid's normal and the sensor; azimuth from
        the point to the sensor, clockwise from true north, 0 to 360. Non-finite input gives NaN.

    Raises
    ------
    InputError
        For an unknown track or pass, or where the track does not look at a point.

    Notes
    -----
    Zonal gravity terms to J4, Coriolis and centrifugal acceleration, Runge-Kutta of order 4, cubic Hermite
    interpolation, zero-Doppler time by t + (P - S)·V / |V|². Nine real products of 2014 to 2025 that were not used to
    build it agree within 0.0063 degrees in incidence and 0.0022 degrees in azimuth (IW and SM).
    """
    look = solve_points(lat, lon, height, relative_orbit=relative_orbit, orbit_state=orbit_state)
    return look.incidence, look.azimuth


def look_from_orbit(
    lat: ArrayLike, lon: ArrayLike, height: ArrayLike, trajectory: Trajectory, *, orbit_state: str
) -> tuple[Floats, Floats]:
    """Incidence angle and sensor azimuth of points from a satellite's own state vectors.

    Parameters
    ----------
    lat, lon : array_like
        Geodetic latitude and longitude, degrees, WGS 84, any shapes that broadcast.
    height : array_like
        Height above the ellipsoid in metres.
    trajectory : Trajectory
        Earth-fixed state vectors of the pass, such as `sarcube.acquisition.files.orbit_files.read_orbit_file` reads.
    orbit_state : {"ascending", "descending"}
        The pass that looks at the points.

    Returns
    -------
    incidence_angle, sensor_azimuth : numpy.ndarray of float64
        As `look_geometry` gives them.

    Raises
    ------
    InputError
        For an unknown pass, where the pass does not look at a point, or sees it more than one spacing of the state
        vectors before the first or after the last of them.

    Notes
    -----
    Cubic Hermite interpolation and zero-Doppler time by t + (P - S)·V / |V|². One spacing beyond either end is
    extrapolated: at 10 s that errs by less than 0.0001 degrees.
    """
    _check_pass(orbit_state)
    look = _look_from(trajectory, lat, lon, height, orbit_state, f"the {orbit_state} pass of the state vectors")
    return look.incidence, look.azimuth


def tracks_over(lat: float, lon: float, *, orbit_state: str) -> dict[int, float]:
    """Relative orbits whose IW swath (29 to 46 degrees of incidence) images a point, with its incidence in degrees."""
    orbits = np.arange(1, 176)
    nodes = np.array([node_longitude(orbit) for orbit in orbits.tolist()])
    at = solve(revolution(), np.full(175, float(lat)), lon - nodes, np.zeros(175), ascending=orbit_state == "ascending")
    # Beyond its own revolution an orbit is the next one.
    seen = at.right & (at.incidence > 29) & (at.incidence < 46) & (at.time >= 0) & (at.time < PERIOD)
    return dict(zip(orbits[seen].tolist(), at.incidence[seen].tolist(), strict=True))


def solve_points(
    lat: ArrayLike,
    lon: ArrayLike,
    height: ArrayLike,
    *,
    relative_orbit: int,
    orbit_state: str,
    trajectory: Trajectory | None = None,
) -> Look:
    """Incidence, azimuth and slant range of points on one track: by state vectors, or without them by its orbit.

    Raises
    ------
    InputError
        As `look_geometry` and `look_from_orbit`.
    """
    _check_pass(orbit_state)
    if not 1 <= int(relative_orbit) <= 175:
        raise InputError(f"relative_orbit must be 1 to 175, not {relative_orbit!r}")
    track = f"track {orbit_state[0].upper()}{int(relative_orbit):03d}"
    if trajectory is not None:
        return _look_from(trajectory, lat, lon, height, orbit_state, track)
    # The points turn to a node at longitude 0 rather than the orbit to its node.
    return _look_from(revolution(), lat, lon, height, orbit_state, track, node=node_longitude(int(relative_orbit)))


def _look_from(
    trajectory: Trajectory,
    lat: ArrayLike,
    lon: ArrayLike,
    height: ArrayLike,
    orbit_state: str,
    track: str,
    *,
    node: float = 0.0,
) -> Look:
    lat, lon, height = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float), np.asarray(height, float))
    look = Look(*(np.full(lat.shape, np.nan) for _ in Look._fields))
    good = np.isfinite(lat) & np.isfinite(lon) & np.isfinite(height)
    if good.any():
        solved = solve(trajectory, lat[good], lon[good] - node, height[good], ascending=orbit_state == "ascending")
        _check_seen(solved, lat[good], lon[good], track, trajectory)
        look.incidence[good], look.azimuth[good] = solved.incidence, solved.azimuth
        look.slant_range[good] = solved.slant_range
    return look


def _check_pass(orbit_state: str) -> None:
    if orbit_state not in ("ascending", "descending"):
        raise InputError(f'orbit_state must be "ascending" or "descending", not {orbit_state!r}')


def _check_seen(solved: Solution, lat: Floats, lon: Floats, track: str, trajectory: Trajectory) -> None:
    """Refuse points that no swath of the pass holds, and those that it sees at a time without state vectors."""
    low, high = _PLAUSIBLE_INCIDENCE
    late = ~solved.inside & (trajectory is not revolution())
    for fault in np.flatnonzero(late)[:1]:
        raise InputError(
            f"{track} does not look at {lat[fault]:.3f}°, {lon[fault]:.3f}° during the state vectors' span, "
            f"{trajectory.span()}; give state vectors that reach further, or a smaller area"
        )
    unseen = (solved.incidence < low) | (solved.incidence > high) | ~solved.right | ~solved.inside
    for fault in np.flatnonzero(unseen)[:1]:
        raise InputError(
            f"{track} does not look at {lat[fault]:.3f}°, {lon[fault]:.3f}° (incidence there "
            f"{solved.incidence[fault]:.1f}°, {'' if solved.right[fault] else 'not '}to the right of the pass; "
            f"expected {low:.0f}° to {high:.0f}°, to the right); take relative orbit and pass from "
            "the item, never from the absolute orbit number"
        )
