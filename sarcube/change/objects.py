"""Polygons from a map of change: where it passes a threshold, connected, large enough and not masked."""

import math
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import rioxarray  # noqa: F401 (gives layers their .rio)
import shapely
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import shapes
from skimage.measure import label

from sarcube.cube.geometry.ground import geobox_of, metres_per_pixel
from sarcube.errors import InputError
from sarcube.sar.look_codes import CLEAR

_PASSED_ON = ("event", "event_time", "simulated", "track", "tracks")


class _Objects(NamedTuple):
    """What was found, the largest first: each field (object,); `labels` (y, x) int32 holds `number`, else 0."""

    labels: NDArray[np.int32]
    number: NDArray[np.int32]
    area: NDArray[np.float64]
    pixels: NDArray[np.int64]
    mean: NDArray[np.float64]
    extreme: NDArray[np.float64]


def _label_objects(values: NDArray[Any], row_area: NDArray[np.float64], *, below: bool, min_area: float) -> _Objects:
    """Group the pixels of (y, x) that are not NaN; `row_area` (y,) is the area of one pixel of each row."""
    labels = label(~np.isnan(values), connectivity=2).astype(np.int32, copy=False)  # type: ignore[no-untyped-call]
    place = np.flatnonzero(labels)
    number, kept = labels.ravel()[place], values.ravel()[place].astype(np.float64)
    found, first = np.unique(number, return_index=True)
    count = int(found.max(initial=0)) + 1
    pixels = np.bincount(number, minlength=count)
    # Of no pixel at all bincount makes integers.
    area = np.bincount(number, row_area[place // values.shape[1]], minlength=count).astype(np.float64)
    total = np.bincount(number, kept, minlength=count)
    extreme = np.full(count, np.inf if below else -np.inf)
    (np.minimum if below else np.maximum).at(extreme, number, kept)
    order = np.lexsort((first, -area[found]))
    chosen = found[order]
    chosen = chosen[area[chosen] >= min_area]
    large = np.zeros(count, bool)
    large[chosen] = True
    labels[~large[labels]] = 0
    return _Objects(labels, chosen, area[chosen], pixels[chosen], total[chosen] / pixels[chosen], extreme[chosen])


def _outlines(objects: _Objects, transform: Affine) -> list[shapely.Polygon | shapely.MultiPolygon]:
    """Follow the edges of the pixels of each object."""
    parts: dict[int, list[Any]] = {int(number): [] for number in objects.number}
    # By four neighbours, for a ring that runs through a corner twice is not valid; an object's parts meet at corners.
    for outline, number in shapes(objects.labels, mask=objects.labels > 0, connectivity=4, transform=transform):
        parts[int(number)].append(shapely.geometry.shape(outline))
    return [shapely.MultiPolygon(found) if len(found) > 1 else found[0] for found in parts.values()]


def change_objects(
    layer: xr.DataArray,
    *,
    threshold: float,
    below: bool = False,
    min_area: float = 0.0,
    mask: xr.DataArray | None = None,
    slope: xr.DataArray | None = None,
    min_slope: float = 10.0,
    water: xr.DataArray | None = None,
) -> gpd.GeoDataFrame:
    """Turn a map of change into polygons: the connected areas beyond a threshold.

    Parameters
    ----------
    layer : xarray.DataArray, (y, x), numbers
        Any map of change on a north-up grid with a CRS: a density, a distance, a p-value, a band of a composite. NaN
        is never part of an object.
    threshold : float
        In the layer's units. Pixels at or above it are flagged.
    below : bool
        Flag the pixels at or below the threshold instead: for p-values, or for a drop in dB.
    min_area : float
        Smaller objects, in m², are left out.
    mask : xarray.DataArray, (y, x) of bool or uint8, optional
        What to leave out: True, or any code of `layover_shadow` but 0, clear (so no data as well).
    slope : xarray.DataArray, (y, x), degrees, optional
        Leave out ground gentler than `min_slope`, and where the slope is NaN.
    min_slope : float
        Degrees; has no effect without `slope`. 10 is the limit of Handwerger et al. (2022).
    water : xarray.DataArray, (y, x) of bool or uint8, optional
        True, or not 0, where there is water; left out.

    Returns
    -------
    geopandas.GeoDataFrame
        In the layer's CRS, the largest area first, then by the first pixel's row and column. Pixels that touch at a
        side or a corner are one object. Columns: geometry (Polygon, or MultiPolygon where parts touch at a corner
        alone; along the pixels' edges), area_m2, pixels, mean and extreme (the layer's highest value in the object,
        with `below` its lowest). Empty, with the same columns, if nothing is flagged. `attrs` hold what the layer's
        say of event, track and simulation, and the layer's name, threshold and direction.

        An area is that of the pixels: in a projected CRS by its own metres, in a geographic one on the ellipsoid
        WGS 84, row by row.

    Raises
    ------
    InputError
        If the layer is not a map of numbers on a north-up grid with a CRS, a mask, slope or water lies on another grid
        or is of another kind, or a number cannot be used.

    Notes
    -----
    The result is a table, so a lazy layer is computed here: the threshold and the masks block by block, the labels on
    the whole map, because an object may cross any number of blocks. The labels and the flagged values are
    whole arrays of 4 bytes per pixel each: 0.8 GB at 10 000 × 10 000, and more while they are made.
    """
    _check_layer(layer, threshold, min_area, min_slope)
    grid = layer.transpose("y", "x")
    beyond = grid.variable <= float(threshold) if below else grid.variable >= float(threshold)
    for name, flags in (("mask", mask), ("water", water)):
        if flags is not None:
            _check_same_grid(grid, flags, name, kinds="bu", wanted="bool or uint8")
            beyond = beyond & (flags.variable.transpose("y", "x") == CLEAR)
    if slope is not None:
        _check_same_grid(grid, slope, "slope", kinds="fiu", wanted="degrees")
        beyond = beyond & (slope.variable.transpose("y", "x") >= float(min_slope))
    geobox = geobox_of(grid.to_dataset(name="layer"))
    down, across = metres_per_pixel(geobox)
    # Of a lazy layer no more than the flagged values are brought together, as one array.
    values = grid.astype(np.result_type(grid.dtype, np.float32)).where(grid.copy(data=beyond.data)).to_numpy()
    objects = _label_objects(values, down * across, below=below, min_area=float(min_area))
    table = {
        "area_m2": objects.area,
        "pixels": objects.pixels,
        "mean": objects.mean,
        "extreme": objects.extreme,
    }
    frame = gpd.GeoDataFrame(table, geometry=_outlines(objects, geobox.affine), crs=layer.rio.crs)
    frame.attrs = {key: layer.attrs[key] for key in _PASSED_ON if key in layer.attrs}
    frame.attrs |= {"layer": str(layer.name), "threshold": float(threshold), "below": below}
    return frame


def _check_layer(layer: xr.DataArray, threshold: float, min_area: float, min_slope: float) -> None:
    if not isinstance(layer, xr.DataArray) or set(layer.dims) != {"y", "x"}:
        came = layer.dims if isinstance(layer, xr.DataArray) else type(layer).__name__
        raise InputError(
            f'change_objects needs a DataArray (y, x), not {came}; of a composite choose a band: .sel(band="vh_diff")'
        )
    if layer.dtype.kind not in "biuf":
        raise InputError(f"change_objects needs a layer of numbers, not of {layer.dtype}")
    if not math.isfinite(threshold):
        raise InputError(f"threshold must be a finite number in the layer's units, not {threshold!r}")
    if not min_area >= 0:
        raise InputError(f"min_area must be an area in m² >= 0, not {min_area!r}")
    if not 0 <= min_slope < 90:
        raise InputError(f"min_slope must be a slope in degrees from 0 to below 90, not {min_slope!r}")


def _check_same_grid(layer: xr.DataArray, other: xr.DataArray, name: str, *, kinds: str, wanted: str) -> None:
    if not isinstance(other, xr.DataArray) or set(other.dims) != {"y", "x"}:
        came = other.dims if isinstance(other, xr.DataArray) else type(other).__name__
        raise InputError(
            f"{name} must be a DataArray (y, x), not {came}; of layers per track choose one with sc.select_track"
        )
    if other.dtype.kind not in kinds:
        raise InputError(f"{name} must be of {wanted}, not {other.dtype}")
    same = all(axis in other.indexes and other.indexes[axis].equals(layer.indexes[axis]) for axis in ("y", "x"))
    if not same or (other.rio.crs is not None and other.rio.crs != layer.rio.crs):
        raise InputError(f"{name} must have the coordinates and the CRS of the layer; reproject it first")
