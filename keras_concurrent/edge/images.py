"""What a model is asked: its inputs, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keras_concurrent.edge.manifest import Manifest, TensorSpec
from keras_concurrent.interpreter import Array


def check_inputs(manifest: Manifest, images: Array | Mapping[str, Array]) -> dict[str, Array]:
    """A model's inputs by name, each with its batch axis.

    Args:
        manifest: of the bundle.
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
