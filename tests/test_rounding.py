"""Mantissas cut short: the error is bounded, and what is no number stays what it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sarcube.cube.holes import Hole, hole_value
from sarcube.cube.store.blocks import Layer, prepare, round_mantissa

BITS = hnp.arrays(np.uint32, st.integers(1, 200), elements=st.integers(0, 2**32 - 1))


def rounded(values, keep_bits=8):
    result, found = round_mantissa(np.asarray(values, np.float32), keep_bits=keep_bits)
    return result.copy(), found


@given(bits=BITS, keep_bits=st.integers(1, 22))
def test_any_bits_are_rounded_within_the_bound_or_left(bits, keep_bits):
    values = bits.view(np.float32)
    result, found = rounded(values, keep_bits)
    special = ~np.isfinite(values) | (np.abs(values) < np.finfo(np.float32).tiny)
    np.testing.assert_array_equal(result.view(np.uint32)[special], bits[special])
    usual, exact = result[~special].astype(np.float64), values[~special].astype(np.float64)
    assert (np.abs(usual - exact) <= np.abs(exact) * 2.0 ** -(keep_bits + 1)).all()
    assert np.isfinite(usual).all()
    assert (np.sign(usual) == np.sign(exact)).all()
    assert found.sum() == np.isnan(values).sum()


@given(bits=BITS)
def test_rounding_twice_is_rounding_once(bits):
    once, _ = rounded(bits.view(np.float32))
    twice, _ = rounded(once)
    np.testing.assert_array_equal(twice.view(np.uint32), once.view(np.uint32))


@given(values=hnp.arrays(np.float32, 50, elements=st.floats(2.0**-20, 2.0**20, width=32)))
def test_it_is_numpys_rounding_of_the_mantissa(values):
    mantissa, exponent = np.frexp(values.astype(np.float64))
    expected = np.ldexp(np.round(mantissa * 2**9) / 2**9, exponent)  # half to even
    np.testing.assert_array_equal(rounded(values)[0], expected)


def test_a_half_goes_to_the_even_neighbour():
    assert rounded([1 + 2**-9, 1 + 3 * 2**-9])[0].tolist() == [1.0, 1 + 2**-7]


def test_in_decibels_the_error_is_below_a_hundredth():
    values = np.random.default_rng(0).gamma(4.4, 0.1 / 4.4, 100_000).astype(np.float32)
    error = 10 * np.log10(rounded(values)[0] / values.astype(np.float64))
    assert 0.008 < np.abs(error).max() < 0.0085


def test_the_ends_of_the_range_are_left():
    info = np.finfo(np.float32)
    values = np.array([info.max, -info.max, info.smallest_subnormal, info.tiny * 0.9, 0.0, -0.0, np.inf], np.float32)
    np.testing.assert_array_equal(rounded(values)[0].view(np.uint32), values.view(np.uint32))


def test_reasons_of_holes_are_counted_and_kept():
    values = np.ones((1, 8, 8), np.float32)
    values[0, 0] = hole_value(Hole.FRINGE)
    values[0, 1, :3] = hole_value(Hole.NOT_FOUND, part=2)
    values[0, 2, 0] = np.uint32(0x7FC000EE).view(np.float32)  # a NaN of nobody we know
    layer = Layer("vv", ("time", "y", "x"), (1, 8, 8), (1, 8, 8), "<f4", 8, True)
    content, (valid, holes), unread = prepare(values, layer)
    assert valid == 64 - 8 - 3 - 1
    assert dict(holes) == {Hole.UNKNOWN: 1, Hole.FRINGE: 8, Hole.NOT_FOUND: 3}
    assert unread == ((2, Hole.NOT_FOUND),)
    np.testing.assert_array_equal(content.view(np.uint32), values.view(np.uint32))


@pytest.mark.parametrize(
    "values", [np.ones((1, 4, 6), np.float32).transpose(0, 2, 1), np.ones((1, 12, 8), "f4")[:, ::2, ::2]]
)
def test_any_memory_order_will_do(values):
    values = values * np.float32(1.001)
    layer = Layer("vv", ("time", "y", "x"), values.shape, values.shape, "<f4", 8, True)
    np.testing.assert_array_equal(prepare(values, layer)[0], rounded(np.ascontiguousarray(values))[0])


def test_what_is_given_is_not_changed():
    values = np.full((1, 5, 5), 1.001, np.float32)
    prepare(values, Layer("vv", ("time", "y", "x"), (1, 5, 5), (1, 8, 8), "<f4", 8, True))
    assert (values == np.float32(1.001)).all()
