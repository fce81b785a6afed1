"""Plans made in no time, from which a search starts: list schedules, and packed clusters.

A list schedule puts the most urgent task first, each on the board that finishes it first; it looks
no further than the next task. Where messages are slow, it is better to leave together what hands
each other much: packing does that, and knows no order. One of them is usually near a good plan.
"""

from __future__ import annotations

import numpy as np

from keras_concurrent.planning.kernel import place, place_below
from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import ANY, Array, Problem, State, new_state
from keras_concurrent.planning.ranks import tails_s, urgency_order

COMMUNICATION_WEIGHTS = (0.0, 0.5, 1.0)
_ROUNDING = 1 + 1e-9  # the same sum in another order is no longer
_CUTS = (0.0, 0.25, 0.5, 0.75)  # shares of the tensors, the smallest first, that bind nothing


@compiled
def _unplaced(problem: Problem, state: State, board: int) -> None:
    """Put every task that is not pinned on a board, or on ``ANY``."""
    for task in range(problem.pinned.size):
        pinned = problem.pinned[task]
        state.board[task] = board if pinned == ANY else pinned


@compiled
def _twin_before(problem: Problem, board: int) -> bool:
    """Whether all tasks on this board alone take what they take on one tried before."""
    client = problem.seconds.shape[1]
    if problem.pinned.max() != ANY:  # then they are not all on it
        return False
    for other in range(board):
        if (
            problem.memory[other] == problem.memory[board]
            and problem.message_s[other] == problem.message_s[board]
            and problem.message_byte_s[other] == problem.message_byte_s[board]
            and problem.byte_s[client, other] == problem.byte_s[client, board]
            and problem.byte_s[other, client] == problem.byte_s[board, client]
            and problem.latency_s[client, other] == problem.latency_s[client, board]
            and problem.latency_s[other, client] == problem.latency_s[board, client]
            and np.array_equal(problem.seconds[:, other], problem.seconds[:, board])
        ):
            return True
    return False


@compiled
def list_schedules(problem: Problem, state: State, boards: int) -> tuple[float, float]:
    """HEFT with the interface in it: leave the best list schedule on 1, 2, ... boards in ``state``.

    One board is whichever is best, more are the fastest. Ranks weigh communication by each of
    ``COMMUNICATION_WEIGHTS``. Of equal plans the first is taken: the one on fewer boards.

    Returns:
        Least latency on one board, and on as many as are best, in seconds.
    """
    tasks, weights = problem.mean_s.size, len(COMMUNICATION_WEIGHTS)
    orders = np.empty((weights, tasks), np.int64)
    for i in range(weights):
        orders[i] = urgency_order(problem, COMMUNICATION_WEIGHTS[i])
    tail_s = tails_s(problem)
    alone_s, least_s = np.inf, np.inf
    best_board, best_order = np.zeros(tasks, np.int64), orders[0].copy()
    for attempt in range(2 * boards - 1):
        alone = attempt < boards
        if alone and _twin_before(problem, attempt):
            continue
        allowed = 1 if alone else attempt - boards + 2
        for i in range(weights):
            _unplaced(problem, state, attempt if alone else ANY)
            latency_s = _place_sooner(problem, state, orders[i], allowed, tail_s, least_s)
            if latency_s < least_s:
                least_s = latency_s
                best_board[:] = state.board
                _note_order(state, best_order)
        if alone:
            alone_s = least_s
    state.board[:] = best_board
    place(problem, state, best_order, boards, False)
    return alone_s, least_s


@compiled
def _note_order(state: State, order: Array) -> None:
    """Fill in the order in which the tasks were placed."""
    for task in range(order.size):
        order[state.turn[task]] = task


@compiled
def _place_sooner(
    problem: Problem, state: State, order: Array, boards: int, tail_s: Array, least_s: float
) -> float:
    """The latency of an order; infinity where it is known early to be above the least so far."""
    most_s = least_s * _ROUNDING
    return place_below(problem, state, order, boards, True, tail_s, most_s)


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
def pack(problem: Problem, state: State, boards: int) -> float:
    """Leave the best packing of clusters on the fastest 2, 3, ... boards in ``state``.

    Tasks are bound together by all tensors between them, or only by the larger ones. On one board
    there is nothing to pack: it is left to the list schedules.

    Returns:
        Its latency, in seconds; infinity where there is one board.
    """
    tasks, shares = problem.pinned.size, len(_CUTS)
    between = problem.reads[problem.producer[problem.reads] >= 0]
    sizes = np.sort(problem.sizes[between])
    order = urgency_order(problem, 1.0)
    tail_s = tails_s(problem)
    least_s, before = np.inf, -1.0
    best_board, best_order = np.zeros(tasks, np.int64), order.copy()
    for i in range(shares):
        bound = sizes[int(sizes.size * _CUTS[i])] if sizes.size else 0.0
        if bound == before:  # the same clusters again
            continue
        before = bound
        head = _bound_together(problem, bound)
        for allowed in range(2, boards + 1):
            _spread(problem, head, state.board, allowed)
            latency_s = _place_sooner(problem, state, order, allowed, tail_s, least_s)
            if latency_s < least_s:
                least_s = latency_s
                best_board[:] = state.board
                _note_order(state, best_order)
    state.board[:] = best_board
    place(problem, state, best_order, boards, False)
    return least_s


def portfolio(problem: Problem, boards: int) -> tuple[State, State, float, float]:
    """The best list schedule and the best packing, the better one first.

    Returns:
        Two plans, the latency of the first, and the least on one board, in seconds.
    """
    listed, packed = new_state(problem), new_state(problem)
    alone_s, listed_s = list_schedules(problem, listed, boards)
    packed_s = pack(problem, packed, boards)
    first, second = (packed, listed) if packed_s < listed_s else (listed, packed)
    return first, second, min(listed_s, packed_s), alone_s
