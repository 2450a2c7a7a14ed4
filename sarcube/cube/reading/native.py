"""Read a file's own pixels, masked: what is no measurement is a hole that says why."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from sarcube.acquisition.files.borrowing import borrow_geotiff
from sarcube.acquisition.files.headers import read_grid, read_window
from sarcube.acquisition.files.ranges import show_url
from sarcube.acquisition.hrefs import is_url
from sarcube.acquisition.scenes import Grid
from sarcube.cube.grid import same_crs
from sarcube.cube.holes import Floats
from sarcube.cube.reading.fringe import fringe_reach, mark_fringe
from sarcube.cube.reading.outlook import may_be_thick
from sarcube.cube.reading.place import Block
from sarcube.cube.reading.validity import mark_holes
from sarcube.errors import ReadError

# Files that are open, and what their headers were found to agree with.
_checked: WeakKeyDictionary[rasterio.DatasetReader, "Source"] = WeakKeyDictionary()
_HEADER_TOLERANCE = 0.01  # of a pixel: how far a file's corners may be from where its item puts them


@dataclass(frozen=True)
class Source:
    """A file, the item it belongs to, where the item says its pixels lie, and its place among the slices of a pass."""

    item: str
    href: str
    grid: Grid
    part: int = 0

    @property
    def address(self) -> str:
        """The href as it may be shown: that of a URL without what may be a signature."""
        return show_url(self.href) if is_url(self.href) else self.href


def read_native(source: Source, part: Block, *, border_fringe: int) -> Floats:
    """Read pixels of a file, on the file's own grid.

    Parameters
    ----------
    source : Source
    part : Block
        Rows and columns, inside the file.
    border_fringe : int
        Pixels to erode along thick areas of nothing; see `sarcube.cube.reading.fringe`.

    Returns
    -------
    (y, x) float32 array
        C-contiguous; NaN, with its reason, where not valid.

    Raises
    ------
    ReadError
        If the file cannot be read, or is not what its item says.
    """
    owner = f'item "{source.item}"'
    with borrow_geotiff(source.href, owner=owner) as dataset:
        if _checked.get(dataset) != source:
            check_header(dataset, source)
            _checked[dataset] = source
        if border_fringe == 0:
            return _read(dataset, part)
        around = _surroundings(part, source.grid.shape, fringe_reach(border_fringe))
        if not may_be_thick(source.href, dataset, part, around, owner=owner):
            return _read(dataset, part)
        values = _read(dataset, around)
    mark_fringe(values, width=border_fringe, part=around, shape=source.grid.shape)
    y, x = part.y0 - around.y0, part.x0 - around.x0
    return np.ascontiguousarray(values[y : y + part.shape[0], x : x + part.shape[1]])


def _surroundings(part: Block, shape: tuple[int, int], reach: int) -> Block:
    return Block(
        max(part.y0 - reach, 0), min(part.y1 + reach, shape[0]), max(part.x0 - reach, 0), min(part.x1 + reach, shape[1])
    )


def _read(dataset: rasterio.DatasetReader, part: Block) -> Floats:
    rows, columns = part.shape
    native = read_window(dataset, Window(part.x0, part.y0, columns, rows))
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, so no measurement
        values = np.ascontiguousarray(native, dtype=np.float32)
    return mark_holes(values, nodata=dataset.nodata)


def check_header(dataset: rasterio.DatasetReader, source: Source) -> None:
    """Check that a file is where its item says, and one band of floating point.

    Raises
    ------
    ReadError
        If it is not.
    """
    found, said = read_grid(dataset, owner=f'item "{source.item}"'), source.grid
    if found.shape != said.shape or not same_crs(found.crs, said.crs) or _distance(found, said) > _HEADER_TOLERANCE:
        raise ReadError(
            f'{source.address} is not where its item "{source.item}" puts it: the item says {_describe(said)}, '
            f"the file {_describe(found)}; the file was replaced or the item is stale: fetch both again",
            kind="stale",
        )
    if dataset.count != 1 or not np.issubdtype(dataset.dtypes[0], np.floating):
        raise ReadError(
            f'{source.address} of item "{source.item}" has {dataset.count} bands of {dataset.dtypes[0]}; expected '
            "one band of floating point numbers, gamma0 in linear power"
        )


def _distance(a: Grid, b: Grid) -> float:
    """Return how far two grids are apart at their corners, in pixels of the second."""
    if a.transform == b.transform:
        return 0.0
    ta, tb = Affine(*a.transform), Affine(*b.transform)
    rows, columns = b.shape
    corners = np.array([(0, 0, 1), (columns, 0, 1), (0, rows, 1), (columns, rows, 1)]).T
    matrix = np.array(~tb @ ta).reshape(3, 3)
    return float(np.abs(matrix @ corners - corners).max())


def _describe(grid: Grid) -> str:
    a, _, c, _, e, f = grid.transform
    crs = grid.crs if len(grid.crs) < 20 else "another CRS"
    return f"{grid.shape[0]} x {grid.shape[1]} pixels of {a:g} x {abs(e):g} from ({c:.10g}, {f:.10g}) in {crs}"
