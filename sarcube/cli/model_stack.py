"""The stack that a model expects, out of a cube."""

from typing import TYPE_CHECKING

import xarray as xr

import sarcube as sc

if TYPE_CHECKING:
    from sarcube.models import Network

_DATED = ("_pre", "_post", "_diff")


def stack_for(
    model: "Network", cube: xr.Dataset, event: sc.Event, *, track: str | None, pre_days: float, post_days: float
) -> xr.DataArray:
    """Composite what a model's bands need, and put them and layers of the ground together, lazily."""
    bands = model.spec.bands
    polarisations = tuple(dict.fromkeys(name.split("_")[0] for name in bands if name.endswith(_DATED))) or ("vv",)
    stack = sc.composite(cube, event, track=track, pre_days=pre_days, post_days=post_days, polarisations=polarisations)
    return sc.select_bands(stack, bands, cube=cube)
