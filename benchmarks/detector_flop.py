"""Multiplications and additions that a window takes: what a count can say of how near a time is to the least."""


def by_window(bands: int, filters: int) -> float:
    """SAR-LRA's network on one window by itself, its third map counted once."""
    sides = (64, 32, 16)
    return sum(s * s * 9 * i * filters * 2 for s, i in zip(sides, (bands, filters, filters), strict=True)) + _dense(
        filters
    )


def shared(bands: int, filters: int, stride: int) -> float:
    """The same where windows share what they have in common, per window, far from the border; for strides of 8 n.

    Per level and window: the cells of `stride` x `stride` pixels once; a strip along each of its four sides, whose
    outer cell knows nothing beyond the window (3 lines in, 2 out); four corners of them (3 x 3 in, 2 x 2 out). Then the
    dense layer, which no two windows share.
    """
    total = _dense(filters)
    for side, channels in zip((stride, stride / 2, stride / 4), (bands, filters, filters), strict=True):
        pair = 2 * channels * filters
        total += side * side * 9 * pair + 4 * side * 3 * 3 * 2 * pair + 4 * 9 * 4 * pair
    return total


def _dense(filters: int) -> float:
    return 8 * 8 * filters * 8 * filters * 2 + 8 * filters * 2
