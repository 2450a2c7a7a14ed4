"""The ground under a cube and how each track looks at it."""
