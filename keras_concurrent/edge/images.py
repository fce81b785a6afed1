"""What a model is asked: its inputs, read from files, checked before anything is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_concurrent.edge.manifest import Manifest, TensorSpec
from keras_concurrent.edge.preprocessing import RANGES, Preprocessing
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import Array

SUFFIXES = (".npy", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files that a folder of images may hold."""
_ABOUT = 0.25  # of a range's width: calibration rarely meets its ends, and never another range


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
    if spec.shape and image.shape == spec.shape[1:]:  # a scalar has no batch axis
        image = image[np.newaxis]
    if image.shape != spec.shape or image.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"input {name!r} must be {spec.dtype} of shape {spec.shape[1:]}, "
            f"got {image.dtype} of shape {image.shape}"
        )
    return np.asarray(image, order="C")  # `ascontiguousarray` makes a vector of a scalar


def settled(preprocessing: Preprocessing, spec: TensorSpec) -> Preprocessing:
    """A preprocessing whose range is known.

    Where nobody said it, it is 0..1. But integers that stand for real values tell themselves which
    these are: the first of `RANGES` that they stand for about. Integers that stand for themselves
    are bytes of 0..255.

    Args:
        preprocessing: what was said of pictures.
        spec: the input.

    Raises:
        ValueError: int8 without a scale; a range, mean or deviation for other integers without.
    """
    if spec.scale is None and np.issubdtype(np.dtype(spec.dtype), np.integer):
        if spec.dtype == "int8":
            raise ValueError(
                "the bundle does not say what values the int8 of the model's input stand for: "
                "export the model anew, or give its integers as .npy"
            )
        if preprocessing.value_range not in (None, "0..255") or not preprocessing.is_plain:
            raise ValueError(
                f"the model takes bytes as they are, in {spec.dtype} without a scale: there is no "
                f"range, mean or deviation to apply, got {preprocessing}"
            )
        return replace(preprocessing, value_range="0..255")
    if preprocessing.value_range is not None:
        return preprocessing
    usual = [replace(preprocessing, value_range=each) for each in RANGES]
    return next((each for each in usual if misfit(each, spec) is None), usual[0])


def misfit(preprocessing: Preprocessing, spec: TensorSpec) -> str | None:
    """Why a picture's values are not those that an input's integers stand for, as a sentence.

    ``None`` where they are about the same, or the input takes no integers with a scale.
    """
    if spec.scale is None or not is_picture(spec):
        return None
    limits = np.iinfo(spec.dtype)
    least, most = (float(each) for each in spec.dequantised(np.array([limits.min, limits.max])))
    low, high = preprocessing.ends
    if max(abs(least - low), abs(most - high)) <= _ABOUT * (high - low):
        return None
    return (
        f"pictures become values of {low:.3g}..{high:.3g}, but the {spec.dtype} of the model's "
        f"input stand for {least:.3g}..{most:.3g}: see --range, --mean and --deviation"
    )


def image_files(paths: Iterable[Path]) -> list[Path]:
    """Files of images, a folder standing for those in it, by name.

    Raises:
        ValueError: a folder without one.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
        if not inside:
            raise ValueError(f"{path} must hold images ({', '.join(SUFFIXES)}), got none")
        found += inside
    return found


def is_picture(spec: TensorSpec) -> bool:
    """Whether an input takes grey or coloured pictures."""
    return len(spec.shape) == 4 and spec.shape[3] in (1, 3)


def read_image(path: Path, spec: TensorSpec, preprocessing: Preprocessing | None = None) -> Array:
    """An image as a model's input takes it.

    A ``.npy`` file must hold the array itself. Another image file is brought to the input's size,
    its bytes become values, and these integers where the input takes such.

    Args:
        path: the image file.
        spec: shape ``(1, h, w, c)``, dtype and scale of the input.
        preprocessing: how pictures become values; by default see `settled`.

    Raises:
        ValueError: the file holds no image, the input is none, or see `settled`.
    """
    if path.suffix == ".npy":
        try:
            loaded: Array = np.load(path, allow_pickle=False)
        except (EOFError, ValueError) as error:
            raise ValueError(f"{path} must hold one array of numbers: {error}") from error
        return loaded
    return read_picture(path, str(path), spec, preprocessing)


def read_picture(
    source: Path | BinaryIO,
    name: str,
    spec: TensorSpec,
    preprocessing: Preprocessing | None = None,
    formats: tuple[str, ...] | None = None,
) -> Array:
    """A picture as a model's input takes it; see `read_image`.

    Args:
        source: the picture's file.
        name: what it is called in errors.
        spec: shape ``(1, h, w, c)``, dtype and scale of the input.
        preprocessing: how pictures become values; by default see `settled`.
        formats: those that are read, by Pillow's names; ``None`` for all that it knows.

    Raises:
        ValueError: it is no picture, or so large that reading it may be an attack; the input is
            none, or see `settled`.
    """
    if not is_picture(spec):
        raise ValueError(f"the model takes no picture but an array of shape {spec.shape}: use .npy")
    preprocessing = settled(preprocessing or Preprocessing(), spec)
    with opened_picture(source, name, formats) as opened:
        return picture_values(opened, spec, preprocessing)


def picture_values(picture: Any, spec: TensorSpec, preprocessing: Preprocessing) -> Array:
    """A picture as an input takes it.

    Args:
        picture: a ``PIL.Image.Image``.
        spec: shape ``(1, h, w, c)``, dtype and scale of the input, see `is_picture`.
        preprocessing: how pictures become values, see `settled`.
    """
    pixels = _fitted(picture, spec.shape[1:], preprocessing.resize)
    values = preprocessing.applied(pixels[np.newaxis])
    if spec.scale is not None:
        return spec.quantised(values)
    if np.issubdtype(np.dtype(spec.dtype), np.integer):
        values = np.rint(values)
    return values.astype(spec.dtype)


def picture_pixels(
    source: Path | BinaryIO,
    shape: Sequence[int],
    resize: str = "stretch",
    name: str | None = None,
    formats: tuple[str, ...] | None = None,
) -> Array:
    """A picture's bytes, brought to a shape.

    Training reads its pictures by this same function, so that a network is asked what it learnt.

    Args:
        source: the picture's file.
        shape: height, width and channels, 1 or 3.
        resize: see `keras_concurrent.edge.preprocessing.Preprocessing`.
        name: what it is called in errors; by default its path.
        formats: those that are read, by Pillow's names; ``None`` for all that it knows.

    Raises:
        ValueError: no picture, a damaged one, or one so large that reading it may be an attack.
        MissingExtraError: Pillow is not installed.
    """
    with opened_picture(source, name, formats) as opened:
        return _fitted(opened, shape, resize)


def _fitted(picture: Any, shape: Sequence[int], resize: str) -> Array:
    """A picture's bytes at height, width and channels."""
    from PIL import ImageOps

    height, width, channels = shape
    picture = picture.convert("L" if channels == 1 else "RGB")
    size = (width, height)
    picture = ImageOps.fit(picture, size) if resize == "crop" else picture.resize(size)
    return np.asarray(picture).reshape(height, width, channels)


@contextlib.contextmanager
def opened_picture(
    source: Path | BinaryIO, name: str | None = None, formats: tuple[str, ...] | None = None
) -> Iterator[Any]:
    """A picture's file as Pillow opens it; arguments and errors as of `picture_pixels`."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingExtraError("Pillow", "report") from error
    name = str(source) if name is None else name
    try:
        with Image.open(source, formats=formats) as opened:
            yield opened
    except UnidentifiedImageError:
        read = "that Pillow reads" if formats is None else f"of {' or '.join(formats)}"
        raise ValueError(f"{name} is not an image {read}") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} is too large: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the file system's word, not Pillow's
            raise
        raise ValueError(f"{name} is a damaged image: {error}") from error
