"""A layer of a network on the CPU: convolution, clamp and pooling in one pass, in vector instructions.

No map that is as large as the convolution's output is ever written. A tile's result does not depend on what other
tiles are taken with it: the same pixels give the same bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from sarcube.detection.shared.direct import direct_weights, write_direct
from sarcube.detection.shared.registers import Array, Shape, address_of, in_lines
from sarcube.detection.shared.winograd import winograd_buffer, winograd_weights, write_winograd
from sarcube.errors import InputError
from sarcube.vectors.compiled import routine_for
from sarcube.vectors.instructions import Instructions, lanes_of

_ARGUMENTS = 14
_DIRECT = 3  # channels at most: of more, Winograd's transforms cost less than the products that they save


@dataclass(frozen=True, eq=False)
class PreparedLayer:
    """A layer as the routines read it; `prepare_layer` makes it.

    Attributes
    ----------
    channels, filters : int
    weights : ndarray of float32
        In the order of the routine.
    limits : ndarray of float32, (3, filters)
        Bias, lower and upper end.
    """

    channels: int
    filters: int
    weights: Array
    limits: Array


def prepare_layer(weight: Array, bias: Array, low: Array, high: Array) -> PreparedLayer:
    """Prepare a 3 x 3 convolution and the clamp after it for `convolve_and_pool`.

    Parameters
    ----------
    weight : ndarray, (filter, channel, 3, 3)
        As many filters as a multiple of the processor's lanes, `lanes_of("float32")`: pad with zeros.
    bias, low, high : ndarray, (filter,)
        Of the convolution, and the ends to which its values are clamped; these may be infinite.

    Returns
    -------
    PreparedLayer
        In float32.

    Raises
    ------
    InputError
        If shapes do not fit each other or the lanes.
    """
    weight, bias, low, high = (np.asarray(values, np.float32) for values in (weight, bias, low, high))
    filters, lanes = len(weight), lanes_of(np.float32)
    if weight.ndim != 4 or weight.shape[2:] != (3, 3) or weight.shape[1] < 1:
        raise InputError(f"expected weights of shape (filter, channel, 3, 3), got {weight.shape}")
    if filters == 0 or filters % lanes:
        raise InputError(f"expected a multiple of {lanes} filters, got {filters}: pad with filters of zeros")
    for name, values in (("bias", bias), ("low", low), ("high", high)):
        if values.shape != (filters,):
            raise InputError(f"expected one value of {name} for each of {filters} filters, got shape {values.shape}")
    limits = in_lines((3, filters))
    limits[:] = bias, low, high
    ordered = direct_weights(weight) if weight.shape[1] <= _DIRECT else winograd_weights(weight)
    return PreparedLayer(weight.shape[1], filters, ordered, limits)


def convolve_and_pool(
    images: Array, layer: PreparedLayer, *, step: int = 2, maximum: bool = True, mean: bool = False
) -> list[Array]:
    """Convolve images, clamp the result and pool its tiles of 2 x 2, in one thread, without the interpreter's lock.

    Parameters
    ----------
    images : ndarray of float32, (n, y, x, channel)
        4 x 4 pixels or more, without NaN. Channels lie side by side; what else is a view is not copied.
    layer : PreparedLayer
        Made by `prepare_layer`. The convolution has no padding: it is 2 pixels smaller than the image on both axes.
    step : int
        From a tile to the next: tiles begin at 0, step, 2 step ... as long as they lie on the convolution's result.
    maximum, mean : bool
        What is made of the four clamped values of a tile; one of them at least.

    Returns
    -------
    list of ndarray of float32, (n, y', x', filter)
        The maximum, the mean, or both in this order; y' is (y - 4) // step + 1, and x' likewise. Within 2e-6 of the
        largest sum of magnitudes of what float64 makes of the same numbers.

    Raises
    ------
    InputError
        If the images or the step are not as above.
    """
    _check(images, layer, step, maximum or mean)
    number, height, width, _ = images.shape
    rows, columns = (height - 4) // step + 1, (width - 4) // step + 1
    results = [in_lines((number, rows, columns, layer.filters)) for wanted in (maximum, mean) if wanted]
    if number:
        shape = Shape(layer.channels, layer.filters, maximum, mean)
        routine = routine_for(_write, shape, arguments=_ARGUMENTS)
        buffer = in_lines((0 if layer.channels <= _DIRECT else winograd_buffer(shape),))
        by_image, by_row, by_column = images.strides[:3]
        arrays = layer.weights, layer.limits, results[0], results[-1], buffer
        addresses = [address_of(array) for array in (images, *arrays)]
        steps = step * by_row, step * by_column
        routine.call(addresses[0], by_image, by_row, by_column, *steps, number, rows, columns, *addresses[1:])
    return results


def _check(images: Array, layer: PreparedLayer, step: int, is_pooled: bool) -> None:
    if images.ndim != 4 or images.shape[3] != layer.channels or images.dtype != np.float32:
        raise InputError(
            f"expected float32 images of shape (n, y, x, {layer.channels}), got {images.dtype} {images.shape}"
        )
    if min(images.shape[1:3]) < 4:
        raise InputError(f"expected images of 4 x 4 pixels or more, got {images.shape[1]} x {images.shape[2]}")
    if layer.channels > 1 and images.size and images.strides[3] != images.itemsize:
        raise InputError("expected the channels of a pixel side by side: copy the images with numpy.ascontiguousarray")
    if step < 1:
        raise InputError(f"expected a step of 1 or more, got {step}")
    if not is_pooled:
        raise InputError("neither the maximum nor the mean was asked for: ask for one of them")


def _write(write: Instructions, shape: Shape, *arguments: Any) -> None:
    image, strides, steps, counts = arguments[0], arguments[1:4], arguments[4:6], arguments[6:9]
    weights, limits, outputs, buffer = arguments[9], arguments[10], arguments[11:13], arguments[13]
    if shape.channels <= _DIRECT:
        write_direct(write, shape, image, strides, steps, counts, weights, limits, outputs)
    else:
        write_winograd(write, shape, image, strides, steps, counts, weights, limits, outputs, buffer)
