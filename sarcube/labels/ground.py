"""Where patches lie on the ground, in metres: one plane for each event, whatever its patches' coordinates are."""

from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.crs import CRS
from pyproj import Proj, Transformer

from sarcube.errors import InputError

Ground: TypeAlias = NDArray[np.float64]

_FAR = 2e6  # metres, between patches of one event: what no event reaches, nor a projection's plane
_STRETCHED = 0.05  # how much longer or shorter a projection may make a metre: Mercator doubles it at 60 degrees


def corners_on_the_ground(table: pd.DataFrame, event: str) -> Ground:
    """Corners of one event's patches in one plane.

    Parameters
    ----------
    table : pandas.DataFrame
        left, bottom, right, top in the units of crs, as `sarcube.labels.patches.Patches.table` has them.
    event : str
        Its name, for messages.

    Returns
    -------
    (n, corner, x and y) float64 array
        Metres: in the first CRS among the patches' that is metric there, or else in a plane around the first patch.

    Raises
    ------
    InputError
        If the patches know no place, or lie 2000 km apart.
    """
    systems = list(dict.fromkeys(table["crs"]))
    if "" in systems:
        raise InputError(
            f'patches of event "{event}" were made of arrays: nobody knows where they lie; split them with '
            'method="random"'
        )
    corners = map_corners(table)
    if not len(corners):
        return corners
    lon, lat = Transformer.from_crs(systems[0], "EPSG:4326", always_xy=True).transform(*corners[0, 0])
    plane = next((system for system in systems if _is_metric(system, lon, lat)), None)
    if plane is None:
        plane = f"+proj=aeqd +lon_0={lon} +lat_0={lat} +units=m"
    for system in systems:
        if system != plane:
            here = (table["crs"] == system).to_numpy()
            to_plane = Transformer.from_crs(system, plane, always_xy=True)
            corners[here] = np.stack(to_plane.transform(*np.moveaxis(corners[here], 2, 0)), axis=-1)
    if not np.ptp(corners.reshape(-1, 2), axis=0).max() < _FAR:
        raise InputError(
            f'patches of event "{event}" lie more than {_FAR / 1000:.0f} km apart: are there two events of that name? '
            'Name them in attrs["event"] of their stacks'
        )
    return corners


def map_corners(table: pd.DataFrame) -> Ground:
    """Corners of patches in the units of their own CRS: (n, corner, x and y) float64."""
    sides = ["left", "bottom", "right", "bottom", "right", "top", "left", "top"]
    return table[sides].to_numpy(np.float64).reshape(len(table), 4, 2)


def _is_metric(system: str, lon: float, lat: float) -> bool:
    """Whether a unit of the CRS is a metre, and a metre on the ground at a place in degrees as well."""
    crs = CRS(system).proj
    if not crs.is_projected or any(axis.unit_conversion_factor != 1 for axis in crs.axis_info):
        return False
    there = Proj(crs).get_factors(lon, lat)
    return max(abs(there.meridional_scale - 1), abs(there.parallel_scale - 1)) < _STRETCHED
