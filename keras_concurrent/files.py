"""Reading images and writing files whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np

from keras_concurrent.edge.manifest import TensorSpec
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import Array


def write_beside(path: Path, content: bytes) -> None:
    """Write a file beside its place, then rename, so that a half-written one never shows.

    It is on the disk before it is renamed, so that a power cut leaves the old one or the new.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Have a folder's renames on the disk, where the system can tell."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_image(path: Path, spec: TensorSpec) -> Array:
    """An image as a model's input takes it.

    A ``.npy`` file must hold the array itself. Another image file is scaled to the input's size;
    its values are divided by 255 where the input is floating point.

    Args:
        path: of the image.
        spec: shape ``(1, h, w, c)`` and dtype of the input.

    Raises:
        ValueError: the file holds no image, or the input is none.
    """
    if path.suffix == ".npy":
        try:
            loaded: Array = np.load(path, allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"{path} must hold one array of numbers: {error}") from error
        return loaded
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("Pillow", "report") from error
    if len(spec.shape) != 4 or spec.shape[3] not in (1, 3):
        raise ValueError(f"the model takes no picture but an array of shape {spec.shape}: use .npy")
    try:
        with Image.open(path) as opened:
            picture = opened.convert("L" if spec.shape[3] == 1 else "RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow reads") from None
    except OSError as error:
        if error.errno is not None:  # the file system's word, not Pillow's
            raise
        raise ValueError(f"{path} is a damaged image: {error}") from error
    pixels = np.asarray(picture.resize((spec.shape[2], spec.shape[1]))).reshape(spec.shape)
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        return (pixels / 255.0).astype(spec.dtype)
    return pixels.astype(spec.dtype)
