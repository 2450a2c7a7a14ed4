import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native_layers import assert_agrees, some_images, some_layer

from sarcube.detection.shared.native import convolve_and_pool, prepare_layer
from sarcube.errors import InputError
from sarcube.vectors.instructions import lanes_of

# As on a processor with vectors of 64 bytes, which LLVM makes of what there is.
WIDE = """
import sarcube.vectors.instructions as instructions
instructions.vector_bytes = lambda: 64
from native_layers import assert_agrees
assert instructions.lanes_of("float32") == 16
for channels, filters in ((2, 16), (4, 64), (9, 48), (32, 32)):
    assert_agrees(channels, filters, (2, 9, 7), step=2)
print("agrees")
"""

# The last pixel is the last of a page before one that may not be touched, and the first one the first behind another.
GUARDED = """
import ctypes, mmap
import numpy as np
from sarcube.detection.shared.native import convolve_and_pool, prepare_layer

PAGE = mmap.PAGESIZE
memory = mmap.mmap(-1, 8 * PAGE)
pages = np.frombuffer(memory, np.uint8)
for page in (0, 7):
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(pages[page * PAGE :].ctypes.data), PAGE, 0) == 0
for channels in (1, 2, 3, 4, 5, 7, 8, 9, 15, 31, 33):
    layer = prepare_layer(np.ones((16, channels, 3, 3)), np.zeros(16), np.zeros(16), np.full(16, np.inf))
    for number, height, width in ((1, 4, 4), (2, 5, 7), (3, 6, 4)):
        size = 4 * number * height * width * channels
        for first in (PAGE, 7 * PAGE - size):
            images = pages[first : first + size].view(np.float32).reshape(number, height, width, channels)
            images[:] = 1
            for step in (2, 4):
                (found,) = convolve_and_pool(images, layer, step=step)
                assert (found == 9 * channels).all()
print("read")
"""


def run(source):
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 8, 9, 16, 31, 32, 64])
@pytest.mark.parametrize("filters", [16, 32, 64])
def test_maxima_and_means_are_those_of_float64(channels, filters):
    for size in ((1, 4, 4), (2, 7, 9), (3, 13, 34)):
        assert_agrees(channels, filters, size, step=2)
    assert_agrees(channels, filters, (2, 13, 16), step=4)


@pytest.mark.parametrize("vectors", [1, 3, 5])
@pytest.mark.parametrize("channels", [4, 32])
def test_any_multiple_of_the_lanes_will_do_as_filters(vectors, channels):
    assert_agrees(channels, vectors * lanes_of("float32"), (2, 7, 9), step=2)


def test_vectors_of_64_bytes_give_the_same():
    assert run(WIDE) == "agrees"


def test_nothing_before_or_behind_the_images_is_read():
    assert run(GUARDED) == "read"


@settings(deadline=None, max_examples=40)
@given(
    channels=st.sampled_from([4, 32]),
    number=st.integers(1, 3),
    height=st.integers(4, 15),
    width=st.integers(4, 15),
    step=st.sampled_from([2, 3, 4]),
)
def test_a_tile_alone_and_in_company_has_the_same_bits(channels, number, height, width, step):
    layer, images = prepare_layer(*some_layer(channels, 32)), some_images(number, height, width, channels)
    together = convolve_and_pool(images, layer, step=step, mean=True)
    assert together[0].shape == (number, (height - 4) // step + 1, (width - 4) // step + 1, 32)
    for place in np.ndindex(together[0].shape[:3]):
        n, y, x = place[0], step * place[1], step * place[2]
        alone = convolve_and_pool(images[n : n + 1, y : y + 4, x : x + 4], layer, mean=True)
        for one, all_of_them in zip(alone, together, strict=True):
            assert (one[0, 0, 0] == all_of_them[place]).all()


@pytest.mark.parametrize("channels", [4, 32])
def test_what_is_asked_for_does_not_change_with_what_else_is(channels):
    layer, images = prepare_layer(*some_layer(channels, 32)), some_images(2, 10, 12, channels)
    maximum, mean = convolve_and_pool(images, layer, mean=True)
    assert (convolve_and_pool(images, layer)[0] == maximum).all()
    assert (convolve_and_pool(images, layer, maximum=False, mean=True)[0] == mean).all()


@pytest.mark.parametrize("channels", [1, 3, 4, 16])
def test_views_are_read_where_they_lie(channels):
    layer, whole = prepare_layer(*some_layer(channels, 16)), some_images(4, 20, 24, channels + 3)
    views = [
        whole[..., 1 : 1 + channels],
        whole[::2, ::3, ::2, :channels],
        whole[::-1, ::-1, ::-1, :channels],
        whole[..., :channels].transpose(2, 1, 0, 3),
        np.broadcast_to(whole[:1, :, :1, :channels], (3, 20, 10, channels)),
    ]
    for view in views:
        expected = convolve_and_pool(np.ascontiguousarray(view), layer)[0]
        assert (convolve_and_pool(view, layer)[0] == expected).all()


def test_a_wide_image_goes_through_the_buffer_in_many_parts():
    assert_agrees(32, 32, (2, 12, 200), step=2)


def test_no_images_make_no_tiles():
    layer = prepare_layer(*some_layer(4, 32))
    (found,) = convolve_and_pool(np.empty((0, 6, 8, 4), np.float32), layer)
    assert found.shape == (0, 2, 3, 32)


@pytest.mark.parametrize("channels", [2, 24])
def test_threads_do_not_disturb_each_other(channels):
    # A shape that no other test compiles: the threads come to that at the same time, too.
    filters = 7 * lanes_of("float32")
    layer = prepare_layer(*some_layer(channels, filters))
    images = [some_images(2, 40, 30, channels, seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: convolve_and_pool(part, layer)[0], images * 5))
    for number, values in enumerate(found):
        assert (values == convolve_and_pool(images[number % 8], layer)[0]).all()


def test_filters_that_do_not_fill_the_lanes_are_refused():
    weight, *rest = some_layer(4, 32)
    with pytest.raises(InputError, match="pad with filters of zeros"):
        prepare_layer(weight[:5], *(values[:5] for values in rest))


def test_a_layer_whose_parts_do_not_fit_is_refused():
    weight, bias, low, high = some_layer(4, 32)
    with pytest.raises(InputError, match="one value of high for each of 32 filters"):
        prepare_layer(weight, bias, low, high[:16])
    with pytest.raises(InputError, match=r"shape \(filter, channel, 3, 3\)"):
        prepare_layer(weight[..., :2], bias, low, high)


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (np.zeros((1, 4, 4, 3), np.float32), {}, "float32 images of shape"),
        (np.zeros((1, 4, 4, 4)), {}, "float32 images of shape"),
        (np.zeros((1, 3, 9, 4), np.float32), {}, "4 x 4 pixels or more, got 3 x 9"),
        (np.zeros((1, 4, 4, 8), np.float32)[..., ::2], {}, "side by side"),
        (np.zeros((1, 4, 4, 4), np.float32), {"step": 0}, "a step of 1 or more"),
        (np.zeros((1, 4, 4, 4), np.float32), {"maximum": False}, "ask for one of them"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, settings, message):
    with pytest.raises(InputError, match=message):
        convolve_and_pool(images, prepare_layer(*some_layer(4, 32)), **settings)
