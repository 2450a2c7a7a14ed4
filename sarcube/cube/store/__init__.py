"""A cube on disk: complete, or saying that it is not."""
