import dataclasses
from concurrent.futures import ThreadPoolExecutor

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
from sarcube.detection import block, judges
from sarcube.detection.judges import cut_windows
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
            assert scores.to_numpy()[i, j] == pytest.approx(model.probabilities(window)[0], rel=1e-4, abs=1e-6)


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


@pytest.mark.parametrize("pixels", [1, 17, 40, 4096])
def test_neither_do_the_blocks_that_tasks_are_made_of(monkeypatch, pixels):
    stack, model = make_stack(150, 133), sc.models.cnn(4, filters=4)
    whole = sc.score_windows(stack, model, stride=16).compute()
    monkeypatch.setattr(scoring, "BLOCK_PIXELS", pixels)
    pieces = sc.score_windows(stack.chunk(y=37, x=50), model, stride=16)
    np.testing.assert_array_equal(pieces.compute(), whole)
    if pixels == 17:
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

    monkeypatch.setattr(block, "count_gaps", counting)
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


def gapped(height=150, width=133):
    """A stack with windows that are whole, windows with a single gap, and windows with more."""
    stack = make_stack(height, width)
    stack[:, 100:, 100:] = np.nan
    stack[1, 20, 70] = np.nan
    return stack


@pytest.mark.parametrize("make", [sc.models.cnn, sc.models.resnet])
def test_a_single_gap_is_filled_and_more_are_not_scored(make):
    stack, model = gapped(), make(4, filters=4)
    scores = sc.score_windows(stack, model, stride=16).compute()
    gaps = np.isnan(stack.to_numpy()).any(axis=0)
    counts = [[gaps[y : y + 64, x : x + 64].sum() for x in scores["column"].values] for y in scores["row"].values]
    np.testing.assert_array_equal(np.isnan(scores), np.array(counts) > 1)
    i, j = np.argwhere(np.array(counts) == 1)[0]
    y, x = int(scores["row"][i]), int(scores["column"][j])
    window = stack.to_numpy()[None, :, y : y + 64, x : x + 64].copy()
    window[np.isnan(window)] = np.nanmedian(window[0, 1])
    assert scores.to_numpy()[i, j] == pytest.approx(model.probabilities(window)[0], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("make", [sc.models.cnn, sc.models.resnet])
@pytest.mark.parametrize("quantile", [0.2, 0.97])
def test_screened_scores_give_the_detections_of_float32(make, quantile):
    stack, model = gapped(250, 260), make(4, filters=4, seed=3)
    exact = sc.score_windows(stack, model, stride=16).compute()
    threshold = float(np.nanquantile(exact, quantile))
    screened = sc.score_windows(stack, model, stride=16, precision="screened", score_threshold=threshold).compute()
    np.testing.assert_array_equal(np.isnan(screened), np.isnan(exact))
    above = exact.to_numpy() >= threshold
    np.testing.assert_array_equal(screened.to_numpy() >= threshold, above)
    np.testing.assert_allclose(screened.to_numpy()[above], exact.to_numpy()[above], rtol=0, atol=1e-5)
    if make is sc.models.cnn:  # windows share maps, and each gives the same however it is asked for
        np.testing.assert_array_equal(screened.to_numpy()[above], exact.to_numpy()[above])
    assert screened.attrs["threshold"] == threshold


def test_screening_judges_few_again_and_more_where_its_errors_are_larger(monkeypatch):
    stack, model = make_stack(400, 400), sc.models.cnn(4, filters=4, seed=3)
    exact = sc.score_windows(stack, model, stride=8).compute()
    again = []

    def counting(image, rows, columns, size):
        again.append(len(rows))
        return cut_windows(image, rows, columns, size)

    monkeypatch.setattr(block, "cut_windows", counting)
    highest = float(exact.max())
    threshold = sigmoid(np.log(highest / (1 - highest)) + 1)  # nothing is within the smallest margin
    screened = sc.score_windows(stack, model, stride=8, precision="screened", score_threshold=threshold)
    first = screened.compute()
    assert 0 < sum(again) / exact.size < 0.05
    assert 0 < np.abs(first - exact).max() < 0.02
    monkeypatch.setattr(block, "ERRORS", 1e5)
    np.testing.assert_array_equal(screened.compute(), exact)


def test_bfloat16_is_close_but_not_float32():
    stack, model = make_stack(130, 130), sc.models.cnn(4, filters=8)
    exact, coarse = (sc.score_windows(stack, model, precision=p).compute() for p in ("float32", "bfloat16"))
    assert 0 < np.abs(exact - coarse).max() < 0.05
    assert coarse.attrs["precision"] == "bfloat16"


def test_a_temperature_is_applied():
    stack, model = make_stack(64, 64), sc.models.cnn(4, filters=4)
    plain = float(sc.score_windows(stack, model).compute()[0, 0])
    model.spec = dataclasses.replace(model.spec, temperature=4.0)
    warm = float(sc.score_windows(stack, model).compute()[0, 0])
    assert np.log(warm / (1 - warm)) == pytest.approx(np.log(plain / (1 - plain)) / 4, rel=1e-4)


def test_scoring_leaves_torchs_threads_as_they_were(monkeypatch):
    seen = []

    def spying(*args):
        seen.append(torch.get_num_threads())
        return cut_windows(*args)

    monkeypatch.setattr(judges, "cut_windows", spying)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        scores = sc.score_windows(make_stack(300, 300), MeanModel(), stride=16)
        for scheduler in ("synchronous", "threads"):
            scores.compute(scheduler=scheduler)
            assert torch.get_num_threads() == 3
            with ThreadPoolExecutor(1) as fresh:
                assert fresh.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float16"}, 'float32, bfloat16, screened, not "float16"'),
        ({"score_threshold": 0.4}, "with precision float32 none are"),
        ({"precision": "screened", "score_threshold": 40}, "probability, not 40"),
        ({"device": "toaster"}, 'cannot use the device "toaster"'),
    ],
)
def test_options_that_cannot_be_used_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        sc.score_windows(make_stack(32, 32), MeanModel(), stride=16, **options)


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
