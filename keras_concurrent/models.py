"""Architecture -> a Keras model, one `TransformationBlock` or `BranchBlock` a vertex.

`build_model` gives an ordinary Functional model. `ConcurrentModel` is the same as a class, for
those who override ``train_step`` and the like.
"""

from __future__ import annotations

import keras
from keras import layers

from keras_concurrent.layers import BranchBlock, ScalingBlock, TransformationBlock, WeightedSum
from keras_concurrent.networks.architecture import Architecture, Block
from keras_concurrent.networks.convolutions import ends_rectified
from keras_concurrent.networks.generators import SOURCE


def build_model(architecture: Architecture, name: str = "concurrent") -> keras.Model:
    """Build the Keras model of an architecture, with random weights.

    Args:
        architecture: from `keras_concurrent.stage`.
        name: the model's.

    Returns:
        A Functional model: image ``(batch, h, w, c)`` in, class probabilities
        ``(batch, classes)`` out, float32 under any dtype policy.
    """
    return keras.Model(*_ends(architecture), name=name)


@keras.saving.register_keras_serializable("keras_concurrent")
class ConcurrentModel(keras.Model):
    """The network of an architecture, to be subclassed.

    Input and output are those of `build_model`.

    Args:
        architecture: from `keras_concurrent.stage`, or its JSON text.
        **kwargs: the base class's arguments, such as ``name``.

    Attributes:
        architecture: the `Architecture`.
    """

    def __init__(self, architecture: Architecture | str, **kwargs):
        if isinstance(architecture, str):
            architecture = Architecture.from_json(architecture)
        super().__init__(*_ends(architecture), **kwargs)
        self.architecture = architecture

    def get_config(self):
        """The arguments, the architecture as JSON text."""
        return {
            "architecture": self.architecture.to_json(),
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """A model from what `get_config` gave; weights are loaded apart."""
        return cls(**config)


def _ends(architecture: Architecture) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Image and class probabilities, with all layers between them."""
    image = keras.Input(architecture.input_shape, name="image")
    values = {SOURCE: image}
    if architecture.stem_filters:
        x = layers.Conv2D(
            architecture.stem_filters,
            3,
            strides=architecture.stem_strides,
            padding="same",
            use_bias=False,
            name="stem",
        )(image)
        x = layers.BatchNormalization(momentum=0.9, name="stem_normalization")(x)
        values[SOURCE] = layers.ReLU(name="stem_relu")(x)
    for block in architecture.blocks:
        values[block.name] = _vertex(architecture, block)([values[name] for name in block.inputs])
    last = {name: values[name] for name in architecture.outputs}
    # Without the ReLU an average of a convolution would be a linear function of the input.
    rectifies = not ends_rectified(architecture.block)
    if architecture.head == "concat":
        if rectifies:
            last = {name: layers.ReLU(name=f"relu_{name}")(x) for name, x in last.items()}
        pooled = [
            layers.GlobalAveragePooling2D(name=f"average_{name}")(x) for name, x in last.items()
        ]
        x = layers.Concatenate(name="concat")(pooled) if len(pooled) > 1 else pooled[0]
    else:
        x = _merged(architecture, list(last.values()))
        if rectifies and architecture.block != "paper":  # whose sum is one of sigmoids
            x = layers.ReLU(name="sink_relu")(x)
        x = layers.GlobalAveragePooling2D(name="average")(x)
    classes = layers.Dense(
        architecture.classes, activation="softmax", dtype="float32", name="classes"
    )(x)
    return image, classes


def _vertex(architecture: Architecture, block: Block) -> layers.Layer:
    """The layer of a vertex."""
    if architecture.block != "paper":
        return BranchBlock(
            block.filters,
            architecture.block,
            architecture.depth,
            strides=block.strides,
            name=block.name,
        )
    return TransformationBlock(
        block.filters,
        strides=block.strides,
        separable=architecture.separable,
        activation="sigmoid" if architecture.squashes(block) else None,
        name=block.name,
    )


def _merged(architecture: Architecture, last: list[keras.KerasTensor]) -> keras.KerasTensor:
    """The last blocks' outputs as one: what a block does before it convolves."""
    if not architecture.weighs(architecture.outputs):
        return last[0]
    scaled = ScalingBlock(architecture.padding, name="sink_scaling")(last)
    if architecture.block == "paper":
        return WeightedSum(name="sink")(scaled)
    return WeightedSum(activation=None, weight_activation="sigmoid", name="sink")(scaled)
