"""Who computes what, and when: list scheduling with the network interface in it.

The execution model: a task takes its seconds on its board. A tensor travels once to each board that
reads it; a message holds its sender's interface for ``bytes / bandwidth`` and arrives ``latency``
later, so messages from one sender queue and messages from different senders do not. Images start
at the client, and the answer is there when the last output has arrived at the client.

A plan is an assignment, an order of the tasks on each board and an order of the messages on each
interface; the runtime keeps both orders.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from keras_concurrent.cluster import CLIENT, Board, Cluster
from keras_concurrent.taskgraph import Task, TaskGraph

_COMMUNICATION_WEIGHTS = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Slot:
    """A task on a board from ``start_s`` to ``end_s``, in seconds after the image is sent."""

    task: str
    board: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Message:
    """A tensor on its way.

    Args:
        tensor: its name.
        sender: a board, or the client.
        receiver: a board, or the client.
        bytes: its size.
        start_s: the sender's interface is taken from here
        sent_s: to here.
        arrival_s: the receiver has it.
    """

    tensor: str
    sender: str
    receiver: str
    bytes: int
    start_s: float
    sent_s: float
    arrival_s: float


@dataclass(frozen=True)
class Plan:
    """Who computes what, and when.

    Args:
        graph: the tasks, in the order in which the plan starts them.
        slots: one a task, in that order.
        messages: by start.
        latency_s: from sending the image to having the answer.
    """

    graph: TaskGraph
    slots: tuple[Slot, ...]
    messages: tuple[Message, ...]
    latency_s: float

    @cached_property
    def assignment(self) -> dict[str, str]:
        """Board of every task."""
        return {slot.task: slot.board for slot in self.slots}

    @property
    def boards(self) -> tuple[str, ...]:
        """The boards that compute something, by name."""
        return tuple(sorted(set(self.assignment.values())))

    @property
    def compute_s(self) -> dict[str, float]:
        """Seconds of work on every board that computes something."""
        return {
            board: sum(s.end_s - s.start_s for s in self.slots if s.board == board)
            for board in self.boards
        }

    @property
    def wire_bytes(self) -> int:
        """Bytes of all messages together."""
        return sum(message.bytes for message in self.messages)

    def tasks_on(self, board: str) -> tuple[str, ...]:
        """Tasks of a board in planned order."""
        return tuple(slot.task for slot in self.slots if slot.board == board)

    def messages_from(self, sender: str) -> tuple[Message, ...]:
        """Messages of a board or of the client in planned order."""
        return tuple(message for message in self.messages if message.sender == sender)


class _Calendar:
    """What the boards and interfaces are doing, and where every tensor is."""

    def __init__(self, graph: TaskGraph, cluster: Cluster, calls: bool) -> None:
        self._graph = graph
        self._network = cluster.network
        self._calls = calls
        self._busy: dict[str, list[tuple[float, float]]] = {b.name: [] for b in cluster.boards}
        self._interface: dict[str, list[tuple[float, float]]] = {
            name: [] for name in (CLIENT, *self._busy)
        }
        self._home: dict[str, str] = dict.fromkeys(graph.inputs, CLIENT)
        self._at: dict[tuple[str, str], float] = {(name, CLIENT): 0.0 for name in graph.inputs}
        self.messages: list[Message] = []
        self.slots: list[Slot] = []

    def place(self, task: Task, board: Board, *, fill_gaps: bool) -> float:
        """Put a task on a board at the earliest; returns its end. `undo` takes it back."""
        self._mark = len(self.messages)
        ready = 0.0
        for tensor in sorted(task.inputs, key=lambda t: (self._at[t, self._home[t]], t)):
            ready = max(ready, self.deliver(tensor, board.name))
        duration = self._graph.seconds_on(task, board.flops_per_s)
        duration += board.call_s if self._calls else 0.0
        busy = self._busy[board.name]
        if fill_gaps:
            start = _earliest_gap(busy, ready, duration)
        else:
            start = max(ready, busy[-1][1] if busy else 0.0)
        end = start + duration
        bisect.insort(busy, (start, end))
        for tensor in task.outputs:
            self._home[tensor] = board.name
            self._at[tensor, board.name] = end
        self.slots.append(Slot(task.name, board.name, start, end))
        return end

    def deliver(self, tensor: str, receiver: str) -> float:
        """When a tensor is at a receiver, sending it there if it is not yet on its way."""
        if (tensor, receiver) not in self._at:
            sender = self._home[tensor]
            size = self._graph.tensor_bytes[tensor]
            held = size / self._network.bytes_per_s
            interface = self._interface[sender]
            start = _earliest_gap(interface, self._at[tensor, sender], held)
            sent = start + held
            arrival = sent + self._network.latency_s
            bisect.insort(interface, (start, sent))
            self._at[tensor, receiver] = arrival
            self.messages.append(Message(tensor, sender, receiver, size, start, sent, arrival))
        return self._at[tensor, receiver]

    def undo(self) -> None:
        """Take the last placed task back, with the messages that it needed."""
        slot = self.slots.pop()
        self._busy[slot.board].remove((slot.start_s, slot.end_s))
        for tensor in self._graph.by_name[slot.task].outputs:
            del self._home[tensor], self._at[tensor, slot.board]
        while len(self.messages) > self._mark:
            message = self.messages.pop()
            self._interface[message.sender].remove((message.start_s, message.sent_s))
            del self._at[message.tensor, message.receiver]

    def plan(self) -> Plan:
        """Deliver the outputs and close the calendar."""
        outputs = sorted(self._graph.outputs, key=lambda t: (self._at[t, self._home[t]], t))
        latency = max(self.deliver(tensor, CLIENT) for tensor in outputs)
        position = {task.name: i for i, task in enumerate(self._graph.tasks)}
        # A task of no duration comes before one that starts with it.
        slots = sorted(self.slots, key=lambda s: (s.start_s, s.end_s, position[s.task]))
        tasks = tuple(self._graph.by_name[slot.task] for slot in slots)
        messages = sorted(self.messages, key=lambda m: (m.start_s, m.sent_s, m.tensor, m.receiver))
        return Plan(replace(self._graph, tasks=tasks), tuple(slots), tuple(messages), latency)


def _earliest_gap(busy: Sequence[tuple[float, float]], ready: float, duration: float) -> float:
    """First moment from ``ready`` on at which nothing happens for ``duration``."""
    start = ready
    for taken_from, taken_to in busy[max(0, bisect.bisect(busy, (ready, ready)) - 1) :]:
        if start + duration <= taken_from:
            break
        start = max(start, taken_to)
    return start


def decode(graph: TaskGraph, cluster: Cluster, assignment: Mapping[str, str]) -> Plan:
    """The plan that runs a graph's tasks in the graph's own order on given boards.

    Args:
        graph: its tasks' order is kept on every board. Each task costs its board's ``call_s`` on
            top of its seconds.
        cluster: the boards.
        assignment: name of the board of every task.
    """
    calendar = _Calendar(graph, cluster, calls=True)
    for task in graph.tasks:
        calendar.place(task, cluster.board(assignment[task.name]), fill_gaps=False)
    return calendar.plan()


def _upward_ranks(graph: TaskGraph, cluster: Cluster, communication: float) -> dict[str, float]:
    """HEFT's rank: mean seconds from a task's start to the end of the graph."""
    mean = sum(1 / board.flops_per_s for board in cluster.boards) / len(cluster.boards)
    ranks: dict[str, float] = {}
    for task in reversed(graph.tasks):
        behind = 0.0
        for tensor in task.outputs:
            travel = cluster.network.latency_s
            travel += graph.tensor_bytes[tensor] / cluster.network.bytes_per_s
            for reader in graph.consumers[tensor]:
                behind = max(behind, communication * travel + ranks[reader])
        ranks[task.name] = graph.seconds_on(task, 1 / mean) + behind
    return ranks


def _list_schedule(
    graph: TaskGraph, cluster: Cluster, boards: Iterable[Board], communication: float
) -> Plan:
    """Most urgent task first, each on the board that finishes it first."""
    boards = tuple(boards)
    ranks = _upward_ranks(graph, cluster, communication)
    waiting = {name: len(before) for name, before in graph.predecessors.items()}
    ready = [(-ranks[name], name) for name, count in waiting.items() if not count]
    heapq.heapify(ready)
    calendar = _Calendar(graph, cluster, calls=False)
    while ready:
        _, name = heapq.heappop(ready)
        task = graph.by_name[name]
        ends = []
        for board in boards:
            ends.append(calendar.place(task, board, fill_gaps=True))
            calendar.undo()
        calendar.place(task, boards[ends.index(min(ends))], fill_gaps=True)
        for later in graph.successors[name]:
            waiting[later] -= 1
            if not waiting[later]:
                heapq.heappush(ready, (-ranks[later], later))
    return calendar.plan()


def schedule(graph: TaskGraph, cluster: Cluster) -> Plan:
    """The best of a portfolio of list schedules (HEFT with the interface in it).

    Ranks weigh communication by 0, 0.5 and 1, on the fastest 1, 2, ... all boards. Calls cost
    nothing here: `keras_concurrent.segments` groups tasks afterwards, with their cost.

    Args:
        graph: any task graph with at least one task.
        cluster: the boards and their network.

    Returns:
        The plan of least latency; of equals, the one on fewer boards.
    """
    if not graph.tasks:
        raise ValueError("graph must have at least one task, got none")
    ranked = sorted(cluster.boards, key=lambda board: -board.flops_per_s)
    plans = [
        _list_schedule(graph, cluster, ranked[:count], communication)
        for count in range(1, len(ranked) + 1)
        for communication in _COMMUNICATION_WEIGHTS
    ]
    return min(plans, key=lambda plan: plan.latency_s)
