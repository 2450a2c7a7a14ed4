"""State vectors and files for tests: a day of the reference orbit, written as annotation XML and as orbit files."""

import numpy as np
import pyproj
from scipy.interpolate import CubicHermiteSpline
from scipy.optimize import brentq

from sarcube.sar.reference_orbit import NODE_SHIFT, PERIOD, node_longitude, revolution
from sarcube.sar.trajectory import Trajectory

EPOCH = np.datetime64("2021-08-09T12:00:00", "us")
TO_EARTH_FIXED = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)


def turned(vectors, degrees):
    """Vectors (n, 3) turned about the Earth's axis by degrees, a number or (n,)."""
    angle = np.broadcast_to(np.radians(degrees), len(vectors))
    x, y, z = vectors.T
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle), z], axis=1)


def reference_trajectory(orbit, seconds, *, epoch=EPOCH):
    """States at seconds after the node of a relative orbit, going on into the orbits that follow it."""
    seconds = np.asarray(seconds, float)
    cycle = revolution()
    path = CubicHermiteSpline(cycle.times, cycle.positions, cycle.velocities)
    # One revolution ends where the next begins, to 30 m: the integrated one meets its node 0.13 s late.
    to_node = brentq(lambda time: path(time)[2], PERIOD - 1, PERIOD + 1)
    turns = np.floor(seconds / to_node)
    longitude = node_longitude(orbit) - NODE_SHIFT * turns
    within = seconds - turns * to_node
    positions, velocities = turned(path(within), longitude), turned(path(within, 1), longitude)
    return Trajectory(seconds - seconds[0], positions, velocities, epoch)


def earth_fixed(lat, lon, height):
    """Coordinates (n, 3) by PROJ."""
    return np.stack(TO_EARTH_FIXED.transform(*np.broadcast_arrays(lon, lat, height)), axis=-1)


def _stamp(trajectory, seconds):
    moment = trajectory.epoch + np.timedelta64(round(seconds * 1e6), "us")
    return np.datetime_as_string(moment, unit="us")


def annotation_xml(trajectory, grid, *, frame="Earth Fixed"):
    """A SAFE annotation's orbit list and geolocation grid; grid (n, 4): lat, lon, height, geocentric incidence."""
    orbits = "".join(
        f"<orbit><time>{_stamp(trajectory, t)}</time><frame>{frame}</frame>"
        f"<position><x>{p[0]:.6f}</x><y>{p[1]:.6f}</y><z>{p[2]:.6f}</z></position>"
        f"<velocity><x>{v[0]:.6f}</x><y>{v[1]:.6f}</y><z>{v[2]:.6f}</z></velocity></orbit>"
        for t, p, v in zip(trajectory.times, trajectory.positions, trajectory.velocities, strict=True)
    )
    points = "".join(
        f"<geolocationGridPoint><latitude>{lat:.12e}</latitude><longitude>{lon:.12e}</longitude>"
        f"<height>{height:.9e}</height><incidenceAngle>{incidence:.12e}</incidenceAngle></geolocationGridPoint>"
        for lat, lon, height, incidence in grid
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><product><generalAnnotation>'
        f'<orbitList count="{trajectory.times.size}">{orbits}</orbitList></generalAnnotation><geolocationGrid>'
        f'<geolocationGridPointList count="{len(grid)}">{points}</geolocationGridPointList></geolocationGrid></product>'
    )


def eof_xml(trajectory, *, file_type="AUX_POEORB", frame="EARTH_FIXED", namespace=""):
    """An orbit file (EOF) with TAI 37 s ahead of UTC."""
    vectors = "\n".join(
        f"<OSV><TAI>TAI={_stamp(trajectory, t + 37)}</TAI><UTC>UTC={_stamp(trajectory, t)}</UTC>"
        f"<UT1>UT1={_stamp(trajectory, t - 0.1)}</UT1><Absolute_Orbit>+39156</Absolute_Orbit>"
        f'<X unit="m">{p[0]:.6f}</X><Y unit="m">{p[1]:.6f}</Y><Z unit="m">{p[2]:.6f}</Z>'
        f'<VX unit="m/s">{v[0]:.6f}</VX><VY unit="m/s">{v[1]:.6f}</VY><VZ unit="m/s">{v[2]:.6f}</VZ>'
        "<Quality>NOMINAL</Quality></OSV>"
        for t, p, v in zip(trajectory.times, trajectory.positions, trajectory.velocities, strict=True)
    )
    return (
        f'<?xml version="1.0" ?><Earth_Explorer_File{namespace}><Earth_Explorer_Header><Fixed_Header>'
        f"<File_Type>{file_type}</File_Type></Fixed_Header><Variable_Header><Ref_Frame>{frame}</Ref_Frame>"
        "<Time_Reference>UTC</Time_Reference></Variable_Header></Earth_Explorer_Header>"
        f'<Data_Block type="xml"><List_of_OSVs count="{trajectory.times.size}">{vectors}</List_of_OSVs></Data_Block>'
        "</Earth_Explorer_File>"
    )
