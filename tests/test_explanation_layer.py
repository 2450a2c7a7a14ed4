"""Contributions over an area: on the stack's grid, lazy, the same for any chunks, adding up window by window."""

import dask
import numpy as np
import pytest
from clusters import small_cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from simple_stack import BANDS, MeanModel, make_stack

import sarcube as sc
import sarcube.explanation.layer as layers
from sarcube.errors import BandError, InputError
from sarcube.models.weights import model_hash
from sarcube.windows import window_origins

BASELINES = np.random.default_rng(5).normal(-10, 3, (3, 4, 16, 16)).astype(np.float32)
SMALL = sc.models.cnn(4, filters=4, window_size=16).eval()


def nothing_may_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def test_a_layer_adds_up_window_by_window():
    stack = make_stack(64, 48)
    layer = sc.explain(SMALL, stack, baselines=BASELINES)
    assert layer.dtype == np.float32
    values = layer.compute()
    for y in range(0, 64, 16):
        for x in range(0, 48, 16):
            place = {"y": slice(y, y + 16), "x": slice(x, x + 16)}
            alone = sc.explain(SMALL, stack.isel(place).to_numpy()[None], baselines=BASELINES)
            np.testing.assert_array_equal(values.isel(place), alone.contributions[0])
            total = float(values.isel(place).astype(np.float64).sum())
            assert total == pytest.approx(alone.logits[0] - layer.attrs["base_value"], abs=1e-3)


@pytest.mark.parametrize("stride", [5, 16])
def test_where_windows_overlap_it_is_their_mean(stride):
    stack = make_stack(50, 41)
    found = sc.explain(SMALL, stack, baselines=BASELINES, stride=stride).compute()
    total, count = np.zeros(stack.shape), np.zeros(stack.shape[1:])
    for y in window_origins(50, 16, stride):
        for x in window_origins(41, 16, stride):
            window = stack.to_numpy()[None, :, y : y + 16, x : x + 16]
            total[:, y : y + 16, x : x + 16] += sc.explain(SMALL, window, baselines=BASELINES).contributions[0]
            count[y : y + 16, x : x + 16] += 1
    assert count.min() == 1
    np.testing.assert_allclose(found, total / count, atol=1e-6)


def test_it_lies_where_the_stack_does_and_says_what_it_is():
    stack = make_stack(40, 33).assign_attrs(simulated=True, units="dB").assign_coords(band_units=("band", ["dB"] * 4))
    layer = sc.explain(SMALL, stack, baselines=BASELINES)
    assert layer.dims == ("band", "y", "x")
    for axis in layer.dims:
        np.testing.assert_array_equal(layer[axis], stack[axis])
    assert layer.rio.crs == stack.rio.crs
    assert layer.rio.transform() == stack.rio.transform()
    assert "band_units" not in layer.coords
    expected = {"units": "1", "track": "D164", "event": "test", "simulated": True, "baselines": 3, "windows": 9}
    assert {key: layer.attrs[key] for key in expected} == expected
    assert layer.attrs["model"] == model_hash(SMALL)
    alone = sc.explain(SMALL, BASELINES, baselines=BASELINES)
    assert layer.attrs["base_value"] == pytest.approx(alone.logits.mean())


@given(st.tuples(st.integers(1, 4), st.integers(9, 70), st.integers(9, 60)), st.sampled_from([7, 11, 16]))
@settings(max_examples=8, deadline=None)
def test_chunks_do_not_change_a_bit(chunks, stride):
    stack = make_stack(53, 47)
    stack[:, :20, :20] = np.nan
    stack[2, 40, 40] = np.nan
    whole = sc.explain(SMALL, stack, baselines=BASELINES, stride=stride).compute()
    chunked = stack.chunk(dict(zip(stack.dims, chunks, strict=True)))
    pieces = sc.explain(SMALL, chunked, baselines=BASELINES, stride=stride).compute()
    assert np.isnan(whole).any()
    np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize("stride", [16, 9])
def test_nor_do_the_blocks_that_tasks_are_made_of(monkeypatch, stride):
    stack = make_stack(70, 61)
    whole = sc.explain(SMALL, stack, baselines=BASELINES, stride=stride).compute()
    monkeypatch.setattr(layers, "BLOCK_PIXELS", 32)
    pieces = sc.explain(SMALL, stack.chunk(y=37, x=50), baselines=BASELINES, stride=stride)
    assert pieces.data.npartitions > 4
    np.testing.assert_allclose(pieces.compute(), whole, atol=1e-9)


def test_a_cluster_gives_the_same_as_one_thread():
    stack = make_stack(100, 60).chunk(y=37, x=41)
    layer = sc.explain(SMALL, stack, baselines=BASELINES)
    alone = layer.compute(scheduler="synchronous")
    np.testing.assert_array_equal(layer.compute(scheduler="threads", num_workers=3), alone)
    with small_cluster():
        np.testing.assert_array_equal(layer.compute(), alone)


def test_nothing_is_computed_while_the_graph_is_built():
    stack = make_stack(64, 48).chunk(y=33, x=29)
    with dask.config.set(scheduler=nothing_may_compute):
        layer = sc.explain(SMALL, stack, baselines=BASELINES, stride=8)
        with pytest.raises(AssertionError, match="computed"):
            layer.compute()


def test_windows_that_cannot_be_judged_are_nan():
    stack = make_stack(16, 64)
    stack[0, 3, 3] = np.nan  # one pixel in one band: filled
    stack[0, 5, 40], stack[1, 5, 41] = np.nan, -np.inf  # two pixels, each in one band
    found = sc.explain(SMALL, stack, baselines=BASELINES).compute()
    assert np.isfinite(found[:, :, :32]).all()
    assert np.isnan(found[:, :, 32:48]).all()
    assert np.isfinite(found[:, :, 48:]).all()
    closer = sc.explain(SMALL, stack, baselines=BASELINES, stride=8).compute()
    # The windows at 32 and 40 hold both; the one at 24 ends before them, the one at 48 begins after them.
    assert np.isfinite(closer[:, :, :40]).all()
    assert np.isnan(closer[:, :, 40:48]).all()
    assert np.isfinite(closer[:, :, 48:]).all()
    nothing = sc.explain(SMALL, stack * np.nan, baselines=BASELINES).compute()
    assert nothing.shape == stack.shape
    assert np.isnan(nothing).all()


def test_a_change_makes_the_pixels_that_changed_contribute():
    calm = make_stack(16, 16, seed=3)
    changed = calm.copy(deep=True)
    changed[0, 4:9, 4:9] += 5
    found = sc.explain(MeanModel(), changed, baselines=calm.to_numpy()[None]).compute()
    np.testing.assert_allclose(found[0, 4:9, 4:9], 5 / 256, rtol=1e-5)
    assert float(found.sum()) == pytest.approx(25 * 5 / 256, rel=1e-5)
    assert int((found != 0).sum()) == 25


def test_training_the_model_further_changes_nothing_that_was_asked_for_before():
    stack, model = make_stack(32, 32), MeanModel()
    layer = sc.explain(model, stack, baselines=BASELINES)
    expected = layer.compute()
    model.gain.data.zero_()
    np.testing.assert_array_equal(layer.compute(), expected)


def test_stacks_that_do_not_fit_are_refused():
    with pytest.raises(BandError, match=r"expects the bands .*stack\.sel\(band="):
        sc.explain(MeanModel(bands=BANDS[:2]), make_stack(32, 32), baselines=BASELINES[:, :2])
    with pytest.raises(InputError, match="does not fit"):
        sc.explain(SMALL, make_stack(15, 32), baselines=BASELINES)
    with pytest.raises(InputError, match="stride"):
        sc.explain(SMALL, make_stack(32, 32), baselines=BASELINES, stride=17)
    with pytest.raises(InputError, match="this stack holds"):
        sc.explain(SMALL, make_stack(32, 32).assign_attrs(radiometry="sigma0, dB"), baselines=BASELINES)
    with pytest.raises(InputError, match=r"\(band, y, x\)"):
        sc.explain(SMALL, make_stack(32, 32).transpose("y", "x", "band"), baselines=BASELINES)
    with pytest.raises(InputError, match="write_crs"):
        sc.explain(SMALL, make_stack(32, 32).drop_vars("spatial_ref").drop_encoding(), baselines=BASELINES)
