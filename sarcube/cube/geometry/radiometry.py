"""Radiometry of a cube: gamma0 and sigma0, slope correction, local incidence angle.

What a cube holds stands in the attribute `radiometry` of its bands, so that nothing is converted twice.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.cube.geometry.ground import geobox_of, mapped
from sarcube.cube.geometry.north import convergence_nodes, interpolate_nodes, node_positions
from sarcube.errors import BandError, InputError, TrackError
from sarcube.radiometry import GAMMA0, SIGMA0
from sarcube.sar.radiometry import MODELS, gamma0_per_sigma0, local_incidence_angle

Floats32 = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Function = Callable[..., NDArray[np.floating[Any]]]

_CORRECTED = {model: f"gamma0 slope-corrected, {model} model" for model in MODELS}
_IN_WORDS = {
    GAMMA0: ("gamma0", "terrain-flattened"),
    SIGMA0: ("sigma0", "on the ellipsoid"),
    **{said: ("gamma0", f"slopes corrected by the {model} model") for model, said in _CORRECTED.items()},
}
_POLARISATIONS = ("vv", "vh", "hh", "hv")
_LAYERS = {
    "slope": "sc.add_terrain(cube, dem)",
    "aspect": "sc.add_terrain(cube, dem)",
    "incidence_angle": "sc.add_geometry(cube)",
    "sensor_azimuth": "sc.add_geometry(cube)",
}


def to_sigma0(cube: xr.Dataset) -> xr.Dataset:
    """Turn terrain-flattened gamma0 into sigma0 on the ellipsoid, which Earth Engine's Sentinel-1 collection holds.

    It is what weights that were trained on Earth Engine's composites, such as SAR-LRA's, expect.

    Parameters
    ----------
    cube : xarray.Dataset
        What `sc.load` returned: float32 bands (time, y, x) of gamma0 in linear power; with `slope` and `aspect` (see
        `add_terrain`) and `incidence_angle` and `sensor_azimuth` of its tracks (see `add_geometry`).

    Returns
    -------
    xarray.Dataset
        The same cube with its bands in sigma0, each date by the geometry of its track; float32, lazy where the cube is.
        A hole keeps its reason. Pixels in active layover or shadow are NaN: see
        `sarcube.sar.radiometry.gamma0_per_sigma0`. `attrs["radiometry"]` of the bands says what they are now.

    Raises
    ------
    BandError
        If the cube has no band, or lacks a layer.
    TrackError
        If a track has no per-track layers.
    InputError
        If the cube does not hold terrain-flattened gamma0, or its bands do not say what they hold.

    Notes
    -----
    σ0 = γ0 sin θ / tan(θ - α_r), with α_r the slope toward the sensor. It undoes the flattening of a plane slope; what
    the areas of many facets did to a pixel of the RTC product cannot be undone.
    """
    _expect(cube, GAMMA0, "sc.load(items) makes it")
    return _converted(cube, np.divide, _per_track(cube, gamma0_per_sigma0), radiometry=SIGMA0)


def to_gamma0(cube: xr.Dataset) -> xr.Dataset:
    """Turn sigma0 on the ellipsoid into terrain-flattened gamma0: the inverse of `to_sigma0`.

    Parameters
    ----------
    cube : xarray.Dataset
        As in `to_sigma0`, in sigma0.

    Returns
    -------
    xarray.Dataset
        The same cube with its bands in gamma0; the rest as in `to_sigma0`.

    Raises
    ------
    BandError, TrackError, InputError
        As in `to_sigma0`.
    """
    _expect(cube, SIGMA0, "to_sigma0(cube) makes it")
    return _converted(cube, np.multiply, _per_track(cube, gamma0_per_sigma0), radiometry=GAMMA0)


def correct_slopes(cube: xr.Dataset, *, model: str = "volume") -> xr.Dataset:
    """Take the brightness of slopes out of sigma0 (Vollrath, Mullissa & Reiche 2020, Remote Sens. 12, 1867).

    Parameters
    ----------
    cube : xarray.Dataset
        As in `to_sigma0`, in sigma0.
    model : {"volume", "surface"}
        "volume" suits vegetation and gives the numbers of `to_gamma0`; "surface" suits bare ground.

    Returns
    -------
    xarray.Dataset
        The same cube with its bands in slope-corrected gamma0; the rest as in `to_sigma0`.

    Raises
    ------
    InputError
        For an unknown model; and as in `to_sigma0`.
    BandError, TrackError
        As in `to_sigma0`.
    """
    if model not in MODELS:
        raise InputError(f'model must be "volume" or "surface", not {model!r}')
    _expect(cube, SIGMA0, "to_sigma0(cube) makes it; terrain-flattened gamma0 is corrected already")
    ratio = _per_track(cube, partial(gamma0_per_sigma0, model=model))
    return _converted(cube, np.multiply, ratio, radiometry=_CORRECTED[model])


def add_local_incidence(cube: xr.Dataset) -> xr.Dataset:
    """Add the exact angle between the line to the sensor and the normal of the ground, per track.

    Parameters
    ----------
    cube : xarray.Dataset
        With slope and aspect (see `add_terrain`), and incidence_angle and sensor_azimuth (see `add_geometry`).

    Returns
    -------
    xarray.Dataset
        The cube with `local_incidence_angle` (track, y, x), float32, degrees, lazy where the layers are; NaN where any
        of them is. Flat ground, which has no aspect, has the angle on the ellipsoid.

    Raises
    ------
    BandError
        If a layer is missing.

    Notes
    -----
    See `sarcube.sar.radiometry.local_incidence_angle` for the formula.
    """
    angle = _per_track(cube, local_incidence_angle)
    angle.attrs = {
        "units": "degree",
        "long_name": "angle between the line to the sensor and the normal of the ground",
        **{name: value for name, value in cube["incidence_angle"].attrs.items() if name == "source"},
        **mapped(cube),
    }
    return cube.assign(local_incidence_angle=angle)


def radiometry_of(cube: xr.Dataset) -> str:
    """Return what the bands of a cube hold: "gamma0 RTC", "sigma0 on the ellipsoid" or another radiometry.

    Raises
    ------
    BandError
        If the cube has no band.
    InputError
        If the bands do not say it, or disagree.
    """
    said = {name: _said_by(cube[name]) for name in _bands(cube)}
    if None in said.values():
        unknown = next(name for name, radiometry in said.items() if radiometry is None)
        raise InputError(
            f'band "{unknown}" does not say which radiometry it holds; say it, for example '
            f'cube["{unknown}"].attrs["radiometry"] = "{GAMMA0}" or "{SIGMA0}"'
        )
    first, *others = sorted({str(radiometry) for radiometry in said.values()})
    if others:
        raise InputError(f"the bands of the cube hold different radiometries: {', '.join([first, *others])}")
    return first


def _said_by(band: xr.DataArray) -> str | None:
    """What a band says it holds; a cube that says it in its long name alone was loaded so."""
    said = band.attrs.get("radiometry")
    if said is not None:
        return str(said)
    names = {_long_name(radiometry, str(band.name)): radiometry for radiometry in _IN_WORDS}
    return names.get(str(band.attrs.get("long_name")))


def _bands(cube: xr.Dataset) -> list[str]:
    bands = [name for name in _POLARISATIONS if name in cube.data_vars]
    if not bands:
        held = ", ".join(map(str, cube.data_vars)) or "nothing"
        raise BandError(f"the cube has none of {', '.join(_POLARISATIONS)}; it holds {held}")
    return bands


def _expect(cube: xr.Dataset, wanted: str, remedy: str) -> None:
    if (held := radiometry_of(cube)) != wanted:
        raise InputError(f'this needs a cube of "{wanted}", and this one holds "{held}"; {remedy}')


def _converted(cube: xr.Dataset, operation: np.ufunc, ratio: xr.DataArray, *, radiometry: str) -> xr.Dataset:
    """Apply each track's ratio to the dates of the track."""
    tracks = [str(name) for name in cube["track"].values]
    dates = [str(name) for name in cube["scene_track"].values]
    if missing := sorted(set(dates) - set(tracks)):
        raise TrackError(
            f'track "{missing[0]}" has no per-track layers in this cube; there are {", ".join(tracks) or "none"}: '
            "run sc.add_geometry(cube) on a cube that holds all its dates"
        )
    steps = xr.DataArray([tracks.index(name) for name in dates], dims="time")
    along_time = ratio.drop_vars("track").isel(track=steps)
    bands = {}
    for name in _bands(cube):
        band = cube[name]
        ratios = along_time.chunk(band.chunksizes) if band.chunks else along_time
        values = xr.apply_ufunc(
            partial(_keep_holes, operation), band, ratios, dask="parallelized", output_dtypes=[np.float32]
        )
        values = values.transpose(*band.dims)
        values.attrs = band.attrs | {"long_name": _long_name(radiometry, name), "radiometry": radiometry}
        bands[name] = values
    converted = cube.assign(bands)
    converted.attrs = cube.attrs | {"title": f"Sentinel-1 {', '.join(_IN_WORDS[radiometry])}"}
    return converted


def _keep_holes(operation: np.ufunc, power: Floats32, ratio: Floats32) -> Floats32:
    """Operate where there is power; a NaN of the cube says why it is one, and keeps that (`sarcube.cube.holes`)."""
    return np.where(np.isnan(power), power, operation(power, ratio, dtype=np.float32))


def _per_track(cube: xr.Dataset, function: Function) -> xr.DataArray:
    """Apply a function of slope and look to each track: (track, y, x) float32, lazy where the layers are."""
    missing = [name for name in _LAYERS if name not in cube]
    if missing:
        raise BandError(
            f"this needs {', '.join(missing)}, which this cube lacks: run "
            + " and ".join(dict.fromkeys(_LAYERS[name] for name in missing))
            + " first"
        )
    geobox = geobox_of(cube)
    layers = (cube[name] for name in ("incidence_angle", "sensor_azimuth", "slope", "aspect"))
    result: xr.DataArray = xr.apply_ufunc(
        _on_grid,
        *layers,
        *node_positions(geobox),
        kwargs={"function": function, "nodes": convergence_nodes(geobox)},
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    return result.transpose("track", "y", "x")


def _on_grid(
    incidence: Floats32,
    azimuth: Floats32,
    slope: Floats32,
    aspect: Floats32,
    y: Floats64,
    x: Floats64,
    *,
    function: Function,
    nodes: Floats64,
) -> Floats32:
    """Call a function of slope and look; aspect counts from grid north, so the azimuth has to as well."""
    azimuth_on_grid = azimuth - interpolate_nodes(nodes, y, x)
    return function(slope, aspect, incidence_angle=incidence, sensor_azimuth=azimuth_on_grid).astype(np.float32)


def _long_name(radiometry: str, band: str) -> str:
    quantity, how = _IN_WORDS[radiometry]
    return f"{quantity} backscatter, {band.upper()}, linear power, {how}"
