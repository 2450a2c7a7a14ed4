"""Codes of the distortion masks, with the words that CF attributes want.

The mask's are those of OPERA's RTC-S1 product. The parts', which that product does not have, are bit flags.
"""

CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA = 0, 1, 2, 3, 255
FLAG_VALUES = (CLEAR, SHADOW, LAYOVER, BOTH, NO_DATA)
FLAG_MEANINGS = "clear shadow layover layover_and_shadow no_data"

ACTIVE_SHADOW, ACTIVE_LAYOVER, PASSIVE_SHADOW, PASSIVE_LAYOVER = 1, 2, 4, 8
PART_MASKS = (ACTIVE_SHADOW, ACTIVE_LAYOVER, PASSIVE_SHADOW, PASSIVE_LAYOVER)
PART_MEANINGS = "active_shadow active_layover passive_shadow passive_layover"
