"""State vectors from files: SAFE annotations and orbit files (EOF).

A SAFE annotation is the XML beside a product's raster; it holds the state vectors of its own pass and a grid of points
with the incidence angle. An orbit file holds a day of state vectors (precise, AUX_POEORB) or two revolutions
(restituted, AUX_RESORB).
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError  # the types alone: defusedxml parses

import defusedxml.ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException
from numpy.typing import NDArray

from sarcube.errors import InputError, ReadError
from sarcube.sar.ellipsoid import SEMI_MAJOR, incidence_from_geocentric
from sarcube.sar.trajectory import Trajectory, solve

Floats = NDArray[np.float64]


KINDS = ("SAFE annotation", "precise orbit file", "restituted orbit file")  # best first
_EOFKINDS = {"AUX_POEORB": KINDS[1], "AUX_RESORB": KINDS[2]}
_MOST_BYTES = 1 << 26  # a day of state vectors takes 5 MB
_WIDEST_SPACING = 60.0  # seconds between state vectors; the files have 10
_CONTRADICTION = 0.01  # degrees between the state vectors and the grid of one annotation


@dataclass(frozen=True, eq=False)
class OrbitFile:
    """State vectors of one file.

    Attributes
    ----------
    name : str
        The file's name without its folder.
    kind : {"SAFE annotation", "precise orbit file", "restituted orbit file"}
        What the file says it is.
    trajectory : Trajectory
        Times in seconds since the first state vector, which `trajectory.epoch` gives in UTC.
    incidence_error : float
        Degrees. Of an annotation the largest difference from its own geolocation grid. An orbit file has no grid:
        0, for 0.1 m of position (the requirement on restituted orbits) is 0.00001 degrees.
    """

    name: str
    kind: str
    trajectory: Trajectory
    incidence_error: float


def read_orbit_file(path: str | Path) -> OrbitFile:
    """Read the state vectors of a SAFE annotation or an orbit file.

    Parameters
    ----------
    path : str or Path
        A product's annotation XML (`annotation/s1a-iw-grd-vv-....xml`), or an EOF file of type AUX_POEORB or
        AUX_RESORB.

    Returns
    -------
    OrbitFile
        The vectors, Earth-fixed, in metres and metres per second.

    Raises
    ------
    ReadError
        If the file is missing, broken, hostile (it declares entities or a document type), of another kind, not
        Earth-fixed, or contradicts itself.
    """
    path = Path(path)
    root = _parse(path)
    kind = root.tag.rpartition("}")[2]
    try:
        if kind == "product":
            return _read_annotation(root, path.name)
        if kind == "Earth_Explorer_File":
            return _read_eof(root, path.name)
    except ValueError as error:  # a text that is no number or time; an InputError: states that are no trajectory
        raise ReadError(f"{path.name} holds no usable state vectors: {error}; fetch the file again") from error
    raise ReadError(
        f"{path.name} is no orbit source: expected a SAFE annotation (product) or an orbit file (Earth_Explorer_File), "
        f"got XML of type {kind!r}"
    )


def _parse(path: Path) -> Element:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise ReadError(f"there is no SAFE annotation or orbit file at {path}", kind="not_found") from error
    except OSError as error:
        raise ReadError(f"{path} cannot be read as a SAFE annotation or orbit file: {error}") from error
    if len(content) > _MOST_BYTES:
        raise ReadError(f"{path.name} has more than {_MOST_BYTES} bytes; a SAFE annotation or orbit file has 5 million")
    try:
        root: Element = defusedxml.ElementTree.fromstring(content, forbid_dtd=True)
    except DefusedXmlException as error:
        raise ReadError(
            f"{path.name} declares a document type or entities, which no SAFE annotation or orbit file does; "
            "it is not read"
        ) from error
    except (ParseError, ValueError, LookupError) as error:  # the latter two: encodings that expat cannot read
        raise ReadError(
            f"{path.name} is broken: expected the XML of a SAFE annotation or orbit file, got {error}; fetch it again"
        ) from error
    return root


def _read_annotation(root: Element, name: str) -> OrbitFile:
    vectors = root.findall("generalAnnotation/orbitList/orbit")
    if not vectors:
        raise ReadError(f"{name} is no SAFE annotation: it has no generalAnnotation/orbitList/orbit")
    for vector in vectors:
        _check_frame(_text(vector, "frame"), "Earth Fixed", name)
    times = [_utc(_text(vector, "time")) for vector in vectors]
    positions, velocities = (
        np.array([[float(_text(v, f"{part}/{axis}")) for axis in "xyz"] for v in vectors])
        for part in ("position", "velocity")
    )
    trajectory = _trajectory(times, times[0], positions, velocities)
    points = root.findall("geolocationGrid/geolocationGridPointList/geolocationGridPoint")
    if not points:
        raise ReadError(f"{name} is no SAFE annotation: it has no geolocationGrid/geolocationGridPointList")
    fields = "latitude", "longitude", "height", "incidenceAngle"
    grid = np.array([[float(_text(point, field)) for point in points] for field in fields])
    if not (np.abs(grid) <= np.array([[90], [360], [1e4], [90]])).all():
        raise InputError("its geolocation grid has latitudes, longitudes, heights or incidence angles out of range")
    error = _difference_from_grid(trajectory, *grid)
    if not error <= _CONTRADICTION:
        raise ReadError(
            f"{name} contradicts itself: its state vectors and its geolocation grid differ by {error:.3f}° in "
            f"incidence, expected less than {_CONTRADICTION}°; fetch it again"
        )
    return OrbitFile(name, KINDS[0], trajectory, error)


def _read_eof(root: Element, name: str) -> OrbitFile:
    file_type = _text(root, "{*}Earth_Explorer_Header/{*}Fixed_Header/{*}File_Type")
    if file_type not in _EOFKINDS:
        raise ReadError(f"{name} is of type {file_type!r}; expected an orbit file of type {' or '.join(_EOFKINDS)}")
    _check_frame(_text(root, "{*}Earth_Explorer_Header/{*}Variable_Header/{*}Ref_Frame"), "EARTH_FIXED", name)
    vectors = root.findall("{*}Data_Block/{*}List_of_OSVs/{*}OSV")
    if not vectors:
        raise ReadError(f"{name} is no orbit file: it has no Data_Block/List_of_OSVs/OSV")
    # Seconds pass in TAI: UTC repeats one at a leap second.
    times = [_utc(_text(vector, "{*}TAI").removeprefix("TAI=")) for vector in vectors]
    epoch = _utc(_text(vectors[0], "{*}UTC").removeprefix("UTC="))
    positions, velocities = (
        np.array([[float(_text(vector, "{*}" + field)) for field in fields] for vector in vectors])
        for fields in (("X", "Y", "Z"), ("VX", "VY", "VZ"))
    )
    return OrbitFile(name, _EOFKINDS[file_type], _trajectory(times, epoch, positions, velocities), 0.0)


def _text(element: Element, path: str) -> str:
    text = element.findtext(path)
    if text is None or not text.strip():
        raise InputError(f"a {element.tag.rpartition('}')[2]} lacks {path.replace('{*}', '')}")
    return text.strip()


def _check_frame(frame: str, expected: str, name: str) -> None:
    if frame != expected:
        raise ReadError(f"{name} gives state vectors in the frame {frame!r}; expected {expected!r}")


def _utc(text: str) -> np.datetime64:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset():
        raise InputError(f"times must be UTC, not {text}")
    return np.datetime64(moment.replace(tzinfo=None), "us")


def _trajectory(times: list[np.datetime64], epoch: np.datetime64, positions: Floats, velocities: Floats) -> Trajectory:
    """Seconds since the first vector; refuses what no satellite in this orbit does."""
    seconds = (np.array(times) - times[0]) / np.timedelta64(1, "s")
    trajectory = Trajectory(seconds, positions, velocities, epoch)
    spacing = np.diff(seconds)
    if spacing.max() > _WIDEST_SPACING:
        raise InputError(
            f"state vectors must lie at most {_WIDEST_SPACING:.0f} s apart; {spacing.max():.0f} s lie between two"
        )
    with np.errstate(over="ignore"):  # absurd values are refused here, they need no warning besides
        altitude = np.linalg.norm(positions, axis=1) - SEMI_MAJOR
        # The mean of two velocities differs from the way per time by 3 m/s at 60 s; in a frame that does not turn with
        # the Earth by 70 to 500 m/s.
        mean = velocities[1:] / 2 + velocities[:-1] / 2
        slip = np.linalg.norm(np.diff(positions, axis=0) / spacing[:, None] - mean, axis=1).max()
    if altitude.min() < 600e3 or altitude.max() > 800e3:
        raise InputError(
            "positions must be metres in Sentinel-1's orbit, 600 to 800 km above the equator's radius; these lie "
            f"{altitude.min() / 1e3:.0f} to {altitude.max() / 1e3:.0f} km above it"
        )
    if slip > 10:
        raise InputError(f"velocities must be those of the positions in the same frame; they differ by {slip:.0f} m/s")
    return trajectory


def _difference_from_grid(
    trajectory: Trajectory, lat: Floats, lon: Floats, height: Floats, geocentric: Floats
) -> float:
    """Largest difference in degrees of the vectors' incidence angle from that of a geolocation grid, (n,) each."""
    ascending = bool(trajectory.velocities[trajectory.times.size // 2, 2] > 0)
    solved = solve(trajectory, lat, lon, height, ascending=ascending)
    told = incidence_from_geocentric(geocentric, lat, height, solved.azimuth)
    return float(np.abs(solved.incidence - told).max())
