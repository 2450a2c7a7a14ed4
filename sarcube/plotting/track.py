"""One track's layers for a picture, and the direction in which its radar looks over the grid."""

import numpy as np
import pyproj
import xarray as xr

from sarcube.cube.geometry.ground import geobox_of
from sarcube.cube.track import select_track
from sarcube.errors import BandError, InputError, TrackError
from sarcube.plotting.maps import sample


def layers_of(cube: xr.Dataset, track: str | None, *, needed: dict[str, str]) -> tuple[str, xr.Dataset]:
    """Return the name of the track and its layers; `needed` says for each layer which call adds it.

    Raises
    ------
    BandError
        If a layer is missing.
    TrackError
        If the track is not in the cube, or several are and none was named.
    InputError
        If the cube's grid is not projected.
    """
    for layer, call in needed.items():
        if layer not in cube:
            raise BandError(f"the picture needs {layer}, which this cube lacks: run {call} first")
    crs = geobox_of(cube).crs
    if crs is None or not crs.projected:
        raise InputError(f"the picture needs a cube in a projected CRS such as UTM, not {crs}: load it with crs=")
    names = [str(name) for name in cube["track"].values]
    if track is None:
        if len(names) != 1:
            raise TrackError(f"the cube holds tracks {', '.join(names)}: name one with track=")
        track = names[0]
    return track, select_track(cube, track)


def look_azimuth(layers: xr.Dataset, x: float, y: float) -> float:
    """Mean ground direction of the look over the layers, degrees clockwise from grid north at a place."""
    crs = pyproj.CRS(layers.odc.crs.to_wkt())
    longitude, latitude = pyproj.Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    convergence = pyproj.Proj(crs).get_factors(longitude, latitude).meridian_convergence
    toward = np.radians(sample(layers["sensor_azimuth"]))
    mean = np.degrees(np.arctan2(np.sin(toward).mean(), np.cos(toward).mean()))  # 359° and 1° make 0°
    return (float(mean) - float(convergence) + 180) % 360
