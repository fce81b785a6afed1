"""Plans made in no time, from which a search starts: list schedules, and packed clusters.

A list schedule puts the most urgent task first, each on the board that finishes it first; it looks
no further than the next task. Where messages are slow, it is better to leave together what hands
each other much: packing does that, and knows no order. One of them is usually near a good plan.
"""

from __future__ import annotations

import numpy as np

from keras_concurrent.kernel import compiled, place, urgency_order
from keras_concurrent.problem import ANY, Array, Problem, State, new_state

COMMUNICATION_WEIGHTS = (0.0, 0.5, 1.0)
_CUTS = (0.0, 0.25, 0.5, 0.75)  # shares of the tensors, the smallest first, that bind nothing


@compiled
def _unplaced(problem: Problem, state: State, board: int) -> None:
    """Put every task that is not pinned on a board, or on ``ANY``."""
    for task in range(problem.pinned.size):
        pinned = problem.pinned[task]
        state.board[task] = board if pinned == ANY else pinned


@compiled
def list_schedules(problem: Problem, state: State, boards: int) -> Array:
    """HEFT with the interface in it: leave the best list schedule on 1, 2, ... boards in ``state``.

    One board is whichever is best, more are the fastest. Ranks weigh communication by each of
    ``COMMUNICATION_WEIGHTS``. Of equal plans the first is taken: the one on fewer boards.

    Returns:
        (boards) least latency on 1, 2, ... boards, in seconds.
    """
    tasks, weights = problem.mean_s.size, len(COMMUNICATION_WEIGHTS)
    orders = np.empty((weights, tasks), np.int64)
    for i in range(weights):
        orders[i] = urgency_order(problem, COMMUNICATION_WEIGHTS[i])
    latencies = np.full(boards, np.inf)
    least, best_order = np.inf, 0
    best_board = np.zeros(tasks, np.int64)
    for attempt in range(2 * boards - 1):
        alone = attempt < boards
        allowed = 1 if alone else attempt - boards + 2
        for i in range(weights):
            _unplaced(problem, state, attempt if alone else ANY)
            latency = place(problem, state, orders[i], allowed, True)
            latencies[allowed - 1] = min(latencies[allowed - 1], latency)
            if latency < least:
                least, best_order = latency, i
                best_board[:] = state.board
    state.board[:] = best_board
    place(problem, state, orders[best_order], boards, True)
    return latencies


@compiled
def _bound_together(problem: Problem, least_bytes: float) -> Array:
    """(n) the first task of each task's cluster: tasks that hand each other a large tensor."""
    tasks = problem.pinned.size
    head = np.arange(tasks)
    for task in range(tasks):
        for i in range(problem.reads_from[task], problem.reads_from[task + 1]):
            tensor = problem.reads[i]
            if problem.producer[tensor] < 0 or problem.sizes[tensor] < least_bytes:
                continue
            a, b = problem.producer[tensor], task
            while head[a] != a:
                a = head[a]
            while head[b] != b:
                b = head[b]
            head[max(a, b)] = min(a, b)
    for task in range(tasks):
        head[task] = head[head[task]]  # the head's own is known, for it comes first
    return head


@compiled
def _spread(problem: Problem, head: Array, board: Array, boards: int) -> None:
    """Longest cluster first, each where it would end first if nothing ever waited."""
    tasks = head.size
    work_s = np.zeros(tasks)
    for task in range(tasks):
        work_s[head[task]] += problem.mean_s[task]
    load_s = np.zeros(boards)
    for cluster in np.argsort(-work_s, kind="mergesort"):
        if head[cluster] != cluster:
            continue
        chosen, earliest = 0, np.inf
        for on in range(boards):
            end = load_s[on]
            for task in range(cluster, tasks):
                if head[task] == cluster:
                    end += problem.seconds[task, on]
            if end < earliest:
                chosen, earliest = on, end
        load_s[chosen] = earliest
        for task in range(cluster, tasks):
            if head[task] == cluster:
                pinned = problem.pinned[task]
                board[task] = chosen if pinned == ANY else pinned


@compiled
def pack(problem: Problem, state: State, boards: int) -> Array:
    """Leave the best packing of clusters on 1, 2, ... boards in ``state``.

    Tasks are bound together by all tensors between them, or only by the larger ones.

    Returns:
        (boards) least latency on the fastest 1, 2, ... boards, in seconds.
    """
    tasks, shares = problem.pinned.size, len(_CUTS)
    between = problem.reads[problem.producer[problem.reads] >= 0]
    sizes = np.sort(problem.sizes[between])
    order = urgency_order(problem, 1.0)
    latencies = np.full(boards, np.inf)
    least = np.inf
    best_board = np.zeros(tasks, np.int64)
    for i in range(shares):
        bound = sizes[int(sizes.size * _CUTS[i])] if sizes.size else 0.0
        head = _bound_together(problem, bound)
        for allowed in range(1, boards + 1):
            _spread(problem, head, state.board, allowed)
            latency = place(problem, state, order, allowed, True)
            latencies[allowed - 1] = min(latencies[allowed - 1], latency)
            if latency < least:
                least = latency
                best_board[:] = state.board
    state.board[:] = best_board
    place(problem, state, order, boards, True)
    return latencies


def portfolio(problem: Problem, boards: int) -> tuple[State, State, Array]:
    """The best list schedule and the best packing, and of both the better one first.

    Returns:
        Two plans, and (boards) the least latency on 1, 2, ... boards, in seconds.
    """
    listed, packed = new_state(problem), new_state(problem)
    listed_s = list_schedules(problem, listed, boards)
    packed_s = pack(problem, packed, boards)
    best_first = (packed, listed) if packed_s.min() < listed_s.min() else (listed, packed)
    return *best_first, np.minimum(listed_s, packed_s)
