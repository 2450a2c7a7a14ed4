"""What there is, per track, before anything is read."""

from collections import defaultdict
from collections.abc import Iterable

import pandas as pd
import pystac
import shapely

from sarcube.acquisition.catalog import area_of, footprint
from sarcube.acquisition.scenes import POLARISATIONS, Scene, drop_duplicates, group_passes, pass_time, read_scene
from sarcube.events import Event


def availability(items: Iterable[pystac.Item], event: Event) -> pd.DataFrame:
    """Tabulate the passes around an event, one row per track.

    Slices of one pass count as one, and so do two processings of one acquisition.

    Parameters
    ----------
    items : pystac.ItemCollection or iterable of pystac.Item
        What `search` found.
    event : Event
        Place and moment.

    Returns
    -------
    pandas.DataFrame
        Index `track`. Columns: `before` and `after`, the number of passes; `first` and `last`, dates (UTC);
        `platforms`; `polarisations`; `covered`, the share of the event's box inside the footprints of a pass, mean
        over the passes, 0 to 1.

    Raises
    ------
    InputError
        If an item does not say its track.
    """
    items = list(items)
    by_id = {item.id: footprint(item) for item in items}
    area = area_of(event.bbox)
    tracks: dict[str, list[tuple[Scene, ...]]] = defaultdict(list)
    scenes, _ = drop_duplicates(read_scene(item) for item in items)
    for group in group_passes(scenes):
        tracks[group[0].track].append(group)

    rows = []
    for track, passes in sorted(tracks.items()):
        times = [pass_time(group) for group in passes]
        shares = [_share(area, [by_id[scene.id] for scene in group]) for group in passes]
        rows.append(
            {
                "track": track,
                "before": sum(time < event.last_before for time in times),
                "after": sum(time > event.first_after for time in times),
                "first": _date(min(times)),
                "last": _date(max(times)),
                "platforms": " ".join(_platforms(passes)),
                "polarisations": " ".join(_polarisations(passes)),
                "covered": round(sum(shares) / len(shares), 3),
            }
        )
    columns = ["track", "before", "after", "first", "last", "platforms", "polarisations", "covered"]
    return pd.DataFrame(rows, columns=columns).set_index("track")


def _share(area: shapely.Geometry, footprints: list[shapely.Geometry]) -> float:
    return float(shapely.area(shapely.intersection(shapely.union_all(footprints), area)) / shapely.area(area))


def _date(time: object) -> pd.Timestamp:
    return pd.Timestamp(time).tz_localize(None).normalize()  # type: ignore[arg-type]


def _platforms(passes: list[tuple[Scene, ...]]) -> list[str]:
    return sorted({scene.platform.replace("SENTINEL-", "S") for group in passes for scene in group})


def _polarisations(passes: list[tuple[Scene, ...]]) -> list[str]:
    names = {name for group in passes for scene in group for name in scene.rasters}
    return [name.upper() for name in POLARISATIONS if name in names]
