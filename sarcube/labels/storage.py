"""Patches in a file: one NumPy archive that is there whole or not at all."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from sarcube.atomic import replacing
from sarcube.errors import ReadError
from sarcube.labels.patches import Patches
from sarcube.labels.pixels import CutWindows

_TABLE = "table-"


def write_patches(patches: Patches, path: str | Path) -> None:
    """Write patches, their pixels included, to a NumPy archive (.npz), uncompressed: speckle does not compress.

    Parameters
    ----------
    patches : Patches
        Read here where they are not in memory.
    path : str or path
        Replaced if it exists.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    loaded = patches.load()
    columns = {
        f"{_TABLE}{name}": column.to_numpy() if column.dtype.kind in "bif" else column.to_numpy(str)
        for name, column in loaded.table.items()
    }
    masks = {} if loaded.masks is None else {"masks": loaded.read_masks(np.arange(len(loaded)))}
    with replacing(Path(path)) as unfinished, unfinished.open("wb") as target:
        np.savez(
            target,
            allow_pickle=False,
            images=loaded.images,
            bands=np.array(loaded.bands, str),
            radiometry=np.array(loaded.radiometry),
            filled=np.array(loaded.filled),
            **masks,
            **columns,
        )


def read_patches(path: str | Path) -> Patches:
    """Read what `write_patches` wrote, into memory.

    Raises
    ------
    ReadError
        If the file is not there, damaged, or of something else.
    """
    try:
        # Opened here: np.load leaves a damaged file open.
        with Path(path).open("rb") as source, np.load(source, allow_pickle=False) as arrays:
            columns = {name.removeprefix(_TABLE): arrays[name] for name in arrays if name.startswith(_TABLE)}
            table = pd.DataFrame({name: a.astype(object) if a.dtype.kind == "U" else a for name, a in columns.items()})
            images = arrays["images"]
            return Patches(
                table,
                CutWindows(images),
                tuple(arrays["bands"].tolist()),
                int(images.shape[-1]),
                masks=CutWindows(arrays["masks"][:, np.newaxis]) if "masks" in arrays else None,
                radiometry=str(arrays["radiometry"]),
                filled=bool(arrays["filled"]),
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ReadError(f'cannot read patches from "{path}": {error}; write_patches makes such a file') from error
