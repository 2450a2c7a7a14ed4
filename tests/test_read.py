"""Chunks of a cube from the disk: what Zarr itself would read, or an error that names the chunk."""

import json
import pickle
import shutil
from pathlib import Path

import dask.array as da
import google_crc32c
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import Blosc

import sarcube as sc
from sarcube.cube.store.read import lazy_layer, read_chunk
from sarcube.errors import StoreError

SHAPE = (3, 23, 31)  # of which no chunk is a part
CHUNKS = (1, 8, 9)
TIMES = np.array(["2022-02-01", "2022-02-13", "2022-02-25"], "M8[ns]")
KINDS = {
    "mask": np.uint8,
    "counts": np.int16,
    "ids": np.int64,
    "double": np.float64,
    "single": np.float32,
    "half": np.float16,
    "pair": np.complex64,
    "flag": bool,
}
# NaN of other bits than NumPy's, quiet and signalling, of either sign.
ODD_NANS = np.array([0x7FC00003, 0xFFC12345, 0x7F800001, 0xFF800001], np.uint32).view(np.float32)


def make_cube(times=TIMES, *, seed=0, shape=SHAPE, chunks=CHUNKS):
    rng = np.random.default_rng(seed)
    power = rng.random((len(times), *shape[1:]), np.float32)
    power[0, 0, : ODD_NANS.size] = ODD_NANS
    layers = {
        "vv": (("time", "y", "x"), da.from_array(power, chunks=chunks), {"units": "1", "polarization": "VV"}),
        "elevation": (("y", "x"), da.from_array(rng.random(shape[1:]), chunks=chunks[1:])),
    }
    for name, kind in KINDS.items():
        values = (rng.random((2, *shape[1:])) * 120).astype(kind)
        layers[name] = (("track", "y", "x"), da.from_array(values, chunks=(1, *chunks[1:])))
    return xr.Dataset(layers, coords={"time": times, "track": ["A054", "D164"]})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return sc.write_cube(make_cube(), tmp_path_factory.mktemp("written") / "cube.zarr", keep_bits=None)


@pytest.fixture
def path(written, tmp_path):
    return shutil.copytree(written, tmp_path / "cube.zarr")


def chunk_file(path, name="vv", index=(1, 0, 2)):
    return Path(path, name, "c", *map(str, index))


def sealed(body):
    return body + google_crc32c.value(body).to_bytes(4, "little")


def encoded(values):
    return sealed(Blosc("lz4", 1, Blosc.BITSHUFFLE, typesize=values.itemsize).encode(np.ascontiguousarray(values)))


def test_bits_are_those_that_zarr_reads_and_those_that_were_written(path):
    cube, back, group = make_cube(), sc.open_cube(path), zarr.open_group(path, mode="r")
    for name in cube.data_vars:
        values = back[name].values
        assert values.dtype == cube[name].dtype
        assert values.tobytes() == cube[name].values.tobytes() == np.ascontiguousarray(group[name][...]).tobytes(), name
    assert back.vv.values[0, 0, : ODD_NANS.size].tobytes() == ODD_NANS.tobytes()


@given(
    st.tuples(st.integers(1, 13), st.integers(1, 17)),
    st.tuples(st.integers(1, 13), st.integers(1, 17)),
    st.sampled_from([np.uint8, np.int16, np.float32, np.complex64]),
)
def test_edge_chunks_are_cut_off_where_the_layer_ends(tmp_path_factory, shape, chunks, kind):
    chunks = min(chunks[0], shape[0]), min(chunks[1], shape[1])
    values = (1 + np.random.default_rng(0).random(shape) * 100).astype(kind)  # Zarr leaves chunks of zeros out
    store = tmp_path_factory.mktemp("edges")
    codecs = [zarr.codecs.BloscCodec(cname="lz4", clevel=1, shuffle="bitshuffle", typesize=values.itemsize)]
    array = zarr.create_array(
        store / "a", shape=shape, chunks=chunks, dtype=kind, compressors=[*codecs, zarr.codecs.Crc32cCodec()]
    )
    array[...] = values
    lazy = lazy_layer(store, "a", shape=shape, chunks=chunks, dtype=np.dtype(kind), version="1")
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), values)


GOOD = np.full((1, 8, 9), 3, np.float32)
DAMAGED = {
    "nothing in it": b"",
    "three bytes": b"abc",
    "three zeros": b"\0" * 3,
    "four zeros": b"\0" * 4,
    "no checksum": encoded(GOOD)[:-4],
    "cut short": encoded(GOOD)[:-9],
    "one bit": bytes([encoded(GOOD)[0], encoded(GOOD)[1] ^ 1]) + encoded(GOOD)[2:],
    "longer": encoded(np.ones((1, 8, 10), np.float32)),
    "shorter": encoded(np.ones((1, 8, 8), np.float32)),
    "wider numbers": encoded(GOOD.astype(float)),
    "no Blosc": sealed(b"neither Blosc nor anything else"),
    "a head of Blosc alone": sealed(encoded(GOOD)[:16]),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_chunk_is_an_error_that_names_it_and_says_what_helps(path, what):
    back = sc.open_cube(path)
    chunk_file(path).write_bytes(DAMAGED[what])
    with pytest.raises(StoreError, match=r"chunk vv/c/1/0/2 of the cube at .* is damaged; .*verify_cube"):
        back.vv.compute(scheduler="sync")
    # What does not hang on it is read.
    np.testing.assert_array_equal(back.vv[0].values, make_cube().vv[0].values)
    chunk_file(path).write_bytes(encoded(GOOD))
    assert (back.vv.values[1, :8, 18:27] == 3).all()


@pytest.mark.parametrize(("name", "index"), [("vv", (2, 2, 3)), ("mask", (1, 0, 0)), ("elevation", (2, 1))])
def test_a_missing_chunk_of_a_whole_cube_is_an_error(path, name, index):
    chunk_file(path, name, index).unlink()
    key = "/".join(map(str, index))
    with pytest.raises(StoreError, match=rf"chunk {name}/c/{key} of the cube at .* is missing; .*verify_cube"):
        sc.open_cube(path)[name].compute(scheduler="sync")


def test_without_any_chunk_nothing_is_made_up(path):
    back = sc.open_cube(path)
    for file in Path(path, "vv", "c").rglob("*"):
        if file.is_file():
            file.unlink()
    for time in range(3):
        with pytest.raises(StoreError, match="is missing"):
            back.vv[time].compute(scheduler="sync")


@pytest.mark.parametrize(
    ("kind", "expected"), [("<f4", np.nan), ("<f8", np.nan), ("|u1", 255), ("<i2", 32767), ("<c8", np.nan)]
)
def test_a_cube_that_is_not_whole_says_so_by_its_fill_values(tmp_path, kind, expected):
    settings = {"store": str(tmp_path), "layer": "a", "whole_shape": (5, 7), "whole_chunks": (4, 4), "kind": kind}
    chunk = read_chunk(**settings, is_whole=False, block_id=(1, 1))
    assert chunk.dtype == kind
    np.testing.assert_array_equal(chunk, np.full((1, 3), expected, kind))
    chunk_file(tmp_path, "a", (1, 1)).parent.mkdir(parents=True)
    # What is there but broken is no hole, not even in such a cube.
    chunk_file(tmp_path, "a", (1, 1)).write_bytes(b"")
    with pytest.raises(StoreError, match=r"chunk a/c/1/1 .* is damaged"):
        read_chunk(**settings, is_whole=False, block_id=(1, 1))


def test_appended_dates_are_read_in_their_order(path, tmp_path):
    earlier = make_cube(np.array(["2021-12-01"], "M8[ns]"), seed=7).assign(
        {name: make_cube()[name] for name in ("elevation", *KINDS)}
    )
    sc.write_cube(earlier, path, append=True, keep_bits=None)
    back = sc.open_cube(path)
    assert back.time.values.tolist() == np.sort(np.r_[TIMES, earlier.time.values]).tolist()
    assert back.vv.values[0].tobytes() == earlier.vv.values[0].tobytes()
    assert back.vv.values[1:].tobytes() == make_cube().vv.values.tobytes()


def test_a_cube_that_is_written_again_has_other_names(path):
    first = sc.open_cube(path)
    assert sc.open_cube(path).vv.data.name == first.vv.data.name
    sc.write_cube(make_cube(seed=1), path, overwrite=True, keep_bits=None)
    second = sc.open_cube(path)
    for name in second.data_vars.keys() - {"flag"}:  # which xarray decodes and names
        assert second[name].data.name != first[name].data.name
    np.testing.assert_array_equal(second.mask.values, make_cube(seed=1).mask.values)


def test_names_differ_between_layers_and_places(path, tmp_path):
    other = sc.open_cube(sc.write_cube(make_cube(), tmp_path / "other.zarr", keep_bits=None))
    cube = sc.open_cube(path)
    names = [array.data.name for which in (cube, other) for array in which.data_vars.values()]
    assert len(set(names)) == len(names)


def test_a_pickled_cube_reads_the_same(path):
    cube = sc.open_cube(path)
    again = pickle.loads(pickle.dumps(cube))
    for name in cube.data_vars:
        assert again[name].values.tobytes() == cube[name].values.tobytes()


def test_what_is_written_says_what_reads_it(path):
    """The codecs of which this reader knows are those in the metadata: none can join them unseen."""
    for name in ("vv", "mask", "pair"):
        document = json.loads(Path(path, name, "zarr.json").read_text())
        assert [codec["name"] for codec in document["codecs"]] == ["bytes", "blosc", "crc32c"]
        assert document["codecs"][0].get("configuration", {}).get("endian", "little") == "little"
        assert document["chunk_key_encoding"]["name"] == "default"
