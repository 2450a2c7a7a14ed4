"""Bring catalogue and folder up to what was staged, and take away what was only needed on the way."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sarcube.acquisition.scenes import POLARISATIONS
from sarcube.acquisition.staging.claims import DONE, Claim, read_claims
from sarcube.acquisition.staging.clip import WORK
from sarcube.acquisition.staging.documents import describe
from sarcube.acquisition.staging.jobs import Job
from sarcube.acquisition.staging.order import Order
from sarcube.acquisition.staging.pieces import PARTS, sync_folder
from sarcube.acquisition.staging.shelf import COLLECTION, Document, write_shelf
from sarcube.acquisition.staging.work import Run

_PASSING = ("no_connection", "throttled", "forbidden")  # failures after which the pieces are worth keeping


def list_staged(order: Order, ids: Sequence[str], claims: Mapping[Job, Claim], run: Run) -> None:
    """Bring the catalogue up to what is on the disk."""
    shelf = run.shelf
    for scene in order.scenes:
        staged = {job.polarisation: (job.target, claim) for job, claim in claims.items() if job.item == scene.id}
        others = {key: asset for key, asset in shelf.assets(scene.id).items() if key not in POLARISATIONS}
        shelf.items.pop(scene.id, None)  # of an item that cannot be staged again nothing is listed
        if staged:
            shelf.items[scene.id] = describe(order.items[scene.id], staged, others, collection=COLLECTION)
    tried = {scene.id for scene in order.scenes} | {None}
    shelf.unstaged = [*(entry for entry in shelf.unstaged if entry["item"] not in tried), *unstaged(run)]
    dropped = {old.id: new.id for old, new in order.dropped}
    shelf.duplicates = [
        *(entry for entry in shelf.duplicates if entry["item"] not in order.items),
        *({"item": old, "kept": new} for old, new in sorted(dropped.items())),
    ]
    write_shelf(shelf, ids)


def unstaged(run: Run) -> list[Document]:
    """Return what could not be read, as the catalogue says it."""
    found = [
        {"item": item, "asset": asset, "kind": error.kind, "message": str(error)} for item, asset, error in run.failures
    ]
    return sorted(found, key=lambda entry: (str(entry["item"]), str(entry["asset"])))


def sweep(folder: Path) -> None:
    """Take away what a killed process was just writing."""
    shutil.rmtree(folder / PARTS / WORK, ignore_errors=True)
    for left in (*folder.glob(".dem-*"), *folder.glob(".new-*")):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def tidy(order: Order, run: Run) -> None:
    """Take away what the catalogue does not list, and the pieces, unless they are of files that may yet come."""
    shelf = run.shelf
    listed = {
        shelf.home(shelf.names[item]) / Path(str(asset["href"])).name
        for item, document in shelf.items.items()
        for asset in document["assets"].values()
    }
    done = [target for target, _, _ in read_claims(shelf.folder)]
    homes = [shelf.home(shelf.names[scene.id]) for scene in order.scenes]
    for target in (*done, *(home / f"iw-{name}.rtc.tiff" for home in homes for name in POLARISATIONS)):
        if target not in listed:  # staged for another area by a call that never came to its end, or broken meanwhile
            target.unlink(missing_ok=True)
    shutil.rmtree(shelf.folder / PARTS / DONE, ignore_errors=True)
    if not any(error.kind in _PASSING for _, _, error in run.failures):
        shutil.rmtree(shelf.folder / PARTS, ignore_errors=True)  # it may be gone, or never have been
    sync_folder(shelf.folder)
