"""What a network's bundle will come to, without writing its plan down.

`predict` takes the steps of `keras_concurrent.planning.segments.plan_segments` (chains and whole
vertices, list schedules and packings, a search, calls that are merged into segments, the comparison
with one board) on arrays alone, and searches less: candidates are predicted by the thousand, and by
the same costs as the bundle that the chosen one becomes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.chains import chains_as_tasks, vertices
from keras_concurrent.planning.effort import SCREENING, Effort
from keras_concurrent.planning.problem import (
    Array,
    Problem,
    fastest_first,
    new_state,
    planned_order,
    problem_of,
)  # fmt: skip
from keras_concurrent.planning.taskgraph import TaskGraph


@dataclass(frozen=True)
class Prediction:
    """Predicted latencies of one image, calls included.

    Args:
        latency_s: on the boards; on one of them where that is best.
        one_board_latency_s: as one segment on the best board.
    """

    latency_s: float
    one_board_latency_s: float


def predict(graph: TaskGraph, cluster: Cluster, effort: Effort = SCREENING) -> Prediction:
    """Predict what a graph's plan of segments will take.

    Args:
        graph: the tasks; their chains are merged first, and then what a vertex computes.
        cluster: the boards and their network.
        effort: of the search, among whole vertices; nothing is polished.

    Raises:
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output.
    """
    from keras_concurrent.planning import merging
    from keras_concurrent.planning.annealing import search
    from keras_concurrent.planning.portfolio import portfolio

    boards = fastest_first(cluster)
    call_s = np.array([board.call_s for board in boards])
    chained = chains_as_tasks(graph)
    grains = [chained]
    wholes = vertices(chained)
    if len(wholes) < len(chained.tasks):
        grains.append(chained.quotient(wholes))
    alone, shared_s = [math.inf], math.inf
    for grain in grains:
        problem = problem_of(grain, cluster)
        scratch = new_state(problem)
        state, other, _, _ = portfolio(problem, len(boards))
        plans = [(state.board.copy(), planned_order(state))]
        if grain is grains[-1]:
            alone = [merging.as_one_s(problem, scratch, call_s, on) for on in range(len(boards))]
            if effort.evaluations:
                search(problem, (state, other), len(boards), effort)
                plans.append((state.board, planned_order(state)))
        for board, order in plans:
            ordered = _in_order(problem, order)
            _, merged_s = merging.merge(ordered, scratch, call_s, board[order])
            shared_s = min(shared_s, merged_s)
    return Prediction(min(shared_s, *alone), min(alone))


def _in_order(problem: Problem, order: Array) -> Problem:
    """The same tasks in another topological order."""
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    reads, reads_from = _reordered(problem.reads, problem.reads_from, order)
    writes, writes_from = _reordered(problem.writes, problem.writes_from, order)
    return problem._replace(
        reads=reads,
        reads_from=reads_from,
        writes=writes,
        writes_from=writes_from,
        producer=np.where(problem.producer < 0, problem.producer, place[problem.producer]),
        name_rank=problem.name_rank[order],
        pinned=problem.pinned[order],
        seconds=problem.seconds[order],
        mean_s=problem.mean_s[order],
        weights=problem.weights[order],
    )


def _reordered(items: Array, starts: Array, order: Array) -> tuple[Array, Array]:
    """Items that belong to tasks, task after task, and where each task's begin, reordered."""
    counts = np.diff(starts)[order]
    ends = np.cumsum(counts)
    first = np.repeat(starts[order] - (ends - counts), counts)
    return items[first + np.arange(items.size)], np.concatenate(([0], ends))
