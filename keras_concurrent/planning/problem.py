"""A task graph and a cluster as arrays, and a plan as arrays: what compiled code works on.

Tasks have the graph's order, tensors the order of their names, boards the fastest first, and number
k among k boards is the client. So ties broken by index are broken by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.taskgraph import TaskGraph

Array = np.ndarray[Any, Any]

ANY = -1
"""In `State.board`: on the board that finishes the task first."""


class Problem(NamedTuple):
    """n tasks, t tensors, k boards; see `problem_of`.

    Args:
        reads: tensors that the tasks read, task after task.
        reads_from: (n + 1) where each task's begin; the last is their number.
        writes: tensors that the tasks write, task after task.
        writes_from: (n + 1) likewise.
        producer: (t) the task that writes a tensor; -1 where the client holds it.
        wanted: tensors that the client waits for.
        name_rank: (n) a task's place among all by name.
        pinned: (n) the board that a task must be on, or ``ANY``.
        seconds: (n, k) duration of a task on a board.
        mean_s: (n) mean duration of a task on the boards.
        weights: (n) bytes of a task's constants.
        sizes: (t) bytes of a tensor.
        memory: (k) bytes that a board has for weights and tensors.
        interface: (k + 1) the line that a sender's messages hold, see `State`.
        byte_s: (k + 1, k + 1) how long a byte holds it, by sender and receiver.
        latency_s: (k + 1, k + 1) from there to the receiver.
        message_s: (k + 1) processor time of a message at one of its ends.
        message_byte_s: (k + 1) what each of its bytes adds to that.
        mean_byte_s: what a byte takes from hand to hand, mean over the pairs.
        mean_latency_s: what a message takes beside its bytes, mean over the pairs.
        unfit_s: longer than any plan lasts: what a plan that needs more memory than there is costs
            at least.
    """

    reads: Array
    reads_from: Array
    writes: Array
    writes_from: Array
    producer: Array
    wanted: Array
    name_rank: Array
    pinned: Array
    seconds: Array
    mean_s: Array
    weights: Array
    sizes: Array
    memory: Array
    interface: Array
    byte_s: Array
    latency_s: Array
    message_s: Array
    message_byte_s: Array
    mean_byte_s: float
    mean_latency_s: float
    unfit_s: float


class State(NamedTuple):
    """A plan of n tasks; made by `new_state`, filled by `place`.

    The lines are what does one thing at a time: boards 0..k-1, their interfaces k..2k-1, and the
    client's interface 2k. All messages over a shared medium hold line k.

    Args:
        board: (n) board of a task, or ``ANY`` before it is placed.
        start_s: (n) when a task starts to compute: its board has taken its tensors in.
        end_s: (n) when it has computed: its board then sends what others read of it.
        turn: (n) how many tasks were placed before it.
        holder: (t) who has a tensor first: a board, or the client.
        since_s: (t) since when it has it.
        at: (t, k + 1) when a tensor is at a board or at the client; negative where it never is.
        begun_s: (t, k + 1) when the holder's processor begins with its message there.
        sent_from: (t, k + 1) since when that message holds the holder's interface.
        sends_s: (n) processor time of all messages that a task's board sends after it.
        spent_s: (n + 1) scratch: of those planned so far; the last is the client's.
        taken: (2k + 1, ., 2) start and end of each thing that a line does, sorted.
        lengths: (2k + 1) how many things a line does.
        used: (k) bytes of weights and tensors on a board.
        inputs: (t) scratch: the tensors of one task, as they become ready.
        booked: (t) scratch: which of them were booked for one board.
        before_s: (t) scratch: ``spent_s`` of their writers before that.
        arrived_s: (t) scratch: when they are there.
        taking_s: (t) scratch: processor time of taking them in.
    """

    board: Array
    start_s: Array
    end_s: Array
    turn: Array
    holder: Array
    since_s: Array
    at: Array
    begun_s: Array
    sent_from: Array
    sends_s: Array
    spent_s: Array
    taken: Array
    lengths: Array
    used: Array
    inputs: Array
    booked: Array
    before_s: Array
    arrived_s: Array
    taking_s: Array


def fastest_first(cluster: Cluster) -> list[Board]:
    """A cluster's boards as they are numbered here; equals keep their order."""
    return sorted(cluster.boards, key=lambda board: -board.flops_per_s)


def tensor_names(graph: TaskGraph) -> list[str]:
    """A graph's tensors as they are numbered here."""
    return sorted({*graph.inputs, *(name for task in graph.tasks for name in task.outputs)})


def problem_of(
    graph: TaskGraph,
    cluster: Cluster,
    *,
    calls: bool = False,
    pins: Mapping[str, str] | None = None,
) -> Problem:
    """A task graph and a cluster as arrays.

    Args:
        graph: at least one task and one output.
        cluster: the boards and their network.
        calls: each task costs its board's ``call_s`` on top of its seconds.
        pins: board that a task must be on, by the task's name.

    Raises:
        ClusterError: a pin on a board that the cluster does not have.
        ValueError: no task, or no output, or a pin of a task that is not there.
    """
    for what, found in (("task", graph.tasks), ("output", graph.outputs)):
        if not found:
            raise ValueError(f"graph must have at least one {what}, got none")
    pins = pins or {}
    for name in pins:
        if name not in graph.by_name:
            raise ValueError(f"pins must name tasks of the graph, got {name!r}")
    tensors = tensor_names(graph)
    number = {name: i for i, name in enumerate(tensors)}
    tasks = graph.tasks
    writer = {name: i for i, task in enumerate(tasks) for name in task.outputs}
    place_of = {name: i for i, name in enumerate(sorted(task.name for task in tasks))}
    boards = fastest_first(cluster)
    seconds = _seconds(graph, boards)
    mean_s = seconds.cumsum(axis=1)[:, -1] / len(boards)  # summed in order, on every machine alike
    if calls:
        seconds += np.array([board.call_s for board in boards])
    sizes = np.array([graph.tensor_bytes[name] for name in tensors], float)
    byte_s, latency_s = _pairs(cluster, boards)
    message_s, message_byte_s = np.array(
        [cluster.message_costs_s(name) for name in (*(board.name for board in boards), CLIENT)]
    ).T
    pairs = ~np.eye(len(boards) + 1, dtype=bool)
    serial_s = seconds.max(axis=1).sum() + len(boards) * (
        sizes.sum() * (byte_s.max() + 2 * message_byte_s.max())
        + len(tensors) * (latency_s.max() + 2 * message_s.max())
    )
    pinned = np.full(len(tasks), ANY)
    for i, task in enumerate(tasks if pins else ()):
        if task.name in pins:
            pinned[i] = boards.index(cluster.board(pins[task.name]))
    return Problem(
        reads=_numbers([number[name] for task in tasks for name in task.inputs]),
        reads_from=_numbers(accumulate([len(task.inputs) for task in tasks], initial=0)),
        writes=_numbers([number[name] for task in tasks for name in task.outputs]),
        writes_from=_numbers(accumulate([len(task.outputs) for task in tasks], initial=0)),
        producer=_numbers([writer.get(name, -1) for name in tensors]),
        wanted=_numbers([number[name] for name in dict.fromkeys(graph.outputs)]),
        name_rank=_numbers([place_of[task.name] for task in tasks]),
        pinned=pinned,
        seconds=seconds,
        mean_s=mean_s,
        weights=np.array([task.parameter_bytes for task in tasks], float),
        sizes=sizes,
        memory=np.array([board.memory_bytes for board in boards]),
        interface=_interfaces(cluster, boards),
        byte_s=byte_s,
        latency_s=latency_s,
        message_s=message_s,
        message_byte_s=message_byte_s,
        mean_byte_s=_mean(byte_s[pairs]) + 2 * _mean(message_byte_s),
        mean_latency_s=_mean(latency_s[pairs]) + 2 * _mean(message_s),
        unfit_s=float(serial_s),
    )


def _seconds(graph: TaskGraph, boards: Sequence[Board]) -> Array:
    """(n, k) how long each board takes for each task."""
    tasks = graph.tasks
    if any(task.work or task.seconds is not None for task in tasks):
        return np.array([[graph.seconds_on(task, board) for board in boards] for task in tasks])
    amounts = np.array(
        [(t.flops - t.int8_flops, t.int8_flops, t.touched_bytes, t.operator_count) for t in tasks],
        float,
    )
    # Added one after another, as `Board.seconds` does: equal to the last bit.
    float_s, int8_s, byte_s, operator_s = np.array([board.costs_s for board in boards]).T
    seconds: Array = amounts[:, :1] * float_s
    for amount, cost_s in zip(amounts.T[1:], (int8_s, byte_s, operator_s), strict=True):
        seconds += amount[:, None] * cost_s
    return seconds


def _pairs(cluster: Cluster, boards: Sequence[Board]) -> tuple[Array, Array]:
    """Seconds a byte, and latency, by sender and receiver."""
    names = [*(board.name for board in boards), CLIENT]
    byte_s = np.full((len(names), len(names)), 1 / (cluster.network.bandwidth_mbit_per_s * 1e6 / 8))
    latency_s = np.full_like(byte_s, cluster.network.latency_ms / 1e3)
    odd = [link.between for link in cluster.links]
    if cluster.client.on is not None:  # it reaches others as its board does
        odd += [(CLIENT, name) for name in names[:-1]]
    for pair in odd:
        a, b = (names.index(name) for name in pair)
        byte_s[[a, b], [b, a]] = 1 / cluster.bytes_per_s(*pair)
        latency_s[[a, b], [b, a]] = cluster.latency_s(*pair)
    return byte_s, latency_s


def _interfaces(cluster: Cluster, boards: Sequence[Board]) -> Array:
    """(k + 1) the line that each sender's messages hold."""
    client = len(boards)
    if cluster.network.shared:
        return np.full(client + 1, client)
    lines = client + np.arange(client + 1)
    if cluster.client.on is not None:
        lines[client] = lines[boards.index(cluster.board(cluster.client.on))]
    return lines


def _mean(values: Array) -> float:
    return math.fsum(values) / values.size


def _numbers(values: Iterable[int]) -> Array:
    return np.fromiter(values, np.int64)


def new_state(problem: Problem) -> State:
    """A state in which every task may go on any board."""
    tasks, boards = problem.seconds.shape
    tensors = problem.producer.size
    lines = 2 * boards + 1
    many = max(problem.reads.size, problem.wanted.size)
    return State(
        board=np.full(tasks, ANY, np.int64),
        start_s=np.empty(tasks),
        end_s=np.empty(tasks),
        turn=np.empty(tasks, np.int64),
        holder=np.empty(tensors, np.int64),
        since_s=np.empty(tensors),
        at=np.empty((tensors, boards + 1)),
        begun_s=np.empty((tensors, boards + 1)),
        sent_from=np.empty((tensors, boards + 1)),
        sends_s=np.empty(tasks),
        spent_s=np.empty(tasks + 1),
        taken=np.empty((lines, max(tasks, tensors * boards), 2)),
        lengths=np.empty(lines, np.int64),
        used=np.empty(boards),
        inputs=np.empty(many, np.int64),
        booked=np.empty(many, np.bool_),
        before_s=np.empty(many),
        arrived_s=np.empty(many),
        taking_s=np.empty(many),
    )


def planned_order(state: State) -> Array:
    """(n) tasks by start; one that takes no time comes before one that starts with it."""
    return np.lexsort((state.turn, state.end_s, state.start_s))
