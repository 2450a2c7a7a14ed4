"""What every layer of change says of itself, and the grid it lies on."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 (gives cubes their .rio)
import xarray as xr

from sarcube.change.dates import Dates, day
from sarcube.errors import BandError, InputError
from sarcube.events import Event


def grid_coords(cube: xr.Dataset) -> dict[Hashable, xr.DataArray]:
    """Return the coordinates y and x of a cube and its grid mapping."""
    names = ("y", "x", cube.rio.grid_mapping)
    return {name: cube[name] for name in names if name in cube.coords}


def event_attrs(cube: xr.Dataset, event: Event) -> dict[str, Any]:
    """Return the attributes that name the event, and say so where the cube is simulated."""
    attrs: dict[str, Any] = {"event": event.name, "event_time": f"{event.last_before:%Y-%m-%dT%H:%M:%SZ}"}
    if "simulated" in cube.attrs:
        attrs["simulated"] = cube.attrs["simulated"]
    return attrs


def date_attrs(cube: xr.Dataset, dates: Dates) -> dict[str, Any]:
    """Return the attributes that name the track and the dates used."""
    times = cube["time"].values
    return {
        "track": dates.track,
        "dates_pre": [day(t) for t in np.sort(times[dates.before])],
        "dates_post": [day(t) for t in np.sort(times[dates.after])],
    }


def check_polarisations(cube: xr.Dataset, polarisations: Sequence[str], *, most: int | None = None) -> None:
    """Refuse what are not different bands (time, y, x) of the cube, `most` of them at most.

    Raises
    ------
    InputError
        If they are not a sequence of different names.
    BandError
        If one is not in the cube.
    """
    count = len(polarisations)
    if isinstance(polarisations, str) or not 1 <= count <= (most or count) or len(set(polarisations)) < count:
        limit = f", at most {most}," if most else ""
        raise InputError(
            f"polarisations must be a sequence of different names{limit} such as "
            f'("vv", "vh") or ("vv",), not {polarisations!r}'
        )
    held = [str(name) for name, values in cube.data_vars.items() if set(values.dims) == {"time", "y", "x"}]
    for polarisation in polarisations:
        if polarisation not in held:
            raise BandError(
                f'polarisation "{polarisation}" is not in this cube; it holds {", ".join(held) or "none"}'
                + (": choose among these" if held else "")
            )
