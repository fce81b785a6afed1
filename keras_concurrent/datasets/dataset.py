"""What a set of images is, and what the loaders of all sets share."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.scaling import Images
from keras_concurrent.datasets.splitting import Indices, stratified
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.errors import MissingExtraError

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Dataset:
    """Images to learn and images to be tested on.

    Args:
        name: one of ``NAMES`` or ``DOWNLOADED``, or where the images came from.
        train_images: ``(n, height, width, channels)``; float32 in 0..1, or bytes, which stand for
            a 255th each (`keras_concurrent.datasets.scaling.values_of`): a quarter of the memory.
        train_labels: int32, ``(n,)``, an index into ``class_names``.
        test_images: as ``train_images``.
        test_labels: as ``train_labels``.
        class_names: one a class.
        note: what the task is, how it was scaled and split, in a sentence or two.
        resize: how pictures of other sizes were brought to this one, see
            `keras_concurrent.edge.preprocessing.Preprocessing`.

    Raises:
        ValueError: shapes, types or labels that contradict each other.
    """

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    class_names: tuple[str, ...]
    note: str
    resize: str = "stretch"

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.ndim != 4 or images.dtype not in (np.float32, np.uint8):
                raise ValueError(
                    f"{part}_images must be float32 or uint8 (n, height, width, channels), "
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

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How a picture becomes what a network trained on this set takes.

        ``None`` where images are neither grey nor in colour, and so no pictures.
        """
        pictures = self.image_shape[2] in (1, 3)
        return Preprocessing("0..1", resize=self.resize) if pictures else None

    def split(self, share: float, seed: int = 0) -> tuple[Indices, Indices]:
        """Indices of the training images to learn from, and of those held back to choose by.

        See `keras_concurrent.datasets.splitting.stratified`.
        """
        return stratified(self.train_labels, share, seed)

    def fewer(self, count: int, seed: int = 0) -> Dataset:
        """The same with at most so many training images, each class in its share."""
        total = len(self.train_labels)
        if count >= total:
            return self
        _, kept = stratified(self.train_labels, count / total, seed)
        kept = kept[:count]
        return replace(
            self, train_images=self.train_images[kept], train_labels=self.train_labels[kept]
        )


def package(package: str, module: str, extra: str = "data") -> Any:
    """A module of a package that an extra installs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise  # the package is there, something it needs is not
        raise MissingExtraError(package, extra) from error


def only_size(name: str, size: int | None, own: int) -> None:
    """Refuse any size but a set's own."""
    if size not in (None, own):
        raise ValueError(f"size of {name} must be {own} or None, got {size!r}")


def any_size(name: str, size: int | None, own: int, most: int) -> int:
    """A size within limits; by default the set's own."""
    size = own if size is None else size
    if isinstance(size, bool) or int(size) != size or not 8 <= size <= most:
        raise ValueError(f"size of {name} must be a whole number from 8 to {most}, got {size!r}")
    return size
