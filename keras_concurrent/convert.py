"""Keras model -> one .tflite with a static batch of one, checked against Keras."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_concurrent.errors import ConversionError
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.precision import PRECISIONS, TOLERANCES
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.loadable import reason_not_to_load


def to_tflite(
    model: keras.Model,
    *,
    precision: str = "float32",
    images: np.ndarray | None = None,
    tolerance: float | None = None,
    seed: int = 0,
) -> bytes:
    """Convert a Keras model to a .tflite and check that both answer alike.

    The batch is fixed at one: a board recognises one image at a time, and an open batch is several
    times slower on older interpreters. Inputs and outputs keep their Keras names.

    Args:
        model: any whose inputs are known, with their sizes: a Functional one; a Sequential one that
            starts with an Input or was built; a subclassed one of a single input that was called.
        precision: ``"float32"``; ``"float16"``: weights in 2 bytes; ``"dynamic"``: weights in 1
            byte, tensors float32; ``"int8"``: weights and tensors in 1 byte, but for inputs and
            outputs, which stay float32.
        images: ``(n, h, w, c)``, to calibrate int8 and to compare; needed for int8. By default
            random ones are compared.
        tolerance: largest allowed absolute difference between an output and Keras's, relative to
            the largest absolute value of that output where that exceeds 1. By default that of
            the precision, see `keras_concurrent.precision`.
        seed: draws the random images used for the comparison.

    Returns:
        The file's bytes.

    Raises:
        TypeError: a model whose inputs are not known.
        ValueError: an input whose size is not known, an unknown precision, or no images for int8.
        ConversionError: the converter refuses the model, XNNPACK cannot run what it made, or
            the answers differ.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "int8" and images is None:
        raise ValueError("precision 'int8' needs images to calibrate on, got none")
    model = _functional(model)
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"model must have inputs of known size, got {tensor.name!r} of shape "
                f"{tensor.shape}: say it with --input-shape (input_shapes), such as 1x224x224x3"
            )
    names = [tensor.name for tensor in model.inputs]
    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=f"input_{i}")
        for i, tensor in enumerate(model.inputs)
    ]

    @tf.function(input_signature=signature)
    def infer(*images):
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, images)))

    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()])
        _set_precision(converter, precision, images)
        try:
            content = converter.convert()
        except Exception as error:  # the converter raises many kinds; all mean the same to a caller
            raise ConversionError(f"model {model.name!r} cannot be converted: {error}") from error
    file = TfliteFile(content, f"the conversion of {model.name!r}")
    content = file.renamed(
        {
            **dict(zip(sorted(file.inputs, key=_position), names, strict=True)),
            **dict(zip(file.outputs, model.output_names, strict=True)),
        }
    )
    reason = reason_not_to_load(file)
    if reason is not None:
        raise ConversionError(f"model {model.name!r} cannot run as {precision}: {reason}")
    tolerance = TOLERANCES[precision] if tolerance is None else tolerance
    _check(model, content, names, tolerance, seed, images)
    return content


def with_input_shapes(model, shapes):
    """A model whose inputs have sizes that it leaves open; its layers stay the same objects.

    Args:
        model: as for `to_tflite`.
        shapes: with a batch of one, by the inputs' names; an only input's may be called ``""``.

    Raises:
        ValueError: shapes of inputs that there are not, or that do not suit them.
    """
    model = _functional(model)
    known = {tensor.name: tensor for tensor in model.inputs}
    if "" in shapes and len(known) == 1:
        shapes = {next(iter(known)) if name == "" else name: each for name, each in shapes.items()}
    fixed = {}
    for name, shape in shapes.items():
        if name not in known:
            raise ValueError(
                f"input_shapes must be of the inputs {', '.join(known)} of {model.name!r}, got "
                f"{name!r}"
            )
        own = known[name].shape
        pairs = zip(own[1:], shape[1:], strict=False)
        if len(shape) != len(own) or shape[0] != 1 or any(a not in (None, b) for a, b in pairs):
            raise ValueError(
                f"the input {name!r} of {model.name!r} must have a shape of {(1, *own[1:])}, got "
                f"{tuple(shape)}"
            )
        fixed[name] = keras.Input(tuple(shape[1:]), dtype=known[name].dtype, name=name)
    inputs = [
        fixed.get(tensor.name)
        or keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=tensor.name)
        for tensor in model.inputs
    ]
    outputs = model(keras.tree.pack_sequence_as(model.input, inputs))
    named = keras.Model(inputs, outputs, name=model.name)
    named.output_names = model.output_names
    return named


def _functional(model):
    """The model as one that tells its inputs and outputs; its layers stay the same objects."""
    if isinstance(model, keras.Sequential):
        if model.built:
            return keras.Model(model.inputs, model.outputs, name=model.name)
        remedy = "let it start with a keras.Input, or build it with the shape of its input"
    elif hasattr(model, "inputs"):
        return model
    else:
        shape = (model.get_build_config() or {}).get("input_shape")
        if isinstance(shape, tuple):  # a list is that of several inputs
            image = keras.Input(shape[1:])
            return keras.Model(image, model(image), name=model.name)
        remedy = "give keras.Model(x, model(x)), with x a keras.Input"
    raise TypeError(
        f"model must be one whose inputs are known, got the {type(model).__name__} "
        f"{model.name!r}: {remedy}"
    )


def _set_precision(converter, precision, images):
    if precision == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # With a scale a channel, tflite-runtime 2.14 does not load a dense layer's int8 weights.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]


def _position(name):
    """``"input_12"`` -> 12: the converter may give inputs in another order."""
    return int(name.rsplit("_", 1)[1])


def _check(model, content, names, tolerance, seed, given):
    rng = np.random.default_rng(seed)
    images = {
        tensor.name: rng.random((1, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    }
    if given is not None:
        images[names[0]] = given[:1].astype(model.inputs[0].dtype)
    segment = Segment(content, name=f"the conversion of {model.name!r}")
    got = segment.run([images[name] for name in segment.input_names])
    packed = keras.tree.pack_sequence_as(model.input, [images[name] for name in names])
    expected = keras.tree.flatten(model(packed, training=False))
    for name, ours, theirs in zip(model.output_names, got, expected, strict=True):
        theirs = np.asarray(theirs)
        difference = np.max(np.abs(ours - theirs)) / max(1.0, np.max(np.abs(theirs)))
        if not difference <= tolerance:  # NaN must fail too
            raise ConversionError(
                f"the converted model {model.name!r} differs from Keras at output {name!r}: "
                f"expected at most {tolerance:g}, got {difference:g}"
            )
