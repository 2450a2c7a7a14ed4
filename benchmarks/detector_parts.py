"""The parts of `benchmarks.detector`: each takes the settings and returns its keys; what is compared takes turns."""

import math
import statistics
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import sarcube as sc
from benchmarks import detector_flop as flop
from benchmarks.detector_agreement import boxes, compare_boxes, sample_difference
from benchmarks.detector_data import as_stack, check_shares, fitting_threshold, open_source, shares, stack_file
from benchmarks.detector_models import trained, untrained_nava, with_threshold
from benchmarks.detector_settings import Settings
from benchmarks.detector_workers import Answer, Ask, Turn, peak, rate, say, take_turns, worker
from benchmarks.rivals_detector import BATCHES
from benchmarks.sar_lra_weights import keras_arrays
from benchmarks.whole_scene import make_scene

STRIDE = 32
RIVAL_BATCHES = (512, 32, 128)  # the first is what SAR-LRA has
GROWTH_STRIDES = (64, 32, 16, 8)
CHUNKS = ((4096, 4096), (1024, 1024), (512, 512), (300, 700), (129, 4096))
WORKERS = (1, 2, 8)
_AREAS = (1, 2, 4)  # sides of what the exponent is taken from: areas of 1, 4 and 16
_WARM = 1024  # pixels along a side of what everyone scores before the first turn
_FAITHFUL = 1e-4  # largest difference of probabilities that shows the same network on the same windows


def measure_sar_lra(settings: Settings) -> dict[str, Any]:
    """Ours beside the pipeline of SAR-LRA at stride 32, for each number of filters."""
    result: dict[str, Any] = {}
    for filters in settings.filters:
        suffix = "" if filters == 32 else f"_f{filters}"
        found = _beside_sar_lra(settings, filters)
        details = {name: found.pop(name) for name in list(found) if isinstance(found[name], dict)}
        result |= {f"{name}{suffix}": value for name, value in found.items()}
        result[f"sar_lra_f{filters}"] = details
    return result


def measure_stride8(settings: Settings) -> dict[str, Any]:
    """Windows a second at stride 8 over those of SAR-LRA's pipeline at stride 32, which would need 33 GB at 8."""
    filters = settings.filters[0]
    stack, model_path = prepared(settings, filters)
    with ExitStack() as open_workers:
        turns = _rivals(settings, open_workers, stack, model_path, RIVAL_BATCHES[:1])
        ways = [name for name in settings.precisions if name != "bfloat16"]
        turns |= _ours(settings, open_workers, stack, model_path, ways, stride=8)
        answers = take_turns(turns, rounds=settings.rounds)
    result: dict[str, Any] = {"stride8": _details(answers)}
    difference = sample_difference(_saved(settings, "float32"), stack, _model(model_path), stride=8)
    result["max_difference_stride8_fp32"] = difference["max_difference"]
    for way in ways:
        key = _KEYS[way]
        result[f"ratio_stride8_{key}"] = rate(answers[way]) / rate(answers[f"sar_lra_{RIVAL_BATCHES[0]}"])
        result[f"windows_per_second_stride8_{key}"] = rate(answers[way])
    if "screened" in ways:
        result |= {
            f"{name}_stride8": value for name, value in _screening(settings, stack, model_path, stride=8).items()
        }
    return result


def measure_native(settings: Settings) -> dict[str, Any]:
    """The networks of Nava et al. 2021 on 25 x 25 windows at stride 2, beside plain torch at its best batch."""
    stack = stack_file(settings.work, settings.native_size, size_km=settings.size_km)
    result: dict[str, Any] = {}
    for name in ("native", "resampled"):
        model_path = untrained_nava(settings.work, native=name == "native")
        with ExitStack() as open_workers:
            turns = _ours(settings, open_workers, stack, model_path, ["float32"], stride=2)
            source = _three_bands(settings, stack)
            ask = open_workers.enter_context(worker("detector_apart", source, model_path, settings.threads))
            # Rates are compared: some rows of windows are enough for what is slow.
            few = {"shape": (min(settings.native_size, 25 + 2 * 63), settings.native_size), "stride": 2}
            turns |= _plain(ask, few)
            answers = take_turns(turns, rounds=settings.rounds)
        best = max(rate(answers[f"plain_{batch}"]) for batch in BATCHES)
        result[f"ratio_{name}_25"] = rate(answers["float32"]) / best
        result[f"windows_per_second_{name}_25"] = rate(answers["float32"])
        compared = sample_difference(_saved(settings, "float32"), stack, _model(model_path), stride=2)
        result[f"max_difference_{name}_25"] = compared["max_difference"]
        result[name] = _details(answers)
    return result


def measure_scene(settings: Settings) -> dict[str, Any]:
    """A whole scene from Zarr beside the stack in memory, and how cost grows with the area."""
    stack, model_path = prepared(settings, settings.filters[0])
    scene = make_scene(settings.work, settings.scene, size_km=settings.size_km)
    for path in scene.rglob("*"):
        if path.is_file():
            path.read_bytes()  # warm: what is measured is no disk
    way = settings.precisions[min(1, len(settings.precisions) - 1)]
    side = min(settings.scene) // _AREAS[-1] // STRIDE * STRIDE
    with ExitStack() as open_workers:
        start = partial(_started, settings, open_workers, model_path)
        in_memory, whole, parts = start(stack), start(scene), start(scene)
        request = {"kind": "ours", "stride": STRIDE, "precision": way}
        for ask in (in_memory, whole, parts):
            ask(size=_WARM, **request)
        turns: dict[str, Turn] = {
            "in_memory": partial(in_memory, **request),
            "whole_scene": partial(whole, **request),
            **{f"area_{n * n}": partial(parts, shape=(n * side, n * side), **request) for n in _AREAS},
        }
        answers = take_turns(turns, rounds=settings.rounds)
    areas = [answers[f"area_{n * n}"] for n in _AREAS]
    seconds = [statistics.median(answer["seconds"] for answer in found) for found in areas]
    windows = [found[0]["windows"] for found in areas]
    return {
        "ratio_scene": rate(answers["whole_scene"]) / rate(answers["in_memory"]),
        "peak_rss_gib": peak(answers["whole_scene"]),
        "exponent": float(np.polyfit(np.log(windows), np.log(seconds), 1)[0]),
        "windows_per_second_scene": rate(answers["whole_scene"]),
        "scene": _details(answers) | {"precision": way, "shape": settings.scene, "stored_gib": _stored_gib(scene)},
    }


def measure_chunks(settings: Settings) -> dict[str, Any]:
    """Whether five chunkings, one thread and many give the same boxes."""
    stack, model_path = prepared(settings, settings.filters[0])
    model, kept = _model(model_path), settings.work / "chunks.npy"
    found: dict[str, Any] = {}
    with worker("detector_apart", stack, model_path, settings.threads) as ask:
        for way in settings.precisions:
            expected = None
            for chunks in CHUNKS:
                for workers in WORKERS:
                    request = {"chunks": chunks, "workers": workers, "save": str(kept)}
                    name = f"{way} {chunks[0]}x{chunks[1]} {workers}"
                    say(name, ask(kind="ours", stride=STRIDE, precision=way, **request))
                    mine = boxes(np.load(kept), stack, model, stride=STRIDE)
                    expected = mine if expected is None else expected
                    found[name] = compare_boxes(mine, expected)
    return {"same_boxes": all(answer["identical_boxes"] for answer in found.values()), "chunks": found}


def measure_growth(settings: Settings) -> dict[str, Any]:
    """Windows a second by filters, stride and precision."""
    table = []
    for filters in settings.filters:
        stack, model_path = prepared(settings, filters)
        size = min(settings.size, 2048)
        with worker("detector_apart", stack, model_path, settings.threads) as ask:
            turns: dict[str, Turn] = {}
            for stride in GROWTH_STRIDES:
                for way in settings.precisions:
                    turn = partial(ask, kind="ours", stride=stride, precision=way)
                    turn(size=min(size, _WARM // 2))
                    turns[f"{stride} {way}"] = partial(turn, size=size)
            for name, answers in take_turns(turns, rounds=settings.rounds).items():
                stride, way = name.split()
                pixels = statistics.median(answer["pixels"] / answer["seconds"] for answer in answers)
                row = {"filters": filters, "stride": int(stride), "precision": way, "size": size}
                row |= {"windows_per_second": rate(answers), "megapixels_per_second": pixels / 1e6}
                table.append(row | {"peak_rss_gib": peak(answers)})
    return {"growth": table}


def measure_suppression(settings: Settings) -> dict[str, Any]:
    """Suppression of boxes beside sorting their scores, and beside the same rule in numpy."""
    from benchmarks import suppression

    return {"suppression": suppression.measure_suppression()}


PARTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "sar_lra": measure_sar_lra,
    "stride8": measure_stride8,
    "native": measure_native,
    "scene": measure_scene,
    "chunks": measure_chunks,
    "growth": measure_growth,
    "suppression": measure_suppression,
}
BESIDE_SAR_LRA = ("sar_lra", "stride8")
_KEYS = {"float32": "fp32", "screened": "screened", "bfloat16": "bf16"}


def prepared(settings: Settings, filters: int) -> tuple[Path, Path]:
    """Return a stack's file and a model's, its threshold chosen so that the stack is of the kind that counts."""
    stack = stack_file(settings.work, settings.size, size_km=settings.size_km)
    plain_path = trained(settings.work, filters, events=settings.events, epochs=settings.epochs)
    path = settings.work / f"{plain_path.stem}-{stack.stem}.safetensors"
    if not path.exists():
        model = sc.load_model(plain_path)
        scores = sc.score_windows(as_stack(open_source(stack), model.spec.bands), model, stride=STRIDE).values
        threshold = fitting_threshold(scores)
        found = shares(scores, threshold)
        print(f"  F = {filters}, threshold {threshold:.4f}: " + ", ".join(f"{k} {v:.2%}" for k, v in found.items()))
        check_shares(found)
        with_threshold(plain_path, threshold, path)
    return stack, path


def _beside_sar_lra(settings: Settings, filters: int) -> dict[str, Any]:
    stack, model_path = prepared(settings, filters)
    model, published = _model(model_path), f"sar_lra_{RIVAL_BATCHES[0]}"
    with ExitStack() as open_workers:
        turns = _rivals(settings, open_workers, stack, model_path, RIVAL_BATCHES)
        turns |= _ours(settings, open_workers, stack, model_path, settings.precisions, stride=STRIDE)
        apart = _started(settings, open_workers, model_path, stack)
        few = {"size": min(settings.size, _WARM), "stride": STRIDE}
        turns |= _plain(apart, few)
        kinds = ("float32", "bfloat16") if "screened" in settings.precisions else ("float32",)
        turns |= {f"peak_{kind}": partial(apart, kind="peak", precision=kind) for kind in kinds}
        answers = take_turns(turns, rounds=1)
        regular, scores = np.load(settings.work / "rival.npy"), _saved(settings, "float32")
        side = math.isqrt(len(regular))  # the rival has no clamped windows
        rival_difference = float(np.abs(scores[:side, :side].ravel() - regular).max())
        print(f"  largest difference between the rival's probabilities and ours: {rival_difference:.2g}", flush=True)
        assert rival_difference <= _FAITHFUL, "the rival's network is another one than ours"
        # A rival's other batches cost minutes: after a round, the better one goes on beside what is published.
        slower = min((f"sar_lra_{batch}" for batch in RIVAL_BATCHES[1:]), key=lambda name: rate(answers[name]))
        kept = {name: turn for name, turn in turns.items() if name != slower}
        for name, more in take_turns(kept, rounds=settings.rounds - 1).items():
            answers[name] += more
    count = answers["float32"][0]["windows"]
    best = max(rate(answers[f"sar_lra_{batch}"]) for batch in RIVAL_BATCHES)
    rates = {way: rate(answers[way]) for way in settings.precisions}
    limits = {kind: statistics.median(a["flop_per_second"] for a in answers[f"peak_{kind}"]) for kind in kinds}
    counted = flop.shared(len(model.spec.bands), filters, STRIDE)
    plain_best = max(rate(answers[f"plain_{batch}"]) for batch in BATCHES)
    steps = {step: statistics.median(a[step] for a in answers[published]) for step in ("cut", "stack", "predict")}
    compared = sample_difference(scores, stack, model, stride=STRIDE)
    result: dict[str, Any] = {
        "max_difference_fp32": compared["max_difference"],
        "windows_compared": compared["windows_compared"],
        "largest_difference_to_rival": rival_difference,
        "threshold": model.spec.threshold,
        **shares(scores, model.spec.threshold),
        "ratio_predict_alone_fp32": rates["float32"] / (answers[published][0]["windows"] / steps["predict"]),
        "ratio_window_by_window": rates["float32"] / plain_best,
        "windows_per_second": rates["float32"],
        "megapixels_per_second": rates["float32"] * settings.size**2 / count / 1e6,
        "peak_rss_gib_fp32": peak(answers["float32"]),
        "peak_rss_gib_sar_lra": peak(answers[published]),
        "flop_per_window_shared": counted,
        "flop_per_window_alone": flop.by_window(len(model.spec.bands), filters),
        "flop_per_second_fp32": rates["float32"] * counted,
        "fraction_of_peak_fp32": rates["float32"] * counted / limits["float32"],
        "peak_flop_per_second": limits,
        "sar_lra_seconds": steps,
        "details": _details(answers),
    }
    for way in settings.precisions:
        result[f"ratio_sar_lra_{_KEYS[way]}"] = rates[way] / rate(answers[published])
        result[f"ratio_sar_lra_{_KEYS[way]}_best_batch"] = rates[way] / best
    if "screened" in settings.precisions:
        result |= _screening(settings, stack, model_path, stride=STRIDE)
        result["windows_per_second_screened"] = rates["screened"]
        result["fraction_of_peak_bf16"] = rates["bfloat16"] * counted / limits["bfloat16"]
        result["peak_rss_gib_screened"] = peak(answers["screened"])
        low = _saved(settings, "bfloat16")
        result["max_difference_bf16"] = float(np.abs(low - scores).max())
        result["share_flipped_bf16"] = float(((low >= model.spec.threshold) != (scores >= model.spec.threshold)).mean())
    return result


def _screening(settings: Settings, stack: Path, model_path: Path, *, stride: int) -> dict[str, Any]:
    """Compare what screening found with float32's; a window whose score is not bfloat16's was scored again."""
    model = _model(model_path)
    exact, screened = _saved(settings, "float32"), _saved(settings, "screened")
    found = compare_boxes(boxes(screened, stack, model, stride=stride), boxes(exact, stack, model, stride=stride))
    low = _low_precision(settings, stack, model_path, stride)
    return found | {"share_rescored": float((screened != low).mean())}


def _low_precision(settings: Settings, stack: Path, model_path: Path, stride: int) -> np.ndarray:
    kept = settings.work / "bfloat16.npy"
    with worker("detector_apart", stack, model_path, settings.threads) as ask:
        ask(kind="ours", stride=stride, precision="bfloat16", save=str(kept))
    return np.load(kept)


def _rivals(
    settings: Settings, open_workers: ExitStack, stack: Path, model_path: Path, batches: tuple[int, ...]
) -> dict[str, Turn]:
    """Start the rival, its weights being the model's, and warm it; return its turns."""
    weights = settings.work / "weights.npz"
    np.savez(weights, **keras_arrays(_model(model_path)))
    module, python = "sar_lra_torch", {}
    if settings.sar_lra_python is not None:
        module, python = "sar_lra_keras", {"python": settings.sar_lra_python}
    ask = open_workers.enter_context(worker(module, stack, weights, settings.threads, **python))
    for batch in batches:
        say("warming the rival", ask(stride=STRIDE, batch=batch, size=min(settings.size, _WARM)))
    kept = str(settings.work / "rival.npy")
    return {f"sar_lra_{batch}": partial(ask, stride=STRIDE, batch=batch, size=0, save=kept) for batch in batches}


def _ours(
    settings: Settings, open_workers: ExitStack, stack: Path, model_path: Path, ways: Any, *, stride: int
) -> dict[str, Turn]:
    """Start a process for each precision, and warm it; return their turns."""
    turns: dict[str, Turn] = {}
    for way in ways:
        ask = _started(settings, open_workers, model_path, stack)
        request = {"kind": "ours", "stride": stride, "precision": way}
        ask(size=_WARM, **request)
        turns[way] = partial(ask, save=str(settings.work / f"{way}.npy"), **request)
    return turns


def _plain(ask: Ask, few: dict[str, Any]) -> dict[str, Turn]:
    """Let plain torch see each batch once, whose kernels it chooses then; return its turns."""
    turns: dict[str, Turn] = {f"plain_{batch}": partial(ask, kind="plain", batch=batch, **few) for batch in BATCHES}
    for turn in turns.values():
        turn()
    return turns


def _started(settings: Settings, open_workers: ExitStack, model_path: Path, source: Path) -> Ask:
    return open_workers.enter_context(worker("detector_apart", source, model_path, settings.threads))


def _three_bands(settings: Settings, stack: Path) -> Path:
    """Keep the stack with the bands of 2021, which plain torch takes as they lie in memory."""
    path = settings.work / f"{stack.stem}-2021.npy"
    image = open_source(stack)
    np.save(path, as_stack(image, ("vh_pre", "vh_post", "vh_diff")).values)
    return path


def _saved(settings: Settings, way: str) -> np.ndarray:
    values: np.ndarray = np.load(settings.work / f"{way}.npy")
    return values


def _model(path: Path) -> Any:
    return sc.load_model(path)


def _stored_gib(store: Path) -> float:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) / 2**30


def _details(answers: dict[str, list[Answer]]) -> dict[str, Any]:
    return {
        name: {
            "seconds": [answer["seconds"] for answer in found],
            **({"windows": found[0]["windows"], "windows_per_second": rate(found)} if "windows" in found[0] else {}),
            "peak_rss_gib": peak(found),
        }
        for name, found in answers.items()
    }
