"""Real images to measure on: ranges and codes on some, accuracy on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_concurrent import datasets
from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.pixels import SCALE

CALIBRATION_IMAGES = 100


@dataclass(frozen=True)
class Samples:
    """Images for a model of one input and one output.

    Args:
        calibration: ``(n, height, width, channels)``, to measure ranges on.
        validation: ``(m, height, width, channels)``, to measure accuracy on; none of
            ``calibration`` among them.
        labels: class of every image of ``validation``; ``None`` where nobody knows.

    Raises:
        ValueError: no image, or labels that do not fit.
    """

    calibration: Array
    validation: Array
    labels: Array | None = None

    def __post_init__(self) -> None:
        if not len(self.calibration) or not len(self.validation):
            raise ValueError(
                "samples must hold images for calibration and for validation, got "
                f"{len(self.calibration)} and {len(self.validation)}"
            )
        if self.labels is not None and len(self.labels) != len(self.validation):
            raise ValueError(
                f"labels must be one an image of validation, got {len(self.labels)} for "
                f"{len(self.validation)}"
            )

    @classmethod
    def load(cls, source: str, shape: Sequence[int]) -> Samples:
        """Read images.

        Args:
            source: a data set of `keras_concurrent.datasets.by_name`, calibrated on images of its
                training part; or an .npz file of ``images`` and, where known, ``labels``,
                calibrated on its first 100 images or half of them.
            shape: height, width and channels of an image, as the model takes it.

        Raises:
            ValueError: no such data set or file, or images of another shape.
        """
        labels: Array | None
        if source in (*datasets.NAMES, *datasets.DOWNLOADED):
            data = datasets.load(source, size=shape[0] if source == "photos" else None)
            chosen = np.random.default_rng(0).permutation(len(data.train_images))
            calibration = data.train_images[chosen[:CALIBRATION_IMAGES]]
            validation, labels = data.test_images, data.test_labels
        else:
            if not Path(source).is_file():
                raise ValueError(
                    f"calibration must be one of {', '.join(datasets.NAMES)} or an .npz file, got "
                    f"{source!r}"
                )
            with np.load(source) as arrays:
                if "images" not in arrays:
                    raise ValueError(f"{source} must hold 'images', got {', '.join(arrays)}")
                images = arrays["images"].astype(np.float32)
                labels = arrays.get("labels")
            count = min(CALIBRATION_IMAGES, len(images) // 2)
            calibration, validation = images[:count], images[count:]
            labels = None if labels is None else labels[count:]
        if calibration.shape[1:] != tuple(shape):
            raise ValueError(
                f"the images of {source} must have the model's shape {tuple(shape)}, got "
                f"{calibration.shape[1:]}"
            )
        return cls(calibration, validation, labels)

    def images(self, file: TfliteFile) -> list[dict[str, Array]]:
        """Those of ``calibration``, one by one, as a model of one input takes them."""
        return [{file.inputs[0]: image[np.newaxis]} for image in _as_taken(file, self.calibration)]

    def answers(self, file: TfliteFile) -> Array:
        """A model's outputs for all images of ``validation``.

        Raises:
            ValueError: a model of several inputs or outputs.
        """
        if len(file.inputs) != 1 or len(file.outputs) != 1:
            raise ValueError(
                "accuracy needs a model of one input and one output, got "
                f"{len(file.inputs)} and {len(file.outputs)}"
            )
        segment = Segment(file.data, name=file.origin)
        images = _as_taken(file, self.validation)
        return np.concatenate([segment.run([image[np.newaxis]])[0] for image in images])

    def accuracy(self, answers: Array, reference: Array) -> float:
        """Share of images whose greatest output is the right class's.

        Args:
            answers: from `answers`.
            reference: the answers whose classes count as right where no labels are known.
        """
        right = reference.argmax(axis=-1) if self.labels is None else self.labels
        return float(np.mean(answers.argmax(axis=-1) == right))


def _as_taken(file: TfliteFile, images: Array) -> Array:
    """The images as a model takes them: as they are, or as bytes.

    Raises:
        ValueError: a model that takes something else.
    """
    taken = file.tensors[file.inputs[0]].dtype
    if taken not in ("float32", "uint8"):
        raise ValueError(f"images suit a model that takes float32 or uint8, got one of {taken}")
    return images if taken == "float32" else np.rint(images / SCALE).astype(np.uint8)
