"""A whole network as tasks: against the converter's own operators, and by hand."""

import math

import numpy as np
import pytest

from keras_concurrent.convert import to_tflite
from keras_concurrent.models import build_model
from keras_concurrent.networks.architecture import Architecture, Block
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.tflite.file import TfliteFile


def amounts(graph):
    """FLOPs, bytes of tensors and weights, operators, bytes of weights of all tasks together."""
    return tuple(
        sum(getattr(task, name) for task in graph.tasks)
        for name in ("flops", "touched_bytes", "operator_count", "parameter_bytes")
    )


def file_of(network):
    """The network's conversion, its sums' weights such that the converter keeps them."""
    model = build_model(network)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "weight_" in weight.path:
            weight.assign(rng.uniform(0.5, 1.5))
    return TfliteFile(to_tflite(model))


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("BA", {"separable": True, "wiring": {"m": 5}}),
        ("WS", {"separable": False, "wiring": {}}),
        ("ER", {"separable": True, "wiring": {"p": 0.2}, "stem_filters": 8}),
        ("DP", {"separable": True, "wiring": {}, "head": "merge"}),
        ("chain", {"separable": False, "wiring": {}}),
        ("lanes", {"block": "plain", "depth": 2, "wiring": {}, "staging": "balanced"}),
        ("WS", {"block": "residual", "depth": 2, "wiring": {}, "head": "merge"}),
        ("DP", {"block": "separable", "wiring": {}, "stem_filters": 8, "stem_strides": 2}),
        ("BA", {"block": "inverted", "wiring": {"m": 2}, "head": "merge"}),
    ],
)
def test_all_tasks_come_to_what_the_converter_makes(kind, how):
    how = dict(how)
    graph = generate(kind, 12, seed=3, **how.pop("wiring"))
    shape = (35, 29, 3) if "block" in how else (32, 32, 3)  # the others take odd sizes
    network = stage(graph, shape, 10, filters=8, channel_cap=32, seed=3, **how)
    predicted, file = network.network_tasks(), file_of(network).tasks()
    assert amounts(predicted) == amounts(file)
    assert predicted.tensor_bytes[predicted.inputs[0]] == file.tensor_bytes[file.inputs[0]]
    assert predicted.tensor_bytes[predicted.outputs[0]] == file.tensor_bytes[file.outputs[0]]


def test_one_block_by_hand():
    network = Architecture((4, 4, 3), 2, (Block("vertex_0", ("source",), 5, 1),))
    block, classes = network.network_tasks().tasks
    # The product with its weight, the depthwise and the pointwise convolution, the average.
    assert block.flops == 48 + 2 * 48 * 9 + 2 * 80 * 3 + 80
    assert block.parameter_bytes == 4 * (1 + (9 + 1) * 3 + (3 + 1) * 5 + 2)
    assert block.operator_count == 4
    assert block.inputs == ("source",)
    # Dense layer without its bias, which is zero, and softmax.
    assert (classes.flops, classes.operator_count) == (2 * 5 * 2 + 2, 2)
    assert classes.touched_bytes == 4 * (5 + 5 * 2 + 2 + 2 + 2)
    assert network.network_tasks().tensor_bytes == {
        "source": 4 * 48, "vertex_0": 4 * 5, "classes": 4 * 2,
    }  # fmt: skip


def test_a_long_sum_is_begun_where_its_first_terms_are():
    first = [Block(f"vertex_{i}", ("source",), 4, 1) for i in range(5)]
    last = Block("vertex_5", tuple(block.name for block in first), 4, 1)
    graph = Architecture((8, 8, 3), 2, (*first, last)).network_tasks()
    assert graph.by_name["vertex_5+1"].inputs == ("vertex_0", "vertex_1")
    assert graph.by_name["vertex_5+2"].inputs == ("vertex_5+1", "vertex_2")
    assert graph.by_name["vertex_5"].inputs == ("vertex_5+3", "vertex_4")
    assert graph.tensor_bytes["vertex_5+3"] == 4 * math.prod((8, 8, 4))
    # Two squashings, two products and a sum; then one of each.
    assert graph.by_name["vertex_5+1"].operator_count == 5
    assert graph.by_name["vertex_5+2"].operator_count == 3


def test_what_several_vertices_read_is_pooled_and_squashed_once():
    blocks = (
        Block("vertex_0", ("source",), 4, 1),
        Block("vertex_1", ("vertex_0",), 4, 2),
        Block("vertex_2", ("vertex_0", "vertex_1"), 4, 1),
        Block("vertex_3", ("vertex_0", "vertex_1"), 4, 1),
    )
    graph = Architecture((8, 8, 3), 2, blocks).network_tasks()
    once = graph.by_name["vertex_0/2x2 squashed"]
    assert once.operator_count == 2
    assert graph.tensor_bytes["vertex_0/2x2 squashed"] == 4 * 4 * 4 * 4
    for reader in ("vertex_2", "vertex_3"):
        assert graph.by_name[reader].inputs == ("vertex_0/2x2 squashed", "vertex_1/1x1 squashed")
