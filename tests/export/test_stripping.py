"""Strips chosen for boards, exported, and computed on them."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from drawn_networks import Network
from in_process import running, slow_boards
from pieces import image_for

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.errors import ClusterError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.export.planned import as_measured, plan_either
from keras_concurrent.export.stripping import StripPlanner, Way
from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.effort import LISTS_ALONE
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph


@pytest.fixture(scope="module")
def chain():
    """A chain of convolutions, which no board can share but inside a layer."""
    network = Network()
    x = network.convolution(network.image(24, 24, 3), 16)
    for _ in range(3):
        x = network.convolution(x, 16, act=1)
    network.dense(network.mean(x, keep=False), 10)
    return network.file()


def either(file, cluster, wanted="auto"):
    graph = TaskGraph.from_tflite(file)
    return plan_either(
        file, graph, cluster, wanted, LISTS_ALONE, lambda: plan_segments(graph, cluster)
    )


# ---------------------------------------------------------------- on boards


def test_boards_answer_in_strips_bit_for_bit_as_the_whole(chain, tmp_path):
    cluster = slow_boards(3)
    found = StripPlanner(chain, cluster, (3,)).plan()
    assert found.way.count == 3
    assert set(found.plan.boards) == {"pi3-1", "pi3-2", "pi3-3"}
    bundle = export_bundle(
        chain,
        cluster,
        tmp_path / "bundle",
        plan=found.plan,
        rewritten=found.strips.file,
        bands=found.strips.bands,
    )
    assert Manifest.from_json(bundle.manifest.to_json()) == bundle.manifest
    bands = bundle.manifest.bands
    # Each board gets its 8 rows of the image and those that windows reach over, and no more.
    assert [each.input for each in bands.values()] == [chain.inputs[0]] * len(bands)
    assert all(8 < band.end - band.first < 24 for band in bands.values())
    sent = {(s.tensor, s.receiver) for s in bundle.placement("boards").client_sends}
    assert {tensor for tensor, _ in sent} == set(bands)
    with running(bundle) as (client, _, _):
        for seed in range(3):
            (image,) = image_for(chain, seed).values()
            (answer,) = Segment(chain.data).run([image])
            np.testing.assert_array_equal(client.infer(image)[chain.outputs[0]], answer)


def test_the_others_take_over_the_strips_of_a_board_that_leaves(chain, tmp_path):
    """They are sent its rows of the image, which the client cuts for whoever computes them."""
    found = StripPlanner(chain, slow_boards(3), (3,)).plan()
    bundle = export_bundle(
        chain,
        slow_boards(3),
        tmp_path / "bundle",
        plan=found.plan,
        rewritten=found.strips.file,
        bands=found.strips.bands,
    )
    (image,) = image_for(chain).values()
    (answer,) = Segment(chain.data).run([image])
    with running(bundle) as (client, exchange, _):
        exchange.leave("pi3-2")
        deadline = time.monotonic() + 20
        while client.absent != ("pi3-2",) and time.monotonic() < deadline:
            client.infer(image)
        np.testing.assert_array_equal(client.infer(image)[chain.outputs[0]], answer)


# ---------------------------------------------------------------- the choice


def test_a_chain_of_layers_gains_from_strips_and_from_nothing_else(chain):
    cluster = slow_boards(3)
    whole, split = either(chain, cluster, "none"), either(chain, cluster)
    assert whole.strips is None
    assert whole.plan.latency_s / split.plan.latency_s > 2.5  # of three boards
    assert split.file is split.strips.strips.file
    assert split.bound_s < split.plan.latency_s


def test_strips_that_gain_nothing_are_left(chain):
    cluster = Cluster.of("pi4", 3, "100mbit")
    planned = either(chain, cluster)
    assert planned.strips is None
    assert planned.plan == plan_segments(TaskGraph.from_tflite(chain), cluster)
    forced = either(chain, cluster, 2)
    assert forced.strips.way.count == 2
    assert forced.plan.latency_s > planned.plan.latency_s


def test_no_single_change_of_the_chosen_way_is_better_by_more_than_calls_are(chain):
    planner = StripPlanner(chain, slow_boards(3), (2, 3), LISTS_ALONE)
    found = planner.plan()
    calls_s = len(found.plan.graph.tasks) * slow_boards(3).boards[0].call_s
    for settings in (
        {"count": 2}, {"count": 3}, {"least_flops": math.inf}, {"least_flops": 5e6},
        {"least_flops": 1e6}, *({"messages": weight} for weight in (0, 0.5, 1, 2)),
        *({"edge": times} for times in (1, 1.2, 1.4)),
    ):  # fmt: skip
        other = planner.tried(replace(found.way, **settings))
        assert found.plan.latency_s <= other.plan.latency_s + calls_s


def test_strips_are_as_tall_as_their_boards_are_fast(chain):
    boards = slow_boards(3).boards
    uneven = replace(
        slow_boards(3), boards=(boards[0], boards[1].faster(2), boards[2])
    )  # 6, 12 and 6 of 24 rows, the fastest board's first
    tried = StripPlanner(chain, uneven, (3,), LISTS_ALONE).tried(Way(3))
    tensors = tried.strips.file.tensors
    rows = {
        tried.strips.strip_of[o.index]: tensors[o.outputs[0]].shape[1]
        for o in tried.strips.file.operators
        if o.kind == "CONV_2D"
    }
    assert rows == {0: 12, 1: 6, 2: 6}
    homes = {t.name: tried.plan.assignment[t.name] for t in tried.plan.graph.tasks}
    assert set(homes.values()) == {"pi3-1", "pi3-2", "pi3-3"}


def test_strips_at_the_edge_may_be_taller_for_they_have_one_neighbour(chain):
    """1.4, 1 and 1.4 of 3.8 in 24 rows end at 8.8, 15.2 and 24."""
    tried = StripPlanner(chain, slow_boards(3), (3,), LISTS_ALONE).tried(Way(3, edge=1.4))
    file = tried.strips.file
    last = [o for o in file.operators if o.kind == "CONV_2D"][-3:]
    assert [file.tensors[o.outputs[0]].shape[1] for o in last] == [9, 6, 9]


def test_a_model_too_large_for_one_board_runs_in_parts_of_its_layers():
    network = Network()
    network.dense(network.dense(network.mean(network.image(8, 8, 16), keep=False), 512), 4096)
    file = network.file()
    small = replace(
        slow_boards(3),
        boards=tuple(
            replace(b, memory_mb=file.parameter_bytes / 2e6) for b in slow_boards(3).boards
        ),
    )
    with pytest.raises(ClusterError, match="memory"):
        either(file, small, "none")
    # Layers this small count for nothing by FLOPs: both are split by channels from 1 MFLOP on.
    planned = either(file, small)
    assert planned.strips.way.least_flops == 1e6
    assert max(planned.plan.memory_bytes.values()) < file.parameter_bytes / 2


def test_boards_count_as_fast_as_they_were_measured(chain):
    cluster = slow_boards(2)
    graph = TaskGraph.from_tflite(chain)
    assert as_measured(chain, graph, cluster) is cluster
    by_rates = one_board(graph, cluster).latency_s
    seconds = {task.name: 3 * graph.seconds_on(task, cluster.boards[0]) for task in graph.tasks}
    measured = graph.timed(seconds, cluster.boards[0].flops_per_s)
    slower = as_measured(chain, measured, cluster)
    assert one_board(graph, slower).latency_s == pytest.approx(3 * by_rates, rel=1e-6)
    assert one_board(measured, cluster).latency_s == pytest.approx(3 * by_rates, rel=1e-6)


@pytest.mark.parametrize("counts", [(), (1,), (2, 4)])
def test_more_strips_than_boards_are_refused(chain, counts):
    with pytest.raises(ValueError, match="strips must be 2 to as many as there are boards, 3"):
        StripPlanner(chain, slow_boards(3), counts)


def test_a_model_that_cannot_be_split_says_why():
    network = Network()
    network.dense(network.image(8), 4)
    file = network.file()
    with pytest.raises(ValueError, match="strips must be none for a drawn network: no operator"):
        either(file, slow_boards(3), 2)


def test_a_sentence_says_what_was_split_and_what_was_not(chain):
    found = StripPlanner(chain, slow_boards(3), (2,), LISTS_ALONE).tried(Way(2))
    assert found.sentence == (
        "2 strips: of 6 operators 4 by rows. Whole: 1 FULLY_CONNECTED: its output is no image; "
        "1 MEAN: its output is no image."
    )
