"""Sets of images from arrays and from ``tf.data``: shapes, scale and labels brought to one form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_concurrent.datasets.dataset import Dataset
from keras_concurrent.datasets.scaling import Images, Scale, scale_of
from keras_concurrent.datasets.splitting import stratified

TEST_SHARE = 0.2  # of the images of each class, where a source has no test images of its own


def from_arrays(
    train_images: NDArray[Any],
    train_labels: NDArray[Any],
    test_images: NDArray[Any] | None = None,
    test_labels: NDArray[Any] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """A set of images from arrays.

    Args:
        train_images: ``(n, height, width, channels)`` or ``(n, height, width)``, scaled by the rule
            of `keras_concurrent.datasets.scaling`. Bytes are not copied.
        train_labels: ``(n,)`` or ``(n, 1)`` whole numbers from 0, ``(n, classes)`` one-hot, or
            ``(n,)`` names.
        test_images: as ``train_images``; without them a random fifth of each class is held back.
        test_labels: as ``train_labels``.
        class_names: one a class; by default the names among the labels, or their numbers.
        name: of the set, for messages.
        seed: of the split, where there is one.

    Raises:
        ValueError: images or labels of another form, or that contradict each other.
    """
    train_images = pictures(train_images, "train_images")
    if (test_images is None) != (test_labels is None):
        raise ValueError("test_images and test_labels must be given together, got one of them")
    if test_images is None:
        (labels,), names = _numbered([train_labels], class_names)
        _check_count(train_images, labels)
        kept, held = stratified(labels, TEST_SHARE, seed)
        scale = scale_of(train_images)
        parts = [train_images[kept], train_images[held]]
        numbers = [labels[kept], labels[held]]
        split = "A random fifth of each class is kept for the test."
    else:
        parts = [train_images, pictures(test_images, "test_images")]
        scale = scale_of(*parts)
        numbers, names = _numbered([train_labels, test_labels], class_names)
        split = "The test images are the set's own."
    return Dataset(
        name,
        scale.applied(parts[0]),
        numbers[0],
        scale.applied(parts[1]),
        numbers[1],
        names,
        f"{name}: {scale}. {split}",
    )


def from_tf_data(
    train: Any,
    test: Any | None = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "tf.data",
    seed: int = 0,
) -> Dataset:
    """A set of images from a ``tf.data.Dataset`` of ``(image, label)``, batched or not.

    They are read into memory, as bytes where they are of 0..255, one batch after another.

    Args:
        train: finite; such as ``keras.utils.image_dataset_from_directory`` gives, whose
            ``class_names`` are taken.
        test: as ``train``; without it a random fifth of each class is held back.
        class_names: see `from_arrays`.
        name: of the set, for messages.
        seed: of the split, where there is one.

    Raises:
        ValueError: endless or empty, elements of another form, or see `from_arrays`.
    """
    names = class_names or getattr(train, "class_names", None)
    arrays = list(_collected(train, "train", None))
    if test is not None:
        whole = arrays[0].dtype == np.uint8
        scale = Scale(0.0, 255.0 if whole else 1.0, whole, (0.0, 0.0))
        arrays += _collected(test, "test", scale)
    return from_arrays(*arrays, class_names=names, name=name, seed=seed)


def pictures(images: NDArray[Any], what: str) -> NDArray[Any]:
    """Images with their channels' axis.

    Raises:
        ValueError: another number of axes, or none at all.
    """
    images = np.asarray(images)
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.ndim != 4 or not images.size:
        raise ValueError(
            f"{what} must be (n, height, width) or (n, height, width, channels), got "
            f"{images.dtype} {images.shape}"
        )
    return images


def _collected(source: Any, part: str, scale: Scale | None) -> tuple[NDArray[Any], NDArray[Any]]:
    if not hasattr(source, "as_numpy_iterator"):
        raise ValueError(f"{part} must be a tf.data.Dataset, got {type(source).__name__}")
    if int(source.cardinality()) == -1:  # tf.data.INFINITE_CARDINALITY
        raise ValueError(f"{part} must come to an end, got an endless tf.data.Dataset")
    spec = source.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise ValueError(f"{part} must give (image, label), got {spec}")
    batched = _is_batched(*spec)
    images: list[Images] = []
    labels: list[NDArray[Any]] = []
    for image, label in source.as_numpy_iterator():
        image, label = np.asarray(image), np.asarray(label)
        if not batched:
            image, label = image[np.newaxis], label[np.newaxis]
        scale = scale or scale_of(image)
        images.append(scale.applied(image))
        labels.append(label)
    if not images:
        raise ValueError(f"{part} must hold images, got an empty tf.data.Dataset")
    try:
        return np.concatenate(images), np.concatenate(labels)
    except ValueError as error:
        raise ValueError(f"{part} must give images of one shape: {error}") from error


def _is_batched(image: Any, label: Any) -> bool:
    """Whether an element holds many images, by the specification of an element."""
    if image.shape.rank == 4:
        return True
    if image.shape.rank != 3 or label.shape.rank == 0:
        return False
    return bool(image.shape[0] is None or image.shape[0] == label.shape[0])


def _check_count(images: NDArray[Any], labels: NDArray[Any]) -> None:
    if len(images) != len(labels):
        raise ValueError(f"labels must be one an image, got {len(labels)} for {len(images)} images")


def _numbered(
    parts: Sequence[Any], class_names: Sequence[str] | None
) -> tuple[list[NDArray[np.int32]], tuple[str, ...]]:
    """Labels as indices, and the classes' names."""
    arrays = [np.asarray(labels) for labels in parts]
    arrays = [labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
              for labels in arrays]  # fmt: skip
    if all(labels.ndim == 1 and labels.dtype.kind in "US" for labels in arrays):
        texts = [labels.astype(str) for labels in arrays]
        names = tuple(class_names or sorted({str(each) for part in texts for each in part}))
        strange = sorted({str(each) for part in texts for each in part} - set(names))
        if strange:
            raise ValueError(f"labels must be among the class names, got {', '.join(strange)}")
        index = {each: number for number, each in enumerate(names)}
        return [np.array([index[str(each)] for each in part], np.int32) for part in texts], names
    numbers = [_indices(labels) for labels in arrays]
    classes = max(int(part.max()) for part in numbers if part.size) + 1
    widths = [labels.shape[1] for labels in arrays if labels.ndim == 2]
    classes = max([classes, *widths])
    return numbers, tuple(map(str, class_names if class_names is not None else range(classes)))


def _indices(labels: NDArray[Any]) -> NDArray[np.int32]:
    if labels.ndim == 2 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        labels = labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "uif" or not len(labels):
        raise ValueError(
            "labels must be (n,) whole numbers or names, or (n, classes) one-hot, got "
            f"{labels.dtype} {labels.shape}"
        )
    if not np.isfinite(labels).all() or (labels != np.rint(labels)).any() or labels.min() < 0:
        raise ValueError(f"labels must be whole numbers from 0, got {np.unique(labels)[:5]}")
    whole: NDArray[np.int32] = labels.astype(np.int32)
    return whole
