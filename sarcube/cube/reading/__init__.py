"""From a file to a block of the cube: where it lies, which pixels are measurements, how they are resampled."""
