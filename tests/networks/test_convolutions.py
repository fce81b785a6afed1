"""What the usual blocks compute: by hand, and against the operations that Keras traces."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from keras_concurrent.models import build_model
from keras_concurrent.networks.architecture import HEADS, Architecture, Block
from keras_concurrent.networks.convolutions import BLOCKS, BRANCHES
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage

# Weights of normalisations (4 a filter), kernels, and FLOPs of one vertex that reads 9x7x3, has
# 5 filters and strides 2, so that it writes 5x4x5.
ONE = {
    "plain": (4 * 5 + 27 * 5, 2 * 20 * 5 * 27),
    "residual": (8 * 5 + 27 * 5 + 3 * 5, 2 * 20 * 5 * 27 + 2 * 20 * 5 * 3 + 20 * 5),
    "separable": (4 * 3 + 4 * 5 + 27 + 3 * 5, 2 * 20 * 3 * 9 + 2 * 20 * 5 * 3),
    "inverted": (
        8 * 18 + 4 * 5 + 3 * 18 + 9 * 18 + 18 * 5,
        2 * 63 * 18 * 3 + 2 * 20 * 18 * 9 + 2 * 20 * 5 * 18,
    ),
}


@pytest.mark.parametrize("block", BRANCHES)
def test_one_vertex_by_hand(block):
    network = Architecture((9, 7, 3), 2, (Block("vertex_0", ("source",), 5, 2),), block=block)
    parameters, flops = ONE[block]
    assert network.shapes["vertex_0"] == (5, 4, 5)
    assert network.parameters == parameters + (5 + 1) * 2
    assert network.block_flops == {"vertex_0": flops}
    assert network.receptive_field == 3


def test_a_second_convolution_has_the_first_ones_filters_and_strides_where_the_vertex_does():
    def of(strides):
        blocks = (Block("vertex_0", ("source",), 5, strides),)
        return Architecture((9, 7, 3), 2, blocks, block="plain", depth=3)

    first, later = 2 * 5 * 27, 2 * 5 * 45  # a position
    assert of(1).block_flops["vertex_0"] == 63 * (first + 2 * later)
    assert of(2).block_flops["vertex_0"] == 20 * (first + 2 * later)
    assert of(4).block_flops["vertex_0"] == 20 * first + 6 * 2 * later
    assert of(8).block_flops["vertex_0"] == 20 * first + 6 * later + 2 * later
    assert [of(2**k).receptive_field for k in range(4)] == [7, 3 + 4 + 4, 3 + 4 + 8, 3 + 4 + 8]


def test_a_sum_of_a_narrow_and_a_wide_tensor_by_hand():
    blocks = (
        Block("vertex_0", ("source",), 4, 2),
        Block("vertex_1", ("source",), 6, 1),
        Block("vertex_2", ("vertex_0", "vertex_1"), 8, 1),
    )
    network = Architecture((9, 9, 3), 10, blocks, block="plain")
    work = network.block_work["vertex_2"]
    # vertex_0 is widened from 4 to 6, its weight in the 1x1 convolution; vertex_1 is pooled from
    # 9x9 to 5x5 by 2x2 and gets its weight; one addition; the convolution.
    front = 2 * 25 * 6 * 4 + 4 * 25 * 6 + 25 * 6 + 25 * 6
    assert work.flops == front + 2 * 25 * 8 * 54
    assert work.operators == 5
    assert network.parameters == sum(
        (27 * 4 + 4 * 4, 27 * 6 + 4 * 6, (4 + 1) * 6 + 2 + 54 * 8 + 4 * 8, 9 * 10)
    )


def part_of_a_convolution(tensor):
    """Whether the converter makes a factor of a tensor part of the convolution that gives it."""
    before = tensor.op.type == "BiasAdd"  # a 1x1 convolution that widens
    normalized = tensor.op.type == "AddV2" and "normalization" in tensor.op.name
    return before or (normalized and len(tensor.consumers()) == 1)


def traced_flops(model):
    """FLOPs of a model's answer by the operations of its graph, batch normalisations left out."""
    shape = (1, *model.input_shape[1:])
    answer = tf.function(lambda x: model(x, training=False), autograph=False)
    graph = answer.get_concrete_function(tf.TensorSpec(shape)).graph
    total, pooled = 0, set()
    for operation in graph.get_operations():
        if not operation.outputs or "normalization" in operation.name:
            continue
        out = math.prod(operation.outputs[0].shape)
        rank = len(operation.outputs[0].shape)
        reads = operation.inputs
        if operation.type == "Conv2D":
            total += 2 * out * math.prod(reads[1].shape[:3])
        elif operation.type == "DepthwiseConv2dNative":
            total += 2 * out * math.prod(reads[1].shape[:2])
        elif operation.type == "MatMul":
            total += 2 * out * reads[1].shape[0]
        elif operation.type == "Mean":
            total += math.prod(reads[0].shape)
        elif operation.type == "MaxPool":
            window = tuple(operation.get_attr("ksize"))
            if (reads[0].name, window) not in pooled:  # one for all who read it
                pooled.add((reads[0].name, window))
                total += out * math.prod(window)
        elif operation.type == "Softmax" or (operation.type == "AddV2" and rank == 4):
            total += out
        elif operation.type == "Mul" and rank == 4:
            total += 0 if part_of_a_convolution(reads[0]) else out
    return total


@st.composite
def architectures(draw):
    """Small networks of the usual blocks, on images of any size."""
    block = draw(st.sampled_from(BRANCHES))
    stem = draw(st.sampled_from([None, 4]))
    graph = generate(
        draw(st.sampled_from(["DP", "WS", "lanes", "ER"])),
        draw(st.integers(8, 10)),
        seed=draw(st.integers(0, 999)),
    )
    return stage(
        graph,
        (draw(st.integers(5, 40)), draw(st.integers(5, 40)), draw(st.integers(1, 3))),
        draw(st.integers(2, 5)),
        staging=draw(st.sampled_from(["uniform", "greedy", "probabilistic", "balanced"])),
        filters=draw(st.integers(1, 4)),
        channel_cap=draw(st.integers(4, 12)),
        growth=draw(st.sampled_from([1.0, 1.5, 2.0])),
        seed=draw(st.integers(0, 999)),
        stem_filters=stem,
        stem_strides=draw(st.sampled_from([1, 2])) if stem else 1,
        head=draw(st.sampled_from(HEADS)),
        block=block,
        depth=draw(st.integers(1, 3)),
    )


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink a network takes minutes
)  # fmt: skip
@given(architectures())
def test_shapes_weights_and_flops_are_those_of_the_keras_model(network):
    model = build_model(network)
    assert model.count_params() == network.parameters
    for block in network.blocks:
        assert model.get_layer(block.name).output.shape == (None, *network.shapes[block.name])
    assert sum(task.flops for task in network.network_tasks().tasks) == traced_flops(model)
    assert Architecture.from_json(network.to_json()) == network


@pytest.mark.parametrize("block", BLOCKS)
def test_as_many_pixels_matter_as_the_receptive_field_says(block):
    depth = 1 if block == "paper" else 2
    graph = generate("chain", 2, seed=0)
    network = stage(
        graph, (96, 4, 1), 2, staging="greedy", filters=2, block=block, depth=depth,
        stem_filters=2, stem_strides=2, separable=False,
    )  # fmt: skip
    model = build_model(network)
    for weight in model.weights:
        if "moving" not in weight.path:
            weight.assign(np.abs(weight.numpy()) + 0.1)
    seen = tf.keras.Model(model.input, model.get_layer("vertex_1").output)
    images = np.full((97, 96, 4, 1), 0.1, np.float32)
    for row in range(96):
        images[row + 1, row] = 0.2
    middle = np.asarray(seen(images))[:, network.shapes["vertex_1"][0] // 2]
    changed = np.abs(middle[1:] - middle[0]).max((1, 2)) > 0
    assert np.ptp(np.flatnonzero(changed)) + 1 == network.receptive_field
