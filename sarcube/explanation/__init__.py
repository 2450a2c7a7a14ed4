"""Why a model says what it says: what each pixel of each band contributes to the logit of a window."""
