"""What every plan keeps to, as constraints of OR-tools' CP-SAT.

Every task is an optional interval on every board, every tensor an optional message to every board
that may read it, holding the interface of whichever board writes it, or the shared medium. Nothing
overlaps on a board or an interface. What a message takes of processors delays its reader, and what
its sending takes keeps the sender from its next task; what taking it in takes of a reader's time
for its other tasks is left out. Durations are rounded down to whole ticks. So the solver's bound is
a bound on the true latency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from keras_concurrent.board import CLIENT, Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.planning.schedule import Plan, check_memory, decode

try:
    from ortools.sat.python import cp_model
except ImportError as error:
    raise MissingExtraError("ortools", "polish") from error

_TICKS = 10**7  # in the latency of the hint: fine enough that rounding hardly shows


class Constraints:
    """The constraints, and how to read a solution.

    Args:
        hint: a good plan, from which the solver starts.
        cluster: the boards and their network.
        pins: board that a task must be on, by the task's name.
    """

    def __init__(self, hint: Plan, cluster: Cluster, pins: Mapping[str, str]) -> None:
        graph = self._graph = hint.graph
        self._cluster, self._pins = cluster, pins
        self.tick_s = hint.latency_s / _TICKS
        self._boards = [board.name for board in cluster.boards]
        self.model = cp_model.CpModel()
        self._horizon = _TICKS + 1
        self._lines: dict[str, list[Any]] = {}
        self._on: dict[tuple[str, str], Any] = {}
        self._start: dict[str, Any] = {}
        self._end: dict[str, Any] = {}
        self._free: dict[str, Any] = {}  # when a task's board has sent what it wrote
        self._sends: dict[str, list[Any]] = {task.name: [] for task in graph.tasks}
        for task in graph.tasks:
            self._add_task(task.name)
        self._arrival: dict[tuple[str, str], Any] = {}
        for tensor in sorted({*graph.inputs, *graph.producer}):
            self._add_messages(tensor)
        for task in graph.tasks:
            for tensor in dict.fromkeys(task.inputs):
                self._add_reading(task.name, tensor)
        latency = self._time("latency")
        for tensor in graph.outputs:
            taking = self._message(CLIENT, tensor) if tensor in graph.producer else 0
            self.model.add(latency >= self._arrival[tensor, CLIENT] + taking)
        for task in graph.tasks:
            self._add_sends(task.name)
        for intervals in self._lines.values():
            self.model.add_no_overlap(intervals)
        self.model.minimize(latency)
        for pinned, board in pins.items():
            self.model.add(self._on[pinned, board] == 1)
        for described in cluster.boards:
            self._add_memory(described)
        self._break_symmetry()
        renamed = self._by_first_use(hint)
        for slot in hint.slots:
            self.model.add_hint(self._start[slot.task], self._ticks(slot.start_s))
            for board in self._boards:
                self.model.add_hint(self._on[slot.task, board], board == renamed[slot.board])

    def _equal_boards(self) -> list[list[str]]:
        """Boards that may change places in any plan."""
        special = {name for link in self._cluster.links for name in link.between}
        special.update(self._pins.values())
        special.update(board for task in self._graph.tasks for board in task.work)
        found: dict[tuple[float, ...], list[str]] = {}
        for board in self._cluster.boards:
            if board.name not in special:
                messages = self._cluster.message_costs_s(board.name)
                kind = (*board.costs_s, board.memory_bytes, *messages)
                found.setdefault(kind, []).append(board.name)
        return list(found.values())

    def _break_symmetry(self) -> None:
        """Of equal boards, one is used only after the one before it, in the order of the tasks."""
        names = [task.name for task in self._graph.tasks]
        for equals in self._equal_boards():
            for before, board in pairwise(equals):
                for i, name in enumerate(names):
                    earlier = [self._on[other, before] for other in names[:i]]
                    self.model.add_bool_or([~self._on[name, board], *earlier])

    def _by_first_use(self, hint: Plan) -> dict[str, str]:
        """New names for a plan's boards, so that it keeps to `_break_symmetry`."""
        used = dict.fromkeys(hint.assignment[task.name] for task in self._graph.tasks)
        renamed = {board: board for board in used}
        for equals in self._equal_boards():
            in_order = [board for board in used if board in equals]
            in_order += [board for board in equals if board not in used]
            renamed.update(zip(in_order, equals, strict=True))
        return renamed

    def _ticks(self, seconds: float) -> int:
        return math.floor(seconds / self.tick_s)

    def _time(self, name: str, beyond: int = 0) -> Any:
        return self.model.new_int_var(0, self._horizon + beyond, name)

    def _add_task(self, name: str) -> None:
        start, end = self._time(f"start {name}"), self._time(f"end {name}")
        self._start[name], self._end[name] = start, end
        free = self._free[name] = self._time(f"free after {name}") if self._messages_cost else end
        for board in self._cluster.boards:
            on = self._on[name, board.name] = self.model.new_bool_var(f"{name} on {board.name}")
            task = self._graph.by_name[name]
            duration: Any = self._ticks(self._graph.seconds_on(task, board))
            if self._messages_cost:
                self.model.add(end == start + duration).only_enforce_if(on)
                duration = self._time(f"{name} on {board.name} lasts")
            self._lines.setdefault(board.name, []).append(
                self.model.new_optional_interval_var(
                    start, duration, free, on, f"{name} on {board.name}"
                )
            )
        self.model.add_exactly_one(self._on[name, board] for board in self._boards)

    @cached_property
    def _messages_cost(self) -> bool:
        return any(any(self._cluster.message_costs_s(board)) for board in self._boards)

    def _message(self, place: str, tensor: str) -> int:
        """Ticks of the processor at one of a message's ends."""
        return self._ticks(self._cluster.message_s(place, self._graph.tensor_bytes[tensor]))

    def _add_sends(self, name: str) -> None:
        """A task's board is free when it has sent what others read of it."""
        if self._messages_cost:
            self.model.add(self._free[name] == self._end[name] + sum(self._sends[name]))

    def _add_memory(self, board: Board) -> None:
        """Weights and tensors of a board's tasks are no more than it has memory for."""
        graph, name = self._graph, board.name
        everything = sum(task.parameter_bytes for task in graph.tasks) + sum(
            graph.tensor_bytes.values()
        )
        if everything <= board.memory_bytes:
            return
        terms = [task.parameter_bytes * self._on[task.name, name] for task in graph.tasks]
        for tensor in sorted({*graph.inputs, *graph.producer}):
            users = [*graph.consumers[tensor], *filter(None, [graph.producer.get(tensor)])]
            held = self.model.new_bool_var(f"{tensor} held by {name}")
            for user in users:
                self.model.add_implication(self._on[user, name], held)
            terms.append(graph.tensor_bytes[tensor] * held)
        self.model.add(sum(terms) <= math.floor(board.memory_bytes))

    def _add_messages(self, tensor: str) -> None:
        graph = self._graph
        writer = graph.producer.get(tensor)
        receivers = [*self._boards] if graph.consumers[tensor] else []
        if tensor in graph.outputs and writer is not None:
            receivers.append(CLIENT)
        for receiver in receivers:
            senders = [CLIENT] if writer is None else self._boards
            ways = {
                sender: (
                    self._ticks(
                        graph.tensor_bytes[tensor] / self._cluster.bytes_per_s(sender, receiver)
                    ),
                    self._ticks(self._cluster.latency_s(sender, receiver)),
                )
                for sender in senders
                if sender != receiver
            }
            # A message that nobody sends may lie beyond the end of the plan.
            beyond = max((held + latency for held, latency in ways.values()), default=0)
            start = self._time(f"{tensor} to {receiver}")
            end = self._time(f"{tensor} to {receiver} sent", beyond)
            self._arrival[tensor, receiver] = self._time(f"{tensor} at {receiver}", beyond)
            if writer is not None:
                self.model.add(start >= self._end[writer])
            for sender, (held, latency) in ways.items():
                sent = self._add_message(tensor, writer, sender, receiver, (start, held, end))
                sending = self._message(sender, tensor)
                if writer is not None:
                    self._sends[writer].append(sending * sent)
                    begin = self._end[writer]
                else:
                    begin = 0
                self.model.add(start >= begin + sending).only_enforce_if(sent)
                arrival = self._arrival[tensor, receiver]
                self.model.add(arrival == end + latency).only_enforce_if(sent)
        if tensor in graph.outputs and writer is None:
            self._arrival[tensor, CLIENT] = 0

    def _add_message(
        self,
        tensor: str,
        writer: str | None,
        sender: str,
        receiver: str,
        when: tuple[Any, Any, Any],
    ) -> Any:
        sent = self.model.new_bool_var(f"{tensor} from {sender} to {receiver}")
        written_here = [] if writer is None else [self._on[writer, sender]]
        for here in written_here:
            self.model.add_implication(sent, here)
        wanted: list[list[Any]] = [[]]
        if receiver != CLIENT:
            wanted = [[self._on[reader, receiver]] for reader in self._graph.consumers[tensor]]
        for reading in wanted:
            self.model.add_bool_or([sent, *(~literal for literal in written_here + reading)])
        line = "the medium" if self._cluster.network.shared else f"interface of {sender}"
        self._lines.setdefault(line, []).append(
            self.model.new_optional_interval_var(*when, sent, f"{tensor} {sender} {receiver}")
        )
        return sent

    def _add_reading(self, task: str, tensor: str) -> None:
        """A task starts when its inputs are on its board, written there or arrived."""
        writer = self._graph.producer.get(tensor)
        if writer is not None:
            self.model.add(self._start[task] >= self._end[writer])
        for board in self._boards:
            condition = [self._on[task, board]]
            if writer is not None:
                condition.append(~self._on[writer, board])
            arrived = self._arrival[tensor, board] + self._message(board, tensor)
            self.model.add(self._start[task] >= arrived).only_enforce_if(condition)

    def plan(self, solver: Any) -> Plan:
        """The solution in true seconds: its boards, and its order of tasks."""
        position = {task.name: i for i, task in enumerate(self._graph.tasks)}
        depth: dict[str, int] = {}
        for task in self._graph.tasks:
            depth[task.name] = 1 + max(
                (depth[name] for name in self._graph.predecessors[task.name]), default=0
            )
        order = sorted(
            self._graph.tasks,
            key=lambda t: (solver.value(self._start[t.name]), depth[t.name], position[t.name]),
        )
        homes = {
            task.name: next(b for b in self._boards if solver.boolean_value(self._on[task.name, b]))
            for task in order
        }
        free = tuple(replace(board, call_ms=0.0) for board in self._cluster.boards)
        plan = decode(
            replace(self._graph, tasks=tuple(order)), replace(self._cluster, boards=free), homes
        )
        check_memory(plan, self._cluster)
        return plan
