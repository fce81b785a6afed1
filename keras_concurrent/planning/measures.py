"""What a plan's score is made of, measured in compiled code."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_concurrent.planning.kernel import place_below
from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import Array, Problem, State


class Figures(NamedTuple):
    """What a plan's score is made of, in seconds.

    Args:
        work_s: sum of all tasks on the fastest board.
        path_s: sum of the longest path on the fastest board.
        traffic_s: sum of all tensors that one task writes and another reads, each sent once.
        spent_s: sum of all tasks where they are.
        longest_s: sum of the board that works longest.
        free_s: the plan's latency on a free network.
    """

    work_s: float
    path_s: float
    traffic_s: float
    spent_s: float
    longest_s: float
    free_s: float


@compiled
def figures(problem: Problem, state: State, order: Array, durations_s: Array) -> Figures:
    """Measure a plan; ``state`` is left as the same plan on a free network.

    Args:
        problem: what was planned.
        state: ``board`` says where each task is.
        order: (n) the tasks as planned.
        durations_s: (n) seconds that each takes where it is.
    """
    reads, reads_from, writes, writes_from = (
        problem.reads,
        problem.reads_from,
        problem.writes,
        problem.writes_from,
    )
    producer, seconds = problem.producer, problem.seconds
    tasks, boards = seconds.shape
    work_s, path_s, traffic_s = 0.0, 0.0, 0.0
    ready = np.zeros(producer.size)
    counted = producer < 0
    for task in range(tasks):
        before = 0.0
        for i in range(reads_from[task], reads_from[task + 1]):
            tensor = reads[i]
            before = max(before, ready[tensor])
            if not counted[tensor]:
                counted[tensor] = True
                traffic_s += problem.sizes[tensor] * problem.mean_byte_s + problem.mean_latency_s
        work_s += seconds[task, 0]
        path_s = max(path_s, before + seconds[task, 0])
        for i in range(writes_from[task], writes_from[task + 1]):
            ready[writes[i]] = before + seconds[task, 0]
    loads_s = np.zeros(boards)
    where_they_are = np.empty_like(seconds)
    for task in range(tasks):
        loads_s[state.board[task]] += durations_s[task]
        where_they_are[task, :] = durations_s[task]
    free = Problem(
        reads,
        reads_from,
        writes,
        writes_from,
        producer,
        problem.wanted,
        problem.name_rank,
        problem.pinned,
        where_they_are,
        problem.mean_s,
        problem.weights,
        problem.sizes,
        np.full(boards, np.inf),
        problem.interface,
        np.zeros_like(problem.byte_s),
        np.zeros_like(problem.latency_s),
        np.zeros(boards + 1),
        np.zeros(boards + 1),
        0.0,
        0.0,
        0.0,
    )
    free_s = place_below(free, state, order, boards, False, np.zeros(0), np.inf)
    return Figures(work_s, path_s, traffic_s, loads_s.sum(), loads_s.max(), free_s)
