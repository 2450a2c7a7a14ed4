"""Terrain and look geometry as layers of a cube."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.dem import check_dem, read_dem
from sarcube.cube.look import LookNodes, look_at_pixels, solve_look
from sarcube.errors import BandError, InputError
from sarcube.sar import layover_shadow_mask, slope_aspect
from sarcube.sar.layover_shadow import FLAG_MEANINGS, FLAG_VALUES
from sarcube.sar.terrain import curvature

_CHUNK = 1024
_LAYERS = {
    "elevation": ("m", "height above the DEM's reference surface"),
    "slope": ("degree", "slope of the ground"),
    "aspect": ("degree", "downhill direction, clockwise from grid north"),
    "curvature": ("m-1", "total curvature, positive on ridges (Zevenbergen & Thorne 1987)"),
}


def add_terrain(cube: xr.Dataset, dem: str | Path) -> xr.Dataset:
    """Put a DEM on the cube's grid, with its slope, aspect and curvature.

    Parameters
    ----------
    cube : xarray.Dataset
        Dims (time, y, x), in a projected CRS with square pixels.
    dem : str or path
        A raster GDAL reads, elevation in metres in its first band, any CRS and resolution. Nodata is kept as NaN.

    Returns
    -------
    xarray.Dataset
        The cube with lazy float32 layers (y, x): elevation (m; cubic convolution of the DEM), slope and aspect
        (degrees; Horn 1981; aspect NaN where flat) and curvature (1/m; Zevenbergen & Thorne 1987).

    Raises
    ------
    ReadError
        If the DEM is missing or cannot be read.
    AreaError
        If the DEM does not touch the cube.
    InputError
        If the cube's grid is not projected or has oblong pixels.
    """
    geobox = _geobox(cube)
    resolution = _square(geobox)
    path = os.fspath(dem)
    check_dem(path, geobox)
    chunks = _chunks(cube, geobox)
    elevation = _lazy_dem(path, geobox, chunks)
    halo: dict[str, Any] = {"depth": 1, "boundary": "none", "dtype": np.float32, "meta": np.empty((0, 0), np.float32)}
    layers = {
        "elevation": elevation,
        "slope": da.map_overlap(lambda z: slope_aspect(z, resolution=resolution)[0], elevation, **halo),
        "aspect": da.map_overlap(lambda z: slope_aspect(z, resolution=resolution)[1], elevation, **halo),
        "curvature": da.map_overlap(curvature, elevation, resolution=resolution, **halo),
    }
    return cube.assign(
        {
            name: (("y", "x"), data, {"units": _LAYERS[name][0], "long_name": _LAYERS[name][1], **_mapped(cube)})
            for name, data in layers.items()
        }
    )


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
    geobox = _geobox(cube)
    resolution = _square(geobox)
    elevation = cube["elevation"].data
    if not isinstance(elevation, da.Array):
        elevation = da.from_array(elevation, chunks=_chunks(cube, geobox))
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
            name: (("track", "y", "x"), da.stack(parts), {**meanings[name], **source, **_mapped(cube)})
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


def _geobox(cube: xr.Dataset) -> GeoBox:
    geobox = cube.odc.geobox
    if not isinstance(geobox, GeoBox):
        raise InputError(
            "the cube has no regular grid with a CRS: it needs x, y and spatial_ref, as sc.load makes them"
        )
    return geobox


def _square(geobox: GeoBox) -> float:
    x, y = geobox.resolution.x, geobox.resolution.y
    if geobox.crs is None or not geobox.crs.projected or abs(x + y) > 1e-6 * abs(x) or y > 0:
        raise InputError(
            f"terrain and look geometry need a projected CRS with square pixels, rows north to south; this cube is in "
            f"{geobox.crs} with pixels of {x} by {y}: load it with crs= and resolution="
        )
    return float(x)


def _chunks(cube: xr.Dataset, geobox: GeoBox) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The cube's own chunks over y and x, so that layers and scenes meet block by block."""
    sizes = cube.chunksizes
    if "y" in sizes and "x" in sizes:
        return sizes["y"], sizes["x"]
    rows, columns = da.core.normalize_chunks(_CHUNK, geobox.shape)
    return rows, columns


def _mapped(cube: xr.Dataset) -> dict[str, str]:
    return {"grid_mapping": "spatial_ref"} if "spatial_ref" in cube.coords else {}


def _lazy_dem(path: str, geobox: GeoBox, chunks: tuple[tuple[int, ...], tuple[int, ...]]) -> da.Array:
    def read(block_info: dict[None, dict[str, list[tuple[int, int]]]]) -> NDArray[np.float32]:
        (r0, r1), (c0, c1) = block_info[None]["array-location"]
        return read_dem(path, geobox, slice(r0, r1), slice(c0, c1))

    name = f"dem-{dask.base.tokenize(path, Path(path).stat().st_mtime_ns, str(geobox), chunks)}"
    lazy: da.Array = da.map_blocks(read, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32), name=name)
    return lazy
