"""Coherence and phase of pairs of passes, as HyP3 and ISCE2 write them, on the grid of a cube.

HyP3: `*_corr.tif`, `*_wrapped_phase.tif`, `*_unw_phase.tif`, float32, 0 is no data; the two dates are in the name.
Source: ASF, Sentinel-1 InSAR and Burst InSAR product guides. ISCE2: `topophase.cor.geo`, `phsig.cor.geo`,
`filt_fine.cor` and alike (coherence), `filt_topophase.unw.geo` (unwrapped), `filt_topophase.flat.geo`, `*.int`
(wrapped, complex), turned into GeoTIFFs; files of two bands hold an amplitude first; the dates are in the name of the
file or of a folder above it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.cube.foreign.raster import RasterFile, covers, lazy_raster, open_raster, show_path, valid_floats
from sarcube.cube.geometry.ground import Chunks, chunks_of, geobox_of, mapped, plain_grid
from sarcube.errors import InputError, TrackError

Floats = NDArray[np.float32]

_ATTRS = {
    "coherence": {"units": "1", "long_name": "interferometric coherence"},
    "interferogram": {"units": "radian", "long_name": "interferometric phase, wrapped"},
    "unwrapped_phase": {"units": "radian", "long_name": "interferometric phase, unwrapped"},
}
# By the ends of HyP3's names and the parts of ISCE2's; the first that fits.
_KINDS = (
    ("coherence", re.compile(r"_corr\.tiff?$|\.cor(\.|_|$)|coherence", re.IGNORECASE)),
    ("unwrapped_phase", re.compile(r"_unw_phase\.tiff?$|\.unw(\.|_|$)", re.IGNORECASE)),
    ("interferogram", re.compile(r"_wrapped_phase\.tiff?$|\.flat(\.|_|$)|\.int(\.|_|$)", re.IGNORECASE)),
)
_MOMENT = re.compile(r"(?<!\d)(20\d{6})(?:T(\d{6}))?(?!\d)")
_COHERENCE_LIMIT = 1.001  # what rounding may add to 1


@dataclass(frozen=True, order=True)
class _Pair:
    start: np.datetime64
    end: np.datetime64


def add_insar(cube: xr.Dataset, paths: Iterable[str | Path], *, track: str | None = None) -> xr.Dataset:
    """Add coherence and phase of pairs of passes along `timepair`.

    Parameters
    ----------
    cube : xarray.Dataset
        With `scene_track` along time. Pairs it holds already are kept.
    paths : iterable of str or path
        GeoTIFFs of HyP3 or ISCE2. What a file holds and its two dates are read from its name: `*_corr.tif`,
        `*_unw_phase.tif`, `*_wrapped_phase.tif`; `*.cor.*`, `*.unw.*`, `*.flat.*`, `*.int.*`; dates as 20160616 or
        20160616T161201, of an ISCE2 file also in the nearest folder above that names two.
    track : str, optional
        Track of the pairs, such as "D164"; no file says it. May be left out where the cube holds one.

    Returns
    -------
    xarray.Dataset
        The cube with those of the lazy float32 layers (timepair, y, x) that were given: `coherence` (0 to 1),
        `interferogram` (wrapped phase, radians) and `unwrapped_phase` (radians, relative to each file's own reference
        point). Nearest; NaN beside a file, where it is nodata or exactly 0, and for a pair without such a file.
        Coordinates along timepair: `pair_start` and `pair_end` (UTC), `pair_track`; sorted by them.

    Raises
    ------
    InputError
        If a name tells no layer or not two dates, two files are the same layer of the same pair, or a file has other
        bands; when a layer is computed, if a coherence is not between 0 and 1.
    TrackError
        If the cube has no such track, or several and none is named.
    AreaError
        If a file covers none of the cube.
    ReadError
        If a file is missing, is no GeoTIFF or has no CRS.
    """
    track = _track(cube, track)
    target, chunks = plain_grid(geobox_of(cube)), chunks_of(cube)
    layers: dict[str, dict[_Pair, RasterFile]] = {}
    for path in [paths] if isinstance(paths, str | Path) else paths:
        kind, pair = _kind(path), _pair(path)
        file = open_raster(path, owner=f"{kind} of {pair.start} to {pair.end}")
        covers(file, target)  # an error if it covers nothing
        if (other := layers.setdefault(kind, {}).get(pair)) is not None:
            raise InputError(
                f"{file.shown} and {other.shown} are both {kind} of {pair.start} to {pair.end} on track {track}; merge "
                "them into one file, or leave one out"
            )
        layers[kind][pair] = file
    if not layers:
        raise InputError("no InSAR file was given; give the paths of HyP3's or ISCE2's GeoTIFFs")
    pairs = sorted({pair for files in layers.values() for pair in files})
    new = {
        kind: [_layer(files.get(pair), kind, target, chunks) for pair in pairs]
        for kind, files in sorted(layers.items())
    }
    names = {kind: ", ".join(files[pair].name for pair in sorted(files)) for kind, files in layers.items()}
    return _joined(cube, new, pairs, track, chunks, names)


def _track(cube: xr.Dataset, track: str | None) -> str:
    held = sorted({str(name) for name in cube["scene_track"].values}) if "scene_track" in cube.coords else []
    if track is None and len(held) == 1:
        return held[0]
    if track is None:
        raise TrackError(f"the cube holds the tracks {', '.join(held) or 'none'}; say which the pairs are of: track=")
    if track not in held:
        raise TrackError(f'track "{track}" is not in this cube; it holds {", ".join(held) or "none"}')
    return track


def _kind(path: str | Path) -> str:
    name = show_path(path).rsplit("/", 1)[-1]
    for kind, pattern in _KINDS:
        if pattern.search(name):
            return kind
    raise InputError(
        f"{name} does not say what it holds; expected a name such as *_corr.tif, *_unw_phase.tif, *_wrapped_phase.tif "
        "(HyP3), *.cor.tif, *.unw.tif, *.flat.tif or *.int.tif (ISCE2)"
    )


def _pair(path: str | Path) -> _Pair:
    """Read the two dates from the file's name, or from the nearest folder above that names two."""
    whole = show_path(path)
    for part in reversed(whole.split("/")):
        found = _MOMENT.findall(part)
        if not found:
            continue
        if len(found) != 2:
            break
        start, end = (_moment(day, time, whole) for day, time in found)
        if start == end:
            break
        return _Pair(min(start, end), max(start, end))
    raise InputError(
        f"{whole} does not name the two dates of its pair; expected two such as 20160616 or 20160616T161201 in the "
        "name of the file or of a folder above it"
    )


def _moment(day: str, time: str, whole: str) -> np.datetime64:
    try:
        moment = datetime.strptime(day + (time or "000000"), "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{whole}: {day}{'T' if time else ''}{time} is no date") from error
    return np.datetime64(moment.replace(tzinfo=None), "ns")


def _layer(file: RasterFile | None, kind: str, target: Any, chunks: Chunks) -> da.Array:
    if file is None:
        return _nothing(target.shape, chunks)
    is_complex = np.dtype(file.dtype).kind == "c"
    if file.bands not in (1, 2) or np.dtype(file.dtype).kind not in "fc" or (is_complex and kind != "interferogram"):
        raise InputError(
            f"{file.shown} has {file.bands} bands of {file.dtype}; {kind} is one band of floats, or ISCE2's two: an "
            "amplitude, then the value"
        )
    if file.bands == 2 and is_complex:
        raise InputError(f"{file.shown} has two complex bands; an interferogram is one")
    convert = partial(_phase if is_complex else _values, kind=kind, nodata=file.nodata, href=file.shown)
    return lazy_raster(file, target, chunks, convert=convert, outside=np.nan, band=file.bands)


def _nothing(shape: tuple[int, int], chunks: Chunks) -> da.Array:
    nothing: da.Array = da.full(shape, np.float32(np.nan), dtype=np.float32, chunks=chunks)
    return nothing


def _values(native: NDArray[Any], *, kind: str, nodata: float | None, href: str) -> Floats:
    values = valid_floats(native, nodata=nodata)
    values[values == 0] = np.nan
    if kind == "coherence" and ((values < 0) | (values > _COHERENCE_LIMIT)).any():
        raise InputError(f"{href} holds {np.nanmin(values):g} to {np.nanmax(values):g}; a coherence is between 0 and 1")
    return values


def _phase(native: NDArray[Any], *, kind: str, nodata: float | None, href: str) -> Floats:
    """Phase of a complex interferogram, radians; NaN where it is nodata or 0."""
    missing = ~np.isfinite(native) | (native == 0)
    if nodata is not None:
        missing |= native == nodata
    return np.where(missing, np.float32(np.nan), np.angle(native)).astype(np.float32)


def _joined(
    cube: xr.Dataset,
    new: dict[str, list[da.Array]],
    pairs: list[_Pair],
    track: str,
    chunks: Chunks,
    names: dict[str, str],
) -> xr.Dataset:
    """Add the new pairs to those that the cube holds, sorted; what a pair has not is NaN."""
    keys = [(pair.start, pair.end, track) for pair in pairs]
    old_keys = _old_keys(cube)
    if twice := set(old_keys) & set(keys):
        start, end, name = min(twice)
        raise InputError(
            f"the cube already holds the pair {start} to {end} of track {name}; give all its files at once"
        )
    old = {str(name): array for name, array in cube.data_vars.items() if "timepair" in array.dims}
    order = sorted(range(len(old_keys) + len(keys)), key=lambda i: [*old_keys, *keys][i])
    nothing = _nothing((cube.sizes["y"], cube.sizes["x"]), chunks)
    layers: dict[str, Any] = {}
    for name in sorted({*old, *new}):
        held = da.asarray(old[name].transpose("timepair", "y", "x").data) if name in old else None
        before = [nothing if held is None else held[number] for number in range(len(old_keys))]
        parts = [*before, *new.get(name, [nothing] * len(keys))]
        attrs = dict(old[name].attrs) if name in old else {**_ATTRS[name], **mapped(cube)}
        if name in names:
            attrs["source"] = ", ".join(filter(None, (attrs.get("source"), names[name])))
        layers[name] = (("timepair", "y", "x"), da.stack([parts[i].rechunk(chunks) for i in order]), attrs)
    everything = [[*old_keys, *keys][i] for i in order]
    starts, ends, tracks = (list(column) for column in zip(*everything, strict=True))
    rest = cube.drop_dims("timepair") if "timepair" in cube.dims else cube
    return rest.assign(layers).assign_coords(
        pair_start=("timepair", np.array(starts, "M8[ns]"), {"long_name": "first pass of the pair, UTC"}),
        pair_end=("timepair", np.array(ends, "M8[ns]"), {"long_name": "second pass of the pair, UTC"}),
        pair_track=("timepair", np.array(tracks, dtype=object), {"long_name": "track of the pair"}),
    )


def _old_keys(cube: xr.Dataset) -> list[tuple[np.datetime64, np.datetime64, str]]:
    if "timepair" not in cube.dims:
        return []
    missing = [name for name in ("pair_start", "pair_end", "pair_track") if name not in cube.coords]
    if missing:
        raise InputError(
            f"the cube's pairs lack {', '.join(missing)}, so that none can be added to them; drop them first: "
            'cube.drop_dims("timepair")'
        )
    return list(
        zip(cube["pair_start"].values, cube["pair_end"].values, map(str, cube["pair_track"].values), strict=True)
    )
