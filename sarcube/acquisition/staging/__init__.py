"""Scenes copied once and whole: from then on nothing needs a network."""
