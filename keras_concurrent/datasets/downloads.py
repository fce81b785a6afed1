"""Sets of images that are downloaded on first use, and kept by the package that fetches them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.arrays import from_arrays
from keras_concurrent.datasets.dataset import Dataset, any_size, only_size, package
from keras_concurrent.datasets.idx import from_idx, is_idx_folder
from keras_concurrent.errors import ConcurrentError

FLOWER_SIZE = 224  # the paper's

_CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_DEBIAN = ("usr/share/*fashion-mnist*", "usr/share/dataset*/*fashion-mnist*")


def cifar10(size: int | None, rng: np.random.Generator) -> Dataset:
    """Ten kinds of things, by Keras."""
    only_size("cifar10", size, 32)
    module = package("keras", "keras.datasets.cifar10", "design")
    try:
        train, test = module.load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise ConcurrentError(f"cifar10 must be downloaded once, which failed: {error}") from error
    note = "CIFAR-10: 60,000 small photographs of ten kinds of things, with its own split."
    return _official("cifar10", train, test, _CIFAR10, note, rng)


def fashion_mnist(size: int | None, rng: np.random.Generator) -> Dataset:
    """Ten kinds of clothes, from Debian's package where it is installed, or by Keras."""
    only_size("fashion-mnist", size, 28)
    for folder in sorted(path for pattern in _DEBIAN for path in Path("/").glob(pattern)):
        if is_idx_folder(folder):
            return from_idx(folder, class_names=_CLOTHES, name="fashion-mnist")
    module = package("keras", "keras.datasets.fashion_mnist", "design")
    try:
        train, test = module.load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise ConcurrentError(
            "fashion-mnist must be downloaded once, or come with Debian's dataset-fashion-mnist; "
            f"the download failed: {error}"
        ) from error
    return from_arrays(*train, *test, class_names=_CLOTHES, name="fashion-mnist")


def flowers102(size: int | None, rng: np.random.Generator) -> Dataset:
    """The central squares of photographs of flowers, by tensorflow-datasets."""
    size = any_size("flowers102", size, FLOWER_SIZE, 512)
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        raise ConcurrentError(
            f"flowers102 needs tensorflow-datasets, but {error.name} is not installed: "
            "pip install tensorflow-datasets"
        ) from error
    resize = package("tensorflow", "tensorflow", "design").image.resize
    try:
        (train, test), info = tfds.load(
            "oxford_flowers102",
            split=["train+validation", "test"],
            as_supervised=True,
            with_info=True,
        )
    except Exception as error:  # each of the libraries that it downloads with has its own
        raise ConcurrentError(
            f"flowers102 must be downloaded once, which failed: {error}"
        ) from error
    parts = []
    for part in (train, test):
        images, labels = [], []
        for image, label in tfds.as_numpy(part):
            # Whole bytes until all are there: as floats, 8,189 images take four times the memory.
            small = np.asarray(resize(_central_square(image), (size, size), antialias=True))
            images.append(small.round().clip(0, 255).astype(np.uint8))
            labels.append(label)
        parts.append((np.stack(images), np.asarray(labels)))
    note = (
        "Oxford Flowers 102: photographs of flowers, their central squares. Its training and "
        "validation images are trained on, its test images tested."
    )
    names = tuple(info.features["label"].names)
    return _official("flowers102", parts[0], parts[1], names, note, rng)


def _central_square(image: NDArray[Any]) -> NDArray[Any]:
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def _official(
    name: str,
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    class_names: tuple[str, ...],
    note: str,
    rng: np.random.Generator,
) -> Dataset:
    """Images of bytes with a split of their own, in random order."""
    arrays: dict[str, Any] = {}
    for part, (images, labels) in (("train", train), ("test", test)):
        shuffled = rng.permutation(len(images))
        arrays[f"{part}_images"] = images[shuffled]
        arrays[f"{part}_labels"] = labels.reshape(-1)[shuffled].astype(np.int32)
    return Dataset(name, **arrays, class_names=class_names, note=note)
