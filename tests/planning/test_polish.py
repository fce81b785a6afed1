import dataclasses
import itertools

import pytest
from plans import HEAVY, check_replay, check_valid, cluster_of, with_memory, work

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ConcurrentError
from keras_concurrent.network import Link
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.polish import polish
from keras_concurrent.planning.schedule import decode, schedule
from keras_concurrent.planning.taskgraph import TaskGraph

# Two lanes of two tasks; a list schedule cannot do better than this, and neither can anybody.
LANES = TaskGraph(
    (
        work("a", 4, "image", "x"),
        work("b", 4, "image", "y"),
        work("c", 4, "x", "first"),
        work("d", 4, "y", "second"),
    ),
    {"image": 1000, "x": 1000, "y": 1000, "first": 1000, "second": 1000},
    ("image",),
    ("first", "second"),
)


def every_plan(graph, cluster):
    """All assignments in all topological orders: no plan that keeps its boards busy is missing."""
    orders = []

    def extend(done, rest):
        if not rest:
            orders.append(done)
        for task in rest:
            if set(graph.predecessors[task.name]) <= {t.name for t in done}:
                extend([*done, task], [t for t in rest if t is not task])

    extend([], list(graph.tasks))
    names = [board.name for board in cluster.boards]
    for order in orders:
        ordered = dataclasses.replace(graph, tasks=tuple(order))
        for boards in itertools.product(names, repeat=len(order)):
            homes = {task.name: board for task, board in zip(order, boards, strict=True)}
            yield decode(ordered, cluster, homes)


def test_the_best_of_all_plans_is_found_and_proven():
    cluster = cluster_of(1.0, 1.0)
    worst = decode(LANES, cluster, dict.fromkeys("abcd", "p2"))
    found = polish(worst, cluster, time_limit_s=20)
    best = min(plan.latency_s for plan in every_plan(LANES, cluster))
    assert found.proven
    assert found.plan.latency_s == pytest.approx(best)
    assert found.bound_s == pytest.approx(best, rel=1e-4)
    check_valid(found.plan, cluster, calls=False)
    check_replay(found.plan, cluster, calls=False)


@pytest.mark.parametrize("medium", ["switch", "shared"])
def test_links_and_the_medium_count(medium):
    cluster = cluster_of(1.0, 1.0)
    cluster = dataclasses.replace(
        cluster,
        network=dataclasses.replace(cluster.network, medium=medium),
        links=(Link(("p1", "client"), 4.0, 0.25),),
    )
    found = polish(schedule(LANES, cluster), cluster, time_limit_s=20)
    best = min(plan.latency_s for plan in every_plan(LANES, cluster))
    assert found.proven
    assert found.plan.latency_s == pytest.approx(best)
    check_replay(found.plan, cluster, calls=False)


def test_memory_and_pins_are_kept():
    cluster = with_memory(cluster_of(1.0, 1.0, 1.0), 0.61, 0.61, 0.61)
    start = schedule(HEAVY, cluster, pins={"a": "p3"})
    found = polish(start, cluster, time_limit_s=20, pins={"a": "p3"})
    assert found.proven
    assert found.plan.assignment["a"] == "p3"
    assert found.plan.assignment["b"] != "p3"
    assert found.plan.latency_s == pytest.approx(0.008)


def test_a_search_is_polished_to_no_worse_and_never_below_the_bound():
    graph = TaskGraph.from_architecture(stage(generate("ER", 12, seed=3), (32, 32, 3), 10))
    cluster = Cluster.of("pi4", 3, "100mbit")
    listed = schedule(graph, cluster)
    found = polish(listed, cluster, time_limit_s=10)
    searched = schedule(graph, cluster, effort=Effort(40_000))
    assert found.bound_s <= found.plan.latency_s <= listed.latency_s
    assert found.bound_s <= searched.latency_s * (1 + 1e-9)
    check_replay(found.plan, cluster, calls=False)


def test_a_time_limit_must_be_positive():
    cluster = cluster_of(1.0)
    with pytest.raises(ValueError, match="time_limit_s must be positive, got 0"):
        polish(schedule(LANES, cluster), cluster, time_limit_s=0)


def test_a_solver_that_dies_is_told_as_an_error_of_ours(monkeypatch):
    plan = schedule(HEAVY, cluster_of(1.0))
    monkeypatch.setattr("keras_concurrent.planning.polish.pickle.dumps", lambda question: b"none")
    with pytest.raises(ConcurrentError, match=r"(?s)the solver ended with 1: .*UnpicklingError"):
        polish(plan, cluster_of(1.0), time_limit_s=1.0)


def test_a_solver_that_does_not_end_is_ended(monkeypatch):
    plan = schedule(HEAVY, cluster_of(1.0))
    monkeypatch.setattr("keras_concurrent.planning.polish._GRACE_S", 0.0)
    with pytest.raises(ConcurrentError, match=r"was given 0.001 s and did not end 0 s later"):
        polish(plan, cluster_of(1.0), time_limit_s=0.001)
