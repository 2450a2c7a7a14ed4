"""From an event to a cube in one run: found, staged, built; each step goes on where it stopped."""
