"""Maps of likely landslides from backscatter change alone: no weights, no training."""

import logging
from typing import Any

import dask.array as da
import numba
import numpy as np
import xarray as xr
from dask.delayed import delayed
from scipy import ndimage

from sarcube.change.composite import composite, tracks_of
from sarcube.change.median import Array
from sarcube.cube.track import select_track
from sarcube.errors import BandError, InputError, NoSceneError
from sarcube.events import Event

log = logging.getLogger(__name__)

_FLOOR = np.float32(1e-3)  # -30 dB in VH: what lies under it is a scene's edge (Handwerger et al. 2022, code)
_OUTSIDE = np.uint8(255)
_SMOOTHING = 30.0  # metres, sigma of the Gaussian before the curvature; cut at twice that


@numba.njit(nogil=True, cache=True)
def _circle_share(flags, radius, out):  # type: ignore[no-untyped-def]
    # (y + 2 radius, x + 2 radius) of 0, 1 and 255 (outside the area) -> (y, x) share of 1 among the pixels of the
    # area no further than radius. Counts are integers along running sums, so that chunks cannot change a result.
    height, length = flags.shape
    ones = np.zeros((height, length + 1), np.int32)
    inside = np.zeros((height, length + 1), np.int32)
    for y in range(height):
        for x in range(length):
            ones[y, x + 1] = ones[y, x] + (flags[y, x] == 1)
            inside[y, x + 1] = inside[y, x] + (flags[y, x] != 255)
    hits = np.empty(out.shape[1], np.int32)
    pixels = np.empty(out.shape[1], np.int32)
    for y in range(out.shape[0]):
        hits[:] = 0
        pixels[:] = 0
        for dy in range(-radius, radius + 1):
            reach = int(np.sqrt(radius * radius - dy * dy))
            row = y + radius + dy
            for x in range(out.shape[1]):
                start, stop = x + radius - reach, x + radius + reach + 1
                hits[x] += ones[row, stop] - ones[row, start]
                pixels[x] += inside[row, stop] - inside[row, start]
        for x in range(out.shape[1]):
            out[y, x] = np.float32(hits[x]) / np.float32(pixels[x])


def _share_block(flags: Array, radius: int) -> Array:
    out = np.empty((flags.shape[0] - 2 * radius, flags.shape[1] - 2 * radius), np.float32)
    _circle_share(flags, radius, out)
    return out


def _curvature_block(elevation: Array, resolution: float) -> Array:
    smooth = ndimage.gaussian_filter(
        elevation.astype(np.float64), _SMOOTHING / resolution, mode="nearest", radius=_smoothing_reach(resolution)
    )
    rows = np.gradient(np.gradient(smooth, resolution, axis=0), resolution, axis=0)
    columns = np.gradient(np.gradient(smooth, resolution, axis=1), resolution, axis=1)
    curvature: Array = (rows + columns).astype(np.float32)
    return curvature


def _percentile(values: Array, percentile: float) -> np.float32:
    finite = values[np.isfinite(values)]
    return np.float32(np.percentile(finite, percentile)) if finite.size else np.float32(np.nan)


def _smoothing_reach(resolution: float) -> int:
    return int(np.ceil(2 * _SMOOTHING / resolution))


def _share(flags: Any, radius: int) -> Any:
    if not isinstance(flags, da.Array):
        return _share_block(np.pad(flags, radius, constant_values=_OUTSIDE), radius)
    wide = da.overlap.overlap(flags, depth=radius, boundary=_OUTSIDE)
    chunks = tuple(tuple(size - 2 * radius for size in axis) for axis in wide.chunks)
    return wide.map_blocks(_share_block, radius, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0), np.float32))


def _curvature(elevation: Any, resolution: float) -> Any:
    if not isinstance(elevation, da.Array):
        return _curvature_block(elevation, resolution)
    depth = _smoothing_reach(resolution) + 2  # two more for the two gradients
    return da.map_overlap(
        _curvature_block,
        elevation,
        resolution=resolution,
        depth=depth,
        boundary="none",
        dtype=np.float32,
        meta=elevation._meta,
    )


def _threshold(values: Any, percentile: float) -> Any:
    if not isinstance(values, da.Array):
        return _percentile(values, percentile)
    whole = delayed(_percentile, pure=True)(values, percentile)
    return da.from_delayed(whole, shape=(), dtype=np.float32)


def landslide_density(
    cube: xr.Dataset,
    event: Event,
    *,
    pre_days: float = 1095,
    post_days: float = 15,
    radius_pixels: int = 10,
    percentile: float = 99.0,
    min_slope: float = 10.0,
    min_curvature: float | None = None,
    water: xr.DataArray | None = None,
    mask_distortion: bool = False,
) -> xr.DataArray:
    """Map where backscatter dropped most, as a density: the heat map of Handwerger et al. (2022).

    Parameters
    ----------
    cube : xarray.Dataset
        Linear gamma0 power `vh` (time, y, x), and `slope` in degrees (y, x).
    event : Event
        The windows are counted from its `pre_end` and `post_start`.
    pre_days, post_days : float
        Length of the windows in days. The paper takes years before and from days after; of what the windows span,
        the dates that the cube holds are used.
    radius_pixels : int
        Radius of the circle that the density is counted in; the paper's are 10, 15 and 20 pixels of 10 m.
    percentile : float
        The drop that counts as a landslide is the one above this percentile of the area's unmasked pixels.
    min_slope : float
        Gentler slopes, in degrees, are masked.
    min_curvature : float, optional
        Pixels whose curvature, in 1/m, is smaller (hilltops; -0.005 in the paper's code) are masked. Needs
        `elevation`. Not applied by default: the scripts published with the paper compute this mask and leave it out.
    water : xarray.DataArray, (y, x) of bool, optional
        True where there is water; masked.
    mask_distortion : bool
        Leave out, track by track, what `layover_shadow` does not call clear. The paper has no such mask.

    Returns
    -------
    xarray.DataArray, (y, x), float32, 0 to 1
        Share of the circle's pixels whose backscatter dropped by more than the threshold; masked pixels count as
        not dropped, pixels outside the cube do not count. NaN where no track has valid data on both sides of the
        event (or, with `mask_distortion`, a clear view). Lazy where the cube is; the threshold is a percentile of
        the whole area, which one task takes on the whole layer (y, x): 400 MB at 10 000 × 10 000 pixels.

    Raises
    ------
    BandError
        If `vh`, `slope`, or a layer that an option needs is not in the cube.
    NoSceneError
        If no track has scenes in both windows.
    InputError
        If an option cannot be used as it is.

    Notes
    -----
    I_ratio = median before - median after, of VH in dB without what lies under -30 dB: positive where the ground
    turned darker. The medians are taken per track, and I_ratio is averaged over the tracks that see a pixel; the paper
    takes one median for all ascending and one for all descending scenes. Source: Handwerger, Huang, Jones, Amatya,
    Kerner and Kirschbaum (2022), Nat. Hazards Earth Syst. Sci. 22, 753-773, section 3, and the scripts published with
    it: I_ratio, threshold, and `Kernel.circle` on the thresholded map; curvature is the sum of the second
    derivatives after a Gaussian of 30 m.
    """
    _check_options(radius_pixels, percentile)
    _check_layers(cube, min_curvature, water, mask_distortion)
    ratio = _intensity_ratio(cube, event, pre_days, post_days, mask_distortion)
    keep = cube["slope"] >= min_slope
    if min_curvature is not None:
        resolution = float(abs(cube["x"][1] - cube["x"][0]))
        keep &= cube["elevation"].copy(data=_curvature(cube["elevation"].data, resolution)) >= min_curvature
    if water is not None:
        keep &= ~water.astype(bool)
    candidates = ratio.where(keep)
    dropped = (candidates.data > _threshold(candidates.data, percentile)).astype(np.uint8)
    density = ratio.copy(data=_share(dropped, radius_pixels)).where(ratio.notnull())
    density.attrs = {
        "long_name": "density of strong backscatter decrease",
        "units": "1",
        "event": event.name,
        "event_time": f"{event.last_before:%Y-%m-%dT%H:%M:%SZ}",
        "tracks": ratio.attrs["tracks"],
        "radius_pixels": radius_pixels,
        "percentile": percentile,
        "mask_distortion": str(mask_distortion).lower(),
    }
    if "simulated" in cube.attrs:
        density.attrs["simulated"] = cube.attrs["simulated"]
    return density.rename("landslide_density")


def _intensity_ratio(
    cube: xr.Dataset, event: Event, pre_days: float, post_days: float, mask_distortion: bool
) -> xr.DataArray:
    vh = cube[["vh"]].where(cube["vh"] >= _FLOOR)
    ratios: dict[str, xr.DataArray] = {}
    empty: list[str] = []
    for track in tracks_of(cube):
        try:
            stack = composite(vh, event, track=track, pre_days=pre_days, post_days=post_days, polarisations=("vh",))
        except NoSceneError as error:
            empty.append(str(error))
            continue
        ratios[track] = -stack.sel(band="vh_diff", drop=True)
        if mask_distortion:
            ratios[track] = ratios[track].where(select_track(cube, track)["layover_shadow"] == 0)
    if not ratios:
        raise NoSceneError("no track has scenes on both sides of the event: " + "; ".join(empty))
    for reason in empty:
        log.warning("a track is left out of the density: %s", reason)
    total = sum(ratio.fillna(0) for ratio in ratios.values())
    seen = sum(ratio.notnull().astype(np.float32) for ratio in ratios.values())
    assert isinstance(total, xr.DataArray)
    assert isinstance(seen, xr.DataArray)
    mean = total / seen.where(seen > 0)
    mean.attrs["tracks"] = list(ratios)
    return mean


def _check_options(radius_pixels: int, percentile: float) -> None:
    if not (isinstance(radius_pixels, int) and radius_pixels >= 1):
        raise InputError(f"radius_pixels must be a whole number of pixels >= 1, not {radius_pixels!r}")
    if not 0 < percentile < 100:
        raise InputError(f"percentile must lie between 0 and 100, not {percentile!r}")


def _check_layers(
    cube: xr.Dataset, min_curvature: float | None, water: xr.DataArray | None, mask_distortion: bool
) -> None:
    if "vh" not in cube:
        held = ", ".join(str(name) for name in cube.data_vars)
        raise BandError(f'landslide_density needs "vh", and the cube holds {held}: build it from VV and VH scenes')
    if "slope" not in cube:
        raise BandError('landslide_density needs "slope", which the cube does not hold: run sc.add_terrain first')
    if min_curvature is not None and "elevation" not in cube:
        raise BandError('min_curvature needs "elevation", which the cube does not hold: run sc.add_terrain first')
    if mask_distortion and "layover_shadow" not in cube:
        raise BandError(
            'mask_distortion needs "layover_shadow", which the cube does not hold: run sc.add_geometry first'
        )
    if water is not None and not (
        water.dims == ("y", "x") and all(water.indexes[axis].equals(cube.indexes[axis]) for axis in ("y", "x"))
    ):
        raise InputError("water must have the dimensions (y, x) and the coordinates of the cube; reproject it first")
