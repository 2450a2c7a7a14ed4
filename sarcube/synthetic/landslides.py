"""Landslides of a simulated event: where they start, how they run, how large they are, what they do to backscatter.

Marks as in the package: [C] computed, [D] documented, [M] remembered, not verified: a prior to sample widely.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numba import njit
from numpy.random import Generator
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from sarcube.synthetic.fields import smooth_field
from sarcube.synthetic.landcover import Cover, LandCover
from sarcube.synthetic.radar import Look
from sarcube.synthetic.relief import Relief
from sarcube.synthetic.scenario import Scenario
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]

# Inverse gamma of Malamud et al. 2004 (ESPL 29), areas in m² [M]: mode 401, median 1 050, mean 3 070.
_RHO, _A, _S = 1.40, 1280.0, -132.0
_AREA_LIMITS = (150.0, 300_000.0)
# Length over width: 1.2, 2.6, 5.8 at 5, 50, 95 % (Cipongkor 2024 [C]).
_ELONGATION, _ELONGATION_SIGMA = 2.6, 0.479
_FILL = 0.9  # area of an outline over its length times its width
# Mean and standard deviation of the change in dB, VV then VH, by cover and kind [M].
_DEBRIS_ON_FOREST = ((-1.5, 2.5), (-3.5, 2.0))
_BLOCKY_DEBRIS = ((2.5, 2.0), (1.5, 2.0))
_SMOOTH_MUD = ((-4.0, 2.0), (-5.0, 2.0))
_ROCK_SCAR = ((0.0, 2.0), (-2.0, 2.0))


@dataclass(frozen=True)
class Landslides:
    """Slides as polygons in pixel coordinates (column, row) and as rasters.

    polygons (n,) shapely; area (n,) m²; vv, vh (n,) dB, each slide's own change; number (y, x) int32, 0 none, else the
    slide's index + 1; along (y, x) 0 at the crown, 1 at the toe.
    """

    polygons: NDArray[np.object_]
    area: NDArray[np.float64]
    vv: Field
    vh: Field
    number: NDArray[np.int32]
    along: Field


def trigger_landslides(seed: int, relief: Relief, slope: Field, landcover: LandCover, scenario: Scenario) -> Landslides:
    """Release slides on steep ground, clustered, each running down its slope."""
    rng = stream(seed, "landslides")
    shape, pixel = relief.elevation.shape, relief.resolution
    square_km = shape[0] * shape[1] * pixel**2 / 1e6
    count = int(rng.poisson(scenario.slides_per_km2 * square_km))
    rows, columns = _crowns(rng, relief, slope, landcover, scenario, count)
    area = _areas(rng, count, scenario.slide_size)
    ratio = _ELONGATION * np.exp(_ELONGATION_SIGMA * rng.standard_normal(count))
    length = np.sqrt(area * ratio / _FILL)
    smooth = ndimage.gaussian_filter(relief.elevation, 3).astype(np.float64)
    wander = np.radians(15) * rng.standard_normal((count, 200))  # slides run downslope ± 15° [M, D]
    paths, steps = _run_down(smooth, rows.astype(float), columns.astype(float), length / pixel, wander)
    outline = [_outline(rng, paths[i, : steps[i]], area[i] / length[i] / _FILL / pixel) for i in range(count)]
    polygons = np.array([_one_part(p) for p in outline], dtype=object)
    keep = np.array([p is not None and p.area * pixel**2 >= 100 for p in polygons], dtype=bool)
    polygons, rows, columns = polygons[keep], rows[keep], columns[keep]
    crown, toe = paths[keep, 0], paths[keep, np.maximum(steps[keep] - 1, 0)]
    area = shapely.area(polygons) * pixel**2
    number = np.zeros(shape, np.int32)
    if len(polygons):
        number = rasterize(
            zip(polygons, range(1, len(polygons) + 1), strict=True), out_shape=shape, fill=0, dtype="int32"
        )
    vv, vh = _changes(rng, landcover.cover[rows, columns], scenario)
    return Landslides(polygons, area, vv, vh, number, _along(number, crown, toe))


def slide_change(seed: int, slides: Landslides, look: Look) -> tuple[Field, Field]:
    """Change of backscatter in dB that one track sees, VV and VH, (y, x): 0 outside the slides."""
    rng = stream(seed, "slide change")
    shape = slides.number.shape
    inside = slides.number > 0
    index = slides.number - 1
    count = len(slides.area)
    vv, vh = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if not count:
        return vv, vh
    which, along = index[inside], slides.along[inside]
    texture = 1.5 * smooth_field(rng, shape, 1.2)[inside]  # 1 to 2 dB inside [M]
    scar = rng.normal(0, 1.5, count)[which] * (along < 0.35)
    # Facing: bare ground turned to the sensor +1.5 dB, away -1.5, VH half [M]; full effect from 20° of slope.
    facing = 1.5 * np.clip(np.degrees(look.toward[inside]) / 20, -1, 1)
    weak = np.abs(slides.vv) + np.abs(slides.vh) < 1.0
    strength = np.where(weak, 0.3, 1.0)[which]
    edge = _margins(rng, slides, look)[inside]
    vv[inside] = slides.vv[which] + strength * (texture + scar + facing) + edge
    vh[inside] = slides.vh[which] + strength * (0.7 * texture + scar + 0.5 * facing) + 0.7 * edge
    return vv, vh


def _crowns(
    rng: Generator, relief: Relief, slope: Field, landcover: LandCover, scenario: Scenario, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where slides start: slopes of 25 to 45° [M, D], in clusters of about 2 km, away from one side of the area."""
    shape, pixel = relief.elevation.shape, relief.resolution
    y, x = np.indices(shape, dtype=np.float32) / np.float32(max(shape))
    source = rng.uniform(-0.3, 1.3, 2)
    nearness = np.exp(-np.hypot(y - source[0], x - source[1]) / 0.8)
    density = np.exp(scenario.clustering * smooth_field(rng, shape, 900 / pixel)) * nearness
    density *= np.exp(-(((slope - 36) / 8) ** 2)) * (slope > 18)
    density[landcover.cover == Cover.WATER] = 0
    total = np.cumsum(density, dtype=np.float64)
    pick = np.searchsorted(total, rng.uniform(0, total[-1], count))
    rows, columns = np.divmod(pick, shape[1])
    return rows, columns


def _areas(rng: Generator, count: int, factor: float) -> NDArray[np.float64]:
    area = factor * (_A / rng.gamma(_RHO, size=4 * count + 64) + _S)
    area = area[(area > _AREA_LIMITS[0]) & (area < _AREA_LIMITS[1])]
    return area[:count]


@njit(cache=True)
def _run_down(
    z: NDArray[np.float64],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    length: NDArray[np.float64],
    wander: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Paths of steepest descent in pixels: (slide, step, row and column), and the number of steps of each."""
    count, most = wander.shape
    path = np.zeros((count, most, 2))
    steps = np.zeros(count, np.int64)
    for i in range(count):
        r, c, turn = rows[i], columns[i], 0.0
        stride = max(1.0, length[i] / (most - 2))
        for k in range(most):
            path[i, k] = r, c
            steps[i] = k + 1
            if k * stride >= length[i]:
                break
            rr, cc = int(r), int(c)
            if rr < 1 or cc < 1 or rr >= z.shape[0] - 1 or cc >= z.shape[1] - 1:
                break
            down, right = z[rr - 1, cc] - z[rr + 1, cc], z[rr, cc - 1] - z[rr, cc + 1]
            fall = np.hypot(down, right)
            if fall < 0.5:  # runs out on flat ground
                break
            turn = 0.8 * turn + 0.6 * wander[i, k]
            r += stride * (down * np.cos(turn) - right * np.sin(turn)) / fall
            c += stride * (right * np.cos(turn) + down * np.sin(turn)) / fall
    return path, steps


def _outline(rng: Generator, path: NDArray[np.float64], width: float) -> shapely.Polygon:
    """Polygon around a path: round at the crown, widest in the scar, a tapering, ragged tongue. Pixel coordinates."""
    if len(path) < 3:
        return shapely.Point(path[0, 1] + 0.5, path[0, 0] + 0.5).buffer(max(width, 1.0) / 2)
    t = np.linspace(0, 1, len(path))
    profile = np.sqrt(np.clip(1 - (1 - t / 0.12).clip(0) ** 2, 0.05, 1)) * (1.25 - 0.55 * t)
    profile *= np.sqrt(np.clip((1 - t) / 0.08, 0.1, 1))
    ragged = 1 + 0.18 * ndimage.gaussian_filter1d(rng.standard_normal((2, len(path))), 1.5, axis=1) * 2
    forward = np.gradient(path, axis=0)
    forward /= np.hypot(forward[:, 0], forward[:, 1])[:, None] + 1e-9
    side = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    half = (width / 2 * profile)[:, None]
    left = path + side * half * ragged[0][:, None]
    right = path - side * half * ragged[1][:, None]
    ring = np.concatenate([left, right[::-1]])[:, ::-1] + 0.5
    return shapely.Polygon(ring).buffer(0)


def _one_part(polygon: shapely.Geometry) -> shapely.Polygon | None:
    """The largest part: a path that crosses itself falls apart."""
    parts = [p for p in shapely.get_parts(polygon) if p.geom_type == "Polygon" and p.area > 0]
    return max(parts, key=lambda p: p.area) if parts else None


def _along(number: NDArray[np.int32], crown: NDArray[np.float64], toe: NDArray[np.float64]) -> Field:
    along = np.zeros(number.shape, np.float32)
    r, c = np.nonzero(number)
    which = number[r, c] - 1
    axis = toe[which] - crown[which]
    run = (axis**2).sum(1) + 1e-6
    along[r, c] = np.clip(((r - crown[which, 0]) * axis[:, 0] + (c - crown[which, 1]) * axis[:, 1]) / run, 0, 1)
    return along


def _changes(rng: Generator, cover: NDArray[np.uint8], scenario: Scenario) -> tuple[Field, Field]:
    """Each slide's own change in dB by cover, kind, wetness; a quarter to a third barely visible."""
    count = len(cover)
    kind = rng.random(count)
    table = np.empty((count, 2, 2))
    table[:] = _DEBRIS_ON_FOREST
    table[(cover == Cover.FOREST) & (kind < 0.15)] = _SMOOTH_MUD
    table[(cover != Cover.FOREST) & (kind >= 0.4)] = _BLOCKY_DEBRIS
    table[(cover != Cover.FOREST) & (kind < 0.4)] = _SMOOTH_MUD
    table[(cover == Cover.BARE) & (kind < 0.5)] = _ROCK_SCAR
    first, second = rng.standard_normal((2, count))
    vv = table[:, 0, 0] + table[:, 0, 1] * first + 1.5 * scenario.wetness_after
    vh = table[:, 1, 0] + table[:, 1, 1] * (0.7 * first + 0.714 * second) + 1.0 * scenario.wetness_after
    weak = rng.random(count) < scenario.visibility
    quiet = rng.uniform(-0.45, 0.45, (2, count))
    return np.where(weak, quiet[0], vv).astype(np.float32), np.where(weak, quiet[1], vh).astype(np.float32)


def _margins(rng: Generator, slides: Landslides, look: Look) -> Field:
    """Bright and dark rims of 1 to 3 px, ± 4 to 8 dB, on the larger slides, whose edges stand more than 10 m high [M].

    The wall on the far side faces the sensor and is bright, the wall on the near side hides the ground behind it.
    """
    count = len(slides.area)
    strong = np.where((slides.area > 8000) & (rng.random(count) < 0.6), rng.uniform(4, 8, count), 0)
    reach = rng.uniform(1, 3, count)
    inside = slides.number > 0
    depth, nearest = ndimage.distance_transform_edt(inside, return_indices=True)
    rim = np.zeros(inside.shape, np.float32)
    r, c = np.nonzero(inside & (depth <= 3))
    which = slides.number[r, c] - 1
    out_r, out_c = nearest[0][r, c] - r, nearest[1][r, c] - c
    norm = np.hypot(out_r, out_c)
    to_sensor = (out_c * np.sin(look.azimuth) - out_r * np.cos(look.azimuth)) / norm
    rim[r, c] = -strong[which] * to_sensor * (depth[r, c] <= reach[which])
    return rim
