"""What others made: their cubes, layers and masks."""
