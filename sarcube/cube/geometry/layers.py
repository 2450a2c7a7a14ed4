"""Look geometry as layers of a cube."""

from collections.abc import Iterator
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.cube.geometry.ground import chunks_of, geobox_of, mapped, pixel_size
from sarcube.cube.geometry.look import LookNodes, look_at_pixels, solve_look
from sarcube.errors import BandError, InputError
from sarcube.sar import layover_shadow_mask
from sarcube.sar.layover_shadow import FLAG_MEANINGS, FLAG_VALUES


def add_geometry(cube: xr.Dataset, *, method: str = "exact") -> xr.Dataset:
    """Add what each track of the cube sees: incidence angle, sensor azimuth, layover and shadow.

    Parameters
    ----------
    cube : xarray.Dataset
        With `elevation` (see `add_terrain`) and the time coordinates relative_orbit, orbit_state and scene_track.
    method : {"exact", "local"}
        "exact": layover and shadow along look lines, passive and active. The lines cross the whole area, so this is
        one task per track over the whole layer. "local": by each pixel's own slope, active only, as the papers do.

    Returns
    -------
    xarray.Dataset
        The cube with lazy layers (track, y, x): incidence_angle (float32, degrees, from the ellipsoid's normal),
        sensor_azimuth (float32, degrees clockwise from true north, pixel to sensor) and layover_shadow (uint8, OPERA's
        codes: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data); `track` holds names such as "D164".

    Raises
    ------
    BandError
        If the cube has no elevation.
    InputError
        For an unknown method, or a track that does not look at the area.

    Notes
    -----
    The geometry comes from the reference orbit (`sarcube.sar.look_geometry`), accurate to about 0.006 degrees in
    incidence; the layers say so. Heights are taken as they are in the DEM: above the geoid they move the incidence
    angle by less than 0.005 degrees.
    """
    if "elevation" not in cube:
        raise BandError("layover and shadow need elevation, which this cube lacks: run sc.add_terrain(cube, dem) first")
    if method not in ("exact", "local"):
        raise InputError(f'method must be "exact" or "local", not {method!r}')
    geobox = geobox_of(cube)
    resolution = pixel_size(geobox)
    elevation = cube["elevation"].data
    if not isinstance(elevation, da.Array):
        elevation = da.from_array(elevation, chunks=chunks_of(cube, geobox))
    tracks = dict(_tracks(cube))
    layers: dict[str, list[da.Array]] = {"incidence_angle": [], "sensor_azimuth": [], "layover_shadow": []}
    for orbit, state in tracks.values():
        nodes = solve_look(geobox, relative_orbit=orbit, orbit_state=state)
        angles = da.map_blocks(_angles, elevation, nodes=nodes, new_axis=0, chunks=(2, *elevation.chunks), dtype="f4")
        layers["incidence_angle"].append(angles[0])
        layers["sensor_azimuth"].append(angles[1])
        settings = {"resolution": resolution, "azimuth": nodes.mean_grid_azimuth, "method": method}
        if method == "exact":
            whole = da.map_blocks(_mask, elevation.rechunk(-1), angles[0].rechunk(-1), dtype="u1", **settings)
            mask = whole.rechunk(elevation.chunks)
        else:
            mask = da.map_overlap(_mask, elevation, angles[0], depth=1, boundary="none", dtype="u1", **settings)
        layers["layover_shadow"].append(mask)
    meanings: dict[str, dict[str, Any]] = {
        "incidence_angle": {"units": "degree", "long_name": "incidence angle from the ellipsoid's normal"},
        "sensor_azimuth": {"units": "degree", "long_name": "azimuth from pixel to sensor, clockwise from true north"},
        "layover_shadow": {
            "units": "1",
            "long_name": f"layover and shadow, {method} test",
            "flag_values": list(FLAG_VALUES),
            "flag_meanings": FLAG_MEANINGS,
        },
    }
    source = {"source": "reference orbit; expected error 0.006 degrees in incidence, 0.002 in azimuth"}
    return cube.assign_coords(track=("track", list(tracks))).assign(
        {
            name: (("track", "y", "x"), da.stack(parts), {**meanings[name], **source, **mapped(cube)})
            for name, parts in layers.items()
        }
    )


def _angles(
    elevation: NDArray[np.float32], *, nodes: LookNodes, block_info: dict[int, dict[str, list[tuple[int, int]]]]
) -> NDArray[np.float32]:
    """Incidence and azimuth of one block: (y, x) -> (2, y, x)."""
    (r0, r1), (c0, c1) = block_info[0]["array-location"]
    return np.stack(look_at_pixels(nodes, np.arange(r0, r1, dtype=float), np.arange(c0, c1, dtype=float), elevation))


def _mask(
    elevation: NDArray[np.float32], incidence: NDArray[np.float32], *, resolution: float, azimuth: float, method: str
) -> NDArray[np.uint8]:
    return layover_shadow_mask(
        elevation, resolution=resolution, incidence_angle=incidence, sensor_azimuth=azimuth, method=method
    )


def _tracks(cube: xr.Dataset) -> Iterator[tuple[str, tuple[int, str]]]:
    names = cube["scene_track"].values
    orbits, states = cube["relative_orbit"].values, cube["orbit_state"].values
    for name in sorted(set(names)):
        first = int(np.flatnonzero(names == name)[0])
        yield str(name), (int(orbits[first]), str(states[first]))
