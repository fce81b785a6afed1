"""Segments of a given assignment."""

import pytest
from costless import costless
from hypothesis import given
from hypothesis import strategies as st

from keras_concurrent.board import Board
from keras_concurrent.network import Network
from keras_concurrent.planning.given import segments_on
from keras_concurrent.planning.schedule import decode
from keras_concurrent.planning.taskgraph import Task, TaskGraph

# Of 1 GFLOP/s, so that a task of a million FLOPs takes 1 ms; a message of 1 kB 1 ms, a call 0.1.
BOARDS = tuple(
    Board(name, 1.0, f"tcp/127.0.0.1:{7000 + i}", call_ms=0.1) for i, name in enumerate("ab")
)
CLUSTER = costless(BOARDS, Network(8.0, 0.0))


def graph_of(*tasks, outputs):
    """Tasks of (name, inputs), each of 1 ms and 1 kB."""
    made = tuple(Task(name, 10**6, tuple(reads), (f"{name}'",)) for name, reads in tasks)
    sizes = {tensor: 1000 for task in made for tensor in (*task.inputs, *task.outputs)}
    return TaskGraph(made, sizes, ("image",), outputs)


def test_what_others_wait_for_travels_before_the_rest_is_done():
    """a computes one, then other, while one travels to b.

    The image 1 ms, one 1.1, its message 1, reader 1.1, the answer 1: 5.2 ms; with one and other as
    one segment of 2.1 ms it would be 6.2. The answer of other leaves a at 3.2, ahead of that.
    """
    graph = graph_of(
        ("one", ["image"]),
        ("other", ["image"]),
        ("reader", ["one'"]),
        outputs=("reader'", "other'"),
    )
    plan = segments_on(graph, CLUSTER, {"one": "a", "other": "a", "reader": "b"})
    assert sorted(task.name for task in plan.graph.tasks) == ["one", "other", "reader"]
    assert plan.latency_s * 1e3 == pytest.approx(5.2)


def test_tasks_between_two_waits_are_one_call():
    graph = graph_of(
        ("first", ["image"]), ("second", ["first'"]), ("third", ["second'"]), outputs=("third'",)
    )
    plan = segments_on(graph, CLUSTER, dict.fromkeys(("first", "second", "third"), "a"))
    assert [len(plan.graph.tasks), plan.latency_s * 1e3] == [1, pytest.approx(1 + 3.1 + 1)]


@given(st.data())
def test_any_assignment_runs(data):
    count = data.draw(st.integers(1, 12))
    tasks = []
    for i in range(count):
        before = [f"t{j}'" for j in range(i)]
        reads = data.draw(st.lists(st.sampled_from(["image", *before]), min_size=1, unique=True))
        tasks.append((f"t{i}", reads))
    graph = graph_of(*tasks, outputs=(f"t{count - 1}'",))
    homes = {f"t{i}": data.draw(st.sampled_from("ab")) for i in range(count)}
    plan = segments_on(graph, CLUSTER, homes)
    assert plan.assignment == {task.name: homes[task.name] for task in plan.graph.tasks}
    one_by_one = decode(graph, CLUSTER, homes)
    assert plan.graph.flops == graph.flops
    assert len(plan.graph.tasks) <= len(one_by_one.graph.tasks)
