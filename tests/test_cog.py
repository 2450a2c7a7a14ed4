import resource

import numpy as np
import pytest
import rasterio
from cog_stack import make_stack

from sarcube import cog
from sarcube.cog import write_cog
from sarcube.errors import InputError, StoreError


def test_a_cog_holds_the_layer(tmp_path):
    stack = make_stack(None)
    path = write_cog(stack[0].chunk(y=100), tmp_path / "layer.tif")
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), stack[0].to_numpy())
        assert dataset.transform == stack.rio.transform()
        assert dataset.crs.to_epsg() == 32633
        assert np.isnan(dataset.nodata)
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2]
    assert [p.name for p in tmp_path.iterdir()] == ["layer.tif"]


def test_a_mask_is_written_as_bytes(tmp_path):
    layer = make_stack(None)[0, :20, :30]
    mask = layer.copy(data=np.arange(600, dtype=np.uint8).reshape(20, 30) % 4)
    with rasterio.open(write_cog(mask, tmp_path / "mask.tif")) as dataset:
        assert dataset.dtypes == ("uint8",)
        assert dataset.nodata is None
        np.testing.assert_array_equal(dataset.read(1), mask)


@pytest.mark.parametrize("chunks", [None, (3, 512, 512), (1, 333, 97), (2, 700, 61)])
def test_chunks_do_not_change_the_file(tmp_path, chunks):
    with rasterio.open(write_cog(make_stack(chunks), tmp_path / "stack.tif")) as dataset:
        np.testing.assert_array_equal(dataset.read(), make_stack(None).values)
        assert dataset.overviews(1)
    assert [p.name for p in tmp_path.iterdir()] == ["stack.tif"]


def test_every_chunk_is_computed_once(tmp_path):
    computed = []

    def note(block, block_info=None):
        computed.append(block_info[0]["chunk-location"])
        return block

    stack = make_stack((3, 300, 300))
    stack = stack.copy(data=stack.data.map_blocks(note, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)))
    write_cog(stack, tmp_path / "stack.tif")
    assert sorted(computed) == sorted(np.ndindex(*stack.data.numblocks))


def test_what_breaks_on_the_way_leaves_no_half_file(tmp_path):
    def broken(block):
        raise StoreError("a chunk of the cube is damaged")

    stack = make_stack((3, 300, 300))
    stack = stack.copy(data=stack.data.map_blocks(broken, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32)))
    with pytest.raises(StoreError, match="is damaged"):
        write_cog(stack, tmp_path / "stack.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("megabytes", [1, 6])
def test_a_full_disk_leaves_what_was_there(tmp_path, megabytes):
    path = tmp_path / "stack.tif"
    path.write_bytes(b"what was there")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (megabytes * 10**6, before[1]))
    try:
        with pytest.raises(StoreError, match="is the disk full"):
            write_cog(make_stack((3, 300, 300)), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["stack.tif"]


def test_a_block_that_does_not_arrive_is_noticed(tmp_path, monkeypatch):
    copy = cog.raster_shutil.copy

    def lossy(source, target, **options):
        with rasterio.open(source, "r+") as dataset:
            dataset.write(np.zeros((1, 1), np.float32), 2, window=((650, 651), (3, 4)))
        copy(source, target, **options)

    monkeypatch.setattr(cog.raster_shutil, "copy", lossy)
    with pytest.raises(StoreError, match="1 of 9 blocks did not arrive"):
        write_cog(make_stack((3, 300, 300)), tmp_path / "stack.tif")
    assert not list(tmp_path.iterdir())


def test_layers_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"\.tif"):
        write_cog(make_stack(None), tmp_path / "stack.png")
    with pytest.raises(InputError, match="coordinate reference system"):
        write_cog(make_stack(None).drop_vars("spatial_ref"), tmp_path / "stack.tif")
    with pytest.raises(InputError, match=r"\(\[band,\] y, x\)"):
        write_cog(make_stack(None).transpose("y", "x", "band"), tmp_path / "stack.tif")
