"""Predicted latencies: those of the plans that would be written down."""

import dataclasses

import pytest
from hypothesis import given, settings
from plans import clusters, graphs

from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.effort import LISTS_ALONE, Effort
from keras_concurrent.planning.prediction import predict
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.planning.segments import merge_segments, one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph


@settings(max_examples=100, deadline=None)
@given(graph=graphs(), cluster=clusters())
def test_a_prediction_is_the_latency_of_a_plan_of_segments(graph, cluster):
    effort = Effort(200)
    found = predict(graph, cluster, effort)
    chained = chains_as_tasks(graph)
    alone = one_board(graph, cluster)
    plans = [
        merge_segments(schedule(chained, cluster, effort=each), cluster)
        for each in (LISTS_ALONE, effort)
    ]
    assert found.one_board_latency_s == pytest.approx(alone.latency_s, rel=1e-9)
    expected = min(plan.latency_s for plan in (alone, *plans))
    assert found.latency_s == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("kind", "side"), [("ER", 64), ("BA", 64), ("lanes", 96)])
def test_more_effort_and_the_whole_plan_come_near_it(kind, side):
    network = stage(generate(kind, 16, seed=2), (side, side, 3), 10, separable=False)
    graph, cluster = network.network_tasks(), Cluster.of("pi4", 4)
    promised = predict(graph, cluster)
    plan = plan_segments(graph, cluster, effort=Effort(5_000))
    assert plan.latency_s <= promised.latency_s * (1 + 1e-9)
    assert promised.latency_s < 1.2 * plan.latency_s
    assert promised.latency_s <= promised.one_board_latency_s


def test_a_plan_is_no_worse_for_knowing_the_vertices():
    network = stage(generate("ER", 16, seed=2), (96, 96, 3), 10, separable=False)
    graph, cluster = network.network_tasks(), Cluster.of("pi4", 4)
    nameless = dataclasses.replace(
        graph, tasks=tuple(dataclasses.replace(task, vertices=()) for task in graph.tasks)
    )
    effort = Effort(2_000)
    knowing = plan_segments(graph, cluster, effort=effort)
    assert knowing.latency_s <= plan_segments(nameless, cluster, effort=effort).latency_s


def test_a_graph_without_a_task_is_refused():
    with pytest.raises(ValueError, match="at least one task"):
        predict(TaskGraph((), {}, (), ()), Cluster.of("pi4", 2))
