"""Small copies of TIFFs: GDAL must see the same pixels in them, tile for tile, or an error."""

import struct
import zlib

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import RasterioIOError
from rasterio.io import MemoryFile
from rasterio.windows import Window
from rtc_scenes import speckle

from sarcube.acquisition.files.tiff import BrokenTiffError, checked_tile, read_skeleton, tiles_of, with_tiles

SHAPE = (70, 90)


def written(path, bands=1, **options):
    options = {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "deflate"} | options
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=SHAPE[0],
        width=SHAPE[1],
        count=bands,
        dtype="float32",
        crs="EPSG:32647",
        transform=Affine(10, 0, 600_000, 0, -10, 100_000),
        nodata=-32768,
        **options,
    ) as dataset:
        for band in range(bands):
            dataset.write(speckle(band, SHAPE), band + 1)
        dataset.update_tags(TRACK_NUMBER="164")
    return path


def reader(path):
    content = path.read_bytes()

    def read(start, stop):
        if stop > len(content):
            raise BrokenTiffError("ends too early")
        return content[start:stop]

    return read


def copied(path, *, rows, columns, number=0, band=1):
    """Make the small copy of a file that holds what a window needs."""
    read = reader(path)
    skeleton = read_skeleton(read)
    level = skeleton.levels[number]
    tiles = {}
    for tile in tiles_of(level, rows, columns, band=band):
        start, count = int(level.offsets[tile]), int(level.counts[tile])
        if count:
            tiles[int(tile)] = checked_tile(level, read(start, start + count))
    return with_tiles(skeleton, level, tiles)


LAYOUTS = {
    "tiles": {},
    "strips": {"tiled": False, "blockxsize": None, "blockysize": 8},
    "one strip": {"tiled": False, "blockxsize": None, "blockysize": 70, "compress": "none"},
    "plain": {"compress": "none"},
    "big-endian": {"ENDIANNESS": "BIG"},
    "BigTIFF": {"BIGTIFF": "YES"},
    "big-endian BigTIFF": {"BIGTIFF": "YES", "ENDIANNESS": "BIG"},
    "predictor 2": {"predictor": 2},
    "predictor 3": {"predictor": 3},
    "big-endian predictor 3": {"predictor": 3, "ENDIANNESS": "BIG"},
    "lzw": {"compress": "lzw", "predictor": 3},
    "zstd": {"compress": "zstd"},
    "lerc": {"compress": "lerc"},
    "lerc in deflate": {"compress": "lerc_deflate"},
    "tile as large as the image": {"blockxsize": 96, "blockysize": 80},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_copy_of_a_window_has_its_pixels(tmp_path, layout):
    path = written(tmp_path / "a.tif", **{key: value for key, value in LAYOUTS[layout].items() if value is not None})
    with rasterio.open(path) as whole:
        for rows, columns in [((0, 70), (0, 90)), ((31, 33), (15, 17)), ((69, 70), (89, 90)), ((5, 6), (0, 90))]:
            window = Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
            with MemoryFile(copied(path, rows=rows, columns=columns)) as memory, memory.open(driver="GTiff") as part:
                np.testing.assert_array_equal(part.read(1, window=window), whole.read(1, window=window))
                assert part.crs == whole.crs
                assert part.transform == whole.transform
                assert part.nodata == whole.nodata
                assert part.tags() == whole.tags()
                assert part.block_shapes == whole.block_shapes


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_every_band_has_its_own_tiles(tmp_path, interleave):
    path = written(tmp_path / "a.tif", bands=3, interleave=interleave)
    for band in (1, 2, 3):
        copy = copied(path, rows=(10, 50), columns=(20, 60), band=band)
        with MemoryFile(copy) as memory, memory.open(driver="GTiff") as part:
            values = part.read(band, window=Window(20, 10, 40, 40))
        np.testing.assert_array_equal(values, speckle(band - 1, SHAPE)[10:50, 20:60])


def test_overviews_are_levels_with_their_own_place(tmp_path):
    path = written(tmp_path / "a.tif")
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    assert [level.shape for level in read_skeleton(reader(path)).levels] == [(70, 90), (35, 45), (18, 23)]
    for number in (1, 2):
        copy = copied(path, rows=(3, 17), columns=(2, 20), number=number)
        with (
            MemoryFile(copy) as memory,
            memory.open(driver="GTiff", overview_level=number - 1) as part,
            rasterio.open(path, overview_level=number - 1) as whole,
        ):
            window = Window(2, 3, 18, 14)
            np.testing.assert_array_equal(part.read(1, window=window), whole.read(1, window=window))
            assert part.transform == whole.transform


def test_touching_a_tile_that_was_not_fetched_is_an_error(tmp_path):
    path = written(tmp_path / "a.tif", compress="none")
    copy = copied(path, rows=(0, 32), columns=(0, 16))
    with MemoryFile(copy) as memory, memory.open(driver="GTiff") as part:
        part.read(1, window=Window(0, 0, 16, 32))
        with pytest.raises(RasterioIOError):
            part.read(1, window=Window(0, 0, 17, 32))


def test_a_tile_that_the_file_does_not_have_is_nodata(tmp_path):
    path = written(tmp_path / "a.tif", SPARSE_OK=True)
    values = speckle(0, SHAPE)
    values[:32, :16] = -32768
    with rasterio.open(tmp_path / "b.tif", "w", **rasterio.open(path).profile, SPARSE_OK=True) as dataset:
        dataset.write(values, 1)
    level = read_skeleton(reader(tmp_path / "b.tif")).levels[0]
    assert (level.counts == 0).sum() == 1
    copy = copied(tmp_path / "b.tif", rows=(0, 70), columns=(0, 90))
    with MemoryFile(copy) as memory, memory.open(driver="GTiff") as part:
        np.testing.assert_array_equal(part.read(1), values)


@given(seed=st.integers(0, 2**32 - 1), options=st.sampled_from(["", "predictor 3", "one block"]))
def test_every_flipped_bit_of_a_deflated_tile_is_found(tmp_path_factory, seed, options):
    """Or changes nothing: a few bits fill up the last byte. GDAL itself lets many pass: see the next test."""
    path = tmp_path_factory.mktemp("flip") / "a.tif"
    layout = {"": {}, "predictor 3": {"predictor": 3}, "one block": {"blockxsize": 96, "blockysize": 80}}[options]
    read = reader(written(path, **layout))
    level = read_skeleton(read).levels[0]
    tile = bytearray(read(int(level.offsets[0]), int(level.offsets[0] + level.counts[0])))
    random = np.random.default_rng(seed)
    true = zlib.decompress(tile)
    tile[random.integers(len(tile))] ^= 1 << random.integers(8)
    try:
        assert zlib.decompress(checked_tile(level, bytes(tile))) == true
    except BrokenTiffError as error:
        assert "damaged tile" in str(error)  # noqa: PT017  it need not be raised


def test_gdal_takes_a_tile_that_is_too_long_for_pixels(tmp_path):
    """What most of the flips that GDAL lets pass end in. If this fails GDAL has learnt it, and the check may go."""
    skeleton = read_skeleton(reader(written(tmp_path / "a.tif")))
    level = skeleton.levels[0]
    wrong = zlib.compress(bytes(level.unpacked + 1))
    with MemoryFile(with_tiles(skeleton, level, {0: wrong})) as memory, memory.open(driver="GTiff") as part:
        part.read(1, window=Window(0, 0, 16, 32))  # some pixels, no error
    with pytest.raises(BrokenTiffError, match="does not end"):
        checked_tile(level, wrong)


@pytest.mark.parametrize("change", ["short", "long", "garbage", "zeros", "empty", "cut"])
def test_a_tile_of_another_length_is_damaged(tmp_path, change):
    level = read_skeleton(reader(written(tmp_path / "a.tif"))).levels[0]
    assert level.unpacked == 16 * 32 * 4
    body = {
        "short": zlib.compress(bytes(100)),
        "long": zlib.compress(bytes(level.unpacked + 1)),
        "garbage": b"garbage, garbage",
        "zeros": bytes(300),
        "empty": b"",
        "cut": zlib.compress(bytes(level.unpacked))[:-1],
    }[change]
    if change == "short":  # GDAL's to refuse: the last strip of an image may be shorter
        skeleton = read_skeleton(reader(tmp_path / "a.tif"))
        copy = with_tiles(skeleton, skeleton.levels[0], {0: checked_tile(level, body)})
        with MemoryFile(copy) as memory, memory.open(driver="GTiff") as part, pytest.raises(RasterioIOError):
            part.read(1, window=Window(0, 0, 16, 32))
    else:
        with pytest.raises(BrokenTiffError, match="damaged tile"):
            checked_tile(level, body)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"II",
        b"<html>not found</html>",
        bytes(200),
        b"II*\0" + struct.pack("<L", 8) + bytes(50),
        b"II*\0" + struct.pack("<L", 9999) + bytes(50),
        b"II*\0" + struct.pack("<L", 0) + bytes(50),
        b"II*\0" + struct.pack("<LHHHLL", 8, 1, 256, 16, 2**31, 8) + bytes(50),
        b"II+\0" + struct.pack("<HHQQHHQQ", 8, 0, 16, 1, 324, 16, 2**62, 8) + bytes(50),
    ],
)
def test_what_is_no_tiff_is_refused(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(BrokenTiffError):
        read_skeleton(reader(path))


@given(st.data())
def test_a_damaged_header_is_an_error_or_a_copy_that_gdal_can_judge(tmp_path_factory, data):
    """Whatever the header's bytes: no other exception, no endless loop, no crash of GDAL."""
    path = written(tmp_path_factory.mktemp("header") / "a.tif")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, 600))
    content[place : place + 4] = data.draw(st.binary(min_size=4, max_size=4))
    path.write_bytes(content)
    try:
        skeleton = read_skeleton(reader(path))
    except BrokenTiffError:
        return
    try:
        with MemoryFile(skeleton.head) as memory, memory.open(driver="GTiff") as part:
            assert part.count >= 1
    except (RasterioIOError, rasterio.errors.CRSError, rasterio.errors.NotGeoreferencedWarning):
        pass


def test_a_circle_of_directories_is_refused(tmp_path):
    content = bytearray(written(tmp_path / "a.tif").read_bytes())
    (first,) = struct.unpack("<L", content[4:8])
    (entries,) = struct.unpack("<H", content[first : first + 2])
    end = first + 2 + 12 * entries
    content[end : end + 4] = struct.pack("<L", first)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(BrokenTiffError, match="circle"):
        read_skeleton(reader(tmp_path / "a.tif"))


def test_tile_numbers_by_hand(tmp_path):
    level = read_skeleton(reader(written(tmp_path / "a.tif"))).levels[0]  # 3 x 6 tiles of 32 x 16
    assert list(tiles_of(level, (0, 1), (0, 1))) == [0]
    assert list(tiles_of(level, (31, 33), (15, 17))) == [0, 1, 6, 7]
    assert list(tiles_of(level, (64, 200), (80, 200))) == [17]
    assert list(tiles_of(level, (-5, 1), (-5, 1))) == [0]
