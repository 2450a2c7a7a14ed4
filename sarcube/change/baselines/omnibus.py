"""Whether a pixel changed at all in a series of dates, when first, and how often: the omnibus test of Conradsen et al.

A change is what speckle alone does not explain. Rain, snow and growth are changes, too.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import dask.array as da
import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.change.baselines.chi_square import chi_square_sf
from sarcube.change.dates import Steps, day, event_dates, only_track
from sarcube.change.layers import check_polarisations, date_attrs, event_attrs, grid_coords
from sarcube.errors import InputError, NoSceneError
from sarcube.events import Event

Array: TypeAlias = NDArray[Any]

_STRIP = 64  # pixels whose dates are gathered at a time: read row by row, tested date by date


@numba.njit(nogil=True, cache=True)
def _p_value(statistic, freedom, rho):  # type: ignore[no-untyped-def]
    # Of -2 ln Q or -2 ln R_j. For diagonal matrices the second-order term depends on rho alone.
    z = rho * statistic
    omega2 = -0.25 * freedom * (1 - 1 / rho) ** 2
    p = chi_square_sf(z, freedom)
    p += omega2 * (chi_square_sf(z, freedom + 4) - p)
    return max(p, 0.0)  # the expansion falls below zero where p is next to nothing


@numba.njit(nogil=True, cache=True)
def _p_of_no_change(series, log_det, start, looks):  # type: ignore[no-untyped-def]
    # series (polarisation, date), log_det (date): of all dates from `start` on.
    bands = series.shape[0]
    k = log_det.size - start
    product = 1.0
    for b in range(bands):
        product *= series[b, start:].sum()
    log_q = bands * k * math.log(k) + log_det[start:].sum() - k * math.log(product)
    return _p_value(-2 * looks * log_q, bands * (k - 1), 1 - (k + 1) / (6 * k * looks))


@numba.njit(nogil=True, cache=True)
def _first_difference(series, log_det, start, looks, significance, total):  # type: ignore[no-untyped-def]
    # The first date that differs from the mean of those from `start` on before it; -1 where none does.
    bands = series.shape[0]
    total[:] = series[:, start]
    log_before = log_det[start]
    for date in range(start + 1, log_det.size):
        j = date - start + 1
        product = 1.0
        for b in range(bands):
            total[b] += series[b, date]
            product *= total[b]
        log_now = math.log(product)
        log_r = bands * (j * math.log(j) - (j - 1) * math.log(j - 1))
        log_r += (j - 1) * log_before + log_det[date] - j * log_now
        if _p_value(-2 * looks * log_r, bands, 1 - (1 + 1 / (j * (j - 1))) / (6 * looks)) < significance:
            return date
        log_before = log_now
    return -1


@numba.njit(nogil=True, cache=True)
def _changes(series, log_det, looks, significance, total):  # type: ignore[no-untyped-def]
    # p-value of no change in all dates; place of the first date that differs, or -1; number of changes.
    first, count, start = -1, 0, 0
    whole = np.nan
    while log_det.size - start >= 2:
        p = _p_of_no_change(series, log_det, start, looks)
        if start == 0:
            whole = p
        if not p < significance:
            break
        start = _first_difference(series, log_det, start, looks, significance, total)
        if start < 0:
            break
        count += 1
        if first < 0:
            first = start
    return whole, first, count


@numba.njit(nogil=True, cache=True)
def _omnibus_rows(powers, looks, significance, p_value, first_step, change_count):  # type: ignore[no-untyped-def]
    # powers: per polarisation (date, y, x). A date counts at a pixel where every polarisation is valid.
    bands = len(powers)
    dates, height, length = powers[0].shape
    series = np.empty((_STRIP, bands, dates))
    log_det = np.empty((_STRIP, dates))
    steps = np.empty((_STRIP, dates), np.int64)
    valid = np.empty(_STRIP, np.int64)
    total = np.empty(bands)
    for y in range(height):
        for x0 in range(0, length, _STRIP):
            width = min(_STRIP, length - x0)
            valid[:] = 0
            for t in range(dates):
                for x in range(width):
                    n = valid[x]
                    product = 1.0
                    use = True
                    for b in range(bands):
                        power = np.float64(powers[b][t, y, x0 + x])
                        if not 0 < power < np.inf:
                            use = False
                        series[x, b, n] = power
                        product *= power
                    if use:
                        log_det[x, n] = math.log(product)
                        steps[x, n] = t
                        valid[x] = n + 1
            for x in range(width):
                n = valid[x]
                p, first, count = _changes(series[x, :, :n], log_det[x, :n], looks, significance, total)
                p_value[y, x0 + x] = p
                first_step[y, x0 + x] = steps[x, first] if first >= 0 else -1
                change_count[y, x0 + x] = count


def _omnibus_block(*powers: Array, times: Array, looks: float, significance: float) -> Array:
    # Each (date, y, x); -> (y, x) records, so that one task reads a chunk for all three layers.
    shape, dtype = powers[0].shape[1:], np.result_type(*powers)
    record = np.empty(shape, _record_dtype(times))
    first_step = np.empty(shape, np.int64)
    same_kind = tuple(np.ascontiguousarray(power, dtype=dtype) for power in powers)
    _omnibus_rows(same_kind, looks, significance, record["p_value"], first_step, record["change_count"])
    record["first_change"] = np.append(times, np.datetime64("NaT"))[first_step]
    return record


def _record_dtype(times: Array) -> np.dtype[np.void]:
    return np.dtype([("p_value", np.float32), ("first_change", times.dtype), ("change_count", np.uint16)])


def _omnibus(powers: list[Any], **settings: Any) -> Any:
    if not any(isinstance(power, da.Array) for power in powers):
        return _omnibus_block(*powers, **settings)
    # `concatenate` joins the chunks of one column of time inside the task, so that y and x keep their chunks.
    blocks = [argument for power in powers for argument in (power, "tyx")]
    dtype = _record_dtype(settings["times"])
    return da.blockwise(
        _omnibus_block, "yx", *blocks, concatenate=True, dtype=dtype, meta=np.empty((0, 0), dtype), **settings
    )


def omnibus_change(
    cube: xr.Dataset,
    event: Event | None = None,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    polarisations: Sequence[str] = ("vv", "vh"),
    looks: float = 4.4,
    significance: float = 0.01,
) -> xr.Dataset:
    """Test every pixel's dates for change: whether there is one, when the first, and how many (Conradsen et al. 2016).

    Parameters
    ----------
    cube : xarray.Dataset
        Linear gamma0 power with dimensions (time, y, x) and `scene_track` along time.
    event : Event, optional
        Test the dates in the windows around it. By default all dates of the track that the cube holds are tested.
    track : str, optional
        Which track, such as "D164". May be left out where the cube holds one. Tracks are never mixed: each looks at
        a slope from another side.
    pre_days, post_days : float
        Length of the windows before and after the event, in days. Without an event they mean nothing.
    polarisations : sequence of str
        Variables of the cube that are tested together. Their speckle is taken to be independent.
    looks : float
        Equivalent number of looks, 1 or more: 4.4 for IW RTC of 10 m. Too high a number finds change in speckle. At
        fewer than 2 the p-values come out somewhat low.
    significance : float
        p-value below which a test finds a change, between 0 and 1.

    Returns
    -------
    xarray.Dataset, (y, x)
        - `p_value`, float32: of all dates having the same backscatter. Small where something changed; 0 where it is
          smaller than the expansion resolves (Notes).
        - `first_change`, datetime64: time of the first date that differs from those before it; NaT where none does.
        - `change_count`, uint16: number of changes.

        Where fewer than two dates are valid nothing is tested: NaN, NaT and 0. Lazy where the cube is, with the
        cube's own chunks of y and x; a chunk is read once for all three.

    Raises
    ------
    TrackError
        If the track is not in the cube, or the cube holds several and none is named.
    NoSceneError
        If a window holds no scene of the track, or the cube fewer than two.
    BandError
        If a polarisation is not in the cube.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If an option cannot be used as it is.

    Notes
    -----
    A date counts at a pixel where the power of every polarisation is finite and above zero; the other dates are left
    out at that pixel.

    The statistic -2 ln Q compares the product of the dates' backscatter with their mean's. It factors into -2 ln R_j,
    which compare date j with the mean of those before it. With p polarisations, k dates and n looks they follow
    chi-square distributions of p (k - 1) and p degrees of freedom, once multiplied by ρ = 1 - (k + 1) / (6 k n) and
    ρ_j = 1 - (1 + 1 / (j (j - 1))) / (6 n), and with the second-order term ω2 = -freedom / 4 · (1 - 1 / ρ)². These are
    the paper's expansions for covariance matrices of one row and column each, of which a diagonal matrix has p.

    Where Q finds a change, the first date whose R_j does is the change, and the series starts anew with it, until Q
    finds none in what is left. Q may find a change that no single R_j does: then `first_change` is NaT and
    `change_count` 0, though `p_value` is small. Every R_j may err with probability `significance`, so that in a long
    series that did change the first change is at times put too early.

    The expansion falls below zero where p is next to nothing, the sooner the fewer the looks: that is given as 0. So
    strong changes in a long series may all come to 0, and cannot be ranked by `p_value`.

    What is tested is speckle. Rain, snow, growth and drift are changes to it, and over dry or built ground, where
    speckle repeats between passes, it finds fewer false alarms than `significance`: docs/false-alarms.md has the rates.

    Source: Conradsen, Nielsen and Skriver (2016), IEEE Transactions on Geoscience and Remote Sensing 54 (5),
    3007-3024, the tests Q and R_j with their distributions, and the procedure that starts anew after a change.
    """
    _check_options(cube, polarisations, looks, significance)
    steps, provenance = _dates_to_test(cube, event, track, pre_days, post_days)
    used = cube[list(polarisations)].isel(time=steps).transpose("time", "y", "x")
    record = _omnibus(
        [used[p].data for p in polarisations],
        times=used["time"].values,
        looks=float(looks),
        significance=float(significance),
    )
    said = {
        "p_value": {"long_name": "p-value of no change", "units": "1"},
        "first_change": {"long_name": "time of the first date that differs from those before it"},
        "change_count": {"long_name": "number of changes", "units": "1"},
    }
    provenance |= {"polarisations": list(polarisations), "looks": float(looks), "significance": float(significance)}
    layers = {name: (("y", "x"), record[name], {**attrs, **provenance}) for name, attrs in said.items()}
    return xr.Dataset(layers, coords=grid_coords(cube), attrs=provenance)


def _dates_to_test(
    cube: xr.Dataset, event: Event | None, track: str | None, pre_days: float, post_days: float
) -> tuple[Steps, dict[str, Any]]:
    # Places along time, the earliest first, and what the layers say of them.
    if event is not None:
        dates = event_dates(cube, event, track=track, pre_days=pre_days, post_days=post_days)
        steps = np.concatenate([dates.before, dates.after])
        return steps, {**event_attrs(cube, event), **date_attrs(cube, dates)}
    name = only_track(cube, track)
    steps = np.flatnonzero(cube["scene_track"].values.astype(str) == name)
    times = cube["time"].values[steps]
    if steps.size < 2:
        raise NoSceneError(
            f"a change needs two dates, and the cube holds {steps.size} of track {name}: load more, or choose another"
        )
    order = np.argsort(times, kind="stable")
    provenance: dict[str, Any] = {"track": name, "dates": [day(t) for t in times[order]]}
    if "simulated" in cube.attrs:
        provenance["simulated"] = cube.attrs["simulated"]
    return steps[order], provenance


def _check_options(cube: xr.Dataset, polarisations: Sequence[str], looks: float, significance: float) -> None:
    check_polarisations(cube, polarisations)
    if not (math.isfinite(looks) and looks >= 1):
        raise InputError(f"looks must be a number >= 1, such as 4.4, not {looks!r}")
    if not 0 < significance < 1:
        raise InputError(f"significance must lie between 0 and 1, such as 0.01, not {significance!r}")
