"""Sets of images from IDX files, the format of MNIST and of those made after it.

``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same of ``t10k`` lie in one folder,
each as it is or with ``.gz``.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.arrays import from_arrays
from keras_concurrent.datasets.dataset import Dataset

_BYTES = 8  # the code of unsigned bytes, the only type that images come in
_CHUNK_BYTES = 1 << 20
_MOST_AXES = 4

_PARTS = {
    "train-images": "train_images",
    "train-labels": "train_labels",
    "t10k-images": "test_images",
    "t10k-labels": "test_labels",
}  # what files' names begin with


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds IDX files."""
    return any(True for _ in folder.glob("train-images*ubyte*"))


def from_idx(
    folder: Path,
    seed: int = 0,
    *,
    class_names: tuple[str, ...] | None = None,
    name: str | None = None,
) -> Dataset:
    """Read a folder of IDX files; see the module.

    Args:
        folder: the files' own.
        seed: of the split, where there are no files of ``t10k``.
        class_names: one a class; their numbers by default.
        name: of the set; the folder by default.

    Raises:
        ValueError: a file that is missing, damaged or holds something else than bytes.
    """
    found: dict[str, NDArray[np.uint8]] = {}
    for part, argument in _PARTS.items():
        paths = sorted(folder.glob(f"{part}*ubyte*"))
        if paths:
            found[argument] = read_idx(paths[0])
        elif part.startswith("train"):
            raise ValueError(f"{folder} must hold {part}-idx?-ubyte, or the same with .gz")
    return from_arrays(**found, class_names=class_names, name=name or str(folder), seed=seed)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes.

    The file's length is known before memory is taken for more than what it holds.

    Raises:
        ValueError: another format or type, or a file of another length than its head says.
    """
    opening: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opening(path, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or not 1 <= head[3] <= _MOST_AXES:
                raise ValueError(f"{path} must begin as an IDX file, got {head.hex(' ')}")
            if head[2] != _BYTES:
                raise ValueError(f"{path} must hold unsigned bytes (type 8), got type {head[2]}")
            shape = struct.unpack(f">{head[3]}I", file.read(4 * head[3]))
            size = math.prod(shape)
            content = bytearray()
            while len(content) <= size and (part := file.read(_CHUNK_BYTES)):
                content += part
    except (EOFError, gzip.BadGzipFile, struct.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ValueError(f"{path} is damaged: {error}") from error
    if len(content) != size:
        raise ValueError(f"{path} must hold {size:,} bytes of shape {shape}, got {len(content):,}")
    return np.frombuffer(content, np.uint8).reshape(shape)
