import logging

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import sarcube as sc
from sarcube.change.baselines.circle import circle_share
from sarcube.change.baselines.curvature import smoothed_curvature
from sarcube.change.baselines.density import landslide_density
from sarcube.errors import BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

EVENT = Event("hokkaido-2018", bbox=(100.30, 0.00, 100.33, 0.06), time="2018-09-05T18:07Z")
SHAPE = (70, 90)
SCAR = np.s_[30:38, 40:50]
STATES = {"A": "ascending", "D": "descending"}


def make_cube(days=(-30, -20, -10, 3, 9), tracks=("A068", "D046"), seed=0, drop_db=6.0):
    """Speckle around -15 dB on steep ground; inside SCAR it drops after the event, on every track."""
    random = np.random.default_rng(seed)
    moment = np.datetime64("2018-09-05T18:07", "ns")
    days = np.repeat(days, len(tracks)) + 0.1 * np.tile(np.arange(len(tracks)), len(days))
    vh = 10**-1.5 * random.gamma(20, 1 / 20, (len(days), *SHAPE)).astype("float32")
    vh[(days > 0).nonzero()[0][:, None, None], np.arange(30, 38)[:, None], np.arange(40, 50)] *= 10 ** (-drop_db / 10)
    y, x = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])
    elevation = 5.0 * y + 40 * np.sin(x / 9.0)
    return xr.Dataset(
        {
            "vh": (("time", "y", "x"), vh.astype("float32")),
            "slope": (("y", "x"), np.full(SHAPE, 27.0, "float32")),
            "elevation": (("y", "x"), elevation.astype("float32")),
            "layover_shadow": (("track", "y", "x"), np.zeros((len(tracks), *SHAPE), "uint8")),
        },
        {
            "time": moment + (days * 86400e9).astype("timedelta64[ns]"),
            "scene_track": ("time", list(tracks) * (len(days) // len(tracks))),
            "orbit_state": ("time", [STATES[track[0]] for track in tracks] * (len(days) // len(tracks))),
            "track": list(tracks),
            "y": 6000.0 - 10 * np.arange(SHAPE[0]),
            "x": 646005.0 + 10 * np.arange(SHAPE[1]),
        },
    ).rio.write_crs(32647)


def textbook(cube, radius=10, percentile=99.0, min_slope=10.0, by="scene_track"):
    """The recipe, step by step, without a chunk in sight; `by` says which scenes share a median."""
    vh = 10 * np.log10(cube.vh.astype("float64"))
    vh = vh.where(vh >= -30)
    after = cube.time > np.datetime64("2018-09-05T18:07")
    ratios = []
    for view in np.unique(cube[by]):
        one = cube[by] == view
        ratios.append(vh[one & ~after].median("time") - vh[one & after].median("time"))
    ratio = sum(ratios) / len(ratios)
    masked = ratio.where(cube.slope >= min_slope).values
    dropped = (masked > np.nanpercentile(masked, percentile)).astype("float64")
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    circle = (x**2 + y**2 <= radius**2).astype("float64")
    inside = ndimage.convolve(np.ones(SHAPE), circle, mode="constant")
    return np.where(np.isnan(ratio), np.nan, ndimage.convolve(dropped, circle, mode="constant") / inside)


@pytest.mark.parametrize("radius", [1, 10, 20])
def test_is_the_papers_recipe(radius):
    cube = make_cube()
    cube["slope"][:, :30] = 5.0
    cube["vh"][:, 5:8, 5:8] = 1e-4
    density = landslide_density(cube, EVENT, radius_pixels=radius)
    assert density.dtype == np.float32
    assert density.dims == ("y", "x")
    np.testing.assert_allclose(density, textbook(cube, radius), atol=1e-6)
    assert np.isnan(density).sum() == 9


TRACKS = ("A068", "A141", "D046")


@pytest.mark.parametrize("radius", [10, 15])
def test_without_per_track_orbits_are_the_papers(radius):
    cube = make_cube(tracks=TRACKS)
    cube["vh"][:, 5:8, 5:8] = np.nan
    density = landslide_density(cube, EVENT, radius_pixels=radius, per_track=False)
    np.testing.assert_allclose(density, textbook(cube, radius, by="orbit_state"), atol=1e-6)
    assert density.attrs["medians"] == "per pass direction, across tracks"
    assert density.attrs["tracks"] == list(TRACKS)
    per_track = landslide_density(cube, EVENT, radius_pixels=radius)
    assert per_track.attrs["medians"] == "per track"
    assert not np.array_equal(density, per_track, equal_nan=True)


def test_one_track_for_each_direction_is_the_same_both_ways():
    cube = make_cube()
    xr.testing.assert_equal(landslide_density(cube, EVENT), landslide_density(cube, EVENT, per_track=False))


def test_the_papers_mean_wants_both_directions():
    cube = make_cube(tracks=TRACKS)
    cube["vh"][(cube.orbit_state == "descending").values, :, :20] = np.nan
    paper = landslide_density(cube, EVENT, per_track=False)
    assert np.isnan(paper[:, :20]).all()
    assert not np.isnan(paper[:, 20:]).any()
    assert not np.isnan(landslide_density(cube, EVENT)).any()


def test_a_direction_without_both_sides_is_left_out_and_named(caplog):
    cube = make_cube(tracks=TRACKS)
    late = (cube.orbit_state == "descending") & (cube.time > np.datetime64("2018-09-06"))
    with caplog.at_level(logging.WARNING):
        density = landslide_density(cube.isel(time=~late), EVENT, per_track=False)
    assert "a pass direction is left out" in caplog.text
    assert density.attrs["tracks"] == ["A068", "A141"]
    with pytest.raises(NoSceneError, match=r"no pass direction has scenes.*ascending.*descending"):
        landslide_density(cube.isel(time=cube.time < np.datetime64("2018-09-06")), EVENT, per_track=False)


def test_masked_scenes_leave_the_others_of_their_direction():
    cube = make_cube(tracks=TRACKS)
    cube["layover_shadow"][0, 40:50, 10:20] = 3
    blind = cube.copy(deep=True)
    blind["vh"][(cube.scene_track == "A068").values, 40:50, 10:20] = np.nan
    masked = landslide_density(cube, EVENT, mask_distortion=True, per_track=False)
    xr.testing.assert_equal(masked, landslide_density(blind, EVENT, per_track=False))
    assert not np.isnan(masked).any()


def test_the_scar_stands_out():
    density = landslide_density(make_cube(), EVENT)
    assert density[SCAR].min() > 0.8 * density.max()
    assert density.max() == pytest.approx(63 / 317, abs=0.02)  # one in a hundred pixels, all within one circle
    assert float(density[:15].max()) < 0.02


def test_brighter_ground_is_no_landslide():
    assert float(landslide_density(make_cube(drop_db=-6), EVENT)[SCAR].max()) < 0.05


@pytest.mark.parametrize("chunks", [(1, 70, 90), (3, 33, 41), (10, 17, 90), (-1, 5, 23)])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_curvature": -0.005, "mask_distortion": True, "radius_pixels": 15},
        {"per_track": False, "mask_distortion": True},
    ],
)
def test_dask_is_numpy_and_lazy(options, chunks):
    cube = make_cube()
    cube["layover_shadow"][0, 40:60, 10:30] = 2
    expected = landslide_density(cube, EVENT, **options)
    time, y, x = chunks
    lazy = cube.chunk({"time": time, "y": y, "x": x}).assign_coords(scene_track=cube.scene_track)

    def refuse(*args, **kwargs):
        raise AssertionError("computed while the graph was built")

    with dask.config.set(scheduler=refuse):
        density = landslide_density(lazy, EVENT, **options)
    assert density.chunks is not None
    xr.testing.assert_identical(density.compute(scheduler="sync"), expected)


@given(st.permutations(range(10)), st.integers(0, 9), st.booleans())
@settings(max_examples=10)
def test_order_of_dates_and_empty_dates_change_nothing(order, copied, per_track):
    cube = make_cube()
    expected = landslide_density(cube, EVENT, per_track=per_track)
    empty = cube.isel(time=[copied])
    empty = empty.assign(vh=empty.vh * np.float32(np.nan), time=empty.time + np.timedelta64(1, "h"))
    more = xr.concat([cube.isel(time=list(order)), empty], "time", data_vars="minimal")
    xr.testing.assert_identical(landslide_density(more, EVENT, per_track=per_track), expected)


def test_gentle_slopes_and_water_do_not_count():
    cube = make_cube()
    everywhere = landslide_density(cube, EVENT)
    water = xr.zeros_like(cube["slope"], dtype=bool)
    water[SCAR] = True
    wet = landslide_density(cube, EVENT, water=water)
    cube["slope"][SCAR] = 9.9
    gentle = landslide_density(cube, EVENT)
    assert float(everywhere[34, 45]) > 0.15
    assert float(gentle[34, 45]) < 0.05
    xr.testing.assert_equal(wet, gentle)


def test_hilltops_do_not_count():
    cube = make_cube()
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cube["elevation"][:] = 50 * np.exp(-((y - 34) ** 2 + (x - 45) ** 2) / (2 * 8**2))  # curvature -2 · 50 / 80² at top
    assert float(landslide_density(cube, EVENT, min_curvature=-0.005)[34, 45]) < 0.05
    assert float(landslide_density(cube, EVENT, min_curvature=-0.05)[34, 45]) > 0.15


def test_curvature_is_that_of_a_paraboloid():
    y, x = 10.0 * np.mgrid[-40:41, -40:41]
    curvature = smoothed_curvature(0.001 * x**2 - 0.003 * y**2, 10.0)
    np.testing.assert_allclose(curvature[15:-15, 15:-15], 2 * (0.001 - 0.003), rtol=1e-4)


def test_circle_is_counted_inside_the_area_only():
    flags = np.ones((6, 9), "uint8")
    np.testing.assert_array_equal(circle_share(flags, 4), np.ones((6, 9), "float32"))
    flags[0, 0] = 0
    share = circle_share(flags, 1)
    assert share[0, 0] == np.float32(2 / 3)  # itself and the two neighbours
    assert share[0, 1] == np.float32(3 / 4)
    assert share[1, 1] == 1


def test_distortion_is_masked_track_by_track():
    cube = make_cube()
    noisy = cube.copy(deep=True)
    is_a = (cube.scene_track == "A068").values
    noisy["vh"][is_a, 50:60, 60:80] = np.where(cube.time[is_a].values > np.datetime64("2018-09-06"), 2e-3, 0.1)[
        :, None, None
    ]
    noisy["layover_shadow"][0, 50:60, 60:80] = 2
    assert float(landslide_density(noisy, EVENT)[55, 70]) > 0.1
    masked = landslide_density(noisy, EVENT, mask_distortion=True)
    assert float(masked[55, 70]) < 0.05
    assert float(masked[34, 45]) > 0.15
    noisy["layover_shadow"][1, 50:60, 60:80] = 1
    blind = landslide_density(noisy, EVENT, mask_distortion=True)
    assert np.isnan(blind[50:60, 60:80]).all()
    assert np.isnan(blind).sum() == 200


def test_no_data_anywhere_is_not_an_answer():
    cube = make_cube()
    cube["vh"][:] = np.nan
    assert np.isnan(landslide_density(cube, EVENT)).all()


def test_a_track_without_both_sides_is_left_out_and_named(caplog):
    cube = make_cube()
    late = (cube.scene_track == "A068") & (cube.time > np.datetime64("2018-09-06"))
    with caplog.at_level(logging.WARNING):
        density = landslide_density(cube.isel(time=~late), EVENT)
    assert density.attrs["tracks"] == ["D046"]
    assert "track A068 has no scene in the 15 days after" in caplog.text
    alone = cube.isel(time=(cube.scene_track == "D046").values)
    np.testing.assert_array_equal(density, landslide_density(alone, EVENT))


def test_no_track_at_all_is_an_error():
    cube = make_cube()
    with pytest.raises(NoSceneError, match=r"no track has scenes on both sides.*A068.*D046"):
        landslide_density(cube.isel(time=cube.time < np.datetime64("2018-09-06")), EVENT)


def test_says_that_data_are_simulated():
    cube = make_cube()
    assert "simulated" not in landslide_density(cube, EVENT).attrs
    assert landslide_density(cube.assign_attrs(simulated=True), EVENT).attrs["simulated"] is True


def test_is_public():
    assert sc.landslide_density is landslide_density


def test_attributes_say_what_was_done():
    attrs = landslide_density(make_cube(), EVENT, min_slope=5, min_curvature=-0.01, mask_distortion=True).attrs
    assert attrs["event"] == "hokkaido-2018"
    assert attrs["event_time"] == "2018-09-05T18:07:00Z"
    assert attrs["tracks"] == ["A068", "D046"]
    expected = {"pre_days": 1095, "post_days": 15, "percentile": 99.0, "min_slope": 5, "min_curvature": -0.01}
    assert expected.items() <= attrs.items()
    assert attrs["mask_distortion"] == "true"


def test_every_track_of_the_scenes_must_have_its_mask():
    cube = make_cube(tracks=TRACKS)
    with pytest.raises(TrackError, match="no layover_shadow for A141, only for A068, D046"):
        landslide_density(cube.isel(track=[0, 2]), EVENT, mask_distortion=True)


def test_curvature_wants_metres():
    cube = make_cube().drop_vars("spatial_ref")
    cube = cube.assign_coords(x=100.3 + 1e-4 * np.arange(SHAPE[1]), y=0.05 - 1e-4 * np.arange(SHAPE[0]))
    with pytest.raises(InputError, match="projected CRS"):
        landslide_density(cube.rio.write_crs(4326), EVENT, min_curvature=-0.005)


def test_the_papers_way_wants_pass_directions():
    with pytest.raises(InputError, match="orbit_state"):
        landslide_density(make_cube().drop_vars("orbit_state"), EVENT, per_track=False)


@pytest.mark.parametrize(
    ("missing", "options", "message"),
    [
        ("vh", {}, 'needs "vh"'),
        ("slope", {}, "sc.add_terrain"),
        ("elevation", {"min_curvature": -0.005}, "sc.add_terrain"),
        ("layover_shadow", {"mask_distortion": True}, "sc.add_geometry"),
    ],
)
def test_missing_layers_name_the_remedy(missing, options, message):
    with pytest.raises(BandError, match=message):
        landslide_density(make_cube().drop_vars(missing), EVENT, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"radius_pixels": 0},
        {"radius_pixels": 2.5},
        {"percentile": 100},
        {"water": xr.DataArray(np.zeros((3, 3)), dims=("y", "x"), coords={"y": [1, 2, 3], "x": [1, 2, 3]})},
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(InputError, match=next(iter(options))):
        landslide_density(make_cube(), EVENT, **options)
