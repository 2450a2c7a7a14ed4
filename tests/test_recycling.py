import pickle
import threading

import dask.array as da
import numpy as np
import pytest

from sarcube import recycling
from sarcube.change import nanmedian
from sarcube.recycling import recycled_bytes


@pytest.fixture(autouse=True)
def nothing_ready():
    recycling._ready.clear()
    yield
    recycling._ready.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_nobody_holds_it():
    first = recycled_bytes(1000)
    place = address(first)
    assert address(recycled_bytes(1000)) != place
    del first
    again = {address(one) for one in [recycled_bytes(1000), recycled_bytes(1000)]}
    assert place in again


def test_no_view_of_any_kind_sees_its_memory_given_away():
    holders = [
        lambda a: a[10:],
        lambda a: a.view(np.float32).reshape(50, 5),
        lambda a: a.view(np.float32).reshape(50, 5)[:, :3].T,
        lambda a: np.asarray(a.view(np.float32)),
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a, np.uint8),
        lambda a: np.lib.stride_tricks.as_strided(a, (5,), (2,)),
        lambda a: np.broadcast_to(a, (3, 1000)),
        lambda a: pickle.PickleBuffer(a),
    ]
    for hold in holders:
        memory = recycled_bytes(1000)
        place = address(memory)
        held = hold(memory)
        del memory
        others = [recycled_bytes(1000) for _ in range(3)]
        assert place not in {address(other) for other in others}
        del held, others
        assert place in {address(other) for other in [recycled_bytes(1000) for _ in range(5)]}


def test_what_lies_ready_is_bounded_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr(recycling, "_MOST", 3000)
    arrays = [recycled_bytes(1000 + number) for number in range(4)]
    while arrays:
        del arrays[0]
    assert [memory.size for memory in recycling._ready] == [1002, 1003]


def test_many_threads_never_share_memory():
    wrong = []

    def work(number):
        for _ in range(300):
            memory = recycled_bytes(4096)
            memory[:] = number
            if not (memory == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(recycling._ready) <= 16  # a thread holds the last one until it has the next


def test_blocks_that_are_kept_stay_what_they_are():
    values = np.random.default_rng(0).random((3, 40, 60), np.float32)
    lazy = nanmedian(da.from_array(values, chunks=(3, 20, 20)))
    kept = lazy.persist()
    nanmedian(da.from_array(values[::-1] + 1, chunks=(3, 20, 20))).compute()
    np.testing.assert_array_equal(kept.compute(), np.median(values, axis=0))
