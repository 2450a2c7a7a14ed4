"""How good a model or a map is: window by window, pixel by pixel, box by box, event by event, and how sure that is.

What the functions here pass on is the predictions table: a pandas.DataFrame with a row per patch or window, the columns
of `sarcube.labels.patches.COLUMNS` (event, track, place, landslide), and `score`: a probability, NaN where there is
none.
"""
