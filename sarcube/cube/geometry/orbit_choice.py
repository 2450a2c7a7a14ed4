"""Which state vectors look geometry takes: the piece of the best file that saw an area from its track."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sarcube.acquisition.files.orbit_files import KINDS, OrbitFile
from sarcube.sar.orbit import solve_points
from sarcube.sar.trajectory import Trajectory, solve

Floats = NDArray[np.float64]

REFERENCE_SOURCE = "reference orbit; expected error 0.0063 degrees in incidence, 0.0022 in azimuth"

_OTHER_TRACK = 0.1  # degrees from the reference orbit; the neighbouring track differs by several
_KEPT = 120.0  # seconds of state vectors around an area, 900 km of path
_LEAST_ERROR = 1e-4  # degrees: what interpolation between the nodes of a layer adds below 3000 m


class OrbitSource(NamedTuple):
    """State vectors around an area, and what a layer says of its source and expected error."""

    trajectory: Trajectory
    text: str


def orbit_for_track(
    files: Iterable[OrbitFile], *, lat: ArrayLike, lon: ArrayLike, relative_orbit: int, orbit_state: str
) -> OrbitSource | None:
    """Pick the state vectors of the pass that sees an area on one track.

    A pass belongs to the track if it sees every point to its right within 0.1 degrees of the reference orbit's
    incidence angle: the neighbouring track differs by degrees. Annotations come before precise orbit files, these
    before restituted ones; of several of a kind, the one whose vectors reach furthest beyond the area, up to two
    minutes; then the first by name.

    Parameters
    ----------
    files : iterable of OrbitFile
        In any order, of any passes.
    lat, lon : array_like
        The area's centre and corners, degrees; all of them must be seen.
    relative_orbit : int
        1 to 175.
    orbit_state : {"ascending", "descending"}
        The track's pass.

    Returns
    -------
    OrbitSource or None
        The vectors from two minutes before to two minutes after the area, and the text for the layer's `source`;
        None if no file holds the pass: then the reference orbit it is (`REFERENCE_SOURCE`).

    Raises
    ------
    InputError
        For an unknown track or pass, or where the track does not look at a point.
    """
    lat, lon = (v.ravel() for v in np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float)))
    expected = solve_points(lat, lon, 0.0, relative_orbit=relative_orbit, orbit_state=orbit_state).incidence
    found: list[tuple[tuple[int, float, str], OrbitSource]] = []
    for file in files:
        seen = _times_seen(file.trajectory, lat, lon, expected, orbit_state == "ascending")
        if seen is None:
            continue
        (first, last), times = seen, file.trajectory.times
        reach = min(first - float(times[0]), float(times[-1]) - last, _KEPT)
        near = (times >= first - _KEPT) & (times <= last + _KEPT)
        rank = KINDS.index(file.kind), -reach, file.name
        found.append((rank, OrbitSource(_part(file.trajectory, near), _source_text(file))))
    return min(found, key=lambda candidate: candidate[0])[1] if found else None


def _times_seen(
    trajectory: Trajectory, lat: Floats, lon: Floats, expected: Floats, ascending: bool
) -> tuple[float, float] | None:
    """First and last time at which a pass sees points (n,) at the incidence expected, or None if none does."""
    rising = trajectory.velocities[:, 2] > 0
    turns = np.flatnonzero(np.diff(rising)) + 1
    for states in np.split(np.arange(rising.size), turns):
        if rising[states[0]] != ascending or states.size < 2:
            continue
        at = solve(_part(trajectory, states), lat, lon, np.zeros(lat.size), ascending=ascending)
        if (at.right & at.inside & (np.abs(at.incidence - expected) <= _OTHER_TRACK)).all():
            return float(at.time.min()), float(at.time.max())
    return None


def _part(trajectory: Trajectory, states: NDArray[np.bool_] | NDArray[np.intp]) -> Trajectory:
    """Keep some states; the clock stays."""
    times, positions, velocities = (v[states] for v in (trajectory.times, trajectory.positions, trajectory.velocities))
    return Trajectory(times, positions, velocities, trajectory.epoch)


def _source_text(file: OrbitFile) -> str:
    error = max(file.incidence_error, _LEAST_ERROR)
    return f"{file.kind} {file.name} (state vectors); expected error {error:.4f} degrees in incidence"
