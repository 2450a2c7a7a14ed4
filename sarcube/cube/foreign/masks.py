"""Layover and shadow masks that others made, in the codes and on the grid of a cube.

HyP3's layover/shadow maps (`*_ls_map.tif`, uint8) add values up: 1 the pixel was tested, 2 its look angle is less than
the slope (active layover), 4 it is affected by layover, 8 its look angle is less than the opposite of the slope (active
shadow), 16 it is affected by shadow; 0 not tested. Source: ASF, the README of HyP3's RTC products, "Layover/shadow
mask". OPERA's masks (RTC-S1 and RTC-S1-STATIC, `*_mask.tif`, uint8) have the codes of this package. Source: ASF, OPERA
RTC-S1 product guide, "Validity mask".
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.cube.foreign.raster import RasterFile, covers, lazy_raster, open_raster
from sarcube.cube.geometry.ground import chunks_of, geobox_of, mapped, plain_grid
from sarcube.errors import InputError, TrackError
from sarcube.sar.look_codes import CLEAR, FLAG_MEANINGS, FLAG_VALUES, LAYOVER, NO_DATA, SHADOW

Source: TypeAlias = Literal["hyp3", "opera"]
Mask: TypeAlias = NDArray[np.uint8]

_TITLES = {"hyp3": "HyP3 layover/shadow map", "opera": "OPERA RTC-S1 mask"}
_LAYOVER_BITS, _SHADOW_BITS, _ALL_BITS = 2 | 4, 8 | 16, 31
# How the names of the two kinds of files begin or end, so that one is not read as the other: both are small numbers.
_NAMES = {"hyp3": ("", "_ls_map.tif"), "opera": ("OPERA_", "_mask.tif")}


def codes_from_hyp3(values: Mask) -> Mask:
    """Turn HyP3's added values into codes: 0 clear, 1 shadow, 2 layover, 3 both, 255 no data; any shape, uint8.

    Active and passive distortion count alike. 0, not tested, is no data.

    Raises
    ------
    InputError
        If a value is more than 31, the sum of all five.
    """
    if (values > _ALL_BITS).any():
        raise InputError(f"HyP3's layover/shadow values are 0 to {_ALL_BITS}, not {values.max()}: is it another mask?")
    layover = np.where(values & _LAYOVER_BITS, LAYOVER, CLEAR)
    shadow = np.where(values & _SHADOW_BITS, SHADOW, CLEAR)
    return np.where(values == 0, NO_DATA, layover | shadow).astype(np.uint8)


def codes_from_opera(values: Mask) -> Mask:
    """Return OPERA's values, which are the codes of this package, if they are no others; any shape, uint8.

    Raises
    ------
    InputError
        If a value is none of 0, 1, 2, 3 and 255.
    """
    strange = values[~np.isin(values, FLAG_VALUES)]
    if strange.size:
        raise InputError(f"OPERA's mask values are 0, 1, 2, 3 and 255, not {strange.max()}: is it another mask?")
    return values


def add_layover_shadow(
    cube: xr.Dataset, paths: str | Path | Iterable[str | Path], *, track: str, source: Source
) -> xr.Dataset:
    """Take layover and shadow of a track from masks that HyP3 or OPERA made, instead of computing them.

    Parameters
    ----------
    cube : xarray.Dataset
        With `scene_track` along time.
    paths : str, path or several
        GeoTIFFs of one track, uint8. Where they overlap, the first that is not "no data" counts.
    track : str
        The track that the masks belong to, such as "D164": a mask does not say.
    source : {"hyp3", "opera"}
        Whose values they hold: HyP3's `*_ls_map.tif` (added 1, 2, 4, 8, 16), OPERA's `*_mask.tif` (0, 1, 2, 3, 255).

    Returns
    -------
    xarray.Dataset
        The cube with the lazy layer `layover_shadow` (track, y, x), uint8 in OPERA's codes, nearest: of this track what
        the masks say, 255 (no data) beside them; of other tracks what the cube held, else 255.

    Raises
    ------
    TrackError
        If the cube has no such track.
    InputError
        If no mask is given, one is not uint8 with one band, or its name is that of the other source's masks; when the
        layer is computed, if it holds values that the source has not.
    AreaError
        If a mask covers none of the cube.
    ReadError
        If a mask is missing, is no GeoTIFF or has no CRS.
    """
    if source not in _TITLES:
        raise InputError(f'source must be "hyp3" or "opera", not {source!r}')
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    if not files:
        raise InputError(f"no mask was given for track {track}; give the path of one or more")
    tracks = _tracks(cube, track)
    target, chunks = plain_grid(geobox_of(cube)), chunks_of(cube)
    masks = [_open_mask(path, track=track, source=source) for path in files]
    convert = codes_from_hyp3 if source == "hyp3" else codes_from_opera
    layer: da.Array | None = None
    for mask in masks:
        covers(mask, target)  # an error if it covers nothing
        codes = lazy_raster(
            mask,
            target,
            chunks,
            convert=partial(_converted, convert=convert, file=mask),
            outside=NO_DATA,
            dtype="uint8",
        )
        layer = codes if layer is None else da.where(layer == NO_DATA, codes, layer)
    assert layer is not None
    old = cube.get("layover_shadow")
    nothing = da.full(layer.shape, NO_DATA, dtype=np.uint8, chunks=chunks)
    parts = [
        layer if name == track else nothing if old is None else da.asarray(old.data)[number].rechunk(chunks)
        for number, name in enumerate(tracks)
    ]
    attrs: dict[str, Any] = {
        "units": "1",
        "long_name": "layover and shadow",
        "flag_values": list(FLAG_VALUES),
        "flag_meanings": FLAG_MEANINGS,
        "source": _sources(old, track, f"{_TITLES[source]} ({', '.join(mask.name for mask in masks)})"),
        **mapped(cube),
    }
    return cube.assign_coords(track=("track", tracks)).assign(
        layover_shadow=(("track", "y", "x"), da.stack(parts), attrs)
    )


def _converted(native: Mask, *, convert: Any, file: RasterFile) -> Mask:
    try:
        codes: Mask = convert(native)
    except InputError as error:
        raise InputError(f"{file.shown}: {error}") from error
    return codes


def _open_mask(path: str | Path, *, track: str, source: Source) -> RasterFile:
    file = open_raster(path, owner=f"layover and shadow mask of track {track}")
    if file.bands != 1 or file.dtype != "uint8":
        raise InputError(
            f"{file.shown} has {file.bands} bands of {file.dtype}; a layover and shadow mask has one of uint8"
        )
    for other, (begin, end) in _NAMES.items():
        if other != source and file.name.startswith(begin) and file.name.endswith(end):
            raise InputError(f'{file.name} is the name of an {_TITLES[other]}; give source="{other}"')
    return file


def _tracks(cube: xr.Dataset, track: str) -> list[str]:
    """Return the tracks that the layer has: those of the layers there are, else those of the scenes."""
    scenes = sorted({str(name) for name in cube["scene_track"].values}) if "scene_track" in cube.coords else []
    if track not in scenes:
        raise TrackError(f'track "{track}" is not in this cube; it holds {", ".join(scenes) or "none"}')
    if "track" not in cube.dims:
        return scenes
    layers = [str(name) for name in cube["track"].values]
    if track not in layers:
        raise TrackError(
            f'track "{track}" has no place among the per-track layers of this cube, which are of {", ".join(layers)}: '
            "run sc.add_geometry again first"
        )
    return layers


def _sources(old: xr.DataArray | None, track: str, new: str) -> str:
    """Return where the layer comes from, track by track; what is replaced is no longer named."""
    before = str(old.attrs.get("source", "computed")) if old is not None else ""
    kept = [part for part in before.split("; ") if part and not part.startswith(f"{track}: ")]
    return "; ".join([*kept, f"{track}: {new}"])
