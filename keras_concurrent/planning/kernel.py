"""The execution model of `keras_concurrent.planning.schedule` in compiled code, on arrays.

`place` is the only scheduler: it walks an order of the tasks and puts each on its given board or,
where none is given, on the board that finishes it first. All else is made of it: list schedules let
it choose the boards, a given assignment is decoded by it, and so is a plan on a free network. A
search keeps one `State`, writes ``board`` and an order, and calls `place` again and again: 2 us for
40 tasks on 4 boards.

Importing this module needs numba. What it compiles stays beside it on disk for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar, cast

import numpy as np

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.planning.problem import ANY, Array, Problem, State

try:
    import numba
except ImportError as error:
    raise MissingExtraError("numba", "design") from error

_Function = TypeVar("_Function", bound=Callable[..., object])

_NOWHERE = -1.0  # in State.at
_UNFIT = 1000.0  # a thousandth of a board's memory too much costs as much as any at all


def compiled(function: _Function) -> _Function:
    """Compile at the first call and keep it on disk.

    Helpers that run in the innermost loop take arrays and no tuple of them: numba counts a
    reference each time it takes an array out of a tuple, which would cost more than the work.
    """
    return cast(_Function, numba.njit(cache=True)(function))


@compiled
def _earliest_gap(taken: Array, lengths: Array, line: int, ready: float, duration: float) -> float:
    """First moment from ``ready`` on at which a line does nothing for ``duration``."""
    end = lengths[line]
    if end == 0 or taken[line, end - 1, 1] <= ready:  # most often
        return ready
    first = end
    while first > 0 and (
        taken[line, first - 1, 0] > ready
        or (taken[line, first - 1, 0] == ready and taken[line, first - 1, 1] > ready)
    ):
        first -= 1
    start = ready
    for i in range(max(0, first - 1), end):
        if start + duration <= taken[line, i, 0]:
            break
        start = max(start, taken[line, i, 1])
    return start


@compiled
def _take(taken: Array, lengths: Array, line: int, start: float, end: float) -> None:
    """Note what a line does."""
    i = lengths[line]
    while i > 0 and (
        taken[line, i - 1, 0] > start
        or (taken[line, i - 1, 0] == start and taken[line, i - 1, 1] > end)
    ):
        taken[line, i, 0] = taken[line, i - 1, 0]
        taken[line, i, 1] = taken[line, i - 1, 1]
        i -= 1
    taken[line, i, 0] = start
    taken[line, i, 1] = end
    lengths[line] += 1


@compiled
def _release(taken: Array, lengths: Array, line: int, start: float, end: float) -> None:
    """Strike what was noted."""
    lengths[line] -= 1
    i = lengths[line]
    while taken[line, i, 0] != start or taken[line, i, 1] != end:
        i -= 1
    for j in range(i, lengths[line]):
        taken[line, j, 0] = taken[line, j + 1, 0]
        taken[line, j, 1] = taken[line, j + 1, 1]


@compiled
def _sort_by_arrival(tensors: Array, first: int, end: int, since_s: Array, result: Array) -> None:
    """Sort ``tensors[first:end]`` as they become ready to be sent; of equals, by name."""
    for i in range(end - first):
        tensor = tensors[first + i]
        ready = since_s[tensor]
        j = i
        while j > 0:
            other = result[j - 1]
            there = since_s[other]
            if there < ready or (there == ready and other <= tensor):
                break
            result[j] = other
            j -= 1
        result[j] = tensor


@compiled
def _send(
    tensor: int,
    receiver: int,
    line: int,
    held_s: float,
    latency_s: float,
    ready: float,
    at: Array,
    sent_from: Array,
    taken: Array,
    lengths: Array,
) -> None:
    """Send a tensor in the earliest gap of its holder's line, once it is ready there."""
    start = _earliest_gap(taken, lengths, line, ready, held_s)
    _take(taken, lengths, line, start, start + held_s)
    sent_from[tensor, receiver] = start
    at[tensor, receiver] = start + held_s + latency_s


@compiled
def place(problem: Problem, state: State, order: Array, boards: int, fill_gaps: bool) -> float:
    """Plan the tasks one after another; see `place_below`.

    Returns:
        The latency, in seconds.
    """
    return place_below(problem, state, order, boards, fill_gaps, np.zeros(0), np.inf)


@compiled
def place_below(
    problem: Problem,
    state: State,
    order: Array,
    boards: int,
    fill_gaps: bool,
    tail_s: Array,
    most_s: float,
) -> float:
    """Plan the tasks one after another, and give up where the latency grows too long.

    Args:
        problem: what to plan.
        state: ``board`` says where each task goes; where it is ``ANY`` it is filled in, and all
            other arrays are.
        order: a topological order of all tasks.
        boards: a task that may go anywhere goes on one of the first so many.
        fill_gaps: a task may start in a gap between those planned earlier on its board.
        tail_s: (n) what passes at least from a task's end to the answer; not looked at where
            ``most_s`` is infinite.
        most_s: a latency above it is of no interest.

    Returns:
        The latency: when the client has the last tensor that it waits for, in seconds. Infinity,
        once it is known to be above ``most_s``. A plan that needs more memory than the boards have
        costs ``unfit_s`` on top, and more the more it needs.
    """
    reads, reads_from, writes, writes_from = (
        problem.reads,
        problem.reads_from,
        problem.writes,
        problem.writes_from,
    )
    producer, wanted, seconds = problem.producer, problem.wanted, problem.seconds
    weights, sizes, memory = problem.weights, problem.sizes, problem.memory
    interface, byte_s, latency_s = problem.interface, problem.byte_s, problem.latency_s
    board, start_s, end_s, turn = state.board, state.start_s, state.end_s, state.turn
    holder, since_s, at, sent_from = state.holder, state.since_s, state.at, state.sent_from
    taken, lengths, used = state.taken, state.lengths, state.used
    inputs, booked = state.inputs, state.booked
    client = seconds.shape[1]
    for line in range(lengths.size):
        lengths[line] = 0
    for on in range(client):
        used[on] = 0.0
    for tensor in range(producer.size):
        for receiver in range(client + 1):
            at[tensor, receiver] = _NOWHERE
        if producer[tensor] < 0:
            holder[tensor], since_s[tensor] = client, 0.0
            at[tensor, client] = 0.0
    for position in range(order.size):
        task = order[position]
        turn[task] = position
        _sort_by_arrival(reads, reads_from[task], reads_from[task + 1], since_s, inputs)
        many = reads_from[task + 1] - reads_from[task]
        own = weights[task]
        for i in range(writes_from[task], writes_from[task + 1]):
            own += sizes[writes[i]]
        chosen, earliest = board[task], np.inf
        first, last = (0, boards) if chosen == ANY else (0, 0)
        # Every candidate is tried and taken back; the last round is for the chosen one.
        for attempt in range(first, last + 1):
            on = chosen if attempt == last else attempt
            if first < attempt < last:
                # Without queues it would end no sooner than at the best board so far.
                soonest = 0.0 if fill_gaps or not lengths[on] else taken[on, lengths[on] - 1, 1]
                for i in range(many):
                    tensor = inputs[i]
                    there = at[tensor, on]
                    if there == _NOWHERE:
                        sender = holder[tensor]
                        there = since_s[tensor] + sizes[tensor] * byte_s[sender, on]
                        there += latency_s[sender, on]
                    soonest = max(soonest, there)
                if soonest + seconds[task, on] >= earliest:
                    continue
            ready, needed = 0.0, used[on] + own
            for i in range(many):
                tensor = inputs[i]
                booked[i] = at[tensor, on] == _NOWHERE
                if booked[i]:
                    sender = holder[tensor]
                    _send(
                        tensor, on, interface[sender], sizes[tensor] * byte_s[sender, on],
                        latency_s[sender, on], since_s[tensor], at, sent_from, taken, lengths,
                    )  # fmt: skip
                    needed += sizes[tensor]
                ready = max(ready, at[tensor, on])
            start, duration = ready, seconds[task, on]
            if fill_gaps:
                start = _earliest_gap(taken, lengths, on, ready, duration)
            elif lengths[on]:
                start = max(ready, taken[on, lengths[on] - 1, 1])
            end = start + duration
            if attempt == last:
                if most_s < np.inf and end + tail_s[task] > most_s:
                    return float(np.inf)
                _take(taken, lengths, on, start, end)
                used[on] = needed
                board[task], start_s[task], end_s[task] = on, start, end
                for i in range(writes_from[task], writes_from[task + 1]):
                    holder[writes[i]], since_s[writes[i]] = on, end
                    at[writes[i], on] = end
                break
            if needed > memory[on]:
                end += problem.unfit_s * (needed / memory[on])
            if end < earliest or attempt == first:
                chosen, earliest = on, end
            for i in range(many):
                if booked[i]:
                    tensor = inputs[i]
                    sender, sent = holder[tensor], sent_from[tensor, on]
                    held_s = sizes[tensor] * byte_s[sender, on]
                    _release(taken, lengths, interface[sender], sent, sent + held_s)
                    at[tensor, on] = _NOWHERE
    latency = 0.0
    _sort_by_arrival(wanted, 0, wanted.size, since_s, inputs)
    for i in range(wanted.size):
        tensor = inputs[i]
        if at[tensor, client] == _NOWHERE:
            sender = holder[tensor]
            _send(
                tensor, client, interface[sender], sizes[tensor] * byte_s[sender, client],
                latency_s[sender, client], since_s[tensor], at, sent_from, taken, lengths,
            )  # fmt: skip
        latency = max(latency, at[tensor, client])
    excess = 0.0
    for on in range(client):
        if used[on] > memory[on]:
            excess += used[on] / memory[on] - 1.0
    if excess > 0.0:
        latency += problem.unfit_s * (1.0 + _UNFIT * excess)
    return latency


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
        0.0,
        0.0,
        0.0,
    )
    free_s = place(free, state, order, boards, False)
    return Figures(work_s, path_s, traffic_s, loads_s.sum(), loads_s.max(), free_s)
