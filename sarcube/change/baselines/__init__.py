"""Maps of change that need no weights, each by the method of its paper."""
