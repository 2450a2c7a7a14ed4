"""From items to a cube and back: grid, masked reads, tracks, geometry, storage."""
