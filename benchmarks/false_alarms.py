"""How often the omnibus test finds a change where nothing changed, or nothing but the weather.

    python -m benchmarks.false_alarms --json false_alarms.json

Speckle: gamma-distributed powers, independent from date to date; then with levels that drift from date to date by as
much as real dry dates do. Simulated: sarcube's own speckle, which is correlated in space, independent between dates and
repeating; then whole simulated scenes before the event, with weather, fields and terrain. Seeds are drawn anew
and stand in the file.
Real: the OPERA RTC-S1 scenes of 30 m in `../shared/data`, where they are there. No landslide is known in them; rain and
seasons are. "Levelled" means that every date was first scaled to one median over the place.
"""

import argparse
import json
import logging
import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.special import polygamma

import sarcube as sc
from sarcube.change.baselines.omnibus import omnibus_change
from sarcube.synthetic.speckle import ENL, draw_looks, speckle

REAL = Path(__file__).parents[2] / "shared" / "data" / "opera-rtc-california"
DRY = slice("2024-07-01", "2024-10-31")  # the end of the dry summer, before the first rain
DATES = (2, 5, 10, 30)
# Standard deviation of a date's level, dB, VV and VH: what sarcube simulates, and the most that dry real stacks showed.
DRIFTS = {"usual": (0.22, 0.32), "strongest": (0.37, 0.64)}
DRIFT_CORRELATION = 0.95  # between VV and VH; real stacks: 0.92 to 0.98
COHERENCES = {"forest": 0.35, "grass": 0.6, "bare": 0.82}  # with the lasting speckle, as simulated scenes have it


def cube_of(powers: dict[str, np.ndarray]) -> xr.Dataset:
    """One track of (time, y, x) powers, twelve days apart."""
    dates, rows, columns = next(iter(powers.values())).shape
    coords = {
        "time": pd.date_range("2021-01-01", periods=dates, freq="12D"),
        "scene_track": ("time", ["D001"] * dates),
        "y": -10.0 * np.arange(rows),
        "x": 10.0 * np.arange(columns),
    }
    cube = xr.Dataset({name: (("time", "y", "x"), power) for name, power in powers.items()}, coords)
    return cube.rio.write_crs(32633)


def rates(
    cube: xr.Dataset, looks: float, polarisations: Sequence[str] = ("vv", "vh"), looks_are: str = "known"
) -> dict[str, Any]:
    """Share of the tested pixels in which a change is found."""
    change = omnibus_change(cube, looks=looks, polarisations=polarisations).compute()
    p = change["p_value"].to_numpy()
    tested = np.isfinite(p)
    return {
        "polarisations": list(polarisations),
        "dates": cube.sizes["time"],
        "looks": round(float(looks), 2),
        "looks_are": looks_are,
        "pixels": int(tested.sum()),
        "rate_1_percent": float((p[tested] < 0.01).mean()),
        "rate_5_percent": float((p[tested] < 0.05).mean()),
        "rate_dated": float((change["change_count"].to_numpy()[tested] > 0).mean()),
    }


def gamma_powers(rng: np.random.Generator, dates: int, size: int) -> dict[str, np.ndarray]:
    """Speckle of 4.4 looks, each pixel and date for itself."""
    return {name: rng.gamma(ENL, 1 / ENL, (dates, size, size)).astype(np.float32) for name in ("vv", "vh")}


def of_speckle(seed: int, size: int) -> list[dict[str, Any]]:
    """Independent gamma speckle, without and with drift of the level."""
    rng = np.random.default_rng(seed)
    powers = gamma_powers(rng, max(DATES), size)
    rows = []
    for polarisations in (("vv", "vh"), ("vv",)):
        for dates in DATES:
            cube = cube_of({name: power[:dates] for name, power in powers.items()})
            rows.append({"data": "speckle", **rates(cube, ENL, polarisations)})
    for name, (vv, vh) in DRIFTS.items():
        covariance = DRIFT_CORRELATION * vv * vh
        levels = rng.multivariate_normal((0, 0), ((vv**2, covariance), (covariance, vh**2)), max(DATES))
        factors = (10 ** (levels / 10)).astype(np.float32)[..., None, None]
        drifting = {band: power * factors[:, i] for i, (band, power) in enumerate(powers.items())}
        for dates in DATES:
            cube = cube_of({band: power[:dates] for band, power in drifting.items()})
            rows.append({"data": f"speckle, {name} drift", **rates(cube, ENL)})
    return rows


def of_repeating_speckle(seed: int, size: int) -> list[dict[str, Any]]:
    """The simulator's speckle: correlated in space, and in part the same on every date."""
    shape, dates = (size, size), 10
    rows = []
    for name, share in {"none": 0.0, **COHERENCES}.items():
        coherence = np.full(shape, share, np.float32)
        powers = {}
        for band in ("vv", "vh"):
            lasting = draw_looks(seed, "lasting", band, shape=shape)
            fresh = (draw_looks(seed, band, date, shape=shape) for date in range(dates))
            powers[band] = np.stack([speckle(lasting, looks, coherence) for looks in fresh])
        rows.append({"data": f"speckle repeating: {name}", "coherence": share**2, **rates(cube_of(powers), ENL)})
    return rows


def levelled(cube: xr.Dataset) -> xr.Dataset:
    """Every date of a polarisation scaled to the same median."""
    scaled = {}
    for band in ("vv", "vh"):
        medians = np.nanmedian(cube[band].to_numpy(), axis=(1, 2))
        scaled[band] = cube[band] * (medians.mean() / medians)[:, None, None].astype(np.float32)
    return cube.assign(scaled)


def of_simulated_scenes(seeds: Sequence[int], size_km: float, dates: int) -> list[dict[str, Any]]:
    """Dates before a simulated event: weather, growth, harvest, terrain, repeating speckle; nothing slid."""
    rows = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            simulation = sc.simulate(
                Path(folder) / "event", seed=seed, size_km=size_km, pre_dates=dates, post_dates=1, flaws=()
            )
            event = simulation.event
            items = sc.search(event, catalog=simulation.folder, pre_days=12 * (dates + 1), post_days=12)
            cube = sc.load(items, bbox=event.bbox).compute()
        cube = cube.isel(time=cube["time"].to_numpy() < np.datetime64(event.pre_end.replace(tzinfo=None)))
        for track in simulation.tracks:
            here = cube.isel(time=cube["scene_track"].to_numpy().astype(str) == track)
            rows.append({"data": "simulated scenes", "seed": seed, "track": track, **rates(here, ENL)})
            rows.append(
                {"data": "simulated scenes, levelled", "seed": seed, "track": track} | rates(levelled(here), ENL)
            )
    return rows


def looks_between_dates(cube: xr.Dataset) -> float:
    """Looks that would explain the log-ratios of consecutive dates, both polarisations.

    A log-ratio of independent gamma powers of n looks has the variance 2 ψ'(n). Its spread is taken between the 16th
    and the 84th percentile, so that a few true changes do not count, nor the level of a date. Speckle that repeats
    makes the number higher than the looks of one scene, as it makes the test's false alarms fewer.
    """
    variances = []
    for band in ("vv", "vh"):
        ratios = np.diff(np.log(cube[band].to_numpy().astype(np.float64)), axis=0).reshape(cube.sizes["time"] - 1, -1)
        low, high = np.nanpercentile(ratios, [15.87, 84.13], axis=1)
        variances.append(((high - low) / 2) ** 2)
    variance = float(np.median(variances))
    return float(brentq(lambda looks: 2 * polygamma(1, looks) - variance, 0.5, 1e4))


def of_real_scenes(folder: Path) -> list[dict[str, Any]]:
    """All dates of each place, and those of the dry season."""
    rows = []
    items = sc.items_from_folder(folder)
    for place in sorted({item.properties["s1:burst_id"] for item in items}):
        cube = sc.load([i for i in items if i.properties["s1:burst_id"] == place], resolution=30).compute()
        whole = np.isfinite(cube["vv"].to_numpy()).mean((1, 2)) > 0.9  # some dates hold a corner of the place only
        cube = cube.isel(time=whole)
        looks = looks_between_dates(cube.sel(time=DRY))
        for season, part in (("dry season", cube.sel(time=DRY)), ("all dates", cube)):
            for name, version in (("", part), (", levelled", levelled(part))):
                for number, way in ((ENL, "assumed"), (looks, "estimated")):
                    row = {"data": f"real, {season}{name}", "place": place}
                    rows.append(row | rates(version, number, looks_are=way))
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """One line per kind of data, polarisations, dates and way to the looks; places, tracks and seeds as a range."""
    frame = pd.DataFrame(rows)
    frame["bands"] = [" ".join(names) for names in frame["polarisations"]]
    shares = ("rate_1_percent", "rate_5_percent", "rate_dated")
    lines = [f"{'data':33s} {'bands':6s} {'dates':>5s}  {'looks':21s} {'at 1 %':>12s} {'at 5 %':>12s} {'dated':>12s}"]
    for (data, bands, dates, how), group in frame.groupby(["data", "bands", "dates", "looks_are"], sort=False):
        looks = f"{_range(group['looks'], 1)} {how}"
        found = " ".join(f"{_range(100 * group[key], 2):>12s}" for key in shares)
        lines.append(f"{data:33s} {bands:6s} {dates:5d}  {looks:21s} {found}")
    return "\n".join(lines)


def _range(values: Any, digits: int) -> str:
    low, high = f"{values.min():.{digits}f}", f"{values.max():.{digits}f}"
    return low if low == high else f"{low}-{high}"


def main() -> None:
    """Count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--size", type=int, default=1000, help="pixels along a side of the speckle")
    parser.add_argument("--events", type=int, default=3, help="simulated scenes")
    parser.add_argument("--size-km", type=float, default=4.0, help="their side")
    parser.add_argument("--seed", type=int, help="repeat a run; by default a fresh one is drawn")
    args = parser.parse_args()
    logging.getLogger("sarcube").setLevel(logging.ERROR)
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    speckled = of_speckle(seed, args.size)
    rows = speckled + of_repeating_speckle(seed, args.size)
    rows += of_simulated_scenes([seed + i for i in range(args.events)], args.size_km, 10)
    calibrated = [row["rate_1_percent"] for row in speckled if row["data"] == "speckle"]
    result: dict[str, Any] = {
        "seed": seed,
        "simulated": "all rows but those whose data begin with real",
        "speckle_rate_1_percent_lowest": min(calibrated),
        "speckle_rate_1_percent_highest": max(calibrated),
        "speckle_binomial_error": (0.01 * 0.99 / args.size**2) ** 0.5,
    }
    if REAL.is_dir():
        rows += of_real_scenes(REAL)
    else:
        print(f"no real scenes at {REAL}")
    result["rows"] = rows
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1))
    print(f"share of pixels in which the omnibus test finds a change, %; all but 'real' is SIMULATED (seed {seed})")
    print(table(rows))


if __name__ == "__main__":
    main()
