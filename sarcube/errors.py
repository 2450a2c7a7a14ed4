"""What can go wrong, as types: every message says what was expected, what came and what to do."""


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
    """A file is missing, broken or not what its name or item says."""

    exit_code = 4


class StoreError(SarcubeError, OSError):
    """A store cannot be written, or is not complete."""

    exit_code = 5
