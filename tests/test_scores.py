import dask
import numpy as np
import pytest
import torch
from affine import Affine
from clusters import small_cluster
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from simple_stack import LEFT, TOP, MeanModel, make_stack

import sarcube as sc
import sarcube.detection.scores as scoring
from sarcube.errors import BandError, InputError
from sarcube.gaps import count_gaps
from sarcube.models.weights import model_hash
from sarcube.windows import window_origins


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def nothing_may_compute(dsk, keys, **kwargs):
    raise AssertionError("something was computed while the graph was built")


def test_every_window_gets_the_models_answer():
    stack = make_stack(50, 61) + 10
    scores = sc.score_windows(stack, MeanModel(), stride=5)
    assert scores.dtype == np.float32
    values = scores.compute().to_numpy()
    for i, y in enumerate(window_origins(50, 16, 5)):
        for j, x in enumerate(window_origins(61, 16, 5)):
            window = stack.to_numpy()[0, y : y + 16, x : x + 16]
            assert values[i, j] == pytest.approx(sigmoid(window.mean(dtype=float)), abs=1e-6)


def test_a_trained_kind_of_model_answers_as_window_by_window():
    stack, model = make_stack(130, 100), sc.models.cnn(4, filters=4)
    scores = sc.score_windows(stack, model).compute()
    for i, y in enumerate(scores["row"].to_numpy()):
        for j, x in enumerate(scores["column"].to_numpy()):
            window = stack.to_numpy()[None, :, y : y + 64, x : x + 64]
            assert scores.to_numpy()[i, j] == model.probabilities(window)[0]


def test_coordinates_are_first_pixels_and_centres():
    scores = sc.score_windows(make_stack(50, 40), MeanModel(), stride=16)
    assert scores["row"].to_numpy().tolist() == [0, 16, 32, 34]
    assert scores["column"].to_numpy().tolist() == [0, 16, 24]
    assert scores["x"].to_numpy().tolist() == [LEFT + 80, LEFT + 240, LEFT + 320]
    assert scores["y"].to_numpy().tolist() == [TOP - 80, TOP - 240, TOP - 400, TOP - 420]
    assert scores.rio.crs.to_epsg() == 32647
    assert scores.attrs["track"] == "D164"
    assert scores.attrs["model"] == model_hash(MeanModel())


@given(st.tuples(st.integers(1, 4), st.integers(9, 90), st.integers(9, 70)), st.integers(3, 16))
@settings(max_examples=15)
def test_chunks_do_not_change_a_bit(chunks, stride):
    stack = make_stack(85, 70)
    stack[:, :20, :20] = np.nan
    stack[2, 40, 40] = np.nan
    model = MeanModel()
    whole = sc.score_windows(stack, model, stride=stride).compute()
    pieces = sc.score_windows(stack.chunk(dict(zip(stack.dims, chunks, strict=True))), model, stride=stride).compute()
    assert np.isnan(whole).any()
    np.testing.assert_array_equal(whole, pieces)


@pytest.mark.parametrize("block", [1, 17, 40, 4096])
def test_neither_do_the_blocks_that_tasks_are_made_of(monkeypatch, block):
    stack, model = make_stack(150, 133), sc.models.cnn(4, filters=4)
    whole = sc.score_windows(stack, model, stride=16).compute()
    monkeypatch.setattr(scoring, "BLOCK_PIXELS", block)
    pieces = sc.score_windows(stack.chunk(y=37, x=50), model, stride=16)
    np.testing.assert_array_equal(pieces.compute(), whole)
    if block == 17:
        assert pieces.data.npartitions == pieces.size


def test_a_cluster_gives_the_same_as_one_thread():
    stack, model = make_stack(100, 100).chunk(y=37, x=41), sc.models.cnn(4, filters=4)
    scores = sc.score_windows(stack, model)
    alone = scores.compute(scheduler="synchronous")
    with small_cluster():
        np.testing.assert_array_equal(scores.compute(), alone)


def test_nothing_is_computed_while_the_graph_is_built():
    stack = make_stack(100, 90).chunk(y=33, x=29)
    with dask.config.set(scheduler=nothing_may_compute):
        scores = sc.score_windows(stack, MeanModel(), stride=8)
        with pytest.raises(AssertionError, match="computed"):
            scores.compute()


def test_a_task_holds_no_more_pixels_than_its_windows_cover(monkeypatch):
    monkeypatch.setattr(scoring, "BLOCK_PIXELS", 32)
    seen = set()

    def counting(image, *args):
        seen.add(image.shape)
        return count_gaps(image, *args)

    monkeypatch.setattr(scoring, "count_gaps", counting)
    sc.score_windows(make_stack(200, 200), MeanModel(), stride=16).compute()
    # two windows of 16 pixels in a row, or the clamped one alone
    assert seen == {(4, y, x) for y in (32, 16) for x in (32, 16)}


def test_more_than_one_missing_pixel_means_no_score():
    stack = make_stack(16, 64)
    stack[0, 3, 3] = np.nan  # one pixel in one band
    stack[:, 5, 20] = np.nan  # one pixel in all bands
    stack[0, 5, 40], stack[1, 5, 41] = np.nan, -np.inf  # two pixels, each in one band
    values = sc.score_windows(stack, MeanModel(), stride=16).compute().to_numpy()[0]
    np.testing.assert_array_equal(np.isnan(values), [False, False, True, False])
    window = stack.to_numpy()[0, :, :16].astype(float)
    filled = np.where(np.isnan(window), np.nanmedian(window), window)
    assert values[0] == pytest.approx(sigmoid(filled.mean()), rel=1e-5)


def test_a_stack_with_nothing_valid_has_no_scores():
    scores = sc.score_windows(make_stack(32, 32) * np.nan, MeanModel(), stride=16)
    assert np.isnan(scores.compute()).all()


def test_training_the_model_further_changes_nothing_that_was_asked_for_before():
    stack, model = make_stack(32, 32), MeanModel()
    scores = sc.score_windows(stack, model, stride=16)
    expected = scores.compute()
    with torch.no_grad():
        model.gain.zero_()
    np.testing.assert_array_equal(scores.compute(), expected)


def test_other_bands_are_refused_with_those_that_are_expected():
    model = MeanModel(bands=("vv_post", "vv_diff"))
    with pytest.raises(BandError, match=r"expects the bands vv_post, vv_diff .*stack\.sel\(band="):
        sc.score_windows(make_stack(32, 32), model)
    with pytest.raises(BandError, match=r"the stack holds vv_diff, vv_post; select"):
        sc.score_windows(make_stack(32, 32, bands=("vv_diff", "vv_post")), model)
    with pytest.raises(BandError, match=r"the stack holds vv_post$"):
        sc.score_windows(make_stack(32, 32, bands=("vv_post",)), model)
    with pytest.raises(BandError, match="no named bands"):
        sc.score_windows(make_stack(32, 32).drop_vars("band"), model)


def test_a_stack_on_a_turned_grid_is_refused_with_what_helps():
    turned = GeoBox((40, 40), Affine.translation(LEFT, TOP) @ Affine.rotation(30) @ Affine.scale(10, -10), "EPSG:32647")
    stack = make_stack(40, 40).drop_vars(["x", "y", "spatial_ref"]).drop_encoding().assign_coords(xr_coords(turned))
    with pytest.raises(InputError, match="turned against the axes") as caught:
        sc.score_windows(stack, MeanModel(), stride=4)
    remedy = str(caught.value).split(": ")[1]
    straight = eval(remedy, {"stack": stack, "GeoBox": GeoBox})
    assert np.isfinite(sc.score_windows(straight, MeanModel(), stride=4)).any()


def test_stacks_that_cannot_be_scored_are_refused():
    with pytest.raises(InputError, match="does not fit"):
        sc.score_windows(make_stack(15, 32), MeanModel(), stride=4)
    with pytest.raises(InputError, match="stride"):
        sc.score_windows(make_stack(32, 32), MeanModel(), stride=17)
    with pytest.raises(InputError, match=r"\(band, y, x\)"):
        sc.score_windows(make_stack(32, 32).transpose("y", "x", "band"), MeanModel(), stride=4)
    with pytest.raises(InputError, match="write_crs"):
        sc.score_windows(make_stack(32, 32).drop_vars("spatial_ref").drop_encoding(), MeanModel(), stride=4)
