"""What a cube says of itself: coordinates, attributes, where it comes from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from sarcube.acquisition.scenes import Scene, pass_time
from sarcube.radiometry import GAMMA0

Pass = tuple[Scene, ...]


def band_attributes(band: str) -> dict[str, str]:
    """Return the attributes of a band."""
    return {
        "units": "1",
        "long_name": f"gamma0 backscatter, {band.upper()}, linear power, terrain-flattened",
        "radiometry": GAMMA0,
        "polarization": band.upper(),
        "grid_mapping": "spatial_ref",
    }


def coordinates(groups: Sequence[Pass], geobox: GeoBox) -> dict[str, Any]:
    """Return the coordinates of the passes, one time step each, on a grid."""
    space: dict[Any, xr.DataArray] = dict(xr_coords(geobox))
    for name, direction in (("x", "easting"), ("y", "northing")):
        space[name].attrs |= {"long_name": direction, "standard_name": f"projection_{name}_coordinate"}
    times = [np.datetime64(pass_time(group).replace(tzinfo=None), "ns") for group in groups]
    firsts = [group[0] for group in groups]
    orbits = np.array([scene.relative_orbit for scene in firsts], np.int16)
    return {
        **space,
        "time": ("time", np.array(times, "M8[ns]"), {"standard_name": "time", "long_name": "time of the pass, UTC"}),
        "scene_track": _texts([scene.track for scene in firsts], "track: pass direction and relative orbit"),
        "orbit_state": _texts([scene.orbit_state for scene in firsts], "pass direction"),
        "relative_orbit": ("time", orbits, {"units": "1", "long_name": "relative orbit number"}),
        "platform": _texts([scene.platform for scene in firsts], "satellite"),
        "item_ids": _texts([",".join(scene.id for scene in group) for group in groups], "items, joined by commas"),
    }


def _texts(values: Sequence[str], long_name: str) -> tuple[str, Any, dict[str, str]]:
    return "time", np.array(values, dtype=object), {"long_name": long_name}


def record(
    groups: Sequence[Pass], bands: Sequence[str], dropped: Sequence[tuple[Scene, Scene]], left_out: Sequence[Scene]
) -> dict[str, Any]:
    """Return the attributes that say where a cube comes from, and what it does not hold."""
    return {
        "Conventions": "CF-1.11",
        "title": "Sentinel-1 gamma0, radiometrically terrain corrected",
        "items": [scene.id for group in groups for scene in group],
        "duplicates_dropped": [f"{old.id} (kept: {new.id})" for old, new in dropped],
        "items_without_vv_and_vh": [scene.id for scene in left_out],
        "missing_polarisations": [
            f"{pass_time(group):%Y-%m-%dT%H:%M:%S}Z {group[0].track}: {band}"
            for group in groups
            for band in bands
            if any(band not in scene.rasters for scene in group)
        ],
    }
