"""What windows look like that are found or missed: slope, aspect, incidence, size of the landslide, cover, distortion.

Layers are read tile by tile, of a tile only what its windows cover; what is worked out of a window depends on its own
pixels alone, so that no chunking can change a figure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from sarcube.cube.geometry.antimeridian import on_turn_of_grid
from sarcube.cube.geometry.ground import geobox_of, metres_per_pixel
from sarcube.cube.geometry.mask_layer import check_codes, mask_layer
from sarcube.cube.geometry.north import convergence_nodes, interpolate_nodes, node_positions
from sarcube.errors import AreaError, BandError, InputError, TrackError
from sarcube.labels.inventory import require_polygons, valid_polygons
from sarcube.labels.patches import COLUMNS, Patches
from sarcube.labels.pixels import tile_numbers
from sarcube.labels.rasterise import lazy_label
from sarcube.sar.look_codes import LAYOVER, NO_DATA, SHADOW

Floats: TypeAlias = NDArray[np.floating[Any]]
Flags: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.int64]
Given = TypeVar("Given", xr.Dataset, gpd.GeoDataFrame)

DISTORTED = 0.05
"""A window is in layover or shadow if more than this share of its pixels is: as it is a landslide by its share."""

_STATIC = ("slope", "aspect")
_PER_TRACK = ("incidence_angle", "sensor_azimuth", "layover_shadow")
_REMEDY = {
    **dict.fromkeys(_STATIC, "sc.add_terrain(cube, dem)"),
    **dict.fromkeys(_PER_TRACK, "sc.add_geometry(cube)"),
}
_BOX = ("left", "bottom", "right", "top")
_LABEL = "landslide pixels"  # no identifier, so that no layer of a cube is called so
_UNDIRECTED = 1e-6  # length of a mean of unit vectors below which it is rounding that has a direction


def describe_patches(
    patches: Patches | pd.DataFrame,
    cube: xr.Dataset | Mapping[str, xr.Dataset],
    *,
    inventory: gpd.GeoDataFrame | Mapping[str, gpd.GeoDataFrame] | None = None,
    land_cover: str | None = None,
) -> pd.DataFrame:
    """Say under which conditions each patch was seen: terrain, look, size of its landslide, land cover, distortion.

    Parameters
    ----------
    patches : Patches or pandas.DataFrame
        A table with the columns of `Patches.table`, such as `sarcube.score_patches` returns; others are kept.
    cube : xarray.Dataset or mapping of them by event
        With slope and aspect (`add_terrain`), and incidence_angle, sensor_azimuth and layover_shadow of the tracks
        (`add_geometry`), in the patches' CRS; its pixels may be of another size. One cube serves all events.
    inventory : GeoDataFrame or mapping of them by event, optional
        The landslides that the patches were labelled with, in any CRS. A row is one landslide, in however many parts.
    land_cover : str, optional
        A layer (y, x) of the cube that holds classes as whole numbers (`add_layer`).

    Returns
    -------
    pandas.DataFrame
        The table, in its order, and these columns. Of a patch that is a landslide, means and shares are over the
        landslide's pixels where there is an inventory, since it is their ground that moved; of any other patch, and
        without an inventory, over all pixels. Pixels without data are left out; NaN where none is left.

        - slope: degrees, mean.
        - aspect: degrees clockwise from grid north, downhill; the direction of the mean of unit vectors (Mardia & Jupp
          2000, Directional Statistics, section 2.2). Flat ground has none: NaN.
        - look_aspect: degrees, mean of the angle between aspect and the direction to the sensor: 0 faces it, 180 faces
          away. NaN where flat.
        - incidence_angle, and local_incidence_angle where the cube has it (`add_local_incidence`): degrees, mean.
        - layover_share, shadow_share: 0 to 1.
        - distortion: "none", "layover", "shadow" or "both": which of the shares is more than `DISTORTED`; missing
          where the track's mask has no data.
        - landslide_area, with an inventory: m², the whole area of the landslide that covers most of the patch, of
          which a part may lie outside; NaN where none touches it.
        - largest_landslide_area, with an inventory: m², of the largest landslide that touches the patch.
        - land_cover, where asked for: the most frequent class, the lowest of those that are equally frequent; Int64.

    Raises
    ------
    BandError
        If a cube lacks a layer.
    TrackError
        If a cube does not hold a patch's track.
    AreaError
        If a patch does not lie wholly on its cube.
    InputError
        If there are no patches, the table lacks columns, nobody knows where the patches lie, a cube is in another CRS
        than they are, an event has no cube or inventory, an inventory has no CRS or other shapes than polygons, or the
        land cover is not of whole numbers.
    """
    table = patches.table if isinstance(patches, Patches) else patches
    _check(table)
    parts = []
    numbered = table.reset_index(drop=True)
    # What a file of text holds no name of comes back as NaN.
    events = numbered["event"].astype(object).where(numbered["event"].notna(), "")
    for event, rows in numbered.groupby(events, sort=False):
        cube_of_event = _of_event(cube, str(event), "cube")
        slides = None if inventory is None else _of_event(inventory, str(event), "inventory")
        parts.append(_describe_event(rows, cube_of_event, slides, land_cover))
    described = pd.concat(parts).sort_index().set_index(table.index)
    return table.assign(**{str(name): column for name, column in described.items()})


def _check(table: pd.DataFrame) -> None:
    if missing := [name for name in COLUMNS if name not in table]:
        raise InputError(
            f"the table lacks {', '.join(missing)}: give patches, their table or what sc.score_patches returned"
        )
    if table.empty:
        raise InputError("there is nothing to describe: the table holds no patch")
    if (table[["crs", *_BOX]].isna().any(axis=1) | (table["crs"] == "")).any():
        raise InputError("some patches were made of arrays: nobody knows where they lie, so no layer can be read there")


def _of_event(given: Given | Mapping[str, Given], event: str, what: str) -> Given:
    if isinstance(given, (xr.Dataset, gpd.GeoDataFrame)):
        return given
    given = {str(name): one for name, one in given.items()}  # a file of text may make an event's name a number
    if event not in given:
        raise InputError(f'there are patches of "{event}", but no {what} of it; there are {", ".join(given) or "none"}')
    return given[event]


def _describe_event(
    rows: pd.DataFrame, cube: xr.Dataset, inventory: gpd.GeoDataFrame | None, land_cover: str | None
) -> pd.DataFrame:
    layers, geobox = _layers(cube, land_cover), geobox_of(cube)
    numbers = _track_numbers(rows, layers)
    windows = _windows_on(geobox, rows)
    if inventory is not None:
        layers[_LABEL] = (("y", "x"), lazy_label(inventory, cube).data)
    nodes, positions = convergence_nodes(geobox), node_positions(geobox)
    described: list[dict[str, Any]] = [{}] * len(rows)
    landslide = rows["landslide"].to_numpy(bool)
    for members in _tiles(windows):
        (y0, x0), (y1, x1) = windows[members, :2].min(axis=0), windows[members, 2:].max(axis=0)
        here = {"y": slice(y0, y1), "x": slice(x0, x1)}
        tracks, track = np.unique(numbers[members], return_inverse=True)
        block = layers.isel(here).isel(track=tracks).compute()
        check_codes(block["layover_shadow"].to_numpy())
        y, x = (position.to_numpy()[here[axis]] for axis, position in zip("yx", positions, strict=True))
        ground = _ground(block, interpolate_nodes(nodes, y[:, np.newaxis], x))
        for number, of_tile in zip(members, track, strict=True):
            top, left, bottom, right = windows[number] - (y0, x0, y0, x0)
            window = {name: values[..., top:bottom, left:right] for name, values in ground.items()}
            own = {name: values[of_tile] if values.ndim == 3 else values for name, values in window.items()}
            described[number] = _describe(own, landslide=landslide[number], nodata=_nodata(layers, land_cover))
    table = pd.DataFrame(described, index=rows.index)
    if land_cover is not None:
        table["land_cover"] = table["land_cover"].astype("Int64")
    return table if inventory is None else table.assign(**_areas(rows, geobox, inventory))


def _layers(cube: xr.Dataset, land_cover: str | None) -> xr.Dataset:
    """Return the layers that describe windows, those of tracks (track, y, x), without dates; nothing is read."""
    if missing := [name for name in (*_STATIC, *_PER_TRACK) if name not in cube]:
        raise BandError(
            f"patches are described by {', '.join(missing)}, which this cube lacks: run "
            + " and ".join(dict.fromkeys(_REMEDY[name] for name in missing))
            + " first"
        )
    mask_layer(cube, purpose="a description of patches")
    names = [*_STATIC, *_PER_TRACK, *[name for name in ("local_incidence_angle",) if name in cube]]
    if land_cover is not None:
        if land_cover not in cube:
            raise BandError(
                f'this cube has no layer "{land_cover}": bring it with sc.add_layer(cube, "{land_cover}", FILE)'
            )
        kind = cube[land_cover].dtype
        if kind.kind not in "iu" or set(cube[land_cover].dims) != {"y", "x"}:
            raise InputError(
                f'classes of land cover must be whole numbers (y, x), and "{land_cover}" holds {kind} '
                f'{cube[land_cover].dims}: bring them with sc.add_layer(..., resampling="nearest")'
            )
        names.append(land_cover)
    layers = cube[names].transpose(..., "y", "x")
    return layers if land_cover is None else layers.rename({land_cover: "land_cover"})


def _nodata(layers: xr.Dataset, land_cover: str | None) -> int | None:
    return None if land_cover is None else layers["land_cover"].attrs.get("nodata")


def _track_numbers(rows: pd.DataFrame, layers: xr.Dataset) -> Indices:
    """Number each patch's track among those of the layers: (n,)."""
    held = [str(name) for name in layers["track"].to_numpy()]
    if missing := sorted(set(rows["track"]) - set(held)):
        raise TrackError(
            f'there are patches of track "{missing[0]}", which is not in the cube of their event; it holds '
            f"{', '.join(held) or 'none'}"
        )
    return np.array([held.index(name) for name in rows["track"]], np.int64)


def _windows_on(geobox: GeoBox, rows: pd.DataFrame) -> Indices:
    """Find the pixels of a grid whose centres lie in each patch: (n, 4), first row and column, and their ends."""
    if others := [crs for crs in rows["crs"].unique() if CRS(crs) != geobox.crs]:
        raise InputError(
            f"the patches lie in {others[0]} and the cube in {geobox.crs}: describe them by the cube that their stacks "
            "were made of, or load one in their CRS with crs="
        )
    a, _, c, _, e, f = geobox.affine[:6]
    x, y = ((rows[list(ends)].to_numpy() - origin) / step for ends, origin, step in _axes(c, a, f, e))
    ends = np.stack([np.sort(y, axis=1), np.sort(x, axis=1)], axis=2).reshape(-1, 4)  # y0, x0, y1, x1
    windows: Indices = np.rint(ends).astype(np.int64)
    outside = (windows < 0).any(axis=1) | (windows[:, 2:] > geobox.shape).any(axis=1)
    outside |= (windows[:, :2] >= windows[:, 2:]).any(axis=1)
    if outside.any():
        first = rows[list(_BOX)].to_numpy()[outside][0]
        raise AreaError(
            f"{int(outside.sum())} of {len(rows)} patches do not lie wholly on the cube, such as the one from "
            f"{first[0]:g}, {first[1]:g} to {first[2]:g}, {first[3]:g}; give the cube that their stacks were made of"
        )
    return windows


def _axes(c: float, a: float, f: float, e: float) -> tuple[tuple[tuple[str, str], float, float], ...]:
    return (("left", "right"), c, a), (("top", "bottom"), f, e)


def _tiles(windows: Indices) -> Iterator[Indices]:
    """Yield the numbers of the windows that begin in one tile."""
    tiles = tile_numbers(np.zeros(len(windows), np.int64), windows[:, 0], windows[:, 1])
    order = np.argsort(tiles, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(tiles[order])) + 1)


def _ground(block: xr.Dataset, convergence: Floats) -> dict[str, NDArray[Any]]:
    """Return a block's layers as arrays, with the look's angle to the slope in place of the sensor's azimuth."""
    ground = {str(name): layer.to_numpy() for name, layer in block.data_vars.items()}
    to_sensor = ground.pop("sensor_azimuth") - convergence  # aspect counts from grid north
    ground["look_aspect"] = abs((ground["aspect"] - to_sensor + 180) % 360 - 180)
    return ground


def _describe(window: dict[str, NDArray[Any]], *, landslide: bool, nodata: int | None) -> dict[str, Any]:
    """Describe one window by its layers (y, x): those of a landslide's pixels, where it is one."""
    chosen: Flags = window.pop(_LABEL, np.zeros(1, np.uint8)).astype(bool)
    if not (landslide and chosen.any()):
        chosen = np.ones(window["slope"].shape, bool)
    pixels = {name: values[chosen] for name, values in window.items()}
    codes = pixels.pop("layover_shadow")
    known = codes[codes != NO_DATA]
    layover, shadow = (_mean(((known & bit) != 0).astype(np.float64)) for bit in (LAYOVER, SHADOW))
    described: dict[str, Any] = {
        "slope": _mean(pixels.pop("slope")),
        "aspect": _direction(pixels.pop("aspect")),
        "look_aspect": _mean(pixels.pop("look_aspect")),
    }
    classes = pixels.pop("land_cover", None)
    described |= {name: _mean(values) for name, values in pixels.items()}
    described |= {"layover_share": layover, "shadow_share": shadow, "distortion": _distortion(layover, shadow)}
    return described if classes is None else described | {"land_cover": _most_frequent(classes, nodata)}


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)].astype(np.float64)
    return float(finite.mean()) if finite.size else np.nan


def _direction(angles: Floats) -> float:
    """Mean direction of angles, degrees; NaN where there is none, or they cancel out."""
    radians = np.radians(angles[np.isfinite(angles)].astype(np.float64))
    if not radians.size:
        return np.nan
    north, east = np.cos(radians).mean(), np.sin(radians).mean()
    return float(np.degrees(np.arctan2(east, north)) % 360) if np.hypot(north, east) > _UNDIRECTED else np.nan


def _distortion(layover: float, shadow: float) -> str | None:
    if np.isnan(layover):
        return None
    return {(False, False): "none", (True, False): "layover", (False, True): "shadow", (True, True): "both"}[
        (layover > DISTORTED, shadow > DISTORTED)
    ]


def _most_frequent(classes: NDArray[np.integer[Any]], nodata: int | None) -> int | None:
    values, counts = np.unique(classes if nodata is None else classes[classes != nodata], return_counts=True)
    return int(values[counts.argmax()]) if len(values) else None


def _areas(rows: pd.DataFrame, geobox: GeoBox, inventory: gpd.GeoDataFrame) -> dict[str, Floats]:
    """Measure the landslides that touch each patch: the one that covers most of it, and the largest. m², (n,)."""
    require_polygons(inventory)
    shapes = on_turn_of_grid(inventory.geometry.to_crs(geobox.crs).to_numpy(), geobox)
    shapes = valid_polygons(shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))])
    shapes = shapes[np.isfinite(shapely.bounds(shapes).reshape(-1, 4)).all(axis=1)]  # the CRS does not reach there
    left, bottom, right, top = (rows[name].to_numpy(np.float64) for name in _BOX)
    boxes = shapely.box(left, bottom, right, top)
    patch, slide = shapely.STRtree(shapes).query(boxes, predicate="intersects")
    shared = shapely.area(shapely.intersection(boxes[patch], shapes[slide]))
    patch, slide, shared = patch[shared > 0], slide[shared > 0], shared[shared > 0]
    area = _square_metres(shapes, geobox)
    main, largest = np.full((2, len(rows)), np.nan)
    order = np.lexsort((shared, patch))  # of one patch, the landslide that covers most comes last and stays
    main[patch[order]] = area[slide[order]]
    order = np.lexsort((area[slide], patch))
    largest[patch[order]] = area[slide[order]]
    return {"landslide_area": main, "largest_landslide_area": largest}


def _square_metres(shapes: NDArray[np.object_], geobox: GeoBox) -> Floats:
    """Areas of polygons in a grid's CRS, m²: on a geographic grid by the size of a pixel in their middle's row."""
    down, across = metres_per_pixel(geobox)
    a, e, f = geobox.affine.a, geobox.affine.e, geobox.affine.f
    bounds = shapely.bounds(shapes).reshape(-1, 4)
    row = np.clip((bounds[:, [1, 3]].mean(axis=1) - f) / e, 0, len(down) - 1).astype(np.int64)
    areas: Floats = shapely.area(shapes) * (down * across)[row] / abs(a * e)
    return areas
