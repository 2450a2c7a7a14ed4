"""Inventories cleaned by what each track can see: mapped landslides less the ground in layover or shadow.

Nava et al. 2026 (GMD 19, 167; preprint 2024) clean their inventories with distortion masks, so that no network is
taught to find what its radar did not see. An event with an ascending and a descending track then has three inventories:
the original, from which background is sampled, and one per geometry for the landslides.
"""

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from affine import Affine
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from rasterio.features import shapes as outlines_of

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.cube.geometry.ground import geobox_of, metres_per_pixel
from sarcube.cube.geometry.mask_layer import check_codes, mask_layer
from sarcube.errors import InputError
from sarcube.labels.inventory import covered_ground, polygonal, require_polygons
from sarcube.labels.rasterise import ONE_THREAD
from sarcube.sar.look_codes import CLEAR, NO_DATA

log = logging.getLogger(__name__)

Shapes = NDArray[np.object_]
Floats64 = NDArray[np.float64]
Indices = NDArray[np.int64]

_BLOCK = 1024  # pixels along a side
# Of the landslide or of a pixel, whichever is smaller: slivers as thin as rounding, where outline and pixel edge meet.
_ROUNDING = 1e-6
_EQUAL_AREA = "EPSG:6933"  # a cylinder: on it parallels and meridians, the edges of pixels in degrees, are straight
_HIDDEN, _UNKNOWN = 0, 1  # kinds of ground that is taken away
_COLUMNS = ("inventory_row", "visible_share")


class CleanedInventories(NamedTuple):
    """An inventory, and what each track of a cube sees of it: see `clean_inventory`."""

    original: gpd.GeoDataFrame
    per_track: dict[str, gpd.GeoDataFrame]
    lost: pd.DataFrame


class _Piece(NamedTuple):
    """Ground near a landslide that a track does not see, or of which that is not known."""

    track: int
    kind: int
    landslide: int
    ground: Any  # MultiPolygon, along the edges of pixels, in pixels from the cube's first corner


def clean_inventory(inventory: gpd.GeoDataFrame, cube: xr.Dataset, *, min_area: float = 0.0) -> CleanedInventories:
    """Take from each mapped landslide the ground that a track cannot see, once for each track of a cube.

    Parameters
    ----------
    inventory : GeoDataFrame
        Landslide polygons in any CRS (see `read_inventory`). A row is one landslide.
    cube : xarray.Dataset
        With `layover_shadow` (track, y, x), uint8 in OPERA's codes (see `add_geometry`).
    min_area : float
        Parts smaller than this, in m², are dropped from landslides that lost ground: the slivers that a mask leaves.
        None are by default.

    Returns
    -------
    original : GeoDataFrame
        The inventory as it came: of all that it maps nothing is background.
    per_track : dict of str to GeoDataFrame
        By track, in the cube's CRS: what is left of each landslide on ground that the track is known to see. A row per
        landslide of which anything is, with the inventory's columns and index, and with `inventory_row`, its row in the
        inventory, counted from 0, and `visible_share`, what is left of its area on the cube.
    lost : pandas.DataFrame
        By track:

        - landslides: those on the cube, wholly or in part; outside: those beside it, which are in no track's inventory;
        - kept, partly_lost and wholly_lost: how many of these lost nothing, something, all;
        - area_m2: area of the landslides on the cube; lost_m2 and lost_share: what was lost of it;
        - hidden_m2: what of it lies in layover or shadow; unknown_m2: where the mask has no data. What is lost beyond
          these are slivers.

        Areas are sums over landslides: ground in two of them counts twice. On a projected grid they are those of its
        plane, in degrees those on the ellipsoid. A share of nothing is NaN.

    Raises
    ------
    BandError
        If the cube has no `layover_shadow`.
    InputError
        If that layer is not (track, y, x) in OPERA's codes or the grid not north-up; if the inventory has no CRS, other
        shapes than polygons, or the columns of one that is cleaned already; if `min_area` is not an area.

    Notes
    -----
    Ground without data in the mask is not known to be seen, so it is taken away too; `unknown_m2` says how much that
    is, and if it is much, the mask has gaps. What lies beyond the cube is cut off and counts nowhere. So a pixel whose
    centre lies in a landslide has it there afterwards if the mask is clear, and only then (but for centres on an
    outline, where rounding decides).

    Masks are read once, in blocks of 1024 pixels, of which only those near landslides are, and outlined near landslides
    only. A landslide on the cube that lost nothing keeps its outline to the last digit. The result is computed here;
    how the cube is chunked changes nothing.

    Method: inventory cleaning of Nava et al. 2026, GMD 19, 167.

    Examples
    --------
    >>> inventories = sc.clean_inventory(sc.read_inventory("landslides.gpkg"), cube)
    >>> inventories.per_track["D164"]
    >>> inventories.lost["lost_share"]
    """
    require_polygons(inventory)
    _check(inventory, min_area)
    layer = mask_layer(cube, purpose="cleaning an inventory")
    geobox = geobox_of(cube)
    down, across = metres_per_pixel(geobox)
    rows, mapped = _on_cube(inventory, geobox)
    area = _areas(mapped, geobox)
    rounding = _ROUNDING * np.minimum(area, (down * across).min())
    pieces: list[_Piece] = [piece for found in compute(list(_tasks(layer, geobox, mapped)))[0] for piece in found]
    shapes = inventory.geometry.to_numpy()
    number = int((~(shapely.is_missing(shapes) | shapely.is_empty(shapes))).sum())
    if number and not len(mapped):
        log.warning("none of the %d landslides of the inventory lies on the cube", number)

    per_track, lines = {}, []
    for n, track in enumerate(layer["track"].to_numpy().astype(str)):
        hidden, unknown = (_ground(pieces, n, kind, len(mapped), geobox) for kind in (_HIDDEN, _UNKNOWN))
        left, whole = _subtract(mapped, shapely.union(hidden, unknown), geobox, area, rounding, min_area)
        gone = shapely.is_empty(left)
        visible = np.where(whole, area, _areas(left, geobox))
        hidden_m2, unknown_m2 = (
            _areas(shapely.intersection(mapped[~whole], ground[~whole]), geobox) for ground in (hidden, unknown)
        )
        per_track[str(track)] = _frame(inventory, rows[~gone], left[~gone], (visible / area)[~gone], geobox)
        lines.append(
            {
                "landslides": len(mapped),
                "outside": number - len(mapped),
                "kept": int(whole.sum()),
                "partly_lost": int((~whole & ~gone).sum()),
                "wholly_lost": int(gone.sum()),
                "area_m2": float(area.sum()),
                "lost_m2": float((area - visible).sum()),
                "hidden_m2": float(hidden_m2.sum()),
                "unknown_m2": float(unknown_m2.sum()),
            }
        )
    lost = pd.DataFrame(lines, index=pd.Index(list(per_track), name="track"))
    return CleanedInventories(inventory, per_track, lost.assign(lost_share=lost["lost_m2"] / lost["area_m2"]))


def _check(inventory: gpd.GeoDataFrame, min_area: float) -> None:
    if not min_area >= 0:
        raise InputError(f"min_area must be an area in m² >= 0, not {min_area!r}")
    cleaned = [name for name in _COLUMNS if name in inventory.columns]
    if cleaned:
        raise InputError(
            f"the inventory has the columns {', '.join(cleaned)} already, as if it was cleaned before: clean the "
            f"original, or drop them, inventory.drop(columns={cleaned})"
        )


def _on_cube(inventory: gpd.GeoDataFrame, geobox: GeoBox) -> tuple[Indices, Shapes]:
    """Rows of the landslides that a cube holds ground of, and that ground, in the cube's CRS."""
    shapes = on_turn_of_grid(inventory.geometry.to_crs(geobox.crs).to_numpy(), geobox)
    rows_of_grid, columns = geobox.shape
    corners = _to_crs(np.array([[0, 0], [columns, rows_of_grid]], float), geobox)
    outline = shapely.box(corners[:, 0].min(), corners[:, 1].min(), corners[:, 0].max(), corners[:, 1].max())
    # Missing shapes have no bounds, and those that the CRS does not reach infinite ones.
    rows = np.flatnonzero(np.isfinite(shapely.bounds(shapes).reshape(-1, 4)).all(axis=1))
    rows = rows[shapely.intersects(shapely.box(*shapely.bounds(shapes[rows]).reshape(-1, 4).T), outline)]
    shapes = shapes[rows]
    for n in np.flatnonzero(~shapely.is_valid(shapes) | ~shapely.covers(outline, shapes)):
        shapes[n] = shapely.union_all(polygonal(shapely.intersection(covered_ground(shapes[n]), outline)))
    holds_ground = shapely.area(shapes) > 0
    return rows[holds_ground], shapes[holds_ground]


def _tasks(layer: xr.DataArray, geobox: GeoBox, mapped: Shapes) -> Iterator[Any]:
    """Blocks are cut here, not by the cube's chunks, and only those that a landslide lies in are read."""
    data = layer.data if isinstance(layer.data, da.Array) else da.from_array(layer.data, chunks=-1)
    data = data.rechunk((-1, _BLOCK, _BLOCK))
    a, _, c, _, e, f = geobox.affine[:6]
    left, bottom, right, top = shapely.bounds(mapped).reshape(-1, 4).T
    # A pixel more on each side than rounding may hide.
    first_row, end_row = (np.floor((top - f) / e) - 1).astype(int), (np.ceil((bottom - f) / e) + 1).astype(int)
    first_column, end_column = (np.floor((left - c) / a) - 1).astype(int), (np.ceil((right - c) / a) + 1).astype(int)
    look = delayed(_outline_unseen, pure=False)
    for (i, j), block in np.ndenumerate(data.to_delayed()[0]):
        y0, x0 = i * _BLOCK, j * _BLOCK
        y1, x1 = y0 + data.chunks[1][i], x0 + data.chunks[2][j]
        windows = np.column_stack(
            [
                *(edge.clip(y0, y1) for edge in (first_row, end_row)),
                *(edge.clip(x0, x1) for edge in (first_column, end_column)),
            ]
        )
        here = np.flatnonzero((windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3]))
        if len(here):
            yield look(block, here, windows[here], y0, x0)


def _outline_unseen(mask: NDArray[np.uint8], landslides: Indices, windows: Indices, y0: int, x0: int) -> list[_Piece]:
    """Outline what is not clear in a block (track, y, x), in the window of each landslide."""
    check_codes(mask)
    pieces = []
    for landslide, (r0, r1, c0, c1) in zip(landslides, windows, strict=True):
        there = mask[:, r0 - y0 : r1 - y0, c0 - x0 : c1 - x0]
        for track, kind in np.ndindex(len(mask), 2):
            flags = there[track] == NO_DATA if kind == _UNKNOWN else (there[track] != NO_DATA) & (there[track] != CLEAR)
            if flags.any():
                # By four neighbours, for a ring that runs through a corner twice is not valid.
                corner = Affine.translation(c0, r0)
                with ONE_THREAD:
                    found = list(outlines_of(flags.view(np.uint8), mask=flags, connectivity=4, transform=corner))
                parts = [shapely.geometry.shape(outline) for outline, _ in found]
                pieces.append(_Piece(track, kind, int(landslide), shapely.multipolygons(parts)))
    return pieces


def _ground(pieces: list[_Piece], track: int, kind: int, number: int, geobox: GeoBox) -> Shapes:
    """Put the pieces of each landslide (number,) together, in the cube's CRS."""
    found: dict[int, list[Any]] = {}
    for piece in pieces:
        if (piece.track, piece.kind) == (track, kind):
            found.setdefault(piece.landslide, []).append(piece.ground)
    ground: Shapes = np.full(number, shapely.MultiPolygon(), object)
    for landslide, parts in found.items():
        # In pixels, which are whole numbers, so that blocks join without a gap.
        ground[landslide] = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    moved: Shapes = shapely.transform(ground, lambda points: _to_crs(points, geobox))
    return moved


def _to_crs(points: Floats64, geobox: GeoBox) -> Floats64:
    a, _, c, _, e, f = geobox.affine[:6]
    return np.column_stack([c + a * points[:, 0], f + e * points[:, 1]])


def _subtract(
    mapped: Shapes, ground: Shapes, geobox: GeoBox, area: Floats64, rounding: Floats64, min_area: float
) -> tuple[Shapes, NDArray[np.bool_]]:
    """Take ground from landslides: what is left, and which are whole (and the same as before)."""
    left = mapped.copy()
    touched = np.flatnonzero(~shapely.is_empty(ground))
    rest = shapely.difference(mapped[touched], ground[touched])
    cut = area[touched] - _areas(rest, geobox) > rounding[touched]
    touched, rest = touched[cut], rest[cut]
    parts, owner = shapely.get_parts(rest, return_index=True)
    part_area = _areas(parts, geobox)
    large = (part_area > rounding[touched][owner]) & (part_area >= min_area)
    parts, owner = parts[large], owner[large]
    bounds = np.searchsorted(owner, np.arange(len(touched) + 1))
    for n, (first, end) in enumerate(pairwise(bounds)):
        left[touched[n]] = parts[first] if end - first == 1 else shapely.MultiPolygon(list(parts[first:end]))
    whole = np.ones(len(mapped), bool)
    whole[touched] = False
    return left, whole


def _crs(geobox: GeoBox) -> CRS:
    assert geobox.crs is not None
    crs: CRS = geobox.crs.proj
    return crs


def _areas(shapes: Shapes, geobox: GeoBox) -> Floats64:
    """Areas in m²: on the plane of a projected CRS, of a geographic one on the ellipsoid."""
    crs = _crs(geobox)
    if crs.is_geographic:
        # The same area at any longitude: from 0 on no shape reaches over the cylinder's edge, the antimeridian.
        shapes = shapely.transform(shapes, lambda points: points - np.array([geobox.affine.c, 0]))
        shapes = gpd.GeoSeries(shapes, crs=crs).to_crs(_EQUAL_AREA).to_numpy()
        return np.asarray(shapely.area(shapes), np.float64)
    return np.asarray(shapely.area(shapes) * crs.axis_info[0].unit_conversion_factor ** 2, np.float64)


def _frame(
    inventory: gpd.GeoDataFrame, rows: Indices, left: Shapes, visible_share: Floats64, geobox: GeoBox
) -> gpd.GeoDataFrame:
    frame = inventory.iloc[rows]
    frame = frame.set_geometry(gpd.GeoSeries(left, index=frame.index, crs=_crs(geobox)))
    return frame.assign(inventory_row=rows, visible_share=visible_share)
