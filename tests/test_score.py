import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.architecture import stage
from keras_concurrent.generators import generate
from keras_concurrent.partition import Partition, partition
from keras_concurrent.score import EPSILONS, concurrency_score, eta, longest_path, rate
from keras_concurrent.taskgraph import Task, TaskGraph


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


# Fig. 5a without source and sink: the longest path is A D F G E? No: A-D-F-G-E is A D F G,
# then E is also fed by A and reads G in the paper's drawing as an undirected edge G-E; with the
# direction along the path it is A D F G, G-H. See the test for the six vertices.
FIG_5A = [
    ("A", "D"), ("A", "E"), ("D", "F"), ("F", "G"), ("E", "G"), ("G", "H"), ("B", "I")
]  # fmt: skip


def test_eta_of_figure_5():
    n = 3
    first = graph_of(FIG_5A, vertices="C")
    assert len(first.tasks) == 9
    assert longest_path(first) / (9 / n) == eta(first, n)
    lanes = grid(3, 5)
    assert eta(lanes, n) == 5 / (15 / 3) == 1
    widths = [3, 1, 3, 1, 3, 1, 3]
    levels = [[f"{level}{i}" for i in range(width)] for level, width in enumerate(widths)]
    pinched = graph_of(
        [
            (a, b)
            for one, two in zip(levels, levels[1:], strict=False)
            for a in one
            for b in two
        ]
    )
    assert eta(pinched, n) == pytest.approx(7 / (15 / 3)) == pytest.approx(1.4)
    chain = graph_of([(f"{i}", f"{i + 1}") for i in range(6)])
    assert eta(chain, n) == pytest.approx(7 / (7 / 3)) == 3
    print(longest_path(first))
