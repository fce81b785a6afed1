"""Real images to measure on: ranges and codes on some, accuracy on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keras_concurrent import datasets
from keras_concurrent.datasets.archives import read_npz
from keras_concurrent.datasets.arrays import pictures
from keras_concurrent.datasets.idx import is_idx_folder
from keras_concurrent.datasets.scaling import scale_of, values_of
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.pixels import SCALE

CALIBRATION_IMAGES = 100


@dataclass(frozen=True)
class Samples:
    """Images for a model of one input and one output.

    Args:
        calibration: ``(n, height, width, channels)`` as the model takes them, to measure ranges on.
        validation: ``(m, height, width, channels)``, to measure accuracy on; none of
            ``calibration`` among them. As the model takes them, or bytes, which ``preprocessing``
            makes of them one by one.
        labels: class of every image of ``validation``; ``None`` where nobody knows.
        preprocessing: how bytes become what the model takes; by default values of 0..1.

    Raises:
        ValueError: no image, or labels that do not fit.
    """

    calibration: Array
    validation: Array
    labels: Array | None = None
    preprocessing: Preprocessing | None = None

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
    def load(
        cls, source: str, shape: Sequence[int], preprocessing: Preprocessing | None = None
    ) -> Samples:
        """Read images, scale them by the rule of `keras_concurrent.datasets`, and prepare them.

        Args:
            source: a name or a path for `keras_concurrent.datasets.load`, calibrated on 100 images
                of its training part, validated on its test part; or an .npz file of
                ``train_images`` alone, calibrated on 100 of them or half, validated on the others.
            shape: height, width and channels of an image, as the model takes it.
            preprocessing: how a picture becomes what the model takes; by default values of 0..1.

        Raises:
            ValueError: no such data set or file, or images of another shape.
        """
        labels: Array | None = None
        unlabelled = _unlabelled(Path(source))
        if unlabelled is not None:
            order = np.random.default_rng(0).permutation(len(unlabelled))
            count = min(CALIBRATION_IMAGES, len(unlabelled) // 2)
            calibration, validation = unlabelled[order[:count]], unlabelled[order[count:]]
        else:
            data = datasets.load(source, _size(source, shape), resize=_resize(preprocessing))
            chosen = np.random.default_rng(0).permutation(len(data.train_images))
            calibration = data.train_images[chosen[:CALIBRATION_IMAGES]]
            validation, labels = data.test_images, data.test_labels
        if calibration.shape[1:] != tuple(shape):
            raise ValueError(
                f"the images of {source} must have the model's shape {tuple(shape)}, got "
                f"{calibration.shape[1:]}"
            )
        if validation.dtype != np.uint8:
            validation = _prepared(validation, preprocessing)
        return cls(_prepared(calibration, preprocessing), validation, labels, preprocessing)

    def images(self, file: TfliteFile) -> list[dict[str, Array]]:
        """Those of ``calibration``, one by one, as a model of one input takes them."""
        return [{file.inputs[0]: self._taken(file, image)} for image in self.calibration]

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
        images = (self._taken(file, image) for image in self.validation)
        return np.concatenate([segment.run([image])[0] for image in images])

    def _taken(self, file: TfliteFile, image: Array) -> Array:
        """One image with its batch axis as a model takes it: as it is, or as bytes.

        Raises:
            ValueError: a model that takes something else.
        """
        taken = file.tensors[file.inputs[0]].dtype
        if taken not in ("float32", "uint8"):
            raise ValueError(f"images suit a model that takes float32 or uint8, got one of {taken}")
        values = _prepared(image, self.preprocessing) if image.dtype == np.uint8 else image
        values = values[np.newaxis]
        return values if taken == "float32" else np.rint(values / SCALE).astype(np.uint8)

    def accuracy(self, answers: Array, reference: Array) -> float:
        """Share of images whose greatest output is the right class's.

        Args:
            answers: from `answers`.
            reference: the answers whose classes count as right where no labels are known.
        """
        right = reference.argmax(axis=-1) if self.labels is None else self.labels
        return float(np.mean(answers.argmax(axis=-1) == right))


def _prepared(images: Array, preprocessing: Preprocessing | None) -> Array:
    """Bytes or values of 0..1 as float32 that the model takes."""
    values = values_of(images)
    said = preprocessing or Preprocessing()
    if said.value_range in (None, "0..1") and said.is_plain:
        return values
    return said.applied(values * np.float32(255)).astype(np.float32)


def _unlabelled(path: Path) -> Array | None:
    """The images of an .npz file that knows no labels."""
    if path.suffix != ".npz" or not path.is_file():
        return None
    arrays = read_npz(path)
    if set(arrays) != {"train_images"}:
        return None
    images = pictures(arrays["train_images"], "train_images")
    return scale_of(images).applied(images)


def _size(source: str, shape: Sequence[int]) -> int | tuple[int, ...] | None:
    """The size to ask a source for, where it has any."""
    if source == "photos":
        return int(shape[0])
    return tuple(shape) if Path(source).is_dir() and not is_idx_folder(Path(source)) else None


def _resize(preprocessing: Preprocessing | None) -> str:
    return "stretch" if preprocessing is None else preprocessing.resize
