"""Mountain relief with ridges, valleys and rivers, carved by a stream-power law."""

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from sarcube.synthetic.fields import enlarge, smooth_field
from sarcube.synthetic.streams import stream

Field = NDArray[np.float32]

# Cells of the carving grid, metres; detail below comes from a fractal.
CARVING = 40
_ERODIBILITY_EXPONENT = 0.45  # m of stream power with n = 1; m/n is 0.35 to 0.6 in rivers (Whipple & Tucker 1999) [D]
_STEPS = 120


@dataclass(frozen=True)
class Relief:
    """A landscape on square pixels, rows north to south.

    elevation (y, x) metres; above_river (y, x) metres above the stream that drains the pixel; river (y, x) bool, open
    channel; channel (y, x) metres from the nearest channel's axis in units of that channel's width (inf far away).
    """

    elevation: Field
    above_river: Field
    river: NDArray[np.bool_]
    channel: Field
    resolution: float


def carve_relief(seed: int, shape: tuple[int, int], *, resolution: float, steepness: float) -> Relief:
    """Carve a landscape of the given `steepness`, the slope in degrees that half of its hillsides exceed.

    Linear implicit stream-power erosion (Braun & Willett 2013, Geomorphology 180) of a rough surface under
    uneven uplift, talus at 42 degrees, valley floors filled, a fractal detail of a few metres below 40 m.
    """
    rng = stream(seed, "relief")
    factor = int(CARVING / resolution)
    margin = 40  # base level lies outside what is kept
    rows, columns = (-(-n // factor) + 2 * margin + 4 for n in shape)
    # Rivers leave over all four edges, and wind there through what was rough before.
    ground = 4.0 * smooth_field(rng, (rows, columns), 70) + 2.0 * smooth_field(rng, (rows, columns), 14)
    ground += rng.standard_normal(ground.shape, dtype=np.float32) * 0.2
    uplift = np.clip(1 + 0.25 * smooth_field(rng, (rows, columns), 60), 0.3, None)
    rough = rng.exponential(2e-3, (rows, columns))
    z, receiver, area = _erode(ground.astype(float), uplift.astype(float), rough, _ERODIBILITY_EXPONENT, _STEPS)

    z *= _height_scale(z, steepness)
    z = _settle(z, np.tan(np.radians(42.0)))
    area_km2 = area * (CARVING / 1000) ** 2
    is_channel = area_km2 > 1.5
    base = _drained_to(z, receiver, area, is_channel)
    above = z - base
    floor = np.clip(4.0 * np.sqrt(area_km2.clip(0.2, 60.0)), 2.0, 22.0)
    floor = ndimage.gaussian_filter(ndimage.maximum_filter(np.where(is_channel, floor, 2.0), 9), 3)
    # Below the fill the ground is nearly flat; above it the hillside goes on.
    filled = np.where(above < floor, 0.06 * above, 0.06 * floor + (above - floor))
    z = base + filled

    keep = (slice(margin, -margin), slice(margin, -margin))
    elevation = enlarge(z[keep].astype(np.float32), factor, shape)
    above_river = np.maximum(enlarge(filled[keep].astype(np.float32), factor, shape), 0)
    hillside = np.clip(above_river / 15, 0, 1)
    for scale, height in ((2.0, 0.9), (5.0, 1.6), (12.0, 3.0)):
        elevation += hillside * height * smooth_field(rng, shape, scale)
    width, axis = _channels(receiver, area_km2, is_channel, shape, factor, margin, resolution)
    distance, nearest = ndimage.distance_transform_edt(~axis, sampling=resolution, return_indices=True)
    channel = np.full(shape, np.inf, np.float32)
    if axis.any():
        channel = (distance / width[tuple(nearest)]).astype(np.float32)
    river = (channel < 0.5) & (above_river < 12)
    return Relief(elevation - elevation.min() + 20, above_river, river, channel, resolution)


def _height_scale(z: NDArray[np.float64], steepness: float) -> float:
    south, east = np.gradient(z, CARVING)
    return float(np.tan(np.radians(steepness)) / np.median(np.hypot(south, east)))


@njit(cache=True)
def _receivers(z: NDArray[np.float64], receiver: NDArray[np.int64], length: NDArray[np.float64]) -> None:
    rows, columns = z.shape
    for r in range(rows):
        for c in range(columns):
            i = r * columns + c
            receiver[i], length[i] = i, 1.0
            if r == 0 or c == 0 or r == rows - 1 or c == columns - 1:  # base level
                continue
            steepest = 0.0
            for dr in range(-1, 2):
                for dc in range(-1, 2):
                    if dr == 0 and dc == 0:
                        continue
                    far = np.sqrt(float(dr * dr + dc * dc))
                    fall = (z[r, c] - z[r + dr, c + dc]) / far
                    if fall > steepest:
                        steepest, receiver[i], length[i] = fall, i + dr * columns + dc, far


@njit(cache=True)
def _fill(z: NDArray[np.float64], rough: NDArray[np.float64]) -> None:
    """Raise hollows until they drain outward (priority flood, Barnes et al. 2014), `rough`, so that rivers wind."""
    rows, columns = z.shape
    seen = np.zeros(z.shape, np.bool_)
    heap = [(z[0, 0], 0, 0)]
    seen[0, 0] = True
    for r in range(rows):
        for c in range(columns):
            if (r == 0 or c == 0 or r == rows - 1 or c == columns - 1) and not seen[r, c]:
                heap.append((z[r, c], r, c))
                seen[r, c] = True
    heapq.heapify(heap)
    while heap:
        level, r, c = heapq.heappop(heap)
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                rr, cc = r + dr, c + dc
                if rr < 0 or cc < 0 or rr >= rows or cc >= columns or seen[rr, cc]:
                    continue
                seen[rr, cc] = True
                z[rr, cc] = max(z[rr, cc], level + rough[rr, cc])
                heapq.heappush(heap, (z[rr, cc], rr, cc))


@njit(cache=True)
def _upstream_order(receiver: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nodes ordered so that each comes after its receiver."""
    n = receiver.size
    donors = np.zeros(n + 1, np.int64)
    for i in range(n):
        donors[receiver[i] + 1] += 1
    for i in range(n):
        donors[i + 1] += donors[i]
    slot = donors[:-1].copy()
    donor = np.empty(n, np.int64)
    for i in range(n):
        donor[slot[receiver[i]]] = i
        slot[receiver[i]] += 1
    order = np.empty(n, np.int64)
    stack = np.empty(n, np.int64)
    count = 0
    for root in range(n):
        if receiver[root] != root:
            continue
        top = 0
        stack[0] = root
        while top >= 0:
            i = stack[top]
            top -= 1
            order[count] = i
            count += 1
            for k in range(donors[i], donors[i + 1]):
                if donor[k] != i:
                    top += 1
                    stack[top] = donor[k]
    return order


@njit(cache=True)
def _erode(
    z: NDArray[np.float64], uplift: NDArray[np.float64], rough: NDArray[np.float64], exponent: float, steps: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Heights after uplift and erosion, each node's receiver, and its drainage area in cells."""
    rows, columns = z.shape
    n = rows * columns
    receiver = np.empty(n, np.int64)
    length = np.empty(n)
    area = np.empty(n)
    height = z.copy()
    flat = height.reshape(n)
    lift = uplift.reshape(n)
    for step in range(steps + 1):
        if step % 20 == 0 or step == 5:
            _fill(height, rough)
        _receivers(height, receiver, length)
        order = _upstream_order(receiver)
        area[:] = 1.0
        for k in range(n - 1, -1, -1):
            i = order[k]
            if receiver[i] != i:
                area[receiver[i]] += area[i]
        if step == steps:
            break
        for k in range(n):
            i = order[k]
            r, c = i // columns, i % columns
            if r == 0 or c == 0 or r == rows - 1 or c == columns - 1:
                continue
            flat[i] += lift[i]
            j = receiver[i]
            if j != i:
                factor = 0.35 * area[i] ** exponent / length[i]
                flat[i] = (flat[i] + factor * flat[j]) / (1 + factor)
        _creep(height, 0.2)
    return height, receiver, area.reshape(rows, columns)


@njit(cache=True)
def _creep(z: NDArray[np.float64], rate: float) -> None:
    """One explicit step of hillslope diffusion, base level kept."""
    rows, columns = z.shape
    before = z.copy()
    for r in range(1, rows - 1):
        for c in range(1, columns - 1):
            around = before[r - 1, c] + before[r + 1, c] + before[r, c - 1] + before[r, c + 1]
            z[r, c] += rate * (around - 4 * before[r, c])


@njit(cache=True)
def _settle(z: NDArray[np.float64], steepest: float) -> NDArray[np.float64]:
    """Cut what stands steeper than the talus over its lowest neighbour, from low to high."""
    rows, columns = z.shape
    result = z.copy()
    for k in np.argsort(z.ravel()):
        r, c = k // columns, k % columns
        for dr in range(-1, 2):
            for dc in range(-1, 2):
                rr, cc = r + dr, c + dc
                if (dr == 0 and dc == 0) or rr < 0 or cc < 0 or rr >= rows or cc >= columns:
                    continue
                limit = result[rr, cc] + steepest * CARVING * np.sqrt(float(dr * dr + dc * dc))
                if result[r, c] > limit:
                    result[r, c] = limit
    return result


@njit(cache=True)
def _drained_to(
    z: NDArray[np.float64], receiver: NDArray[np.int64], area: NDArray[np.float64], channel: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Height of the channel node that each node drains to."""
    base = z.copy().ravel()
    wet = channel.ravel()
    for i in _upstream_order(receiver):
        if not wet[i] and receiver[i] != i:
            base[i] = base[receiver[i]]
    return np.minimum(base, z.ravel()).reshape(z.shape)


def _channels(
    receiver: NDArray[np.int64],
    area_km2: NDArray[np.float64],
    is_channel: NDArray[np.bool_],
    shape: tuple[int, int],
    factor: int,
    margin: int,
    resolution: float,
) -> tuple[Field, NDArray[np.bool_]]:
    """Width in metres on the axes of the channels, and where the axes run, on the fine grid."""
    columns = is_channel.shape[1]
    node = np.flatnonzero(is_channel.ravel() & (receiver != np.arange(receiver.size)))
    row, column = np.divmod(node, columns)
    to_row, to_column = np.divmod(receiver[node], columns)
    width = np.full(shape, resolution, np.float32)
    axis = np.zeros(shape, bool)
    # Hydraulic geometry: width grows with the root of discharge (Leopold & Maddock 1953) [D]; 6 m at 1 km² [M].
    metres = 6.0 * np.sqrt(area_km2.ravel()[node])
    for t in np.linspace(0, 1, 2 * factor, endpoint=False):
        r = ((row + t * (to_row - row) - margin + 0.5) * factor).astype(int)
        c = ((column + t * (to_column - column) - margin + 0.5) * factor).astype(int)
        inside = (r >= 0) & (c >= 0) & (r < shape[0]) & (c < shape[1])
        width[r[inside], c[inside]] = metres[inside]
        axis[r[inside], c[inside]] = True
    return width, axis
