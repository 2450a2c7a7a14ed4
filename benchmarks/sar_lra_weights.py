"""The weights of a sarcube network in the order and under the names that Keras has for them."""

import numpy as np

from sarcube.errors import InputError
from sarcube.models import Network

_NORMALISATION = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def keras_arrays(model: Network) -> dict[str, np.ndarray]:
    """Return the weights of a `sarcube.models.cnn(..., joined=1)` as Keras keeps them: `sarcube.models.sar_lra` back.

    Raises
    ------
    InputError
        If it is another network, or does with its input or its logits what SAR-LRA's does not.
    """
    spec = model.spec
    if spec.architecture != "cnn" or spec.options.get("joined", 3) != 1 or spec.mean or spec.temperature != 1:
        raise InputError("SAR-LRA's network is a cnn with joined=1, without normalisation, of temperature 1")
    state = {name: values.numpy() for name, values in model.state_dict().items()}
    arrays = {}
    for number in (1, 2, 3):
        kernel = state[f"block{number}.convolution.weight"]
        arrays[f"convolution{number}_kernel"] = kernel.transpose(2, 3, 1, 0)  # (out, in, y, x) -> (y, x, in, out)
        arrays[f"convolution{number}_bias"] = state[f"block{number}.convolution.bias"]
        for ours, theirs in _NORMALISATION.items():
            arrays[f"normalisation{number}_{theirs}"] = state[f"block{number}.normalisation.{ours}"]
    dense, side = state["dense.weight"], spec.window_size // 8
    flattened = dense.reshape(len(dense), -1, side, side).transpose(2, 3, 1, 0)  # -> (y, x, channel, out)
    arrays |= {"dense_kernel": flattened.reshape(-1, len(dense)), "dense_bias": state["dense.bias"]}
    arrays |= {"output_kernel": state["output.weight"].T, "output_bias": state["output.bias"]}
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}
