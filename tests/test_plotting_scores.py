"""Charts of scores: what is drawn is what the tables hold, densities are densities, holes are said."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from test_plotting import pixels, words

import sarcube as sc
from sarcube.errors import InputError
from sarcube.events import BUFFERS
from sarcube.plotting import plot_densities, plot_reliability, plot_sweep
from sarcube.plotting.charts import styles
from sarcube.plotting.densities import _axis, _density

THRESHOLD = 0.5


def described(number=80, seed=0):
    """Of landslides the steep are missed; the second half of the table is background."""
    draws = np.random.default_rng(seed)
    slope = draws.uniform(0, 60, 2 * number)
    return pd.DataFrame(
        {
            "landslide": np.arange(2 * number) < number,
            "score": np.where(slope < 35, 0.8, 0.2).astype(np.float32),
            "slope": slope,
            "aspect": draws.uniform(0, 360, 2 * number),
            "look_aspect": draws.uniform(0, 180, 2 * number),
            "landslide_area": 10 ** draws.uniform(2.5, 5, 2 * number),
            "incidence_angle": draws.uniform(30, 45, 2 * number),
            "distortion": "none",
        }
    )


def curves(ax):
    """The lines of a panel by the first word of their label, and the ticks of the patches under them."""
    drawn = [line for line in ax.lines if line.get_linestyle() != "None"]
    ticks = [line for line in ax.lines if line.get_linestyle() == "None"]
    names = [line.get_label().split(",")[0] for line in drawn]
    return dict(zip(names, drawn, strict=True)), dict(zip(names, ticks, strict=True))


def test_densities_are_of_found_and_of_missed():
    table = described()
    figure = plot_densities(table, ["slope", "aspect", "look_aspect", "landslide_area"], threshold=THRESHOLD)
    assert isinstance(figure, Figure)
    landslides = table[table["landslide"]]
    for ax, column in zip(figure.axes, ("slope", "aspect", "look_aspect", "landslide_area"), strict=False):
        lines, ticks = curves(ax)
        for name, here in {"found": landslides["score"] >= 0.5, "missed": landslides["score"] < 0.5}.items():
            assert lines[name].get_label() == f"{name}, n = {here.sum()}"
            assert sorted(ticks[name].get_xdata()) == sorted(landslides[column][here])
    found, missed = (line.get_xdata()[line.get_ydata().argmax()] for line in curves(figure.axes[0])[0].values())
    assert found < 35 < missed
    said = words(figure)
    for phrase in ("slope (degrees)", "density per degree", "area of the landslide (m²)", "density per decade", "NW"):
        assert phrase in said
    assert "SIMULATED" not in said
    assert "SIMULATED DATA" in words(plot_densities(table, threshold=THRESHOLD, simulated=True))
    assert figure.axes[3].get_xscale() == "log"


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=40, unique=True).filter(lambda v: max(v) - min(v) > 1e-3),
    st.sampled_from(["slope", "aspect", "look_aspect", "layover_share", "anything"]),
)
@settings(deadline=None, max_examples=60)
def test_a_density_integrates_to_one(values, column):
    """Over all that its bounds allow: nothing leaks out of them."""
    axis = _axis(column)
    bounded = column != "anything"
    low, high = axis.bounds if bounded else (-30.0, 30.0)
    within = low + (high - low) * np.array(values) if bounded else np.array(values)
    along = np.linspace(low, high, 60_001)
    density = _density(within, along, axis)
    assert (density >= 0).all()
    assert np.trapezoid(density, along) == pytest.approx(1, abs=0.002)


@given(st.lists(st.floats(0, 359), min_size=2, max_size=20, unique=True), st.integers(0, 359))
@settings(deadline=None)
def test_directions_have_no_seam(directions, turn):
    along, axis = np.arange(0.0, 361), _axis("aspect")
    density = _density(np.array(directions), along, axis)
    assert density[0] == pytest.approx(density[-1])
    turned = _density((np.array(directions) + turn) % 360, (along + turn) % 360, axis)
    np.testing.assert_allclose(turned, density, rtol=1e-6, atol=1e-12)


def test_too_few_values_have_no_density_and_the_panel_says_so():
    table = described()
    table.loc[table["score"] < 0.5, "slope"] = 50.0
    table.loc[table["landslide"].cumsum() > 3, "landslide"] = False
    table["aspect"] = np.where(table["score"] > 0.5, np.nan, table["aspect"])
    figure = plot_densities(table, ["slope", "aspect", "incidence_angle"], threshold=THRESHOLD)
    said = [words(ax) for ax in figure.axes]
    assert "no density of missed" in said[0]
    assert "no density of found" in said[1]
    assert "found, n = 0" in said[1]
    nothing = plot_densities(table.assign(slope=np.nan), ["slope"], threshold=THRESHOLD)
    assert "no density of found and missed" in words(nothing)
    assert pixels(nothing)[..., :3].std() > 0


def test_landslides_without_a_score_are_counted():
    table = described()
    table.loc[:6, "score"] = np.nan
    figure = plot_densities(table, ["slope"], threshold=THRESHOLD)
    assert "7 without a score" in words(figure)
    assert sum(len(ticks.get_xdata()) for ticks in curves(figure.axes[0])[1].values()) == 73


def test_a_score_at_the_threshold_is_found_as_it_is_elsewhere():
    """0.7 in single precision is a little less than in double, and is compared in its own."""
    table = described().assign(score=np.float32(0.7))
    assert "missed, n = 0" in words(plot_densities(table, ["slope"], threshold=0.7).axes[0])
    counts = sc.evaluate_by_condition(table, "slope", threshold=0.7, bins=(0, 91))
    assert counts["found"].tolist() == counts["positives"].tolist()
    with pytest.raises(InputError, match="finite"):
        plot_densities(table, ["slope"], threshold=np.nan)


@pytest.mark.parametrize(
    ("change", "columns", "message"),
    [
        (lambda t: t, ["curvature"], "lacks curvature"),
        (lambda t: t, ["distortion"], "holds no numbers"),
        (lambda t: t, "slope", "one or more names"),
        (lambda t: t, [], "one or more names"),
        (lambda t: t.assign(landslide_area=0.0), ["landslide_area"], "must be > 0"),
        (lambda t: t.assign(landslide=False), ["slope"], "no landslide with a score"),
    ],
)
def test_densities_of_nothing_are_refused(change, columns, message):
    with pytest.raises(InputError, match=message):
        plot_densities(change(described()), columns, threshold=THRESHOLD)


def reliability(seed, number=400):
    draws = np.random.default_rng(seed)
    score = draws.random(number)
    table = pd.DataFrame({"landslide": draws.random(number) < score, "score": score})
    return sc.reliability_curve(table[(score < 0.5) | (score > 0.7)])


def test_reliability_shows_shares_intervals_and_counts():
    before, after = reliability(0), reliability(1)
    figure = plot_reliability({"before": before, "after": after}, simulated=True)
    above, below = figure.axes
    for curve, drawn in zip((before, after), above.containers, strict=True):
        held = curve[curve["count"] > 0]
        assert len(held) == 8  # two bins are empty, and have no point
        x, y = drawn.lines[0].get_data(orig=False)
        np.testing.assert_allclose(x, held["mean_score"])
        np.testing.assert_allclose(y, held["observed"])
        ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments()])
        np.testing.assert_allclose(ends, held[["observed_low", "observed_high"]].to_numpy())
    for curve, steps in zip((before, after), below.patches, strict=True):
        np.testing.assert_array_equal(steps.get_data().values, curve["count"])
    assert f"before, n = {before['count'].sum()}" in words(figure)
    assert "SIMULATED DATA" in words(figure)
    assert len(plot_reliability(before).axes[0].containers) == 1


def test_a_reliability_of_nothing_is_refused():
    with pytest.raises(InputError, match="no curve"):
        plot_reliability({})
    with pytest.raises(InputError, match="lacks observed"):
        plot_reliability(reliability(0).drop(columns="observed"))
    with pytest.raises(InputError, match="no patch"):
        plot_reliability({"mine": reliability(0).assign(count=0)})


def runs(seeds=3):
    """The papers' forty configurations, shuffled."""
    draws = np.random.default_rng(0)
    rows = [
        {"bands": bands, "orbit": orbit, "buffer": f"{pre}-{post}", "seed": seed}
        for bands in ("VV", "VV_VH")
        for orbit in ("descending", "ascending")
        for pre, post in BUFFERS
        for seed in range(seeds)
    ]
    table = pd.DataFrame(rows).assign(test_f1=draws.random(len(rows)), validation_f1=0.5)
    return table.sample(frac=1, random_state=0)


def bars(ax):
    """Of each series of a panel: name, x and medians, and the ends of the bars."""
    for drawn in ax.containers:
        x, y = drawn.lines[0].get_data(orig=False)
        ends = np.array([segment[:, 1] for segment in drawn.lines[2][0].get_segments() if segment.ndim == 2])
        yield drawn.get_label().split(",")[0], x, y, ends


def test_a_sweep_shows_medians_and_ranges_in_the_papers_order():
    table = runs()
    figure = plot_sweep(table, panels="orbit")
    assert [ax.get_title() for ax in figure.axes] == ["ascending", "descending"]
    order = [f"{pre}-{post}" for pre, post in BUFFERS]
    for ax in figure.axes:
        assert [tick.get_text() for tick in ax.get_xticklabels()] == order
        shifts = []
        for bands, x, y, ends in bars(ax):
            here = table[(table["orbit"] == ax.get_title()) & (table["bands"] == bands)]
            spread = here.groupby("buffer")["test_f1"].agg(["min", "median", "max"]).loc[order]
            np.testing.assert_allclose(y, spread["median"])
            np.testing.assert_allclose(ends, spread[["min", "max"]].to_numpy())
            assert np.abs(x - np.arange(10)).max() < 0.2
            shifts.append(x[0])
        assert len(set(shifts)) == 2  # side by side
    assert "F1 (test) by buffer, bands, orbit" in words(figure)
    (only,) = {tuple(y) for _, _, y, _ in bars(plot_sweep(table, metric="validation_f1").axes[0])}
    assert only == (0.5,) * 10


def test_buffers_of_ones_own_come_behind_the_papers():
    table = pd.DataFrame({"buffer": ["7-7", "60-60", "365-12"], "bands": "VV", "test_f1": [0.1, 0.2, 0.3]})
    (ax,) = plot_sweep(table).axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["365-12", "60-60", "7-7"]


def test_time_steps_rise_and_chance_is_drawn():
    table = pd.DataFrame(
        [
            {"inputs": name, "steps": steps, "test_auprc": 0.1 * steps, "test_chance": 0.05 + 0.01 * steps}
            for name in ("VV", "VV+VH")
            for steps in (4, 2, 1, 3)
        ]
        + [{"inputs": "DEM", "steps": 0, "test_auprc": 0.2, "test_chance": 0.05}]
    )
    (ax,) = plot_sweep(table, x="steps", by="inputs", metric="auprc", simulated=True).axes
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["no radar", "1", "2", "3", "4"]
    (chance,) = [line for line in ax.lines if line.get_label() == "chance"]
    np.testing.assert_allclose(chance.get_ydata(), 0.05 + 0.01 * np.arange(5))
    assert ax.get_legend().get_texts()[-1].get_text() == "chance"
    series = {name: y for name, _, y, _ in bars(ax)}
    np.testing.assert_allclose(series["VV"], [np.nan, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(series["DEM"], [0.2, *[np.nan] * 4])


def test_runs_without_a_score_are_counted_and_leave_a_hole():
    table = runs()
    gone = (table["buffer"] == "60-12") & (table["orbit"] == "ascending") & (table["bands"] == "VV")
    figure = plot_sweep(table.assign(test_f1=table["test_f1"].where(~gone)), panels="orbit")
    assert "3 of 120 runs without a score" in words(figure)
    hole = {name: y for name, _, y, _ in bars(figure.axes[0])}["VV"]
    assert np.flatnonzero(np.isnan(hole)).tolist() == [BUFFERS.index((60, 12))]


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (runs(), {"by": "inputs"}, "lacks inputs"),
        (runs(), {"metric": "auprc"}, "lacks test_auprc"),
        (runs(), {"metric": "bands"}, "no numbers"),
        (runs().assign(test_f1=np.nan), {}, "none of the 120 runs"),
        (runs().assign(orbit=np.nan), {"panels": "orbit"}, "some runs have no .orbit"),
    ],
)
def test_a_sweep_of_nothing_is_refused(table, options, message):
    with pytest.raises(InputError, match=message):
        plot_sweep(table, **options)


def test_no_two_lines_look_alike():
    looks = {(style["color"], style["marker"], style["linestyle"]) for style in styles(105)}
    assert len(looks) == 105
