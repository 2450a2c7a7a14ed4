"""Pictures of change: what is drawn is what was measured, and says its units, its dates and whether it is simulated."""

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.dates import num2date
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pyproj import Geod, Transformer
from skimage.color import deltaE_ciede2000, rgb2lab

from sarcube.errors import AreaError, BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event
from sarcube.plotting import plot_change, plot_rgb, plot_time_series
from sarcube.plotting.false_colour import _channels
from sarcube.plotting.stacks import backscatter_limits, before_after_change, change_limit

BANDS = ["vv_post", "vh_post", "vv_diff", "vh_diff"]
LEFT, TOP = 646000.0, 12000.0
GEOBOX = GeoBox((60, 80), Affine(10, 0, LEFT, 0, -10, TOP), "EPSG:32647")
EVENT = Event("sumatra-2022", bbox=(100.31, 0.09, 100.33, 0.11), time="2022-02-25T01:39Z")
# Machado, Oliveira & Fernandes 2009, table 1, severity 1: what linear red, green, blue become.
COLOUR_BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def make_stack(shape=(60, 80), **attrs):
    random = np.random.default_rng(0)
    values = random.normal([[[-9]], [[-15]], [[0]], [[0]]], 1, (4, *shape)).astype("float32")
    values[:, :10, :20] = np.nan
    coords = {"band": BANDS, "y": TOP - 5 - 10 * np.arange(shape[0]), "x": LEFT + 5 + 10 * np.arange(shape[1])}
    attrs = {
        "track": "D164",
        "event": "sumatra-2022",
        "event_time": "2022-02-25T01:39:00Z",
        "dates_pre": ["2022-01-01", "2022-01-13"],
        "dates_post": ["2022-03-02"],
        **attrs,
    }
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs).rio.write_crs(32647)


def make_cube(chunks=None, *, geobox=GEOBOX, dates=6, names=("vv", "vh"), **attrs):
    """Noise, the tracks in turn, twelve days apart."""
    random = np.random.default_rng(1)
    size = (dates, *geobox.shape)
    data = {name: random.gamma(4.4, 0.02, size).astype("float32") for name in names}
    if chunks is not None:
        data = {name: da.from_array(values, chunks=chunks) for name, values in data.items()}
    tracks = np.array([("D164", "A054")[n % 2] for n in range(dates)], object)
    times = np.datetime64("2022-01-03T23:00", "ns") + np.arange(dates) * np.timedelta64(12, "D")
    coords = {**xr_coords(geobox, dims=("y", "x")), "time": times, "scene_track": ("time", tracks)}
    return xr.Dataset({name: (("time", "y", "x"), values) for name, values in data.items()}, coords, attrs)


def place_of(row, column, geobox=GEOBOX):
    """Longitude and latitude of a pixel's centre."""
    x, y = geobox.affine * (column + 0.5, row + 0.5)
    return Transformer.from_crs(geobox.crs, 4326, always_xy=True).transform(x, y)


def words(figure):
    texts = [artist.get_text() for artist in figure.findobj(lambda a: hasattr(a, "get_text"))]
    return "\n".join(text for text in texts if text)


def maps(figure):
    """All maps from left to right: keys are no maps."""
    return [ax for ax in figure.get_axes() if ax.images and "easting" in ax.get_xlabel()]


def drawn(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def refuse(*args, **kwargs):
    raise AssertionError("computed while the graph was built")


# before, after, change


def test_before_and_after_share_one_scale():
    stack = make_stack()
    before, after, change = maps(plot_change(stack))
    np.testing.assert_allclose(drawn(after), stack.sel(band="vv_post"), atol=1e-5)
    np.testing.assert_allclose(drawn(before), stack.sel(band="vv_post") - stack.sel(band="vv_diff"), atol=1e-5)
    assert before.images[0].get_clim() == after.images[0].get_clim()
    both = np.concatenate([drawn(before)[np.isfinite(drawn(before))], drawn(after)[np.isfinite(drawn(after))]])
    np.testing.assert_allclose(after.images[0].get_clim(), np.percentile(both, (2, 98)), atol=1e-4)
    assert change.images[0].get_array().shape == (60, 80, 4)


def test_the_other_polarisation_is_drawn_when_named():
    stack = make_stack()
    figure = plot_change(stack, polarisation="vh")
    np.testing.assert_allclose(drawn(maps(figure)[1]), stack.sel(band="vh_post"), atol=1e-5)
    assert "VH backscatter (dB)" in words(figure)
    assert "VV" not in words(figure)


def test_change_says_what_it_is():
    figure = plot_change(make_stack())
    said = words(figure)
    for phrase in (
        "sumatra-2022 · 2022-02-25 01:39 UTC",
        "0.106°N, 100.316°E · 0.8 × 0.6 km",
        "track D164 (descending, looks west) · 2 dates before (2022-01-01 to 2022-01-13) · 1 date after (2022-03-02)",
        "VV before",
        "VV after",
        "VV backscatter (dB)",
        "VV change (dB): red brighter, blue darker",
        "easting (km)",
        "northing (km)",
        "100 m",
        "N",
        "no data",
    ):
        assert phrase in said, phrase
    for ax in maps(figure):
        assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((646.0, 646.8, 11.4, 12.0))


@pytest.mark.parametrize("draw", [plot_change, plot_rgb])
def test_only_simulated_data_are_called_so(draw):
    assert "SIMULATED DATA" in words(draw(make_stack(simulated=True)))
    assert "SIMULATED" not in words(draw(make_stack()))
    assert "SIMULATED" not in words(draw(make_stack(simulated=False)))


@pytest.mark.parametrize("draw", [plot_change, plot_rgb])
def test_a_title_of_ones_own(draw):
    said = words(draw(make_stack(), title="Pasaman"))
    assert "Pasaman" in said
    assert "sumatra" not in said


def test_brighter_is_red_and_darker_blue_and_no_data_transparent():
    stack = make_stack()
    stack.loc["vv_diff"] = np.where(np.arange(80) < 40, 20, -20)
    stack[2, :, :4] = np.nan
    image = maps(plot_change(stack))[2].images[0].get_array()
    red, _, blue, alpha = image[30, 30]
    assert red > 2 * blue
    assert alpha == 1
    red, _, blue, _ = image[30, 70]
    assert blue > 2 * red
    assert image[30, 2, 3] == 0


def test_change_keeps_red_and_blue_apart_for_the_colour_blind():
    stack = make_stack()
    stack.loc["vv_diff"] = np.where(np.arange(80) < 40, 4, -4)
    image = maps(plot_change(stack))[2].images[0].get_array()
    assert all(apart(image[30, 30, :3], image[30, 70, :3], kind) > 20 for kind in COLOUR_BLIND)


def test_the_background_shows_where_nothing_changed():
    stack = make_stack()
    stack.loc["vv_diff"] = 0
    layer = xr.DataArray(np.linspace(0, 50, 80) + np.zeros((60, 1)), coords={"y": stack.y, "x": stack.x})
    image = maps(plot_change(stack, background=layer))[2].images[0].get_array()
    brightness = image[30, :, 1]
    assert (np.diff(brightness[3:-3]) > 0).all()
    assert brightness[-1] > 0.9
    assert brightness[0] < 0.6
    plain = maps(plot_change(stack))[2].images[0].get_array()
    assert np.ptp(plain[30, 20:, 1]) == 0
    # Turned and holed, it is the same, and a hole does not darken.
    layer[30, 5] = np.nan
    holed = maps(plot_change(stack, background=layer.T))[2].images[0].get_array()
    np.testing.assert_allclose(holed[31], image[31], atol=0.02)
    np.testing.assert_allclose(holed[30, 5], plain[30, 5])


def test_a_rare_mask_may_be_the_background():
    stack = make_stack()
    stack.loc["vv_diff"] = 0
    mask = xr.zeros_like(stack[0], dtype="float32")
    mask[30, 40:44] = 200  # fewer pixels than the percentiles leave out
    image = maps(plot_change(stack, background=mask))[2].images[0].get_array()
    assert image[30, 41, 1] > image[30, 50, 1] + 0.3


def test_elevation_is_drawn_as_relief():
    stack = make_stack()
    stack.loc["vv_diff"] = 0
    ridge = 500 - 10.0 * np.abs(np.arange(80) - 40) + np.zeros((60, 1))
    elevation = xr.DataArray(ridge, coords={"y": stack.y, "x": stack.x}, dims=("y", "x"), name="elevation")
    image = maps(plot_change(stack, background=elevation))[2].images[0].get_array()
    # Light from the north-west: the western side is bright as a whole, the eastern one dark.
    assert image[30, 10:35, 1].min() > image[30, 45:70, 1].max() + 0.2


def test_known_landslides_are_outlined_in_every_panel():
    polygons = [shapely.Point(LEFT + 300 * n, TOP - 300).buffer(50) for n in (1, 2)]
    inventory = gpd.GeoDataFrame(geometry=polygons, crs=32647)
    figure = plot_change(make_stack(), inventory=inventory.to_crs(4326))
    for ax in maps(figure):
        (lines,) = ax.collections
        first, second = lines.get_segments()
        np.testing.assert_allclose(first.min(axis=0), (646.25, 11.65), atol=1e-3)
        np.testing.assert_allclose(second.max(axis=0), (646.65, 11.75), atol=1e-3)
    assert "outlined, 2 known landslides" in words(figure)


def test_a_background_must_fit():
    stack = make_stack()
    with pytest.raises(InputError, match=r"dimensions \(y, x\), not \(band, y, x\)"):
        plot_change(stack, background=stack)
    with pytest.raises(InputError, match="lie on the stack's grid"):
        plot_change(stack, background=stack[0, 1:])
    with pytest.raises(InputError, match="lie on the stack's grid"):
        plot_change(stack, background=stack[0].assign_coords(x=stack.x + 5))


@pytest.mark.parametrize("draw", [plot_change, plot_rgb])
def test_says_which_bands_it_needs(draw):
    with pytest.raises(BandError, match="needs the bands hh_post and hh_diff, and the stack holds vv_post, vh_post"):
        draw(make_stack(), polarisation="hh")
    with pytest.raises(BandError, match="vv_post and vv_diff, and the stack holds vv_post"):
        draw(make_stack()[:2])


@pytest.mark.parametrize("draw", [plot_change, plot_rgb])
def test_an_empty_stack_is_drawn(draw, tmp_path):
    figure = draw(make_stack() * np.nan)
    figure.savefig(tmp_path / "empty.png", dpi=40)
    assert maps(figure)


@pytest.mark.parametrize("draw", [plot_change, plot_rgb])
def test_a_lazy_stack_is_computed_once_and_drawn_the_same(draw):
    stack = make_stack()
    blocks = []

    def count(block):
        blocks.append(block.shape)
        return block

    lazy = stack.copy(data=da.from_array(stack.values, chunks=(4, 23, 31)).map_blocks(count, dtype="float32"))
    with dask.config.set(scheduler="synchronous"):
        blocks.clear()
        figure = draw(lazy)
    assert len(blocks) == 3 * 3
    for one, other in zip(maps(figure), maps(draw(stack)), strict=True):
        np.testing.assert_array_equal(drawn(one), drawn(other))


def test_layers_stay_in_step_when_averaged():
    stack = make_stack((2100, 30))
    stack[2, 100:200] = np.nan
    before, after, change = before_after_change(stack, "vv")
    assert change.shape == (700, 10)
    assert np.isnan(before[40]).all()
    assert np.isfinite(after[40]).all()
    expected = stack[2, 300:303, 3:6].mean()
    assert float(change[100, 1]) == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose((after - change)[100:], before[100:], atol=1e-5)


# red, green, blue


def apart(one, other, kind):
    """How different two colours look to the colour-blind, CIEDE2000: 2 is just noticed."""
    seen = []
    for colour in (np.asarray(one, float), np.asarray(other, float)):
        linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        changed = np.clip(np.array(COLOUR_BLIND[kind]) @ linear, 0, 1)
        seen.append(np.where(changed <= 0.0031308, 12.92 * changed, 1.055 * changed ** (1 / 2.4) - 0.055))
    return float(deltaE_ciede2000(rgb2lab(seen[0]), rgb2lab(seen[1])))


def test_channels_are_before_after_and_ratio():
    colours = _channels(np.array([-20.0, -5.0, -12.5, np.nan]), np.array([-5.0, -20.0, -12.5, -9]), (-20, -5), 6)
    np.testing.assert_allclose(colours[:3], [[0, 1, 1], [1, 0, 0], [0.5, 0.5, 0.5]])
    assert np.isnan(colours[3, [0, 2]]).all()


@given(st.floats(-30, 0), st.floats(-8, 8), st.floats(0.1, 4))
def test_channels_follow_the_change(mean, change, more):
    def colour(difference):
        return _channels(np.array(mean - difference / 2), np.array(mean + difference / 2), (-20, -5), 6)

    one, other = colour(change), colour(change + more)
    assert other[0] <= one[0]
    assert other[1] >= one[1]
    assert other[2] >= one[2]
    assert ((one >= 0) & (one <= 1)).all()


@pytest.mark.parametrize("kind", COLOUR_BLIND)
@pytest.mark.parametrize("mean", [-16.0, -12.5, -9.0])
def test_darker_and_brighter_differ_for_the_colour_blind(mean, kind):
    darker, same, brighter = (
        _channels(np.array(mean - d / 2), np.array(mean + d / 2), (-20.0, -5.0), 6.0) for d in (-6, 0, 6)
    )
    assert apart(darker, brighter, kind) > 40
    assert apart(darker, same, kind) > 10
    assert apart(same, brighter, kind) > 10


def test_the_ratio_is_what_the_colour_blind_see():
    darker, brighter = (_channels(np.array(-12.5 - d / 2), np.array(-12.5 + d / 2), (-20, -5), 6) for d in (-6, 6))
    without = [np.array([*colour[:2], 0.5]) for colour in (darker, brighter)]
    for kind in COLOUR_BLIND:
        assert apart(darker, brighter, kind) > 1.5 * apart(*without, kind)


def test_the_rgb_picture_is_the_channels_and_its_key_too():
    stack = make_stack()
    figure = plot_rgb(stack)
    before, after, change = before_after_change(stack, "vv")
    limits, limit = backscatter_limits(before, after), change_limit(change)
    (ax,) = maps(figure)
    image = ax.images[0].get_array()
    expected = _channels(before.values, after.values, limits, limit)
    np.testing.assert_allclose(image[20:, 20:, :3], expected[20:, 20:])
    assert (image[:10, :20, 3] == 0).all()
    assert (image[10:, :, 3] == 1).all()
    key = next(ax for ax in figure.get_axes() if "change" in ax.get_xlabel())
    assert (*key.get_xlim(), *key.get_ylim()) == pytest.approx((-limit, limit, *limits))
    corners = key.images[0].get_array()
    mean = limits[0]
    np.testing.assert_allclose(
        corners[0, 0], _channels(np.array(mean + limit / 2), np.array(mean - limit / 2), limits, limit), atol=1e-6
    )


def test_rgb_says_what_it_is():
    figure = plot_rgb(make_stack())
    said = words(figure)
    for phrase in (
        "red: VV before, green: VV after, both −1",
        "(2nd to 98th percentile)",
        "blue: ratio VV after / VV before, −3 to 3 dB",
        "turned darker",
        "did not change",
        "turned brighter",
        "VV change, after minus before (dB)",
        "no data",
        "easting (km)",
        "100 m",
        "track D164 (descending, looks west)",
    ):
        assert phrase in said, phrase
    whole = make_stack()[:, 10:]
    assert "no data" not in words(plot_rgb(whole))


# time series


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines() if line.get_marker() not in ("None", None, "")}


def mean_db(values):
    values = values.astype(float)
    return 10 * np.log10(values[np.isfinite(values) & (values > 0)].mean())


def test_a_series_is_the_mean_power_of_the_circle():
    cube = make_cube()
    figure = plot_time_series(cube, point=place_of(30, 40), radius=31.0)
    rows, columns = np.mgrid[:60, :80]
    circle = np.hypot(rows - 30, columns - 40) <= 3.1
    assert circle.sum() == 29
    top, bottom = figure.get_axes()
    for ax, name in ((top, "vv"), (bottom, "vh")):
        series = lines(ax)
        assert list(series) == ["track A054 (ascending, looks east)", "track D164 (descending, looks west)"]
        for label, first in (("track D164 (descending, looks west)", 0), ("track A054 (ascending, looks east)", 1)):
            expected = [mean_db(values[circle]) for values in cube[name].values[first::2]]
            np.testing.assert_allclose(series[label].get_ydata(), expected, rtol=1e-12)
            np.testing.assert_array_equal(series[label].get_xdata(orig=True), cube.time.values[first::2])
    assert "mean power of 29 pixels within 31 m" in words(figure)


def test_lines_differ_in_colour_and_in_shape():
    series = lines(plot_time_series(make_cube(), point=place_of(30, 40)).get_axes()[0]).values()
    assert len({line.get_color() for line in series}) == 2
    assert len({line.get_marker() for line in series}) == 2


def test_one_track_when_named_and_dates_in_order():
    cube = make_cube().isel(time=[4, 0, 2, 1, 3, 5])
    figure = plot_time_series(cube, point=place_of(3, 4), track="D164")
    (line,) = lines(figure.get_axes()[0]).values()
    times = line.get_xdata(orig=True)
    assert len(times) == 3
    assert (np.diff(times) > np.timedelta64(0)).all()
    assert "A054" not in words(figure)


def test_invalid_pixels_do_not_count_and_an_empty_date_is_a_gap():
    cube = make_cube(names=("vv",))
    values = cube["vv"].values
    values[0, 30, 40:] = [np.nan, 0, -32768, np.inf] * 10
    values[2] = np.nan
    figure = plot_time_series(cube, point=place_of(30, 40), radius=21, track="D164")
    (ax,) = figure.get_axes()
    (line,) = lines(ax).values()
    circle = np.zeros((60, 80), bool)
    circle[[28, 29, 29, 29, 30, 30, 31, 31, 31, 32], [40, 39, 40, 41, 38, 39, 39, 40, 41, 40]] = True
    assert line.get_ydata()[0] == pytest.approx(mean_db(values[0][circle]), rel=1e-12)
    assert np.isnan(line.get_ydata()[1])
    assert np.isfinite(line.get_ydata()[2])


def test_the_event_is_a_line_at_its_time():
    figure = plot_time_series(make_cube(), point=place_of(30, 40), event=EVENT)
    for ax in figure.get_axes():
        (line,) = [line for line in ax.get_lines() if line.get_label().startswith("sumatra")]
        (moment,) = {num2date(x) for x in line.get_xdata()}
        assert abs((moment - EVENT.last_before).total_seconds()) < 1
    said = words(figure)
    assert "sumatra-2022, 2022-02-25 01:39 UTC" in said
    assert "sumatra-2022 · 0." in said


def test_an_event_that_lasts_is_a_span():
    event = Event("haiti-2021", bbox=EVENT.bbox, pre_end="2022-01-20", post_start="2022-01-30T12:00Z")
    figure = plot_time_series(make_cube(), point=place_of(30, 40), event=event)
    for ax in figure.get_axes():
        (span,) = ax.patches
        ends = [num2date(x) for x in (span.get_x(), span.get_x() + span.get_width())]
        assert ends == [event.last_before, event.first_after]
    assert "haiti-2021, 2022-01-20 00:00 to 2022-01-30 12:00 UTC" in words(figure)


def test_a_series_says_what_it_is(tmp_path):
    cube = make_cube(simulated=True)
    cube["vv"].attrs["radiometry"] = "gamma0 RTC"
    figure = plot_time_series(cube, point=place_of(30, 40))
    figure.savefig(tmp_path / "series.png", dpi=50)  # writes the dates on the axis
    said = words(figure)
    longitude, latitude = place_of(30, 40)
    for phrase in (
        "VV gamma0 RTC (dB)",
        "VH backscatter (dB)",
        "date (UTC)",
        "2022-02-01",
        "SIMULATED DATA",
        f"{latitude:.4f}°N, {longitude:.4f}°E",
    ):
        assert phrase in said, phrase
    assert "SIMULATED" not in words(plot_time_series(make_cube(), point=place_of(30, 40)))
    assert "Pasaman" in words(plot_time_series(make_cube(), point=place_of(30, 40), title="Pasaman"))


def test_only_the_chunks_of_the_place_are_computed():
    cube = make_cube(chunks=(1, 20, 20))
    blocks = []

    def count(block, block_info=None):
        blocks.append(block_info[0]["chunk-location"])
        return block

    with dask.config.set(scheduler=refuse):
        watched = cube.assign(
            {
                name: cube[name].copy(data=cube[name].data.map_blocks(count, meta=np.empty((0, 0, 0), "float32")))
                for name in ("vv", "vh")
            }
        )
    with dask.config.set(scheduler="synchronous"):
        blocks.clear()
        plot_time_series(watched, point=place_of(30, 50), radius=80, track="D164")
    assert {location[0] for location in blocks} == {0, 2, 4}
    assert {location[1:] for location in blocks} == {(1, 2)}
    assert len(blocks) == 2 * 3


@given(st.integers(9, 60), st.integers(11, 80), st.integers(1, 6))
@settings(max_examples=8)
def test_chunks_do_not_change_a_series(rows, columns, dates):
    point = place_of(20, 61)
    plain, lazy = (
        lines(plot_time_series(make_cube(chunks), point=point, radius=150).get_axes()[1])
        for chunks in (None, (dates, rows, columns))
    )
    assert list(plain) == list(lazy)
    for label, line in plain.items():
        np.testing.assert_array_equal(line.get_ydata(), lazy[label].get_ydata())


@pytest.mark.parametrize(("row", "column"), [(0, 0), (59, 79), (0, 79), (30, 0)])
def test_a_place_at_the_edge_takes_what_is_there(row, column):
    cube = make_cube(names=("vv",))
    figure = plot_time_series(cube, point=place_of(row, column), radius=25)
    rows, columns = np.mgrid[:60, :80]
    circle = np.hypot(rows - row, columns - column) <= 2.5
    (line, *_) = lines(figure.get_axes()[0]).values()
    np.testing.assert_allclose(line.get_ydata(), [mean_db(v[circle]) for v in cube["vv"].values[1::2]], rtol=1e-12)


def test_a_small_circle_is_the_pixel_of_the_place():
    cube = make_cube(names=("vv",))
    x, y = GEOBOX.affine * (40.95, 30.05)  # near the pixel's corner, its centre is farther than 1 m
    point = Transformer.from_crs(32647, 4326, always_xy=True).transform(x, y)
    figure = plot_time_series(cube, point=point, radius=1)
    (line, *_) = lines(figure.get_axes()[0]).values()
    np.testing.assert_allclose(line.get_ydata(), 10 * np.log10(cube["vv"].values[1::2, 30, 40].astype(float)))
    assert "mean power of 1 pixel within 1 m" in words(figure)


def test_a_circle_larger_than_the_cube_is_the_cube():
    cube = make_cube(names=("vv",))
    assert "of 4800 pixels" in words(plot_time_series(cube, point=place_of(30, 40), radius=1e5))


def test_metres_are_metres_on_a_grid_in_degrees():
    step = 1e-4
    geobox = GeoBox((60, 80), Affine(step, 0, 12.0, 0, -step, 60.0), "EPSG:4326")
    cube = make_cube(geobox=geobox, names=("vv",))
    longitude, latitude = 12.0 + 40.5 * step, 60.0 - 30.5 * step
    x, y = np.meshgrid(cube.x, cube.y)
    away = Geod(ellps="WGS84").inv(x, y, np.full(x.shape, longitude), np.full(x.shape, latitude))[2]
    circle = away <= 40
    assert np.ptp(np.nonzero(circle)[1]) > 1.5 * np.ptp(np.nonzero(circle)[0])  # a degree east is half as long here
    figure = plot_time_series(cube, point=(longitude, latitude), radius=40)
    assert f"mean power of {circle.sum()} pixels" in words(figure)
    (line, *_) = lines(figure.get_axes()[0]).values()
    np.testing.assert_allclose(line.get_ydata(), [mean_db(v[circle]) for v in cube["vv"].values[1::2]], rtol=1e-12)


def test_a_series_says_what_it_expected():
    cube, point = make_cube(), place_of(30, 40)
    with pytest.raises(AreaError, match=r"the place 99\.0000, 0\.1000 .* outside the cube, which reaches from 100\.31"):
        plot_time_series(cube, point=(99.0, 0.1))
    with pytest.raises(AreaError, match="outside the cube"):
        plot_time_series(cube, point=place_of(30, 80))
    with pytest.raises(InputError, match="are they exchanged"):
        plot_time_series(cube, point=(0.1, 100.3))
    for radius in (0, -5, np.nan, np.inf):
        with pytest.raises(InputError, match="radius must be a number of metres > 0"):
            plot_time_series(cube, point=point, radius=radius)
    with pytest.raises(TrackError, match="it holds A054, D164"):
        plot_time_series(cube, point=point, track="D001")
    with pytest.raises(BandError, match="needs a polarisation"):
        plot_time_series(cube.rename(vv="coherence", vh="phase"), point=point)
    with pytest.raises(NoSceneError, match="holds no scene"):
        plot_time_series(cube.isel(time=[]), point=point)
    with pytest.raises(InputError, match="no regular grid with a CRS"):
        plot_time_series(cube.drop_vars(["spatial_ref", "x", "y"]), point=point)
