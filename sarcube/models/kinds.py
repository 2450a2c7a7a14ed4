"""Which kind of model a function needs: one that judges windows, or one that judges pixels."""

from sarcube.errors import InputError
from sarcube.models.classifier import WindowClassifier
from sarcube.models.network import Network


def window_classifier(model: Network) -> WindowClassifier:
    """Give the model back if it judges windows.

    Raises
    ------
    InputError
        If it judges pixels.
    """
    if not isinstance(model, WindowClassifier):
        raise InputError(
            f'a model that gives each window a probability is needed, such as a "cnn"; the "{model.spec.architecture}" '
            "gives one to each pixel, by its own `probabilities`"
        )
    return model
