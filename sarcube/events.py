"""An event: a place and a moment, and the windows of time before and after it."""

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TypeAlias

from sarcube.errors import InputError

Moment: TypeAlias = str | date  # a date with a time, a datetime, is one too

# Days before and after an event of the composites in Nava et al. (2024, and 2026, GMD 19, 167, section 3): the longer
# the window the less speckle is left, the shorter the less has changed by itself.
BUFFERS: tuple[tuple[int, int], ...] = (
    *((365, 12), (240, 12), (120, 12), (60, 12), (60, 24)),
    *((60, 48), (12, 12), (24, 24), (48, 48), (60, 60)),
)


@dataclass(frozen=True)
class Event:
    """A triggering event: what is compared is the ground before `pre_end` with the ground after `post_start`.

    Parameters
    ----------
    name : str
        What the event is called, for titles and file names.
    bbox : tuple of float
        West, south, east, north in degrees, WGS 84. West greater than east crosses the antimeridian.
    time : str or datetime, optional
        The moment of the event in UTC (ISO 8601; a date alone is its midnight). It stands for both ends below.
    pre_end, post_start : str or datetime, optional
        For events that last or come twice: the end of the time before, the start of the time after. Each
        defaults to `time`.

    Raises
    ------
    InputError
        If the box is not on the globe, no time is given, or `post_start` lies before `pre_end`.

    Notes
    -----
    Windows are open at the event: an acquisition at the very second of `pre_end` or `post_start` belongs to neither.
    """

    name: str
    bbox: tuple[float, float, float, float]
    time: Moment | None = None
    pre_end: Moment | None = None
    post_start: Moment | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError(f"an event's name must be text, not {self.name!r}")
        object.__setattr__(self, "bbox", checked_bbox(self.bbox))
        pre_end, post_start = self.pre_end or self.time, self.post_start or self.time
        if pre_end is None or post_start is None:
            raise InputError(f'event "{self.name}" needs time=, or both pre_end= and post_start=')
        object.__setattr__(self, "time", None if self.time is None else _utc(self.time))
        object.__setattr__(self, "pre_end", _utc(pre_end))
        object.__setattr__(self, "post_start", _utc(post_start))
        if self.last_before > self.first_after:
            raise InputError(
                f'event "{self.name}": pre_end ({self.last_before:%Y-%m-%d %H:%M}) must not be later than '
                f"post_start ({self.first_after:%Y-%m-%d %H:%M})"
            )

    @property
    def last_before(self) -> datetime:
        """End of the time before the event (UTC)."""
        assert isinstance(self.pre_end, datetime)
        return self.pre_end

    @property
    def first_after(self) -> datetime:
        """Start of the time after the event (UTC)."""
        assert isinstance(self.post_start, datetime)
        return self.post_start

    def pre_window(self, days: float) -> tuple[datetime, datetime]:
        """Return start (inclusive) and end (exclusive) of the `days` before the event, UTC."""
        return self.last_before - timedelta(days=_positive(days, "pre_days")), self.last_before

    def post_window(self, days: float) -> tuple[datetime, datetime]:
        """Return start (exclusive) and end (inclusive) of the `days` after the event, UTC."""
        return self.first_after, self.first_after + timedelta(days=_positive(days, "post_days"))


def read_event(path: str | Path) -> Event:
    """Read an event from a TOML file: `name`, `bbox` and `time`, or `pre_end` and `post_start`, as `Event` takes them.

    Raises
    ------
    InputError
        If the file is missing or not TOML, or does not describe an event.
    """
    try:
        fields = tomllib.loads(Path(path).read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read an event from {path}: {error}") from error
    known = {"name", "bbox", "time", "pre_end", "post_start"}
    unknown = sorted(set(fields) - known - {"simulated"})
    if unknown or not {"name", "bbox"} <= set(fields):
        raise InputError(
            f"{path} must hold name and bbox, and time or pre_end and post_start"
            + (f"; unknown: {', '.join(unknown)}" if unknown else "")
        )
    return Event(**{key: value for key, value in fields.items() if key in known})


_LONGEST = 36525  # days, a century: times in nanoseconds cannot be compared with those of some centuries ago


def _positive(days: float, name: str) -> float:
    if not 0 < days <= _LONGEST:
        raise InputError(f"{name} must be a number of days > 0, {_LONGEST} at most, not {days!r}")
    return float(days)


def checked_bbox(bbox: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """Return a box (west, south, east, north) in degrees as floats, or refuse it.

    Raises
    ------
    InputError
        If it is not four numbers, or not on the globe.
    """
    try:
        west, south, east, north = (float(v) for v in bbox)
    except (TypeError, ValueError) as error:
        raise InputError(f"bbox must be four numbers (west, south, east, north) in degrees, not {bbox!r}") from error
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south < north <= 90 and west != east):
        raise InputError(
            f"bbox must be (west, south, east, north) in degrees with south < north, not {bbox!r}; "
            "are latitude and longitude exchanged?"
        )
    return west, south, east, north


def _utc(moment: Moment) -> datetime:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise InputError(f'a time must be ISO 8601, such as "2022-02-25T01:39Z", not {moment!r}') from error
    if isinstance(moment, date) and not isinstance(moment, datetime):  # as TOML has a day without a time
        moment = datetime.combine(moment, time())
    if not isinstance(moment, datetime):
        raise InputError(f"a time must be an ISO 8601 string or a datetime, not {moment!r}")
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)
