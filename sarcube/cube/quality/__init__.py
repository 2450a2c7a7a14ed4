"""What is missing in each scene, and which do not fit."""
