"""Which tasks of a plan run in one call.

A call of the interpreter costs its board some time, and a segment's tensors travel only when all of
it is done. So neighbours in a board's planned order are merged as long as the latency, calls
included, does not grow. Segments that would wait for each other are never made.
"""

from __future__ import annotations

import numpy as np

from keras_concurrent.planning.annealing import successors_of
from keras_concurrent.planning.kernel import place_below
from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import Array, Problem, State

_ROUNDING = 1 + 1e-9  # latencies this close are equal: they are sums in another order


@compiled
def _order(problem: Problem, after: Array, after_from: Array, segment: Array, order: Array) -> int:
    """Topological order of the segments, the one that begins earliest in the plan first.

    Args:
        problem: its tasks are in planned order.
        after: successors of the tasks, see `keras_concurrent.planning.annealing.successors_of`.
        after_from: where each task's begin.
        segment: (n) the first task of each task's segment.
        order: (n) filled with the segments' first tasks.

    Returns:
        How many were put in order: all segments, unless some wait for each other.
    """
    reads, reads_from, producer = problem.reads, problem.reads_from, problem.producer
    tasks = segment.size
    waits_for = np.zeros(tasks, np.int64)
    for task in range(tasks):
        for i in range(reads_from[task], reads_from[task + 1]):
            before = producer[reads[i]]
            if before >= 0 and segment[before] != segment[task]:
                waits_for[segment[task]] += 1
    done = np.zeros(tasks, np.bool_)
    found, first = 0, 0
    while first < tasks:
        if segment[first] != first or done[first] or waits_for[first] > 0:
            first += 1
            continue
        order[found] = first
        found += 1
        done[first] = True
        earliest = first + 1
        for task in range(first, tasks):
            if segment[task] != first:
                continue
            for i in range(after_from[task], after_from[task + 1]):
                behind = segment[after[i]]
                if behind != first:
                    waits_for[behind] -= 1
                    if waits_for[behind] == 0 and behind < earliest:
                        earliest = behind
        first = earliest
    return found


@compiled
def _latency(
    problem: Problem,
    state: State,
    call_s: Array,
    board: Array,
    after: Array,
    after_from: Array,
    segment: Array,
) -> float:
    """Latency with these segments, calls included; infinite where they wait for each other."""
    reads, reads_from, writes, writes_from = (
        problem.reads,
        problem.reads_from,
        problem.writes,
        problem.writes_from,
    )
    tasks, boards = problem.seconds.shape
    order = np.empty(tasks, np.int64)
    count = _order(problem, after, after_from, segment, order)
    total = 0
    for task in range(tasks):
        total += segment[task] == task
    if count < total:
        return float(np.inf)
    leaves = np.zeros(problem.producer.size, np.bool_)  # its segment
    for tensor in problem.wanted:
        leaves[tensor] = True
    for task in range(tasks):
        for i in range(reads_from[task], reads_from[task + 1]):
            before = problem.producer[reads[i]]
            if before >= 0 and segment[before] != segment[task]:
                leaves[reads[i]] = True
    number = np.empty(tasks, np.int64)
    for position in range(count):
        number[order[position]] = position
    its_reads = np.empty(reads.size, np.int64)
    its_reads_from = np.zeros(count + 1, np.int64)
    its_writes = np.empty(writes.size, np.int64)
    its_writes_from = np.zeros(count + 1, np.int64)
    seconds = np.zeros((count, boards))
    weights = np.zeros(count)
    producer = np.full(problem.producer.size, -1)
    read_by = np.full(problem.producer.size, -1)
    for position in range(count):
        first = order[position]
        on = board[first]
        seconds[position, on] = call_s[on]
        r, w = its_reads_from[position], its_writes_from[position]
        for task in range(first, tasks):
            if segment[task] != first:
                continue
            seconds[position, on] += problem.seconds[task, on]
            weights[position] += problem.weights[task]
            for i in range(reads_from[task], reads_from[task + 1]):
                before = problem.producer[reads[i]]
                inside = before >= 0 and segment[before] == first
                if not inside and read_by[reads[i]] != position:
                    read_by[reads[i]] = position
                    its_reads[r] = reads[i]
                    r += 1
            for i in range(writes_from[task], writes_from[task + 1]):
                if leaves[writes[i]]:
                    producer[writes[i]] = position
                    its_writes[w] = writes[i]
                    w += 1
        its_reads_from[position + 1], its_writes_from[position + 1] = r, w
    merged = Problem(
        its_reads,
        its_reads_from,
        its_writes,
        its_writes_from,
        # A tensor that stays in its segment has no client to come from either: nobody reads it.
        producer,
        problem.wanted,
        problem.name_rank,
        problem.pinned,
        seconds,
        problem.mean_s,
        weights,
        problem.sizes,
        problem.memory,
        problem.interface,
        problem.byte_s,
        problem.latency_s,
        problem.message_s,
        problem.message_byte_s,
        problem.mean_byte_s,
        problem.mean_latency_s,
        problem.unfit_s,
    )
    for position in range(count):
        state.board[position] = board[order[position]]
    order = np.arange(count)
    return float(place_below(merged, state, order, boards, False, np.zeros(0), np.inf))


def as_one_s(problem: Problem, state: State, call_s: Array, board: int) -> float:
    """Latency of all tasks in one call on one board, in seconds; arguments as of `merge`."""
    tasks = problem.seconds.shape[0]
    after, after_from = successors_of(problem)
    where, segment = np.full(tasks, board), np.zeros(tasks, np.int64)
    return float(_latency(problem, state, call_s, where, after, after_from, segment))


def merge(problem: Problem, state: State, call_s: Array, board: Array) -> tuple[Array, float]:
    """Merge neighbours of each board's planned order.

    Args:
        problem: its tasks are in planned order; calls cost nothing in it.
        state: scratch, from `keras_concurrent.planning.problem.new_state`.
        call_s: (k) fixed cost of a call on each board.
        board: (n) where each task is.

    Returns:
        (n) the first task of each task's segment, and the latency, calls included, in seconds.
    """
    tasks, boards = problem.seconds.shape
    after, after_from = successors_of(problem)
    segment = np.arange(tasks)
    best = float(_latency(problem, state, call_s, board, after, after_from, segment))
    improved = True
    while improved:
        improved = False
        for on in range(boards):
            last = -1  # the segment before, on this board
            for task in np.flatnonzero(board == on).tolist():
                if segment[task] != task:
                    continue
                if last >= 0:
                    trial = np.where(segment == task, last, segment)
                    found = _latency(problem, state, call_s, board, after, after_from, trial)
                    if found <= best * _ROUNDING:
                        best = float(found)
                        segment = trial
                        improved = True
                        continue  # the longer segment is tried with the next one too
                last = task
    return segment, best
