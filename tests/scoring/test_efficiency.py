import dataclasses

import pytest
from costless import costless
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import cluster_of, clusters, graphs, work

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.network import Network
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.schedule import decode, schedule
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.efficiency import efficiency, scheduled_efficiency

MS = 1e-3


def graph_of(tasks, sizes, outputs):
    written = {name: 4 for task in tasks for name in task.outputs}
    return TaskGraph(tuple(tasks), {"image": 4, **written, **sizes}, ("image",), tuple(outputs))


def branches(count, ms=100, **sizes):
    tasks = [work(f"b{i}", ms, "image", f"x{i}") for i in range(count)]
    return graph_of(tasks, sizes, [f"x{i}" for i in range(count)])


def chain(length, ms=10):
    tasks = [work(f"t{i}", ms, f"x{i - 1}" if i else "image", f"x{i}") for i in range(length)]
    return graph_of(tasks, {}, [f"x{length - 1}"])


# ---------------------------------------------------------------- by hand


def test_a_score_redone_by_hand():
    # p1 has the image at 2 and runs a until 12; p2 has it at 3, runs b until 9 and sends y, which
    # is there at 12 (2 on the interface, 1 on the way). c ends at 16, the answer is there at 18.
    graph = graph_of(
        [work("a", 10, "image", "x"), work("b", 6, "image", "y"), work("c", 4, "x y", "z")],
        {"image": 1000, "x": 2000, "y": 2000, "z": 1000},
        ["z"],
    )
    cluster = cluster_of(1.0, 1.0)
    found = efficiency(schedule(graph, cluster), cluster)
    assert found.latency_s == pytest.approx(18 * MS)
    assert found.one_board_latency_s == pytest.approx(24 * MS)  # 2 + 20 + 2
    assert found.free_network_latency_s == pytest.approx(14 * MS)  # a and c
    assert found.work_s == pytest.approx(20 * MS)
    assert found.longest_work_s == pytest.approx(14 * MS)
    assert found.balance == pytest.approx(10 / 14)
    assert found.concurrency == pytest.approx(1.0)  # (20 - 14) / (20 - 14): p1 never waits for p2
    assert found.communication == pytest.approx(14 / 18)
    assert found.speed_up == pytest.approx(24 / 18)
    assert found.efficiency == pytest.approx(24 / 18 - 1)
    # 20 / 14 tasks at once; x and y take 3 each on 20.
    assert found.potential == pytest.approx((20 / 14 - 1) / (1 + 6 / 20))
    assert found.rank == pytest.approx(found.efficiency + 0.05 * found.potential)


def test_boards_of_unequal_rates_count_by_their_rates():
    # 80 ms of work on p2 (8 GFLOP/s) take 10, 10 on p1 take 10: all nine GFLOP/s are used.
    graph = graph_of(
        [work("long", 80, "image", "x"), work("short", 10, "image", "y")], {}, ["x", "y"]
    )
    cluster = cluster_of(1.0, 8.0, mbit=1e6, latency_ms=0.0, message_ms=0.0)
    found = efficiency(schedule(graph, cluster), cluster)
    assert found.speed_up == pytest.approx(90 / 80, rel=1e-4)
    assert found.balance == pytest.approx(1.0)
    assert found.efficiency == pytest.approx(1.0, rel=1e-3)  # (9/8 - 1) / (9/8 - 1)


# ---------------------------------------------------------------- what must hold


@pytest.mark.parametrize("link", ["1gbit", "100mbit"])
def test_a_chain_is_worth_nothing(link):
    found = scheduled_efficiency(chain(12), Cluster.of("pi4", 4, link))
    assert (found.efficiency, found.concurrency, found.potential, found.rank) == (0, 0, 0, 0)
    assert found.speed_up == 1


def test_one_huge_tensor_is_worth_nothing():
    # a feeds two equal tasks, and 1 MB takes a second: both stay where it is.
    graph = graph_of(
        [work("a", 1, "image", "x"), *(work(n, 50, "x", f"{n}x") for n in "bc")],
        {"x": 1_000_000},
        ["bx", "cx"],
    )
    found = scheduled_efficiency(graph, cluster_of(1.0, 1.0))
    assert found.efficiency == 0
    assert 0 < found.potential < 0.1


@pytest.mark.parametrize("graph", [branches(8), chain(3)])
def test_one_board_is_worth_nothing(graph):
    found = scheduled_efficiency(graph, cluster_of(2.0))
    assert (found.efficiency, found.potential, found.rank) == (0, 0, 0)
    assert (found.speed_up, found.balance) == (1, pytest.approx(1))


def test_equal_branches_on_as_many_boards_are_worth_nearly_all():
    found = scheduled_efficiency(branches(8), cluster_of(*[1.0] * 8, mbit=1000.0, latency_ms=0.3))
    assert found.efficiency == pytest.approx(0.99, abs=0.005)
    assert (found.balance, found.concurrency) == (pytest.approx(1), pytest.approx(1))


def test_one_dominant_task_is_worth_about_nothing_though_nobody_waits():
    tasks = [work("long", 1000, "image", "x"), *(work(f"s{i}", 3, "image", f"y{i}") for i in "12")]
    found = scheduled_efficiency(
        graph_of(tasks, {}, ["x", "y1", "y2"]), cluster_of(1.0, 1.0, 1.0, mbit=1000.0)
    )
    assert found.concurrency == pytest.approx(1)
    assert 0 <= found.efficiency < 0.01


def test_of_two_worth_nothing_the_one_with_more_at_once_ranks_higher():
    cluster = cluster_of(1.0, 1.0, 1.0, 1.0, mbit=0.01)
    wide = branches(4, ms=10, image=40_000)
    found = scheduled_efficiency(wide, cluster)
    assert found.efficiency == 0
    assert found.rank == 0.05 * found.potential == pytest.approx(0.05)
    assert scheduled_efficiency(chain(4), cluster).rank == 0


@pytest.mark.parametrize("boards", [1, 3])
def test_no_work_at_all_is_guarded(boards):
    network = Network(1000.0, 0.0)
    cluster = dataclasses.replace(cluster_of(*[1.0] * boards), network=network)
    graph = graph_of([work("a", 0, "image", "x")], {"image": 0, "x": 0}, ["x"])
    found = scheduled_efficiency(graph, cluster)
    assert set(dataclasses.astuple(found)) == {0.0}
    one = graph_of([work("a", 5, "image", "x")], {}, ["x"])
    assert scheduled_efficiency(one, cluster).efficiency == 0


# ---------------------------------------------------------------- any graph, any cluster


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_both_ways_to_the_score_agree(graph, cluster):
    plan = schedule(graph, cluster)
    found, fast = efficiency(plan, cluster), scheduled_efficiency(graph, cluster)
    assert dataclasses.astuple(found) == pytest.approx(dataclasses.astuple(fast), abs=1e-9)
    assert found.latency_s == plan.latency_s
    assert found.work_s == pytest.approx(sum(plan.compute_s.values()))
    assert found.longest_work_s == pytest.approx(max(plan.compute_s.values()))
    alone = [
        schedule(graph, cluster, pins=dict.fromkeys(graph.by_name, board.name)).latency_s
        for board in cluster.boards
    ]
    assert found.one_board_latency_s == min(alone)
    for term in ("efficiency", "balance", "concurrency", "communication", "potential"):
        assert 0 <= getattr(found, term) <= 1
    assert found.speed_up >= 1
    assert found.free_network_latency_s <= found.latency_s * (1 + 1e-9)


@st.composite
def equal_clusters(draw):
    rate, boards = draw(st.sampled_from([0.5, 2.5])), draw(st.integers(1, 5))
    return costless(
        tuple(Board(f"p{i}", rate, f"tcp/127.0.0.1:{7000 + i}", 0.0) for i in range(boards)),
        Network(draw(st.sampled_from([1.0, 100.0])), draw(st.sampled_from([0.0, 2.0]))),
    )


def expected_speed_up(found, boards):
    lost = found.concurrency * (1 - 1 / (boards * found.balance))
    return found.communication / (1 - lost)


@settings(max_examples=150, deadline=None)
@given(graph=graphs(), cluster=equal_clusters(), data=st.data())
def test_on_equal_boards_the_terms_make_the_speed_up(graph, cluster, data):
    """Of any plan, good or bad; one board too needs the image and sends the answer."""
    names = st.sampled_from([board.name for board in cluster.boards])
    plan = decode(graph, cluster, {task.name: data.draw(names) for task in graph.tasks})
    for found in (efficiency(plan, cluster), scheduled_efficiency(graph, cluster)):
        client = found.one_board_latency_s / found.work_s
        expected = client * expected_speed_up(found, len(cluster.boards))
        assert found.speed_up == pytest.approx(expected, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=equal_clusters(), data=st.data())
def test_where_the_client_costs_nothing_the_terms_alone_make_the_speed_up(graph, cluster, data):
    """An image and answers of no bytes, and no latency: only what travels between boards costs."""
    free = dict.fromkeys((*graph.inputs, *graph.outputs), 0)
    graph = dataclasses.replace(graph, tensor_bytes={**graph.tensor_bytes, **free})
    cluster = dataclasses.replace(
        cluster, network=dataclasses.replace(cluster.network, latency_ms=0.0)
    )
    names = st.sampled_from([board.name for board in cluster.boards])
    plan = decode(graph, cluster, {task.name: data.draw(names) for task in graph.tasks})
    found = efficiency(plan, cluster)
    expected = expected_speed_up(found, len(cluster.boards))
    assert found.speed_up == pytest.approx(expected, rel=1e-9)


# ---------------------------------------------------------------- plans of all kinds


def test_a_plan_of_segments_is_compared_with_the_whole_on_one_board():
    recipe = stage(generate("lanes", 30, seed=1), (64, 64, 3), 10, separable=False)
    graph, cluster = TaskGraph.from_architecture(recipe), Cluster.of("pi4", 4)
    plan, alone = plan_segments(graph, cluster), one_board(graph, cluster)
    found = efficiency(plan, cluster, alone)
    assert found.one_board_latency_s == alone.latency_s
    assert found.speed_up == alone.latency_s / plan.latency_s > 1
    assert found.work_s == pytest.approx(sum(plan.compute_s.values()))  # with the calls
    assert efficiency(alone, cluster, alone).efficiency == 0


def test_a_plan_for_other_boards_is_refused():
    plan = schedule(branches(4), Cluster.of("pi4", 4))
    with pytest.raises(ClusterError, match="no board is named 'pi4-1'"):
        efficiency(plan, cluster_of(1.0, 1.0))


def test_a_graph_without_tasks_has_no_score():
    with pytest.raises(ValueError, match="graph must have at least one task, got none"):
        scheduled_efficiency(TaskGraph((), {}, (), ()), cluster_of(1.0))
