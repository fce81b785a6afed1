"""Drop-in Keras layers: the transformation block and its parts (paper, section III-B, Fig. 4).

A concurrent network has one block per vertex, by default a `TransformationBlock`. It takes the
outputs of any number of other blocks, of any resolution and channel count, and gives one tensor:

1. `ScalingBlock`: max-pools every input down to the smallest resolution among them, then a 1x1
   convolution brings each up to the highest channel count among them;
2. `WeightedSum`: a sigmoid on each input, then a learnable weighted sum. The sigmoid keeps the sum
   bounded however many chains meet;
3. `ConvBlock`: ReLU, a 3x3 convolution (separable, or dense), batch normalisation.

Each part is a layer of its own and works in any Keras model:

    >>> from keras_concurrent.layers import TransformationBlock
    >>> merged = TransformationBlock(64)([high_resolution, low_resolution])

`BranchBlock` takes the same inputs and learns more per FLOP: a sum whose weights are squashed
rather than its inputs, then a short branch of convolutions as usual networks have them.

All inputs are channels-last, of rank 4: ``(batch, height, width, channels)``. A resolution must be
a whole multiple of the smallest one, since only then does a pooling window fit; for a `BranchBlock`
it is enough that it halves to the smallest one, rounded up. Loading a saved
model needs this module imported first: ``import keras_concurrent.layers``.
"""

from __future__ import annotations

import keras
from keras import activations, initializers, layers, ops

from keras_concurrent.branches import BranchBlock
from keras_concurrent.joining import (
    PACKAGE,
    ScalingBlock,
    WeightedSum,
    check_positive,
    check_rank,
    shapes_of,
)

__all__ = ["BranchBlock", "ConvBlock", "ScalingBlock", "TransformationBlock", "WeightedSum"]


@keras.saving.register_keras_serializable(PACKAGE)
class ConvBlock(layers.Layer):
    """ReLU, 3x3 convolution, batch normalisation (paper, section III-B).

    Args:
        filters: number of output channels.
        strides: 1, or 2 to halve the resolution. Defaults to 1.
        kernel_size: side of the convolution window. Defaults to 3.
        separable: depthwise then pointwise convolution, as in the paper; otherwise a dense one,
            which computes more per byte sent. Defaults to ``True``.
        momentum: the batch normalisation's. Keras's own default of 0.99 needs thousands of steps
            to settle; the default here, 0.9, suits small data sets too.
        gamma: what the scale of the batch normalisation starts from.
        beta: what its shift starts from. The next block's sigmoid is nearly a straight line around
            zero, where a normalised tensor lies; with 2 and -2 it starts as a soft ReLU instead,
            which trains better: accuracy 0.92 instead of 0.87 (``python benchmarks/blocks.py``).
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor ``(batch, h, w, c)``.
        training: whether the batch normalisation uses the batch's statistics.

    Returns:
        A tensor ``(batch, ceil(h / strides), ceil(w / strides), filters)``.

    Raises:
        ValueError: ``filters``, ``strides`` or ``kernel_size`` below 1, or a rank other than 4.
    """

    def __init__(
        self,
        filters,
        strides=1,
        kernel_size=3,
        separable=True,
        momentum=0.9,
        gamma=2.0,
        beta=-2.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive(filters=filters, strides=strides, kernel_size=kernel_size)
        self.filters = filters
        self.strides = strides
        self.kernel_size = kernel_size
        self.separable = separable
        self.momentum = momentum
        self.gamma = gamma
        self.beta = beta
        kind = layers.SeparableConv2D if separable else layers.Conv2D
        self.convolution = kind(
            filters,
            kernel_size,
            strides=strides,
            padding="same",
            use_bias=False,
            data_format="channels_last",
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.normalization = layers.BatchNormalization(
            momentum=momentum,
            gamma_initializer=initializers.Constant(gamma),
            beta_initializer=initializers.Constant(beta),
            dtype=self.dtype_policy,
            name="normalization",
        )

    def build(self, input_shape):
        check_rank("ConvBlock", [tuple(input_shape)])
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))

    def call(self, inputs, training=False):
        return self.normalization(self.convolution(ops.relu(inputs)), training=training)

    def compute_output_shape(self, input_shape):
        return self.convolution.compute_output_shape(input_shape)

    def get_config(self):
        config = {
            "filters": self.filters,
            "strides": self.strides,
            "kernel_size": self.kernel_size,
            "separable": self.separable,
            "momentum": self.momentum,
            "gamma": self.gamma,
            "beta": self.beta,
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(PACKAGE)
class TransformationBlock(layers.Layer):
    """One vertex of a concurrent network: any inputs in, one tensor out (paper, Fig. 4).

    `ScalingBlock`, then `WeightedSum`, then `ConvBlock`.

    Args:
        filters: number of output channels.
        strides: 1, or 2 to halve the resolution. Defaults to 1.
        kernel_size: side of the convolution window. Defaults to 3.
        separable: depthwise then pointwise convolution. Defaults to ``True``.
        momentum: the batch normalisation's. Defaults to 0.9.
        gamma: see `ConvBlock`.
        beta: see `ConvBlock`.
        activation: what each input goes through before the weighted sum. Defaults to ``"sigmoid"``.
        weight_initializer: where the weights of the sum begin. Defaults to ``"ones"``.
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, each ``(batch, h, w, c)``.
        training: passed to the batch normalisation.

    Returns:
        A tensor ``(batch, ceil(min h / strides), ceil(min w / strides), filters)``.

    Raises:
        ValueError: as its three parts do.
    """

    def __init__(
        self,
        filters,
        strides=1,
        kernel_size=3,
        separable=True,
        momentum=0.9,
        gamma=2.0,
        beta=-2.0,
        activation="sigmoid",
        weight_initializer="ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.strides = strides
        self.kernel_size = kernel_size
        self.separable = separable
        self.momentum = momentum
        self.gamma = gamma
        self.beta = beta
        self.activation = activations.get(activation)
        self.weight_initializer = initializers.get(weight_initializer)
        self.scaling = ScalingBlock(name="scaling", dtype=self.dtype_policy)
        self.weighted_sum = WeightedSum(
            self.activation, self.weight_initializer, name="weighted_sum", dtype=self.dtype_policy
        )
        self.conv_block = ConvBlock(
            filters,
            strides,
            kernel_size,
            separable,
            momentum,
            gamma,
            beta,
            name="conv_block",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        shapes = shapes_of(input_shape)
        self.scaling.build(shapes)
        scaled = self.scaling.compute_output_shape(shapes)
        self.weighted_sum.build(scaled)
        self.conv_block.build(scaled[0])

    def call(self, inputs, training=False):
        scaled = self.scaling(inputs)
        return self.conv_block(self.weighted_sum(scaled), training=training)

    def compute_output_shape(self, input_shape):
        shapes = shapes_of(input_shape)
        return self.conv_block.compute_output_shape(self.scaling.compute_output_shape(shapes)[0])

    def get_config(self):
        config = {
            "filters": self.filters,
            "strides": self.strides,
            "kernel_size": self.kernel_size,
            "separable": self.separable,
            "momentum": self.momentum,
            "gamma": self.gamma,
            "beta": self.beta,
            "activation": activations.serialize(self.activation),
            "weight_initializer": initializers.serialize(self.weight_initializer),
        }
        return {**super().get_config(), **config}
