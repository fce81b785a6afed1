"""Plans proven best, by OR-tools' CP-SAT: the yardstick of the search.

Every task is an optional interval on every board, every tensor an optional message to every board
that may read it, holding the interface of whichever board writes it. Nothing overlaps on a board or
an interface. Durations are rounded down to whole ticks, so the solver's bound is a bound on the
true latency; the plan it finds is then planned again in true seconds.

Not for a process that has imported TensorFlow: CP-SAT crashes there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ortools.sat.python import cp_model

from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.schedule import Plan, decode
from keras_concurrent.taskgraph import TaskGraph

_TICKS = 10**7  # in the latency of the hint: fine enough that rounding hardly shows


@dataclass(frozen=True)
class Proof:
    """What the solver found.

    Args:
        plan: the best plan known.
        bound_s: no plan's latency is below it.
        proven: whether the plan's latency is the least there is, but for rounding.
    """

    plan: Plan
    bound_s: float
    proven: bool


def solve(graph: TaskGraph, cluster: Cluster, hint: Plan, *, time_limit_s: float) -> Proof:
    """Look for the best plan, calls left aside, starting from a good one.

    Args:
        graph: the tasks.
        cluster: the boards and their network.
        hint: a plan of this graph, from `keras_concurrent.schedule.schedule`.
        time_limit_s: for the solver; what it finds within depends on the machine.

    Raises:
        ValueError: a time limit that is not positive.
    """
    if not time_limit_s > 0:
        raise ValueError(f"time_limit_s must be positive, got {time_limit_s!r}")
    model = _Model(graph, cluster, hint)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Proof(hint, 0.0, False)
    found = model.plan(solver)
    best = min(found, hint, key=lambda plan: plan.latency_s)
    bound_s = solver.best_objective_bound * model.tick_s
    # Rounding loses less than a tick a task and a message on any path.
    steps = 2 * len(graph.tasks) + 2
    proven = best.latency_s - bound_s <= steps * model.tick_s
    return Proof(best, min(bound_s, best.latency_s), proven)


class _Model:
    """The constraints, and how to read a solution."""

    def __init__(self, graph: TaskGraph, cluster: Cluster, hint: Plan) -> None:
        self._graph, self._cluster = graph, cluster
        self.tick_s = hint.latency_s / _TICKS
        self._boards = [board.name for board in cluster.boards]
        self.model = cp_model.CpModel()
        self._horizon = _TICKS + 1
        self._lines: dict[str, list[Any]] = {}
        self._on: dict[tuple[str, str], Any] = {}
        self._start: dict[str, Any] = {}
        self._end: dict[str, Any] = {}
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
            self.model.add(latency >= self._arrival[tensor, CLIENT])
        for intervals in self._lines.values():
            self.model.add_no_overlap(intervals)
        self.model.minimize(latency)
        self._break_symmetry()
        renamed = self._by_first_use(hint)
        for slot in hint.slots:
            self.model.add_hint(self._start[slot.task], self._ticks(slot.start_s))
            for board in self._boards:
                self.model.add_hint(self._on[slot.task, board], board == renamed[slot.board])

    def _equal_boards(self) -> list[list[str]]:
        """Boards of one speed, which may change places in any plan."""
        found: dict[float, list[str]] = {}
        for board in self._cluster.boards:
            found.setdefault(board.flops_per_s, []).append(board.name)
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
        renamed: dict[str, str] = {}
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
        for board in self._cluster.boards:
            on = self._on[name, board.name] = self.model.new_bool_var(f"{name} on {board.name}")
            seconds = self._graph.seconds_on(self._graph.by_name[name], board.flops_per_s)
            self._lines.setdefault(board.name, []).append(
                self.model.new_optional_interval_var(
                    start, self._ticks(seconds), end, on, f"{name} on {board.name}"
                )
            )
        self.model.add_exactly_one(self._on[name, board] for board in self._boards)

    def _add_messages(self, tensor: str) -> None:
        graph, network = self._graph, self._cluster.network
        held = self._ticks(graph.tensor_bytes[tensor] / (network.bandwidth_mbit_per_s * 125_000))
        latency = self._ticks((network.latency_ms + network.message_ms) / 1e3)
        writer = graph.producer.get(tensor)
        receivers = [*self._boards] if graph.consumers[tensor] else []
        if tensor in graph.outputs and writer is not None:
            receivers.append(CLIENT)
        for receiver in receivers:
            # A message that nobody sends may lie beyond the end of the plan.
            start = self._time(f"{tensor} to {receiver}")
            end = self._time(f"{tensor} to {receiver} sent", held)
            arrival = self._time(f"{tensor} at {receiver}", held + latency)
            self._arrival[tensor, receiver] = arrival
            self.model.add(arrival == end + latency)
            self.model.add(end == start + held)
            if writer is not None:
                self.model.add(start >= self._end[writer])
            for sender in [CLIENT] if writer is None else self._boards:
                if sender != receiver:
                    self._add_message(tensor, writer, sender, receiver, (start, held, end))
        if tensor in graph.outputs and writer is None:
            self._arrival[tensor, CLIENT] = 0

    def _add_message(
        self, tensor: str, writer: str | None, sender: str, receiver: str, when: tuple[Any, ...]
    ) -> None:
        sent = self.model.new_bool_var(f"{tensor} from {sender} to {receiver}")
        written_here = [] if writer is None else [self._on[writer, sender]]
        for here in written_here:
            self.model.add_implication(sent, here)
        wanted: list[list[Any]] = [[]]
        if receiver != CLIENT:
            wanted = [[self._on[reader, receiver]] for reader in self._graph.consumers[tensor]]
        for reading in wanted:
            self.model.add_bool_or([sent, *(~literal for literal in written_here + reading)])
        self._lines.setdefault(f"interface of {sender}", []).append(
            self.model.new_optional_interval_var(*when, sent, f"{tensor} {sender} {receiver}")
        )

    def _add_reading(self, task: str, tensor: str) -> None:
        """A task starts when its inputs are on its board, written there or arrived."""
        writer = self._graph.producer.get(tensor)
        if writer is not None:
            self.model.add(self._start[task] >= self._end[writer])
        for board in self._boards:
            condition = [self._on[task, board]]
            if writer is not None:
                condition.append(~self._on[writer, board])
            arrived = self._arrival[tensor, board]
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
        graph = TaskGraph(
            tuple(order),
            self._graph.tensor_bytes,
            self._graph.inputs,
            self._graph.outputs,
            self._graph.measured_at_flops_per_s,
        )
        return decode(graph, _without_calls(self._cluster), homes)


def _without_calls(cluster: Cluster) -> Cluster:
    boards = tuple(replace(board, call_ms=0.0) for board in cluster.boards)
    return Cluster(boards, cluster.network)
