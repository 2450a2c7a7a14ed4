"""What can go wrong, as types: every message says what was expected, what came and what to do."""

from typing import Any


class SarcubeError(Exception):
    """Base of all errors that sarcube raises on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class InputError(SarcubeError, ValueError):
    """An argument cannot be used as it is."""

    exit_code = 2


class NoSceneError(SarcubeError, LookupError):
    """A search or a time window holds no scene."""

    exit_code = 3


class TrackError(SarcubeError, KeyError):
    """A track is not in the cube, or several are and none was named."""

    exit_code = 3

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would quote the sentence


class BandError(SarcubeError, KeyError):
    """A polarisation or band that is needed is not there."""

    exit_code = 3

    def __str__(self) -> str:
        return str(self.args[0])


class AreaError(SarcubeError, ValueError):
    """Areas that must overlap do not."""

    exit_code = 3


class ReadError(SarcubeError, OSError):
    """A file is missing, broken or not what its name or item says.

    `kind` is why, in one word: "not_found", "forbidden", "throttled", "no_connection", "damaged" or "stale".
    """

    exit_code = 4

    def __init__(self, message: str, *, kind: str = "damaged") -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own would lose the kind on the way from another process.
        return _read_error, (str(self), self.kind)


def _read_error(message: str, kind: str) -> ReadError:
    return ReadError(message, kind=kind)


class StoreError(SarcubeError, OSError):
    """A store cannot be written, or is not complete."""

    exit_code = 5
