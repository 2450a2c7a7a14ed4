"""Height of the geoid above the ellipsoid, from PROJ's grid where it is installed."""

import logging
import os
from functools import cache
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import ArrayLike, NDArray
from pyproj.datadir import get_data_dir, get_user_data_dir  # type: ignore[attr-defined]  # documented, imported there from a private module
from pyproj.exceptions import ProjError

from sarcube.errors import ReadError

logger = logging.getLogger(__name__)

# PROJ's names of the grids, now and before PROJ 7; the better model first.
_GRIDS = {
    "us_nga_egm08_25.tif": "EGM2008",
    "egm08_25.gtx": "EGM2008",
    "us_nga_egm96_15.tif": "EGM96",
    "egm96_15.gtx": "EGM96",
}
_ABSENT = (
    "no geoid: PROJ's grid us_nga_egm08_25.tif is not installed, heights above the geoid count as heights above the "
    "ellipsoid, which moves the incidence angle by less than 0.005 degrees"
)


def geoid_undulation(lat: ArrayLike, lon: ArrayLike) -> tuple[NDArray[np.float64], str]:
    """Height of the geoid above the ellipsoid: what a DEM's heights lack to be ellipsoidal.

    Parameters
    ----------
    lat, lon : array_like
        Geodetic latitude and longitude, degrees, WGS 84, any shapes that broadcast.

    Returns
    -------
    undulation : numpy.ndarray of float64
        Metres, of the broadcast shape, bilinear between the grid's posts; NaN where a coordinate is not finite. Zero
        everywhere if PROJ has neither the EGM2008 nor the EGM96 grid: up to 107 m, or 0.005 degrees of incidence.
    text : str
        The model and grid used, or that there is none: for a layer's attributes.

    Raises
    ------
    ReadError
        If the installed grid is broken or does not hold a point.

    Notes
    -----
    EGM2008: Pavlis et al. 2012, J. Geophys. Res. 117, B04406. `pyproj sync --file us_nga_egm08_25.tif` installs the
    grid; nothing is fetched here, even where PROJ may use the network.
    """
    lat, lon = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    grid = next((name for name in _GRIDS if _is_installed(name)), None)
    if grid is None:
        _log_absence()
        return np.zeros(lat.shape), _ABSENT
    # Multiplier 1 adds the geoid's height, so that 0 above the geoid becomes the undulation.
    pipeline = (
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad "
        f"+step +proj=vgridshift +grids={grid} +multiplier=1 "
        "+step +proj=unitconvert +xy_in=rad +xy_out=deg"
    )
    try:
        lift = pyproj.Transformer.from_pipeline(pipeline)
    except ProjError as error:
        raise ReadError(f"PROJ's grid {grid} cannot be read: {error}; install it again or remove it") from error
    good = np.isfinite(lat) & np.isfinite(lon)
    undulation = np.full(lat.shape, np.nan)
    undulation[good] = lift.transform(lon[good], lat[good], np.zeros(int(good.sum())))[2]
    for fault in np.flatnonzero(good & ~np.isfinite(undulation))[:1]:
        raise ReadError(
            f"PROJ's grid {grid} gives no geoid at {lat.flat[fault]:.3f}°, {lon.flat[fault]:.3f}°: it is broken or "
            "does not cover the Earth; install it again"
        )
    return undulation, f"{_GRIDS[grid]} geoid, PROJ's grid {grid}"


def _is_installed(grid: str) -> bool:
    """Tell whether a grid lies in one of PROJ's folders: asking PROJ itself could reach for the network."""
    folders = [*get_data_dir().split(os.pathsep), get_user_data_dir()]
    return any((Path(folder) / grid).is_file() for folder in folders)


@cache
def _log_absence() -> None:
    """Say it once, not per cube and track."""
    logger.info("%s; `pyproj sync --file us_nga_egm08_25.tif` installs it", _ABSENT)
