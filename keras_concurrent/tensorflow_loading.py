"""TensorFlow imported without the log lines with which it greets, and only when it is needed."""

from __future__ import annotations

import importlib

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import quiet


def load_tensorflow() -> None:
    """Import TensorFlow without the log lines with which it greets.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with quiet():
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.config.list_physical_devices()  # looks for a GPU, and says so, only once
    except ImportError as error:
        raise MissingExtraError("tensorflow", "design") from error
