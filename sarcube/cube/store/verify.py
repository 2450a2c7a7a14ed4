"""Whether a cube on disk is what was written: every byte is read, nothing is changed."""

from dataclasses import dataclass
from pathlib import Path

from sarcube.cube.store.append import COMMIT
from sarcube.cube.store.build import LEDGER, MARKER, OPEN_LEDGER, damaged_documents, ledger_digest, read_marker
from sarcube.cube.store.ledger import Index, finished
from sarcube.cube.store.plan import read_plan
from sarcube.errors import StoreError


@dataclass(frozen=True)
class Finding:
    """Something about a stored cube that is not as it should be.

    `kind` is "absent" (no cube there), "incomplete", "interrupted" (an append), "metadata", "ledger", "missing" (a
    chunk) or "damaged" (a chunk); `variable` and `index` say which chunk.
    """

    kind: str
    message: str
    variable: str | None = None
    index: Index | None = None

    def __str__(self) -> str:
        return self.message


def verify_cube(path: str | Path) -> list[Finding]:
    """Compare every byte of a stored cube with what was written.

    Chunks are compared with their own checksums and with the ledger, the ledger and the metadata with the marker. The
    same `write_cube` again repairs what is found.

    Parameters
    ----------
    path : str or Path
        Folder of the store.

    Returns
    -------
    list of Finding
        Empty if the cube is whole. A damaged store raises nothing.
    """
    store = Path(path).resolve()
    if not (store / ".sarcube").is_dir():
        return [Finding("absent", f"no sarcube cube at {path}")]
    found = []
    if (store / COMMIT).exists():
        found.append(Finding("interrupted", "an append was interrupted; run write_cube(..., append=True) again"))
    said = read_marker(store)
    if said is None:
        what = "is damaged" if (store / MARKER).exists() else "is missing: the cube was never completed"
        found.append(Finding("incomplete", f"the marker {MARKER} {what}"))
    else:
        found += [
            Finding("metadata", f"{name} is {'not as it was written' if (store / name).exists() else 'missing'}")
            for name in damaged_documents(store, said)
        ]
        if ledger_digest(store) != said["ledger"]:
            what = "not as it was written" if (store / LEDGER).exists() else "missing"
            found.append(Finding("ledger", f"the ledger {LEDGER} is {what}"))
    sound, faults = finished(store, store / OPEN_LEDGER, store / LEDGER)
    for (name, index), fault in sorted(faults.items()):
        kind = "missing" if fault == "its file is missing" else "damaged"
        found.append(Finding(kind, f"chunk {index} of {name}: {fault}", name, index))
    try:
        expected = read_plan(store).chunk_keys()
    except StoreError as error:
        if said is None:
            found.append(Finding("metadata", str(error)))
        return found
    found += [
        Finding("missing", f"chunk {index} of {name}: the ledger does not know it", name, index)
        for name, index in expected
        if (name, index) not in sound and (name, index) not in faults
    ]
    return found
