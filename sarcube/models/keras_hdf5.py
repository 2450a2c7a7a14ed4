"""Weights that Keras wrote to HDF5, as arrays. The file is not trusted: no link is followed, no claimed size believed.

Three layouts are known. Keras 2 (`save_weights` to .h5 or .hdf5): a group for each layer, in the order of the root's
attribute `layer_names`, with the variables at "conv2d/kernel:0" and alike. A whole model (`save` to .h5): the same in
the group "model_weights". Keras 3 (`save_weights` to .weights.h5): "layers/conv2d/vars/0" and so on, the layers of a
kind in the order of the numbers behind it: conv2d, conv2d_2, conv2d_10.

What the HDF5 library itself does with a file that was forged byte by byte is beyond this: it may take for ever.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from sarcube.errors import ReadError

MOST_MEMBERS = 128
"""Members of a group, and names in `layer_names`, that are looked at: no network that is read here has as many."""
MOST_LEVELS = 6
"""Groups within a layer's group: Keras 2 has one for each scope of names."""
_NUMBERED = {0: (), 2: ("kernel", "bias"), 4: ("gamma", "beta", "moving_mean", "moving_variance")}
"""What Keras 3 means by the numbers of variables, of layers that have as many."""


class Layer(NamedTuple):
    """A layer: its name in the file, and its variables, such as "kernel", not read yet; most layers have none."""

    name: str
    variables: dict[str, Any]


@contextmanager
def keras_layers(path: str | Path) -> Iterator[list[Layer]]:
    """Open a file of weights for a `with` and find its layers.

    Parameters
    ----------
    path : str or Path
        A file as Keras 2 or Keras 3 writes it.

    Yields
    ------
    list of Layer
        Those of a kind are in the model's order. `read_variable` reads their variables, within the `with`.

    Raises
    ------
    ReadError
        If the file is missing, is not HDF5 or has none of the layouts above; if it holds links other than hard ones, an
        object twice, or weights of layers that it does not name.
    """
    if not Path(path).is_file():
        raise ReadError(f'there is no file of weights at "{path}"', kind="not_found")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ReadError(f'"{path}" is not a readable HDF5 file, as Keras writes its weights: {error}') from error
    with file:
        with _damage_reported(path):
            layers = _find_layers(file)
        yield layers


def read_variable(layer: Layer, name: str, *, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Read a variable of a layer, once all that the file says of it is what it must be.

    Parameters
    ----------
    layer : Layer
        Of `keras_layers`.
    name : str
        One of its variables.
    shape : tuple of int
        What the network needs. Nothing is read, and no memory taken, where the file has another.

    Returns
    -------
    float32 array of that shape

    Raises
    ------
    ReadError
        If it has another shape, is not of floats, does not lie whole and uncompressed in this file, or holds NaN or
        infinite values.
    """
    variable = layer.variables[name]
    with _damage_reported(variable.file.filename):
        _check(variable, shape)
        with np.errstate(over="ignore"):  # what is too large for float32 is found below
            values = np.asarray(variable[()]).astype(np.float32)
    if not np.isfinite(values).all():
        raise _refusal(variable, "it holds NaN or infinite values: training went astray, or the file is damaged")
    return values


def _find_layers(file: Any) -> list[Layer]:
    seen: set[int] = set()
    members = _members(file, seen)
    if "model_weights" in members:
        return _layers_by_names(members["model_weights"], _members(members["model_weights"], seen), seen)
    if "layer_names" in file.attrs:
        return _layers_by_names(file, members, seen)
    if "layers" in members:
        return _layers_by_numbers(_members(members["layers"], seen), seen)
    raise _refusal(
        file,
        'it holds no weights of Keras: expected the attribute "layer_names" or the groups "model_weights" or "layers"; '
        f"there is {', '.join(members) or 'nothing'}",
    )


def _layers_by_names(root: Any, members: dict[str, Any], seen: set[int]) -> list[Layer]:
    """Find the layers of Keras 2: `layer_names` orders them, whatever number stands behind a name."""
    names = _layer_names(root)
    if missing := [name for name in names if name not in members]:
        raise _refusal(root, f"it names layers that it does not hold: {', '.join(missing)}")
    variables = {name: _variables(member, seen) for name, member in members.items()}
    if unnamed := [name for name, found in variables.items() if found and name not in names]:
        raise _refusal(root, f'it holds weights of {", ".join(unnamed)}, which "layer_names" does not name')
    return [Layer(name, variables[name]) for name in names]


def _layers_by_numbers(members: dict[str, Any], seen: set[int]) -> list[Layer]:
    """Find the layers of Keras 3, of which the order within a kind is all that the file knows."""
    layers = []
    for name in sorted(members, key=_kind_and_number):
        found = _variables(members[name], seen)
        names = _NUMBERED.get(len(found))
        if names is None or found.keys() != {str(number) for number in range(len(names))}:
            raise _refusal(
                members[name], f"its variables are {', '.join(sorted(found))}; expected 0 and 1, or 0 to 3, or none"
            )
        layers.append(Layer(name, {variable: found[str(number)] for number, variable in enumerate(names)}))
    return layers


def _kind_and_number(name: str) -> tuple[str, int]:
    numbered = re.fullmatch(r"(.*)_([0-9]{1,9})", name, flags=re.DOTALL)
    return (numbered[1], int(numbered[2])) if numbered else (name, 0)


def _layer_names(root: Any) -> list[str]:
    if "layer_names" not in root.attrs:
        raise _refusal(root, 'it lacks the attribute "layer_names", which says the order of the layers')
    attribute = root.attrs.get_id("layer_names")
    is_list = len(attribute.shape or ()) == 1 and attribute.shape[0] <= MOST_MEMBERS
    if not is_list or attribute.get_type().get_class() != h5py.h5t.STRING:
        raise _refusal(
            root,
            f'its attribute "layer_names" must list up to {MOST_MEMBERS} texts; it has the shape {attribute.shape} and '
            f"the type {attribute.dtype}",
        )
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in root.attrs["layer_names"]]
    if len(set(names)) != len(names):
        raise _refusal(root, f'its attribute "layer_names" has a name twice: {", ".join(names)}')
    return names


def _variables(member: Any, seen: set[int], levels: int = MOST_LEVELS) -> dict[str, Any]:
    """Find the datasets within a layer's group, by the last part of their name without Keras 2's ":0"."""
    if isinstance(member, h5py.Dataset):
        raise _refusal(member, "it is a dataset where the group of a layer was expected")
    if not levels:
        raise _refusal(member, f"the groups of a layer are nested more than {MOST_LEVELS} deep")
    found: dict[str, Any] = {}
    for name, inner in _members(member, seen).items():
        is_dataset = isinstance(inner, h5py.Dataset)
        more = {name.removesuffix(":0"): inner} if is_dataset else _variables(inner, seen, levels - 1)
        if twice := found.keys() & more.keys():
            raise _refusal(member, f'it holds the variable "{twice.pop()}" twice')
        found |= more
    return found


def _members(group: Any, seen: set[int]) -> dict[str, Any]:
    """Open what a group holds: nothing that lies elsewhere, and no object twice, so that no path goes in circles."""
    if not isinstance(group, h5py.Group):
        raise _refusal(group, "it is no group, as Keras writes it")
    if len(group) > MOST_MEMBERS:
        raise _refusal(group, f"it has {len(group)} members; expected {MOST_MEMBERS} at most")
    members = {}
    for name in group:
        if isinstance(name, bytes):
            raise _refusal(group, f"it has a member whose name is no text: {name!r}")
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise _refusal(group, f'"{name}" is a link that leads elsewhere; weights must lie in the file itself')
        member = group[name]
        if not isinstance(member, h5py.Group | h5py.Dataset):
            raise _refusal(group, f'"{name}" is neither a group nor a dataset')
        address = h5py.h5o.get_info(member.id).addr
        if address in seen:
            raise _refusal(group, f'"{name}" is an object that stands elsewhere in the file already')
        seen.add(address)
        members[name] = member
    return members


def _check(variable: Any, shape: tuple[int, ...]) -> None:
    """Refuse a dataset by what the file says of it, before any of its values is read."""
    if variable.shape != shape:
        raise _refusal(variable, f"it has the shape {variable.shape}; the network needs {shape}")
    if variable.id.get_type().get_class() != h5py.h5t.FLOAT or variable.dtype.itemsize not in (2, 4, 8):
        raise _refusal(variable, f"it holds {variable.dtype}; weights are floats of 16, 32 or 64 bits")
    properties = variable.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise _refusal(variable, "its values lie in another file; weights must lie in the file itself")
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or properties.get_nfilters():
        # A compressed chunk may unpack to any size, and its filter may be a plugin: a program.
        raise _refusal(
            variable,
            "it is stored in chunks or compressed, and Keras stores weights in one piece; write the file anew with "
            "h5repack -l CONTI -f NONE IN OUT",
        )
    needed, stored = variable.nbytes, variable.id.get_storage_size()
    size = Path(variable.file.filename).stat().st_size
    if stored != needed or needed > size:
        raise _refusal(variable, f"it needs {needed} bytes; {stored} are stored, in a file of {size}")


def _refusal(thing: Any, what: str) -> ReadError:
    return ReadError(f'"{thing.file.filename}", {thing.name}: {what}')


@contextmanager
def _damage_reported(path: str | Path) -> Iterator[None]:
    """Say what HDF5 found wrong; it has many types of error for it."""
    try:
        yield
    except ReadError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ReadError(f'"{path}" is damaged: {error}') from error
