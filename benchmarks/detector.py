"""How fast the detector is, beside SAR-LRA's own pipeline, plain torch, and what the processor can do.

    python -m benchmarks.detector --json detector.json --work work --sar-lra-python PATH
    python -m benchmarks.detector --json detector.json --work work --quick        (to try it out)

PATH is the Python of an environment with `tensorflow-cpu==2.15.1`; without it a twin in torch takes the rival's place,
and the ratios do not count. Networks, stacks and the scene are SIMULATED and made once in --work (some GB). All that
is compared takes turns, each in a process of its own; what counts is the median of the rounds. `--parts` chooses what
is measured; what the file holds of others is kept. `docs/detector-benchmark.md` says what each key means.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.detector_parts import BESIDE_SAR_LRA, PARTS
from benchmarks.detector_plot import draw_rates
from benchmarks.detector_settings import NATIVE_SIZE, ROUNDS, SIZE, Settings, has_amx
from benchmarks.detector_workers import RIVAL
from benchmarks.whole_scene import SHAPE
from sarcube.detection.throughput import processor

_PACKAGES = ("sarcube", "torch", "numpy", "dask", "xarray", "zarr")
_PREFIXES = ("TF_", "CUDA_", "OMP_", "MKL_", "ONEDNN_", "DNNL_", "DASK_", "MALLOC_", "GLIBC_", "KMP_", "GOMP_")
_WITHOUT_AMX = "not measured: this CPU has no amx_bf16"
_QUICK = {
    "size": 512,
    "native_size": 128,
    "scene": (768, 1024),
    "rounds": 1,
    "filters": (32,),
    "events": 1,
    "epochs": 3,
    "size_km": 5.0,
}
_NEED_AMX = {
    "sar_lra": ("ratio_sar_lra_screened", "share_rescored", "identical_boxes", "score_difference"),
    "stride8": ("ratio_stride8_screened",),
}


def measure(settings: Settings, parts: list[str], kept: dict[str, Any]) -> dict[str, Any]:
    """Measure the parts; return their keys beside those that were there before."""
    result: dict[str, Any] = kept | {"simulated": True}
    counts, hosts = dict(result.get("counts", {})), dict(result.get("environment", {}))
    for part in parts:
        print(part, flush=True)
        before = os.getloadavg()
        result |= PARTS[part](settings)
        if not has_amx():
            result |= dict.fromkeys(_NEED_AMX.get(part, ()), _WITHOUT_AMX)
        hosts[part] = environment(settings) | {"load_average_before": before, "load_average_after": os.getloadavg()}
        if part in BESIDE_SAR_LRA:
            counts[part] = settings.sar_lra_python is not None
    return result | {"counts": counts, "environment": hosts}


def environment(settings: Settings) -> dict[str, Any]:
    """Say what it was measured on, and of which sizes."""
    return {
        **processor(),
        "cores": os.cpu_count(),
        "threads": settings.threads,
        "memory_gib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES} | _rival_versions(settings.sar_lra_python),
        "variables": {n: v for n, v in (RIVAL | os.environ).items() if n.startswith(_PREFIXES)},
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted": bool(_git("status", "--porcelain")),
        "size": settings.size,
        "native_size": settings.native_size,
        "rounds": settings.rounds,
        "filters": settings.filters,
        "as_reported": settings.reported,
    }


def report(result: dict[str, Any]) -> None:
    """Print what was found."""
    print("\nSIMULATED ground, networks trained on simulated events")
    for part, host in result["environment"].items():
        flags = " ".join(host["flags"])
        print(f"{part}: {host['cpu']}, {host['cores']} cores, {host['threads']} threads, {flags}")
        print("  " + ", ".join(f"{name} {number}" for name, number in host["versions"].items()))
        print(f"  load {host['load_average_before'][0]:.1f} before, {host['load_average_after'][0]:.1f} after")
        if not host["as_reported"]:
            print("  not the sizes and rounds that are reported")
        if result["counts"].get(part) is False:
            print("  DOES NOT COUNT: a torch twin took the place of SAR-LRA's network in TensorFlow")
    for name, value in result.items():
        if isinstance(value, bool | str | int):
            print(f"{name:40s} {value}")
        elif isinstance(value, float):
            print(f"{name:40s} {value:12.5g}")
    for row in result.get("growth", []):
        print(
            f"F = {row['filters']:<3d} stride {row['stride']:<3d} {row['precision']:9s} "
            f"{row['windows_per_second']:9.0f} windows/s {row['megapixels_per_second']:8.2f} Mpx/s "
            f"{row['peak_rss_gib']:5.2f} GiB"
        )
    for name, value in result.get("suppression", {}).items():
        print(f"suppression {name:28s} {value}")


def main() -> None:
    """Measure, print, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="keep networks, stacks and the scene here; default: temporary")
    parser.add_argument("--sar-lra-python", type=Path, help="Python of an environment with tensorflow-cpu==2.15.1")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--size", type=int, help=f"pixels along a side of the stack in memory; {SIZE} is reported")
    parser.add_argument("--native-size", type=int, help=f"the same for 25 x 25 windows; {NATIVE_SIZE} is reported")
    parser.add_argument("--scene", type=_shape, metavar="ROWSxCOLUMNS", help=f"{SHAPE[0]}x{SHAPE[1]} is reported")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} is reported")
    parser.add_argument("--filters", type=int, nargs="+", help="filters of SAR-LRA's network; 32 64 is reported")
    parser.add_argument("--threads", type=int, help="threads of everyone; 2 is reported")
    parser.add_argument("--quick", action="store_true", help="small sizes, little training, one round")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw windows a second; needs the part growth")
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant
    with tempfile.TemporaryDirectory() as temporary:
        work = (args.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        settings = Settings(work, sar_lra_python=args.sar_lra_python)
        asked = {name: getattr(args, name) for name in ("size", "native_size", "scene", "rounds", "filters", "threads")}
        settings = replace(settings, **(_QUICK if args.quick else {}) | {k: v for k, v in asked.items() if v})
        settings = replace(settings, filters=tuple(settings.filters))
        torch.set_num_threads(settings.threads)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        result = json.loads(args.json.read_text()) if args.json.exists() else {}
        for part in args.parts:  # each is written when it is there
            result = measure(settings, [part], result)
            args.json.write_text(json.dumps(result, indent=1))
    report(result)
    if args.plot:
        draw_rates(result, args.plot)


def _rival_versions(python: Path | None) -> dict[str, str]:
    if python is None:
        return {}
    code = "from importlib.metadata import version as v; print(v('tensorflow-cpu'), v('numpy'))"
    found = subprocess.run([str(python), "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return {"tensorflow-cpu": found[0], "numpy beside it": found[1]}


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    run = subprocess.run(["git", *arguments], cwd=here, check=False, capture_output=True, text=True)  # may be no clone
    return run.stdout.strip()


def _shape(text: str) -> tuple[int, int]:
    rows, _, columns = text.partition("x")
    return int(rows), int(columns)


if __name__ == "__main__":
    main()
