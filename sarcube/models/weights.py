"""Models on disk: weights as safetensors, with the spec in the file's metadata. Weights are data, never code."""

import copy
import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sarcube.atomic import replacing
from sarcube.errors import InputError, ReadError
from sarcube.models import build
from sarcube.models.network import Network
from sarcube.models.spec import ModelSpec

N = TypeVar("N", bound=Network)

SPEC_KEY = "sarcube_model_spec"
HASH_KEY = "sarcube_model_hash"
_DTYPES = {"F32": torch.float32, "I64": torch.int64}
"""What networks are made of, by safetensors' names."""


def save_model(model: Network, path: str | Path) -> Path:
    """Write weights and spec to a safetensors file, whole or not at all.

    Parameters
    ----------
    model : Network
    path : str or Path
        Should end in ``.safetensors``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the suffix is another one, or the model is not the one that its spec describes, so that `load_model` could
        not read it again.
    StoreError
        If it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f'weights are written as .safetensors, not "{path.name}"')
    tensors = _tensors(model)
    kinds = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if misfit := _misfit(model.spec, kinds) or _not_finite(tensors):
        raise InputError(f"the model is not what its spec describes, and could not be read again: {misfit}")
    data = save(tensors, {SPEC_KEY: model.spec.to_json(), HASH_KEY: model_hash(model)})
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return path


def load_model(name_or_path: str | Path) -> Network:
    """Read a model that `save_model` wrote, or one that comes with the package.

    Parameters
    ----------
    name_or_path : str or Path
        A ``.safetensors`` file, or the bare name of a packaged model, such as "cnn-vv-vh".

    Returns
    -------
    Network
        A `WindowClassifier` or a `Segmenter`, as its spec says; in evaluation mode, on the CPU.

    Raises
    ------
    ReadError
        If the file is not there, is not safetensors, carries no spec, or its tensors are not those that the spec
        asks for, finite.
    InputError
        If no packaged model has that name, or the spec describes no model that can be built.
    """
    path = _resolve(name_or_path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if SPEC_KEY not in metadata:
                raise ReadError(
                    f'"{path}" does not say what model it is: it lacks the metadata "{SPEC_KEY}"; '
                    "write weights with sarcube.save_model"
                )
            spec = ModelSpec.from_json(metadata[SPEC_KEY])
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118
            kinds = {key: (tuple(part.get_shape()), _DTYPES.get(part.get_dtype())) for key, part in slices.items()}
            if misfit := _misfit(spec, kinds):
                raise ReadError(f'"{path}" does not hold the weights that its spec describes: {misfit}')
            tensors = {key: file.get_tensor(key) for key in kinds}
    except (SafetensorError, OSError) as error:
        if isinstance(error, ReadError):
            raise
        raise ReadError(f'"{path}" is not a readable safetensors file: {error}') from error
    if spoilt := _not_finite(tensors):
        raise ReadError(f'"{path}" holds no weights that can be used: {spoilt}')
    model = build(spec)
    model.load_state_dict(tensors)
    if HASH_KEY in metadata and metadata[HASH_KEY] != model_hash(model):
        raise ReadError(f'the weights in "{path}" were changed after they were saved: their hash does not match')
    return model.eval()


def packaged_models() -> list[str]:
    """Names of the models that come with the package."""
    folder = resources.files("sarcube.models") / "pretrained"
    if not folder.is_dir():
        return []
    return sorted(
        file.name.removesuffix(".safetensors") for file in folder.iterdir() if file.name.endswith(".safetensors")
    )


def model_hash(model: Network) -> str:
    """SHA-256, in hexadecimal, over everything that decides a detection and its provenance: spec and weights.

    It does not depend on the file, the device or the memory layout.
    """
    digest = hashlib.sha256(model.spec.to_json().encode())
    for name, tensor in sorted(_tensors(model).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def frozen_copy(model: N) -> N:
    """Copy a model for inference: later training of the original does not reach it, and threads may share it."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def _tensors(model: Network) -> dict[str, torch.Tensor]:
    return {
        name: tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format).clone()
        for name, tensor in model.state_dict().items()
    }


def _resolve(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if path.suffix or len(path.parts) > 1:
        if not path.is_file():
            raise ReadError(f'there is no model file at "{path}"')
        return path
    names = packaged_models()
    if str(name_or_path) not in names:
        raise InputError(
            f'no packaged model is called "{name_or_path}"; there are: {", ".join(names) or "none"}. '
            "A file is named with its suffix .safetensors"
        )
    return Path(str(resources.files("sarcube.models") / "pretrained" / f"{name_or_path}.safetensors"))


def _misfit(spec: ModelSpec, found: Mapping[str, tuple[tuple[int, ...], torch.dtype | None]]) -> str:
    """Say what of the shapes and types of tensors is not as the network of a spec has it; nothing if all is."""
    with torch.device("meta"):  # shapes alone: a file may claim sizes that would not fit into memory
        expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in build(spec).state_dict().items()}
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        return (
            f"of a {spec.architecture}, missing {', '.join(missing) or 'nothing'}; "
            f"unexpected {', '.join(extra) or 'nothing'}"
        )
    for name, (shape, dtype) in expected.items():
        if found[name][0] != shape:
            return (
                f"the tensor {name} has the shape {found[name][0]}, but a {spec.architecture} with options "
                f"{dict(spec.options)} and bands {spec.bands} needs {shape}"
            )
        if found[name][1] != dtype:
            return f"the tensor {name} is not of {dtype} (make it so with model.float())"
    return ""


def _not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """Say which tensor would make every probability NaN, which looks like ground without data; nothing if none."""
    spoilt = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    return f"the tensor {spoilt[0]} holds NaN or infinite values, as after training that diverged" if spoilt else ""
