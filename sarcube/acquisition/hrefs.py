"""Which addresses of an item may be opened: items come from catalogues that nobody has vouched for."""

import re
from pathlib import Path
from urllib.parse import urljoin

from sarcube.errors import InputError

_SCHEME = re.compile(r"[A-Za-z][\w+.\-]+:")  # also GDAL's own, GTIFF_DIR:1:; two letters at least: C:\ is a drive


def is_url(href: str) -> bool:
    """Return whether `href` is an http or https address."""
    return href.lower().startswith(("http://", "https://"))


def resolve_href(href: str, *, owner: str, base: str | None = None, root: Path | None = None) -> str:
    """Make an href absolute, if it may be opened at all.

    Parameters
    ----------
    href : str
        What the item says.
    owner : str
        Who says it, for the error message.
    base : str, optional
        File or URL that relative hrefs are relative to.
    root : Path, optional
        Folder that local files must lie in; symbolic links are followed before this is decided.

    Returns
    -------
    str
        An http(s) URL or an absolute local path.

    Raises
    ------
    InputError
        For anything but http, https and plain local paths: other schemes, GDAL's virtual file systems, inline
        VRT documents, paths outside `root`.
    """
    address, asked, _ = href.partition("?")  # what is asked for may be a secret
    shown = address if len(address) <= 80 and not asked else f"{address[:77]}..."
    scheme = _SCHEME.match(href)
    if is_url(href):
        return href
    if (
        scheme
        or not href.strip()
        or href.lstrip().startswith("<")
        or href.lower().startswith(("/vsi", "\\\\"))
        or any(ord(character) < 32 for character in href)
    ):
        raise InputError(
            f"{owner} has an address that is not opened: {shown!r}; expected http(s):// or a plain path of a file"
        )
    if base is not None and is_url(base):
        try:
            target = urljoin(base, href)
        except ValueError:
            target = ""
        if not is_url(target):  # "c:/x" has the form of a scheme, and nothing on the web leads to this machine
            raise InputError(
                f"{owner} has an address that is not opened: {shown!r}; it was found on the web, expected is one of "
                "http(s)://, or relative to that"
            )
        return target
    path = Path(href)
    if not path.is_absolute():
        if base is None:
            raise InputError(
                f"{owner} has a relative address, {shown!r}, but is in no file that it could be relative to"
            )
        path = Path(base).parent / path
    path = path.resolve()
    if root is not None and not path.is_relative_to(root.resolve()):
        raise InputError(f"{owner} points outside its catalogue: {shown!r} is not below {root}")
    return str(path)
