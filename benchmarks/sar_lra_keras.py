"""SAR-LRA's network in TensorFlow, behind its pipeline: a process that `benchmarks.detector` asks.

    PYTHON -m benchmarks.sar_lra_keras IMAGE.npy WEIGHTS.npz THREADS

PYTHON is that of an environment with `tensorflow-cpu==2.15.1`; nothing else but numpy is needed there. The layers are
those that "SAR-LRA Tool V1/utils.py" stacks, whose third map is joined three times.
"""

import sys

import numpy as np
import tensorflow as tf

from benchmarks.detector_serving import serve
from benchmarks.sar_lra_pipeline import WINDOW, works


def network(weights: dict[str, np.ndarray]) -> tf.keras.Model:
    """Build the network with the weights of `benchmarks.sar_lra_weights`."""
    layers = tf.keras.layers
    bands, filters = weights["convolution1_kernel"].shape[2:]
    inputs = x = layers.Input((WINDOW, WINDOW, bands))
    for number in (1, 2, 3):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"convolution{number}")(x)
        x = layers.BatchNormalization(name=f"normalisation{number}")(x)
        if number < 3:
            x = layers.MaxPooling2D()(x)
    x = layers.MaxPooling2D()(tf.concat([x, x, x], axis=-1))
    x = layers.Flatten()(layers.Dropout(0.7)(x))
    x = layers.Dense(8 * filters, activation="relu", name="dense")(x)
    model = tf.keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="output")(x))
    for layer in model.layers:
        if layer.weights:  # named "dense/kernel:0"
            names = [variable.name.split("/")[-1].split(":")[0] for variable in layer.weights]
            layer.set_weights([weights[f"{layer.name}_{name}"] for name in names])
    return model


def main(image: str, weights: str, threads: str) -> None:
    """Build, and serve."""
    tf.config.threading.set_intra_op_parallelism_threads(int(threads))
    tf.config.threading.set_inter_op_parallelism_threads(int(threads))
    with np.load(weights) as arrays:
        model = network(dict(arrays))

    def predict(windows: np.ndarray, batch: int) -> np.ndarray:
        return model.predict(windows, batch_size=batch, verbose=0)[:, 0]

    serve(works(image, predict))


if __name__ == "__main__":
    main(*sys.argv[1:])
