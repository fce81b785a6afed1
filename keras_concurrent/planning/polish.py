"""The best plan there is, or nearly: OR-tools' CP-SAT goes on from what the search has found.

Every task is an optional interval on every board, every tensor an optional message to every board
that may read it, holding the interface of whichever board writes it, or the shared medium. Nothing
overlaps on a board or an interface. Durations are rounded down to whole ticks, so the solver's
bound is a bound on the true latency; the plan it finds is then planned again in true seconds.

It proves plans of up to about 25 tasks best in seconds, and of 35 often. The solver runs in a
process of its own, because it crashes in one that has imported TensorFlow.
"""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, cast

from keras_concurrent.cluster import CLIENT, Board, Cluster
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.planning.schedule import Plan, check_memory, decode

try:
    from ortools.sat.python import cp_model
except ImportError as error:
    raise MissingExtraError("ortools", "polish") from error

_TICKS = 10**7  # in the latency of the hint: fine enough that rounding hardly shows
_GRACE_S = 30.0  # for the process to start and end


@dataclass(frozen=True)
class Polished:
    """What the solver found.

    Args:
        plan: the best plan known.
        bound_s: no plan's latency is below it.
        proven: whether the plan's latency is the least there is, but for rounding.
    """

    plan: Plan
    bound_s: float
    proven: bool


def polish(
    plan: Plan,
    cluster: Cluster,
    *,
    time_limit_s: float,
    seed: int = 0,
    pins: Mapping[str, str] | None = None,
) -> Polished:
    """Look for a better plan of the same tasks, calls left aside.

    Args:
        plan: a good one, from `keras_concurrent.planning.schedule.schedule`.
        cluster: the boards and their network.
        time_limit_s: for the solver; what it finds within depends on the machine.
        seed: of the solver.
        pins: board that a task must be on, by the task's name.

    Returns:
        A plan that is no worse.

    Raises:
        ValueError: a time limit that is not positive.
        RuntimeError: the solver's process ended without an answer.
    """
    if not time_limit_s > 0:
        raise ValueError(f"time_limit_s must be positive, got {time_limit_s!r}")
    question = pickle.dumps((plan, cluster, time_limit_s, seed, dict(pins or {})))
    done = subprocess.run(
        [sys.executable, "-m", "keras_concurrent.planning.polish"],
        input=question,
        capture_output=True,
        timeout=time_limit_s + _GRACE_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"the solver ended with {done.returncode}: {done.stderr.decode()[-500:]}"
        )
    return cast(Polished, pickle.loads(done.stdout))


def solve(
    plan: Plan, cluster: Cluster, time_limit_s: float, seed: int, pins: Mapping[str, str]
) -> Polished:
    """`polish` in this process, which must not have imported TensorFlow."""
    model = _Model(plan, cluster, pins)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.random_seed = seed % 2**31
    status = solver.solve(model.model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Polished(plan, 0.0, False)
    best = min(model.plan(solver), plan, key=lambda plan: plan.latency_s)
    bound_s = solver.best_objective_bound * model.tick_s
    # Rounding loses less than a tick a task and a message on any path.
    steps = 2 * len(plan.graph.tasks) + 2
    proven = best.latency_s - bound_s <= steps * model.tick_s
    return Polished(best, min(bound_s, best.latency_s), proven)


class _Model:
    """The constraints, and how to read a solution."""

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
        found: dict[tuple[float, float, float], list[str]] = {}
        for board in self._cluster.boards:
            if board.name not in special:
                kind = board.flops_per_s, board.int8_ops_per_s, board.memory_bytes
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
        for board in self._cluster.boards:
            on = self._on[name, board.name] = self.model.new_bool_var(f"{name} on {board.name}")
            task = self._graph.by_name[name]
            seconds = self._graph.seconds_on(task, board)
            self._lines.setdefault(board.name, []).append(
                self.model.new_optional_interval_var(
                    start, self._ticks(seconds), end, on, f"{name} on {board.name}"
                )
            )
        self.model.add_exactly_one(self._on[name, board] for board in self._boards)

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
        free = tuple(replace(board, call_ms=0.0) for board in self._cluster.boards)
        plan = decode(
            replace(self._graph, tasks=tuple(order)), replace(self._cluster, boards=free), homes
        )
        check_memory(plan, self._cluster)
        return plan


if __name__ == "__main__":
    # What is pickled must be of the importable module, not of __main__. The question comes from the
    # process that started this one, over a pipe of its own.
    from keras_concurrent.planning import polish as importable

    answer = importable.solve(*pickle.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(pickle.dumps(answer))
