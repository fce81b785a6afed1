"""Sets of images from ``.npz`` files, one form for training, searching and calibrating."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.arrays import from_arrays
from keras_concurrent.datasets.dataset import Dataset

_FORM = "train_images, train_labels, and if there are any test_images, test_labels and class_names"


def from_npz(path: Path, seed: int = 0) -> Dataset:
    """Read a file of ``train_images`` and ``train_labels``.

    It may hold ``test_images`` and ``test_labels`` (without them a random fifth of each class is
    held back) and ``class_names``. What the arrays may be says
    `keras_concurrent.datasets.from_arrays`.

    Args:
        path: of the file.
        seed: of the split, where there is one.

    Raises:
        ValueError: no such file, or arrays of another form.
    """
    arrays = read_npz(path)
    lacking = [key for key in ("train_images", "train_labels") if key not in arrays]
    if lacking:
        raise ValueError(f"{path} must hold {_FORM}; it lacks {', '.join(lacking)}")
    names = arrays.pop("class_names", None)
    try:
        return from_arrays(
            **arrays, class_names=None if names is None else [str(each) for each in names],
            name=str(path), seed=seed,
        )  # fmt: skip
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, by name.

    Raises:
        ValueError: no such file, or one of arrays that no set of images has.
    """
    known = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
    with open(path, "rb") as content:  # opened here: NumPy leaves open what it cannot read
        try:
            file = np.load(content, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise ValueError("it holds a single one")
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not an .npz file of arrays: {error}") from error
        strange = sorted(set(file.files) - set(known))
        if strange or not file.files:
            raise ValueError(f"{path} must hold {_FORM}; got {', '.join(strange) or 'nothing'}")
        try:
            return {key: file[key] for key in file.files}
        except (ValueError, zipfile.BadZipFile, zlib.error) as error:  # objects, or damage
            raise ValueError(f"{path} must hold whole, plain arrays: {error}") from error
