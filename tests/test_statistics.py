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

from sarcube.change import nanmean, nanpercentile, nanstd
from sarcube.change.network import sorting_network
from sarcube.errors import InputError

QUARTILES = [0, 25, 50, 90, 100]


def quartiles(values):
    return nanpercentile(values, QUARTILES)


def of_numpy(function, values, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(values, *arguments, axis=0)


def speckle(shape, dtype="float32", missing=0.3, seed=0):
    random = np.random.default_rng(seed)
    values = random.gamma(4.4, 0.02, shape).astype(dtype)
    values[random.random(shape) < missing] = np.nan
    return values


def cubes(dtype):
    width = np.dtype(dtype).itemsize * 8
    # -0.0 and 0.0 are equal, so that which of the two comes out means nothing.
    numbers = st.floats(-1e6, 1e6, width=width).map(lambda v: v + 0.0) | st.just(np.nan)
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=7), elements=numbers)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dates", [1, 2, 5, 30, 200])
def test_mean_and_spread_are_those_of_float64(dates, dtype):
    values = speckle((dates, 3, 131), dtype)
    exact = values.astype("float64")
    rounding = np.finfo(dtype).eps
    assert nanmean(values).dtype == nanstd(values).dtype == dtype
    np.testing.assert_allclose(nanmean(values), of_numpy(np.nanmean, exact), rtol=rounding)
    np.testing.assert_allclose(nanstd(values), of_numpy(np.nanstd, exact), rtol=4 * rounding, atol=1e-17)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dates", [1, 2, 3, 5, 30, 200])
def test_percentiles_are_numpys_bit_for_bit(dates, dtype):
    values = speckle((dates, 3, 131), dtype)
    result = quartiles(values)
    assert result.dtype == dtype
    expected = of_numpy(np.nanpercentile, values.astype("float64"), QUARTILES)
    np.testing.assert_array_equal(result, expected.astype(dtype))


@given(cubes("float32") | cubes("float64"), st.floats(0, 100))
def test_percentiles_are_numpys_on_any_values(values, percentile):
    result = nanpercentile(values, percentile)
    expected = of_numpy(np.nanpercentile, values.astype("float64"), percentile)
    np.testing.assert_array_equal(result, expected.astype(values.dtype))


@given(cubes("float32"), st.randoms(use_true_random=False), st.integers(1, 4))
def test_order_of_dates_and_empty_dates_change_nothing(values, random, empty):
    order = list(range(len(values) + empty))
    random.shuffle(order)
    longer = np.concatenate([values, np.full((empty, *values.shape[1:]), np.nan, "float32")])[order]
    np.testing.assert_array_equal(quartiles(longer), quartiles(values))
    # Sums depend on the order of what they add; in float64 by less than float32 shows but where they cancel.
    size = 1e-12 * np.nan_to_num(np.abs(values)).max()
    np.testing.assert_allclose(nanmean(longer), nanmean(values), rtol=2e-7, atol=size)
    np.testing.assert_allclose(nanstd(longer), nanstd(values), rtol=2e-7, atol=1e6 * size)


@pytest.mark.parametrize("values", [*range(1, 41), 127, 128, 129, 200])
def test_the_network_sorts(values):
    # 0-1 principle (Knuth 5.3.4): what sorts every 0-1 input sorts every input. The ones' places are drawn at random.
    random = np.random.default_rng(values)
    ones = np.arange(values)[:, None] < np.repeat(np.arange(values + 1), 12)
    ordered = random.permuted(ones.astype("float32"), axis=0)
    expected = np.sort(ordered, axis=0)
    for i, j in sorting_network(values):
        ordered[[i, j]] = np.minimum(ordered[i], ordered[j]), np.maximum(ordered[i], ordered[j])
    np.testing.assert_array_equal(ordered, expected)


@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
def test_all_missing_is_nan_without_a_warning(function):
    assert np.isnan(function(np.full((4, 2, 3), np.nan, "float32"))).all()


@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
def test_threads_do_not_change_the_result(function):
    values = speckle((4, 600, 517))
    parts = [function(values[:, y : y + 50]) for y in range(0, 600, 50)]  # too small for threads
    np.testing.assert_array_equal(function(values), np.concatenate(parts, axis=-2))


@pytest.mark.parametrize("width", [1, 5, 15, 16, 40])
@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
def test_the_order_in_memory_does_not_matter(function, width):
    values = speckle((3, 4, width))
    np.testing.assert_array_equal(function(np.asfortranarray(values)), function(values))


@pytest.mark.parametrize("function", [nanmean, nanstd])
def test_graphs_have_the_same_names_in_every_process(function):
    name = f"from sarcube.change import *; import dask.array as da; print({function.__name__}(da.ones((2, 3, 4))).name)"
    other = subprocess.run([sys.executable, "-c", name], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == function(da.ones((2, 3, 4))).name


@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
@pytest.mark.parametrize("view", [np.s_[:, ::3], np.s_[:, :, ::2], np.s_[::-1, 1:, 5:-1]])
def test_views_are_as_good_as_copies(function, view):
    values = speckle((9, 12, 70))
    np.testing.assert_array_equal(function(values[view]), function(values[view].copy()))


@pytest.mark.parametrize("chunks", [(7, 13, 17), (1, 5, 40), ((2, 4, 1), (3, 10), (40,)), (-1, 13, 3)])
@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
def test_dask_is_numpy_and_lazy(function, chunks):
    values = speckle((7, 13, 40))
    lazy = da.from_array(values, chunks=chunks)

    def refuse(*args, **kwargs):
        raise AssertionError("computed while the graph was built")

    with dask.config.set(scheduler=refuse):
        result = function(lazy)
    expected = function(values)
    assert result.chunks[-2:] == lazy.chunks[1:]
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(result.compute(scheduler="sync"), expected)
    np.testing.assert_array_equal(result.compute(scheduler="threads"), expected)


@pytest.mark.parametrize("percentiles", [-1, 101, [50, np.nan], [], [[50]]])
def test_percentiles_lie_between_0_and_100(percentiles):
    with pytest.raises(InputError, match="0 to 100"):
        nanpercentile(np.zeros((2, 3, 4), "float32"), percentiles)


@pytest.mark.parametrize("function", [nanmean, nanstd, quartiles])
def test_says_what_it_expected(function):
    with pytest.raises(InputError, match="int16"):
        function(np.zeros((3, 4, 4), "int16"))
