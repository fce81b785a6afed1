"""Patches of ten photographs that come inside scikit-image and scikit-learn.

A made-up task: "which photograph is this patch from?". Every photograph is cut into a grid of
square cells, and a whole cell goes either to training or to testing before any patch is drawn (see
`split_cells`). Each cell is resized by itself and each patch is cut inside one cell, so no pixel
that a test patch shows was ever trained on, not even through the blur of resizing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.dataset import Dataset, any_size, package

Cell = tuple[slice, slice]

PHOTO_SIZE = 32
TRAIN_PATCHES = 300  # of each photograph
TEST_PATCHES = 100
GRID_ROWS = 8  # cells along the shorter side of a photograph
TEST_EVERY = 5  # one cell in so many is for testing
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


def _photographs() -> dict[str, NDArray[np.uint8]]:
    data = package("scikit-image", "skimage.data")
    samples = package("scikit-learn", "sklearn.datasets").load_sample_images()
    photos = dict(zip(("china", "flower"), samples.images, strict=True))
    for name in _PHOTOS:
        if name not in photos:
            photo = getattr(data, name)()
            photos[name] = photo[0] if isinstance(photo, tuple) else photo  # the left of a pair
    return {name: photos[name] for name in _PHOTOS}


def split_cells(height: int, width: int, offset: int = 0) -> tuple[list[Cell], list[Cell]]:
    """The disjoint square cells of a photograph, (train, test), each as rows and columns.

    ``GRID_ROWS`` cells lie along the shorter side; what is left over at the far edges is unused.
    Every fifth cell is for testing. They are spread evenly, a knight's move apart, since a
    photograph of a few dozen cells often loses a whole motif to a test set drawn blindly.

    Args:
        height: the photograph's, in pixels.
        width: the photograph's, in pixels.
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


def photos(size: int | None, rng: np.random.Generator) -> Dataset:
    """Cut the patches, of a size in pixels."""
    size = any_size("photos", size, PHOTO_SIZE, 224)
    photographs = _photographs()
    resize = package("scikit-image", "skimage.transform").resize
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
