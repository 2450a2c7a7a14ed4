import os
import subprocess
import sys
import warnings

import dask
import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarcube.change import nanmedian, valid_count
from sarcube.change.network import median_network
from sarcube.change.planes import _SERIAL_VALUES
from sarcube.errors import InputError

# Rows of every width, each at the end of a page before one that may not be touched; the dates' rows as well.
GUARDED = """
import ctypes, mmap, warnings
import numpy as np
from sarcube.change import nanmean, nanmedian, nanpercentile

PAGE = mmap.PAGESIZE
random = np.random.default_rng(0)
dates = 40
memory = mmap.mmap(-1, 2 * dates * PAGE)
pages = np.frombuffer(memory, np.uint8).reshape(dates, 2, PAGE)
for date in range(dates):
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(pages[date, 1].ctypes.data), PAGE, 0) == 0
for dtype in (np.float32, np.float64):
    for width in [*range(1, 70), 200, 333]:
        first = PAGE - width * np.dtype(dtype).itemsize
        rows = np.lib.stride_tricks.as_strided(
            pages[0, 0, first:].view(dtype), (dates, 1, width), (2 * PAGE, PAGE, np.dtype(dtype).itemsize)
        )
        for date in range(dates):
            rows[date] = random.random((1, width))
        for count in (1, 5, 40):
            expected = np.median(np.stack([rows[t] for t in range(count)]), axis=0)
            assert (nanmedian(rows[:count]) == expected).all()
            nanmean(rows[:count]), nanpercentile(rows[:count], 50)
print("read")
"""


def reference(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=0)


def speckle(shape, dtype="float32", missing=0.3, seed=0):
    random = np.random.default_rng(seed)
    values = random.gamma(4.4, 0.02, shape).astype(dtype)
    values[random.random(shape) < missing] = np.nan
    return values


def cubes(dtype):
    width = np.dtype(dtype).itemsize * 8
    # -0.0 and 0.0 are equal, so that which of the two a median returns means nothing.
    numbers = st.floats(-1e6, 1e6, width=width).map(lambda v: v + 0.0) | st.just(np.nan)
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=numbers)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dates", [1, 2, 3, 4, 5, 8, 13, 30, 64, 199, 200])
def test_is_numpys_bit_for_bit(dates, dtype):
    for missing in (0.0, 0.2, 0.9):
        values = speckle((dates, 3, 131), dtype, missing)
        result = nanmedian(values)
        assert result.dtype == dtype
        np.testing.assert_array_equal(result, reference(values))


@given(cubes("float32") | cubes("float64"))
def test_is_numpys_on_any_values(values):
    np.testing.assert_array_equal(nanmedian(values), reference(values))


@given(cubes("float32"), st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_of_dates_and_empty_dates_change_nothing(values, random, empty):
    order = list(range(len(values) + empty))
    random.shuffle(order)
    longer = np.concatenate([values, np.full((empty, *values.shape[1:]), np.nan, "float32")])[order]
    np.testing.assert_array_equal(nanmedian(longer), nanmedian(values))
    np.testing.assert_array_equal(valid_count(longer), valid_count(values))


@pytest.mark.parametrize("dates", [*range(1, 41), 127, 128, 129, 200])
def test_the_network_puts_the_middle_into_its_place(dates):
    # 0-1 principle (Knuth 5.3.4): a network that places every 0-1 input places every input. Any number of ones that
    # decides the middle will do; the ones' places are drawn at random.
    random = np.random.default_rng(dates)
    ones = np.arange(dates)[:, None] < np.repeat(np.arange(dates + 1), 12)
    values = random.permuted(ones.astype("float32"), axis=0)
    ordered = values.copy()
    for i, j in median_network(dates):
        ordered[[i, j]] = np.minimum(ordered[i], ordered[j]), np.maximum(ordered[i], ordered[j])
    middle = slice(max(dates // 2 - 1, 0), dates // 2 + 1)
    np.testing.assert_array_equal(ordered[middle], np.sort(values, axis=0)[middle])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dates", [2, 5, 32, 33, 40])
def test_rows_of_every_width(dates, dtype):
    # In the registers up to 32 dates, through a buffer above; widths that are and are not multiples of the lanes.
    values = speckle((dates, 2, 700), dtype)
    expected = reference(values)
    for width in [*range(1, 70), 511, 512, 513, 527, 528, 529, 640, 699]:
        narrow = np.ascontiguousarray(values[:, :, :width])
        np.testing.assert_array_equal(nanmedian(narrow), expected[:, :width])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_begin_anywhere_in_a_vector(dtype):
    # Dates that lie alike in memory and, by the odd width, dates and rows that do not.
    for whole in (speckle((5, 3, 640), dtype), speckle((5, 3, 641), dtype)):
        expected = reference(whole)
        for first in range(18):
            for last in (first + 1, first + 17, 600, whole.shape[2]):
                np.testing.assert_array_equal(nanmedian(whole[:, :, first:last]), expected[:, first:last])


@given(
    hnp.arrays(
        "float32", st.tuples(st.integers(1, 40), st.just(2), st.integers(1, 40)), elements=st.floats(0, 1e3, width=32)
    )
)
def test_the_median_of_db_is_a_median_of_logarithms(values):
    result = nanmedian(values, domain="db")
    power = np.where(values > 0, values, np.nan).astype("float64")
    expected = 10 ** reference(np.log10(power))
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    lazy = nanmedian(da.from_array(values, chunks=(3, 1, 7)), domain="db")
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), result)


def test_a_power_without_db_is_missing():
    values = np.array([0.5, np.inf, 0.0, -32768.0, np.nan], "float32").reshape(5, 1, 1)
    assert nanmedian(values, domain="db")[0, 0] == 0.5
    with pytest.raises(InputError, match="decibel"):
        nanmedian(values, domain="decibel")


def test_infinite_values_are_values():
    values = np.array([np.inf, np.inf, 1.0, np.nan, -np.inf], "float32").reshape(5, 1, 1)
    assert nanmedian(values[:3])[0, 0] == np.inf
    assert nanmedian(values[[0, 2, 3, 4]])[0, 0] == 1.0


def test_all_missing_is_nan_without_a_warning():
    values = np.full((4, 2, 3), np.nan, "float32")
    assert np.isnan(nanmedian(values)).all()
    assert (valid_count(values) == 0).all()


def test_counts_valid_dates():
    values = speckle((200, 5, 17))
    result = valid_count(values)
    assert result.dtype == np.uint16
    np.testing.assert_array_equal(result, np.isfinite(values).sum(axis=0))


def test_threads_do_not_change_the_result():
    values = speckle((5, 1 + _SERIAL_VALUES // 5 // 512, 517))
    assert values.size >= _SERIAL_VALUES
    np.testing.assert_array_equal(nanmedian(values), reference(values))
    np.testing.assert_array_equal(valid_count(values), np.isfinite(values).sum(axis=0))


@pytest.mark.parametrize("width", [1, 5, 15, 16, 40])
def test_the_order_in_memory_does_not_matter(width):
    values = speckle((3, 4, width))
    np.testing.assert_array_equal(nanmedian(np.asfortranarray(values)), reference(values))


def test_masked_arrays_are_refused():
    with pytest.raises(InputError, match="filled"):
        nanmedian(np.ma.masked_greater(np.ones((3, 2, 2), "float32"), 0.5))


def test_nothing_beside_a_row_is_read():
    # Rows end where memory does: the page behind them may not be read. A fault ends the process, so it is another one.
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "read"


@pytest.mark.parametrize("view", [np.s_[::2], np.s_[:, ::3], np.s_[:, :, ::2], np.s_[::-1, 1:, 5:-1]])
def test_views_are_as_good_as_copies(view):
    values = speckle((9, 12, 70))[view]
    before = values.copy()
    np.testing.assert_array_equal(nanmedian(values), reference(values))
    np.testing.assert_array_equal(values, before)


def test_read_only_arrays_are_read():
    values = speckle((5, 4, 30))
    values.setflags(write=False)
    np.testing.assert_array_equal(nanmedian(values), reference(values))


@pytest.mark.parametrize("chunks", [(7, 13, 17), (1, 5, 40), ((2, 4, 1), (3, 10), (40,)), (-1, 13, 3)])
@pytest.mark.parametrize("function", [nanmedian, valid_count])
def test_dask_is_numpy_and_lazy(function, chunks):
    values = speckle((7, 13, 40))
    lazy = da.from_array(values, chunks=chunks)

    def refuse(*args, **kwargs):
        raise AssertionError("computed while the graph was built")

    with dask.config.set(scheduler=refuse):
        result = function(lazy)
    assert isinstance(result, da.Array)
    assert result.chunks == lazy.chunks[1:]
    expected = function(values)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.compute(scheduler="sync"), expected)
    np.testing.assert_array_equal(result.compute(scheduler="threads", num_workers=os.cpu_count()), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((3, 4), "float32"), r"\(3, 4\)"),
        (np.zeros((0, 4, 4), "float32"), "at least one date"),
        (np.zeros((3, 4, 4), "int16"), "int16"),
        ([[[1.0]]], "list"),
    ],
)
@pytest.mark.parametrize("function", [nanmedian, valid_count])
def test_says_what_it_expected(function, values, message):
    with pytest.raises(InputError, match=message):
        function(values)
