"""Which slopes the radar sees: per track and for all tracks together, of the area and of mapped landslides.

The mask layers are read once, block by block, and only counts are kept of a block. Blocks are cut here, not by the
cube's chunks, so that no chunking can change a figure.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.cube.geometry.ground import geobox_of, mapped, metres_per_pixel
from sarcube.cube.geometry.mask_layer import check_codes, mask_layer
from sarcube.errors import InputError
from sarcube.sar.look_codes import CLEAR, LAYOVER, NO_DATA, SHADOW

logger = logging.getLogger(__name__)

Mask = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats64 = NDArray[np.float64]

ANY, ALL = "any track", "all tracks"
_BLOCK = 1024  # pixels along a side
# Where a pixel's centre is taken to be, in pixels: a hair aside, so that of two polygons that meet on a row of centres
# one has them and not the other, whichever way the edge runs.
_CENTRE_DOWN, _CENTRE_ACROSS = 0.5 + 2e-6, 0.5 + 1e-6


class Visibility(NamedTuple):
    """What the tracks of a cube see: see `visibility`."""

    table: pd.DataFrame
    tracks_seeing: xr.DataArray


class _Landslides(NamedTuple):
    """Polygons on a grid.

    As well-known bytes, since threads must not share a prepared polygon.
    """

    numbers: Counts  # (n,)
    shapes: NDArray[np.object_]  # (n,)
    windows: Counts  # (n, 4) pixels: first row, end of rows, first column, end of columns

    def within(self, y0: int, y1: int, x0: int, x1: int) -> "_Landslides":
        """Select the polygons whose windows reach into a block, and cut their windows to it."""
        windows = np.column_stack([self.windows[:, :2].clip(y0, y1), self.windows[:, 2:].clip(x0, x1)])
        here = (windows[:, 0] < windows[:, 1]) & (windows[:, 2] < windows[:, 3])
        return _Landslides(self.numbers[here], self.shapes[here], windows[here])


_NO_LANDSLIDES = _Landslides(np.zeros(0, np.int64), np.zeros(0, object), np.zeros((0, 4), np.int64))


class _Part(NamedTuple):
    """What is kept of a block, by line of the table: areas, and pixels of each landslide in it."""

    km2: Floats64  # (line, kind): as `_judge` has them, then landslide, and landslide that is seen
    numbers: Counts  # (n,)
    centres: Counts  # (n,) pixels whose centre lies in the landslide, known or not
    inside: Counts  # (line, known or seen, n) of these
    touched: Counts  # likewise of all pixels that the landslide touches, where no centre lies in it


def visibility(cube: xr.Dataset, inventory: gpd.GeoDataFrame | None = None) -> Visibility:
    """Say which share of the area, and of mapped landslides, the tracks of a cube can see.

    Parameters
    ----------
    cube : xarray.Dataset
        With `layover_shadow` (track, y, x), uint8 in OPERA's codes (see `add_geometry`).
    inventory : GeoDataFrame, optional
        Landslide polygons in any CRS (see `read_inventory`).

    Returns
    -------
    table : pandas.DataFrame
        One row per track, and the rows "any track" (their union: seen by one or more) and "all tracks" (seen by each):

        - area_km2: ground of which it is known whether it is seen: where the track has data; "any track": one or more
          of them; "all tracks": each of them;
        - seen_km2 and seen_share of it: neither layover nor shadow;
        - layover_share, shadow_share: not seen, and in layover or shadow of a track of this row. They overlap;
        - no_data_km2: the rest of the cube's area.

        With an inventory also:

        - landslides: how many rows of the inventory lie on known ground, wholly or in part. A row is one landslide, in
          however many parts: `inventory.explode()` makes a row of each part;
        - landslides_seen: how many of them have more than half of their known pixels seen;
        - landslide_km2: known ground in landslides; landslide_seen_km2 and landslide_seen_share: what is seen of it.

        A share of nothing is NaN.
    tracks_seeing : xarray.DataArray
        (y, x), uint8, lazy where the layer is: the number of tracks that see the pixel; 0 is blind. A track without
        data there does not see it. 255 where no track has data.

    Raises
    ------
    BandError
        If the cube has no `layover_shadow`.
    InputError
        If that layer is not (track, y, x) in OPERA's codes, or the inventory has no CRS or other shapes than polygons.

    Notes
    -----
    A pixel is landslide if its centre lies inside a polygon; ground in two polygons counts once in the areas. A
    landslide so small or thin that it holds no centre is counted by all the pixels it touches, and adds no area. Areas
    are those of the grid: on a projected one the pixel's own, in degrees by the ellipsoid, row by row. The table is
    computed here, in one pass over the masks; how the cube is chunked changes no figure.

    Examples
    --------
    Which slopes are blind after this earthquake?

    >>> table, tracks_seeing = sc.visibility(cube, inventory)
    >>> table.loc["any track", ["seen_share", "landslide_seen_share"]]
    >>> blind = tracks_seeing == 0
    """
    layer = mask_layer(cube, purpose="visibility")
    geobox = geobox_of(cube)
    landslides = _NO_LANDSLIDES if inventory is None else _on_grid(inventory, geobox)
    parts: list[_Part] = compute(list(_tasks(layer, geobox, landslides)))[0]
    lines = pd.Index([*layer["track"].to_numpy().astype(str), ANY, ALL], name="track")
    table = _areas(parts, lines)
    if inventory is not None:
        table = table.join(_landslides(parts, lines, len(landslides.numbers)))
    return Visibility(table, _tracks_seeing(layer, mapped(cube)))


def _tracks_seeing(layer: xr.DataArray, mapping: dict[str, str]) -> xr.DataArray:
    seeing = (layer == CLEAR).sum("track", dtype=np.uint8)
    known = (layer != NO_DATA).any("track")
    attrs = {
        "units": "1",
        "long_name": "number of tracks that see the pixel",
        "flag_values": [NO_DATA],
        "flag_meanings": "no_data",
        "nodata": NO_DATA,  # not `_FillValue`: readers would turn the numbers into floats
        **mapping,
    }
    result = seeing.where(known, np.uint8(NO_DATA)).rename("tracks_seeing")
    result.attrs = attrs  # and none of the mask's
    return result


def _on_grid(inventory: gpd.GeoDataFrame, geobox: GeoBox) -> _Landslides:
    """Bring an inventory onto a grid: the polygons that reach into it, with the windows of their bounds."""
    if inventory.crs is None:
        raise InputError(
            "the inventory has no coordinate reference system; find out which it is drawn in and set it, for example "
            'inventory.set_crs("EPSG:32647")'
        )
    shapes = inventory.geometry.to_crs(geobox.crs)
    shapes = shapes[~(shapes.isna() | shapes.is_empty)].to_numpy()
    kinds = {shapely.GeometryType(kind).name for kind in shapely.get_type_id(shapes)} - {"POLYGON", "MULTIPOLYGON"}
    if kinds:
        raise InputError(
            f"an inventory must hold polygons; this one also holds {', '.join(sorted(kinds))}: read it with "
            "sc.read_inventory, which keeps the polygons"
        )
    shapes = on_turn_of_grid(shapes, geobox)
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    bounds = np.where(np.isfinite(bounds).all(axis=1, keepdims=True), bounds, np.inf)  # the CRS does not reach there
    rows, columns = geobox.shape
    a, _, c, _, e, f = geobox.affine[:6]
    left, bottom, right, top = (
        np.clip(edges, -1, size + 1)
        for edges, size in (
            ((bounds[:, 0] - c) / a, columns),
            ((bounds[:, 1] - f) / e, rows),
            ((bounds[:, 2] - c) / a, columns),
            ((bounds[:, 3] - f) / e, rows),
        )
    )
    windows = np.column_stack([np.floor(top), np.floor(bottom) + 1, np.floor(left), np.floor(right) + 1])
    everything = _Landslides(
        np.arange(len(shapes)), np.asarray(shapely.to_wkb(shapes), object), windows.astype(np.int64)
    )
    landslides = everything.within(0, rows, 0, columns)
    if len(shapes) and not len(landslides.numbers):
        logger.warning("none of the %d landslides of the inventory lies on the cube", len(shapes))
    return landslides._replace(numbers=np.arange(len(landslides.numbers)))


def _tasks(layer: xr.DataArray, geobox: GeoBox, landslides: _Landslides) -> Iterator[Any]:
    data = layer.data if isinstance(layer.data, da.Array) else da.from_array(layer.data, chunks=-1)
    data = data.rechunk((-1, _BLOCK, _BLOCK))
    down, across = metres_per_pixel(geobox)
    pixel_km2 = down * across / 1e6
    look = delayed(_look_at_block, pure=False)
    for (i, j), block in np.ndenumerate(data.to_delayed()[0]):
        y0, x0 = i * _BLOCK, j * _BLOCK
        y1, x1 = y0 + data.chunks[1][i], x0 + data.chunks[2][j]
        # The polygons go in as one object: Dask would look into every tuple and list.
        here = delayed(landslides.within(y0, y1, x0, x1), traverse=False, pure=False)
        yield look(block, pixel_km2[y0:y1], here, y0, x0, tuple(geobox.affine))


def _look_at_block(
    mask: Mask, pixel_km2: Floats64, landslides: _Landslides, y0: int, x0: int, affine: tuple[float, ...]
) -> _Part:
    """Measure a block, (track, y, x) with the area of a pixel of each row (y,), and each landslide in it."""
    judged = _judge(mask)
    number = len(landslides.numbers)
    centres = np.zeros(number, np.int64)
    inside, touched = np.zeros((2, len(judged), 2, number), np.int64)
    label = np.zeros(mask.shape[1:], bool)
    for n, (shape, window) in enumerate(zip(shapely.from_wkb(landslides.shapes), landslides.windows, strict=True)):
        r0, r1, c0, c1 = window - (y0, y0, x0, x0)
        pixels = _centres_inside(shape, window, affine)
        label[r0:r1, c0:c1] |= pixels
        centres[n] = pixels.sum()
        there = judged[:, :2, r0:r1, c0:c1]
        inside[..., n] = there[..., pixels].sum(axis=-1)
        if not centres[n]:
            touched[..., n] = there[..., _pixels_touched(shape, window, affine)].sum(axis=-1)
    kinds = np.concatenate([judged, judged[:, :2] & label], axis=1)
    return _Part(kinds.sum(axis=-1) @ pixel_km2, landslides.numbers, centres, inside, touched)


def _judge(mask: Mask) -> Flags:
    """(track, y, x) codes -> (line, kind, y, x): known, seen, layover, shadow, no data; by track, any and all."""
    check_codes(mask)
    known = mask != NO_DATA
    seen = mask == CLEAR
    layover, shadow = (known & ((mask & bit) != 0) for bit in (LAYOVER, SHADOW))
    lines = [np.stack([known, seen, layover, shadow, ~known], axis=1)]
    for together in (np.any, np.all):
        known_there, seen_there = together(known, axis=0), together(seen, axis=0)
        blind = known_there & ~seen_there
        reasons = (blind & layover.any(axis=0), blind & shadow.any(axis=0))
        lines.append(np.stack([known_there, seen_there, *reasons, ~known_there])[np.newaxis])
    return np.concatenate(lines)


def _centres_inside(shape: Any, window: Counts, affine: tuple[float, ...]) -> Flags:
    """Pixels of a window whose centre lies in a polygon: (y, x)."""
    x, y = _edges(window, affine, down=_CENTRE_DOWN, across=_CENTRE_ACROSS)
    shapely.prepare(shape)
    inside: Flags = shapely.contains_xy(shape, x, y[:, np.newaxis])
    return inside


def _pixels_touched(shape: Any, window: Counts, affine: tuple[float, ...]) -> Flags:
    """Pixels of a window that a polygon touches: (y, x)."""
    left, top = _edges(window, affine, down=0, across=0)
    right, bottom = _edges(window, affine, down=1, across=1)
    touched: Flags = shapely.intersects(shape, shapely.box(left, bottom[:, np.newaxis], right, top[:, np.newaxis]))
    return touched


def _edges(window: Counts, affine: tuple[float, ...], *, down: float, across: float) -> tuple[Floats64, Floats64]:
    """Coordinates x of a window's columns and y of its rows, `across` and `down` pixels from their first corner."""
    a, _, c, _, e, f = affine[:6]
    r0, r1, c0, c1 = window
    x: Floats64 = c + a * (np.arange(c0, c1) + across)
    y: Floats64 = f + e * (np.arange(r0, r1) + down)
    return x, y


def _areas(parts: Sequence[_Part], lines: pd.Index) -> pd.DataFrame:
    known, seen, layover, shadow, no_data = np.sum([part.km2[:, :5] for part in parts], axis=0).T
    table = pd.DataFrame({"area_km2": known, "seen_km2": seen}, index=lines)
    for name, km2 in (("seen", seen), ("layover", layover), ("shadow", shadow)):
        table[f"{name}_share"] = km2 / table["area_km2"]
    return table.assign(no_data_km2=no_data)


def _landslides(parts: Sequence[_Part], lines: pd.Index, number: int) -> pd.DataFrame:
    centres = np.zeros(number, np.int64)
    inside, touched = np.zeros((2, len(lines), 2, number), np.int64)
    for part in parts:
        # A landslide is in a block once, so that no number comes twice.
        centres[part.numbers] += part.centres
        inside[..., part.numbers] += part.inside
        touched[..., part.numbers] += part.touched
    known, seen = np.where(centres > 0, inside, touched).swapaxes(0, 1)
    known_km2, seen_km2 = np.sum([part.km2[:, 5:] for part in parts], axis=0).T
    table = pd.DataFrame(
        {
            "landslides": (known > 0).sum(axis=-1),
            "landslides_seen": (2 * seen > known).sum(axis=-1),
            "landslide_km2": known_km2,
            "landslide_seen_km2": seen_km2,
        },
        index=lines,
    )
    return table.assign(landslide_seen_share=table["landslide_seen_km2"] / table["landslide_km2"])
