"""A file that a thread keeps open: never another one than is asked for, and never for ever."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from rasterio.windows import Window
from rtc_scenes import speckle, write_rtc

from sarcube.acquisition.files import borrowing
from sarcube.acquisition.files.borrowing import borrow_geotiff
from sarcube.acquisition.files.headers import read_window
from sarcube.errors import ReadError

WINDOW = Window(3, 5, 7, 9)


def borrowed(path):
    """Return the open file, and what it holds in a window."""
    with borrow_geotiff(str(path), owner="a test") as dataset:
        return dataset, read_window(dataset, WINDOW)


@pytest.fixture
def path(tmp_path):
    return write_rtc(tmp_path / "a.tif", speckle(1))


def test_it_stays_open_for_the_next_window(path):
    first, _ = borrowed(path)
    second, values = borrowed(path)
    assert second is first
    assert not first.closed
    np.testing.assert_array_equal(values, speckle(1)[5:14, 3:10])


def test_another_file_is_another_file(path, tmp_path):
    first, _ = borrowed(path)
    _, values = borrowed(write_rtc(tmp_path / "b.tif", speckle(2)))
    np.testing.assert_array_equal(values, speckle(2)[5:14, 3:10])
    assert first.closed


def test_a_file_that_was_replaced_is_opened_anew(path, tmp_path):
    borrowed(path)
    write_rtc(tmp_path / "new.tif", speckle(3)).replace(path)
    np.testing.assert_array_equal(borrowed(path)[1], speckle(3)[5:14, 3:10])


def test_it_is_closed_after_enough_windows(path, monkeypatch):
    monkeypatch.setattr(borrowing, "_MOST_WINDOWS", 3)
    opened = [borrowed(path)[0] for _ in range(20)]
    assert 6 <= len(set(map(id, opened))) <= 8
    assert sum(not dataset.closed for dataset in opened) <= 3


def test_threads_and_processes_share_no_file(path, monkeypatch):
    mine, _ = borrowed(path)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(borrowed, path).result()[0] is not mine
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as after a fork
    assert borrowed(path)[0] is not mine


def test_after_an_error_it_is_not_used_again(path):
    first, _ = borrowed(path)
    with pytest.raises(RuntimeError), borrow_geotiff(str(path), owner="a test"):
        raise RuntimeError("in the middle")
    assert first.closed


def test_a_file_that_is_gone_is_named(path):
    borrowed(path)
    path.unlink()
    with pytest.raises(ReadError, match=r"a\.tif of a test") as caught:
        borrowed(path)
    assert caught.value.kind == "not_found"


def test_free_memory_is_given_back_now_and_then(path, monkeypatch):
    given = []
    monkeypatch.setattr(borrowing, "_give_back", given.append)
    monkeypatch.setattr(borrowing, "_MOST_WINDOWS", 2)
    monkeypatch.setattr(borrowing, "_WINDOWS_A_TRIM", 6)
    for _ in range(25):
        borrowed(path)
    assert 3 <= len(given) <= 5
