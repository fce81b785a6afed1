"""The execution model of `keras_concurrent.planning.schedule` in compiled code, on arrays.

`place` is the only scheduler: it walks an order of the tasks and puts each on its given board or,
where none is given, on the board that finishes it first. All else is made of it: list schedules let
it choose the boards, a given assignment is decoded by it, and so is a plan on a free network. A
search keeps one `State`, writes ``board`` and an order, and calls `place` again and again: 2 us for
40 tasks on 4 boards.

Importing this module needs numba, see `keras_concurrent.planning.lines`.
"""

from __future__ import annotations

import numpy as np

from keras_concurrent.planning.lines import compiled, earliest_gap, release, take
from keras_concurrent.planning.problem import ANY, Array, Problem, State

_NOWHERE = -1.0  # in State.at
_UNFIT = 1000.0  # a thousandth of a board's memory too much costs as much as any at all


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
    start = earliest_gap(taken, lengths, line, ready, held_s)
    take(taken, lengths, line, start, start + held_s)
    sent_from[tensor, receiver] = start
    at[tensor, receiver] = start + held_s + latency_s


@compiled
def _count_send(
    tensor: int,
    writer: int,
    sender: int,
    receiver: int,
    taking_s: float,
    begun_s: Array,
    sends_s: Array,
) -> None:
    """Add what sending a tensor takes of its writer's board, once a receiver."""
    if writer >= 0 and receiver != sender and begun_s[tensor, receiver] == _NOWHERE:
        begun_s[tensor, receiver] = 0.0  # counted; when it really begins is found out later
        sends_s[writer] += taking_s


@compiled
def _known_sends(problem: Problem, state: State) -> None:
    """Fill ``sends_s`` with what is sent between tasks whose boards are given."""
    reads, reads_from, producer = problem.reads, problem.reads_from, problem.producer
    sizes, message_s, message_byte_s = problem.sizes, problem.message_s, problem.message_byte_s
    board, begun_s, sends_s = state.board, state.begun_s, state.sends_s
    tasks, client = problem.seconds.shape
    for task in range(tasks):
        sends_s[task] = 0.0
    for reader in range(tasks):
        if board[reader] == ANY:
            continue
        for i in range(reads_from[reader], reads_from[reader + 1]):
            tensor = reads[i]
            writer = producer[tensor]
            if writer >= 0 and board[writer] != ANY:
                sender = board[writer]
                taking_s = message_s[sender] + sizes[tensor] * message_byte_s[sender]
                _count_send(tensor, writer, sender, board[reader], taking_s, begun_s, sends_s)
    for tensor in problem.wanted:
        writer = producer[tensor]
        if writer >= 0 and board[writer] != ANY:
            sender = board[writer]
            taking_s = message_s[sender] + sizes[tensor] * message_byte_s[sender]
            _count_send(tensor, writer, sender, client, taking_s, begun_s, sends_s)


@compiled
def _taken_in(count: int, arrived_s: Array, taking_s: Array) -> float:
    """When the last of some messages is taken in, by someone who does nothing else meanwhile.

    Each is as soon as it has arrived and those that came before it are done. Whatever else that
    place did beforehand is left aside. Both arrays are sorted by arrival.
    """
    for i in range(1, count):
        arrival, taking = arrived_s[i], taking_s[i]
        j = i
        while j > 0 and (
            arrived_s[j - 1] > arrival or (arrived_s[j - 1] == arrival and taking_s[j - 1] > taking)
        ):
            arrived_s[j], taking_s[j] = arrived_s[j - 1], taking_s[j - 1]
            j -= 1
        arrived_s[j], taking_s[j] = arrival, taking
    done = 0.0
    for i in range(count):
        done = max(done, arrived_s[i]) + taking_s[i]
    return done


def place(problem: Problem, state: State, order: Array, boards: int, fill_gaps: bool) -> float:
    """Plan the tasks one after another; see `place_below`, which compiled code calls by itself.

    Returns:
        The latency, in seconds.
    """
    return float(place_below(problem, state, order, boards, fill_gaps, np.zeros(0), np.inf))


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

    A board sends what a task wrote right after it, before its next task, which takes its processor
    some time; how much is known only once the readers have their boards. So where this chooses
    boards, it does so as if sending cost only those who wait for the message. What it chose, and
    what it put into gaps, it then plans once more in the order of their starts.

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
    costly = problem.message_s.max() > 0.0 or problem.message_byte_s.max() > 0.0
    again = fill_gaps
    if costly:
        for task in order:
            again = again or state.board[task] == ANY
    latency, planned, gaps = 0.0, order, fill_gaps
    for attempt in range(2 if again else 1):  # one call for both: what calls it contains it
        if attempt == 1 and gaps:
            planned, gaps = _by_start(state, order), False
        # With gaps to fill, the second plan may be the shorter one: the first is made to its end.
        least_s = np.inf if gaps else most_s
        latency = _walk(problem, state, planned, boards, gaps, tail_s, least_s)
        if latency == np.inf:
            break
    return latency


@compiled
def _by_start(state: State, order: Array) -> Array:
    """The tasks of an order as they start; of equals, as they end, and then as in the order.

    Sorted by insertion: nearly all are in their places, and numba's own sorts take seconds to
    compile.
    """
    start_s, end_s, planned = state.start_s, state.end_s, order.copy()
    for i in range(1, planned.size):
        task = planned[i]
        j = i
        while j > 0:
            other = planned[j - 1]
            if start_s[other] < start_s[task] or (
                start_s[other] == start_s[task] and end_s[other] <= end_s[task]
            ):
                break
            planned[j] = other
            j -= 1
        planned[j] = task
    return planned


@compiled
def _walk(
    problem: Problem,
    state: State,
    order: Array,
    boards: int,
    fill_gaps: bool,
    tail_s: Array,
    most_s: float,
) -> float:
    """`place_below`, where what is sent by tasks without a board costs their board nothing."""
    reads, reads_from, writes, writes_from = (
        problem.reads,
        problem.reads_from,
        problem.writes,
        problem.writes_from,
    )
    producer, wanted, seconds = problem.producer, problem.wanted, problem.seconds
    weights, sizes, memory = problem.weights, problem.sizes, problem.memory
    interface, byte_s, latency_s = problem.interface, problem.byte_s, problem.latency_s
    message_s, message_byte_s = problem.message_s, problem.message_byte_s
    board, start_s, end_s, turn = state.board, state.start_s, state.end_s, state.turn
    holder, since_s, at, sent_from = state.holder, state.since_s, state.at, state.sent_from
    begun_s, sends_s, spent_s = state.begun_s, state.sends_s, state.spent_s
    taken, lengths, used = state.taken, state.lengths, state.used
    inputs, booked, before_s = state.inputs, state.booked, state.before_s
    arrived_s, taking_s = state.arrived_s, state.taking_s
    client = seconds.shape[1]
    for line in range(lengths.size):
        lengths[line] = 0
    for on in range(client):
        used[on] = 0.0
    for writer in range(spent_s.size):
        spent_s[writer] = 0.0
    for tensor in range(producer.size):
        for receiver in range(client + 1):
            at[tensor, receiver] = _NOWHERE
            begun_s[tensor, receiver] = _NOWHERE
        if producer[tensor] < 0:
            holder[tensor], since_s[tensor] = client, 0.0
            at[tensor, client] = 0.0
    _known_sends(problem, state)
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
                        there = since_s[tensor] + message_s[sender] + message_s[on]
                        there += sizes[tensor] * (
                            byte_s[sender, on] + message_byte_s[sender] + message_byte_s[on]
                        )
                        there += latency_s[sender, on]
                    soonest = max(soonest, there)
                if soonest + seconds[task, on] >= earliest:
                    continue
            needed, handling_s = used[on] + own, 0.0
            for i in range(many):
                tensor = inputs[i]
                booked[i] = at[tensor, on] == _NOWHERE
                taking_s[i] = 0.0
                if booked[i]:
                    sender, writer = holder[tensor], producer[tensor]
                    before_s[i] = spent_s[writer]  # the client's own are the last
                    begun_s[tensor, on] = since_s[tensor] + spent_s[writer]
                    spent_s[writer] += message_s[sender] + sizes[tensor] * message_byte_s[sender]
                    _send(
                        tensor, on, interface[sender], sizes[tensor] * byte_s[sender, on],
                        latency_s[sender, on], since_s[tensor] + spent_s[writer],
                        at, sent_from, taken, lengths,
                    )  # fmt: skip
                    needed += sizes[tensor]
                    taking_s[i] = message_s[on] + sizes[tensor] * message_byte_s[on]
                    handling_s += taking_s[i]
                arrived_s[i] = at[tensor, on]
            ready = _taken_in(many, arrived_s, taking_s) - handling_s
            duration = handling_s + seconds[task, on] + sends_s[task]
            start = ready
            if fill_gaps:
                start = earliest_gap(taken, lengths, on, ready, duration)
            elif lengths[on]:
                start = max(ready, taken[on, lengths[on] - 1, 1])
            computed = start + handling_s + seconds[task, on]
            if attempt == last:
                if most_s < np.inf and computed + tail_s[task] > most_s:
                    return float(np.inf)
                take(taken, lengths, on, start, start + duration)
                used[on] = needed
                board[task], start_s[task], end_s[task] = on, start + handling_s, computed
                for i in range(writes_from[task], writes_from[task + 1]):
                    holder[writes[i]], since_s[writes[i]] = on, computed
                    at[writes[i], on] = computed
                break
            end = computed
            if needed > memory[on]:
                end += problem.unfit_s * (needed / memory[on])
            if end < earliest or attempt == first:
                chosen, earliest = on, end
            for i in range(many - 1, -1, -1):
                if booked[i]:
                    tensor = inputs[i]
                    sender, sent = holder[tensor], sent_from[tensor, on]
                    held_s = sizes[tensor] * byte_s[sender, on]
                    release(taken, lengths, interface[sender], sent, sent + held_s)
                    spent_s[producer[tensor]] = before_s[i]
                    at[tensor, on] = _NOWHERE
    _sort_by_arrival(wanted, 0, wanted.size, since_s, inputs)
    for i in range(wanted.size):
        tensor = inputs[i]
        if at[tensor, client] == _NOWHERE:
            sender, writer = holder[tensor], producer[tensor]
            begun_s[tensor, client] = since_s[tensor] + spent_s[writer]
            spent_s[writer] += message_s[sender] + sizes[tensor] * message_byte_s[sender]
            _send(
                tensor, client, interface[sender], sizes[tensor] * byte_s[sender, client],
                latency_s[sender, client], since_s[tensor] + spent_s[writer],
                at, sent_from, taken, lengths,
            )  # fmt: skip
    latency = answered_s(problem, state)
    excess = 0.0
    for on in range(client):
        if used[on] > memory[on]:
            excess += used[on] / memory[on] - 1.0
    if excess > 0.0:
        latency += problem.unfit_s * (1.0 + _UNFIT * excess)
    return latency


@compiled
def answered_s(problem: Problem, state: State) -> float:
    """When the client has taken in the last tensor that it waits for, in seconds."""
    client = problem.seconds.shape[1]
    wanted = problem.wanted
    for i in range(wanted.size):
        tensor = wanted[i]
        state.arrived_s[i] = state.at[tensor, client]
        state.taking_s[i] = 0.0
        if problem.producer[tensor] >= 0:
            own_s = problem.sizes[tensor] * problem.message_byte_s[client]
            state.taking_s[i] = problem.message_s[client] + own_s
    return float(_taken_in(wanted.size, state.arrived_s, state.taking_s))
