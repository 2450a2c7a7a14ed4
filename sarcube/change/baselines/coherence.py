"""Loss of interferometric coherence over an event: where the ground no longer is what it was."""

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from sarcube.change import nanmedian
from sarcube.change.dates import check_area, day, naive_utc
from sarcube.change.layers import event_attrs, grid_coords
from sarcube.errors import BandError, InputError, NoSceneError, TrackError
from sarcube.events import Event

_NAMED = 5  # pairs named in a message


def _matched_block(before: NDArray[np.float32], during: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give `before` the distribution of `during` where both are valid; equal values in order of row and column."""
    both = ~(np.isnan(before) | np.isnan(during))
    matched = np.full(before.shape, np.nan, np.float32)
    values = np.empty(int(both.sum()), np.float32)
    values[np.argsort(before[both], kind="stable")] = np.sort(during[both])
    matched[both] = values
    return matched


def _matched(before: Any, during: Any) -> Any:
    if not isinstance(before, da.Array):
        return _matched_block(before, during)
    # Ranks are ranks in the whole area: no chunk knows them.
    whole = delayed(_matched_block, pure=True)(before, during)
    return da.from_delayed(whole, shape=before.shape, dtype=np.float32).rechunk(before.chunks)


def coherence_loss(
    cube: xr.Dataset, event: Event, *, track: str | None = None, match_histograms: bool = False
) -> xr.DataArray:
    """Map where coherence fell over an event: that of pairs before it less that of pairs across it.

    Parameters
    ----------
    cube : xarray.Dataset
        With `coherence` (timepair, y, x), 0 to 1, and along timepair `pair_start` and `pair_end` (UTC), as `add_insar`
        and `open_landslide_cube` give them; with `pair_track` where the cube holds several tracks.
    event : Event
        A pair lies before it if both passes are earlier than its `pre_end`, and across it if the first pass is, and
        the second later than its `post_start`. Other pairs are not used.
    track : str, optional
        Track of the pairs, such as "D164". May be left out where all pairs are of one.
    match_histograms : bool
        First give the coherence before the event the same distribution as that across it, pixel by pixel in order of
        rank, as the ARIA method does: what decorrelates the whole scene, such as rain or a longer pair, then is no
        loss. Ranks depend on the area; one task takes them on whole layers, about 30 bytes per pixel.

    Returns
    -------
    xarray.DataArray, (y, x), float32, -1 to 1
        Positive where coherence was lost. The median over the pairs on either side where there are several. NaN
        where one of the sides has no valid pair. Lazy where the cube is. `attrs` name the track and the pairs used.

    Raises
    ------
    BandError
        If the cube holds no coherence.
    NoSceneError
        If there is no pair across the event, or none before it.
    TrackError
        If there are no pairs of the track, several tracks and none is named, or pairs that do not say their track in a
        cube of several.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If the pairs have no dates.

    Notes
    -----
    Coherence falls with the time between two passes (and with the distance between the orbits), so pairs of equal
    length should be compared: where the cube also holds longer ones, select with `cube.isel(timepair=...)` first.

    Source: the coherence difference of Jung and Yun (2020), Remote Sens. 12, 265; with `match_histograms` the ARIA
    damage proxy of Yun et al. (2015), Seismol. Res. Lett. 86, 1549-1564, that Burrows et al. (2020), Nat. Hazards
    Earth Syst. Sci. 20, 3197-3214, tested on landslides as "the ARIA method". These have one pair on each side, and
    the last subtracts the other way round: loss is positive here.
    """
    _check_layers(cube)
    check_area(cube, event)
    name, pairs = _pairs_of_track(cube, track)
    before, across = _split_pairs(cube, event, pairs)
    coherence = cube["coherence"].transpose("timepair", "y", "x").astype(np.float32)
    old = nanmedian(coherence.isel(timepair=before).data)
    new = nanmedian(coherence.isel(timepair=across).data)
    if match_histograms:
        old = _matched(old, new)
    attrs = {
        "long_name": "loss of interferometric coherence",
        "units": "1",
        **event_attrs(cube, event),
        **({"track": name} if name else {}),
        "pairs_pre": _texts(cube, before),
        "pairs_event": _texts(cube, across),
        "match_histograms": str(match_histograms).lower(),
    }
    return xr.DataArray(old - new, dims=("y", "x"), coords=grid_coords(cube), attrs=attrs, name="coherence_loss")


def _check_layers(cube: xr.Dataset) -> None:
    if "coherence" not in cube or set(cube["coherence"].dims) != {"timepair", "y", "x"}:
        held = ", ".join(str(name) for name in cube.data_vars) or "nothing"
        raise BandError(
            f'coherence_loss needs "coherence" (timepair, y, x), and the cube holds {held}: run sc.add_insar first'
        )
    if missing := [name for name in ("pair_start", "pair_end") if name not in cube.coords]:
        raise InputError(
            f"the cube's pairs lack {' and '.join(missing)}, so that nobody knows which lie across the event: assign "
            'them with cube.assign_coords(pair_start=("timepair", [...]), pair_end=...)'
        )


def _pairs_of_track(cube: xr.Dataset, track: str | None) -> tuple[str, NDArray[np.intp]]:
    """Return the track, "" where nothing names one, and the places of its pairs along timepair."""
    if "pair_track" in cube.coords:
        names = cube["pair_track"].values.astype(str)
        held = sorted(set(names.tolist()))
        if track is None and len(held) > 1:
            raise TrackError(f'the pairs are of several tracks, {", ".join(held)}; name one, such as track="{held[0]}"')
        if track is not None and track not in held:
            raise TrackError(f'there are no pairs of track "{track}", only of {", ".join(held) or "none"}')
        name = track or (held[0] if held else "")
        return name, np.flatnonzero(names == name)
    scenes = sorted(set(cube["scene_track"].values.astype(str).tolist())) if "scene_track" in cube.coords else []
    if len(scenes) > 1 or (track is not None and scenes != [track]):
        raise TrackError(
            f"the cube's pairs do not say their track, and its scenes are of {', '.join(scenes) or 'none'}: assign "
            'cube.assign_coords(pair_track=("timepair", [...])) first'
        )
    return "".join(scenes), np.arange(cube.sizes["timepair"])


def _split_pairs(cube: xr.Dataset, event: Event, pairs: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    starts, ends = cube["pair_start"].values[pairs], cube["pair_end"].values[pairs]
    last, first = naive_utc(event.last_before), naive_utc(event.first_after)
    before, across = pairs[ends < last], pairs[(starts < last) & (ends > first)]
    if not across.size or not before.size:
        held = _texts(cube, pairs)
        shown = ", ".join(held[:_NAMED]) + (f" and {len(held) - _NAMED} more" if len(held) > _NAMED else "")
        which = "across" if not across.size else "before"
        raise NoSceneError(
            f'there is no pair {which} "{event.name}" ({day(last)} to {day(first)}); the cube holds {shown or "none"}: '
            "add one with sc.add_insar"
        )
    return before, across


def _texts(cube: xr.Dataset, pairs: NDArray[np.intp]) -> list[str]:
    starts, ends = cube["pair_start"].values[pairs], cube["pair_end"].values[pairs]
    return [f"{day(start)}/{day(end)}" for start, end in zip(starts, ends, strict=True)]
