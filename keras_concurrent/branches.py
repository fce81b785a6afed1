"""A vertex that is a short branch of usual blocks, as a Keras layer.

It is public in `keras_concurrent.layers`; `keras_concurrent.networks.convolutions` says of what
convolutions each block is made.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from keras_concurrent.joining import (
    PACKAGE,
    ScalingBlock,
    WeightedSum,
    check_positive,
    check_rank,
    shapes_of,
)
from keras_concurrent.networks.convolutions import BRANCHES, units_of


@keras.saving.register_keras_serializable(PACKAGE)
class BranchBlock(layers.Layer):
    """One vertex of a concurrent network: any inputs in, usual convolutions, one tensor out.

    Several inputs are brought to one shape by a `ScalingBlock` and summed, each times the sigmoid
    of a learnable weight (Xie et al., ICCV 2019); one alone is taken as it is. Then come ``depth``
    convolutions, each with its batch normalisation:

    - ``"plain"``: 3x3, ReLU;
    - ``"residual"``: the same, with a shortcut over all of them before the last ReLU (ResNet);
    - ``"separable"``: 3x3 depthwise, ReLU, 1x1, ReLU (MobileNetV1);
    - ``"inverted"``: 1x1 to 6 times the channels, ReLU, 3x3 depthwise, ReLU, 1x1, and a shortcut
      where the shape stays (MobileNetV2).

    Args:
        filters: number of output channels.
        block: which of these. Defaults to ``"plain"``.
        depth: how many, a depthwise and its 1x1 convolutions together counting as one. Defaults to
            1.
        strides: 1, or a power of two up to ``2 ** depth``: each of the first convolutions halves
            the resolution, rounded up, until that is reached. Defaults to 1.
        momentum: the batch normalisations'. Defaults to 0.9, see `ConvBlock`.
        weight_initializer: where the weights of the sum begin. Defaults to ``"ones"``.
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, each ``(batch, h, w, c)``; their sizes
            halve, rounded up, to the smallest.
        training: whether the batch normalisations use the batch's statistics.

    Returns:
        A tensor ``(batch, ceil(min h / strides), ceil(min w / strides), filters)``.

    Raises:
        ValueError: an unknown block, a number out of range, a rank other than 4, or sizes that no
            pooling window reconciles.
    """

    def __init__(
        self,
        filters,
        block="plain",
        depth=1,
        strides=1,
        momentum=0.9,
        weight_initializer="ones",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive(filters=filters, depth=depth, strides=strides)
        if block not in BRANCHES:
            raise ValueError(
                f"Argument `block` must be one of {', '.join(BRANCHES)}. Received: block={block!r}"
            )
        if strides not in [2**halvings for halvings in range(depth + 1)]:
            raise ValueError(
                "Argument `strides` must be a power of two of at most 2 ** depth. "
                f"Received: strides={strides!r} with depth={depth!r}"
            )
        self.filters = filters
        self.block = block
        self.depth = depth
        self.strides = strides
        self.momentum = momentum
        self.scaling = ScalingBlock("same", name="scaling", dtype=self.dtype_policy)
        self.weighted_sum = WeightedSum(
            None, weight_initializer, "sigmoid", name="weighted_sum", dtype=self.dtype_policy
        )

    def build(self, input_shape):
        shapes = shapes_of(input_shape)
        check_rank("BranchBlock", shapes)
        self.scaling.build(shapes)
        scaled = self.scaling.compute_output_shape(shapes)
        if len(shapes) > 1:
            self.weighted_sum.build(scaled)
        self._units = units_of(
            self.block, scaled[0][-1], self.filters, self.strides, self.depth, separable=True
        )
        self._convolutions = []
        self._normalizations = []
        shape = scaled[0]
        for unit in self._units:
            read = shape
            for convolution in unit.all_convolutions:
                shape = self._add(convolution, read if convolution is unit.projection else shape)

    def _add(self, convolution, shape):
        """Make the layers of a convolution that reads a shape; gives the shape that it writes."""
        number = len(self._convolutions)
        how = {
            "strides": convolution.strides,
            "padding": "same",
            "use_bias": False,
            "data_format": "channels_last",
            "dtype": self.dtype_policy,
        }
        if convolution.depthwise:
            layer = layers.DepthwiseConv2D(convolution.kernel, name=f"depthwise_{number}", **how)
        else:
            layer = layers.Conv2D(
                convolution.filters, convolution.kernel, name=f"convolution_{number}", **how
            )
        normalization = layers.BatchNormalization(
            momentum=self.momentum, name=f"normalization_{number}", dtype=self.dtype_policy
        )
        layer.build(shape)
        shape = layer.compute_output_shape(shape)
        normalization.build(shape)
        self._convolutions.append(layer)
        self._normalizations.append(normalization)
        return shape

    def call(self, inputs, training=False):
        scaled = self.scaling(inputs)
        x = self.weighted_sum(scaled) if len(scaled) > 1 else scaled[0]
        made = iter(zip(self._convolutions, self._normalizations, strict=True))
        for unit in self._units:
            read = x
            for step in unit.convolutions:
                convolution, normalization = next(made)
                x = normalization(convolution(x), training=training)
                x = ops.relu(x) if step.rectified else x
            if unit.projection:
                convolution, normalization = next(made)
                read = normalization(convolution(read), training=training)
            if unit.shortcut:
                x = x + read
            x = ops.relu(x) if unit.rectified else x
        return x

    def compute_output_shape(self, input_shape):
        scaled = self.scaling.compute_output_shape(shapes_of(input_shape))[0]
        size = (None if side is None else -(-side // self.strides) for side in scaled[1:3])
        return (scaled[0], *size, self.filters)

    def get_config(self):
        config = {
            "filters": self.filters,
            "block": self.block,
            "depth": self.depth,
            "strides": self.strides,
            "momentum": self.momentum,
            "weight_initializer": self.weighted_sum.get_config()["weight_initializer"],
        }
        return {**super().get_config(), **config}
