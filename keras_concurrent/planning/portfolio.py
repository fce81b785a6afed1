"""Plans made in no time, from which a search starts: list schedules, and packed clusters.

A list schedule puts the most urgent task first, each on the board that finishes it first; it looks
no further than the next task. Where messages are slow, it is better to leave together what hands
each other much: packing does that, and knows no order. One of them is usually near a good plan.

What plans is compiled; what calls it some dozen times is not, for compiled code holds all that it
calls once more, which would take a new installation ten seconds each.
"""

from __future__ import annotations

import math

import numpy as np

from keras_concurrent.planning.kernel import place, place_below
from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import ANY, Array, Problem, State, new_state
from keras_concurrent.planning.ranks import tails_s, urgency_order

COMMUNICATION_WEIGHTS = (0.0, 0.5, 1.0)
_ROUNDING = 1 + 1e-9  # the same sum in another order is no longer
_CUTS = (0.0, 0.25, 0.5, 0.75)  # shares of the tensors, the smallest first, that bind nothing


def _twin_before(problem: Problem, board: int) -> bool:
    """Whether all tasks on this board alone take what they take on one tried before."""
    client = problem.seconds.shape[1]
    if problem.pinned.max() != ANY:  # then they are not all on it
        return False

    def costs(on: int) -> list[Array]:
        there, back = problem.byte_s[client, on], problem.byte_s[on, client]
        ways = (there, back, problem.latency_s[client, on], problem.latency_s[on, client])
        own = (problem.memory[on], problem.message_s[on], problem.message_byte_s[on])
        return [np.array((*own, *ways)), problem.seconds[:, on]]

    return any(
        all(np.array_equal(a, b) for a, b in zip(costs(other), costs(board), strict=True))
        for other in range(board)
    )


class _Best:
    """The best plan so far.

    Args:
        problem: what is planned.
        state: scratch; the best plan is left in it by `leave`.
    """

    def __init__(self, problem: Problem, state: State) -> None:
        self._problem, self._state = problem, state
        self._tail_s = tails_s(problem)
        self.latency_s = math.inf
        self._board = np.zeros(problem.pinned.size, np.int64)
        self._order = np.arange(problem.pinned.size)

    def offer(self, board: Array, order: Array, boards: int) -> None:
        """Plan with some boards given, see `keras_concurrent.planning.kernel.place_below`."""
        state = self._state
        state.board[:] = board
        most_s = self.latency_s * _ROUNDING
        latency_s = place_below(
            self._problem, state, order, boards, True, self._tail_s, most_s
        )  # fmt: skip
        if latency_s < self.latency_s:
            self.latency_s = latency_s
            self._board = state.board.copy()
            self._order = np.argsort(state.turn)

    def leave(self, boards: int) -> None:
        """Leave the best plan in the state."""
        self._state.board[:] = self._board
        place(self._problem, self._state, self._order, boards, False)


def list_schedules(problem: Problem, state: State, boards: int) -> tuple[float, float]:
    """HEFT with the interface in it: leave the best list schedule on 1, 2, ... boards in ``state``.

    One board is whichever is best, more are the fastest. Ranks weigh communication by each of
    ``COMMUNICATION_WEIGHTS``. Of equal plans the first is taken: the one on fewer boards.

    Returns:
        Least latency on one board, and on as many as are best, in seconds.
    """
    orders = [urgency_order(problem, weight) for weight in COMMUNICATION_WEIGHTS]
    best = _Best(problem, state)

    def offer(board: int, allowed: int) -> None:
        for order in orders:
            given = np.where(problem.pinned == ANY, board, problem.pinned)
            best.offer(given, order, allowed)

    for alone in range(boards):
        if not _twin_before(problem, alone):
            offer(alone, 1)
    alone_s = best.latency_s
    for allowed in range(2, boards + 1):
        offer(ANY, allowed)
    best.leave(boards)
    return alone_s, best.latency_s


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
def _spread(problem: Problem, head: Array, longest_first: Array, board: Array, boards: int) -> None:
    """Each cluster, the longest first, where it would end first if nothing ever waited."""
    tasks = head.size
    load_s = np.zeros(boards)
    for cluster in longest_first:
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


def pack(problem: Problem, state: State, boards: int) -> float:
    """Leave the best packing of clusters on the fastest 2, 3, ... boards in ``state``.

    Tasks are bound together by all tensors between them, or only by the larger ones. On one board
    there is nothing to pack: it is left to the list schedules.

    Returns:
        Its latency, in seconds; infinity where there is one board.
    """
    between = problem.reads[problem.producer[problem.reads] >= 0]
    sizes = np.sort(problem.sizes[between])
    bounds = [float(sizes[int(sizes.size * cut)]) if sizes.size else 0.0 for cut in _CUTS]
    order = urgency_order(problem, 1.0)
    best = _Best(problem, state)
    board = np.zeros(problem.pinned.size, np.int64)
    for bound in dict.fromkeys(bounds):  # equal ones make the same clusters
        head = _bound_together(problem, bound)
        work_s = np.zeros(head.size)
        np.add.at(work_s, head, problem.mean_s)  # one after another: equal on every machine
        longest_first = np.argsort(-work_s, kind="stable")
        for allowed in range(2, boards + 1):
            _spread(problem, head, longest_first, board, allowed)
            best.offer(board, order, allowed)
    best.leave(boards)
    return best.latency_s


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
