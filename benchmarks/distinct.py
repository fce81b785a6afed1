"""A network that answers each image otherwise, so that a mixed-up answer can be seen.

Untrained, a network of these gives every image the same answer: its normalisations have seen no
image, and what is left of one is too faint for the last softmax. Whoever compares answers there
finds none wrong, whatever the boards do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import keras
import numpy as np

from keras_concurrent import (
    Bundle,
    Cluster,
    TfliteFile,
    build_model,
    export_bundle,
    generate,
    stage,
    to_tflite,
)
from keras_concurrent.edge.client.flights import Outputs
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import Array

IMAGES = 20


def distinct_bundle(cluster: Cluster, folder: Path, pixels: int = 32) -> Bundle:
    """A small network whose answers tell its images apart, cut for the boards."""
    keras.utils.set_random_seed(1)
    architecture = stage(generate("lanes", 16, seed=1), (pixels, pixels, 3), 10, filters=16, seed=1)
    model = build_model(architecture)
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "weight_" in weight.path:  # of the sums: a one is folded away, below 0 a ReLU is dead
            weight.assign(rng.uniform(0.5, 1.5))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics become those of the images that follow
    model(rng.random((IMAGES, pixels, pixels, 3), np.float32), training=True)
    return export_bundle(TfliteFile(to_tflite(model)), cluster, folder)


@dataclass(frozen=True)
class References:
    """Images, and for each the answer that it must get: no other image's.

    Args:
        images: the model's input, each with its batch axis of one.
        answers: the uncut model's, by output name, in the images' order.

    Raises:
        BundleError: two images have the same answer.
    """

    images: tuple[Array, ...]
    answers: tuple[Outputs, ...]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.answers):
            raise BundleError(f"{len(self.images)} images have {len(self.answers)} answers")
        for one, other in combinations(range(len(self.answers)), 2):
            if self.fits(one, self.answers[other]):
                raise BundleError(
                    f"images {one} and {other} must have different answers, or a mixed-up one "
                    "cannot be seen"
                )

    @classmethod
    def of(cls, bundle: Bundle) -> References:
        """Random images for a bundle, and the uncut model's answers."""
        images = random_images(bundle, IMAGES)
        return cls(tuple(images), tuple(reference(bundle, images)))

    def fits(self, index: int, answer: Outputs) -> bool:
        """Whether an answer is an image's, bit for bit and with all its outputs."""
        expected = self.answers[index]
        return answer.keys() == expected.keys() and all(
            np.array_equal(answer[name], expected[name]) for name in expected
        )
