"""Whether a stack or patches are what a model expects: bands, radiometry, a grid that windows can be cut along."""

from typing import TYPE_CHECKING

import xarray as xr
from odc.geo.geobox import GeoBox

from sarcube.errors import BandError, InputError
from sarcube.labels.patches import Patches
from sarcube.labels.rasterise import grid_of
from sarcube.radiometry import GAMMA0_DB, SIGMA0_DB

if TYPE_CHECKING:
    from sarcube.models.network import Network

_MAKERS = {GAMMA0_DB: "sc.composite(sc.to_gamma0(cube), ...)", SIGMA0_DB: "sc.composite(sc.to_sigma0(cube), ...)"}


def grid_for(stack: xr.DataArray, model: "Network") -> GeoBox:
    """Return the grid of a stack that a model can judge.

    Parameters
    ----------
    stack : (band, y, x) DataArray
    model : Network

    Returns
    -------
    GeoBox

    Raises
    ------
    BandError
        If the stack's bands are not those of the model.
    InputError
        If it is not (band, y, x), without a grid or on one that is turned against the axes of its CRS, or if its
        `attrs["radiometry"]` is another than that of the model. A stack that does not say it passes.
    """
    if stack.dims != ("band", "y", "x"):
        raise InputError(f"a stack has the dimensions (band, y, x), not {stack.dims}")
    _check_bands(stack, model)
    _check_radiometry(stack, model)
    grid = grid_of(stack)
    if grid.affine.b or grid.affine.d:
        raise InputError(
            "the stack's grid is turned against the axes of its CRS, and windows are squares along them; bring it to "
            "one that is not: stack.odc.reproject(GeoBox.from_bbox(stack.odc.geobox.boundingbox, resolution=10))"
        )
    return grid


def check_patches(model: "Network", patches: Patches, *, name: str = "patches") -> None:
    """Refuse patches that a model does not judge.

    Parameters
    ----------
    model : Network
    patches : Patches
    name : str
        What to call them in an error.

    Raises
    ------
    BandError
        If they do not hold the model's bands.
    InputError
        If they are of another radiometry than the model was trained on.
    """
    if patches.bands != model.spec.bands:
        raise BandError(
            f"the {name} hold the bands {', '.join(patches.bands)}, but the model expects "
            f"{', '.join(model.spec.bands)}; choose them with .select_bands, or cut stacks that hold them"
        )
    if patches.radiometry not in ("", model.spec.radiometry):
        raise InputError(
            f'the {name} hold "{patches.radiometry}", but the model was trained on "{model.spec.radiometry}"; cut '
            "stacks of what it expects"
        )


def _check_bands(stack: xr.DataArray, model: "Network") -> None:
    expected = list(model.spec.bands)
    found = [str(name) for name in stack["band"].to_numpy()] if "band" in stack.coords else []
    if found == expected:
        return
    remedy = f"; select them with stack.sel(band={expected})" if set(expected) <= set(found) else ""
    raise BandError(
        f"the model expects the bands {', '.join(expected)} in this order; "
        f"the stack holds {', '.join(found) or 'no named bands'}{remedy}"
    )


def _check_radiometry(stack: xr.DataArray, model: "Network") -> None:
    expected, found = model.spec.radiometry, stack.attrs.get("radiometry")
    if found is None or found == expected:
        return
    maker = f": {_MAKERS[expected]}" if expected in _MAKERS else ""
    raise InputError(
        f'the model was trained on "{expected}", and this stack holds "{found}"; make a stack of what it expects{maker}'
    )
