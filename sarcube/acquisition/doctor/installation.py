"""What is installed here, whether it works, and settings of the environment that break it."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyproj
import pyproj.exceptions
import rasterio
import rasterio.warp
from affine import Affine
from rasterio.errors import CRSError, DriverRegistrationError, RasterioError
from rasterio.io import MemoryFile

from sarcube.acquisition.doctor.findings import Finding, Trouble, printable, sum_up

_LIBRARIES = ("rasterio", "zarr", "numba", "torch")
_DATA = {"PROJ_DATA": "proj.db", "PROJ_LIB": "proj.db", "GDAL_DATA": "gdalvrt.xsd"}  # folder -> what must lie in it
_NO_EFFECT = ("GDAL_HTTP_", "GDAL_CURL_", "GDAL_PROXY_", "CPL_VSIL_CURL_", "CPL_CURL_", "VSI_CACHE", "VSI_CURL_")
_INSTEAD = {
    "GDAL_HTTP_PROXY": ("http_proxy", "https_proxy", "all_proxy"),
    "GDAL_HTTPS_PROXY": ("https_proxy", "all_proxy"),
    "GDAL_CURL_CA_BUNDLE": ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
}
_GDAL_ERRORS = (RasterioError, CRSError, DriverRegistrationError, OSError)
_CACHE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|B|KB|MB|GB|)\s*", re.IGNORECASE)
_UNITS = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_NEEDED_DRIVERS = {"GTIFF", "MEM"}


def versions() -> Finding:
    """Name the versions of what matters; it is what to put into a report of an error."""
    found, missing = [f"sarcube {_version('sarcube')}", f"Python {platform.python_version()}"], []
    found.append(f"GDAL {rasterio.__gdal_version__}")
    for name in _LIBRARIES:
        version = _version(name)
        found.append(f"{name} {version}")
        missing += [name] if version == "missing" else []
    found.append(f"PROJ {rasterio.__proj_version__} (rasterio's), {pyproj.proj_version_str} (pyproj's)")
    if missing:
        raise Trouble(
            f"not installed: {', '.join(missing)} ({', '.join(found)})",
            f"pip install {' '.join(missing)}, or sarcube anew",
        )
    return Finding("versions", "well", ", ".join(found))


def projections() -> Finding:
    """Transform a point whose coordinates are known, with both copies of PROJ."""
    expected = 500_000.0, 0.0  # the central meridian of UTM zone 47, on the equator
    try:
        one = pyproj.Transformer.from_crs(4326, 32647, always_xy=True).transform(99.0, 0.0)
        xs, ys = rasterio.warp.transform("EPSG:4326", "EPSG:32647", [99.0], [0.0])
    except (pyproj.exceptions.ProjError, *_GDAL_ERRORS) as error:
        raise Trouble(
            f"PROJ cannot transform a point: {str(error)[:200]}", _advice_for("PROJ_DATA", "PROJ_LIB")
        ) from error
    for who, found in (("pyproj", one), ("rasterio", (xs[0], ys[0]))):
        if not np.allclose(found, expected, rtol=0, atol=1e-3):
            raise Trouble(
                f"{who} takes 99° E, 0° N to {found} in EPSG:32647, expected {expected}",
                _advice_for("PROJ_DATA", "PROJ_LIB"),
            )
    return Finding("projections", "well", "both copies of PROJ find their data and transform a point rightly")


def geotiff() -> Finding:
    """Write a GeoTIFF in memory as staging does, and read it again."""
    values = np.arange(1024, dtype=np.float32).reshape(32, 32)
    profile = {"width": 32, "height": 32, "count": 1, "dtype": "float32", "compress": "deflate", "predictor": 3}
    advice = _advice_for("GDAL_SKIP", "GDAL_DRIVER_PATH", "GDAL_DATA")
    try:
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", crs="EPSG:32647", transform=Affine.scale(10, -10), **profile) as dataset:
                dataset.write(values, 1)
            with memory.open() as dataset:
                whole = np.array_equal(dataset.read(1), values) and dataset.crs.to_epsg() == 32647
    except _GDAL_ERRORS as error:
        raise Trouble(f"GDAL cannot write and read a GeoTIFF in memory: {str(error)[:200]}", advice) from error
    if not whole:
        raise Trouble("GDAL reads other values or another CRS from a GeoTIFF than were written", advice)
    return Finding("geotiff", "well", "GDAL writes and reads a compressed GeoTIFF in memory")


def settings(environment: Mapping[str, str] = os.environ) -> Finding:
    """Look for settings of GDAL and PROJ that come from elsewhere, or that do not what they seem to."""
    troubles = [_foreign(name, environment[name], file) for name, file in _DATA.items() if environment.get(name)]
    troubles += [_driver_path(environment["GDAL_DRIVER_PATH"])] if environment.get("GDAL_DRIVER_PATH") else []
    skipped = {name.upper() for name in re.split(r"[ ,]+", environment.get("GDAL_SKIP", "")) if name}
    if skipped & _NEEDED_DRIVERS:
        troubles.append(
            (f"GDAL_SKIP takes away the drivers {', '.join(sorted(skipped & _NEEDED_DRIVERS))}", "unset GDAL_SKIP")
        )
    troubles += [_cache_size(environment["GDAL_CACHEMAX"])] if "GDAL_CACHEMAX" in environment else []
    idle = sorted(name for name in environment if name.upper().startswith(_NO_EFFECT))
    troubles += [
        (f"{name} is set and has no effect: sarcube fetches bytes itself, without GDAL", f"set {instead[0]} instead")
        for name, instead in _INSTEAD.items()
        if environment.get(name) and not any(environment.get(n) or environment.get(n.upper()) for n in instead)
    ]
    facts = [f"no effect here, as sarcube fetches bytes itself: {', '.join(idle)}"] if idle else []
    real = [trouble for trouble in troubles if trouble is not None]
    return sum_up("settings", facts if facts or real else ["no setting of GDAL or PROJ is in the way"], real)


def threads(environment: Mapping[str, str] = os.environ) -> Finding:
    """Look for settings that make computing slow, or that numba and OpenMP refuse."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    troubles = []
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        text = environment.get(name, "").split(",")[0].strip()
        if not text:
            continue
        if not text.isdecimal() or int(text) == 0:
            troubles.append((f"{name} is {_quoted(text)}, expected a number from 1", f"unset {name}"))
        elif int(text) < cores:
            troubles.append((f"{name}={text} leaves {cores - int(text)} of {cores} cores idle", f"unset {name}"))
        elif int(text) > cores:
            troubles.append((f"{name}={text} is more than the {cores} cores there are", f"unset {name}"))
    if environment.get("NUMBA_DISABLE_JIT", "0").strip() not in ("", "0"):
        troubles.append(("NUMBA_DISABLE_JIT makes every kernel hundreds of times slower", "unset NUMBA_DISABLE_JIT"))
    return sum_up("threads", [f"{cores} cores"], troubles)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _foreign(name: str, value: str, file: str) -> tuple[str, str] | None:
    """Whether a data folder is not one of this installation; None if it is."""
    advice = f"unset {name}: rasterio and pyproj bring their own"
    folders = [Path(part) for part in value.split(os.pathsep) if part]
    if not any((folder / file).is_file() for folder in folders):
        return f"{name} is {_quoted(value)}, where no {file} lies", advice
    if any(_is_ours(folder) for folder in folders):
        return None
    return f"{name} points to another installation, {_quoted(value)}", advice


def _driver_path(value: str) -> tuple[str, str] | None:
    folders = [Path(part) for part in value.split(os.pathsep) if part]
    if value == "disable" or all(_is_ours(folder) for folder in folders):
        return None
    return f"GDAL_DRIVER_PATH loads drivers of another installation, {_quoted(value)}", "unset GDAL_DRIVER_PATH"


def _cache_size(value: str) -> tuple[str, str] | None:
    match = _CACHE.fullmatch(value)
    advice = "unset GDAL_CACHEMAX: 5 % of the memory is enough"
    if match is None:
        return f"GDAL_CACHEMAX is {_quoted(value)}, expected a size such as 256MB or 5%", advice
    number, unit = float(match[1]), match[2].upper()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if unit == "%":
        size = memory * number / 100
    else:  # without a unit GDAL takes small numbers for megabytes
        size = number * (_UNITS[unit] if unit else _UNITS["MB"] if number < 100_000 else 1)
    if size < 16 << 20:
        return f"GDAL_CACHEMAX={value.strip()} is so little that tiles are decoded again and again", advice
    if size > memory / 2:
        return f"GDAL_CACHEMAX={value.strip()} is more than half of this machine's memory", advice
    return None


def _is_ours(folder: Path) -> bool:
    return any(folder.resolve().is_relative_to(Path(prefix).resolve()) for prefix in {sys.prefix, sys.exec_prefix})


def _advice_for(*names: str) -> str:
    found = [name for name in names if os.environ.get(name)]
    return f"unset {' and '.join(found)} and try again" if found else "install rasterio and pyproj anew, of one source"


def _quoted(text: str) -> str:
    return f'"{printable(text)}"'
