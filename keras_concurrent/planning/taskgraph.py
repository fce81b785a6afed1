"""What has to be computed and what has to travel: tasks, tensors, and their costs.

A `TaskGraph` comes from an `Architecture` (one task a vertex, before any Keras model exists) or
from a .tflite (one task an operator that a board really runs). Scheduling, scoring and cutting
work on nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

from keras_concurrent.board import Board


class HasTasks(Protocol):
    """Whatever tells its own tasks: an architecture, a .tflite."""

    def tasks(self) -> TaskGraph:
        """The tasks and the tensors between them."""


@dataclass(frozen=True)
class Task:
    """A piece of work that one board does in one go.

    Args:
        name: unique in its graph.
        flops: floating point operations.
        inputs: names of the tensors it reads.
        outputs: names of the tensors it writes.
        parameter_bytes: bytes of its constants.
        operators: indices of its operators in the .tflite; empty for an architecture's vertices.
        vertices: names of the architecture's vertices it computes, where that is known.
        seconds: measured duration on a board of rate 1, see `TaskGraph.timed`; ``None`` where
            nothing was measured and FLOPs must do.
        work: what the measured duration on a board comes to in operations at that board's rate, by
            the board's name, see `keras_concurrent.measured.boards`; a board that is not named
            takes ``seconds`` or FLOPs by its rates.
        int8_flops: of ``flops``, those of operators that read and write int8 alone.
        touched_bytes: sum of the tensors and weights that its operators read and write.
        operator_count: how many operators a board runs for it.
    """

    name: str
    flops: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameter_bytes: int = 0
    operators: tuple[int, ...] = ()
    vertices: tuple[str, ...] = ()
    seconds: float | None = None
    work: Mapping[str, float] = field(default_factory=dict, hash=False)
    int8_flops: int = 0
    touched_bytes: int = 0
    operator_count: int = 0


@dataclass(frozen=True)
class TaskGraph:
    """A directed acyclic graph of tasks that hand each other tensors.

    Args:
        tasks: in topological order.
        tensor_bytes: size of every tensor.
        inputs: names of the tensors that come from outside.
        outputs: names of the tensors that are the answer.
        measured_at_flops_per_s: nominal rate of the machine on which the tasks' ``seconds`` were
            measured; 0 where nothing was measured.

    Raises:
        ValueError: a tensor without a size, written twice, read before it is written, or wanted
            and never written; two tasks of one name.
    """

    tasks: tuple[Task, ...]
    tensor_bytes: Mapping[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    measured_at_flops_per_s: float = 0.0

    def __post_init__(self) -> None:
        available = set(self.inputs)
        names: set[str] = set()
        for task in self.tasks:
            if task.name in names:
                raise ValueError(f"tasks must differ in name, got {task.name!r} twice")
            names.add(task.name)
            for name in task.inputs:
                if name not in available:
                    raise ValueError(f"task {task.name!r} reads {name!r} before it is written")
            for name in task.outputs:
                if name in available:
                    raise ValueError(f"tensor {name!r} is written twice")
                available.add(name)
        for name in self.outputs:
            if name not in available:
                raise ValueError(f"output {name!r} is never written")
        for name in available:
            if name not in self.tensor_bytes:
                raise ValueError(f"tensor {name!r} has no size")

    @cached_property
    def by_name(self) -> dict[str, Task]:
        """Tasks by name."""
        return {task.name: task for task in self.tasks}

    @cached_property
    def producer(self) -> dict[str, str]:
        """Name of the task that writes a tensor; inputs have none."""
        return {tensor: task.name for task in self.tasks for tensor in task.outputs}

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """Names of the tasks that read a tensor, in topological order."""
        readers: dict[str, list[str]] = {name: [] for name in self.tensor_bytes}
        for task in self.tasks:
            for name in task.inputs:
                readers[name].append(task.name)
        return {name: tuple(tasks) for name, tasks in readers.items()}

    @cached_property
    def predecessors(self) -> dict[str, tuple[str, ...]]:
        """Names of the tasks whose tensors a task reads."""
        return {
            task.name: tuple(
                dict.fromkeys(self.producer[t] for t in task.inputs if t in self.producer)
            )
            for task in self.tasks
        }

    @cached_property
    def successors(self) -> dict[str, tuple[str, ...]]:
        """Names of the tasks that read a task's tensors."""
        return {
            task.name: tuple(
                dict.fromkeys(reader for t in task.outputs for reader in self.consumers[t])
            )
            for task in self.tasks
        }

    @property
    def flops(self) -> int:
        """FLOPs of all tasks together."""
        return sum(task.flops for task in self.tasks)

    @classmethod
    def from_architecture(cls, architecture: HasTasks) -> TaskGraph:
        """One task a vertex, see `keras_concurrent.Architecture.tasks`."""
        return architecture.tasks()

    @classmethod
    def from_tflite(cls, file: HasTasks) -> TaskGraph:
        """One task an operator, see `keras_concurrent.TfliteFile.tasks`."""
        return file.tasks()

    def timed(self, seconds: Mapping[str, float], flops_per_s: float) -> TaskGraph:
        """The same graph with measured durations.

        Args:
            seconds: duration of every task on the machine that measured.
            flops_per_s: that machine's nominal rate. A board of another rate is expected to take
                proportionally more or less.
        """
        tasks = tuple(replace(task, seconds=seconds[task.name]) for task in self.tasks)
        return replace(self, tasks=tasks, measured_at_flops_per_s=flops_per_s)

    def in_int8(self) -> TaskGraph | None:
        """The graph as it would be in int8: the same FLOPs, a quarter of the bytes.

        Returns:
            ``None`` where tasks were measured or compute in int8 already: no rate tells the rest.
        """
        if any(task.work or task.seconds is not None or task.int8_flops for task in self.tasks):
            return None
        tasks = tuple(
            replace(
                task,
                int8_flops=task.flops,
                touched_bytes=task.touched_bytes // 4,
                parameter_bytes=task.parameter_bytes // 4,
            )
            for task in self.tasks
        )
        sizes = {name: -(-size // 4) for name, size in self.tensor_bytes.items()}
        return replace(self, tasks=tasks, tensor_bytes=sizes)

    def operations(self, task: Task, board: str | None = None) -> float:
        """What a task comes to in operations when its seconds are divided by a rate.

        Args:
            task: of the graph.
            board: on which it may have been measured.
        """
        if board is not None and board in task.work:
            return task.work[board]
        if task.seconds is not None:
            return task.seconds * self.measured_at_flops_per_s
        return float(task.flops)

    def seconds_on(self, task: Task, board: Board) -> float:
        """How long a board takes for a task: as measured, or by its rates."""
        if task.seconds is None and board.name not in task.work:
            return board.seconds(
                task.flops, task.int8_flops, task.touched_bytes, task.operator_count
            )
        return self.operations(task, board.name) / board.flops_per_s

    def quotient(self, groups: Iterable[Sequence[str]]) -> TaskGraph:
        """The quotient graph: each group of tasks becomes one task.

        Args:
            groups: a partition of the task names. A group's task carries the name of its first
                member in topological order.

        Raises:
            ValueError: groups that do not partition the tasks, or whose quotient has a cycle.
        """
        position = {task.name: i for i, task in enumerate(self.tasks)}
        group_of: dict[str, int] = {}
        members: list[list[Task]] = []
        for index, group in enumerate(groups):
            if not group or not position.keys() >= set(group):
                raise ValueError(f"a group must hold tasks of the graph, got {list(group)!r}")
            ordered = sorted(group, key=position.__getitem__)
            members.append([self.by_name[name] for name in ordered])
            for name in ordered:
                if name in group_of:
                    raise ValueError(f"task {name!r} is in two groups")
                group_of[name] = index
        if len(group_of) != len(self.tasks):
            raise ValueError(f"groups hold {len(group_of)} of {len(self.tasks)} tasks")
        wanted = set(self.outputs)
        result = []
        for index in self._quotient_order(group_of, members, position):
            tasks = members[index]
            written = [t for task in tasks for t in task.outputs]
            inside = set(written)
            read = dict.fromkeys(t for task in tasks for t in task.inputs if t not in inside)
            given = tuple(
                t
                for t in written
                if t in wanted or any(group_of[c] != index for c in self.consumers[t])
            )
            if len(tasks) == 1 and (tuple(read), given) == (tasks[0].inputs, tasks[0].outputs):
                result.append(tasks[0])
                continue
            measured = [task.seconds for task in tasks if task.seconds is not None]
            boards = sorted({board for task in tasks for board in task.work})
            result.append(
                Task(
                    tasks[0].name,
                    sum(task.flops for task in tasks),
                    tuple(read),
                    given,
                    sum(task.parameter_bytes for task in tasks),
                    tuple(sorted(o for task in tasks for o in task.operators)),
                    tuple(dict.fromkeys(v for task in tasks for v in task.vertices)),
                    sum(measured) if len(measured) == len(tasks) else None,
                    {b: sum(self.operations(task, b) for task in tasks) for b in boards},
                    sum(task.int8_flops for task in tasks),
                    sum(task.touched_bytes for task in tasks),
                    sum(task.operator_count for task in tasks),
                )
            )
        kept = {t for task in result for t in (*task.inputs, *task.outputs)}
        kept.update(self.inputs, self.outputs)
        sizes = {name: size for name, size in self.tensor_bytes.items() if name in kept}
        return replace(self, tasks=tuple(result), tensor_bytes=sizes)

    def _quotient_order(
        self,
        group_of: Mapping[str, int],
        members: Sequence[Sequence[Task]],
        position: Mapping[str, int],
    ) -> list[int]:
        """Topological order of the groups, earliest first member first."""
        before: list[set[int]] = [set() for _ in members]
        after: list[set[int]] = [set() for _ in members]
        for name, predecessors in self.predecessors.items():
            for other in predecessors:
                if group_of[other] != group_of[name]:
                    before[group_of[name]].add(group_of[other])
                    after[group_of[other]].add(group_of[name])
        waiting = [len(groups) for groups in before]
        ready = [(position[m[0].name], i) for i, m in enumerate(members) if not waiting[i]]
        heapq.heapify(ready)
        order = []
        while ready:
            _, index = heapq.heappop(ready)
            order.append(index)
            for later in after[index]:
                waiting[later] -= 1
                if not waiting[later]:
                    heapq.heappush(ready, (position[members[later][0].name], later))
        if len(order) != len(members):
            stuck = sorted(members[i][0].name for i in range(len(members)) if waiting[i])
            raise ValueError(f"groups must not wait for each other; these do: {', '.join(stuck)}")
        return order
