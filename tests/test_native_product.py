import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcube.detection.shared.product import multiply, prepare_panel
from sarcube.errors import InputError


def some_matrices(number, depth, columns):
    random = np.random.default_rng(0)
    return [random.normal(size=shape).astype(np.float32) for shape in ((number, depth), (depth, columns))]


@settings(deadline=None, max_examples=60)
@given(
    number=st.integers(0, 30),
    depth=st.sampled_from([1, 5, 128, 129, 500]),
    columns=st.sampled_from([1, 31, 40, 100]),
)
def test_products_are_those_of_float64(number, depth, columns):
    rows, matrix = some_matrices(number, depth, columns)
    found = multiply(rows, prepare_panel(matrix))
    assert found.dtype == np.float32
    error = np.abs(found - rows.astype(np.float64) @ matrix)
    assert (error <= 1e-6 * (np.abs(rows) @ np.abs(matrix))).all()


def test_a_row_alone_and_in_company_has_the_same_bits():
    rows, matrix = some_matrices(23, 300, 70)
    panel = prepare_panel(matrix)
    together = multiply(rows, panel)
    for start in range(23):
        for stop in (start + 1, min(start + 5, 23)):
            assert (multiply(rows[start:stop], panel) == together[start:stop]).all()


def test_rows_are_read_where_they_lie():
    rows, matrix = some_matrices(20, 90, 33)
    panel = prepare_panel(matrix[10:60])
    for view in (rows[:, 10:60], rows[::-3, 40:90]):
        assert (multiply(view, panel) == multiply(np.ascontiguousarray(view), panel)).all()


def test_what_does_not_fit_is_refused():
    rows, matrix = some_matrices(4, 8, 3)
    with pytest.raises(InputError, match="float32 rows of 8 values"):
        multiply(rows[:, :7], prepare_panel(matrix))
    with pytest.raises(InputError, match="float32 rows of 8 values"):
        multiply(rows.astype(np.float64), prepare_panel(matrix))
    with pytest.raises(InputError, match="side by side"):
        multiply(np.asfortranarray(rows), prepare_panel(matrix))
    with pytest.raises(InputError, match="expected a matrix"):
        prepare_panel(matrix[:0])
