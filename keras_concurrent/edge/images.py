"""What a model is asked: its inputs, read from files, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from keras_concurrent.edge.manifest import Manifest, TensorSpec
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import Array


def check_inputs(manifest: Manifest, images: Array | Mapping[str, Array]) -> dict[str, Array]:
    """A model's inputs by name, each with its batch axis.

    Args:
        manifest: says what the model's inputs are.
        images: one array where the model has one input, otherwise a mapping by name.

    Raises:
        ValueError: other inputs, a wrong shape or dtype.
    """
    names = manifest.inputs
    if not isinstance(images, Mapping):
        if len(names) != 1:
            raise ValueError(f"images must map the inputs {', '.join(names)}, got one array")
        images = {names[0]: images}
    if set(images) != set(names):
        raise ValueError(f"images must have the inputs {', '.join(names)}, got {', '.join(images)}")
    return {name: check_image(name, images[name], manifest.tensors[name]) for name in names}


def check_image(name: str, image: Array, spec: TensorSpec) -> Array:
    """An image with its batch axis, as the model takes it.

    Raises:
        ValueError: a wrong shape or dtype; says what was expected.
    """
    image = np.asarray(image)
    if image.shape == spec.shape[1:]:
        image = image[np.newaxis]
    if image.shape != spec.shape or image.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"input {name!r} must be {spec.dtype} of shape {spec.shape[1:]}, "
            f"got {image.dtype} of shape {image.shape}"
        )
    return np.ascontiguousarray(image)


def read_image(path: Path, spec: TensorSpec) -> Array:
    """An image as a model's input takes it.

    A ``.npy`` file must hold the array itself. Another image file is scaled to the input's size;
    its values are divided by 255 where the input is floating point.

    Args:
        path: the image file.
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
