"""The ledger: which chunks of a store are finished, and what is in them.

Each process that writes has a file of its own, one line a chunk, appended in one go: no lock, and of a process that
was killed at most the last line is cut. A line ends with its own checksum; one that does not fit is as if not there.
"""

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import google_crc32c

Index = tuple[int, ...]
Key = tuple[str, Index]

_THREADS = 8  # that read chunks to check them: enough to keep a disk busy
_names: dict[int, str] = {}  # of this process's file, by process id: a forked process takes another


@dataclass(frozen=True)
class Record:
    """A finished chunk."""

    variable: str
    index: Index
    size: int  # bytes on disk, the checksum's four included
    crc32c: int  # of the bytes before those four
    valid: int  # pixels
    holes: tuple[tuple[int, int], ...] = ()  # (reason, pixels)
    unread: tuple[tuple[int, int], ...] = ()  # (slice of the pass, reason)

    @property
    def key(self) -> Key:
        """Which chunk it is."""
        return self.variable, self.index


def append_record(folder: Path, record: Record) -> None:
    """Add a record to this process's file in one write."""
    pid = os.getpid()
    if pid not in _names:
        _names[pid] = f"{os.uname().nodename}-{pid}-{secrets.token_hex(4)}.jsonl"
    # A new line first: if a full disk cut the line before, this one is whole all the same.
    line = b"\n" + _line(record)
    descriptor = os.open(folder / _names[pid], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            os.write(descriptor, line[written:])  # fails, and says why
    finally:
        os.close(descriptor)


def read_records(path: Path) -> Iterator[Record]:
    """Read the records of one file, without the lines that are cut or changed."""
    for line in path.read_bytes().splitlines():
        text, _, check = line.rpartition(b" ")
        if text and check == _check(text):
            fields = json.loads(text)
            for name in ("holes", "unread"):
                fields[name] = tuple((a, b) for a, b in fields[name])
            yield Record(**{**fields, "index": tuple(fields["index"])})


def finished(store: Path, ledger: Path, compacted: Path) -> tuple[dict[Key, Record], dict[Key, str]]:
    """Return the chunks that are on disk as a record says, and what is wrong with the other recorded ones.

    Every byte of every recorded chunk is read. A chunk may have several records: a worker was lost after it wrote one,
    or it was written anew.
    """
    claims = _claims([compacted, *sorted(ledger.glob("*.jsonl"))])
    sound: dict[Key, Record] = {}
    faults: dict[Key, str] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for key, (record, fault) in zip(
            claims, pool.map(lambda these: _settle(store, these), claims.values()), strict=True
        ):
            if fault is None:
                sound[key] = record
            else:
                faults[key] = fault
    return sound, faults


def recorded(store: Path, ledger: Path) -> dict[Key, Record]:
    """Return the records of a ledger, of chunks just written; only where they disagree is the chunk read."""
    claims = _claims(sorted(ledger.glob("*.jsonl")))
    return {key: these[0] if len(set(these)) == 1 else _settle(store, these)[0] for key, these in claims.items()}


def _claims(paths: Iterable[Path]) -> dict[Key, list[Record]]:
    claims: dict[Key, list[Record]] = {}
    for path in paths:
        for record in read_records(path) if path.exists() else ():
            claims.setdefault(record.key, []).insert(0, record)  # the newest first
    return claims


def _settle(store: Path, claims: list[Record]) -> tuple[Record, str | None]:
    faults = [chunk_fault(store, record) for record in claims]
    best = faults.index(None) if None in faults else 0
    return claims[best], faults[best]


def chunk_fault(store: Path, record: Record) -> str | None:
    """Return what is wrong with a chunk's file, or None."""
    try:
        content = store.joinpath(record.variable, "c", *map(str, record.index)).read_bytes()
    except FileNotFoundError:
        return "its file is missing"
    except OSError as error:
        return f"its file cannot be read: {error.strerror or error}"
    if len(content) != record.size:
        return f"its file has {len(content)} bytes where {record.size} were written"
    body, stored = content[:-4], int.from_bytes(content[-4:], "little")
    if google_crc32c.value(body) != stored:
        return "its bytes do not fit their checksum"
    if stored != record.crc32c:
        return "its file is whole but not the one that was written there"
    return None


def compact(records: Iterable[Record]) -> bytes:
    """Return the one file that a finished store keeps: the same for the same chunks, whoever wrote them and when."""
    return b"\n".join(_line(record).rstrip() for record in sorted(records, key=lambda record: record.key)) + b"\n"


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return sha256(content).hexdigest()


def _line(record: Record) -> bytes:
    text = json.dumps(asdict(record), separators=(",", ":")).encode()
    return text + b" " + _check(text) + b"\n"


def _check(text: bytes) -> bytes:
    return b"%08x" % google_crc32c.value(text)
