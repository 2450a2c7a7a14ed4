"""The weights that the SAR-LRA tool publishes (Nava et al. 2026, GMD 19, 167), in a network of sarcube's.

Sources: lorenzonava96/SAR-and-DL-for-Landslide-Rapid-Assessment on GitHub: "SAR-LRA Tool V1/utils.py" and
app/inference/model.py for the layers, MODEL_CARD.md for training, use and licence, model/weights-manifest.json for the
files.
"""

import hashlib
import logging
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sarcube.errors import ReadError
from sarcube.models.cnn import CNN, cnn_from_spec
from sarcube.models.keras_hdf5 import Layer, keras_layers, read_variable
from sarcube.models.spec import BANDS, ModelSpec
from sarcube.radiometry import SIGMA0_DB

Floats = NDArray[np.float32]

logger = logging.getLogger(__name__)

PUBLISHED = {
    "ba0599c713a69eb477b3ff540d008246b5b758a8bb9b14e3fc4d97f24f0ff21c": "ascending",
    "2083bfa5ec756d3cc22d8802224fff0f46a5e40b79318e93fa742f044667dcfd": "descending",
}
"""SHA-256 of the published files, and the pass direction that each was trained on."""
WINDOW = 64
MOST_FILTERS = 1024
_KINDS = {
    ("bias", "kernel"): "convolution or dense layer",
    ("beta", "gamma", "moving_mean", "moving_variance"): "batch normalisation",
}
_LICENCE = "NOASSERTION: the authors have not explicitly confirmed a licence of these weights (SAR-LRA's MODEL_CARD.md)"
_EVENTS = "earthquakes in Papua New Guinea, Lombok, Hokkaido, Mesetas, Milin and Luding"


def from_sar_lra(path: str | Path) -> CNN:
    """Read the weights of a SAR-LRA network from the HDF5 file that Keras wrote.

    Parameters
    ----------
    path : str or Path
        A file such as SAR-LRA publishes, of Keras 2 (weights or whole model) or Keras 3 (.weights.h5); for VV and VH
        or, as the papers also have it, VV alone. The number of filters and the bands follow from what is in it.

    Returns
    -------
    CNN
        In evaluation mode, on the CPU; `sc.save_model` writes it. Its spec asks for sigma0 on the ellipsoid in dB, as
        composites of `sc.to_sigma0(cube)` and those of `sc.open_sar_lra` hold, without normalisation, and has the
        tool's threshold, 0.6. The pass direction stands in `spec.card`: from the file's SHA-256 where it is a published
        one, else from its name where that says ASCENDING or DESCENDING.

    Raises
    ------
    ReadError
        If the file is missing or no HDF5, or does not hold just the layers of this network in their sizes; if its
        weights are not finite floats that lie in the file itself.

    Notes
    -----
    Keras keeps kernels of convolutions as (y, x, in, out) and flattens maps as (y, x, channel); both are turned to
    torch's order. The published code joins the third map three times, where the papers join maps 1, 2 and 3; weights
    have the same sizes in both. It is what is made (`joined` = 1, see `sarcube.models.cnn`) unless the file names two
    layers or more that resize a map, which a network with maps 1 and 2 has and the published code leaves without use.

    References
    ----------
    Nava et al. 2026, GMD 19, 167.
    """
    with keras_layers(path) as layers:
        tensors, channels, filters = _tensors([layer for layer in layers if layer.variables], path)
        joined = _joined(layers)
    identity = _sha256(path)
    if identity not in PUBLISHED:
        logger.info('"%s" is none of the files that SAR-LRA published (SHA-256 %s)', path, identity)
    trained_on, card = _provenance(path, identity)
    spec = ModelSpec(
        "cnn",
        BANDS[channels],
        window_size=WINDOW,
        options={"filters": filters, "dropout": 0.7, "joined": joined},
        radiometry=SIGMA0_DB,
        threshold=0.6,
        trained_on=trained_on,
        licence=_LICENCE,
        card=card,
    )
    model = cnn_from_spec(spec)
    model.load_state_dict(tensors)
    return model.eval()


def _tensors(layers: list[Layer], path: str | Path) -> tuple[dict[str, torch.Tensor], int, int]:
    """Read what is in the file as torch's tensors; and the numbers of channels and filters."""
    kernels = [layer for layer in layers if _is(layer, "convolution or dense layer")]
    convolutions = [layer for layer in kernels if len(layer.variables["kernel"].shape or ()) == 4]
    dense = [layer for layer in kernels if layer not in convolutions]
    normalisations = [layer for layer in layers if _is(layer, "batch normalisation")]
    expected = (len(convolutions), len(normalisations), len(dense)) == (3, 3, 2)
    if not expected or len(layers) != 8:
        raise ReadError(
            f'"{path}" does not hold the layers of a SAR-LRA network: expected 3 convolutions, 3 batch normalisations '
            f"and 2 dense layers; it holds {', '.join(layer.name for layer in layers) or 'no weights'}"
        )
    channels, filters = _channels_and_filters(convolutions[0], path)
    tensors: dict[str, torch.Tensor] = {}
    for number, (convolution, normalisation) in enumerate(zip(convolutions, normalisations, strict=True), start=1):
        size = (3, 3, channels if number == 1 else filters, filters)
        tensors |= _convolution(convolution, f"block{number}.convolution", size)
        tensors |= _normalisation(normalisation, f"block{number}.normalisation", filters, path)
    side, joined, hidden = WINDOW // 8, 3 * filters, 8 * filters
    tensors |= _dense(dense[0], "dense", (side * side * joined, hidden))
    tensors |= _dense(dense[1], "output", (hidden, 1))
    flattened = tensors["dense.weight"].reshape(hidden, side, side, joined)
    tensors["dense.weight"] = flattened.permute(0, 3, 1, 2).reshape(hidden, -1)  # (y, x, channel) -> (channel, y, x)
    return tensors, channels, filters


def _joined(layers: list[Layer]) -> int:
    """How many different maps are joined: a layer whose output is not used is not in the file."""
    resizing = [layer for layer in layers if "resiz" in layer.name]  # tf.image.resize_2, resizing_1
    return 3 if len(resizing) > 1 else 1


def _is(layer: Layer, kind: str) -> bool:
    return _KINDS.get(tuple(sorted(layer.variables))) == kind


def _channels_and_filters(convolution: Layer, path: str | Path) -> tuple[int, int]:
    shape = tuple(convolution.variables["kernel"].shape)
    height, width, channels, filters = shape
    if (height, width) != (3, 3) or channels not in BANDS or not 1 <= filters <= MOST_FILTERS:
        raise ReadError(
            f'"{path}": the kernel of {convolution.name} has the shape {shape}; expected (3, 3, bands, filters) with 2 '
            f"or 4 bands and 1 to {MOST_FILTERS} filters"
        )
    return channels, filters


def _convolution(layer: Layer, name: str, shape: tuple[int, ...]) -> dict[str, torch.Tensor]:
    kernel = read_variable(layer, "kernel", shape=shape)
    return {
        f"{name}.weight": torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))),
        f"{name}.bias": torch.from_numpy(read_variable(layer, "bias", shape=shape[-1:])),
    }


def _dense(layer: Layer, name: str, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    return {
        f"{name}.weight": torch.from_numpy(np.ascontiguousarray(read_variable(layer, "kernel", shape=shape).T)),
        f"{name}.bias": torch.from_numpy(read_variable(layer, "bias", shape=shape[-1:])),
    }


def _normalisation(layer: Layer, name: str, filters: int, path: str | Path) -> dict[str, torch.Tensor]:
    values = {variable: read_variable(layer, variable, shape=(filters,)) for variable in layer.variables}
    if (values["moving_variance"] < 0).any():
        raise ReadError(f'"{path}": the moving variance of {layer.name} is negative, which no variance is')
    return {
        f"{name}.weight": torch.from_numpy(values["gamma"]),
        f"{name}.bias": torch.from_numpy(values["beta"]),
        f"{name}.running_mean": torch.from_numpy(values["moving_mean"]),
        f"{name}.running_var": torch.from_numpy(values["moving_variance"]),
        f"{name}.num_batches_tracked": torch.tensor(0),  # torch's own count, which evaluation does not use
    }


def _provenance(path: str | Path, identity: str) -> tuple[str, str]:
    """Say what a file's weights were trained on, as far as its hash or its name tells, and what they are for."""
    name = Path(path).name
    orbit = PUBLISHED.get(identity)
    if orbit is not None:
        trained_on = f"{_EVENTS}, on Earth Engine's COPERNICUS/S1_GRD, {orbit} passes; SAR-LRA's published file {name}"
    else:
        said = {word.lower() for word in re.findall(r"(?<![A-Z])(?:A|DE)SCENDING(?![A-Z])", name.upper())}
        orbit = said.pop() if len(said) == 1 else None
        trained_on = (
            f"unknown, {orbit or 'unknown'} passes by its name: {name}, SHA-256 {identity}, is none of SAR-LRA's "
            "published files"
        )
    return trained_on, _card(orbit)


def _card(orbit: str | None) -> str:
    if orbit is None:
        passes = (
            "Whether these weights are for ascending or for descending passes the file does not say; they are not "
            "interchangeable."
        )
    else:
        passes = f"For {orbit} passes alone: weights for ascending and for descending passes are not interchangeable."
    return (
        f"{passes} Medians of 60 days before and 12 days after an earthquake, of one relative orbit, sigma0 on the "
        "ellipsoid in dB, not terrain-flattened. Not validated by its authors for landslides of rain, slow or single "
        "ones; the score is not a calibrated probability."
    )


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
