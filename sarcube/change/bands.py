"""Other bands than the composite's own: backscatter before the event, and layers of the ground."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from sarcube.cube.track import select_track
from sarcube.errors import BandError, InputError

NAVA_2021: dict[str, tuple[str, ...]] = {
    "BAD": ("vh_pre", "vh_post", "vh_diff"),
    "BAS": ("vh_pre", "vh_post", "slope"),
    "BAA": ("vh_pre", "vh_post", "aspect"),
    "BAC": ("vh_pre", "vh_post", "curvature"),
    "BAH": ("vh_pre", "vh_post", "hillshade"),
    "SSD": ("slope", "vh_diff"),
    "SSS": ("slope",),
    "HHH": ("hillshade",),
}
"""The eight band combinations of Nava, Monserrat & Catani 2021 (IEEE GRSL, arXiv 2105.00782) by their letters, for VH.

[M] What the letters stand for was read from the letters, not from the paper, which was not at hand: B before, A after,
D difference, S slope, C curvature, H hillshade, and A in third place aspect. A band that stands two or three times in a
combination, to fill a network's three channels, is named once: it says no more when it is repeated. Another
polarisation: replace "vh" in the names."""

BOEHM_2022: dict[str, tuple[str, ...]] = {
    "VV": ("vv_pre", "vv_post"),
    "VH": ("vh_pre", "vh_post"),
    "VV+VH": ("vv_pre", "vv_post", "vh_pre", "vh_post"),
    "VV+VH+DEM": ("vv_pre", "vv_post", "vh_pre", "vh_post", "elevation", "curvature", "slope", "aspect"),
    "DEM": ("elevation", "curvature", "slope", "aspect"),
}
"""The inputs that Boehm et al. 2022 (arXiv 2211.02869) compare. Their 1 to 4 time steps are `pre_steps` and
`post_steps` of `sarcube.composite`, with `statistic="mean"`, as their public code has it."""

_SUN_AZIMUTH, _SUN_ELEVATION = 315.0, 45.0  # degrees: where the light of maps comes from


def select_bands(stack: xr.DataArray, bands: Sequence[str], *, cube: xr.Dataset | None = None) -> xr.DataArray:
    """Put together the bands that a network is to see: of a composite, and of the ground's layers.

    Parameters
    ----------
    stack : (band, y, x) DataArray
        What `sarcube.composite` returned, dB.
    bands : sequence of str
        In the order of the result: bands of the stack; "vv_pre" or "vh_pre", backscatter before the event, which is
        after minus difference; a layer (y, x) of the cube, such as "elevation", "slope", "aspect" or "curvature"; a
        layer of the stack's track, such as "incidence_angle"; "hillshade", of the cube's slope and aspect with light
        from the north-west, 45 degrees high, 0 to 1 (flat ground 0.71). `sarcube.change.bands.NAVA_2021` and
        `BOEHM_2022` name the papers' own.
    cube : xarray.Dataset, optional
        The cube that the stack is of; needed for layers of the ground.

    Returns
    -------
    xarray.DataArray, (band, y, x), float32
        On the stack's grid, lazy where stack or layers are; NaN where a layer has no data, whole numbers too. The
        coordinate `band_units` says the unit of each band.

    Raises
    ------
    BandError
        If a band is neither in the stack nor in the cube.
    InputError
        If a band is named twice, or the cube lies on another grid.
    TrackError
        If a layer of a track is asked for which has none.

    Notes
    -----
    Flat ground has no aspect: NaN, so that patches with a lake or a plain are left out of a stack with "aspect", and
    chips count nothing there. Compare bands on the same patches: sample a stack of all, then `Patches.select_bands`.
    """
    if not bands or len(set(bands)) < len(bands):
        raise InputError(f"bands must be one name or more, each once, not {list(bands)}")
    held = [str(name) for name in stack["band"].to_numpy()]
    found = [_band(name, stack, held, cube) for name in bands]
    coords: dict[Hashable, Any] = {
        "band": list(bands),
        "band_units": ("band", [units for _, units in found]),
        **{name: stack[name] for name in stack.coords if "band" not in stack[name].dims and name != "band"},
    }
    joined = xr.concat([layer.astype(np.float32) for layer, _ in found], dim="band")
    attrs = {**stack.attrs, "long_name": "bands of a composite and of the ground", "units": "of each band: band_units"}
    data = joined.transpose("band", "y", "x").data
    if hasattr(data, "rechunk"):
        data = data.rechunk({0: -1})
    return xr.DataArray(data, dims=("band", "y", "x"), coords=coords, attrs=attrs, name="bands")


def _band(name: str, stack: xr.DataArray, held: list[str], cube: xr.Dataset | None) -> tuple[xr.DataArray, str]:
    if name in held:
        return _bare(stack.sel(band=name)), "dB"
    polarisation, _, part = name.rpartition("_")
    if part == "pre" and {f"{polarisation}_post", f"{polarisation}_diff"} <= set(held):
        return _bare(stack.sel(band=f"{polarisation}_post")) - _bare(stack.sel(band=f"{polarisation}_diff")), "dB"
    if cube is None:
        raise BandError(
            f"the stack holds the bands {', '.join(held)}, not {name}; give cube= if it is a layer of the ground"
        )
    if (
        cube.sizes["y"] != stack.sizes["y"]
        or cube.sizes["x"] != stack.sizes["x"]
        or not (np.array_equal(cube["y"], stack["y"]) and np.array_equal(cube["x"], stack["x"]))
    ):
        raise InputError("the cube lies on another grid than the stack; give the cube that the stack was made of")
    if name == "hillshade" and name not in cube:
        return _hillshade(_layer("slope", cube, held), _layer("aspect", cube, held)), "1"
    layer = cube[name] if name in cube else _layer(name, cube, held)
    if "track" in layer.dims:
        layer = select_track(cube, str(stack.attrs.get("track", "")))[name]
    if set(layer.dims) != {"y", "x"}:
        raise BandError(f"{name} has the dimensions {layer.dims}; a band is a layer (y, x) or (track, y, x)")
    return _bare(_valid(layer)), str(layer.attrs.get("units", ""))


def _layer(name: str, cube: xr.Dataset, held: list[str]) -> xr.DataArray:
    if name not in cube:
        raise BandError(
            f"neither the stack ({', '.join(held)}) nor the cube ({', '.join(map(str, cube.data_vars))}) holds {name}; "
            "sc.add_terrain and sc.add_geometry add layers of the ground"
        )
    return cube[name]


def _valid(layer: xr.DataArray) -> xr.DataArray:
    """Put NaN where a layer of whole numbers says, in its attributes, that it has no data."""
    missing = layer.attrs.get("nodata")
    meanings = str(layer.attrs.get("flag_meanings", "")).split()
    if missing is None and "no_data" in meanings:
        missing = layer.attrs["flag_values"][meanings.index("no_data")]
    return layer if missing is None else layer.where(layer != missing)


def _hillshade(slope: xr.DataArray, aspect: xr.DataArray) -> xr.DataArray:
    """Cosine of the angle between the ground's normal and the light, 0 where it would be negative."""
    slope, aspect = _bare(slope), _bare(aspect).fillna(0)  # flat ground has no aspect, and needs none
    steep, toward = np.deg2rad(slope), np.deg2rad(_SUN_AZIMUTH - aspect)
    height = np.deg2rad(_SUN_ELEVATION)
    lit = np.sin(height) * np.cos(steep) + np.cos(height) * np.sin(steep) * np.cos(toward)
    shade: xr.DataArray = lit.clip(min=0).where(slope.notnull())
    return shade


def _bare(layer: xr.DataArray) -> xr.DataArray:
    """The layer without any coordinate, so that nothing is aligned or compared."""
    return xr.DataArray(layer.variable.transpose("y", "x").data, dims=("y", "x"))
