"""Power to dB in registers."""

from typing import Any

import numpy as np

from sarcube.vectors.instructions import Instructions

# Cephes logf (S. Moshier): ln(1 + x) - x + x²/2 = x³ · P(x) for sqrt(1/2) <= 1 + x < sqrt(2), highest power first.
_SERIES = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_FRACTION, _ONE, _ROOT_HALF = 0x007FFFFF, 0x3F800000, 0x3F3504F3  # bits of float32: mask, 1, sqrt(1/2)
_EXPONENT = 23  # its place


def mean_decibel(write: Instructions, a: Any, b: Any) -> Any:
    """Half the sum of the dB of two finite float32 powers, to 1e-6 dB or 3e-7 of the value, with one logarithm.

    Powers under 1.2e-38, which no radar measures, count as 1.2e-38. What comes of NaN and infinity is not said.
    """
    builder = write.builder
    parts = []
    for power in (a, b):
        normal = write.order(power, write.value(float(np.finfo(np.float32).tiny)))[1]
        bits = builder.bitcast(normal, write.integers)
        fraction = builder.or_(builder.and_(bits, write.whole(_FRACTION)), write.whole(_ONE))
        parts.append((builder.lshr(bits, write.whole(_EXPONENT)), builder.bitcast(fraction, write.floats)))
    (octaves_a, fraction_a), (octaves_b, fraction_b) = parts
    octaves = builder.sub(builder.add(octaves_a, octaves_b), write.whole(254))
    product = builder.bitcast(builder.fmul(fraction_a, fraction_b), write.integers)  # 1 to 4
    above = builder.sub(product, write.whole(_ROOT_HALF))
    octaves = builder.add(octaves, builder.ashr(above, write.whole(_EXPONENT)))
    near_one = builder.add(builder.and_(above, write.whole(_FRACTION)), write.whole(_ROOT_HALF))
    x = builder.fsub(builder.bitcast(near_one, write.floats), write.value(1.0))
    series = write.value(_SERIES[0])
    for coefficient in _SERIES[1:]:
        series = write.multiply_add(series, x, write.value(coefficient))
    square = builder.fmul(x, x)
    rest = write.multiply_add(builder.fmul(series, x), square, builder.fmul(write.value(-0.5), square))
    neper = builder.fadd(x, rest)
    whole = builder.fmul(builder.sitofp(octaves, write.floats), write.value(float(np.float32(5 * np.log10(2)))))
    return write.multiply_add(neper, write.value(float(np.float32(5 / np.log(10)))), whole)
