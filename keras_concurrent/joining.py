"""Keras layers that bring several tensors to one shape, and sum them.

They are public in `keras_concurrent.layers`.
"""

from __future__ import annotations

import keras
from keras import activations, initializers, layers, ops

from keras_concurrent.networks.shapes import PADDINGS, window_side

PACKAGE = "keras_concurrent"


def shapes_of(input_shape):
    """The input shapes as a list of tuples.

    Keras hands ``build`` a list of tuples, a tuple of tuples, after loading a list of lists, and
    for a single tensor one flat sequence.
    """
    if isinstance(input_shape, dict):
        input_shape = list(input_shape.values())
    alone = not isinstance(input_shape[0], (list, tuple))
    shapes = [input_shape] if alone else input_shape
    return [tuple(shape) for shape in shapes]


def tensors_of(inputs):
    """The inputs as a list."""
    if isinstance(inputs, dict):
        inputs = list(inputs.values())
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]


def check_rank(name, shapes):
    """Raise ValueError unless all are of rank 4, with a known number of channels."""
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


def check_positive(**arguments):
    """Raise ValueError unless all are whole numbers of at least 1."""
    for name, value in arguments.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"Argument `{name}` must be a whole number of at least 1. "
                f"Received: {name}={value!r}"
            )


def _check_count(layer, count):
    if count != layer.built_for:
        raise ValueError(
            f"Layer {layer.name!r} was built for {layer.built_for} input(s). Received: {count}"
        )


def _pool_size(size, smallest, index, padding):
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
        side = window_side(have, want, padding)
        if side is None:
            fitting = "a whole multiple of" if padding == "valid" else "one that halves to"
            raise ValueError(
                f"ScalingBlock expects every size to be {fitting} the smallest one. "
                f"Received: input {index} of size {have} on axis {axis + 1} beside {want}"
            )
        window.append(side)
    return tuple(window)


def _smallest(shapes, axis):
    known = [shape[axis] for shape in shapes if shape[axis] is not None]
    return min(known) if known else None


@keras.saving.register_keras_serializable(PACKAGE)
class ScalingBlock(layers.Layer):
    """Brings several inputs to one resolution and one channel count (paper, Fig. 4).

    Every input is max-pooled to the smallest height and width among the inputs; an input with
    fewer channels than the richest one goes through a 1x1 convolution. An input that fits already
    passes through untouched.

    Args:
        padding: ``"valid"`` takes sizes that are whole multiples of the smallest, as the paper's
            block does; ``"same"`` takes those that halvings, rounded up, bring to it, such as 299
            and 75. Defaults to ``"valid"``.
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, each ``(batch, h, w, c)``.

    Returns:
        The scaled tensors in the same order, as a list; each ``(batch, min h, min w, max c)``.

    Raises:
        ValueError: another padding, a rank other than 4, or sizes that no pooling window
            reconciles (7 and 4, unless halved).
    """

    def __init__(self, padding="valid", **kwargs):
        super().__init__(**kwargs)
        if padding not in PADDINGS:
            raise ValueError(
                f"Argument `padding` must be one of {', '.join(PADDINGS)}. "
                f"Received: padding={padding!r}"
            )
        self.padding = padding

    def build(self, input_shape):
        shapes = shapes_of(input_shape)
        check_rank("ScalingBlock", shapes)
        self.built_for = len(shapes)
        smallest = (_smallest(shapes, 1), _smallest(shapes, 2))
        channels = max(shape[-1] for shape in shapes)
        self._pools = []
        self._convolutions = []
        for index, shape in enumerate(shapes):
            window = _pool_size(shape[1:3], smallest, index, self.padding)
            pool = None
            if window != (1, 1):
                pool = layers.MaxPooling2D(
                    window,
                    padding=self.padding,
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
        tensors = tensors_of(inputs)
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
        shapes = shapes_of(input_shape)
        size = (_smallest(shapes, 1), _smallest(shapes, 2))
        channels = max(shape[-1] for shape in shapes)
        return [(shape[0], *size, channels) for shape in shapes]

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


@keras.saving.register_keras_serializable(PACKAGE)
class WeightedSum(layers.Layer):
    """A learnable weighted sum of the sigmoids of its inputs (paper, section III-B).

    ``output = sum_i weight_i * sigmoid(input_i)``, one scalar weight an input. With
    ``activation=None, weight_activation="sigmoid"`` it is that of Xie et al. (ICCV 2019):
    ``sum_i sigmoid(weight_i) * input_i``.

    Args:
        activation: what each input goes through. Defaults to ``"sigmoid"``, which bounds the sum;
            ``None`` suits inputs that are bounded already, such as an image.
        weight_initializer: initializer of the weights. Defaults to ``"ones"``.
        weight_activation: what each weight goes through. Defaults to ``None``.
        **kwargs: the base layer's arguments, such as ``name`` and ``dtype``.

    Call arguments:
        inputs: a tensor, or a list or dict of tensors, all of one shape.

    Returns:
        One tensor of that shape.

    Raises:
        ValueError: inputs of different shapes.
    """

    def __init__(
        self, activation="sigmoid", weight_initializer="ones", weight_activation=None, **kwargs
    ):
        super().__init__(**kwargs)
        self.activation = activations.get(activation)
        self.weight_initializer = initializers.get(weight_initializer)
        self.weight_activation = activations.get(weight_activation)

    def build(self, input_shape):
        shapes = shapes_of(input_shape)
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
        tensors = tensors_of(inputs)
        _check_count(self, len(tensors))
        total = None
        for x, factor in zip(tensors, self.factors, strict=True):
            term = self.activation(x) * ops.cast(self.weight_activation(factor), x.dtype)
            total = term if total is None else total + term
        return total

    def compute_output_shape(self, input_shape):
        shapes = shapes_of(input_shape)
        return shapes[0]

    def get_config(self):
        config = {
            "activation": activations.serialize(self.activation),
            "weight_initializer": initializers.serialize(self.weight_initializer),
            "weight_activation": activations.serialize(self.weight_activation),
        }
        return {**super().get_config(), **config}
