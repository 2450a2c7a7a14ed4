"""Patches in a file come back as they were; what is no such file is named."""

import numpy as np
import pandas as pd
import pytest
from simple_stack import make_inventory, make_stack

import sarcube as sc
from sarcube.errors import ReadError, StoreError
from sarcube.labels.patches import concatenate_patches
from sarcube.labels.storage import read_patches, write_patches


def sampled(kind, seed=0):
    stack = make_stack(70, 100, seed=seed)
    stack[0, 3, 4] = np.nan
    inventory = make_inventory((0, 0, 20, 20), (40, 40, 60, 55))
    return kind(stack, inventory, size=32)


@pytest.mark.parametrize("kind", [sc.sample_patches, sc.sample_chips])
def test_what_is_written_is_read(tmp_path, kind):
    patches = concatenate_patches([sampled(kind), sampled(kind, seed=1)])
    assert not patches.is_loaded
    write_patches(patches, tmp_path / "a.npz")
    again = read_patches(tmp_path / "a.npz")
    assert again.is_loaded
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    np.testing.assert_array_equal(again.images, patches.images)
    pd.testing.assert_frame_equal(again.table, patches.table)
    names = ("bands", "size", "radiometry", "filled")
    assert [getattr(again, n) for n in names] == [getattr(patches, n) for n in names]
    assert (again.masks is None) == (patches.masks is None)
    if patches.masks is not None:
        every = np.arange(len(patches))
        np.testing.assert_array_equal(again.read_masks(every), patches.read_masks(every))
        assert patches.read_masks(every).any()


def test_what_is_no_such_file_is_named(tmp_path):
    with pytest.raises(ReadError, match="nowhere"):
        read_patches(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(ReadError, match=r"text\.npz"):
        read_patches(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", images=np.zeros(3))
    with pytest.raises(ReadError, match=r"other\.npz"):
        read_patches(tmp_path / "other.npz")
    write_patches(sampled(sc.sample_patches), tmp_path / "cut.npz")
    whole = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ReadError, match=r"cut\.npz"):
        read_patches(tmp_path / "cut.npz")
    with pytest.raises(StoreError, match="does not exist"):
        write_patches(sampled(sc.sample_patches), tmp_path / "no folder" / "a.npz")
