"""The chi-square distribution's upper tail, for kernels: compiled code cannot call SciPy."""

import math

import numba


@numba.njit(nogil=True, cache=True)
def chi_square_sf(x: float, freedom: int) -> float:
    """Return the probability that a chi-square variable exceeds `x`.

    Parameters
    ----------
    x : float
        Below zero counts as zero.
    freedom : int
        Degrees of freedom, 1 or more.

    Returns
    -------
    float
        Exact to rounding: the series is finite for whole degrees of freedom.

    Notes
    -----
    Abramowitz and Stegun (1964), 26.4.4 and 26.4.5. With h = x / 2 and s in steps of one up to freedom / 2 - 1, the
    sum of h^s exp(-h) / Γ(s + 1): from s = 0 for even degrees; from s = 1/2, and erfc(√h) added, for odd ones.
    """
    if x <= 0:
        return 1.0
    half = 0.5 * x
    odd = freedom % 2 == 1
    rest = math.erfc(math.sqrt(half)) if odd else 0.0
    lowest = 0.5 if odd else 0.0
    terms = freedom // 2
    if terms == 0:
        return rest
    # From the largest term outwards: none can overflow, and what underflows does not count.
    middle = min(terms - 1, int(min(half, terms)))
    s = lowest + middle
    largest = math.exp(s * math.log(half) - half - math.lgamma(s + 1))
    total = largest
    term = largest
    for i in range(middle, 0, -1):
        term *= (lowest + i) / half
        total += term
    term = largest
    for i in range(middle + 1, terms):
        term *= half / (lowest + i)
        total += term
    return min(rest + total, 1.0)
