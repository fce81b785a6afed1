"""Files of a few operators, so that everything about them can be redone by hand."""

import functools
import itertools
import warnings

import numpy as np
import tensorflow as tf

from keras_concurrent.interpreter import quiet
from keras_concurrent.tflite.file import TfliteFile


def converted(function, *shapes):
    """A function of float32 tensors as a .tflite."""
    signature = [tf.TensorSpec(shape, name=f"x{i}") for i, shape in enumerate(shapes)]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    with quiet():
        content = tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()
    return TfliteFile(content, "a small file")


@functools.cache
def colours_file(dtype="float32", low=0.0, high=1.0, size=8):
    """Which of red, green and blue a picture has most of, by the means of its channels.

    Args:
        dtype: of its input ``(1, size, size, 3)`` and output ``(1, 3)``; ``"int8"`` and
            ``"uint8"`` compute in int8 throughout.
        low: what stands for black in the pictures that it takes.
        high: what stands for white.
        size: of a side.
    """

    def function(image):
        means = tf.reduce_mean((image - low) / (high - low), axis=(1, 2))
        return tf.nn.softmax(tf.matmul(means, 6.0 * tf.eye(3) - 2.0))

    shape = (1, size, size, 3)
    signature = [tf.TensorSpec(shape, name="image")]
    concrete = tf.function(function, input_signature=signature).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    if dtype != "float32":
        rng = np.random.default_rng(0)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.float32(rng.uniform(low, high, (1, 1, 1, 3)) * np.ones(shape))]
            for _ in range(50)  # of one colour each: their means have the ends of the range
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(dtype)
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        return TfliteFile(converter.convert(), f"the colours in {dtype}")


@functools.cache
def sums_file(tensors, sums):
    """Sigmoids of the inputs, and sums of them, each multiplied by a weight of its own.

    Args:
        tensors: how many inputs, each of shape (1, 4).
        sums: for every sum the numbers of its tensors; weights are 1.5, 2.5, 3.5, ... in order.
            Their signs alternate, the last of a sum is positive: so parts of a sum are below zero
            where the sum is not.

    Returns:
        The file; an output is a sum's ReLU.
    """

    def function(*inputs):
        squashed = [tf.sigmoid(x) for x in inputs]
        weights = itertools.count(1.5)
        results = []
        for numbers in sums:
            total = None
            for left, number in zip(range(len(numbers))[::-1], numbers, strict=True):
                term = squashed[number] * (next(weights) * (-1) ** left)
                total = term if total is None else total + term
            results.append(tf.nn.relu(total) * 0.125)
        return results

    return converted(function, *[(1, 4)] * tensors)


def operators(file, kind):
    """The operators of a kind, in running order."""
    return [operator for operator in file.operators if operator.kind == kind]


def on_boards(file, board_of):
    """Homes of all operators, by a function of the operator."""
    return {o.index: board_of(o) for o in file.operators if not o.constant}


def homes_of(file, board_of_tensor, board_of_sum):
    """Homes of a `sums_file`: each sigmoid on a board by its input, each sum by its output."""
    homes, sum_of = {}, {}
    for o in reversed(file.operators):
        if o.kind == "LOGISTIC":
            homes[o.index] = board_of_tensor[o.inputs[0]]
        else:
            mine = file.outputs.index(o.outputs[0]) if o.outputs[0] in file.outputs else None
            mine = sum_of.get(o.outputs[0]) if mine is None else mine
            homes[o.index] = board_of_sum[mine]
            sum_of.update(dict.fromkeys(o.inputs, mine))
    return homes
