"""A TIFF without its pixels: where its tiles lie, and a small copy that holds just some of them.

GDAL is never given a network. What it decodes is a BigTIFF in memory with every tag of the file, in which the tiles
that were fetched lie at their new places and all others lie nowhere, so that touching one is an error, not a zero.
Layouts: TIFF 6.0, sections 2, 3 and 15; BigTIFF (libtiff, "The BigTIFF File Format"); deflate: RFC 1950.
"""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

Read = Callable[[int, int], bytes]  # (first byte, byte after the last) -> just these bytes

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_LONG8 = 16
_SUBFILE, _WIDTH, _HEIGHT, _STRIP_ROWS, _TILE_WIDTH, _TILE_HEIGHT = 254, 256, 257, 278, 322, 323
_BITS, _COMPRESSION, _BANDS, _PLANES = 258, 259, 277, 284
_DEFLATE = {8, 32946}
_STRIPS, _TILES = (273, 279), (324, 325)  # offsets, byte counts
# These point into the file: free space, other directories, old JPEG. Copied, they would point at something else.
_POINTERS = {288, 289, 330, 513, 514, 519, 520, 521, 34665, 34853, 40965}
_MASK = 4  # bit of the subfile type
_NOWHERE = 1 << 60  # after the end of any file: reading there fails

# No real scene has more; a hostile file would have us fetch and hold its header for ever.
_MOST_DIRECTORIES = 64
_MOST_TAGS = 4096
_MOST_BYTES = 1 << 26


class BrokenTiffError(ValueError):
    """The header is not that of a TIFF that can be read; the message says why, to follow "it"."""


@dataclass(frozen=True)
class Level:
    """One directory of the file: the full image, an overview or a mask.

    `offsets` and `counts` are the bytes of each tile (or strip) in the file, row by row, uint64; 0 and 0 for a tile
    that the file does not have. `places` is where the skeleton holds the two. `unpacked` is how many bytes a
    tile has without compression.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    mask: bool
    deflated: bool
    unpacked: int
    offsets: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    places: tuple[int, int]


@dataclass(frozen=True)
class Skeleton:
    """The tags of a file as a BigTIFF with no tile, and its levels in the order of the file."""

    order: str  # "<" or ">", as in the file
    head: bytes
    levels: tuple[Level, ...]

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return len(self.head) + sum(level.offsets.nbytes + level.counts.nbytes for level in self.levels)


@dataclass(frozen=True)
class _Tag:
    type: int
    count: int
    value: bytes  # in the order of the file


_Directory = Mapping[int, _Tag]


def read_skeleton(read: Read) -> Skeleton:
    """Read the header of a TIFF or BigTIFF, wherever its directories lie.

    Raises
    ------
    BrokenTiffError
        If it is no TIFF, or its directories contradict themselves.
    """
    start = read(0, 16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    version = struct.unpack(f"{order}H", start[2:4])[0] if order else 0
    if order is None or version not in (42, 43):
        raise BrokenTiffError("is no TIFF")
    big = version == 43
    (place,) = struct.unpack(f"{order}Q", start[8:16]) if big else struct.unpack(f"{order}L", start[4:8])
    directories: list[_Directory] = []
    seen: set[int] = set()
    taken = 0
    while place:
        if place in seen or len(seen) == _MOST_DIRECTORIES:
            raise BrokenTiffError("has a circle of directories, or too many")
        seen.add(place)
        directory, place = _read_directory(read, place, order, big=big, budget=_MOST_BYTES - taken)
        taken += sum(len(tag.value) for tag in directory.values())
        directories.append(directory)
    if not directories:
        raise BrokenTiffError("has no image")
    return _compose(directories, order)


def tiles_of(level: Level, rows: tuple[int, int], columns: tuple[int, int], *, band: int = 1) -> NDArray[np.intp]:
    """Return the numbers of the tiles of a band that rows and columns [first, after the last) touch."""
    down, across = (ceil(length / size) for length, size in zip(level.shape, level.tile, strict=True))
    y, x = (
        np.arange(max(first, 0) // size, ceil(min(after, length) / size))
        for (first, after), size, length in zip((rows, columns), level.tile, level.shape, strict=True)
    )
    separate = len(level.offsets) > down * across  # each band has its own tiles, one band after the other
    return ((band - 1) * down * across * separate + y[:, np.newaxis] * across + x).ravel()


def checked_tile(level: Level, body: bytes) -> bytes:
    """Return a tile whose checksum was found right, where its compression has one.

    A deflated tile ends in the Adler-32 of its bytes. libtiff never comes to it where a tile unpacks to too much: of
    single flipped bits it lets 4 to 16 % pass, as other pixels. So the tile is unpacked here, and packed again without
    compression (in effect a copy), which leaves the predictor to GDAL. Other compressions hold no checksum: a flip
    that decodes there cannot be seen.

    Raises
    ------
    BrokenTiffError
        If the tile does not unpack, or its checksum is wrong.
    """
    if not level.deflated:
        return body
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(body, level.unpacked)
        # All is out, but the checksum may be unread; a byte more is more than a tile holds.
        more = b"" if unpacking.eof else unpacking.decompress(unpacking.unconsumed_tail, 1)
    except zlib.error:
        raise BrokenTiffError("has a damaged tile (its checksum is wrong)") from None
    if more or not unpacking.eof:
        raise BrokenTiffError(f"has a damaged tile (it does not end where it should, after {level.unpacked} bytes)")
    return zlib.compress(raw, 0)


def with_tiles(skeleton: Skeleton, level: Level, tiles: Mapping[int, bytes]) -> bytes:
    """Return a TIFF that holds some tiles of a level, by their numbers."""
    head = bytearray(skeleton.head)
    offsets, counts = (np.frombuffer(head, f"{skeleton.order}u8", len(level.offsets), place) for place in level.places)
    place = len(head)
    for number, body in tiles.items():
        offsets[number], counts[number] = place, len(body)
        place += len(body)
    del offsets, counts  # what they view may not be joined before
    return b"".join([head, *tiles.values()])


def _read_directory(read: Read, place: int, order: str, *, big: bool, budget: int) -> tuple[_Directory, int]:
    """Return the tags of a directory, and where the next one is (0: it was the last)."""
    count_format, size, pointer = ("Q", 20, "Q") if big else ("H", 12, "L")
    start = place + struct.calcsize(f"{order}{count_format}")
    (entries,) = struct.unpack(f"{order}{count_format}", read(place, start))
    if not 0 < entries <= _MOST_TAGS:
        raise BrokenTiffError(f"has a directory of {entries} tags")
    inline = struct.calcsize(f"{order}{pointer}")
    table = read(start, start + entries * size + inline)
    directory: dict[int, _Tag] = {}
    for number in range(entries):
        code, kind, count = struct.unpack_from(f"{order}HH{pointer}", table, number * size)
        if kind not in _SIZES:
            continue  # readers shall skip what they do not know
        length = _SIZES[kind] * count
        if length > budget:
            raise BrokenTiffError("has a header of more than 64 MiB")
        budget -= length
        at = number * size + size - inline
        if length > inline:
            (where,) = struct.unpack_from(f"{order}{pointer}", table, at)
            value = read(where, where + length)
        else:
            value = table[at : at + length]
        directory[code] = _Tag(kind, count, value)
    (after,) = struct.unpack_from(f"{order}{pointer}", table, entries * size)
    return directory, after


def _compose(directories: Sequence[_Directory], order: str) -> Skeleton:
    """Write the directories one after the other, each with its values behind it."""
    head = bytearray(struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 16))
    levels = []
    for number, directory in enumerate(directories):
        names = _TILES if _TILES[0] in directory else _STRIPS
        offsets, counts = (_integers(directory, name, order) for name in names)
        shape, tile, planes = _layout(directory, order)
        expected = planes * ceil(shape[0] / tile[0]) * ceil(shape[1] / tile[1])
        if not len(offsets) == len(counts) == expected:
            raise BrokenTiffError(f"has {len(offsets)} offsets and {len(counts)} sizes for {expected} tiles")
        missing = counts == 0
        nowhere = np.where(missing, 0, np.uint64(_NOWHERE))
        tags = {code: tag for code, tag in directory.items() if code not in _POINTERS}
        for name, values in zip(names, (nowhere, counts), strict=True):
            tags[name] = _Tag(_LONG8, len(values), values.astype(f"{order}u8").tobytes())
        places = _append(head, tags, order, last=number == len(directories) - 1)
        mask = _number(directory, _SUBFILE, order, default=0) & _MASK != 0
        deflated = _number(directory, _COMPRESSION, order, default=1) in _DEFLATE
        unpacked = _unpacked(directory, tile, planes, order)
        here = places[names[0]], places[names[1]]
        levels.append(Level(shape, tile, mask, deflated, unpacked, np.where(missing, 0, offsets), counts, here))
    return Skeleton(order, bytes(head), tuple(levels))


def _append(head: bytearray, tags: _Directory, order: str, *, last: bool) -> dict[int, int]:
    """Add a directory and its values; return where the value of each tag is."""
    table = len(head) + 8
    free = table + 20 * len(tags) + 8
    head += struct.pack(f"{order}Q", len(tags))
    values, places = bytearray(), {}
    for number, (code, tag) in enumerate(sorted(tags.items())):
        head += struct.pack(f"{order}HHQ", code, tag.type, tag.count)
        if len(tag.value) <= 8:
            places[code] = table + 20 * number + 12
            head += tag.value.ljust(8, b"\0")
        else:
            places[code] = free + len(values)
            head += struct.pack(f"{order}Q", places[code])
            values += tag.value + bytes(-len(tag.value) % 8)
    head += struct.pack(f"{order}Q", 0 if last else free + len(values))
    head += values
    return places


def _layout(directory: _Directory, order: str) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return (rows, columns) of the image and of a tile, and how many planes of tiles there are."""
    shape = _number(directory, _HEIGHT, order), _number(directory, _WIDTH, order)
    if _TILES[0] in directory:
        tile = _number(directory, _TILE_HEIGHT, order), _number(directory, _TILE_WIDTH, order)
    else:
        tile = min(_number(directory, _STRIP_ROWS, order, default=shape[0]), shape[0]), shape[1]
    if min(*shape, *tile) < 1:
        raise BrokenTiffError(f"has {shape[0]} x {shape[1]} pixels in tiles of {tile[0]} x {tile[1]}")
    separate = _number(directory, _PLANES, order, default=1) == 2
    return shape, tile, _number(directory, _BANDS, order, default=1) if separate else 1


def _unpacked(directory: _Directory, tile: tuple[int, int], planes: int, order: str) -> int:
    bands = 1 if planes > 1 else _number(directory, _BANDS, order, default=1)
    bits = _number(directory, _BITS, order, default=1)
    return tile[0] * ceil(tile[1] * bands * bits / 8)


def _number(directory: _Directory, code: int, order: str, *, default: int | None = None) -> int:
    if default is not None and code not in directory:
        return default
    values = _integers(directory, code, order)
    if len(values) == 0:
        raise BrokenTiffError(f"has an empty tag {code}")
    return int(values[0])


def _integers(directory: _Directory, code: int, order: str) -> NDArray[np.uint64]:
    tag = directory.get(code)
    if tag is None or tag.type not in _INTEGERS:
        raise BrokenTiffError(f"lacks tag {code}, or it is no whole number")
    return np.frombuffer(tag.value, f"{order}{_INTEGERS[tag.type]}").astype(np.uint64)
