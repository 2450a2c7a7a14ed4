"""The layer of layover and shadow in a cube, as those who read it need it."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.errors import BandError, InputError
from sarcube.sar.look_codes import BOTH, NO_DATA


def mask_layer(cube: xr.Dataset, *, purpose: str) -> xr.DataArray:
    """Return a cube's `layover_shadow` as (track, y, x) uint8; `purpose` begins the message where there is none.

    Raises
    ------
    BandError
        If the cube has no such layer.
    InputError
        If it has other dimensions or another type.
    """
    if "layover_shadow" not in cube:
        raise BandError(f"{purpose} needs layover_shadow, which this cube lacks: run sc.add_geometry(cube) first")
    layer = cube["layover_shadow"]
    if set(layer.dims) != {"track", "y", "x"} or layer.dtype != np.uint8:
        raise InputError(
            f"layover_shadow must be uint8 with dimensions (track, y, x), as sc.add_geometry makes it, not "
            f"{layer.dtype} with {layer.dims}"
        )
    return layer.transpose("track", "y", "x")


def check_codes(mask: NDArray[np.uint8]) -> None:
    """Refuse a mask that is not in OPERA's codes.

    Raises
    ------
    InputError
        If there are others.
    """
    others = mask[(mask > BOTH) & (mask != NO_DATA)]
    if len(others):
        raise InputError(
            f"layover_shadow must hold OPERA's codes 0 to 3 and 255, not {others.max()}: is it another mask?"
        )
