"""What boards were measured to take, and the plans that follow from it."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from costless import costless

from keras_concurrent.board import Board
from keras_concurrent.edge.bundle import digest
from keras_concurrent.errors import ClusterError
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.measured.boards import BoardTimings, SegmentTiming, timings_path
from keras_concurrent.network import Network
from keras_concurrent.planning.bounds import lower_bound_s
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.explain import what_if
from keras_concurrent.planning.schedule import decode
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.simulator import replay
from keras_concurrent.planning.taskgraph import Task, TaskGraph

SLOW = Board("slow", 1.0, "tcp/127.0.0.1:7447", 0.0)
FAST = Board("fast", 2.0, "tcp/127.0.0.1:7448", 0.0)


def two(call_ms=0.0):
    """Boards of 1 and 2 GFLOP/s whose messages cost nothing."""
    boards = (dataclasses.replace(board, call_ms=call_ms) for board in (SLOW, FAST))
    return costless(tuple(boards), Network(1e6, 0.0))


FILE = SimpleNamespace(
    operators=[SimpleNamespace(index=n, outputs=(f"t{n}",)) for n in range(4)]
)  # that number n writes the tensor "tn" is all that is asked of it


def chain(flops=(100, 300, 0, 0)):
    tasks = tuple(
        Task(f"n{n}", f, (f"t{n - 1}" if n else "x",), (f"t{n}",), operators=(n,))
        for n, f in enumerate(flops)
    )
    sizes = dict.fromkeys(("x", "t0", "t1", "t2", "t3"), 0)
    return TaskGraph(tasks, sizes, ("x",), ("t3",))


TIMINGS = BoardTimings(
    "0" * 64,
    (
        SegmentTiming(("t0", "t1"), {"slow": 0.8, "fast": 0.1}),
        SegmentTiming(("t2",), {"slow": 0.3, "fast": 0.6}),
    ),
)


def test_a_segments_seconds_are_shared_out_as_its_tasks_flops():
    graph = TIMINGS.applied(FILE, chain(), two())
    slow = [graph.seconds_on(task, SLOW) for task in graph.tasks]
    fast = [graph.seconds_on(task, FAST) for task in graph.tasks]
    # 100 and 300 FLOPs: a quarter and three; t3 was never measured and has no FLOPs.
    assert slow == pytest.approx([0.2, 0.6, 0.3, 0.0])
    assert fast == pytest.approx([0.025, 0.075, 0.6, 0.0])
    another = Board("another", 4.0, "tcp/127.0.0.1:7449")
    assert graph.seconds_on(graph.tasks[0], another) == pytest.approx(100 / 4e9)
    # A rate that is changed afterwards changes what was measured at the old one.
    assert graph.seconds_on(graph.tasks[2], SLOW.faster(2)) == pytest.approx(0.15)


def test_a_merged_task_takes_what_its_parts_do():
    graph = TIMINGS.applied(FILE, chain((100, 300, 0, 500)), two())
    whole = graph.quotient([["n0", "n1", "n2", "n3"]])
    assert whole.seconds_on(whole.tasks[0], SLOW) == pytest.approx(1.1 + 500 / 1e9)
    assert whole.seconds_on(whole.tasks[0], FAST) == pytest.approx(0.7 + 500 / 2e9)


def test_a_task_of_no_flops_gets_an_equal_share():
    timings = BoardTimings("0" * 64, (SegmentTiming(("t2", "t3"), {"slow": 0.4}),))
    graph = timings.applied(FILE, chain(), two())
    assert [graph.seconds_on(t, SLOW) for t in graph.tasks[2:]] == [0.2, 0.2]


def test_plans_simulations_and_bounds_take_the_measured_seconds():
    graph = TIMINGS.applied(FILE, chain(), two(call_ms=10.0))
    cluster = two(call_ms=10.0)
    plan = decode(graph, cluster, {"n0": "fast", "n1": "fast", "n2": "slow", "n3": "slow"})
    assert plan.latency_s == pytest.approx(0.1 + 0.3 + 4 * 0.01)
    assert replay(plan, cluster, calls=True).latency_s == pytest.approx(plan.latency_s)
    assert one_board(graph, cluster).latency_s == pytest.approx(0.7 + 0.01)  # the fast one's
    assert lower_bound_s(graph, cluster) == pytest.approx(0.4)  # the path, each where quickest


def test_what_a_board_does_in_no_time_is_no_work_for_all_of_them():
    """A piece that takes less than a call is measured to take none: no bound follows from it."""
    tasks = (
        Task("n0", 10**9, ("x",), ("t0",), operators=(0,), work={"slow": 0.0, "fast": 0.0}),
        Task("n1", 10**6, ("t0",), ("t1",), operators=(1,)),
    )
    graph = TaskGraph(tasks, dict.fromkeys(("x", "t0", "t1"), 0), ("x",), ("t1",))
    plan = plan_segments(graph, two())
    assert plan.latency_s == pytest.approx(0.0005)  # a million operations at 2 GFLOP/s
    assert lower_bound_s(graph, two()) <= plan.latency_s * (1 + 1e-9)


def test_a_task_goes_where_it_was_measured_to_be_quickest_whatever_the_rates():
    tasks = tuple(
        Task(f"n{n}", 1000, ("x",), (f"t{n}",), operators=(n,), work=work)
        for n, work in enumerate(({"slow": 1e8, "fast": 1e9}, {"slow": 5e8, "fast": 2e8}))
    )
    graph = TaskGraph(tasks, dict.fromkeys(("x", "t0", "t1"), 8), ("x",), ("t0", "t1"))
    for polish_s in (None, 1.0):
        plan = plan_segments(graph, two(), effort=Effort(polish_s=polish_s))
        assert plan.assignment == {"n0": "slow", "n1": "fast"}
        assert plan.latency_s == pytest.approx(0.1, rel=1e-3)  # either of them
    assert 0.0999 < lower_bound_s(graph, two()) <= plan.latency_s


def test_twice_as_fast_boards_take_half_of_what_was_measured():
    graph = TIMINGS.applied(FILE, chain(), two())
    found = what_if(two(), lambda other: one_board(graph, other).latency_s)
    assert found["boards twice as fast"] == pytest.approx(0.35)


def test_segments_planned_as_they_were_measured_take_what_was_measured(small_file, tmp_path):
    cluster = two(call_ms=0.5)
    slow = (dataclasses.replace(b, gflops_per_s=0.01, call_ms=0.0) for b in cluster.boards)
    bundle = export_bundle(
        small_file, dataclasses.replace(cluster, boards=tuple(slow)), tmp_path / "bundle"
    )
    names = [name for name in bundle.manifest.segments if name != "model"]
    assert len(names) > 1
    seconds = {
        board: {"model": 1.0, **{name: 0.010 * (i + 1) for i, name in enumerate(names)}}
        for board in ("slow", "fast")
    }
    timings = BoardTimings.of(bundle, seconds, cluster)
    assert timings.model_sha256 == digest(small_file.data)
    path = tmp_path / "cluster.seconds.json"
    path.write_text(timings.to_json())
    assert timings_path(tmp_path / "cluster.toml") == path
    assert BoardTimings.read(path) == timings
    graph = timings.applied(small_file, TaskGraph.from_tflite(small_file), cluster)
    of_tensor = {t: i for i, segment in enumerate(timings.segments) for t in segment.tensors}
    own = [0.0] * len(names)
    for task in graph.tasks:
        own[of_tensor[task.outputs[0]]] += graph.seconds_on(task, SLOW)
    assert own == pytest.approx([0.010 * (i + 1) - 0.0005 for i in range(len(names))])


def test_a_file_that_is_something_else_is_refused(tmp_path):
    path = tmp_path / "cluster.seconds.json"
    good = json.loads(TIMINGS.to_json())
    bad = [
        {**good, "schema_version": 2},
        {**good, "more": 1},
        {**good, "segments": [{"tensors": ["t0"], "seconds": {"slow": -1.0}}]},
        {**good, "segments": [{"tensors": ["t0"]}]},
        [],
    ]
    for content in bad:
        path.write_text(json.dumps(content))
        with pytest.raises(ClusterError, match="holds no timings, profile anew"):
            BoardTimings.read(path)
    with pytest.raises(ClusterError, match="holds no timings"):
        BoardTimings.read(tmp_path / "nothing.json")
