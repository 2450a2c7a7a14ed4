"""From an inventory of landslides to labelled windows."""
