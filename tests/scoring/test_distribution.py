import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.taskgraph import Task, TaskGraph
from keras_concurrent.scoring.distribution import balance, components, distribute


def chains(*lengths):
    """Chains a0 a1 ..., b0 b1 ..., that read one image."""
    tasks = []
    for letter, length in zip("abcdefgh", lengths, strict=False):
        for i in range(length):
            before = f"{letter}{i - 1}" if i else "image"
            tasks.append(Task(f"{letter}{i}", 1, (before,), (f"{letter}{i}",)))
    read = {t for task in tasks for t in task.inputs}
    outputs = tuple(task.name for task in tasks if task.name not in read)
    sizes = {"image": 1, **{task.name: 1 for task in tasks}}
    return TaskGraph(tuple(tasks), sizes, ("image",), outputs)


def loads(split):
    return [list(split.unit_of.values()).count(unit) for unit in range(split.units)]


def test_components_do_not_hang_together_by_the_source():
    assert components(chains(2, 1, 3)) == [["a0", "a1"], ["b0"], ["c0", "c1", "c2"]]


def test_the_largest_goes_first_to_the_least_loaded_unit():
    # By length: b 5 -> unit 0, d 4 -> 1, a 3 -> 2, c 2 -> 2 (3 < 4 < 5), e 1 -> 1 (4 < 5 = 5).
    split = distribute(chains(3, 5, 2, 4, 1), 3)
    assert {name[0]: unit for name, unit in split.unit_of.items()} == {
        "b": 0, "d": 1, "a": 2, "c": 2, "e": 1,
    }  # fmt: skip
    assert loads(split) == [5, 5, 5]


def test_equal_components_and_units_are_taken_in_order():
    split = distribute(chains(2, 2, 2), 2)
    assert {name[0]: unit for name, unit in split.unit_of.items()} == {"a": 0, "b": 1, "c": 0}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), units=st.integers(1, 10))
def test_no_component_is_ever_cut(seed, units):
    graph = TaskGraph.from_architecture(
        stage(generate("DP", 30, seed=seed), (16, 16, 3), 10, staging="uniform")
    )
    split = distribute(graph, units)
    assert set(split.unit_of) == {task.name for task in graph.tasks}
    for task in graph.tasks:
        for before in graph.predecessors[task.name]:
            assert split.unit_of[before] == split.unit_of[task.name]
    # Graham's bound for the longest-first rule: at most the mean plus the largest component.
    largest = max(map(len, components(graph)))
    assert max(loads(split)) <= len(graph.tasks) / units + largest


def test_balance_is_1_when_even_and_0_on_one_unit():
    assert balance([7, 7, 7]) == pytest.approx(1)
    assert balance([9, 0, 0]) == 0
    assert balance([3]) == 1
    # Two of three units: log 2 / log 3.
    assert balance([4, 4, 0]) == pytest.approx(math.log(2) / math.log(3))
    # Shares 3/4 and 1/4.
    by_hand = (0.75 * math.log(4 / 3) + 0.25 * math.log(4)) / math.log(2)
    assert balance([3, 1]) == pytest.approx(by_hand)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="units must be at least 1, got 0"):
        distribute(chains(1), 0)
    for empty in ([], [0, 0]):
        with pytest.raises(ValueError, match="loads must hold some load"):
            balance(empty)
