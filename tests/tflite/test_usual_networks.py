"""Ten networks of keras.applications: cut at random they answer as the whole, and FLOPs agree."""

import random
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from pieces import board_groups, check_pieces, check_strips, random_groups
from usual_networks import NETWORKS, forget, frozen, network

from keras_concurrent.interpreter import quiet
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.strips.rewriting import strips

QUANTISED = ("EfficientNetB0", "MobileNetV2", "MobileNetV3Small", "NASNetMobile")
CASES = [
    *((name, "float32") for name in NETWORKS),
    *((name, "int8") for name in QUANTISED),
    *((name, precision) for name in QUANTISED[1:3] for precision in ("float16", "dynamic")),
]


@pytest.fixture(scope="module", autouse=True)
def freed():
    yield
    forget()


# ---------------------------------------------------------------- bit for bit


@pytest.mark.timeout(180)  # builds and converts a whole network, and runs it cut six times
@pytest.mark.parametrize(("name", "precision"), sorted(CASES))
def test_random_pieces_answer_bit_for_bit_as_the_whole(name, precision):
    file = network(name, precision)
    graph = TaskGraph.from_tflite(file)
    varied = seen = 0
    for seed in range(3 if name.startswith("Mobile") else 1):  # the others take five times as long
        rng = random.Random(f"{name} {precision} {seed}")
        for groups in (
            random_groups(graph, rng, rng.randint(2, 30)),
            board_groups(graph, rng, rng.randint(2, 6)),
        ):
            values = check_pieces(file, groups, seed)
            varied += sum(np.ptp(value.astype(float)) > 0 for value in values.values())
            seen += len(values)
    assert varied > 0.6 * seen  # what was compared was not all zeros


@pytest.mark.parametrize(("name", "precision"), sorted(CASES))
def test_strips_answer_bit_for_bit_as_the_whole(name, precision):
    file = network(name, precision)
    by_rows = strips(file, (1, 1, 1, 1))
    assert len(by_rows.split) > (0 if precision == "dynamic" else 0.5 * len(by_rows.decisions))
    check_strips(file, by_rows)
    uneven = strips(
        file, (3, 1, 0, 2), least_rows=6, least_flops=10**5, exchange_after=range(2, 100, 2)
    )
    assert any(each.axis == "channels" for each in uneven.split) == (name != "VGG16")
    check_strips(file, uneven, threads=2)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "MobileNetV2"])
def test_the_precision_changes_bytes_but_not_tasks(name):
    whole, half, eighth, full = (
        TaskGraph.from_tflite(network(name, precision))
        for precision in ("float32", "float16", "dynamic", "int8")
    )
    for graph in (half, eighth, full):
        assert [task.name.split("_", 1)[1] for task in graph.tasks] == [
            task.name.split("_", 1)[1] for task in whole.tasks
        ]
        assert [task.flops for task in graph.tasks] == [task.flops for task in whole.tasks]
        int8 = [task.flops if graph is full else 0 for task in graph.tasks]
        assert [task.int8_flops for task in graph.tasks] == int8
    # Weights unpacked from float16 are no tasks and no tensors: they do not travel.
    assert sorted(half.tensor_bytes.values()) == sorted(whole.tensor_bytes.values())
    assert sorted(4 * size for size in full.tensor_bytes.values()) == sorted(
        whole.tensor_bytes.values()
    )
    bytes_of = [sum(task.parameter_bytes for task in g.tasks) for g in (whole, half, eighth, full)]
    assert bytes_of[1] == pytest.approx(bytes_of[0] / 2, rel=0.01)
    assert bytes_of[2] == pytest.approx(bytes_of[0] / 4, rel=0.1)
    assert bytes_of[3] == pytest.approx(bytes_of[0] / 4, rel=0.1)


# ---------------------------------------------------------------- FLOPs


def profiled(graph):
    """TensorFlow's own count, by kind of operation."""
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    found = {}

    def add(node):
        found[node.name] = node.total_float_ops - sum(c.total_float_ops for c in node.children)
        for child in node.children:
            add(child)

    with quiet():
        add(tf.compat.v1.profiler.profile(graph, cmd="op", options=options))
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_flops_agree_with_the_profiler_of_tensorflow(name):
    function, normalisation = frozen(name)
    ours, theirs = Counter(), profiled(function.graph)
    for task in TaskGraph.from_tflite(network(name, "float32")).tasks:
        ours[task.name.split("_", 1)[1]] += task.flops
    multiplied = sum(ours[k] for k in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))
    assert multiplied == sum(
        theirs.get(kind, 0) for kind in ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    )
    # The profiled graph has every batch normalisation as steps of its own; in the file they are
    # part of the convolutions, so they are taken off. With them the smallest two miss the 2 %:
    # MobileNetV2 has 97.7 % of the profiler's total, MobileNetV3Small 96.3 %.
    total = sum(theirs.values())
    assert ours.total() == pytest.approx(total - normalisation, rel=0.02)
    small = name in ("MobileNetV2", "MobileNetV3Small")
    assert ours.total() == pytest.approx(total, rel=0.04 if small else 0.02)
