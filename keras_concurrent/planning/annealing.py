"""Annealed search for a better plan: who computes what, in which order.

A candidate is a topological order and a board for every task; its cost is the latency to which
`keras_concurrent.planning.kernel.place` comes with them. Most moves change one thing: a task's
board, to any or to a neighbour's; two tasks' boards; a task's place in the order; the board of a
task and of neighbours that were with it. The strongest frees some tasks at once, a stretch of the
order or a task with its neighbours, and lets each go again where it ends first. Worse candidates
are accepted ever more rarely.

The work is counted in evaluations and not in seconds, so that one seed gives one plan on every
machine.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.kernel import place, place_below
from keras_concurrent.planning.lines import compiled
from keras_concurrent.planning.problem import ANY, Array, Problem, State, planned_order
from keras_concurrent.planning.ranks import tails_s

_A_TASK = 1_000  # evaluations of one annealing: several of this length find more than a long one

_HOT, _COLD = 0.03, 0.0005  # of the best latency: how much worse a candidate may well be
_FREE_STRETCH, _FREE_NEIGHBOURS = 0.15, 0.25
_MOVE_CLUSTER, _ANY_BOARD, _NEIGHBOURS_BOARD, _SWAP = 0.3, 0.45, 0.65, 0.75
_ASTRAY = 0.1  # of freed tasks go on any board


@compiled
def successors_of(problem: Problem) -> tuple[Array, Array]:
    """Tasks that read what a task writes, task after task, and (n + 1) where each task's begin."""
    reads, reads_from, producer = problem.reads, problem.reads_from, problem.producer
    tasks = reads_from.size - 1
    starts = np.zeros(tasks + 1, np.int64)
    for tensor in reads:
        if producer[tensor] >= 0:
            starts[producer[tensor] + 1] += 1
    starts = np.cumsum(starts)
    filled = starts.copy()
    after = np.empty(starts[tasks], np.int64)
    for task in range(tasks):
        for i in range(reads_from[task], reads_from[task + 1]):
            before = producer[reads[i]]
            if before >= 0:
                after[filled[before]] = task
                filled[before] += 1
    return after, starts


@compiled
def _equal(a: Array, b: Array) -> bool:
    """Whether two arrays of one length hold the same."""
    for i in range(a.size):  # noqa: SIM110 - compiled
        if a[i] != b[i]:
            return False
    return True


@compiled
def _neighbour(problem: Problem, after: Array, after_from: Array, task: int) -> int:
    """A task that writes what this one reads or reads what it writes; itself if there is none."""
    first, end = problem.reads_from[task], problem.reads_from[task + 1]
    before, behind = end - first, after_from[task + 1] - after_from[task]
    if before + behind == 0:
        return task
    i = np.random.randint(before + behind)
    if i >= before:
        return int(after[after_from[task] + i - before])
    writer = problem.producer[problem.reads[first + i]]
    return int(writer) if writer >= 0 else task


@compiled
def _shift(problem: Problem, after: Array, after_from: Array, order: Array) -> None:
    """Move a task to another place of the order, between those it needs and those that need it."""
    tasks = order.size
    at = np.random.randint(tasks)
    task = order[at]
    low, high = at, at
    while low > 0:
        reads = False
        for i in range(problem.reads_from[task], problem.reads_from[task + 1]):
            reads = reads or problem.producer[problem.reads[i]] == order[low - 1]
        if reads:
            break
        low -= 1
    while high < tasks - 1:
        read = False
        for i in range(after_from[task], after_from[task + 1]):
            read = read or after[i] == order[high + 1]
        if read:
            break
        high += 1
    to = low + np.random.randint(high - low + 1)
    while at < to:
        order[at] = order[at + 1]
        at += 1
    while at > to:
        order[at] = order[at - 1]
        at -= 1
    order[to] = task


@compiled
def _move_cluster(
    problem: Problem, after: Array, after_from: Array, board: Array, task: int, to: int
) -> None:
    """Move a task to a board, and with it neighbours that were on its board, and theirs."""
    tasks = board.size
    most = 2 + np.random.randint(1 + tasks // 2)
    home = board[task]
    if home == to:
        return
    found = np.empty(tasks, np.int64)
    found[0], count = task, 1
    board[task] = to
    at = 0
    while at < count and count < most:
        task = found[at]
        at += 1
        for i in range(problem.reads_from[task], problem.reads_from[task + 1]):
            other = problem.producer[problem.reads[i]]
            if other >= 0 and board[other] == home and count < most:
                board[other] = to
                found[count] = other
                count += 1
        for i in range(after_from[task], after_from[task + 1]):
            other = after[i]
            if board[other] == home and count < most:
                board[other] = to
                found[count] = other
                count += 1


@compiled
def _change(
    problem: Problem, after: Array, after_from: Array, board: Array, order: Array, boards: int
) -> None:
    """One random move, in place."""
    tasks = order.size
    move = np.random.random()
    task = np.random.randint(tasks)
    if move < _FREE_STRETCH:
        length = min(tasks, 2 + np.random.randint(2 + tasks // 4))
        first = np.random.randint(tasks - length + 1)
        for i in range(first, first + length):
            astray = np.random.random() < _ASTRAY
            board[order[i]] = np.random.randint(boards) if astray else ANY
    elif move < _FREE_NEIGHBOURS:
        board[task] = ANY
        for _ in range(1 + np.random.randint(2 + tasks // 8)):
            task = _neighbour(problem, after, after_from, task)
            astray = np.random.random() < _ASTRAY
            board[task] = np.random.randint(boards) if astray else ANY
    elif move < _MOVE_CLUSTER:
        _move_cluster(problem, after, after_from, board, task, np.random.randint(boards))
    elif move < _ANY_BOARD:
        board[task] = np.random.randint(boards)
    elif move < _NEIGHBOURS_BOARD:
        board[task] = board[_neighbour(problem, after, after_from, task)]
    elif move < _SWAP:
        other = np.random.randint(tasks)
        board[task], board[other] = board[other], board[task]
    else:
        _shift(problem, after, after_from, order)


@compiled
def anneal(
    problem: Problem, state: State, order: Array, boards: int, evaluations: int, seed: int,
    start_s: float,
) -> float:  # fmt: skip
    """Search from a plan for a better one.

    Args:
        problem: what to plan.
        state: its boards are where the search starts; those of the best plan found are left in it.
        order: (n) a topological order to start from; the best one's is left in it.
        boards: the fastest so many may be used.
        evaluations: how many candidates to try.
        seed: what the moves are drawn from.
        start_s: the latency of the plan to start from.

    Returns:
        The latency of the best plan, in seconds; never above that of the start.
    """
    np.random.seed(seed)
    after, after_from = successors_of(problem)
    board, best_board, best_order = state.board.copy(), state.board.copy(), order.copy()
    trial_board, trial_order = state.board.copy(), order.copy()
    now_order = order.copy()
    now = best = start_s
    tail_s = tails_s(problem)
    for evaluation in range(evaluations):
        trial_board[:] = board
        trial_order[:] = now_order
        _change(problem, after, after_from, trial_board, trial_order, boards)
        for task in range(order.size):
            if problem.pinned[task] != ANY:
                trial_board[task] = problem.pinned[task]
        if _equal(trial_board, board) and _equal(trial_order, now_order):
            continue
        state.board[:] = trial_board
        warmth = best * _HOT * (_COLD / _HOT) ** (evaluation / evaluations)
        # A worse one is accepted with the probability exp((now - found) / warmth).
        most = now - warmth * np.log(1.0 - np.random.random())
        found = place_below(problem, state, trial_order, boards, False, tail_s, most)
        if found <= most:
            now = found
            board[:] = state.board
            now_order[:] = trial_order
            if found < best:
                best = found
                best_board[:] = board
                best_order[:] = now_order
    state.board[:] = best_board
    order[:] = best_order
    return best


def search(
    problem: Problem,
    starts: Sequence[State],
    boards: int,
    effort: Effort,
) -> None:
    """Improve plans by one annealing after another.

    Args:
        problem: what to plan.
        starts: plans, from which the annealings start in turn; the best one is left in the first.
        boards: the fastest so many may be used.
        effort: its evaluations are of all annealings together, each of which has at most 1,000 a
            task; its seed is of the first, and the next have the next.
    """
    begun = time.monotonic()
    state = starts[0]
    begins = [(start.board.copy(), planned_order(start)) for start in starts]
    best_board, best_order = begins[0]
    best = np.inf
    length = _A_TASK * best_order.size
    for number, done in enumerate(range(0, effort.evaluations, length)):
        over = effort.budget_s is not None and time.monotonic() - begun >= effort.budget_s
        if number and over:
            break
        start_board, start_order = begins[number % len(begins)]
        state.board[:] = start_board
        order = start_order.copy()
        share = min(length, effort.evaluations - done)
        seed = (effort.seed + number) % 2**32
        start_s = place(problem, state, order, boards, False)
        latency_s = anneal(problem, state, order, boards, share, seed, start_s)
        if latency_s < best:
            best, best_board, best_order = latency_s, state.board.copy(), order
    state.board[:] = best_board
    place(problem, state, best_order, boards, False)
