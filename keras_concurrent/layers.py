"""Drop-in Keras layers: the transformation block and its parts (paper, section III-B, Fig. 4).

A concurrent network has one `TransformationBlock` per vertex. It takes the outputs of any number
of other blocks, of any resolution and channel count, and gives one tensor:

1. `ScalingBlock`: max-pools every input down to the smallest resolution among them, then a 1x1
   convolution brings each up to the highest channel count among them;
2. `WeightedSum`: a sigmoid on each input, then a learnable weighted sum. The sigmoid keeps the sum
   bounded however many chains meet;
3. `ConvBlock`: ReLU, a 3x3 convolution (separable, or dense), batch normalisation.

Each part is a layer of its own and works in any Keras model:

    >>> from keras_concurrent.layers import TransformationBlock
    >>> merged = TransformationBlock(64)([high_resolution, low_resolution])

All inputs are channels-last, of rank 4: ``(batch, height, width, channels)``. A resolution must be
a whole multiple of the smallest one, since only then does a pooling window fit. Loading a saved
model needs this module imported first: ``import keras_concurrent.layers``.
"""

from __future__ import annotations

import keras
from keras import activations, initializers, layers, ops

_PACKAGE = "keras_concurrent"


def _shapes(input_shape):
    """The input shapes as a list of tuples, and whether one tensor alone was given.

    Keras hands ``build`` a list of tuples, a tuple of tuples, after loading a list of lists, and
    for a single tensor one flat sequence.
    """
    if isinstance(input_shape, dict):
        input_shape = list(input_shape.values())
    alone = not isinstance(input_shape[0], (list, tuple))
    shapes = [input_shape] if alone else input_shape
    return [tuple(shape) for shape in shapes], alone


def _tensors(inputs):
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def _check_rank(name, shapes):
    for index, shape in enumerate(shapes):
        if len(shape) != 4:
            raise ValueError(
                f"{name} expects inputs of rank 4 (batch, height, width, channels). "
                f"Received: input {index} of shape {shape}"
            )
        if shape[-1] is None:
            raise ValueError(
                f"{name} needs to know the number of channels. "
                f"Received: input {index} of shape {shape}"
            )


def _check_count(layer, count):
    if count != layer.built_for:
        raise ValueError(
            f"Layer {layer.name!r} was built for {layer.built_for} input(s). Received: {count}"
        )


def _pool_size(size, smallest, index):
    """The pooling window that brings ``size`` to ``smallest``; 1 where a size is unknown."""
    window = []
    for axis, (have, want) in enumerate(zip(size, smallest, strict=True)):
        if have is None or want is None:
            if have != want:
                raise ValueError(
                    "ScalingBlock needs the sizes of all inputs, or of none. "
                    f"Received: input {index} of size {size} beside {smallest}"
                )
            window.append(1)
            continue
        if have % want:
            raise ValueError(
                "ScalingBlock expects every size to be a whole multiple of the smallest one. "
                f"Received: input {index} of size {have} on axis {axis + 1} beside {want}"
            )
        window.append(have // want)
    return tuple(window)


def _smallest(shapes, axis):
    known = [shape[axis] for shape in shapes if shape[axis] is not None]
    return min(known) if known else None


@keras.saving.register_keras_serializable(_PACKAGE)
class ScalingBlock(layers.Layer):
    """Brings several inputs to one resolution and one channel count (paper, Fig. 4).

    Every input is max-pooled to the smallest height and width among the inputs; an input with
    fewer channels than the richest one goes through a 1x1 convolution. An input that fits already
    passes through untouched.

    Args:
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, each ``(batch, h, w, c)``.

    Returns:
        The scaled tensors in the same order, as a list; each ``(batch, min h, min w, max c)``.

    Raises:
        ValueError: a rank other than 4, or sizes that no pooling window reconciles (7 and 4).
    """

    def build(self, input_shape):
        shapes, _ = _shapes(input_shape)
        _check_rank("ScalingBlock", shapes)
        self.built_for = len(shapes)
        smallest = (_smallest(shapes, 1), _smallest(shapes, 2))
        channels = max(shape[-1] for shape in shapes)
        self._pools = []
        self._convolutions = []
        for index, shape in enumerate(shapes):
            window = _pool_size(shape[1:3], smallest, index)
            pool = None
            if window != (1, 1):
                pool = layers.MaxPooling2D(
                    window,
                    name=f"pool_{index}",
                    dtype=self.dtype_policy,
                    data_format="channels_last",
                )
            convolution = None
            if shape[-1] < channels:
                convolution = layers.Conv2D(
                    channels,
                    1,
                    name=f"widen_{index}",
                    dtype=self.dtype_policy,
                    data_format="channels_last",
                )
                convolution.build((shape[0], *smallest, shape[-1]))
            self._pools.append(pool)
            self._convolutions.append(convolution)

    def call(self, inputs):
        tensors = _tensors(inputs)
        _check_count(self, len(tensors))
        scaled = []
        for x, pool, convolution in zip(tensors, self._pools, self._convolutions, strict=True):
            if pool is not None:
                x = pool(x)
            if convolution is not None:
                x = convolution(x)
            scaled.append(x)
        return scaled

    def compute_output_shape(self, input_shape):
        shapes, _ = _shapes(input_shape)
        size = (_smallest(shapes, 1), _smallest(shapes, 2))
        channels = max(shape[-1] for shape in shapes)
        return [(shape[0], *size, channels) for shape in shapes]


@keras.saving.register_keras_serializable(_PACKAGE)
class WeightedSum(layers.Layer):
    """A learnable weighted sum of the sigmoids of its inputs (paper, section III-B).

    ``output = sum_i weight_i * sigmoid(input_i)``, one scalar weight an input.

    Args:
        activation: what each input goes through. Defaults to ``"sigmoid"``, which bounds the sum;
            ``None`` suits inputs that are bounded already, such as an image.
        weight_initializer: initializer of the weights. Defaults to ``"ones"``.
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, all of one shape.

    Returns:
        One tensor of that shape.

    Raises:
        ValueError: inputs of different shapes.
    """

    def __init__(self, activation="sigmoid", weight_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.weight_initializer = initializers.get(weight_initializer)

    def build(self, input_shape):
        shapes, _ = _shapes(input_shape)
        for index, shape in enumerate(shapes):
            if shape[1:] != shapes[0][1:]:
                raise ValueError(
                    "WeightedSum expects inputs of one shape. "
                    f"Received: input {index} of shape {shape} beside {shapes[0]}"
                )
        self.built_for = len(shapes)
        # One scalar variable an input, not one vector: each is then a constant of its own in the
        # converted model, and a product can be cut from its neighbours.
        self.factors = [
            self.add_weight(name=f"weight_{i}", shape=(), initializer=self.weight_initializer)
            for i in range(len(shapes))
        ]

    def call(self, inputs):
        tensors = _tensors(inputs)
        _check_count(self, len(tensors))
        total = None
        for x, factor in zip(tensors, self.factors, strict=True):
            term = self.activation(x) * ops.cast(factor, x.dtype)
            total = term if total is None else total + term
        return total

    def compute_output_shape(self, input_shape):
        shapes, _ = _shapes(input_shape)
        return shapes[0]

    def get_config(self):
        config = {
            "activation": activations.serialize(self.activation),
            "weight_initializer": initializers.serialize(self.weight_initializer),
        }
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable(_PACKAGE)
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
        for name, value in (
            ("filters", filters),
            ("strides", strides),
            ("kernel_size", kernel_size),
        ):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"Argument `{name}` must be a whole number of at least 1. "
                    f"Received: {name}={value!r}"
                )
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
        _check_rank("ConvBlock", [tuple(input_shape)])
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


@keras.saving.register_keras_serializable(_PACKAGE)
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
        shapes, _ = _shapes(input_shape)
        self.scaling.build(shapes)
        scaled = self.scaling.compute_output_shape(shapes)
        self.weighted_sum.build(scaled)
        self.conv_block.build(scaled[0])

    def call(self, inputs, training=False):
        scaled = self.scaling(inputs)
        return self.conv_block(self.weighted_sum(scaled), training=training)

    def compute_output_shape(self, input_shape):
        shapes, _ = _shapes(input_shape)
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
