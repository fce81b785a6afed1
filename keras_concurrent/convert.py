"""Keras model -> one .tflite with a static batch of one, checked against Keras."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_concurrent.errors import ConversionError
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.tflite_file import TfliteFile


def to_tflite(model: keras.Model, *, tolerance: float = 1e-4, seed: int = 0) -> bytes:
    """Convert a Keras model to a float32 .tflite and check that both answer alike.

    The batch is fixed at one: a board recognises one image at a time, and an open batch is several
    times slower on older interpreters. Inputs and outputs keep their Keras names.

    Args:
        model: a Functional model (or any with known ``inputs``), its input sizes all known.
        tolerance: largest allowed absolute difference between an output and Keras's, relative to
            the largest absolute value of that output where that exceeds 1.
        seed: of the random images used for the comparison.

    Returns:
        The file's bytes.

    Raises:
        ValueError: an input whose size is not known.
        ConversionError: the converter refuses the model, or the answers differ.
    """
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"model must have inputs of known size, got {tensor.name!r} of shape {tensor.shape}"
            )
    names = [tensor.name for tensor in model.inputs]
    signature = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name=f"input_{i}")
        for i, tensor in enumerate(model.inputs)
    ]

    @tf.function(input_signature=signature)
    def infer(*images):
        return keras.tree.flatten(model(keras.tree.pack_sequence_as(model.input, images)))

    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()])
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
    _check(model, content, names, tolerance, seed)
    return content


def _position(name):
    """``"input_12"`` -> 12: the converter may give inputs in another order."""
    return int(name.rsplit("_", 1)[1])


def _check(model, content, names, tolerance, seed):
    rng = np.random.default_rng(seed)
    images = {
        tensor.name: rng.random((1, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    }
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
