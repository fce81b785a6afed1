"""The textbook schedulers give what their articles print, and are simulated as our plans are."""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from costless import costless
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent import TaskGraph, generate, stage
from keras_concurrent.board import Board
from keras_concurrent.network import Network
from keras_concurrent.planning.schedule import schedule
from keras_concurrent.planning.simulator import replay
from keras_concurrent.planning.taskgraph import Task

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
try:
    import instances
    import textbook
    import textbook_schedulers
    from textbook import Costs, Timetable
finally:
    sys.path.pop(0)

TIMETABLES = (textbook.heft, textbook.cpop, textbook.peft, textbook.min_min)


def example(seconds, travel_s):
    """Costs in which tasks count from 1, as the articles do."""
    edges = {(a - 1, b - 1): float(travel) for (a, b), travel in travel_s.items()}
    return Costs(np.array(seconds, float), edges)


# The figure and the table of an example in the article on HEFT and CPOP (2002).
HEFT_EXAMPLE = example(
    [[14, 16, 9], [13, 19, 18], [11, 13, 19], [13, 8, 17], [12, 13, 10],
     [13, 16, 9], [7, 15, 11], [5, 11, 14], [18, 12, 20], [21, 7, 16]],
    {(1, 2): 18, (1, 3): 12, (1, 4): 9, (1, 5): 11, (1, 6): 14, (2, 8): 19, (2, 9): 16, (3, 7): 23,
     (4, 8): 27, (4, 9): 23, (5, 9): 13, (6, 8): 15, (7, 10): 17, (8, 10): 11, (9, 10): 13},
)  # fmt: skip
# Likewise in the article on PEFT (2014).
PEFT_EXAMPLE = example(
    [[22, 21, 36], [22, 18, 18], [32, 27, 43], [7, 10, 4], [29, 27, 35],
     [26, 17, 24], [14, 25, 30], [29, 23, 36], [15, 21, 8], [13, 16, 33]],
    {(1, 2): 17, (1, 3): 31, (1, 4): 29, (1, 5): 13, (1, 6): 7, (2, 8): 3, (2, 9): 30, (3, 7): 16,
     (4, 8): 11, (4, 9): 7, (5, 9): 57, (6, 8): 5, (7, 10): 9, (8, 10): 42, (9, 10): 7},
)  # fmt: skip


def test_the_makespans_that_the_articles_print():
    assert textbook.heft(HEFT_EXAMPLE).makespan_s == 80
    assert textbook.cpop(HEFT_EXAMPLE).makespan_s == 86
    assert textbook.heft(PEFT_EXAMPLE).makespan_s == 133
    assert textbook.peft(PEFT_EXAMPLE).makespan_s == 122


def test_the_mean_optimistic_costs_that_the_article_prints():
    means = textbook.optimistic_costs(PEFT_EXAMPLE).mean(axis=1)
    assert means.round(1).tolist() == [72.7, 41.0, 37.0, 43.7, 31.0, 41.7, 17.0, 20.7, 16.3, 0.0]


def test_min_min_takes_the_task_that_can_end_first():
    # Task 0 ends first (1 s, processor 0), then 1 on the other (2 s). Of 2 there (3 s) and 3 with
    # task 0 (3 s) the lower number is next; travelling would cost either 3 s more.
    seconds = np.array([[1.0, 1.0], [2.0, 2.0], [1.0, 1.0], [2.0, 2.0]])
    planned = textbook.min_min(Costs(seconds, {(0, 3): 3.0, (1, 2): 3.0}))
    assert planned == Timetable((0, 1, 1, 0), (0.0, 0.0, 2.0, 1.0), (1.0, 2.0, 3.0, 3.0))
    # On one processor the short ones come first; by rank HEFT would take the long one first.
    alone = Costs(np.array([[3.0], [1.0], [2.0]]), {})
    assert textbook.min_min(alone).start_s == (3.0, 0.0, 1.0)
    assert textbook.heft(alone).start_s == (0.0, 5.0, 3.0)


@st.composite
def costs(draw):
    tasks, processors = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    some = st.integers(0, 9)
    seconds = [[draw(some) for _ in range(processors)] for _ in range(tasks)]
    edges = [(a, b) for b in range(tasks) for a in range(b) if draw(st.integers(0, 2)) == 0]
    return Costs(np.array(seconds, float), {edge: float(draw(some)) for edge in edges})


@pytest.mark.parametrize("scheduler", TIMETABLES)
@given(costs=costs())
@settings(max_examples=60, deadline=None)
def test_every_timetable_keeps_its_own_rules(scheduler, costs):
    planned = scheduler(costs)
    for i in costs.tasks:
        duration_s = costs.seconds[i, planned.processor[i]]
        assert planned.end_s[i] == planned.start_s[i] + duration_s
    for (a, b), travel_s in costs.travel_s.items():
        away = planned.processor[a] != planned.processor[b]
        assert planned.start_s[b] >= planned.end_s[a] + away * travel_s
    for p in costs.processors:
        here = sorted((planned.start_s[i], planned.end_s[i]) for i in costs.tasks
                      if planned.processor[i] == p)  # fmt: skip
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(here))


def test_an_edge_that_leads_backwards_is_refused():
    with pytest.raises(ValueError, match=r"later one of 2, got \(1, 0\)"):
        Costs(np.ones((2, 1)), {(1, 0): 1.0})


def fan(readers, bandwidth_mbit_per_s=8.0):
    """One task of 1 s that each of some tasks of 1 s reads; a message takes 1 s, and no latency."""
    tasks = [Task("0", 10**9, ("image",), ("0",))]
    tasks += [Task(f"{i}", 10**9, ("0",), (f"{i}",)) for i in range(1, readers + 1)]
    sizes = {"image": 0, "0": 10**6, **{f"{i}": 0 for i in range(1, readers + 1)}}
    graph = TaskGraph(tuple(tasks), sizes, ("image",), tuple(f"{i}" for i in range(1, readers + 1)))
    boards = tuple(Board(f"b{i}", 1.0, f"tcp/127.0.0.1:{i}", call_ms=0.0) for i in (1, 2, 3))
    return graph, costless(boards, Network(bandwidth_mbit_per_s, 0.0))


def test_a_task_graph_as_the_textbook_sees_it():
    graph, cluster = fan(2)
    costs = textbook.costs_of(graph, cluster)
    assert costs.seconds.tolist() == [[1.0] * 3] * 3
    assert costs.travel_s == {(0, 1): 1.0, (0, 2): 1.0}


def test_messages_queue_where_a_plan_is_simulated():
    graph, cluster = fan(3)
    # The textbook believes that both messages arrive after 2 s; the second one does after 3 s.
    planned = Timetable((0, 1, 2, 0), (0.0, 2.0, 2.0, 1.0), (1.0, 3.0, 3.0, 2.0))
    assert planned.makespan_s == 3.0
    assert textbook.simulated(graph, cluster, planned).latency_s == 4.0


def test_the_planned_order_is_kept():
    graph, cluster = fan(3)
    planned = Timetable((0, 1, 1, 1), (0.0, 4.0, 2.0, 3.0), (1.0, 5.0, 3.0, 4.0))
    assert textbook.simulated(graph, cluster, planned).tasks_on("b2") == ("2", "3", "1")


def test_a_call_costs_nothing_as_in_our_own_plans():
    graph, cluster = fan(2)
    slow = replace(cluster, boards=tuple(replace(b, call_ms=500.0) for b in cluster.boards))
    for plan in textbook.SCHEDULERS.values():
        assert plan(graph, slow).latency_s == plan(graph, cluster).latency_s


@pytest.mark.parametrize("name", textbook.SCHEDULERS)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["DP", "WS", "lanes"]))
@settings(max_examples=15, deadline=None)
def test_every_plan_is_one_that_the_simulator_replays(name, seed, kind):
    graph = TaskGraph.from_architecture(
        stage(generate(kind, 12, seed=seed), (16, 16, 3), 4, filters=16, seed=seed)
    )
    cluster = instances.Setting(3, "100mbit", 3.0).cluster()
    plan = textbook.SCHEDULERS[name](graph, cluster)
    assert replay(plan, cluster).latency_s == pytest.approx(plan.latency_s, rel=1e-9)
    assert sorted(plan.assignment) == sorted(task.name for task in graph.tasks)
    timetable = {"HEFT": textbook.heft, "CPOP": textbook.cpop, "PEFT": textbook.peft,
                 "min-min": textbook.min_min}.get(name)  # fmt: skip
    if timetable:  # queues, the image and the answer only delay what was planned
        promised_s = timetable(textbook.costs_of(graph, cluster)).makespan_s
        assert plan.latency_s >= promised_s * (1 - 1e-9)


def test_there_are_264_instances_in_even_turns():
    found = list(instances.instances())
    assert len(found) == len({i.name for i in found}) == 264
    for setting in instances.SETTINGS:
        assert sum(i.setting == setting for i in found) == 11
    for kind in instances.KINDS:
        assert sum(i.kind == kind for i in found) == 44
    graph = found[100].graph()
    assert graph == found[100].graph()
    assert len(graph.tasks) == found[100].vertices == 50


def test_the_gain_is_the_best_textbook_latency_over_ours():
    measured = textbook_schedulers.measure(next(instances.instances()))
    graph, cluster = measured.instance.graph(), measured.instance.setting.cluster()
    assert measured.portfolio_s == schedule(graph, cluster).latency_s >= measured.searched_s
    known = replace(
        measured, searched_s=2.0, portfolio_s=4.0, textbook_s={"HEFT": 3.0, "PEFT": 3.2}
    )
    assert (known.search_gain, known.portfolio_gain) == (1.5, 0.75)
    cells = textbook_schedulers.row("one", [known, replace(known, searched_s=3.0)])
    assert cells == ("one", "2", "0.750", "0.750", "2", "1.250", "1.000", "1.500", "0")
    assert textbook_schedulers.losses([known, replace(known, searched_s=6.0)]) == [
        (known.instance.name, "HEFT", "0.5000")
    ]
