"""Statistics of a stack of backscatter, the same for simulated and for measured scenes."""

import numpy as np


def decibel(power):
    return 10 * np.log10(power)


def looks_averaged(power, factor):
    """Mean power of factor × factor pixels: (time, y, x) at 10 m -> coarser."""
    t, y, x = power.shape
    y, x = y // factor * factor, x // factor * factor
    return power[:, :y, :x].reshape(t, y // factor, factor, x // factor, factor).mean((2, 4))


def stack_statistics(vv, vh, pixel):
    """Statistics of VV and VH stacks (time, y, x), linear power, `pixel` metres; keys as the printed comparison's."""
    dv, dh = decibel(vv), decibel(vh)
    result = {}
    for name, db in (("vv", dv), ("vh", dh)):
        low, middle, high = np.nanpercentile(db, [5, 50, 95])
        result |= {f"{name} 5 %": low, f"{name} median": middle, f"{name} 95 %": high}
        result[f"{name} date-to-date std of the median"] = np.nanmedian(db, axis=(1, 2)).std(ddof=1)
        mean = np.nanmean(db, axis=0)
        result[f"{name} std of the time mean"] = np.nanstd(mean)
        for metres in (30, 150, 300):
            result[f"{name} correlation of the time mean at {metres} m"] = _correlation(mean, round(metres / pixel))
        ratio = db[1:] - db[:-1]
        result[f"{name} log-ratio std of single dates"] = np.nanmedian(np.nanstd(ratio, axis=(1, 2)))
        blocks = [_blocks(r - np.nanmedian(r), round(300 / pixel)) for r in ratio]
        result[f"{name} log-ratio std of 300 m blocks"] = np.median([np.nanstd(b) for b in blocks])
    drift_v = np.diff(np.nanmedian(dv, axis=(1, 2)))
    drift_h = np.diff(np.nanmedian(dh, axis=(1, 2)))
    result["correlation of VV and VH drift"] = np.corrcoef(drift_v, drift_h)[0, 1]
    noise_v, noise_h = (_fine(d[1] - d[0]) for d in (dv, dh))
    good = np.isfinite(noise_v) & np.isfinite(noise_h)
    result["correlation of VV and VH speckle"] = np.corrcoef(noise_v[good], noise_h[good])[0, 1]
    return result


def _correlation(field, lag):
    a = np.concatenate([field[:, :-lag].ravel(), field[:-lag].ravel()])
    b = np.concatenate([field[:, lag:].ravel(), field[lag:].ravel()])
    good = np.isfinite(a) & np.isfinite(b)
    return np.corrcoef(a[good], b[good])[0, 1]


def _blocks(field, n):
    y, x = (s // n * n for s in field.shape)
    return np.nanmean(field[:y, :x].reshape(y // n, n, x // n, n), axis=(1, 3))


def _fine(ratio):
    """What differs from pixel to pixel: slow change removed."""
    return ratio[:, 1:] - ratio[:, :-1]
