"""The picture of why: bands above, contributions below, on one scale that is symmetric about zero, and the truth."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from test_plotting_change import LEFT, TOP, apart, drawn, make_stack, maps, words

from sarcube.errors import InputError
from sarcube.plotting import plot_explanation

BANDS = ["vv_post", "vh_post", "vv_diff", "vh_diff"]


def make_layer(stack, **attrs):
    spread = np.arange(1, len(stack) + 1)[:, None, None]
    values = np.random.default_rng(2).normal(0, spread, stack.shape).astype("float32")
    attrs = {"base_value": -1.25, "baselines": 15, "window_size": 64, "windows": 6, **attrs}
    layer = xr.DataArray(values, dims=stack.dims, coords=stack.coords, attrs=attrs)
    return layer.where(np.isfinite(stack))


def make_inventory():
    polygons = [shapely.Point(LEFT + 300 * n, TOP - 300).buffer(50) for n in (1, 2)]
    return gpd.GeoDataFrame(geometry=polygons, crs=32647)


def test_bands_stand_above_their_contributions_and_the_mean():
    stack = make_stack()
    layer = make_layer(stack)
    *above, _, _, _, _, mean = maps(plot_explanation(stack, layer))
    below = maps(plot_explanation(stack, layer))[4:8]
    for number, (band, part) in enumerate(zip(above, below, strict=True)):
        assert band.get_title() == BANDS[number]
        assert part.get_title() == f"contribution of {BANDS[number]}"
        np.testing.assert_array_equal(drawn(band), stack[number])
        np.testing.assert_array_equal(drawn(part), layer[number])
    np.testing.assert_allclose(drawn(mean), layer.mean("band"))
    limits = {part.images[0].get_clim() for part in below}
    ((low, high),) = limits
    assert low == -high
    assert high == pytest.approx(np.nanpercentile(np.abs(layer), 99.5), rel=1e-5)
    assert sum(mean.images[0].get_clim()) == 0
    for ax in (*above, *below, mean):
        assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((646.0, 646.8, 11.4, 12.0))


def test_it_says_what_it_is():
    stack = make_stack()
    said = words(plot_explanation(stack, make_layer(stack), inventory=make_inventory()))
    for phrase in (
        "sumatra-2022 · 2022-02-25 01:39 UTC",
        "track D164 (descending, looks west)",
        "counted from the mean logit of 15 baselines, −1.25",
        "backscatter (dB)",
        "change (dB): red brighter",
        "contribution of a pixel, to the logit: orange for a landslide, purple against",
        "mean over the bands",
        "known landslides",
        "easting (km)",
        "100 m",
        "no data",
    ):
        assert phrase in said, phrase
    assert "SIMULATED" not in said
    simulated = make_stack(simulated=True)
    assert "SIMULATED DATA" in words(plot_explanation(simulated, make_layer(simulated), title="Pasaman"))


def test_of_a_single_window_it_says_the_sum():
    stack = make_stack((64, 64))[:, 20:52, 20:52]
    layer = make_layer(stack, window_size=32, windows=1)
    total = float(layer.astype(float).sum())
    sign = "+" if total >= 0 else "−"
    said = words(plot_explanation(stack, layer))
    assert f"= −1.25, mean logit of 15 baselines, {sign} {abs(total):.2f}, sum of all contributions" in said
    assert f"logit of the window {total - 1.25:.2f} ".replace("-", "−") in said
    assert "no data" not in said
    # Of a layer of several windows a part of a window's size is no window.
    said = words(plot_explanation(stack, make_layer(stack, window_size=32)))
    assert "logit of the window" not in said
    assert "counted from the mean logit of 15 baselines, −1.25" in said


def test_for_and_against_differ_for_the_colour_blind_too():
    stack = make_stack()
    layer = make_layer(stack) * 0 + np.where(np.arange(80) < 40, 1.0, -1.0)
    image = maps(plot_explanation(stack, layer))[4].images[0]
    speaks, against = (image.cmap(image.norm(value))[:3] for value in (0.6, -0.6))
    assert speaks[0] > speaks[2]  # orange
    assert against[2] > against[0]  # purple
    assert all(apart(speaks, against, kind) > 20 for kind in ("protan", "deutan"))


def test_known_landslides_have_a_panel_and_outlines():
    stack, inventory = make_stack(), make_inventory()
    figure = plot_explanation(stack, make_layer(stack), inventory=inventory.to_crs(4326))
    for ax in maps(figure):
        (lines,) = ax.collections
        assert len(lines.get_segments()) == 2
    (panel,) = (ax for ax in figure.get_axes() if ax.get_title() == "known landslides")
    (shapes,) = panel.collections
    np.testing.assert_allclose(shapes.get_paths()[0].vertices.min(axis=0), (646.25, 11.65), atol=1e-3)
    assert not any(ax.get_title() == "known landslides" for ax in plot_explanation(stack, make_layer(stack)).get_axes())


def test_contributions_of_a_large_area_are_averaged_and_it_says_so():
    stack = make_stack((60, 640))
    layer = make_layer(stack)
    figure = plot_explanation(stack, layer, inventory=make_inventory())
    part = maps(figure)[4]
    assert drawn(part).shape == (15, 160)
    assert drawn(part)[5, 7] == pytest.approx(float(layer[0, 20:24, 28:32].mean()), abs=1e-5)
    assert "contribution of a pixel, mean of 4 × 4, to the logit" in words(figure)
    assert not part.collections  # outlines would hide it


@pytest.mark.parametrize("values", [0, np.nan])
def test_nothing_to_see_is_drawn(values, tmp_path):
    stack = make_stack()
    plot_explanation(stack, make_layer(stack) * values).savefig(tmp_path / "empty.png", dpi=40)


def test_other_bands_are_drawn_as_they_are():
    stack = make_stack()[[0, 2]].assign_coords(band=["vv_post", "slope"])
    assert "slope" in words(plot_explanation(stack, make_layer(stack)))


def test_contributions_of_something_else_are_refused():
    stack = make_stack()
    layer = make_layer(stack)
    with pytest.raises(InputError, match=r"\(band, y, x\), not"):
        plot_explanation(stack, layer.mean("band"))
    with pytest.raises(InputError, match="cut both alike"):
        plot_explanation(stack.isel(x=slice(1, None)), layer)
    with pytest.raises(InputError, match="their bands"):
        plot_explanation(stack[[1, 0, 2, 3]], layer)
    with pytest.raises(InputError, match="two rows"):
        plot_explanation(stack[:, :1], layer[:, :1])
