"""The options that the convolutional window classifiers share: filters and dropout."""

from sarcube.errors import InputError
from sarcube.models.spec import ModelSpec


def filters_and_dropout(spec: ModelSpec) -> tuple[int, float]:
    """Return the number of filters and the share of features that training drops, 32 and 0.5 unless the spec says.

    Raises
    ------
    InputError
        If filters is no whole number from 1 to 1024, or dropout no share in [0, 1).
    """
    filters, dropout = spec.options.get("filters", 32), spec.options.get("dropout", 0.5)
    if not isinstance(filters, int) or not 1 <= filters <= 1024:
        raise InputError(f"filters must be a whole number from 1 to 1024, not {filters!r}")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout must be a share in [0, 1), not {dropout!r}")
    return filters, dropout
