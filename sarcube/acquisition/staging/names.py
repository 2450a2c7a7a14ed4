"""Names of folders from ids of items, which nobody has vouched for."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 128  # characters: with the file's name behind it a path stays far below what systems allow
_RESERVED = {"collection.json", "catalog.json"}  # lie beside the folders


def names_for(ids: Iterable[str], *, taken: Mapping[str, str]) -> dict[str, str]:
    """Return the name of a folder for each id; no two that a file system could take for one.

    Parameters
    ----------
    ids : iterable of str
        Of items; their order does not matter.
    taken : mapping of str to str
        Names that ids have already; they keep them.

    Returns
    -------
    dict
        Id to name: letters, digits, ``.``, ``_`` and ``-``, not beginning with a dot, 128 characters at most. It is
        the id itself where that is such a name; else it ends in a hash of the id.
    """
    wanted_by = set(ids)
    names = {one: taken[one] for one in wanted_by & set(taken)}
    new = sorted(wanted_by - set(taken))
    used = {name.casefold() for name in taken.values()}
    wanted = {name: safe_name(name) for name in new}
    counts = Counter(name.casefold() for name in wanted.values())
    for one, name in wanted.items():
        while name.casefold() in used or counts[name.casefold()] > 1:
            name = _hashed(name, one)
        used.add(name.casefold())
        names[one] = name
    return names


def safe_name(text: str) -> str:
    """Return an id as a name of a file or folder: itself where it is such a name, else with a hash at its end.

    Two ids that differ in nothing but upper and lower case give names that do so; `names_for` tells them apart.
    """
    name = _OTHER.sub("-", text).lstrip(".")[:_LONGEST]
    return name if name == text and name and name.casefold() not in _RESERVED else _hashed(name, text)


def _hashed(name: str, text: str) -> str:
    # Each time another hash: of two names that are one the second may have been hashed already.
    check = sha256(f"{name}\0{text}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{name[: _LONGEST - 13]}-{check}".lstrip("-.")
