"""What a search asks for, and whether an item is it."""

from dataclasses import dataclass
from datetime import datetime

import pystac
import shapely

from sarcube.acquisition.catalogs.areas import area_of, footprint
from sarcube.acquisition.scenes import item_time, polarisation_asset
from sarcube.events import Event

Window = tuple[datetime, datetime]


@dataclass(frozen=True)
class Wanted:
    """The scenes that are wanted: place, windows of time before and after, track, polarisations, collection."""

    event: Event
    windows: tuple[Window, Window]
    orbit_state: str | None
    relative_orbit: int | None
    polarisations: tuple[str, ...]
    collection: str

    def is_timely(self, item: pystac.Item) -> bool:
        """Whether an item lies in one of the windows; both are open at the event."""
        time, (pre, post) = item_time(item), self.windows
        return pre[0] <= time < pre[1] or post[0] < time <= post[1]

    def is_here(self, item: pystac.Item) -> bool:
        """Whether an item touches the event's area."""
        return bool(shapely.intersects(footprint(item), area_of(self.event.bbox)))

    def is_on_track(self, item: pystac.Item) -> bool:
        """Whether an item is of the orbit state and the relative orbit."""
        # Read as `read_scene` reads them: catalogues write DESCENDING and "164" as well.
        state, orbit = (str(item.properties.get(f"sat:{name}")).lower() for name in ("orbit_state", "relative_orbit"))
        return (self.orbit_state is None or state == self.orbit_state) and (
            self.relative_orbit is None or orbit.removesuffix(".0") == str(self.relative_orbit)
        )

    def is_polarised(self, item: pystac.Item) -> bool:
        """Whether an item has a file of every polarisation."""
        return all(polarisation_asset(item, name) is not None for name in self.polarisations)
