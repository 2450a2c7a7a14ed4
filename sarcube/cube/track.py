"""One track of a cube: its dates and its layers."""

import xarray as xr

from sarcube.errors import TrackError


def select_track(cube: xr.Dataset, track: str) -> xr.Dataset:
    """Select the time steps, the per-track layers and the interferometric pairs of one track.

    Parameters
    ----------
    cube : xarray.Dataset
        Dims (time, y, x); layers per track have dims (track, y, x).
    track : str
        Pass direction and relative orbit, such as "D164".

    Returns
    -------
    xarray.Dataset
        The same variables; the dimension `track` is gone. Lazy stays lazy.

    Raises
    ------
    TrackError
        If the track is not in the cube.
    """
    steps = cube["scene_track"].values.astype(str)
    if track not in steps:
        raise TrackError(f'track "{track}" is not in this cube; it holds {", ".join(sorted(set(steps))) or "none"}')
    if "track" in cube.dims:
        layers = cube["track"].values.astype(str)
        if track not in layers:
            raise TrackError(f'track "{track}" has no per-track layers in this cube; there are {", ".join(layers)}')
        cube = cube.isel(track=int((layers == track).argmax()), drop=True)
    if "pair_track" in cube.coords:
        cube = cube.isel(timepair=(cube["pair_track"].values.astype(str) == track).nonzero()[0])
    return cube.isel(time=(steps == track).nonzero()[0])
