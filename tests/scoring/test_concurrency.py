import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.taskgraph import Task, TaskGraph
from keras_concurrent.scoring.concurrency import (
    EPSILONS,
    concurrency_score,
    eta,
    longest_path,
    rate,
)
from keras_concurrent.scoring.partition import Partition, partition


def graph_of(edges, vertices=(), flops=None, sizes=None):
    """A task a vertex, a tensor a task; vertices in alphabetical order are topological."""
    names = sorted({v for edge in edges for v in edge} | set(vertices))
    flops = flops or {}
    sizes = sizes or {}
    tasks = tuple(
        Task(name, flops.get(name, 10), tuple(sorted(a for a, b in edges if b == name)), (name,))
        for name in names
    )
    given = tuple(n for n in names if all(a != n for a, _ in edges))
    return TaskGraph(tasks, {name: sizes.get(name, 4) for name in names}, (), given)


def grid(rows, columns):
    names = [[f"{'abcdefgh'[r]}{c}" for c in range(columns)] for r in range(rows)]
    return graph_of([(row[c], row[c + 1]) for row in names for c in range(columns - 1)])


FIG_5A = [
    ("A", "D"), ("A", "E"), ("D", "F"), ("F", "G"), ("E", "G"), ("G", "H"), ("B", "I")
]  # fmt: skip


def test_eta_of_figure_5():
    # The listed edges' longest path is A-D-F-G-H: 5 vertices, 6 edges from source to sink. The
    # figure counts 6 here and says 2, but counts vertices in its other three graphs, as Eq. 2 does.
    first = graph_of(FIG_5A, vertices="C")
    assert len(first.tasks) == 9
    assert longest_path(first) == 5
    assert eta(first, 3) == pytest.approx(5 / (9 / 3))

    assert eta(grid(3, 5), 3) == 5 / (15 / 3) == 1

    widths = [3, 1, 3, 1, 3, 1, 3]
    levels = [[f"{level}{i}" for i in range(width)] for level, width in enumerate(widths)]
    pinched = graph_of([(a, b) for one, two in pairwise(levels) for a in one for b in two])
    assert eta(pinched, 3) == pytest.approx(7 / (15 / 3))
    assert eta(pinched, 3) == pytest.approx(1.4)

    chain = graph_of([(f"{i}", f"{i + 1}") for i in range(6)])
    assert eta(chain, 3) == pytest.approx(3)


# a -> b, c, d; b -> e. Units: a, b on 0; c, d on 1; e on 2.
FAN = graph_of(
    [("a", "b"), ("a", "c"), ("a", "d"), ("b", "e")],
    flops={"a": 10, "b": 20, "c": 30, "d": 40, "e": 20},
    sizes={"a": 100, "b": 40, "c": 7, "d": 7, "e": 7},
)
FAN_SPLIT = Partition({"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}, 3)


def test_a_tensor_is_sent_once_to_a_unit_however_many_read_it_there():
    # a: units {0, 1} -> 100 * 1, though two of its readers sit on unit 1; b: units {0, 2} -> 40.
    # The sink sits with c and d and gathers e's 7 bytes.
    assert FAN_SPLIT.connectivity_bytes(FAN) == 100 + 40 + 7
    apart = Partition({**FAN_SPLIT.unit_of, "d": 2}, 3)
    # a: units {0, 1, 2} -> 100 * 2; the sink sits with d and e and gathers c.
    assert apart.connectivity_bytes(FAN) == 200 + 40 + 7


def test_the_source_scatters_its_image_to_every_unit_that_reads_it():
    tasks = tuple(Task(name, 1, ("image",), (name,)) for name in "abc")
    graph = TaskGraph(tasks, {"image": 50, "a": 3, "b": 5, "c": 9}, ("image",), ("a", "b", "c"))
    # Units {0, 1}: one copy of the image travels; the sink sits with c: a and b travel.
    assert Partition({"a": 0, "b": 0, "c": 1}, 2).connectivity_bytes(graph) == 50 + 3 + 5
    assert Partition({"a": 0, "b": 1, "c": 2}, 3).connectivity_bytes(graph) == 100 + 3 + 5
    assert Partition({"a": 0, "b": 0, "c": 0}, 2).connectivity_bytes(graph) == 0


def test_every_term_of_a_given_partition_by_hand():
    assert FAN_SPLIT.loads(FAN) == [10 + 20, 30 + 40, 20]
    found = rate(FAN, FAN_SPLIT, epsilon=0.5)
    assert found.epsilon == 0.5
    assert found.delta_w == pytest.approx(70 / ((30 + 70 + 20) / 3))  # 1.75
    assert found.lambda_bytes == 147
    # U_c = 40: c, d and e are read by no vertex, so their 7 bytes are no edge's between vertices.
    assert found.lambda_normalised == pytest.approx(147 / (40 * 3))
    assert found.eta == pytest.approx(3 / (5 / 3))  # a, b, e of 5 vertices on 3 units
    expected = (1.75 * (147 / 120) ** 1.5 * 1.8) ** (1 / 3)
    assert found.concurrency_score == pytest.approx(expected, rel=1e-12)
    assert found.used_units == 3


def test_the_unit_of_a_tensor_can_be_given():
    found = rate(FAN, FAN_SPLIT, unit_bytes=10)
    assert found.lambda_normalised == pytest.approx(147 / (10 * 3))


def test_separate_vertices_are_only_gathered():
    apart = graph_of([], vertices="abcd")
    spread = rate(apart, Partition({"a": 0, "b": 0, "c": 1, "d": 1}, 2))
    # Two results of 4 bytes travel, eta is 1 / (4 / 2).
    assert (spread.lambda_bytes, spread.delta_w, spread.used_units) == (8, 1, 2)
    assert spread.concurrency_score == pytest.approx(((8 / (4 * 2)) ** 1.5 * 0.5) ** (1 / 3))


def test_everything_on_one_unit_scores_0_and_is_never_the_best():
    apart = graph_of([], vertices="abcd")
    huddled = rate(apart, Partition(dict.fromkeys("abcd", 0), 2))
    assert (huddled.concurrency_score, huddled.delta_w, huddled.used_units) == (0, 2, 1)
    # At epsilon = 1 one of two units may hold everything, which needs no byte.
    score = concurrency_score(generated(3, "WS"), 2)
    assert [c.used_units for c in score.sweep if c.concurrency_score == 0] == [1]
    assert score.best.used_units == 2


def test_one_unit_has_nothing_to_send():
    score = concurrency_score(FAN, 1)
    assert score.best.eta == pytest.approx(3 / 5)
    assert score.best.lambda_bytes == 0
    assert score.best.delta_w == 1
    assert score.best.concurrency_score == 0


def test_lanes_split_over_as_many_units_send_only_their_results():
    score = concurrency_score(grid(4, 6), 4)
    assert score.best.lambda_bytes == 3 * 4  # the results of three lanes, for the sink
    assert score.best.delta_w == 1
    assert score.best.used_units == 4


def test_work_that_weighs_nothing_is_balanced():
    weightless = graph_of([("a", "b")], flops={"a": 0, "b": 0})
    assert rate(weightless, Partition({"a": 0, "b": 1}, 2)).delta_w == 1


def generated(seed, kind="DP"):
    return TaskGraph.from_architecture(stage(generate(kind, 30, seed=seed), (32, 32, 3), 10))


def scaled(graph, factor):
    tasks = tuple(
        Task(t.name, t.flops * factor, t.inputs, t.outputs, vertices=t.vertices)
        for t in graph.tasks
    )
    return TaskGraph(tasks, graph.tensor_bytes, graph.inputs, graph.outputs)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), units=st.sampled_from([2, 4, 6]))
def test_the_score_of_a_generated_network_keeps_its_promises(seed, units):
    graph = generated(seed, "WS")
    score = concurrency_score(graph, units)
    assert [c.epsilon for c in score.sweep] == list(EPSILONS)
    spread = [c.concurrency_score for c in score.sweep if c.used_units > 1]
    assert score.best.concurrency_score == min(spread)
    assert score.best in score.sweep
    assert concurrency_score(graph, units) == score
    for candidate in score.sweep:
        assert candidate.delta_w >= 1 - 1e-12
        assert 1 <= candidate.used_units <= units
        expected = candidate.delta_w * candidate.lambda_normalised**1.5 * candidate.eta
        assert candidate.concurrency_score == pytest.approx(math.cbrt(expected))
        # The terms again, from the partition that gave them.
        split = partition(graph, units, candidate.epsilon)
        assert rate(graph, split, epsilon=candidate.epsilon) == candidate


def test_the_score_does_not_depend_on_the_unit_of_work():
    graph = generated(3)
    split = partition(graph, 4, 0.1)
    once, thrice = rate(graph, split), rate(scaled(graph, 3), split)
    assert once.concurrency_score == pytest.approx(thrice.concurrency_score, rel=1e-12)
    assert once.delta_w == pytest.approx(thrice.delta_w, rel=1e-12)


def test_a_partition_gives_every_task_a_unit_within_the_bound():
    graph = grid(6, 5)  # 30 equal tasks on 3 units
    split = partition(graph, 3, 0.03)
    assert set(split.unit_of) == {task.name for task in graph.tasks}
    assert split.loads(graph) == [100, 100, 100]
    assert split.connectivity_bytes(graph) == 4 * 4  # four of six results travel to the sink


def test_connectivity_agrees_with_a_count_from_the_edges():
    graph = generated(5, "ER")
    split = partition(graph, 4, 0.1)
    sent = {
        (tensor, split.unit_of[task.name])
        for task in graph.tasks
        for tensor in task.inputs
        if tensor != "source"
        if split.unit_of[graph.producer[tensor]] != split.unit_of[task.name]
    }
    first = {split.unit_of[task.name] for task in graph.tasks if "source" in task.inputs}
    gathered = [
        sum(graph.tensor_bytes[name] for name in graph.outputs if split.unit_of[name] != sink)
        for sink in range(4)
    ]
    assert split.connectivity_bytes(graph) == (
        sum(graph.tensor_bytes[t] for t, _ in sent)
        + graph.tensor_bytes["source"] * (len(first) - 1)
        + min(gathered)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: concurrency_score(TaskGraph((), {}, (), ()), 2), "graph must have at least one"),
        (lambda: concurrency_score(FAN, 0), "units must be at least 1, got 0"),
        (lambda: concurrency_score(FAN, 2, epsilons=()), "epsilons must hold at least one"),
        (lambda: concurrency_score(FAN, 2, epsilons=[-0.1]), "epsilon must not be negative"),
    ],
)
def test_a_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
