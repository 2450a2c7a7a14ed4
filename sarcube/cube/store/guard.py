"""Zarr takes a chunk that is missing for an empty one; a cube must not."""

from pathlib import Path
from typing import Any

import google_crc32c
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from sarcube.cube.store.read import REMEDY
from sarcube.errors import StoreError


class GuardedStore(LocalStore):
    """A store whose chunks are all there and fit their checksums, or reading them is an error that names them.

    Parameters
    ----------
    root : Path
    read_only : bool
    is_whole : bool
        Whether a missing chunk is an error; a damaged one always is.
    """

    def __init__(self, root: Path, *, read_only: bool = True, is_whole: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._is_whole = is_whole

    def with_read_only(self, read_only: bool = False) -> "GuardedStore":  # noqa: D102  # as the base class has it
        return GuardedStore(self.root, read_only=read_only, is_whole=self._is_whole)

    async def get(  # noqa: D102  # as the base class has it
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        if "/c/" not in key or byte_range is not None:
            return found
        if found is None:
            if self._is_whole:
                raise StoreError(f"chunk {key} of the cube at {self.root} is missing; {REMEDY}")
            return None
        content = found.to_bytes()
        if google_crc32c.value(content[:-4]) != int.from_bytes(content[-4:], "little"):
            raise StoreError(f"chunk {key} of the cube at {self.root} is damaged; {REMEDY}")
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.root, self.read_only, self._is_whole)


def _again(root: Path, read_only: bool, is_whole: bool) -> GuardedStore:
    return GuardedStore(root, read_only=read_only, is_whole=is_whole)
