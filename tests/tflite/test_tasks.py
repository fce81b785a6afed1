"""A .tflite as tasks: what they cost, against the architecture's arithmetic and by hand."""

import numpy as np
import pytest
from small_files import converted

from keras_concurrent.board import MOBILENET
from keras_concurrent.convert import to_tflite
from keras_concurrent.models import build_model
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.tflite.file import TfliteFile


def amounts(tasks):
    """FLOPs, bytes of tensors and weights, operators."""
    return (
        sum(task.flops for task in tasks),
        sum(task.touched_bytes for task in tasks),
        sum(task.operator_count for task in tasks),
    )


def test_an_operator_touches_what_it_reads_and_writes():
    import tensorflow as tf

    weights = tf.constant(np.random.default_rng(0).normal(size=(8, 4)), tf.float32)
    file = converted(lambda x: tf.sigmoid(tf.matmul(x, weights)), (1, 8))
    dense, sigmoid = file.tasks().tasks
    # 8 read, 8 x 4 weights and 4 biases if the converter adds them, 4 written; then 4 and 4.
    assert dense.touched_bytes - dense.parameter_bytes == 4 * (8 + 4)
    assert dense.parameter_bytes in (4 * 8 * 4, 4 * (8 * 4 + 4))
    assert sigmoid.touched_bytes == 4 * (4 + 4)
    assert dense.operator_count == sigmoid.operator_count == 1


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("DP", {"separable": True}),
        ("WS", {"separable": False}),
        ("lanes", {"separable": True}),
        ("WS", {"block": "plain", "depth": 2}),
        ("DP", {"block": "residual", "depth": 2}),
        ("ER", {"block": "separable", "depth": 2}),
        ("lanes", {"block": "inverted"}),
    ],
)
def test_an_architecture_knows_what_the_converter_makes_of_its_blocks(kind, how):
    network = stage(
        generate(kind, 12, seed=3), (32, 32, 3), 10, filters=8, channel_cap=32, seed=3, **how
    )
    model = build_model(network)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "weight_" in weight.path:  # else the converter folds them away
            weight.assign(rng.uniform(0.5, 1.5))
    tasks = [t for t in TfliteFile(to_tflite(model)).tasks().tasks if t.vertices]
    flops, touched, operators = amounts(tasks)
    expected_flops, expected_touched, expected_operators = amounts(network.tasks().tasks)
    assert (flops, operators) == (expected_flops, expected_operators)
    # But for the weights of the sums, a number each.
    assert (
        expected_touched
        <= touched
        <= expected_touched + 4 * sum(len(block.inputs) for block in network.blocks)
    )


def test_machines_are_compared_by_mobilenet_as_it_is_converted():
    import keras

    model = keras.applications.MobileNet(weights=None, input_shape=(224, 224, 3))
    assert amounts(TfliteFile(to_tflite(model)).tasks().tasks) == MOBILENET
