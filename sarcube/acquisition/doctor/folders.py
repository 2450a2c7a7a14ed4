"""Folders that sarcube writes to: is there room, and may it write."""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import sarcube
from sarcube.acquisition.catalogs.answers import answers_folder
from sarcube.acquisition.doctor.findings import Finding, Trouble, in_units, sum_up

_LITTLE = 5e9  # bytes: an event of a few dozen passes over a small area, staged and as a cube
_FULL = 1e8  # bytes: not even one scene's clips


def cache_folder() -> Finding:
    """Look at the folder that keeps answers of catalogues."""
    folder = answers_folder()
    if folder is None:
        words = "this user has no home folder, so no answers are kept: every search asks the catalogue anew"
        return Finding("cache", "warning", words, "set SARCUBE_CACHE to a folder that can be written")
    reason = _not_writable(folder)
    if reason:
        words = f'the cache folder "{folder}" cannot be written ({reason}): every search asks the catalogue anew'
        return Finding("cache", "warning", words, "set SARCUBE_CACHE to a folder that can be written")
    return Finding("cache", "well", f'"{folder}" can be written')


def compiled_code(environment: Mapping[str, str] = os.environ) -> Finding:
    """Look at the folders that numba may keep compiled kernels in; it takes the first that it can write."""
    own = Path(sarcube.__file__).parent
    home = Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"
    if sys.platform == "darwin":
        home = Path("~/Library/Caches/numba").expanduser()
    named = environment.get("NUMBA_CACHE_DIR")
    reason = _not_writable(Path(named)) if named else ""
    troubles = []
    if named and reason:
        troubles.append(
            (f'NUMBA_CACHE_DIR, "{named}", cannot be written ({reason})', "set NUMBA_CACHE_DIR to a folder that can be")
        )
    writable = [folder for folder in ([Path(named)] if named else []) + [own, home] if not _not_writable(folder)]
    if not writable:
        raise Trouble(
            f'no kernel loads, as numba has nowhere to keep compiled code: "{own}" and "{home}" cannot be written',
            "set NUMBA_CACHE_DIR to a folder that can be written",
        )
    where = "beside the installed files" if writable[0] == own else f'in "{writable[0]}"'
    return sum_up("compiled code", [f"kept {where}"], troubles)


def working_folder() -> Finding:
    """Look at the folder that scenes and cubes go to unless another one is named."""
    try:
        folder = Path.cwd()
    except FileNotFoundError as error:
        raise Trouble("the folder you are in was deleted", "change to another one") from error
    free = shutil.disk_usage(folder).free
    advice = "work in another folder, or make room; `sarcube stage` says before it fetches how much it needs"
    if reason := _not_writable(folder):
        return Finding("working folder", "warning", f'"{folder}" cannot be written ({reason})', advice)
    words = f'{in_units(free)} free in "{folder}"'
    if free < _FULL:
        raise Trouble(words, advice)
    return Finding("working folder", "warning" if free < _LITTLE else "well", words, advice if free < _LITTLE else "")


def temporary_folder() -> Finding:
    """Look at the folder for temporary files."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise Trouble("no folder for temporary files can be written", "set TMPDIR to one that can") from error
    if reason := _not_writable(folder):
        raise Trouble(f'"{folder}" cannot be written ({reason})', "set TMPDIR to a folder that can be written")
    free = shutil.disk_usage(folder).free
    if free < _FULL:
        raise Trouble(f'only {in_units(free)} free in "{folder}"', "make room, or set TMPDIR to another folder")
    return Finding("temporary folder", "well", f'"{folder}" can be written')


def _not_writable(folder: Path) -> str:
    """Return why nothing can be written to a folder, "" if it can; one that is not there yet is not made."""
    there = next((path for path in (folder, *folder.parents) if os.path.exists(path)), folder)  # noqa: PTH110  no error
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"sarcube")
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
