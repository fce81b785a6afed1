"""Architecture -> an ordinary Functional Keras model, one `TransformationBlock` a vertex."""

from __future__ import annotations

import keras
from keras import layers

from keras_concurrent.architecture import Architecture
from keras_concurrent.generators import SOURCE
from keras_concurrent.layers import ScalingBlock, TransformationBlock, WeightedSum


def build_model(architecture: Architecture, name: str = "concurrent") -> keras.Model:
    """Build the Keras model of an architecture, with random weights.

    Args:
        architecture: from `keras_concurrent.stage`.
        name: of the model.

    Returns:
        A Functional model: image ``(batch, h, w, c)`` in, class probabilities
        ``(batch, classes)`` out, float32 under any dtype policy.
    """
    image = keras.Input(architecture.input_shape, name="image")
    values = {SOURCE: image}
    if architecture.stem_filters:
        x = layers.Conv2D(
            architecture.stem_filters, 3, padding="same", use_bias=False, name="stem"
        )(image)
        x = layers.BatchNormalization(momentum=0.9, name="stem_normalization")(x)
        values[SOURCE] = layers.ReLU(name="stem_relu")(x)
    for block in architecture.blocks:
        values[block.name] = TransformationBlock(
            block.filters,
            strides=block.strides,
            separable=architecture.separable,
            activation="sigmoid" if architecture.squashes(block) else None,
            name=block.name,
        )([values[name] for name in block.inputs])
    last = [values[name] for name in architecture.outputs]
    if architecture.head == "concat":
        # Without the ReLU an average of a convolution would be a linear function of the input.
        pooled = [
            layers.GlobalAveragePooling2D(name=f"average_{name}")(
                layers.ReLU(name=f"relu_{name}")(values[name])
            )
            for name in architecture.outputs
        ]
        x = layers.Concatenate(name="concat")(pooled) if len(pooled) > 1 else pooled[0]
    else:
        x = WeightedSum(name="sink")(ScalingBlock(name="sink_scaling")(last))
        x = layers.GlobalAveragePooling2D(name="average")(x)
    classes = layers.Dense(
        architecture.classes, activation="softmax", dtype="float32", name="classes"
    )(x)
    return keras.Model(image, classes, name=name)
