"""The exact mask against a slow judge of our own, and blocks with the ground around them: no cut changes a pixel."""

import itertools
import math
import types
from collections import Counter

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from affine import Affine
from clusters import small_cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from relief import fractal

import sarcube as sc
from sarcube.cube.geometry import surroundings
from sarcube.cube.geometry.surroundings import Depth, map_surrounded
from sarcube.sar import look_scan
from sarcube.sar.layover_shadow import layover_shadow_mask
from sarcube.sar.line_tables import PixelAngles, constant_tables
from sarcube.sar.look_lines import LookLines, orient

PIXEL = 10.0
STALE = 77  # no code of any mask
TRACKS = (("D168", 168, "descending"), ("A044", 44, "ascending"))
LAYERS = ("incidence_angle", "sensor_azimuth", "layover_shadow")


# The kernel against a slow judge.


class _Stale:
    """NumPy whose fresh memory holds what no mask may hold."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype=float):
        values = np.empty(shape, dtype)
        if values.dtype == np.uint8:
            values[...] = STALE
        return values


def _scan(*args, **kwargs):
    """Run `scan` on a result that is full of `STALE` before: what it does not write shows."""
    stale = types.FunctionType(look_scan.scan.__code__, {**look_scan.scan.__globals__, "np": _Stale()})
    stale.__kwdefaults__ = look_scan.scan.__kwdefaults__
    return stale(*args, **kwargs)


def _judge_every_pair(elevation, azimuth, theta, *, turned=None):
    """Codes by comparing each pixel of a look line with each other one: GEOMETRY 3, word by word.

    A line holds, of each column (or row, where the look is closer to north), the pixel nearest to it, and heights
    linear between the two pixels it passes. Also how far the nearest of these comparisons was from a tie, in metres.
    """
    east, south = -math.sin(azimuth), math.cos(azimuth)
    turned = abs(south) > abs(east) if turned is None else turned
    z, angle = (a.T if turned else a for a in (elevation, np.broadcast_to(theta, elevation.shape)))
    shear = east / south if turned else south / east
    length = PIXEL / abs(south if turned else east)
    lanes, steps = z.shape
    order = range(steps) if (south if turned else east) > 0 else range(steps - 1, -1, -1)
    codes, slack = np.full(z.shape, 255, np.uint8), np.full(z.shape, np.inf)
    for line in range(-2 * steps, lanes + 2 * steps):
        points = []
        for n, step in enumerate(order):
            lane = line + math.floor(shear * step + 0.5)
            if not 0 <= lane < lanes:
                continue
            aside = shear * step - math.floor(shear * step + 0.5)
            beside = lane + (1 if aside > 0 else -1)
            height, t = float(z[lane, step]), float(angle[lane, step])
            if 0 <= beside < lanes and not math.isnan(z[beside, step]):
                height += abs(aside) * (float(z[beside, step]) - height)
            if not math.isnan(height) and not math.isnan(t):
                points.append((lane, step, n * length, height, t))
        slants, looks = [], []
        flat_slant = flat_look = 0.0
        for (*_, x, h, t), (*_, before, _, s) in zip(points, points[:1] + points[:-1], strict=True):
            flat_slant += (x - before) * (math.sin(t) + math.sin(s)) / 2
            flat_look += (x - before) * (math.cos(t) + math.cos(s)) / 2
            slants.append(flat_slant - h * math.cos(t))
            looks.append(flat_look + h * math.sin(t))
        for i, (lane, step, *_) in enumerate(points):
            before, beyond = max(slants[:i], default=-np.inf), min(slants[i + 1 :], default=np.inf)
            above = max(looks[:i], default=-np.inf)
            codes[lane, step] = 2 * (slants[i] <= before or slants[i] >= beyond) + (looks[i] <= above)
            slack[lane, step] = min(abs(slants[i] - before), abs(slants[i] - beyond), abs(looks[i] - above))
    return (codes.T, slack.T) if turned else (codes, slack)


AZIMUTHS = st.one_of(
    st.floats(0, 360), st.sampled_from([0, 45, 90, 135, 180, 225, 270, 315]).flatmap(lambda at: st.floats(at, at + 0.5))
)
SIZES = st.sampled_from([1, 2, 3, 15, 16, 17, 33])


@st.composite
def _reliefs(draw, sizes=SIZES):
    shape = draw(sizes), draw(sizes)
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    relief = draw(st.sampled_from([100.0, 400.0]))
    z = fractal(seed, (64, 64), relief=relief, decay=1.3)[: shape[0], : shape[1]].copy()
    z = z.astype(draw(st.sampled_from([np.float32, np.float64])))
    holes = draw(st.sampled_from(["none", "some", "column", "all but one"]))
    if holes == "some":
        z[rng.random(shape) < 0.2] = np.nan
    elif holes == "column":
        z[:, rng.integers(shape[1])] = np.nan
    elif holes == "all but one":
        kept = z[-1, 0]
        z[:] = np.nan
        z[-1, 0] = kept
    return z


def _lines_and_tables(shape, azimuth, theta):
    turned, shear, step, backwards = orient(azimuth)
    steps = shape[0 if turned else 1]
    tables = constant_tables(theta, length=step * PIXEL, steps=steps, backwards=backwards)
    return LookLines(turned, backwards, shear), tables, step * PIXEL


@settings(max_examples=25)
@given(_reliefs(), AZIMUTHS, st.floats(20, 60), st.integers(0, 100), st.sampled_from([1, 2]))
def test_kernel_is_what_comparing_every_pair_gives(z, azimuth, theta, seed, threads):
    azimuth, theta = math.radians(azimuth), math.radians(theta)
    lines, tables, length = _lines_and_tables(z.shape, azimuth, theta)
    expected, slack = _judge_every_pair(z, azimuth, theta)
    clear_cut = slack > 1e-6
    mask = _scan(z, lines, tables, threads=threads)
    assert not (mask == STALE).any()
    np.testing.assert_array_equal(mask == 255, np.isnan(z))
    np.testing.assert_array_equal(mask[clear_cut], expected[clear_cut])
    rng = np.random.default_rng(seed)
    angles = theta + rng.normal(0, 0.02, z.shape)
    angles[rng.random(z.shape) < 0.05] = np.nan
    expected, slack = _judge_every_pair(z, azimuth, angles)
    clear_cut = slack > 1e-6
    mask = _scan(z, lines, PixelAngles(np.sin(angles), np.cos(angles), length), threads=threads)
    assert not (mask == STALE).any()
    np.testing.assert_array_equal(mask == 255, np.isnan(z) | np.isnan(angles))
    np.testing.assert_array_equal(mask[clear_cut], expected[clear_cut])


@settings(max_examples=40)
@given(_reliefs(st.sampled_from([1, 5, 17, 60, 64])), AZIMUTHS, st.data())
def test_every_pixel_of_a_core_is_written_and_is_that_of_the_whole(z, azimuth, data):
    lines, tables, _ = _lines_and_tables(z.shape, math.radians(azimuth), math.radians(39))
    first = data.draw(st.tuples(st.integers(0, 5000), st.integers(0, 5000)))
    (r0, r1), (c0, c1) = (
        sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in z.shape
    )
    core = slice(r0, r1), slice(c0, c1)
    reach = data.draw(st.tuples(st.integers(0, 9), st.integers(0, 70)))
    whole = _scan(z, lines, tables, first=first)
    part = _scan(z, lines, tables, first=first, core=core)
    near = _scan(z, lines, tables, first=first, core=core, reach=reach)
    np.testing.assert_array_equal(part, whole[core])
    np.testing.assert_array_equal(near == 255, np.isnan(z[core]))
    # Less ground can only hide less.
    assert not (near & ~whole[core])[near != 255].any()


@pytest.mark.parametrize("method", ["exact", "local"])
def test_where_no_direction_is_known_nothing_is_clear(method):
    z = fractal(3, (20, 30), relief=50)
    azimuth = np.full(z.shape, 100.0)
    azimuth[4, 5:9] = np.nan
    mask = layover_shadow_mask(z, resolution=PIXEL, incidence_angle=39.0, sensor_azimuth=azimuth, method=method)
    if method == "local":
        np.testing.assert_array_equal(mask == 255, np.isnan(azimuth))
    with pytest.raises(sc.SarcubeError, match="sensor_azimuth"):
        layover_shadow_mask(z, resolution=PIXEL, incidence_angle=39.0, sensor_azimuth=math.nan, method=method)


# Blocks with their surroundings.


def _sums_around(around, *, first, core, depth, shape):
    """A judge of which every pixel hangs on all its surroundings, and on its place in the whole."""
    rows, columns = core
    known = np.nan_to_num(around).astype(np.int64)
    result = np.empty((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    for i, j in np.ndindex(result.shape):
        row, column = rows.start + i, columns.start + j
        low, left = row - depth.top, column - depth.left
        # Surroundings end at the layer's edge and nowhere else.
        assert low >= 0 or first[0] == 0
        assert left >= 0 or first[1] == 0
        assert row + depth.bottom < around.shape[0] or first[0] + around.shape[0] == shape[0]
        assert column + depth.right < around.shape[1] or first[1] + around.shape[1] == shape[1]
        near = known[max(low, 0) : row + depth.bottom + 1, max(left, 0) : column + depth.right + 1]
        result[i, j] = (near.sum() + 7 * (first[0] + row) + 13 * (first[1] + column)) % 251
    return result


def _cuts(size):
    edges = st.sets(st.integers(1, max(size - 1, 1)), max_size=min(size - 1, 8))
    return edges.map(lambda inner: tuple(int(b - a) for a, b in itertools.pairwise(sorted(inner | {0, size}))))


@st.composite
def _layers(draw):
    shape = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 1000, shape)
    values = values.astype(draw(st.sampled_from([np.float32, np.float64])))
    chunks = tuple(draw(_cuts(size)) if size > 1 else (1,) for size in shape)
    return values, chunks


@given(_layers(), st.tuples(*[st.integers(0, 30)] * 4), st.tuples(*[st.integers(1, 40)] * 2), st.randoms())
def test_blocks_with_surroundings_are_those_of_the_whole_in_any_order(layer, sides, joined, random):
    values, chunks = layer
    depth = Depth(*sides)
    settings = {"depth": depth, "shape": values.shape}
    whole = _sums_around(values, first=(0, 0), core=tuple(slice(0, n) for n in values.shape), **settings)

    def judge(around, *, first, core):
        return _sums_around(around, first=first, core=core, **settings)

    lazy = map_surrounded(judge, da.from_array(values, chunks=chunks), depth=depth, joined=joined)
    assert lazy.chunks == chunks
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), whole)
    places = list(np.ndindex(lazy.numblocks))
    random.shuffle(places)
    edges = [np.cumsum((0, *sizes)) for sizes in chunks]
    for i, j in places[:6]:
        part = whole[edges[0][i] : edges[0][i + 1], edges[1][j] : edges[1][j + 1]]
        np.testing.assert_array_equal(lazy.blocks[i, j].compute(scheduler="sync"), part)


def test_each_chunk_is_computed_once_and_each_joined_block_judged_once():
    made, judged = Counter(), Counter()

    def make(block_id):
        made[block_id] += 1
        return np.zeros((4, 5), np.float32)

    def judge(around, *, first, core):
        judged[first[0] + core[0].start, first[1] + core[1].start] += 1
        return np.zeros((core[0].stop - core[0].start, core[1].stop - core[1].start), np.uint8)

    layer = da.map_blocks(make, chunks=((4,) * 6, (5,) * 7), dtype=np.float32, meta=np.empty((0, 0), np.float32))
    lazy = map_surrounded(judge, layer, depth=Depth(9, 1, 30, 0), joined=(8, 10))
    assert not made
    lazy.compute(scheduler="sync")
    assert made == {(i, j): 1 for i in range(6) for j in range(7)}
    assert judged == {(i, j): 1 for i in range(0, 24, 8) for j in range(0, 35, 10)}


def test_masks_do_not_lie_in_the_room_that_the_next_block_takes():
    cube = _cube(GRIDS["north"], (20, 20))
    lazy = sc.add_geometry(cube).layover_shadow.data
    first = lazy[0].blocks[0, 0].compute(scheduler="sync")
    kept = first.copy()
    assert not np.shares_memory(first, surroundings._local.room)
    surroundings._local.room[:] = STALE
    again = sc.add_geometry(cube).layover_shadow.data[0].compute(scheduler="sync")
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(again[:20, :20], kept)


# The public function, whatever the cube is cut into.


def _grid(crs, left, top, pixel, shape=(75, 84)):
    return GeoBox(shape, Affine(pixel, 0, left, 0, -pixel, top), crs)


GRIDS = {
    "north": _grid("EPSG:32633", 500_000, 5_210_000, PIXEL),
    "row": _grid("EPSG:32633", 500_000, 5_210_000, PIXEL, (1, 90)),
    "column": _grid("EPSG:32633", 500_000, 5_210_000, PIXEL, (90, 1)),
    "pixel": _grid("EPSG:32633", 500_000, 5_210_000, PIXEL, (1, 1)),
    "long": _grid("EPSG:32633", 480_000, 5_210_000, PIXEL, (3, 900)),
    "degrees": _grid("EPSG:4326", 15.0, 47.0, 1e-4),
}


def _heights(shape, seed=1, relief=110.0):
    size = max(*shape, 64)
    return fractal(seed, (size, size), relief=relief, decay=1.6)[: shape[0], : shape[1]].copy()


def _cube(grid, chunks, elevation=None, *, tracks=TRACKS, in_memory=False, **attrs):
    elevation = _heights(grid.shape) if elevation is None else elevation
    coords = {
        name if name == "spatial_ref" else ("y", "x")[name in ("x", "longitude")]: (
            coord if name == "spatial_ref" else xr.DataArray(coord.values, dims=("y", "x")[name in ("x", "longitude")])
        )
        for name, coord in xr_coords(grid).items()
    }
    ones = da.ones((len(tracks), *grid.shape), chunks=(1, *chunks), dtype=np.float32)
    names, orbits, states = zip(*tracks, strict=True)
    return xr.Dataset(
        {
            "vv": (("time", "y", "x"), ones, {"units": "1", "polarization": "VV"}),
            "elevation": (("y", "x"), elevation if in_memory else da.from_array(elevation, chunks=chunks), attrs),
        },
        coords={
            **coords,
            "time": pd.date_range("2021-04-01", periods=len(tracks))[::-1],
            "scene_track": ("time", np.array(names, object)),
            "relative_orbit": ("time", np.array(orbits, np.int16)),
            "orbit_state": ("time", np.array(states, object)),
        },
    )


def _nothing_may_compute(*args, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def _lazily(cube, **settings):
    with dask.config.set(scheduler=_nothing_may_compute):
        return sc.add_geometry(cube, **settings)


def _assert_same_bits(cubes, names=LAYERS):
    whole, *others = cubes
    for other, name in itertools.product(others, names):
        assert other[name].values.tobytes() == whole[name].values.tobytes(), name


def _cuts_of(shape):
    rows, columns = shape
    odd = (max(rows // 3, 1), max(columns // 4, 1))
    return [shape, odd, (rows, max(columns // 20, 1))]


@pytest.mark.parametrize("settings", [{}, {"method": "local"}, {"split": True, "buffer": 61.0}], ids=str)
@pytest.mark.parametrize("grid", GRIDS)
def test_no_cut_changes_a_pixel(grid, settings):
    grid = GRIDS[grid]
    z = _heights(grid.shape)
    if min(z.shape) > 50:
        z[20:50, 15:40] = np.nan  # more than a chunk
        z[:, 60] = np.nan
    cubes = [_lazily(_cube(grid, cut, z), **settings).compute() for cut in _cuts_of(grid.shape)]
    cubes.append(_lazily(_cube(grid, grid.shape, z, in_memory=True), **settings).compute())
    cubes.append(_lazily(_cube(grid, _cuts_of(grid.shape)[1], z), max_relief=1e6, **settings).compute())
    _assert_same_bits(cubes, (*LAYERS, *["distortion_parts"] * ("split" in settings)))
    assert ((cubes[0].layover_shadow.values == 255) == np.isnan(z)).all() or "method" in settings
    assert set(np.unique(cubes[0].layover_shadow)) <= {0, 1, 2, 3, 255}


@pytest.mark.parametrize(
    ("left", "top", "tracks"),
    [
        (-20.0, 75.0, (("A", 1, "ascending"), ("D", 24, "descending"))),
        (-70.0, -33.0, (("A", 18, "ascending"), ("D", 83, "descending"))),
    ],
)
def test_no_cut_changes_a_pixel_far_north_and_far_south(left, top, tracks):
    grid = _grid("EPSG:4326", left, top, 1e-4, (60, 70))
    cubes = [_lazily(_cube(grid, cut, tracks=tracks), split=True, buffer=25.0).compute() for cut in ((60, 70), (13, 9))]
    _assert_same_bits(cubes, (*LAYERS, "distortion_parts"))
    assert len(np.unique(cubes[0].layover_shadow)) > 2


def test_ground_without_heights_is_no_data():
    z = np.full((40, 30), np.nan, np.float32)
    for chunks in ((40, 30), (7, 9)):
        cube = sc.add_geometry(_cube(_grid("EPSG:32633", 5e5, 5.21e6, PIXEL, z.shape), chunks, z), split=True).compute()
        assert (cube.layover_shadow == 255).all()
        assert (cube.distortion_parts == 255).all()
        assert cube.incidence_angle.isnull().all()


@pytest.mark.parametrize("dtype", [np.float64, np.int16, ">f4"])
@pytest.mark.parametrize("method", ["exact", "local"])
def test_heights_of_any_type_are_judged_as_numbers(dtype, method):
    z = np.round(_heights((75, 84)))
    plain, other = (
        sc.add_geometry(_cube(GRIDS["north"], (30, 84), values), method=method, max_relief=1e5).compute()
        for values in (z, z.astype(dtype))
    )
    # In float32 slopes and angles are rounded.
    assert (plain.layover_shadow.values != other.layover_shadow.values).mean() < 1e-3
    assert (plain.layover_shadow > 0).mean() > 0.01


@pytest.fixture
def dem(tmp_path):
    """Write a DEM with a hole and a posting in metres; it begins off the cube's grid."""

    def write(posting):
        size = int(1500 / posting)
        z = fractal(5, (size, size), relief=220, decay=1.6)
        z[size // 3 : size // 2, size // 4 : size // 3] = -9999
        affine = Affine(posting, 0, 500_000 - 303, 0, -posting, 5_210_000 + 297)
        with rasterio.open(
            tmp_path / "dem.tif",
            "w",
            driver="GTiff",
            width=size,
            height=size,
            count=1,
            dtype="float32",
            crs="EPSG:32633",
            transform=affine,
            nodata=-9999,
        ) as target:
            target.write(z, 1)
        return tmp_path / "dem.tif"

    return write


@pytest.mark.parametrize("posting", [10 / 3, 70.0])
@pytest.mark.parametrize("method", ["exact", "local"])
def test_no_cut_changes_a_pixel_at_the_dems_own_sampling(dem, posting, method):
    path = dem(posting)
    cubes = [
        _lazily(_cube(GRIDS["north"], cut), dem=path, method=method, split=True, buffer=37.0).compute()
        for cut in ((75, 84), (20, 11))
    ]
    _assert_same_bits(cubes, (*LAYERS, "distortion_parts"))
    assert len(np.unique(cubes[0].distortion_parts)) > 2


def test_a_crop_is_judged_as_a_cube_of_its_own(dem):
    cube = _cube(GRIDS["north"], (30, 25)).drop_vars("elevation")
    cube = sc.add_terrain(cube, dem(30.0))
    window = {"y": slice(11, 70), "x": slice(9, 80)}
    lazy = sc.add_geometry(cube.isel(window)).compute()
    in_memory = sc.add_geometry(cube.compute().isel(window).chunk(y=20, x=30)).compute()
    _assert_same_bits([lazy, in_memory])
    np.testing.assert_allclose(lazy.incidence_angle, sc.add_geometry(cube).incidence_angle.isel(window), atol=1e-4)


def test_a_stored_cube_and_a_cluster_give_the_same_bits(dem, tmp_path):
    cube = sc.add_terrain(_cube(GRIDS["north"], (30, 25)).drop_vars("elevation"), dem(30.0))
    expected = sc.add_geometry(cube, split=True, buffer=15.0).compute(scheduler="threads")
    reopened = sc.open_cube(sc.write_cube(cube, tmp_path / "cube.zarr"))
    lazy = _lazily(reopened, split=True, buffer=15.0)
    with small_cluster():
        found = lazy.compute()
    for track in ("A044", "D168"):
        _assert_same_bits([expected.sel(track=track), found.sel(track=track)], (*LAYERS, "distortion_parts"))
    back = sc.open_cube(sc.write_cube(lazy, tmp_path / "masks.zarr"))
    _assert_same_bits([expected, back], (*LAYERS, "distortion_parts"))


@pytest.mark.parametrize("azimuth", [318.0, 228.0, 132.0, 42.0])
@pytest.mark.parametrize("turned", [False, True])
def test_lines_of_a_band_may_drift_more_than_a_lane_a_step(azimuth, turned):
    """Where the look turns over a grid near the diagonal, the direction of one of its bands lies beyond it."""
    azimuth = math.radians(azimuth)
    east, south = -math.sin(azimuth), math.cos(azimuth)
    z = fractal(4, (90, 150), relief=150, decay=1.3)
    shear, along = (east / south, south) if turned else (south / east, east)
    length, backwards = PIXEL / abs(along), along < 0
    tables = constant_tables(0.7, length=length, steps=z.shape[0 if turned else 1], backwards=backwards)
    mask = _scan(z, LookLines(turned, backwards, shear), tables)
    expected, slack = _judge_every_pair(z, azimuth, 0.7, turned=turned)
    np.testing.assert_array_equal(mask[slack > 1e-6], expected[slack > 1e-6])
