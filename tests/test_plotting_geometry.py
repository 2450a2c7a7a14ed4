"""Pictures of what the radar saw: maps of layover and shadow, and cuts along a look line."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from affine import Affine
from matplotlib.colors import to_rgb
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from test_plotting import maps, pixels, words

from sarcube.errors import AreaError, BandError, InputError, TrackError
from sarcube.plotting import plot_cross_section, plot_distortion
from sarcube.plotting.cross_section import _LAYOVER, _instant, _Profile, _profile
from sarcube.plotting.distortion import _FIRST, _compared
from sarcube.plotting.maps import MASK
from sarcube.plotting.track import look_azimuth
from sarcube.sar import layover_shadow_mask

SHAPE = (60, 80)
GEOBOX = GeoBox(SHAPE, Affine(10, 0, 500_000, 0, -10, 5_210_000), "EPSG:32633")
THETA, AZIMUTH = 39.0, 90.0  # degrees; on the central meridian true and grid north are one


def ridge_cube(tracks=("D168",), geobox=GEOBOX):
    """A ridge across the look: sensor in the east, a slope of 60 degrees toward it, one of 60 away from it."""
    x = 10 * (np.arange(SHAPE[1]) + 0.5)
    line = np.clip(150 - np.tan(np.radians(60)) * abs(x - 400), 0, None)
    elevation = np.tile(line, (SHAPE[0], 1)).astype("float32")
    elevation[:6, :10] = np.nan
    look = {"resolution": 10.0, "incidence_angle": THETA, "sensor_azimuth": AZIMUTH}
    exact, local = (layover_shadow_mask(elevation, **look, method=method) for method in ("exact", "local"))
    active = np.where(local == 255, 0, local)
    parts = np.zeros(SHAPE, np.uint8)
    for bit in (1, 2):  # shadow, layover
        parts |= np.where(exact & bit, np.where(active & bit, bit, 4 * bit), 0).astype(np.uint8)
    parts[exact == 255] = 255
    per_track = {
        "incidence_angle": np.full(SHAPE, THETA, np.float32),
        "sensor_azimuth": np.full(SHAPE, AZIMUTH, np.float32),
        "layover_shadow": exact,
        "distortion_parts": parts,
    }
    states = ["descending" if track[0] == "D" else "ascending" for track in tracks]
    return xr.Dataset(
        {
            "elevation": (("y", "x"), elevation),
            **{name: (("track", "y", "x"), np.stack([layer] * len(tracks))) for name, layer in per_track.items()},
        },
        coords={
            **xr_coords(geobox, dims=("y", "x")),
            "track": list(tracks),
            "time": pd.date_range("2021-04-01", periods=len(tracks)),
            "scene_track": ("time", np.array(tracks, object)),
            "orbit_state": ("time", np.array(states, object)),
        },
    ), local


def middle(cube):
    return float(cube.x.mean()), float(cube.y.mean())


def test_map_says_what_is_drawn():
    cube, _ = ridge_cube()
    figure = plot_distortion(cube)
    said = words(figure)
    codes = cube.layover_shadow.values
    known = (codes != 255).sum()
    for phrase in (
        "track D168 (descending, looks west), incidence 39.0° to 39.0°",
        f"clear {(codes == 0).sum() / known:.1%}",
        f"layover {(codes == 2).sum() / known:.1%}",
        "no data",
        "radar looks",
        "easting (km)",
        "200 m",
        "N",
    ):
        assert phrase in said, phrase
    assert pixels(figure)[..., :3].std() > 0.1


def test_colours_lie_on_their_pixels_and_no_data_is_never_clear():
    cube, _ = ridge_cube()
    image = np.asarray(maps(plot_distortion(cube))[0].images[0].get_array())
    codes = cube.layover_shadow.values[0]
    np.testing.assert_array_equal(image[..., 3], codes != 255)  # the hatched ground shows through
    colour = np.array(to_rgb(MASK[2][0]))
    assert abs(image[codes == 2][:, :3] - colour).max() < 0.2
    clear = image[codes == 0]
    np.testing.assert_array_equal(clear[:, 0], clear[:, 2])  # grey
    assert clear[:, 0].max() < 0.95  # white would look like a hole


def test_two_masks_are_compared():
    cube, local = ridge_cube()
    other = cube.assign(layover_shadow=(("track", "y", "x"), local[None]))
    figure = plot_distortion({"exact": cube, "local": other}, title="two tests")
    drawn = maps(figure)
    assert [ax.get_title() for ax in drawn] == ["exact", "local", "layover or shadow, found by"]
    said = words(figure)
    exact = cube.layover_shadow.values[0]
    known = (exact != 255) & (local != 255)
    only = known & (exact != 0) & (local == 0)
    assert only.any()
    assert f"exact only {only.sum() / known.sum():.1%}" in said
    assert "two tests" in said
    image = np.asarray(drawn[2].images[0].get_array())
    assert abs(image[only][:, :3] - np.array(to_rgb(_FIRST))).max() < 0.2
    np.testing.assert_array_equal(image[..., 3], known)


def test_difference_of_codes():
    first = np.array([0, 1, 0, 2, 3, 255, 0], np.uint8)
    second = np.array([0, 0, 3, 1, 2, 0, 255], np.uint8)
    assert _compared(first, second).tolist() == [0, 1, 2, 3, 3, 255, 255]


@pytest.mark.parametrize("easting", [300_000.0, 500_000.0, 700_000.0])
def test_look_is_away_from_the_sensor_from_grid_north(easting):
    cube, _ = ridge_cube()
    cube = cube.assign_coords(x=cube.x + easting - 500_000)
    x, y = middle(cube)
    lon = 15 + (x - 500_000) / (111_320 * np.cos(np.radians(47.04)))
    convergence = (lon - 15) * np.sin(np.radians(47.04))  # of a transverse Mercator projection, to first order
    assert look_azimuth(cube, x, y) == pytest.approx(270 - convergence, abs=0.02)


def test_directions_around_north_have_a_mean():
    cube, _ = ridge_cube()
    cube["sensor_azimuth"][..., :40], cube["sensor_azimuth"][..., 40:] = 359, 1
    assert look_azimuth(cube, *middle(cube)) == pytest.approx(180, abs=0.02)


def test_profile_is_the_ground_away_from_the_sensor():
    cube, _ = ridge_cube()
    x, y = middle(cube)
    profile = _profile(cube.isel(track=0), (x, y), look_azimuth(cube, x, y), 2000.0)
    np.testing.assert_allclose(np.diff(profile.distance), 10)
    # From the east westward: the other way around than the columns.
    row = cube.elevation.values[30, ::-1]
    assert profile.height.size in (SHAPE[1] - 1, SHAPE[1])
    assert abs(profile.height.max() - row.max()) < 10
    seen = np.flatnonzero(profile.parts == 2)
    dark = np.flatnonzero(profile.parts & 5)
    assert seen.size > 3
    assert dark.min() > seen.min()  # layover on the near side, shadow beyond the crest
    assert np.degrees(profile.incidence) == pytest.approx(THETA)


def test_profile_ends_at_holes():
    cube, _ = ridge_cube()
    cube["elevation"][:, 60] = np.nan
    x, y = middle(cube)
    profile = _profile(cube.isel(track=0), (x, y), 270.0, 2000.0)
    assert np.isfinite(profile.height).all()
    assert 10 * (58 - 1) <= profile.distance[-1] <= 10 * 60


def test_wavefront_meets_the_ground_at_equal_range():
    distance = np.arange(0, 1000, 5.0)
    height = 200 * np.exp(-(((distance - 500) / 90) ** 2) / 2)  # steeper than 30 degrees
    profile = _Profile(distance, height, np.zeros(200, np.uint8), np.radians(30))
    x, z = _instant(profile)
    assert x.size == 3
    slant = x * np.sin(profile.incidence) - z * np.cos(profile.incidence)
    np.testing.assert_allclose(slant, slant[0], atol=1e-6)
    np.testing.assert_allclose(z, np.interp(x, distance, height))
    flat = profile._replace(height=0 * height)
    assert _instant(flat)[0].size == 0
    dark = profile._replace(parts=np.full(200, 4, np.uint8))
    assert _instant(dark)[0].size == 0


def test_cut_says_what_is_drawn():
    cube, _ = ridge_cube()
    figure = plot_cross_section(cube, at=middle(cube))
    said = words(figure)
    for phrase in (
        "Layover and shadow along one look line, track D168 (descending, looks west)",
        "radar beams, 39.0° from the vertical",
        "layover, active",
        "layover, passive",
        "shadow, active",
        "shadow, passive",
        "toward 270° from grid north",
        "height (m)",
        "to the radar",
    ):
        assert phrase in said, phrase
    ax = figure.axes[0]
    assert ax.get_aspect() == 1  # angles are true
    colours = {tuple(band.get_facecolor()[0][:3]) for band in ax.collections if len(band.get_facecolor())}
    assert to_rgb(_LAYOVER[2][0]) in colours
    assert pixels(figure).shape[1] == 1650
    # No label is cut off.
    inside = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert inside.x0 > 0
    assert inside.y0 > -0.1
    assert inside.x1 < width
    assert inside.y1 < height


def test_flat_ground_is_drawn_without_layover():
    cube, _ = ridge_cube()
    cube["elevation"] = 0 * cube.elevation.fillna(0)
    cube["distortion_parts"] = 0 * cube.distortion_parts
    said = words(plot_cross_section(cube, at=middle(cube), title="flat"))
    assert "flat" in said
    assert "layover, active" not in said


def test_lazy_cubes_are_drawn_alike():
    cube, _ = ridge_cube()
    lazy = cube.chunk({"y": 17, "x": 23})
    assert isinstance(lazy.elevation.data, da.Array)
    np.testing.assert_array_equal(pixels(plot_distortion(lazy)), pixels(plot_distortion(cube)))
    at = middle(cube)
    np.testing.assert_array_equal(pixels(plot_cross_section(lazy, at=at)), pixels(plot_cross_section(cube, at=at)))


def test_a_track_must_be_named_where_there_are_two():
    cube, _ = ridge_cube(("A044", "D168"))
    assert "track A044 (ascending, looks east)" in words(plot_distortion(cube, track="A044"))
    with pytest.raises(TrackError, match="the cube holds tracks A044, D168: name one with track="):
        plot_distortion(cube)
    with pytest.raises(TrackError, match='"D095" is not in this cube'):
        plot_cross_section(cube, at=middle(cube), track="D095")


def test_says_what_it_expected():
    cube, _ = ridge_cube()
    with pytest.raises(BandError, match=r"needs layover_shadow, which this cube lacks: run sc\.add_geometry\(cube\)"):
        plot_distortion(cube.drop_vars("layover_shadow"))
    with pytest.raises(BandError, match=r"distortion_parts.*split=True"):
        plot_cross_section(cube.drop_vars("distortion_parts"), at=middle(cube))
    with pytest.raises(InputError, match="one cube or compares two, not 3"):
        plot_distortion({"a": cube, "b": cube, "c": cube})
    with pytest.raises(InputError, match="must lie on one grid"):
        plot_distortion({"a": cube, "b": cube.assign_coords(x=cube.x + 10)})
    with pytest.raises(AreaError, match="is not in the cube"):
        plot_cross_section(cube, at=(0.0, 0.0))
    with pytest.raises(AreaError, match="no elevation at"):
        plot_cross_section(cube, at=(float(cube.x[2]), float(cube.y[2])))
    with pytest.raises(InputError, match="too short to draw: length must be at least 40 m"):
        plot_cross_section(cube, at=middle(cube), length=30.0)
    degrees, _ = ridge_cube(geobox=GeoBox(SHAPE, Affine(1e-4, 0, 11, 0, -1e-4, 47), "EPSG:4326"))
    with pytest.raises(InputError, match="projected CRS such as UTM"):
        plot_distortion(degrees)
