"""Maps of likely landslides from backscatter change alone: no weights, no training."""

import logging
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from sarcube.change.baselines.circle import circle_share
from sarcube.change.baselines.curvature import smoothed_curvature
from sarcube.change.composite import composite
from sarcube.change.dates import tracks_of
from sarcube.change.layers import event_attrs
from sarcube.cube.geometry.ground import geobox_of, pixel_size
from sarcube.errors import BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event
from sarcube.sar.look_codes import CLEAR

log = logging.getLogger(__name__)

_FLOOR = np.float32(1e-3)  # -30 dB in VH: what lies under it is a scene's edge (Handwerger et al. 2022, code)


def _percentile(values: NDArray[Any], percentile: float) -> np.float32:
    finite = values[np.isfinite(values)]
    return np.float32(np.percentile(finite, percentile)) if finite.size else np.float32(np.nan)


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
    per_track: bool = True,
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
        `elevation`. Not applied by default: of the scripts published with the paper some apply it (figure 7a), some
        leave it out (figure 4a).
    water : xarray.DataArray, (y, x) of bool, optional
        True where there is water; masked.
    mask_distortion : bool
        Leave out of every scene what its track's `layover_shadow` does not call clear. The paper has no such mask.
    per_track : bool
        False for the paper's own handling of orbits, which needs `orbit_state` along time: one median over all
        ascending scenes of whatever track, one over all descending, and their mean only where both are seen.

    Returns
    -------
    xarray.DataArray, (y, x), float32, 0 to 1
        Share of the circle's pixels whose backscatter dropped by more than the threshold; masked pixels count as
        not dropped, pixels outside the cube do not count. NaN where no track has valid data on both sides of the
        event (or, with `mask_distortion`, a clear view); with `per_track=False` where one of the pass directions has
        not. `attrs` tell the event, the tracks and the options. Lazy where the cube is; the threshold is a percentile
        of the whole area, which one task takes on the whole layer (y, x): 400 MB at 10 000 × 10 000 pixels.

    Raises
    ------
    BandError
        If `vh`, `slope`, or a layer that an option needs is not in the cube.
    NoSceneError
        If no track, or with `per_track=False` no pass direction, has scenes in both windows.
    TrackError
        If a track of the scenes has no `layover_shadow` to mask with.
    InputError
        If an option cannot be used as it is; with `min_curvature`, if the pixels are not square metres on a map.

    Notes
    -----
    I_ratio = median before - median after, of VH in dB without what lies under -30 dB: positive where the ground
    turned darker. By default the medians are taken per track, and I_ratio is averaged over the tracks that see a
    pixel: each track looks at a slope from another side, so that a median across tracks mixes views. A direction
    (or track) without scenes on both sides of the event is left out, with a warning. Source: Handwerger, Huang, Jones,
    Amatya, Kerner and Kirschbaum (2022), Nat. Hazards Earth Syst. Sci. 22, 753-773, section 3, and the scripts
    published with it: I_ratio, threshold, and `Kernel.circle` on the thresholded map; curvature is the sum of the
    second derivatives after a Gaussian of 30 m. Their slope limit varies (5 to 12 degrees).
    """
    _check_options(radius_pixels, percentile, min_slope)
    _check_layers(cube, min_curvature, water, mask_distortion, per_track)
    ratio = _intensity_ratio(cube, event, pre_days, post_days, mask_distortion, per_track)
    keep = cube["slope"] >= min_slope
    if min_curvature is not None:
        curvature = smoothed_curvature(cube["elevation"].data, pixel_size(geobox_of(cube)))
        # Not in place: NumPy's own operators cannot take in a Dask array.
        keep = keep & (cube["elevation"].copy(data=curvature) >= min_curvature)
    if water is not None:
        keep = keep & ~water.astype(bool)
    candidates = ratio.where(keep)
    dropped = (candidates.data > _threshold(candidates.data, percentile)).astype(np.uint8)
    density = ratio.copy(data=circle_share(dropped, radius_pixels)).where(ratio.notnull())
    density.attrs = {
        "long_name": "density of strong backscatter decrease",
        "units": "1",
        **event_attrs(cube, event),
        "tracks": ratio.attrs["tracks"],
        "medians": "per track" if per_track else "per pass direction, across tracks",
        "pre_days": pre_days,
        "post_days": post_days,
        "radius_pixels": radius_pixels,
        "percentile": percentile,
        "min_slope": min_slope,
        "mask_distortion": str(mask_distortion).lower(),
        "water_masked": str(water is not None).lower(),
    }
    if min_curvature is not None:
        density.attrs["min_curvature"] = min_curvature
    return density.rename("landslide_density")


def _intensity_ratio(
    cube: xr.Dataset, event: Event, pre_days: float, post_days: float, mask_distortion: bool, per_track: bool
) -> xr.DataArray:
    usable = cube["vh"] >= _FLOOR
    if mask_distortion:
        usable = usable & _clear_views(cube)
    vh = cube[["vh"]].where(usable)
    held = tracks_of(cube)
    if not per_track:
        # To the composite a pass direction is then one track, so that both ways run through the same medians.
        vh = vh.assign_coords(scene_track=("time", cube["orbit_state"].values.astype(str)))
    ratios: dict[str, xr.DataArray] = {}
    empty: list[str] = []
    for view in tracks_of(vh):
        try:
            stack = composite(vh, event, track=view, pre_days=pre_days, post_days=post_days, polarisations=("vh",))
        except NoSceneError as error:
            empty.append(str(error))
            continue
        ratios[view] = -stack.sel(band="vh_diff", drop=True)
    kind = "track" if per_track else "pass direction"
    if not ratios:
        raise NoSceneError(f"no {kind} has scenes on both sides of the event: " + "; ".join(empty))
    for reason in empty:
        log.warning("a %s is left out of the density: %s", kind, reason)
    mean = _mean_over_views(list(ratios.values()), where_all=not per_track)
    mean.attrs["tracks"] = list(ratios) if per_track else _tracks_of_directions(cube, held, set(ratios))
    return mean


def _mean_over_views(ratios: list[xr.DataArray], *, where_all: bool) -> xr.DataArray:
    """Mean over the views that see a pixel, or NaN but where all do."""
    total = sum(ratio.fillna(0) for ratio in ratios)
    seen = sum(ratio.notnull().astype(np.float32) for ratio in ratios)
    assert isinstance(total, xr.DataArray)
    assert isinstance(seen, xr.DataArray)
    return total / seen.where(seen >= (len(ratios) if where_all else 1))


def _tracks_of_directions(cube: xr.Dataset, tracks: list[str], directions: set[str]) -> list[str]:
    states = cube["orbit_state"].values.astype(str)
    names = cube["scene_track"].values.astype(str)
    return [track for track in tracks if states[names == track][0] in directions]


def _clear_views(cube: xr.Dataset) -> xr.DataArray:
    """Where each scene looks at clear ground: (time, y, x) of bool."""
    layers = cube["track"].values.astype(str).tolist()
    scenes = cube["scene_track"].values.astype(str).tolist()
    if missing := sorted(set(scenes) - set(layers)):
        raise TrackError(
            f"no layover_shadow for {', '.join(missing)}, only for {', '.join(layers)}: run sc.add_geometry on the "
            "cube with all its scenes"
        )
    places = xr.DataArray([layers.index(track) for track in scenes], dims="time")
    return (cube["layover_shadow"] == CLEAR).isel(track=places).drop_vars("track")


def _check_options(radius_pixels: int, percentile: float, min_slope: float) -> None:
    if not (isinstance(radius_pixels, (int, np.integer)) and radius_pixels >= 1):
        raise InputError(f"radius_pixels must be a whole number of pixels >= 1, not {radius_pixels!r}")
    if not 0 < percentile < 100:
        raise InputError(f"percentile must lie between 0 and 100, not {percentile!r}")
    if not min_slope < 90:
        raise InputError(f"min_slope must be a slope in degrees below 90, not {min_slope!r}")


def _check_layers(
    cube: xr.Dataset, min_curvature: float | None, water: xr.DataArray | None, mask_distortion: bool, per_track: bool
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
    if not per_track and "orbit_state" not in cube.coords:
        raise InputError(
            "per_track=False needs the coordinate orbit_state along time (ascending, descending), which sc.load gives"
        )
    if water is not None and not (
        isinstance(water, xr.DataArray)
        and water.dims == ("y", "x")
        and all(axis in water.indexes and water.indexes[axis].equals(cube.indexes[axis]) for axis in ("y", "x"))
    ):
        raise InputError(
            "water must be a DataArray with the dimensions (y, x) and the coordinates of the cube; reproject it first"
        )
