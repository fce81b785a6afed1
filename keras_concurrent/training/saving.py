"""A trained model as a file, with what it needs to know of its pictures."""

from __future__ import annotations

import os
from pathlib import Path

import keras

from keras_concurrent.datasets.dataset import Dataset
from keras_concurrent.edge.learnt import Learnt, write_learnt


def save_model(
    model: keras.Model, path: str | os.PathLike[str], dataset: Dataset | None = None
) -> Path:
    """Save a model as a ``.keras`` file, whole or not at all.

    It is written beside ``path`` and renamed, so that an interrupted save leaves an older file as
    it was.

    Args:
        model: to be saved.
        path: ends in ``.keras``; its folder exists.
        dataset: what it was trained on. Its classes' names and how pictures are prepared go into
            the file, where Keras takes no notice of them, and from there into a bundle.

    Returns:
        ``path``.

    Raises:
        ValueError: ``path`` does not end in ``.keras``.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise ValueError(f"path must end in .keras, got {str(path)!r}")
    # Keras looks at the suffix, so the temporary file keeps it.
    beside = path.with_name(f".{path.stem}-{os.getpid()}.keras")
    try:
        model.save(beside)
        if dataset is not None:
            write_learnt(beside, Learnt(dataset.class_names, dataset.preprocessing))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
