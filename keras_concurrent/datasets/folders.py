"""Sets of images from folders of pictures, one folder a class, as Keras reads them.

::

    FOLDER/cats/*.jpg  FOLDER/dogs/*.jpg                         a random fifth is for the test
    FOLDER/train/cats/*.jpg ...  FOLDER/test/cats/*.jpg ...      the test is the set's own

A class is a folder, its images lie in it at any depth, and classes are counted in the order of
their names, as `keras.utils.image_dataset_from_directory` does. Beside ``train`` the test images
may lie in ``test``, or in ``val``, ``valid`` or ``validation`` where there is no ``test``; where
there are both, the latter are trained on, since a search draws its own.

Pictures are brought to one size by the function that ``infer`` uses, and kept as bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.arrays import TEST_SHARE
from keras_concurrent.datasets.dataset import Dataset
from keras_concurrent.datasets.splitting import stratified
from keras_concurrent.edge.images import SUFFIXES, opened_picture, picture_pixels

Size = int | tuple[int, ...]
Progress = Callable[[int, int], None]
Pictures = list[tuple[Path, int]]  # files and their classes' numbers

USUAL_SIDE = 96  # of pictures of many sizes, where nobody said another
_GREY = ("1", "L", "LA", "La", "I", "I;16", "F")  # Pillow's names
_PICTURES = tuple(suffix for suffix in SUFFIXES if suffix != ".npy")
_VALIDATION = ("val", "valid", "validation")


def from_folder(
    folder: Path,
    size: Size | None = None,
    seed: int = 0,
    *,
    resize: str = "stretch",
    progress: Progress = lambda done, total: None,
) -> Dataset:
    """Read a folder of class folders; see the module.

    Args:
        folder: that of the classes, or of ``train`` and ``test``.
        size: side of an image in pixels, (height, width), or these and 1 or 3 channels. By default
            the pictures' own where all have the same, 96 otherwise; one channel where all are grey.
        seed: of the split, where there is one.
        resize: ``"stretch"`` or ``"crop"``, see
            `keras_concurrent.edge.preprocessing.Preprocessing`.
        progress: is told how many of the pictures are read, and of how many.

    Raises:
        ValueError: no class folders, empty ones, a damaged picture, or a size that is none.
        MissingExtraError: Pillow is not installed.
    """
    names, train, test, split = _found(folder, seed)
    every = [path for path, _ in train + test]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes without Python's lock
        looks = list(pool.map(_look, every))
    channels = 1 if all(grey for grey, _ in looks) else 3
    sizes = {size for _, size in looks}
    height, width, channels = shape = _shape(size, sizes, channels)
    read = _read(every, shape, resize, progress)
    resized = (
        ""
        if sizes == {(height, width)}
        else f", {'stretched' if resize == 'stretch' else 'cropped'} to that size"
    )
    note = (
        f"{len(every):,} pictures of {len(names)} classes in {folder}, "
        f"{height}x{width}x{channels}{resized}; bytes, divided by 255. {split}"
    )
    labels = np.array([number for _, number in train + test], np.int32)
    count = len(train)
    return Dataset(
        str(folder), read[:count], labels[:count], read[count:], labels[count:], names, note, resize
    )


def _found(folder: Path, seed: int) -> tuple[tuple[str, ...], Pictures, Pictures, str]:
    """Classes' names, pictures to train on and to be tested on, and a sentence about the split."""
    parts = {inside.name.lower(): inside for inside in _folders_in(folder)}
    if "train" not in parts or not parts.keys() <= {"train", "test", *_VALIDATION}:
        names = _names(folder)
        every = _listed(folder, names)
        labels = np.array([number for _, number in every])
        kept, held = stratified(labels, TEST_SHARE, seed)
        train, test = [every[i] for i in kept], [every[i] for i in held]
        return names, train, test, "A random fifth of each class is kept for the test."
    names = _names(parts["train"])
    train = _listed(parts["train"], names)
    chosen = [parts[name] for name in _VALIDATION if name in parts]
    if "test" not in parts:
        if not chosen:
            raise ValueError(f"{folder} must hold test beside train, got train alone")
        tested, chosen = chosen[0], chosen[1:]
    else:
        tested = parts["test"]
    for more in chosen:
        train += _listed(more, names)
    also = f", those of {chosen[0].name} are trained on" if chosen else ""
    return names, train, _listed(tested, names), f"Tested on {tested.name}{also}."


def _folders_in(folder: Path) -> list[Path]:
    inside = (each for each in folder.iterdir() if each.is_dir() and each.name[0] not in "._")
    return sorted(inside, key=lambda each: each.name)


def _pictures_in(folder: Path) -> list[Path]:
    found = [
        Path(where) / name
        for where, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name[0] != "." and name.lower().endswith(_PICTURES)
    ]
    return sorted(found)


def _names(folder: Path) -> tuple[str, ...]:
    names = tuple(inside.name for inside in _folders_in(folder))
    if len(names) < 2:
        raise ValueError(
            f"{folder} must hold a folder of pictures for each of at least 2 classes, got "
            f"{', '.join(names) or 'none'}"
        )
    return names


def _listed(folder: Path, names: Sequence[str]) -> Pictures:
    """Pictures by class."""
    strange = sorted({inside.name for inside in _folders_in(folder)} - set(names))
    if strange:
        raise ValueError(f"{folder} must hold the classes of train, got also {', '.join(strange)}")
    listed: Pictures = []
    for number, name in enumerate(names):
        pictures = _pictures_in(folder / name)
        if not pictures:
            raise ValueError(f"{folder / name} must hold pictures ({', '.join(_PICTURES)})")
        listed += [(path, number) for path in pictures]
    return listed


def _look(path: Path) -> tuple[bool, tuple[int, int]]:
    """Whether a picture is grey, and its height and width; only its head is read."""
    with opened_picture(path) as picture:
        return picture.mode in _GREY, (picture.height, picture.width)


def _shape(size: Size | None, own: set[tuple[int, int]], channels: int) -> tuple[int, int, int]:
    sides: tuple[int, ...] = (size, size) if isinstance(size, int) else size or ()
    if not sides:
        sides = next(iter(own)) if len(own) == 1 else (USUAL_SIDE, USUAL_SIDE)
    shape = sides if len(sides) == 3 else (*sides, channels)
    if len(shape) != 3 or min(shape) < 1 or shape[2] not in (1, 3):
        raise ValueError(
            f"size must be a side in pixels, (height, width) or (height, width, 1 or 3), got {size}"
        )
    return shape[0], shape[1], shape[2]


def _read(
    paths: Sequence[Path], shape: tuple[int, int, int], resize: str, progress: Progress
) -> NDArray[np.uint8]:
    images = np.empty((len(paths), *shape), np.uint8)

    def read(index: int) -> None:
        images[index] = picture_pixels(paths[index], shape, resize)

    progress(0, len(paths))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(read, range(len(paths))), 1):
            progress(done, len(paths))
    return images
