"""How far the first image after an event lies from what every pixel's surroundings were before it."""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sarcube.change.baselines.moving_window import check_window, over_window, sum_window
from sarcube.change.dates import event_dates
from sarcube.change.layers import check_polarisations, date_attrs, event_attrs, grid_coords
from sarcube.events import Event

_FEWEST = 9  # samples: one image of the default window; with fewer the covariance says next to nothing
_FLOOR = 1e-4 * np.sqrt(2.0)  # smallest eigenvalue of the covariance, neper²: the source's, there of logit(power)²


@numba.njit(nogil=True, cache=True)
def _moments_row(vv, vh, before, y, moments):  # type: ignore[no-untyped-def]
    # Of the dates before the event: count, sums, and sums of squares and products of the logarithms, pixel by pixel.
    moments[:] = 0.0
    for t in range(before):
        for x in range(vv.shape[2]):
            if 0.0 < vv[t, y, x] < np.inf and 0.0 < vh[t, y, x] < np.inf:
                a = np.log(np.float64(vv[t, y, x]))
                b = np.log(np.float64(vh[t, y, x]))
                moments[0, x] += 1.0
                moments[1, x] += a
                moments[2, x] += b
                moments[3, x] += a * a
                moments[4, x] += a * b
                moments[5, x] += b * b


@numba.njit(nogil=True, cache=True)
def _squared_distance(moments, a, b, single):  # type: ignore[no-untyped-def]
    # Of the point (a, b), or of a alone, from the samples whose moments are given.
    n = moments[0]
    mean_a, mean_b = moments[1] / n, moments[2] / n
    a -= mean_a
    b -= mean_b
    aa = (moments[3] - n * mean_a * mean_a) / (n - 1.0)
    if single:
        return a * a / max(aa, _FLOOR)
    ab = (moments[4] - n * mean_a * mean_b) / (n - 1.0)
    bb = (moments[5] - n * mean_b * mean_b) / (n - 1.0)
    # Eigenvalues of the covariance, and the squares of the point's parts along the two eigenvectors.
    spread = np.hypot(aa - bb, 2.0 * ab)
    large, small = 0.5 * (aa + bb + spread), 0.5 * (aa + bb - spread)
    along = a * a + b * b
    if spread > 0.0:
        along = 0.5 * (along + ((aa - bb) * (a * a - b * b) + 4.0 * ab * a * b) / spread)
    across = a * a + b * b - along
    return max(along, 0.0) / max(large, _FLOOR) + max(across, 0.0) / max(small, _FLOOR)


@numba.njit(nogil=True, cache=True)
def _distance_rows(vv, vh, before, half, margin_y, margin_x, single, out):  # type: ignore[no-untyped-def]
    # (time, y, x) power, the first `before` dates before the event -> (y, x) distance.
    dates, height, length = vv.shape
    size = 2 * half + 1
    ring = np.empty((6, size, length))
    totals = np.empty((6, length))
    column = np.empty(length + size)
    filled = 0
    for y in range(margin_y, height - margin_y):
        top, bottom = max(0, y - half), min(height, y + half + 1)
        while filled < bottom:
            _moments_row(vv, vh, before, filled, ring[:, filled % size])
            filled += 1
        for k in range(6):
            sum_window(ring[k], top, bottom, -half, half, column, totals[k])
        for x in range(margin_x, length - margin_x):
            result = np.float32(np.nan)
            for t in range(before, dates):
                if 0.0 < vv[t, y, x] < np.inf and 0.0 < vh[t, y, x] < np.inf:
                    if totals[0, x] >= _FEWEST:
                        a = np.log(np.float64(vv[t, y, x]))
                        b = np.log(np.float64(vh[t, y, x]))
                        result = np.float32(np.sqrt(_squared_distance(totals[:, x], a, b, single)))
                    break
            out[y - margin_y, x - margin_x] = result


def _distance_block(*powers: Any, before: int, half: int, margins: tuple[int, int]) -> NDArray[np.float32]:
    # One or two (time, y, x) -> (y, x).
    _, height, length = powers[0].shape
    out = np.empty((height - 2 * margins[0], length - 2 * margins[1]), np.float32)
    _distance_rows(powers[0], powers[-1], before, half, margins[0], margins[1], len(powers) == 1, out)
    return out


def mahalanobis_change(
    cube: xr.Dataset,
    event: Event,
    *,
    track: str | None = None,
    pre_days: float = 60,
    post_days: float = 12,
    polarisations: Sequence[str] = ("vv", "vh"),
    window: int = 3,
) -> xr.DataArray:
    """Measure how far the image after an event lies from the images before it, in standard deviations.

    Parameters
    ----------
    cube : xarray.Dataset
        Linear gamma0 power with dimensions (time, y, x) and `scene_track` along time.
    event : Event
        The windows of time are counted from its `pre_end` and `post_start`.
    track : str, optional
        Which track, such as "D164". May be left out where the cube holds one. Tracks are never mixed.
    pre_days : float
        Length in days of the window whose dates are the sample.
    post_days : float
        Length in days of the window that is searched for the image after the event: at every pixel the first valid
        date in it.
    polarisations : sequence of one or two str
        Variables of the cube. One gives the distance in that polarisation alone: the absolute z-score.
    window : int
        Side, in pixels, of the square around a pixel whose values at all dates before the event are its sample; odd.

    Returns
    -------
    xarray.DataArray, (y, x), float32, units "1"
        Mahalanobis distance, 0 or more; it says how unusual a change is, not which way it went. NaN where no date
        after the event is valid, or where the sample holds fewer than 9 values. Lazy where the cube is; dates
        outside the windows are not read.

    Raises
    ------
    TrackError
        If the track is not in the cube, or the cube holds several and none is named.
    NoSceneError
        If a window holds no scene of the track.
    BandError
        If a polarisation is not in the cube.
    AreaError
        If the event's box lies outside the cube.
    InputError
        If an option cannot be used as it is.

    Notes
    -----
    d² = (x − μ)ᵀ Σ⁻¹ (x − μ), where x is the logarithm of the powers after the event, μ the mean and Σ the unbiased
    covariance (n − 1) of the sample: all dates and pixels of the window together. A date counts where its power is
    finite and above zero in every polarisation. Eigenvalues of Σ below 1.41e-4 neper² (a standard deviation of
    0.05 dB) count as that, so that a sample without spread gives a finite distance.

    Source: the two- and one-dimensional Mahalanobis distance of NASA/JPL's `distmetrics`, version 1.0 (module
    mahalanobis), written for the OPERA DIST-S1 product and listed among its metrics beside the network of
    Hardiman-Mostow et al. (2025, arXiv:2501.09129). From there: window of 3 × 3, all images before, one image after,
    unbiased covariance, floor of the eigenvalues. Different here: logarithms, where it takes power or its logit,
    which is not defined above 1; missing values are left out, where it fills them in from their neighbours; a window
    at the edge of the area holds what is there, where it repeats the outermost pixels; one polarisation alone has the
    same floor and no sign. It is used on images that
    were despeckled first: that is left to the caller.

    For n independent and normal samples, d² n (n − p) / (p (n + 1) (n − 1)) follows Fisher's F(p, n − p), p being
    the number of polarisations (Hotelling 1931). Neighbouring pixels share their speckle, its logarithm is skewed to
    the dark, and ground drifts: even of calm, dry, real ground somewhat more lies far out
    (tests/test_realdata_calm.py). Take a threshold from the data.
    """
    _check_options(cube, polarisations, window)
    dates = event_dates(cube, event, track=track, pre_days=pre_days, post_days=post_days)
    steps = np.concatenate([dates.before, dates.after])
    used = cube[list(polarisations)].isel(time=steps).transpose("time", "y", "x")
    distance = over_window(
        _distance_block, [used[p].data for p in polarisations], window // 2, before=len(dates.before)
    )
    attrs: dict[str, Any] = {
        "long_name": "Mahalanobis distance from the dates before the event",
        "units": "1",
        **event_attrs(cube, event),
        **date_attrs(cube, dates),
        "pre_days": pre_days,
        "post_days": post_days,
        "polarisations": list(polarisations),
        "window": window,
    }
    return xr.DataArray(distance, dims=("y", "x"), coords=grid_coords(cube), attrs=attrs, name="mahalanobis_change")


def _check_options(cube: xr.Dataset, polarisations: Sequence[str], window: int) -> None:
    check_polarisations(cube, polarisations, most=2)
    check_window(window, least=1, usual=3)
