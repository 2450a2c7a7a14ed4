"""Why a search found nothing, and what there is instead."""

from collections.abc import Sequence
from datetime import timedelta

import pystac

from sarcube.acquisition.catalogs.wanted import Wanted
from sarcube.acquisition.scenes import item_time

LOOK_AROUND = timedelta(days=90)  # how far beyond the windows a catalogue too large to be read whole is asked


def nothing_found(name: str, wanted: Wanted, held: Sequence[pystac.Item] | str, *, whole: bool) -> str:
    """Say that nothing was found, and what the catalogue holds.

    Parameters
    ----------
    name : str
        What the catalogue is called.
    wanted : Wanted
        What was asked for.
    held : sequence of pystac.Item, or str
        What the catalogue holds, of all collections; or why that could not be asked.
    whole : bool
        Whether `held` is all that it holds, or what lies over the area, `LOOK_AROUND` beyond the windows.
    """
    answer = f"It could not be asked for others: {held}." if isinstance(held, str) else _instead(wanted, held, whole)
    return f"{_question(name, wanted)} {answer}"


def _question(name: str, wanted: Wanted) -> str:
    (pre_start, pre_end), (post_start, post_end) = wanted.windows
    asked = [f"bbox {wanted.event.bbox}"]
    asked += [f"{wanted.orbit_state} passes"] if wanted.orbit_state else []
    asked += [f"relative orbit {wanted.relative_orbit}"] if wanted.relative_orbit is not None else []
    asked += [f"with {_names(wanted)}"] if wanted.polarisations else []
    return (
        f'no scene for event "{wanted.event.name}" in {name}: searched {pre_start:%Y-%m-%d %H:%M} to '
        f"{pre_end:%Y-%m-%d %H:%M} and {post_start:%Y-%m-%d %H:%M} to {post_end:%Y-%m-%d %H:%M} UTC, "
        f"{', '.join(asked)}."
    )


def _instead(wanted: Wanted, held: Sequence[pystac.Item], whole: bool) -> str:
    scenes = [item for item in held if item.collection_id in (wanted.collection, None)]
    others = sorted({str(item.collection_id) for item in held} - {wanted.collection, "None"})
    if not scenes and others:
        return (
            f"It holds no scene of the collection {wanted.collection}, but {len(held)} items of {', '.join(others)}; "
            "choose with collection=."
        )
    if not scenes:
        return f"It holds no scene at all{'' if whole else f' within {LOOK_AROUND.days} days of these windows'}."
    here = [item for item in scenes if wanted.is_here(item)]
    if not here:
        timely = sum(wanted.is_timely(item) for item in scenes)
        return f"It holds {len(scenes)} scenes, none of them over this area ({timely} in these windows)."
    left_out = [item for item in here if wanted.is_timely(item)]
    return _left_out(wanted, left_out) if left_out else _nearest(wanted, here)


def _left_out(wanted: Wanted, items: Sequence[pystac.Item]) -> str:
    lacking = sum(wanted.is_on_track(item) for item in items)
    parts = [f"{len(items) - lacking} scenes over this area in these windows on other tracks"]
    parts = parts if len(items) > lacking else []
    if lacking:
        parts.append(f"{lacking} that were left out because they are not there in {_names(wanted)}")
    return f"It holds {' and '.join(parts)}."


def _nearest(wanted: Wanted, here: Sequence[pystac.Item]) -> str:
    times = [item_time(item) for item in here]
    earlier = [time for time in times if time < wanted.windows[0][0]]
    later = [time for time in times if time > wanted.windows[1][1]]
    between = len(times) - len(earlier) - len(later)
    return (
        f"It holds {len(here)} scenes over this area outside these windows"
        + (f", the last before them at {max(earlier):%Y-%m-%d %H:%M}" if earlier else "")
        + (f", the first after them at {min(later):%Y-%m-%d %H:%M}" if later else "")
        + (f", {between} at or between the ends of the event" if between else "")
        + "; make pre_days or post_days longer."
    )


def _names(wanted: Wanted) -> str:
    return " and ".join(name.upper() for name in wanted.polarisations)
