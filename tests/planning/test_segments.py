import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import (
    BY_HAND,
    HEAVY,
    ON,
    check_replay,
    check_valid,
    cluster_of,
    clusters,
    graphs,
    with_memory,
    work,
)  # fmt: skip

from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.schedule import decode, fits, schedule
from keras_concurrent.planning.segments import merge_segments, one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph

MS = 1e-3


def check_grouping(plan, graph):
    """Every task is in one segment, and the segments can run: their quotient has no cycle."""
    assert plan.graph.flops == graph.flops
    assert set(plan.graph.outputs) == set(graph.outputs)
    written = {tensor: task.name for task in plan.graph.tasks for tensor in task.outputs}
    done = set()
    waiting = {
        task.name: {written[t] for t in task.inputs if t in written} for task in plan.graph.tasks
    }
    while waiting:
        free = [name for name, before in waiting.items() if before <= done]
        assert free, f"these segments wait for each other: {sorted(waiting)}"
        for name in free:
            done.add(name)
            del waiting[name]


def test_one_board_redone_by_hand():
    # Image there at 3; 12 ms of work at 2 GFLOP/s and one call of 1 ms: 10; answers of 500 and
    # 1,000 bytes leave one after the other: 11.5, there at 12.5.
    plan = one_board(BY_HAND, cluster_of(1.0, 2.0, call_ms=1.0))
    assert [(s.board, s.task) for s in plan.slots] == [("p2", "a")]
    assert plan.slots[0].start_s == pytest.approx(3 * MS)
    assert plan.slots[0].end_s == pytest.approx(10 * MS)
    assert plan.latency_s == pytest.approx(12.5 * MS)
    assert plan.graph.tasks[0].flops == BY_HAND.flops
    assert plan.graph.tasks[0].outputs == ("first", "second")


CHAIN = TaskGraph(
    (work("a", 2, "image", "x"), work("b", 2, "x", "y"), work("c", 2, "y", "answer")),
    {"image": 1000, "x": 1000, "y": 1000, "answer": 1000},
    ("image",),
    ("answer",),
)


def test_neighbours_are_merged_to_save_calls():
    cluster = cluster_of(1.0, call_ms=3.0)
    alone = {task.name: "p1" for task in CHAIN.tasks}
    # Image at 2, three calls and 6 ms of work, 2 ms for the answer: 19; merged, one call: 13.
    apart = decode(CHAIN, cluster, alone)
    assert apart.latency_s == pytest.approx(19 * MS)
    merged = merge_segments(apart, cluster)
    assert [task.name for task in merged.graph.tasks] == ["a"]
    assert merged.latency_s == pytest.approx(13 * MS)


def test_a_segment_is_not_merged_where_someone_waits_for_its_first_half():
    # a on p1 feeds b (20 ms) on p2; c (20 ms) on p1 is as long. Merging a and c saves a call of
    # 1 ms and lets p2 wait 20 ms.
    graph = TaskGraph(
        (work("a", 5, "image", "x"), work("b", 20, "x", "y"), work("c", 20, "x", "z")),
        {"image": 1000, "x": 1000, "y": 1000, "z": 1000},
        ("image",),
        ("y", "z"),
    )
    cluster = cluster_of(1.0, 1.0, call_ms=1.0)
    plan = merge_segments(decode(graph, cluster, {"a": "p1", "b": "p2", "c": "p1"}), cluster)
    assert [task.name for task in plan.graph.tasks] == ["a", "c", "b"]
    # a: 2 to 8; x is at p2 at 10; b until 31; its answer there at 33.
    assert plan.latency_s == pytest.approx(33 * MS)


def test_segments_that_would_wait_for_each_other_are_not_merged():
    # a -> b -> c with a and c on one board: merging them would need b's tensor before a gave its.
    cluster = cluster_of(1.0, 1.0, call_ms=5.0)
    plan = merge_segments(decode(CHAIN, cluster, {"a": "p1", "b": "p2", "c": "p1"}), cluster)
    assert len(plan.graph.tasks) == 3
    check_grouping(plan, CHAIN)


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters(call=st.floats(0.001, 1)))
def test_merged_segments_are_valid_and_replay_to_the_same_times(graph, cluster):
    tasks = schedule(graph, cluster)
    plan = merge_segments(tasks, cluster)
    check_valid(plan, cluster, calls=True)
    check_replay(plan, cluster, calls=True)
    check_grouping(plan, graph)
    apart = decode(tasks.graph, cluster, tasks.assignment)
    assert plan.latency_s <= apart.latency_s * (1 + 1e-6)  # merging never costs


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_planned_segments_are_valid_and_never_worse_than_one_board(graph, cluster):
    plan = plan_segments(graph, cluster)
    assert plan.latency_s <= one_board(graph, cluster).latency_s
    check_valid(plan, cluster, calls=True)
    check_replay(plan, cluster, calls=True)
    check_grouping(plan, graph)


@settings(max_examples=30, deadline=None)
@given(graph=graphs(), cluster=clusters(costly=False))
def test_one_board_takes_as_long_as_its_parts(graph, cluster):
    read = {t for task in graph.tasks for t in task.inputs}
    images = [t for t in graph.inputs if t in read]

    def alone(board):
        per_s = cluster.bytes_per_s("client", board.name)
        travel = cluster.latency_s("client", board.name)
        there = sum(graph.tensor_bytes[t] for t in images) / per_s + travel if images else 0
        ran = there + graph.flops / (board.gflops_per_s * 1e9) + board.call_ms / 1e3
        return ran + sum(graph.tensor_bytes[t] for t in graph.outputs) / per_s + travel

    best = min(alone(board) for board in cluster.boards)
    assert one_board(graph, cluster).latency_s == pytest.approx(best, rel=1e-9)


def test_huge_tensors_stay_on_one_board():
    # Four lanes of two tasks that would gain from four boards, each reading a tensor of 80 MB:
    # 0.64 s on a gigabit, against 0.2 s of work altogether.
    lanes = [
        (work(f"a{i}", 25, "x", f"y{i}"), work(f"b{i}", 25, f"y{i}", f"z{i}")) for i in range(4)
    ]
    graph = TaskGraph(
        (work("first", 1, "image", "x"), *(task for lane in lanes for task in lane)),
        {"image": 1000, "x": 80_000_000}
        | {f"y{i}": 80_000_000 for i in range(4)}
        | {f"z{i}": 10 for i in range(4)},
        ("image",),
        tuple(f"z{i}" for i in range(4)),
    )
    plan = plan_segments(graph, Cluster.of("pi3", 4, "1gbit"))
    assert len(plan.boards) == 1
    assert len(plan.graph.tasks) == 1
    light = TaskGraph(graph.tasks, {**graph.tensor_bytes, "x": 10}, graph.inputs, graph.outputs)
    assert len(plan_segments(light, Cluster.of("pi3", 4, "1gbit")).boards) == 4


def test_dear_calls_keep_everything_on_one_board():
    # a (1 ms) -> b, c (6 ms each) -> d (1 ms). On two boards: image 2, a until 3, x there at 4.01,
    # c and b side by side, c until 10.01 (y is there too), d until 11.01, answer at 13.01. One
    # board needs 14 between image and answer. With calls of 5 ms a, c and d on the longest way
    # cost 15 ms more, but one call for all only 5.
    graph = TaskGraph(
        (
            work("a", 1, "image", "x"),
            work("b", 6, "x", "y"),
            work("c", 6, "x", "z"),
            work("d", 1, "y z", "answer"),
        ),
        {"image": 1000, "x": 10, "y": 10, "z": 10, "answer": 1000},
        ("image",),
        ("answer",),
    )
    cheap, dear = cluster_of(1.0, 1.0), cluster_of(1.0, 1.0, call_ms=5.0)
    assert plan_segments(graph, cheap).latency_s == pytest.approx(13.01 * MS)
    assert len(plan_segments(graph, cheap).boards) == 2
    assert plan_segments(graph, dear).latency_s == pytest.approx((2 + 14 + 5 + 2) * MS)
    assert len(plan_segments(graph, dear).graph.tasks) == 1


def test_a_generated_network_gains_from_more_boards():
    architecture = stage(generate("DP", 40, seed=1), (64, 64, 3), 10, separable=False)
    graph = TaskGraph.from_architecture(architecture)
    latencies = []
    for boards in (1, 2, 4):
        cluster = Cluster.of("pi3", boards)
        plan = plan_segments(graph, cluster)
        check_valid(plan, cluster, calls=True)
        check_replay(plan, cluster, calls=True)
        latencies.append(plan.latency_s)
    assert latencies[0] > 1.6 * latencies[1] > 1.6 * 1.3 * latencies[2]


def test_the_plan_by_hand_is_found_no_worse():
    cluster = cluster_of(1.0, 1.0, call_ms=0.1)
    by_hand = decode(BY_HAND, cluster, ON)
    assert plan_segments(BY_HAND, cluster).latency_s <= by_hand.latency_s


def reference_merge(plan, cluster):
    """The same in names: try each pair of neighbours until none can be merged any more."""
    graph = plan.graph
    groups = {board: [[task] for task in plan.tasks_on(board)] for board in plan.boards}

    def decoded():
        try:
            merged = graph.quotient(group for board in groups for group in groups[board])
        except ValueError:
            return None  # the groups would wait for each other
        return decode(merged, cluster, {t.name: plan.assignment[t.name] for t in merged.tasks})

    best = decoded()
    improved = True
    ranked = sorted(cluster.boards, key=lambda board: -board.flops_per_s)
    while improved:
        improved = False
        for own in (groups[board.name] for board in ranked if board.name in groups):
            index = 0
            while index + 1 < len(own):
                first, second = own[index], own[index + 1]
                own[index : index + 2] = [first + second]
                candidate = decoded()
                if candidate and candidate.latency_s <= best.latency_s * (1 + 1e-9):
                    best = candidate
                    improved = True
                else:
                    own[index : index + 1] = [first, second]
                    index += 1
    return best


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_compiled_merging_equals_the_reference(graph, cluster):
    plan = schedule(graph, cluster, effort=Effort(20))
    merged, reference = merge_segments(plan, cluster), reference_merge(plan, cluster)
    assert merged.latency_s == pytest.approx(reference.latency_s, rel=1e-9)
    assert merged.graph == reference.graph
    assert merged.assignment == reference.assignment


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), cluster=clusters(), data=st.data())
def test_pins_hold_through_chains_and_segments(graph, cluster, data):
    boards = st.sampled_from([board.name for board in cluster.boards])
    pins = data.draw(st.dictionaries(st.sampled_from(sorted(graph.by_name)), boards))
    numbered = dataclasses.replace(
        graph,
        tasks=tuple(dataclasses.replace(t, operators=(i,)) for i, t in enumerate(graph.tasks)),
    )
    plan = plan_segments(numbered, cluster, effort=Effort(50), pins=pins)
    home = {
        operator: plan.assignment[task.name]
        for task in plan.graph.tasks
        for operator in task.operators
    }
    for name, board in pins.items():
        (operator,) = numbered.by_name[name].operators
        assert home[operator] == board
    check_replay(plan, cluster, calls=True)


def test_one_board_is_no_plan_where_it_has_not_the_memory():
    cluster = with_memory(cluster_of(1.0, 1.0), 0.61, 0.61)
    plan = plan_segments(HEAVY, cluster, effort=Effort(100))
    assert plan.boards == ("p1", "p2")
    assert one_board(HEAVY, cluster).latency_s < plan.latency_s
    assert not fits(one_board(HEAVY, cluster), cluster)
    larger = with_memory(cluster_of(2.0, 1.0), 0.61, 2.0)
    assert one_board(HEAVY, larger).boards == ("p2",)
    assert plan_segments(HEAVY, larger, effort=Effort(100)).boards == ("p2",)
