r"""The papers' protocol, reduced to what two cores do in an hour, on simulated events.

    python -m benchmarks.protocol --json protocol.json --figures figures

Six simulated events to learn from and two that no network sees. The papers' light network on their ten pairs of windows
before and after, VV and VV_VH, three seeds; networks with attention and with shortcuts at 60-12; U-Nets with a
ResNet-18 encoder on one to four dates each side, with and without elevation; one epoch of the paper's own U-Net,
ResNet-50, is timed. Beside each table stands what the papers' abstracts say. A difference that is not larger than its
spread over seeds is called undecided. Nothing here was measured on a real event.

What is done is kept in --work: an interrupted run goes on, and one that is done is only told again. The papers' whole
grid, 24 settings, both orbits apart, up to 500 epochs:

    python -m benchmarks.protocol --json full.json --work full --full --seeds 5 --chip-seeds 5 --encoder resnet50 \
        --device cuda
"""

import argparse
import json
import logging
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import sarcube as sc
from benchmarks.geometry import environment
from benchmarks.protocol_events import POST_DATES, PRE_DATES, prepare_events, window_split
from benchmarks.protocol_runs import (
    REFERENCE,
    chip_config,
    time_large_unet,
    time_light_networks,
    train_cnns,
    train_others,
    train_unets,
    window_config,
    workers,
)
from benchmarks.protocol_says import (
    PAPERS,
    chip_trends,
    condition_trends,
    full_cost,
    predictions_of,
    thirds,
    window_trends,
)

SEEDS_FROM = 6000  # of events that no other benchmark and no packaged weights saw
_PACKAGES = ("sarcube", "numpy", "torch")


def tables(cnn: pd.DataFrame, others: pd.DataFrame, unets: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Median and standard deviation over seeds, in the papers' form."""
    at_reference = pd.concat([cnn[cnn["buffer"] == REFERENCE], others])
    labels = [name for name in ("buffer", "orbit") if name in cnn]
    return {
        "F1 by days before-after (unseen events)": _wide(cnn, labels, "bands", "f1"),
        "AUPRC by days before-after (unseen events)": _wide(cnn, labels, "bands", "auprc"),
        f"F1 by network at {REFERENCE}": _wide(at_reference, ["network"], "bands", "f1"),
        f"AUPRC by network at {REFERENCE}": _wide(at_reference, ["network"], "bands", "auprc"),
        "AUPRC by pixel, by dates each side": _wide(unets, ["steps"], "inputs", "auprc"),
        "F1 by pixel, by dates each side": _wide(unets, ["steps"], "inputs", "f1"),
    }


def _wide(runs: pd.DataFrame, rows: list[str], columns: str, metric: str) -> pd.DataFrame:
    table = sc.sweep_table(runs, by=[*rows, columns], metric=metric).reset_index()
    text = table.pivot_table(index=rows, columns=columns, values="text", aggfunc="first")
    return text.reindex(runs[rows[0]].drop_duplicates()) if len(rows) == 1 else text


def draw(
    folder: Path,
    cnn: pd.DataFrame,
    unets: pd.DataFrame,
    described: pd.DataFrame,
    curves: dict[str, Any],
    threshold: float,
) -> None:
    """Draw the papers' figures of these runs."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = "orbit" if "orbit" in cnn else None
    pictures = {
        "f1-by-buffer": sc.plot_sweep(cnn, metric="f1", panels=panels, simulated=True),
        "auprc-by-buffer": sc.plot_sweep(cnn, metric="auprc", panels=panels, simulated=True),
        "auprc-by-steps": sc.plot_sweep(unets, metric="auprc", x="steps", by="inputs", simulated=True),
        "found-and-missed": sc.plot_densities(
            described,
            ("slope", "aspect", "landslide_area", "look_aspect", "incidence_angle", "local_incidence_angle"),
            threshold=threshold,
            simulated=True,
        ),
        "reliability": sc.plot_reliability(curves, simulated=True),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=110)


def reliability(
    args: argparse.Namespace, path: str, seen: list[int], unseen: list[int], orbit: str
) -> tuple[dict[str, Any], float]:
    """Probabilities of unseen windows against what is there, before and after temperature scaling."""
    split = window_split(args.work, seen, unseen, buffer=REFERENCE, bands="VV_VH", orbit=orbit)
    before = sc.load_model(path)
    after = sc.calibrate(before, split.validation)
    curves = {
        "as trained": sc.score_patches(before, split.test),
        f"temperature {after.spec.temperature:.2f}": sc.score_patches(after, split.test),
    }
    errors = {name: sc.expected_calibration_error(table) for name, table in curves.items()}
    return {"curves": {name: sc.reliability_curve(table) for name, table in curves.items()}, "errors": errors}, float(
        after.spec.temperature
    )


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--figures", type=Path, help="draw the papers' figures here")
    parser.add_argument("--work", type=Path, default=Path("bench-output/protocol"))
    parser.add_argument("--events", type=int, default=6, help="to learn from")
    parser.add_argument("--unseen", type=int, default=2, help="events that no network sees")
    parser.add_argument("--size-km", type=float, default=12.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--chip-seeds", type=int, default=3)
    parser.add_argument("--chip-epochs", type=int, default=4)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", default="bf16", help="fp32 where the processor has no bf16 arithmetic")
    parser.add_argument("--workers", type=int, default=2, help="trainings side by side, a thread each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--full", action="store_true", help="the papers' whole grid")
    return parser.parse_args()


def main() -> None:
    """Simulate, train, compare, print and write."""
    args = arguments()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    logging.getLogger("sarcube").setLevel(logging.ERROR)  # the archive's flaws are meant
    warnings.filterwarnings("ignore", message=".*Sending large graph.*")
    start, seconds = time.perf_counter(), {}
    seeds = [SEEDS_FROM + number for number in range(args.events + args.unseen)]
    seen, unseen = seeds[: args.events], seeds[args.events :]

    def done(what: str) -> None:
        seconds[what] = time.perf_counter() - start - sum(seconds.values())
        print(f"{time.perf_counter() - start:6.0f} s  {what}: {seconds[what]:.0f} s", flush=True)

    prepare_events(seeds, args.work, size_km=args.size_km, workers=args.workers)
    done("simulated events")
    with workers(args.workers, args.device):
        cnn = train_cnns(args, seen, unseen)
        done(f"{len(cnn)} trainings of the light network")
        others = train_others(args, seen, unseen)
        done(f"{len(others)} of networks with attention and shortcuts")
        unets = train_unets(args, seen, unseen)
        done(f"{len(unets)} of U-Nets")
    torch.set_num_threads(args.workers)
    large = time_large_unet(args, seen, unseen)
    done("one epoch of a U-Net with ResNet-50")
    light = time_light_networks(args, seen, unseen)
    done("one epoch of the light network with 32 filters and with 64")

    failed = pd.concat([cnn, others, unets])["status"].ne("finished").sum()
    cnn["weights"] = cnn["weights"].map(lambda path: str(args.work / "cnn" / path), na_action="ignore")
    chosen = cnn[(cnn["bands"] == "VV_VH") & (cnn["buffer"] == REFERENCE) & (cnn["status"] == "finished")]
    best = chosen.loc[chosen["validation_auprc"].idxmax()]
    scored, thresholds = predictions_of(cnn, args.work, seen, unseen)
    described = scored[list(chosen.index).index(best.name)]
    groups = sc.evaluate_groups(described, by=("event", "track"), threshold=best["threshold"])
    by_thirds = thirds(described, best["threshold"])
    calibration, temperature = reliability(args, best["weights"], seen, unseen, best.get("orbit", ""))
    trends = {
        "f1": [*window_trends(cnn, others, "test_f1"), *chip_trends(unets, "test_f1")],
        "auprc": [*window_trends(cnn, others, "test_auprc"), *chip_trends(unets, "test_auprc")],
        "recall": condition_trends(scored, thresholds),
    }
    told = tables(cnn, others, unets)
    cost = full_cost(light, large, args.workers)
    done("scores and tables")

    window, chip = window_config(args), chip_config(args)
    print(f"\nSIMULATED: {args.events} events to learn from, {args.unseen} unseen; {failed} trainings failed")
    print(f"windows: F = {args.filters}, {window.epochs} epochs, {args.seeds} seeds; papers: {PAPERS['windows']}")
    print(f"chips: {args.encoder}, {chip.epochs} epochs, {args.chip_seeds} seeds; papers: {PAPERS['chips']}")
    for name, table in told.items():
        print(f"\n{name}: median ± standard deviation over seeds\n{table.to_string()}")
    print(f"\nVV_VH at {REFERENCE}, seed {best['seed']}, best in validation, threshold {best['threshold']:.3f}")
    print(groups.round(3).to_string(index=False))
    for name, table in by_thirds.items():
        print(f"\nby thirds of {name}\n{table.round(3).to_string(index=False)}")
    for metric, rows in trends.items():
        print(f"\n{metric}: gain (median), its spread over seeds, and whether it agrees with the papers' trend")
        for row in rows:
            print(f"  {row['trend']:84s} {row['gain']:+.3f} ± {row['spread']:.3f} (n {row['n']:2d})  {row['verdict']}")
    errors = ", ".join(f"{name} {error:.3f}" for name, error in calibration["errors"].items())
    print(f"\nexpected calibration error on unseen events: {errors}")
    print(
        f"one epoch of the U-Net with ResNet-50: {large['seconds']:.0f} s for {large['chips']} chips and "
        f"{large['validation_chips']} of validation, {large['parameters']} parameters"
    )
    print("the full grid on these cores: " + ", ".join(f"{name} {value:.0f}" for name, value in cost.items()))
    print(f"all of it: {time.perf_counter() - start:.0f} s")

    kept = ["status", "message", "weights"]
    result = {
        "simulated": True,
        "events": {"seen": seen, "unseen": unseen, "size_km": args.size_km, "dates": [PRE_DATES, POST_DATES]},
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "environment": environment() | {"versions": {name: version(name) for name in _PACKAGES}},
        "papers": PAPERS,
        "failed": int(failed),
        "seconds": seconds,
        "total_seconds": time.perf_counter() - start,
        "tables": {name: table.reset_index().to_dict("records") for name, table in told.items()},
        "by_event": groups.to_dict("records"),
        "by_thirds": {name: table.astype(str).to_dict("records") for name, table in by_thirds.items()},
        "trends": trends,
        "calibration_error": calibration["errors"],
        "temperature": temperature,
        "large_unet": large,
        "full_cost": cost,
        "runs": {
            name: runs.drop(columns=[column for column in kept if column in runs]).to_dict("records")
            for name, runs in (("cnn", cnn), ("others", others), ("unets", unets))
        },
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1, default=float))
    if args.figures:
        draw(args.figures, cnn, unets, described, calibration["curves"], float(best["threshold"]))


if __name__ == "__main__":
    main()
