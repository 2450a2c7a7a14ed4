"""How each track of a cube looks at the ground, as layers: angles, layover and shadow."""

import logging
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.acquisition.files.orbit_files import read_orbit_file
from sarcube.cube.geometry.ground import chunks_of, geobox_of, mapped
from sarcube.cube.geometry.look import LookNodes, in_degrees, look_at_pixels, solve_look
from sarcube.cube.geometry.masks import masks_of_track, sample_ground
from sarcube.cube.geometry.orbit_choice import REFERENCE_SOURCE, OrbitSource, orbit_for_track
from sarcube.errors import BandError, InputError
from sarcube.sar.look_codes import FLAG_MEANINGS, FLAG_VALUES, PART_MASKS, PART_MEANINGS

logger = logging.getLogger(__name__)


class _Track(NamedTuple):
    relative_orbit: int
    orbit_state: str


def add_geometry(
    cube: xr.Dataset,
    *,
    method: str = "exact",
    dem: str | Path | None = None,
    orbit_files: Sequence[str | Path] = (),
    max_relief: float | None = None,
    buffer: float = 0.0,
    split: bool = False,
) -> xr.Dataset:
    """Add what each track of the cube sees: incidence angle, sensor azimuth, layover and shadow.

    Parameters
    ----------
    cube : xarray.Dataset
        With `elevation` (see `add_terrain`) and the time coordinates relative_orbit, orbit_state and scene_track; on a
        north-up grid in a projected or geographic CRS.
    method : {"exact", "local"}
        "exact": layover and shadow along look lines, passive and active. "local": by each pixel's own slope, active
        only, as the papers do (Vollrath, Mullissa & Reiche 2020, Remote Sens. 12, 1867).
    dem : str or path, optional
        A DEM that is finer or coarser than the cube. Layover and shadow are then found at its own sampling (a whole
        number of samples to a pixel, or of pixels to a sample) and every pixel takes all flags found in it. Default:
        on the cube's elevation.
    orbit_files : sequence of str or path
        SAFE annotations (XML) and orbit files (EOF). Each track takes the best that saw the area from its orbit:
        annotation, precise, restituted. Default, and for tracks that none saw: the packaged reference orbit.
    max_relief : float, optional
        Metres by which heights differ at most, in chunks joined to up to 4096 × 2048 pixels and as far around as
        layover and shadow reach: how much ground each block is read with. Default: the range of `dem`, or that which
        `add_terrain` found, or that of an elevation in memory; where there is none, that of the Earth, 9300 m.
    buffer : float
        Metres by which layover_shadow is widened. The papers use none.
    split : bool
        Also tell active from passive distortion, in `distortion_parts`.

    Returns
    -------
    xarray.Dataset
        The cube with lazy layers (track, y, x); `track` holds names such as "D164".

        - incidence_angle: float32, degrees, from the ellipsoid's normal, at the pixel's height.
        - sensor_azimuth: float32, degrees clockwise from true north, from the pixel to the sensor.
        - layover_shadow: uint8, OPERA's codes: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data.
        - distortion_parts, with `split`: uint8 flags: 1 active shadow, 2 active layover, 4 passive shadow, 8 passive
          layover, 255 no data.

        Their attributes say where the geometry comes from, with its expected error, and what heights are taken to be.

    Raises
    ------
    BandError
        If the cube has no elevation or does not name its tracks.
    InputError
        For an unknown method, a buffer < 0, a max_relief <= 0, a grid that is not north-up, a track that does not look
        at the area, orbit files that saw it from none of its tracks; as blocks are computed, if heights differ by more
        than `max_relief`.
    ReadError
        If the DEM or an orbit file cannot be read.
    AreaError
        If the DEM does not touch the cube.

    Notes
    -----
    Nothing is computed yet; a block is computed with the ground around it that can reach it, and how the cube is cut
    into blocks never changes a pixel. Layover and shadow are those of ground inside the cube, with `dem` as well: what
    stands outside casts none. Where that matters, load a wider cube and cut it afterwards.
    """
    _check(cube, method, buffer, max_relief)
    geobox = geobox_of(cube)
    elevation = cube["elevation"].data
    if not isinstance(elevation, da.Array):
        elevation = da.from_array(elevation, chunks=chunks_of(cube))
    if elevation.dtype not in (np.float32, np.float64):
        elevation = elevation.astype(np.float32)
    sampling = sample_ground(cube, geobox, elevation, dem=dem, max_relief=max_relief)
    names = ["incidence_angle", "sensor_azimuth", "layover_shadow", *["distortion_parts"] * split]
    tracks = _tracks(cube)
    orbits = _orbits(tracks, orbit_files, geobox)
    layers: list[list[da.Array]] = []
    for name, track in tracks.items():
        nodes = _solve(geobox, track, orbits.get(name))
        nodes_of_sampling = nodes if sampling.grid is geobox else _solve(sampling.grid, track, orbits.get(name))
        masks = masks_of_track(
            sampling, nodes_of_sampling, geobox=geobox, method=method, buffer=float(buffer), split=split
        )
        angles = da.map_blocks(
            _angles, elevation, nodes=nodes, new_axis=0, chunks=((2,), *elevation.chunks), dtype=np.float32
        )
        layers.append([angles[0], angles[1], *masks])
    attrs = _attributes(method, buffer, dem, sampling.grid)
    attrs_of_all = {"source": _sources(tracks, orbits), "heights": nodes.heights, **mapped(cube)}
    return cube.assign_coords(track=("track", list(tracks))).assign(
        {
            name: (("track", "y", "x"), da.stack(parts), attrs[name] | attrs_of_all)
            for name, parts in zip(names, zip(*layers, strict=True), strict=True)
        }
    )


def _angles(
    elevation: NDArray[np.floating], *, nodes: LookNodes, block_info: dict[int, dict[str, list[tuple[int, int]]]]
) -> NDArray[np.float32]:
    """Incidence and azimuth of one block: (y, x) -> (2, y, x)."""
    (r0, r1), (c0, c1) = block_info[0]["array-location"]
    return look_at_pixels(nodes, np.arange(r0, r1, dtype=float), np.arange(c0, c1, dtype=float), elevation)


def _check(cube: xr.Dataset, method: str, buffer: float, max_relief: float | None) -> None:
    if "elevation" not in cube:
        raise BandError("layover and shadow need elevation, which this cube lacks: run sc.add_terrain(cube, dem) first")
    if cube["elevation"].dims != ("y", "x"):
        raise BandError(f"elevation must have the dimensions (y, x), not {cube['elevation'].dims}: transpose it")
    if lacking := [name for name in ("scene_track", "relative_orbit", "orbit_state") if name not in cube.coords]:
        raise BandError(
            f"look geometry needs the time coordinates scene_track, relative_orbit and orbit_state, as sc.load makes "
            f"them; this cube lacks {', '.join(lacking)}"
        )
    if method not in ("exact", "local"):
        raise InputError(f'method must be "exact" or "local", not {method!r}')
    if not (buffer >= 0 and math.isfinite(buffer)):
        raise InputError(f"buffer must be metres >= 0, not {buffer!r}")
    if max_relief is not None and not (max_relief > 0 and math.isfinite(max_relief)):
        raise InputError(f"max_relief must be metres > 0, not {max_relief!r}")


def _tracks(cube: xr.Dataset) -> dict[str, _Track]:
    """Return the tracks of a cube by name, in the order of their names."""
    names = cube["scene_track"].values.astype(str)
    found = {}
    for name in sorted(set(names)):
        first = int(np.flatnonzero(names == name)[0])
        found[name] = _Track(int(cube["relative_orbit"].values[first]), str(cube["orbit_state"].values[first]))
    return found


def _orbits(tracks: dict[str, _Track], paths: Sequence[str | Path], geobox: GeoBox) -> dict[str, OrbitSource]:
    """Return the state vectors of each track that one of the files saw from its orbit."""
    files = [read_orbit_file(path) for path in paths]
    if not files:
        return {}
    rows, columns = geobox.shape
    corners = np.array([[-0.5, -0.5], [-0.5, columns - 0.5], [rows - 0.5, -0.5], [rows - 0.5, columns - 0.5]])
    lon, lat = in_degrees(geobox, *np.vstack([corners, corners.mean(0)]).T)
    found = {
        name: orbit
        for name, track in tracks.items()
        if (orbit := orbit_for_track(files, lat=lat, lon=lon, **track._asdict())) is not None
    }
    if not found:
        raise InputError(
            f"none of the orbit files ({', '.join(file.name for file in files)}) holds a pass that sees this area from "
            f"{', '.join(tracks)}: give those of its tracks, or none to take the reference orbit"
        )
    for name in tracks.keys() - found.keys():
        logger.warning("no orbit file holds a pass of %s over this area; it takes the reference orbit", name)
    return found


def _solve(grid: GeoBox, track: _Track, orbit: OrbitSource | None) -> LookNodes:
    if orbit is None:
        return solve_look(grid, **track._asdict(), above_geoid=True)
    return solve_look(grid, **track._asdict(), trajectory=orbit.trajectory, source=orbit.text, above_geoid=True)


def _sources(tracks: Iterable[str], orbits: dict[str, OrbitSource]) -> str:
    """Say once what holds for all tracks, else for each."""
    texts = {name: orbits[name].text if name in orbits else REFERENCE_SOURCE for name in tracks}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return " | ".join(f"{name}: {text}" for name, text in texts.items())


def _attributes(method: str, buffer: float, dem: str | Path | None, grid: GeoBox) -> dict[str, dict[str, Any]]:
    where = "the cube's elevation" if dem is None else f"{Path(dem).name}, sampled every {grid.resolution.x:g} units"
    unit: dict[str, Any] = {"units": "1", "ground": where}
    return {
        "incidence_angle": {"units": "degree", "long_name": "incidence angle from the ellipsoid's normal"},
        "sensor_azimuth": {"units": "degree", "long_name": "azimuth from pixel to sensor, clockwise from true north"},
        "layover_shadow": {
            **unit,
            "long_name": f"layover and shadow, {method} test",
            "flag_values": list(FLAG_VALUES),
            "flag_meanings": FLAG_MEANINGS,
            "buffer_m": float(buffer),
        },
        "distortion_parts": {
            **unit,
            "long_name": "active and passive layover and shadow; 255 no data",
            "flag_masks": list(PART_MASKS),
            "flag_meanings": PART_MEANINGS,
        },
    }
