"""From a catalogue to items: search, availability, folders of files, and what one item says about its scene."""
