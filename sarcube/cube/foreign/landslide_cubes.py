"""The landslide cubes that Boehm et al. 2022 published, as cubes of this package.

Boehm, Leong, Mahesh, Prapas, Nemni, Kalaitzis, Ganju & Ramos-Pollan 2022, "Deep Learning for Rapid Landslide Detection
using Synthetic Aperture Radar (SAR) Datacubes", arXiv:2211.02869; data doi:10.5281/zenodo.7248056; their code
iprapas/landslide-sar-unet on GitHub, src/datamodule.py. What is known of the files, and what is assumed, is in
docs/foreign.md.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import pandas as pd
import pyproj
import rioxarray  # noqa: F401  registers cube.rio
import xarray as xr
import zarr.errors
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.foreign.landslide_passes import read_passes
from sarcube.cube.foreign.raster import space_coords
from sarcube.cube.holes import Hole, hole_value
from sarcube.errors import BandError, InputError, ReadError

logger = logging.getLogger(__name__)

Scale: TypeAlias = Literal["linear", "db"]
Floats = NDArray[np.float32]

_CHUNK = 1024
_ENOUGH = 1024  # values: among so many in dB there is one below 0, in the middle of a city too

_STATIC: Mapping[str, tuple[str, str, str]] = {
    "dem": ("elevation", "m", "height above the DEM's reference surface"),
    "dem_slope_radians": ("slope", "degree", "slope of the ground"),
    "dem_aspect": ("aspect", "degree", "downhill direction, clockwise from north, as published"),
}
_PAIRS: Mapping[str, tuple[str, str]] = {
    "coherence": ("1", "interferometric coherence, as published"),
    "interferogram": ("radian", "interferometric phase, as published"),
}
_DATE = re.compile(r"(?<!\d)\d{4}-?\d{2}-?\d{2}(?:T\d{2}:?\d{2}:?\d{2}(?:\.\d+)?)?")


def open_landslide_cube(
    source: str | Path | xr.Dataset,
    *,
    scale: Scale = "linear",
    crs: str | int | None = None,
    orbit_state: str | Sequence[str] | None = None,
    relative_orbit: int | Sequence[int] | None = None,
) -> xr.Dataset:
    """Open a cube of Boehm et al. 2022 (dims timestep, timepair, y, x) as a cube of this package.

    Parameters
    ----------
    source : str, path or xarray.Dataset
        The unpacked Zarr folder (format 2 or 3), or what was opened from it.
    scale : {"linear", "db"}
        What vv and vh are in. The authors' code takes the logarithm of them, so "linear".
    crs : str or int, optional
        CRS of x and y, where the file does not say it.
    orbit_state : str or sequence of str, optional
        "ascending" or "descending" ("a", "d") of all steps or of each, where the file does not say it.
    relative_orbit : int or sequence of int, optional
        Of all steps or of each, where the file does not say it. Default: unknown, see below.

    Returns
    -------
    xarray.Dataset
        Lazy, dims (time, y, x) sorted by time, rows north to south: `vv` and `vh` (float32, linear power, NaN where not
        finite or not > 0); those there are of `elevation` (m), `slope` (degrees), `aspect` (degrees, NaN where flat),
        `landslide` (uint8, 1 where the published value is > 0, as the authors count them), other layers (y, x) under
        their own names, `coherence` and `interferogram` (timepair, y, x; 0 is NaN). Coordinates along time as `sc.load`
        has them.

        Where the relative orbit is unknown, passes of one direction that are whole multiples of six days apart are one
        track, named by numbers that no orbit has: "D901", "D902". So tracks are never mixed; what needs the orbit
        (`sc.add_geometry`) refuses.

    Raises
    ------
    ReadError
        If there is no Zarr store.
    InputError
        If dimensions, times, directions or the CRS are missing, or what is given contradicts the file; when a block is
        computed, if its values cannot be of `scale`.
    BandError
        If there is neither vv nor vh.
    """
    if scale not in ("linear", "db"):
        raise InputError(f'scale must be "linear" or "db", not {scale!r}')
    published, name = _opened(source)
    _check_dims(published, name)
    # A grid mapping that no variable names comes back from the store as a variable.
    published = published.set_coords([key for key, array in published.data_vars.items() if not array.dims])
    bands = [band for band in ("vv", "vh") if band in published]
    if not bands:
        raise BandError(
            f"{name} has neither vv nor vh; it holds {', '.join(map(str, published.data_vars)) or 'nothing'}"
        )
    published = _north_up(published)
    passes = read_passes(published, orbit_state=orbit_state, relative_orbit=relative_orbit, name=name)
    published = published.isel(timestep=passes.order)

    attrs = {"grid_mapping": "spatial_ref"}
    to_power = partial(_power, scale=scale)
    variables: dict[str, Any] = {}
    for band in bands:
        variables[band] = (
            ("time", "y", "x"),
            _mapped(published[band], ("timestep", "y", "x"), to_power),
            {
                "units": "1",
                "long_name": f"backscatter, {band.upper()}, linear power, as published",
                "polarization": band.upper(),
                **attrs,
            },
        )
    variables |= _static_layers(published, attrs) | _pair_layers(published, attrs)
    for left_out in sorted({str(v) for v in published.data_vars} - _taken(published, bands)):
        logger.warning("%s: left out %s, whose dimensions are none of a cube's", name, left_out)
    orbit_name = (
        "relative orbit number" if passes.known else "group of passes of one track; the relative orbit is unknown"
    )
    coordinates: dict[str, Any] = {
        **_space(published, crs, name),
        "time": ("time", passes.times, {"standard_name": "time", "long_name": "time of the pass, UTC"}),
        "scene_track": _texts(passes.tracks, "track: pass direction and relative orbit; 901 and more: unknown orbit"),
        "orbit_state": _texts(passes.states, "pass direction"),
        "relative_orbit": ("time", np.array(passes.orbits, np.int16), {"units": "1", "long_name": orbit_name}),
        "platform": _texts(["unknown"] * len(passes.times), "satellite"),
        "item_ids": _texts([""] * len(passes.times), "items, joined by commas"),
        **_pair_coordinates(published),
    }
    cube = xr.Dataset(variables, coords=coordinates)
    cube.attrs = {
        "Conventions": "CF-1.11",
        "title": "Sentinel-1 backscatter and landslides of Boehm et al. 2022",
        "source": f"{name}, published at doi:10.5281/zenodo.7248056",
        "references": "arXiv:2211.02869",
        "items": [],
    }
    return cube


def _opened(source: str | Path | xr.Dataset) -> tuple[xr.Dataset, str]:
    if isinstance(source, xr.Dataset):
        return source, str(source.attrs.get("title", "the dataset"))
    path = Path(source)
    if not path.is_dir():
        raise ReadError(
            f"there is no Zarr folder at {path}; unpack the archive and give the folder in it", kind="not_found"
        )
    try:
        return xr.open_zarr(path, consolidated=False, chunks={}), path.name
    except (zarr.errors.GroupNotFoundError, zarr.errors.ContainsArrayError, FileNotFoundError) as error:
        raise ReadError(f"{path} holds no Zarr group; give the folder with .zgroup or zarr.json in it") from error


def _check_dims(published: xr.Dataset, name: str) -> None:
    if missing := {"timestep", "y", "x"} - set(published.dims):
        raise InputError(
            f"{name} lacks the dimensions {', '.join(sorted(missing))}; expected timestep, y and x, and timepair where "
            f"there are InSAR layers; it has {', '.join(map(str, published.dims)) or 'none'}"
        )
    for axis in ("y", "x"):
        if axis not in published.coords or published.sizes[axis] < 2:
            raise InputError(
                f"{name} has no coordinate {axis} of two pixels or more, so that nobody knows where it lies"
            )
    for band in {"vv", "vh"} & set(published.data_vars):
        if set(published[band].dims) != {"timestep", "y", "x"}:
            raise InputError(f"{band} of {name} has the dimensions {published[band].dims}; expected timestep, y and x")


def _north_up(published: xr.Dataset) -> xr.Dataset:
    for axis, sign in (("y", -1), ("x", 1)):
        steps = np.diff(published[axis].to_numpy().astype(float)) * sign
        if (steps < 0).all():
            published = published.isel({axis: slice(None, None, -1)})
            steps = -steps
        if not (steps > 0).all() or np.ptp(steps) > 1e-3 * steps.mean():
            raise InputError(f"the coordinate {axis} is not evenly spaced, from {steps.min():g} to {steps.max():g}")
    return published


def _lazy(array: xr.DataArray, dims: tuple[str, ...]) -> da.Array:
    data = array.transpose(*dims).data
    lazy: da.Array = (
        data if isinstance(data, da.Array) else da.from_array(data, chunks=(1, _CHUNK, _CHUNK)[-len(dims) :])
    )
    return lazy


def _mapped(
    array: xr.DataArray,
    dims: tuple[str, ...],
    convert: Callable[[NDArray[Any]], NDArray[Any]],
    *,
    dtype: str = "float32",
) -> da.Array:
    lazy: da.Array = da.map_blocks(convert, _lazy(array, dims), dtype=dtype, meta=np.empty((0,) * len(dims), dtype))
    return lazy


def _power(values: NDArray[Any], *, scale: Scale) -> Floats:
    """Linear power, float32; a hole says why it is one."""
    power = values.astype(np.float32)
    finite = np.isfinite(power)
    # Exactly 0 is a fill value in either scale.
    seen = power[finite & (power != 0)]
    # Noise that was taken away leaves a pixel a little below 0, never half of a block and never one below -1.
    if scale == "linear" and seen.size and np.median(seen) < (0 if seen.size >= _ENOUGH else -1):
        raise InputError(
            f"half of the values are below {np.median(seen):.1f}, which no linear power is; if vv and vh are in dB, "
            'open the cube with scale="db"'
        )
    if scale == "db":
        if seen.size >= _ENOUGH and seen.min() > 0:
            raise InputError(
                f'no value of {seen.size} is below 0 dB, which no land is; if they are linear power, scale="linear"'
            )
        fill = power == 0
        power = np.float32(10) ** (power / np.float32(10))
        power[fill] = 0
    power[~finite & ~np.isnan(values)] = hole_value(Hole.NODATA)
    power[finite & ~(power > 0)] = hole_value(Hole.ZERO)
    return power


def _static_layers(published: xr.Dataset, attrs: Mapping[str, str]) -> dict[str, Any]:
    layers: dict[str, Any] = {}
    for key, array in published.data_vars.items():
        if set(array.dims) != {"y", "x"}:
            continue
        known = str(key)
        if known == "landslides":
            about = {"units": "1", "long_name": "mapped landslides", "flag_values": [0, 1]}
            about |= {"flag_meanings": "no_landslide landslide"}
            layers["landslide"] = (
                ("y", "x"),
                _mapped(array, ("y", "x"), _landslide, dtype="uint8"),
                {**about, **attrs},
            )
        elif known in _STATIC:
            name, units, long_name = _STATIC[known]
            convert = {"slope": _degrees, "aspect": _aspect}.get(name, _floats)
            about = {"units": units, "long_name": long_name}
            layers[name] = (("y", "x"), _mapped(array, ("y", "x"), convert), {**about, **attrs})
        else:
            # As it is: neither its unit nor its scale is known.
            name = re.sub(r"\W", "_", known)
            layers[name] = (
                ("y", "x"),
                _lazy(array, ("y", "x")),
                {"units": "1", "long_name": f"{known}, as published", **attrs},
            )
    return layers


def _pair_layers(published: xr.Dataset, attrs: Mapping[str, str]) -> dict[str, Any]:
    layers: dict[str, Any] = {}
    for name, (units, long_name) in _PAIRS.items():
        if name in published and set(published[name].dims) == {"timepair", "y", "x"}:
            data = _mapped(published[name], ("timepair", "y", "x"), _pair_values)
            layers[name] = (("timepair", "y", "x"), data, {"units": units, "long_name": long_name, **attrs})
    return layers


def _taken(published: xr.Dataset, bands: Sequence[str]) -> set[str]:
    return {
        str(name)
        for name, array in published.data_vars.items()
        if name in bands
        or set(array.dims) == {"y", "x"}
        or (name in _PAIRS and set(array.dims) == {"timepair", "y", "x"})
        or str(name).startswith("sat:")
    }


def _floats(values: NDArray[Any]) -> Floats:
    found = values.astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found


def _degrees(values: NDArray[Any]) -> Floats:
    found = _floats(values)
    if (found > np.pi / 2 + 1e-3).any():
        raise InputError(f"dem_slope_radians holds {np.nanmax(found):g}, which is no slope in radians")
    return np.degrees(found)


def _aspect(values: NDArray[Any]) -> Floats:
    """Aspect in degrees; below 0, as some tools say that it is flat, is NaN."""
    found = _floats(values)
    if (found > 360.001).any():
        raise InputError(f"dem_aspect holds {np.nanmax(found):g}, which is no aspect in degrees")
    found[found < 0] = np.nan
    return found


def _landslide(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(values > 0, np.uint8)  # NaN is not


def _pair_values(values: NDArray[Any]) -> Floats:
    found = _floats(np.where(values == 0, np.nan, np.angle(values)) if np.iscomplexobj(values) else values)
    found[found == 0] = np.nan
    return found


def _pair_coordinates(published: xr.Dataset) -> dict[str, Any]:
    """Return the dates of each pair, where the file's labels name two, else the labels."""
    if "timepair" not in published.dims or "timepair" not in published.coords:
        return {}
    labels = [str(value) for value in published["timepair"].to_numpy()]
    dates = [_DATE.findall(label) for label in labels]
    if not all(len(found) == 2 for found in dates):
        return {"timepair": ("timepair", np.array(labels, object), {"long_name": "pair of passes, as published"})}
    moments = np.array([sorted(pd.to_datetime(text).to_datetime64() for text in found) for found in dates], "M8[ns]")
    return {
        "pair_start": ("timepair", moments[:, 0], {"long_name": "first pass of the pair, UTC"}),
        "pair_end": ("timepair", moments[:, 1], {"long_name": "second pass of the pair, UTC"}),
    }


def _space(published: xr.Dataset, given: str | int | None, name: str) -> dict[Any, Any]:
    crs = _crs(published, given, name)
    y, x = published["y"].to_numpy().astype(float), published["x"].to_numpy().astype(float)
    step_y, step_x = (y[-1] - y[0]) / (len(y) - 1), (x[-1] - x[0]) / (len(x) - 1)
    # Not GeoBox.from_bbox, which moves edges to whole multiples of the pixel.
    transform = Affine(step_x, 0, x[0] - step_x / 2, 0, step_y, y[0] - step_y / 2)
    geobox = GeoBox((len(y), len(x)), transform, crs)
    return space_coords(geobox)


def _crs(published: xr.Dataset, given: str | int | None, name: str) -> str:
    """Return the CRS that the file or the caller says; both must agree."""
    epsg = published.coords.get("epsg")
    candidates = [
        published.rio.crs and published.rio.crs.to_wkt(),
        None if epsg is None else int(np.unique(epsg.values)[0]),
        *(published.attrs.get(key) for key in ("crs", "epsg", "proj:epsg")),
    ]
    said = next((value for value in candidates if value), None)
    if said is None and given is None:
        raise InputError(f'{name} does not say its CRS; give it: crs="EPSG:32654" for UTM zone 54 north')
    try:
        parsed = [pyproj.CRS.from_user_input(value) for value in (said, given) if value is not None]
    except pyproj.exceptions.CRSError as error:
        raise InputError(f'the CRS of {name} must be one such as "EPSG:32654", not {given or said!r}') from error
    if len(parsed) == 2 and parsed[0] != parsed[1]:
        raise InputError(f"crs= is {parsed[1].name}, but {name} is in {parsed[0].name}")
    return str(parsed[0].to_wkt())


def _texts(values: Sequence[str], long_name: str) -> tuple[str, Any, dict[str, str]]:
    return "time", np.array(values, dtype=object), {"long_name": long_name}
