"""The papers' data sets out of cubes and inventories of several events, each made when its first run is due."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import geopandas as gpd
import xarray as xr

from sarcube.change.bands import BOEHM_2022, NAVA_2021, select_bands
from sarcube.change.composite import composite
from sarcube.change.dates import tracks_of
from sarcube.errors import InputError
from sarcube.events import BUFFERS, Event
from sarcube.labels.patches import Patches, concatenate_patches
from sarcube.labels.sampling import Region, sample_chips, sample_patches
from sarcube.labels.splits import Split, split_patches
from sarcube.sweeps.naming import DataKey

log = logging.getLogger(__name__)

LazyData: TypeAlias = dict[DataKey, Callable[[], Split]]
Splitter: TypeAlias = Callable[[Patches], Split]

NAVA_2026_BANDS: dict[str, tuple[str, ...]] = {
    "VV": ("vv_post", "vv_diff"),
    "VV_VH": ("vv_post", "vh_post", "vv_diff", "vh_diff"),
}
ORBITS = ("ascending", "descending")


@dataclass(frozen=True, eq=False)
class SweepEvent:
    """A mapped event to learn from.

    Parameters
    ----------
    event : Event
    cube : xarray.Dataset
        Its cube, lazy or not, of one track or more. One without `vh` takes part where VV alone is looked at.
    inventory : GeoDataFrame
        All its landslides.
    cleaned : mapping of str to GeoDataFrame, optional
        What each track sees of them: `per_track` of `sarcube.clean_inventory`.
    region : GeoDataFrame or GeoSeries, optional
        The area that was mapped; by default the whole cube.
    """

    event: Event
    cube: xr.Dataset
    inventory: gpd.GeoDataFrame
    cleaned: Mapping[str, gpd.GeoDataFrame] | None = None
    region: Region | None = None

    def seen_by(self, track: str) -> gpd.GeoDataFrame | None:
        """Return what a track sees of the landslides; None where nobody said.

        Raises
        ------
        InputError
            If it was said of other tracks alone.
        """
        if self.cleaned is None:
            return None
        if track not in self.cleaned:
            raise InputError(
                f'event "{self.event.name}": cleaned= has the tracks {", ".join(self.cleaned)}, not {track}, which is '
                "in the cube"
            )
        return self.cleaned[track]


Cut: TypeAlias = Callable[[SweepEvent, str], Patches]


def nava_2026_data(
    events: Sequence[SweepEvent],
    *,
    bands: Sequence[str] = ("VV", "VV_VH"),
    orbits: Sequence[str] = ORBITS,
    buffers: Sequence[tuple[float, float]] = BUFFERS,
    split: Splitter = split_patches,
) -> LazyData:
    """Prepare the 40 configurations of Nava et al. 2026 (GMD 19, 167, section 3): band sets × orbits × buffers.

    Parameters
    ----------
    events : sequence of SweepEvent
        Each takes part in the orbits of its tracks, with all of them.
    bands : sequence of {"VV", "VV_VH"}
        Both are learnt on the very same patches, cut where VV and VH are valid, and split alike. Events whose cube has
        no VH take part in "VV" alone.
    orbits : sequence of {"ascending", "descending"}
    buffers : sequence of (float, float)
        Days before and after. An event that has no scene in a window makes that data set, and so its runs, fail.
    split : callable
        Makes (train, validation, test) of all patches of a data set; `sarcube.split_patches` with its defaults, which
        are the papers', unless told otherwise: ``functools.partial(sc.split_patches, method="blocked")``, or a function
        of your own that sets whole events apart.

    Returns
    -------
    dict
        For `sarcube.sweep`: functions that make a `Split`, its patches in memory, by the labels bands, orbit and buffer
        ("60-12"). Nothing is computed before they are called.

    Raises
    ------
    InputError
        If there is no event, or a band set or orbit is called otherwise.
    """
    _check(events, "bands", bands, NAVA_2026_BANDS)
    _check(events, "orbits", orbits, ORBITS)
    return {
        (("bands", name), ("orbit", orbit), ("buffer", f"{pre:g}-{post:g}")): partial(
            _nava_2026_split, tuple(events), name, orbit, (pre, post), split
        )
        for name in bands
        for orbit in orbits
        for pre, post in buffers
    }


def boehm_2022_data(
    events: Sequence[SweepEvent],
    *,
    inputs: Mapping[str, Sequence[str]] = BOEHM_2022,
    steps: Sequence[int] = (1, 2, 3, 4),
    pre_days: float = 60,
    post_days: float = 60,
    split: Splitter = split_patches,
) -> LazyData:
    """Prepare the comparisons of Boehm et al. 2022 (arXiv 2211.02869): inputs × time steps, chips with masks.

    Parameters
    ----------
    events : sequence of SweepEvent
        With both polarisations, and with the layers of the ground that the inputs name. All tracks take part.
    inputs : mapping of str to sequence of str
        Bands of each input, as `sarcube.select_bands` takes them. All are learnt on the very same chips. One without
        radar depends on no time step: it is there once, with the label steps 0.
    steps : sequence of int
        Dates on each side of the event whose mean is taken, those nearest to it.
    pre_days, post_days : float
        Windows that must hold so many dates.
    split : callable
        As `nava_2026_data` takes it.

    Returns
    -------
    dict
        As `nava_2026_data` returns it, by the labels inputs and steps: 17 with the defaults.

    Raises
    ------
    InputError
        If there is no event, or no input.
    """
    _check(events, "inputs", tuple(inputs), inputs)
    every = _every(inputs)
    data: LazyData = {}
    for name, bands in inputs.items():
        sees = any(band.startswith(("vv_", "vh_")) for band in bands)
        for number in steps if sees else steps[:1]:
            cut = partial(_boehm_2022_chips, every, tuple(bands), number, pre_days, post_days)
            data[("inputs", name), ("steps", number if sees else 0)] = partial(_split, tuple(events), cut, split)
    return data


def nava_2021_data(
    events: Sequence[SweepEvent],
    *,
    bands: Mapping[str, Sequence[str]] = NAVA_2021,
    pre_days: float = 60,
    post_days: float = 12,
    size: int = 25,
    split: Splitter = split_patches,
) -> LazyData:
    """Prepare the eight band sets of Nava, Monserrat & Catani 2021 (IEEE GRSL, arXiv 2105.00782) on small windows.

    Parameters
    ----------
    events : sequence of SweepEvent
        With VH, and with slope, aspect and curvature (`sarcube.add_terrain`). All tracks take part.
    bands : mapping of str to sequence of str
        What the letters stand for; see `sarcube.change.bands.NAVA_2021`. All are learnt on the very same windows.
    pre_days, post_days : float
        Windows of the composites, our choice: the letter's text was not at hand.
    size : int
        Pixels along a side; the network "nava2021" resamples 25 to 32.
    split : callable
        As `nava_2026_data` takes it.

    Returns
    -------
    dict
        As `nava_2026_data` returns it, by the label bands.

    Raises
    ------
    InputError
        If there is no event, or no band set.
    """
    _check(events, "bands", tuple(bands), bands)
    every = _every(bands)
    data: LazyData = {}
    for name, chosen in bands.items():
        cut = partial(_nava_2021_windows, every, tuple(chosen), pre_days, post_days, size)
        data[(("bands", name),)] = partial(_split, tuple(events), cut, split)
    return data


def _nava_2026_split(
    events: Sequence[SweepEvent], name: str, orbit: str, buffer: tuple[float, float], split: Splitter
) -> Split:
    both, alone = [e for e in events if "vh" in e.cube], [e for e in events if "vh" not in e.cube]
    # Those with VH come first: a split draws by the place of an event, and both band sets are to be split alike.
    taking_part = both if name == "VV_VH" else both + alone
    cut = partial(_nava_2026_patches, NAVA_2026_BANDS[name], buffer)
    return _split(taking_part, cut, split, orbit=orbit)


def _nava_2026_patches(bands: Sequence[str], buffer: tuple[float, float], mapped: SweepEvent, track: str) -> Patches:
    stack = composite(
        mapped.cube,
        mapped.event,
        track=track,
        pre_days=buffer[0],
        post_days=buffer[1],
        polarisations=("vv", "vh") if "vh" in mapped.cube else ("vv",),
    )
    patches = sample_patches(stack, mapped.inventory, cleaned=mapped.seen_by(track), region=mapped.region)
    return patches.select_bands(bands)


def _boehm_2022_chips(
    every: Sequence[str],
    bands: Sequence[str],
    steps: int,
    pre_days: float,
    post_days: float,
    mapped: SweepEvent,
    track: str,
) -> Patches:
    stack = composite(
        mapped.cube,
        mapped.event,
        track=track,
        pre_days=pre_days,
        post_days=post_days,
        pre_steps=steps,
        post_steps=steps,
        statistic="mean",
    )
    stack = select_bands(stack, every, cube=mapped.cube)
    chips = sample_chips(stack, mapped.inventory, cleaned=mapped.seen_by(track), region=mapped.region)
    return chips.select_bands(bands)


def _nava_2021_windows(
    every: Sequence[str],
    bands: Sequence[str],
    pre_days: float,
    post_days: float,
    size: int,
    mapped: SweepEvent,
    track: str,
) -> Patches:
    stack = composite(
        mapped.cube, mapped.event, track=track, pre_days=pre_days, post_days=post_days, polarisations=("vh",)
    )
    stack = select_bands(stack, every, cube=mapped.cube)
    windows = sample_patches(stack, mapped.inventory, cleaned=mapped.seen_by(track), region=mapped.region, size=size)
    return windows.select_bands(bands)


def _split(events: Sequence[SweepEvent], cut: Cut, split: Splitter, *, orbit: str = "") -> Split:
    """Cut the patches of all events and their tracks, those of one orbit if it is named, split them, read them."""
    parts = []
    for mapped in events:
        for track in tracks_of(mapped.cube):
            if track.startswith(orbit[:1].upper()):
                parts.append(cut(mapped, track))
                if not len(parts[-1]):
                    log.warning(
                        'event "%s", track %s has no patch that is valid in all bands', mapped.event.name, track
                    )
    if not parts:
        raise InputError(f"no event has a track of these data{f', {orbit}' if orbit else ''}")
    train, validation, test = split(concatenate_patches(parts))
    return Split(train.load(), validation.load(), test.load())


def _every(sets: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(band for bands in sets.values() for band in bands))


def _check(
    events: Sequence[SweepEvent], what: str, names: Sequence[str], known: Sequence[str] | Mapping[str, object]
) -> None:
    if not events:
        raise InputError("there is no event to make data of")
    if not names or not set(names) <= set(known) or len(set(names)) < len(names):
        raise InputError(f"{what} must be one or more of {', '.join(known)}, each once, not {tuple(names)}")
