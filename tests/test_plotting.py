import io
import subprocess
import sys

import dask.array as da
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from matplotlib.image import imread

import sarcube as sc
from sarcube.errors import BandError, InputError
from sarcube.plotting import plot_event, plot_stack
from sarcube.plotting.maps import extent_km, hillshade, sample, shrink
from sarcube.plotting.stacks import outlines

BANDS = ["vv_post", "vh_post", "vv_diff", "vh_diff"]
LEFT, TOP = 646000.0, 12000.0


def make_stack(track="D164", shape=(96, 128), **attrs):
    random = np.random.default_rng(0)
    values = random.normal(0, 1, (4, *shape)).astype("float32")
    values[:, :10, :20] = np.nan
    return xr.DataArray(
        values,
        dims=("band", "y", "x"),
        coords={
            "band": BANDS,
            "y": TOP - 5 - 10 * np.arange(shape[0]),
            "x": LEFT + 5 + 10 * np.arange(shape[1]),
        },
        attrs={
            "track": track,
            "event": "sumatra-2022",
            "event_time": "2022-02-25T01:39:00Z",
            "dates_pre": ["2022-01-01", "2022-01-13"],
            "dates_post": ["2022-03-02"],
            **attrs,
        },
    ).rio.write_crs(32647)


def make_scores(stack):
    rows, columns = np.array([0, 32]), np.array([0, 32, 64])
    values = np.array([[0.1, 0.9, np.nan], [0.3, 0.2, 0.7]], "float32")
    return xr.DataArray(
        values,
        dims=("window_y", "window_x"),
        coords={
            "row": ("window_y", rows),
            "column": ("window_x", columns),
            "y": ("window_y", TOP - 10 * (rows + 32)),
            "x": ("window_x", LEFT + 10 * (columns + 32)),
        },
        attrs={"window_size": 64, "stride": 32, "threshold": 0.6},
    )


def make_boxes(track, scores):
    boxes = [shapely.box(LEFT + 320 * i, TOP - 640, LEFT + 320 * i + 640, TOP) for i in range(len(scores))]
    return gpd.GeoDataFrame({"score": scores, "track": track}, geometry=boxes, crs=32647)


def make_inventory():
    polygon = shapely.Point(LEFT + 600, TOP - 400).buffer(80)
    pair = shapely.MultiPolygon([shapely.box(LEFT, TOP - 90, LEFT + 90, TOP), polygon])
    return gpd.GeoDataFrame(geometry=[polygon, pair], crs=32647)


def everything(stack):
    mask = np.zeros(stack.shape[1:], "uint8")
    mask[:24], mask[24:48], mask[48:60], mask[:10, :20] = 1, 2, 3, 255
    grid = {"y": stack.y, "x": stack.x}
    elevation = 10.0 * np.add.outer(np.arange(stack.sizes["y"]), np.sin(np.arange(stack.sizes["x"]) / 9))
    return {
        "scores": make_scores(stack),
        "detections": make_boxes("D164", [0.91, 0.72]),
        "inventory": make_inventory(),
        "layover_shadow": xr.DataArray(mask, coords=grid, dims=("y", "x")),
        "elevation": xr.DataArray(elevation.astype("float32"), coords=grid, dims=("y", "x")),
    }


def pixels(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return imread(buffer)


def words(figure):
    texts = [artist.get_text() for artist in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return "\n".join(text for text in texts if text)


def maps(figure):
    return [ax for ax in figure.findobj(lambda a: hasattr(a, "images")) if ax.images]


def test_says_everything_that_a_reader_needs():
    figure = plot_event(make_stack(simulated=True), **everything(make_stack()))
    image = pixels(figure)
    assert image.shape[1] == 2250
    assert image[..., :3].std() > 0.1
    said = words(figure)
    for phrase in (
        "sumatra-2022 · 2022-02-25 01:39 UTC",
        "0.104°N, 100.318°E · 1.3 × 1.0 km",
        "track D164 (descending, looks west) · 2 dates before (2022-01-01 to 2022-01-13) · 1 date after (2022-03-02)",
        "SIMULATED DATA",
        "VV change (dB)",
        "2 detections (black), 2 known landslides (blue)",
        "0.91",
        "threshold 0.60",
        "64 × 64 pixels",
        "layover 25.0%",
        "layover and shadow 12.5%",
        "no data 1.6%",
        "200 m",
        "easting (km)",
    ):
        assert phrase in said, phrase


def test_only_simulated_data_are_called_so():
    assert "SIMULATED" not in words(plot_event(make_stack()))
    assert "SIMULATED" not in words(plot_stack(make_stack(simulated=False)))
    assert "SIMULATED" in words(plot_stack(make_stack(simulated=True)))


@pytest.mark.parametrize("left_out", ["scores", "detections", "inventory", "layover_shadow", "elevation"])
def test_every_layer_may_be_absent(left_out):
    layers = everything(make_stack())
    del layers[left_out]
    figure = plot_event(make_stack(), **layers)
    assert len(maps(figure)) == (2 if left_out == "layover_shadow" else 3)
    assert pixels(figure).std() > 0.1


def test_two_tracks_are_two_rows_with_their_own_layers():
    first, second = make_stack("A054"), make_stack("D164")
    layers = everything(first)
    layers["layover_shadow"] = xr.concat(
        [xr.zeros_like(layers["layover_shadow"]), layers["layover_shadow"]], pd.Index(["A054", "D164"], name="track")
    )
    layers["detections"] = pd.concat([make_boxes("A054", [0.81]), make_boxes("D164", [0.91, 0.72, 0.63])])
    layers["scores"] = [make_scores(first), make_scores(second)]
    figure = plot_event([first, second], **layers, title="two sides")
    assert len(maps(figure)) == 6
    said = words(figure)
    assert "two sides" in said
    assert "A054 (ascending, looks east)" in said
    assert "1 detections (black)" in said
    assert "3 detections (black)" in said
    assert "clear 100.0%" in said


def test_brighter_is_red_and_missing_is_grey():
    stack = make_stack()
    stack.loc["vv_diff"] = np.where(np.arange(128) < 64, 20, -20)
    stack[2, :, :4] = np.nan
    image = maps(plot_event(stack))[0].images[0].get_array()
    red, green, blue = image[50, 30, :3]
    assert red > 2 * blue
    red, green, blue = image[50, 100, :3]
    assert blue > 2 * red
    red, green, blue = image[50, 1, :3]
    assert red == green == blue


def test_maps_lie_on_the_ground():
    stack = make_stack()
    assert extent_km(stack) == pytest.approx((646.0, 647.28, 11.04, 12.0))
    rings = outlines(make_inventory().to_crs(4326), stack, "black").get_segments()
    assert len(rings) == 3
    np.testing.assert_allclose(rings[1].min(axis=0), (646.0, 11.91), atol=1e-6)
    mesh = maps(plot_event(stack, scores=make_scores(stack)))[1].collections[0]
    np.testing.assert_allclose(mesh.get_coordinates()[0, :, 0], [646.0, 646.48, 646.8, 647.28])
    np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], [12.0, 11.52, 11.04])


@pytest.mark.parametrize("lazy", [False, True])
def test_large_layers_are_averaged_without_their_holes(lazy):
    values = np.arange(2005 * 1001, dtype="float32").reshape(2005, 1001) / 1e5
    values[:3, :3] = np.nan
    values[3, 0] = np.nan
    layer = xr.DataArray(
        da.from_array(values, chunks=(700, 333)) if lazy else values,
        dims=("y", "x"),
        coords={"y": TOP - 5 - 10 * np.arange(2005.0), "x": LEFT + 5 + 10 * np.arange(1001.0)},
    )
    small = shrink(layer)
    assert small.shape == (2005 // 3, 1001 // 3)
    assert np.isnan(small[0, 0])
    expected = np.nanmean(values[3:6, :3])
    assert float(small[1, 0]) == pytest.approx(expected, rel=1e-5)
    assert extent_km(small) == pytest.approx((646.0, 646.0 + 0.03 * 333, 12.0 - 0.03 * 668, 12.0))
    codes = sample(layer)
    assert codes.shape == small.shape
    assert float(codes[1, 0]) == values[4, 1]
    np.testing.assert_allclose(codes.x, small.x)


def test_holes_in_the_relief_have_no_cliffs():
    row, column = np.mgrid[:96, :128]
    relief = everything(make_stack())["elevation"].copy(data=10.0 * row + 20 * np.sin(column / 5) * np.sin(row / 5))
    holed = relief.copy()
    holed[40:50, 60:70] = np.nan
    far = np.ones(holed.shape, bool)
    far[39:51, 59:71] = False
    # A cliff would take the range of brightness for itself: heights of 0 in the hole shift the rest by 0.5.
    np.testing.assert_allclose(hillshade(holed).values[far], hillshade(relief).values[far], atol=0.25)
    assert np.isfinite(hillshade(relief * np.nan).values).all()


def test_a_large_lazy_stack_is_drawn():
    stack = make_stack(shape=(1200, 1300)).chunk({"y": 500, "x": 400})
    figure = plot_event(stack, elevation=stack.isel(band=0, drop=True))
    assert maps(figure)[0].images[0].get_array().shape == (600, 650, 4)
    assert pixels(figure).shape[1] == 1125


def test_a_stack_without_any_valid_pixel_is_drawn():
    stack = make_stack() * np.nan
    assert pixels(plot_event(stack, elevation=stack[0])).ndim == 3
    assert pixels(plot_stack(stack)).ndim == 3


def test_bands_stand_side_by_side():
    figure = plot_stack(make_stack())
    titles = [ax.get_title() for ax in maps(figure)]
    assert titles == ["VV after", "VH after", "VV change", "VH change"]
    assert len(maps(plot_stack(make_stack().sel(band=["vv_post", "vv_diff"])))) == 2


def test_leaves_pyplot_alone():
    code = "import sys, sarcube.plotting; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_is_public():
    assert sc.plot_event is plot_event


def test_says_what_it_expected():
    stack = make_stack()
    with pytest.raises(InputError, match="at least one stack"):
        plot_event([])
    with pytest.raises(InputError, match="one set of scores per stack, and there are 1 for 2"):
        plot_event([stack, stack], scores=make_scores(stack))
    with pytest.raises(BandError, match="it holds vv_post, vh_post"):
        plot_event(stack[:2])
