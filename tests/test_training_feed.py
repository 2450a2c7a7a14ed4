import threading
import time
import tracemalloc

import dask
import dask.array as da
import numpy as np
import pytest
import torch
from simple_stack import make_inventory, make_stack
from torch.utils.data import DataLoader
from training_patches import SIZE, make_chips, make_patches, stack_patches

import sarcube as sc
from sarcube.errors import InputError
from sarcube.labels.order import reading_order
from sarcube.labels.patches import patches_from_arrays
from sarcube.training.feed import THREAD, batches, read_ahead
from sarcube.training.moments import band_moments


def feeding():
    return [thread for thread in threading.enumerate() if thread.name.startswith(THREAD)]


def fed(patches, shares, *, batch_size=7, by_pixel=False):
    return batches(patches, shares, batch_size=batch_size, by_pixel=by_pixel, name="training")


@pytest.mark.parametrize("lazy", [False, True])
def test_batches_are_the_shares_in_order(lazy):
    patches = stack_patches((4, 50, 50) if lazy else None)
    patches = patches if lazy else patches.load()
    shares = reading_order(patches.tiles, np.arange(len(patches)), draws=np.random.default_rng(0), at_once=20)
    seen = list(fed(patches, shares))
    np.testing.assert_array_equal(np.concatenate([images for images, _ in seen]), patches.read(np.concatenate(shares)))
    np.testing.assert_array_equal(np.concatenate([truth for _, truth in seen]), patches.labels[np.concatenate(shares)])
    assert [len(truth) for _, truth in seen[:6]] == [7, 7, 6, 7, 7, 6]
    assert not feeding()


def test_masks_come_for_models_that_judge_pixels():
    chips = make_chips(10)
    ((images, truth),) = fed(chips, [np.arange(10)], batch_size=64, by_pixel=True)
    np.testing.assert_array_equal(images, chips.images)
    np.testing.assert_array_equal(truth, chips.read_masks(np.arange(10)))
    assert truth.dtype == np.float32


def test_the_next_is_read_while_one_is_used_and_no_more():
    started = []

    def read(item):
        started.append(item)
        return item

    seen = []
    for item in read_ahead(read, range(6), background=True):
        seen.append(item)
        deadline = time.perf_counter() + 5
        while len(started) < min(item + 2, 6) and time.perf_counter() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert started == list(range(min(item + 2, 6)))
    assert seen == list(range(6))
    assert list(read_ahead(read, [], background=True)) == []
    assert list(read_ahead(read, [1], background=True)) == [1]
    assert not feeding()


def test_an_error_in_the_background_comes_when_its_turn_does():
    def read(item):
        if item == 2:
            raise OSError("the disk is gone")
        return item

    reading = read_ahead(read, range(9), background=True)
    assert [next(reading), next(reading)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(reading)
    assert not feeding()


def broken_patches():
    """Patches of a stack of which a part cannot be read any more once they are cut."""
    stack = make_stack(96, 96)
    broken = []

    def block(values):
        if broken:
            raise RuntimeError("a chunk of the cube is damaged")
        return values

    lazy = da.from_array(stack.data, chunks=(4, 48, 48)).map_blocks(block, dtype=np.float32, meta=stack.data[:0])
    patches = sc.sample_patches(stack.copy(data=lazy), make_inventory((0, 0, 40, 40)), size=SIZE)
    broken.append(True)
    return patches


def test_a_stack_that_cannot_be_read_stops_the_training_with_its_own_error():
    with pytest.raises(RuntimeError, match="chunk of the cube is damaged"):
        sc.train(broken_patches(), make_patches(20), model=sc.models.cnn(4, filters=2, window_size=SIZE))
    assert not feeding()


def test_the_thread_ends_when_nobody_listens_any_more():
    patches = stack_patches((4, 50, 50))
    feed = fed(patches, [np.arange(start, start + 10) for start in range(0, 60, 10)])
    next(feed)
    assert len(feeding()) == 1
    feed.close()
    assert not feeding()

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sc.train(patches, patches, model=sc.models.cnn(4, filters=2, window_size=SIZE), progress=stop)
    assert not feeding()


def test_no_more_than_two_shares_are_in_memory():
    # Stacks that are made when they are read: what is held is what the feed holds.
    size, at_once = 64, 80
    stack = make_stack(size, size * 320)
    lazy = da.random.default_rng(0).normal(size=stack.shape, chunks=(4, size, size * 4)).astype(np.float32)
    patches = sc.sample_patches(stack.copy(data=lazy), make_inventory((0, 0, 64, 640)), size=size)
    del stack
    share = at_once * 4 * size * size * 4
    shares = reading_order(patches.tiles, np.arange(len(patches)), at_once=at_once)
    assert len(patches) == 320
    with dask.config.set(scheduler="synchronous"):
        tracemalloc.start()
        try:
            for _ in fed(patches, shares, batch_size=8):
                pass
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    tile = 1024 * size * 4 * 8
    assert peak < 2 * share + 2 * tile


def test_moments_leave_out_what_is_not_valid_and_do_not_depend_on_storage():
    chips = make_chips(150, gaps=0.2)
    mean, std = band_moments(chips, by_pixel=True)
    images = chips.images.astype(np.float64)
    np.testing.assert_allclose(mean, np.nanmean(images, axis=(0, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(std, np.nanstd(images, axis=(0, 2, 3)), rtol=1e-10)
    expected = band_moments(stack_patches().load(), by_pixel=False)
    assert band_moments(stack_patches(), by_pixel=False) == expected
    assert band_moments(stack_patches((3, 41, 77)), by_pixel=False) == expected
    near = make_patches(140)
    values = near.images + np.float32(4096)  # a mean that outweighs the spread
    _, std = band_moments(patches_from_arrays(values, near.labels, bands=near.bands), by_pixel=False)
    np.testing.assert_allclose(std, values.astype(np.float64).std(axis=(0, 2, 3)), rtol=1e-10)


def keys(samples):
    return sorted((s["left"], s["top"], s["crs"], float(s["image"].sum())) for s in samples)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
@pytest.mark.enable_socket  # workers hand tensors over through sockets of Unix
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_each_sample_comes_once_whatever_the_workers(workers, lazy):
    patches = stack_patches((4, 50, 50)) if lazy else stack_patches().load()
    patches.images  # noqa: B018  # Dask's threads are at work before any process is forked
    data = sc.PatchDataset(patches, shuffle=True, at_once=20)
    samples = list(DataLoader(data, batch_size=None, num_workers=workers))
    expected = list(sc.PatchDataset(patches))
    assert len(samples) == len(data) == len(patches) == len(expected)
    assert keys(samples) == keys(expected)
    assert [s["left"] for s in samples] != [s["left"] for s in expected]


def test_a_sample_says_where_it_is():
    patches = stack_patches(masks=True)
    for number, sample in enumerate(sc.PatchDataset(patches)):
        row = patches.table.iloc[number]
        for name in ("event", "track", "left", "bottom", "right", "top", "crs", "fraction"):
            assert sample[name] == row[name]
        assert sample["label"] is bool(row["landslide"])
        assert sample["image"].dtype == torch.float32
        np.testing.assert_array_equal(sample["image"], patches.read([number])[0])
        np.testing.assert_array_equal(sample["mask"], patches.read_masks([number])[0])
    batch = next(iter(DataLoader(sc.PatchDataset(patches), batch_size=8)))
    assert batch["image"].shape == (8, 4, SIZE, SIZE)
    assert batch["mask"].shape == (8, SIZE, SIZE)
    assert batch["label"].dtype == torch.bool
    assert "mask" not in next(iter(sc.PatchDataset(stack_patches())))


@pytest.mark.enable_socket
def test_an_epoch_is_a_draw_of_its_own_and_kept_workers_hear_of_it():
    patches = make_patches(300)
    data = sc.PatchDataset(patches, shuffle=True, seed=3, max_background_ratio=1, at_once=32)
    assert len(data) == 2 * patches.labels.sum()

    def epoch_of(number, loader):
        data.set_epoch(number)
        return [float(sample["image"].sum()) for sample in loader]

    here = DataLoader(data, batch_size=None)
    first, second = epoch_of(0, here), epoch_of(1, here)
    assert len(first) == len(data)
    assert sorted(first) != sorted(second)
    assert epoch_of(0, here) == first
    kept = DataLoader(data, batch_size=None, num_workers=1, persistent_workers=True)
    assert epoch_of(0, kept) == first
    assert epoch_of(1, kept) == second


def test_a_data_set_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="at_once"):
        sc.PatchDataset(make_patches(4), at_once=0)
    with pytest.raises(InputError, match="max_background_ratio"):
        sc.PatchDataset(make_patches(4), max_background_ratio=0)
