"""The posts of a DEM in 1° tiles: where they lie, which tiles an area needs, and their heights on one grid.

Copernicus DEM (GLO-30, GLO-90) has its posts on whole fractions of a degree: the first column of a tile on its western
meridian, the first row on its northern parallel; the last ones, which the next tiles begin with, are left out. So the
posts of all tiles count from 0°, and what lines up is known without rounding. Towards the poles columns lie farther
apart: 1, 1.5, 2, 3, 5 and 10 seconds of arc below 50, 60, 70, 80, 85 and 90 degrees. Source: Copernicus DEM Product
Handbook; readme of the public COGs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyproj
from numpy.typing import NDArray
from rasterio.windows import Window

from sarcube.acquisition.files.headers import open_geotiff, read_grid, read_window
from sarcube.acquisition.scenes import Grid
from sarcube.acquisition.staging.area import window_of
from sarcube.errors import ReadError

Heights = NDArray[np.float32]
Bounds = tuple[float, float, float, float]  # west, south, east, north in degrees; east - west is the width

MARGIN = 5000.0  # metres
_METRES_PER_DEGREE = 110_574.0  # of latitude at the equator, where it is shortest; of longitude times the cosine
_SECOND = 1 / 3600  # of a degree
_ALIGNED = 1e-3  # of a post's spacing, by which floating point may move the posts of a tile
_WGS84 = pyproj.CRS(4326)


@dataclass(frozen=True)
class Posts:
    """Rows and columns of posts, counted from 0° southward and eastward.

    `per_degree` is how many rows and columns there are to a degree, `rows` and `columns` are [first, after the last).
    """

    per_degree: tuple[int, int]
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine (a, b, c, d, e, f) of pixels whose centres are the posts."""
        down, across = self.per_degree
        return 1 / across, 0.0, (self.columns[0] - 0.5) / across, 0.0, -1 / down, (0.5 - self.rows[0]) / down


@dataclass(frozen=True)
class Tile:
    """A file of posts on this machine; its columns count on in the degrees of the area it is for."""

    path: Path
    posts: Posts


def widen(bbox: tuple[float, float, float, float]) -> Bounds:
    """Return what a cube over a box may cover, with `MARGIN` around it.

    A cube is a rectangle in a UTM zone, turned against the meridians; its corners reach beyond the box.

    Parameters
    ----------
    bbox : (west, south, east, north)
        Degrees; west greater than east crosses the antimeridian.

    Returns
    -------
    (west, south, east, north)
        Degrees; beyond 180 or -180 where it crosses the antimeridian. Once around the globe at most.
    """
    west, south, east, north = bbox
    middle = (west + (east if west < east else east + 360)) / 2
    grid = Grid("EPSG:4326", (_SECOND, 0, middle - 180, 0, -_SECOND, 90), (180 * 3600, 360 * 3600))
    window = window_of(grid, bbox, margin=0, block=(1, 1))
    assert window is not None  # the grid is the globe
    (top, bottom), (left, right) = window
    more = MARGIN / _METRES_PER_DEGREE
    south, north = max(90 - bottom * _SECOND - more, -90.0), min(90 - top * _SECOND + more, 90.0)
    # Nearer to a pole than the margin, every meridian is within it.
    narrowest = math.cos(math.radians(max(-south, north)))
    aside = more / narrowest if narrowest > more / 180 else 180.0
    west, east = left * _SECOND - aside, right * _SECOND + aside
    if east - west >= 360:
        return -180.0, south, 180.0, north
    return middle - 180 + west, south, middle - 180 + east, north


def squares_over(bounds: Bounds) -> list[tuple[int, int]]:
    """Return the tiles that hold posts of an area: (south, west) in whole degrees, -180 <= west < 180."""
    west, south, east, north = bounds
    souths = range(max(math.ceil(south) - 1, -90), min(math.ceil(north), 90))
    wests = range(math.floor(west), math.ceil(east) if east - west >= 360 else math.floor(east) + 1)
    return [(s, (w + 180) % 360 - 180) for s in souths for w in wests]


def square_name(square: tuple[int, int]) -> str:
    """Return how Copernicus names a tile: (49, 6) -> "N49_00_E006_00"."""
    south, west = square
    return f"{'S' if south < 0 else 'N'}{abs(south):02d}_00_{'W' if west < 0 else 'E'}{abs(west):03d}_00"


def posts_over(bounds: Bounds, per_degree: tuple[int, int]) -> Posts:
    """Return the posts that lie in an area."""
    west, south, east, north = bounds
    down, across = per_degree
    first = math.ceil(west * across)
    after = min(math.floor(east * across) + 1, first + 360 * across)  # once around, and no post twice
    return Posts(per_degree, (math.ceil(-north * down), math.floor(-south * down) + 1), (first, after))


def open_tile(path: Path, *, owner: str, bounds: Bounds) -> Tile:
    """Read where the posts of a file lie, for an area.

    Raises
    ------
    ReadError
        If it cannot be read, or its posts do not lie on whole fractions of a degree in EPSG:4326.
    """
    with open_geotiff(str(path), owner=owner) as dataset:
        grid = read_grid(dataset, owner=owner)
    posts = _posts_of(grid, owner)
    down, across = posts.per_degree
    middle = sum(posts.columns) / 2 / across
    shift = 360 * across * round(((bounds[0] + bounds[2]) / 2 - middle) / 360)
    return Tile(path, Posts((down, across), posts.rows, (posts.columns[0] + shift, posts.columns[1] + shift)))


def read_heights(
    tiles: Sequence[Tile], target: Posts, rows: tuple[int, int], columns: tuple[int, int], *, owner: str
) -> Heights:
    """Read the heights of some tiles at rows and columns of a grid of posts.

    Parameters
    ----------
    tiles : sequence of Tile
        With as many rows to a degree as the grid, and as many columns or fewer. Where two hold a post, the first has
        it.
    target : Posts
        The grid.
    rows, columns : (first, after the last)
        Of the grid, counted from its first post.
    owner : str
        Whose files they are, for error messages.

    Returns
    -------
    (y, x) float32 array
        Metres. A post of a tile is that post, bit for bit; between the columns of a tile that has fewer, heights are
        linear. NaN where no tile has a post, or it has no height.

    Raises
    ------
    ReadError
        If a file cannot be read.
    """
    top, left = target.rows[0], target.columns[0]
    here = Posts(target.per_degree, (top + rows[0], top + rows[1]), (left + columns[0], left + columns[1]))
    heights = np.full(here.shape, np.nan, np.float32)
    for across in sorted({tile.posts.per_degree[1] for tile in tiles}, reverse=True):
        # Whole numbers: no post is missed or doubled by rounding.
        wanted = np.arange(*here.columns, dtype=np.int64) * across
        before, beyond = np.divmod(wanted, target.per_degree[1])
        coarse = Posts((target.per_degree[0], across), here.rows, (int(before[0]), int(before[-1]) + 2))
        found = _assemble([tile for tile in tiles if tile.posts.per_degree[1] == across], coarse, owner)
        heights = np.where(
            np.isnan(heights), _between(found, before - before[0], beyond / target.per_degree[1]), heights
        )
    return heights


def _between(found: Heights, before: NDArray[np.int64], share: NDArray[np.float64]) -> Heights:
    """Heights a share of the way from a column to the next; at a column itself, that of the column alone."""
    exact = found[:, before]
    if not share.any():
        return exact
    linear = (1 - share) * exact + share * found[:, before + 1]
    return np.where(share == 0, exact, linear).astype(np.float32)


def _assemble(tiles: Sequence[Tile], posts: Posts, owner: str) -> Heights:
    """Put the posts of tiles on a grid of the same spacing."""
    heights = np.full(posts.shape, np.nan, np.float32)
    for tile in tiles:
        (r0, r1), (c0, c1) = (
            (max(a[0], b[0]), min(a[1], b[1]))
            for a, b in ((tile.posts.rows, posts.rows), (tile.posts.columns, posts.columns))
        )
        if r0 >= r1 or c0 >= c1:
            continue
        window = Window(c0 - tile.posts.columns[0], r0 - tile.posts.rows[0], c1 - c0, r1 - r0)
        with open_geotiff(str(tile.path), owner=owner) as dataset:
            values, nodata = read_window(dataset, window), dataset.nodata
        known = np.isfinite(values) if nodata is None else np.isfinite(values) & (values != nodata)
        part = heights[r0 - posts.rows[0] : r1 - posts.rows[0], c0 - posts.columns[0] : c1 - posts.columns[0]]
        np.copyto(part, values, where=known & np.isnan(part), casting="same_kind")
    return heights


def _posts_of(grid: Grid, owner: str) -> Posts:
    a, b, c, d, e, f = grid.transform
    rows, columns = grid.shape
    down, across = (round(1 / spacing) if spacing > 0 else 0 for spacing in (-e, a))
    top, left = -(f + e / 2) * down, (c + a / 2) * across
    off = max(abs(top - round(top)), abs(left - round(left)), rows * abs(-e * down - 1), columns * abs(a * across - 1))
    if b or d or down < 1 or across < 1 or off > _ALIGNED or not _is_wgs84(grid.crs):
        raise ReadError(
            f"{owner} is no DEM of posts on whole fractions of a degree in EPSG:4326, as Copernicus DEM is: it has "
            f"pixels of {a!r} by {e!r} from {c!r}, {f!r} in {grid.crs}; give such a catalogue, or a DEM of your own to "
            "sc.add_terrain"
        )
    return Posts((down, across), (round(top), round(top) + rows), (round(left), round(left) + columns))


def _is_wgs84(crs: str) -> bool:
    return bool(pyproj.CRS.from_user_input(crs).equals(_WGS84, ignore_axis_order=True))
