"""What an interrupted training goes on from: one file, replaced after every epoch, that says what call it is of."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from sarcube.atomic import replacing
from sarcube.errors import InputError, ReadError
from sarcube.labels.patches import Patches
from sarcube.models.network import Network
from sarcube.models.weights import model_hash
from sarcube.training.config import TrainConfig

MAGIC = b"sarcube training checkpoint 1\n"

Fingerprint = dict[str, str]


def fingerprint(training: Patches, validation: Patches, model: Network, config: TrainConfig) -> Fingerprint:
    """Say what a training depends on, each part as text that can be compared.

    Patches are known by their table, bands and size; those that were made of arrays and know no place, by their pixels
    as well.
    """
    settings = {f"setting {name}": json.dumps(value) for name, value in asdict(config).items()}
    return {
        **settings,
        "model": model_hash(model),
        "training patches": _patches_hash(training),
        "validation patches": _patches_hash(validation),
    }


def _patches_hash(patches: Patches) -> str:
    rows = pd.util.hash_pandas_object(patches.table, index=False).to_numpy(np.uint64)
    digest = hashlib.sha256(rows.tobytes())
    kind = (patches.bands, patches.size, patches.radiometry, patches.filled, patches.masks is not None)
    digest.update(repr(kind).encode())
    if (patches.table["crs"] == "").any():
        for number in range(len(patches)):
            digest.update(patches.pixels.read(np.array([number])).tobytes())
            if patches.masks is not None:
                digest.update(patches.masks.read(np.array([number])).tobytes())
    return digest.hexdigest()


def first_pixels(*sets: Patches) -> str:
    """Know patches of one table by the pixels of each stack's first: those of a composite of other dates differ.

    Patches that know no place are left out: their `fingerprint` has all their pixels.
    """
    digest = hashlib.sha256()
    for patches in sets:
        placed = np.flatnonzero(patches.table["crs"] != "")
        first = np.unique(patches.table["stack"].to_numpy()[placed], return_index=True)[1]
        images = patches.read(placed[first])
        images[np.isnan(images)] = np.nan  # of which there are several to the bit
        digest.update(images.tobytes())
    return digest.hexdigest()


def write_checkpoint(path: Path, state: Mapping[str, Any], made_by: Fingerprint) -> None:
    """Write the state of a training, whole or not at all.

    Parameters
    ----------
    state : mapping
        Tensors, numbers, text, and lists and dicts of these.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save({"made_by": made_by, "state": dict(state)}, buffer)
    content = buffer.getvalue()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC)
        file.write(hashlib.sha256(content).digest())  # torch does not notice a flipped bit
        file.write(content)


def read_checkpoint(path: Path, made_by: Fingerprint) -> dict[str, Any] | None:
    """Read the state that `write_checkpoint` wrote; None if there is no such file.

    Raises
    ------
    ReadError
        If it is no checkpoint or damaged.
    InputError
        If it is of another call.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReadError(f'cannot read the checkpoint "{path}": {error}') from error
    digest, content = data[len(MAGIC) :][:32], data[len(MAGIC) + 32 :]
    if not data.startswith(MAGIC):
        raise ReadError(f'"{path}" is no checkpoint of this version of sarcube; name another file, or delete it')
    if hashlib.sha256(content).digest() != digest:
        raise ReadError(f'the checkpoint "{path}" is damaged; delete it, and training begins anew')
    kept = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    _check_same_call(path, kept["made_by"], made_by)
    state: dict[str, Any] = kept["state"]
    return state


def _check_same_call(path: Path, before: Fingerprint, now: Fingerprint) -> None:
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differing:
        said = say_differing(differing, before, now)
        raise InputError(
            f'the checkpoint "{path}" is of another training, which differs in {said}; repeat that call to go on with '
            "it, name another file, or delete this one"
        )


def say_differing(names: Sequence[str], before: Fingerprint, now: Fingerprint) -> str:
    """Name what differs between two fingerprints, settings with their values."""
    return ", ".join(
        f"{name.removeprefix('setting ')} ({before.get(name)} there, {now.get(name)} here)"
        if name.startswith("setting ")
        else f"the {name}"
        for name in names
    )
