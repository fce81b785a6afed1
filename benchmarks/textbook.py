"""The textbook schedulers as they were published: the yardsticks of our own.

=========== ===========================================================================
`heft`      Topcuoglu, Hariri, Wu: "Performance-effective and low-complexity task
            scheduling for heterogeneous computing", IEEE TPDS 13(3), 2002
`cpop`      the same article
`peft`      Arabnejad, Barbosa: "List scheduling algorithm for heterogeneous systems by
            an optimistic cost table", IEEE TPDS 25(3), 2014
`min_min`   Ibarra, Kim: "Heuristic algorithms for scheduling independent tasks on
            nonidentical processors", JACM 24(2), 1977; applied to the tasks whose
            predecessors are planned, as Blythe et al. did for workflows (CCGrid 2005)
=========== ===========================================================================

All assume a network without contention: what one task hands another is there some seconds after
the first has ended, on every other processor at once and whatever else travels. A task goes into
the earliest gap of a processor that holds it. Ties go to the lower number.

`SCHEDULERS` holds them and the paper's own distribution (section V-A) as functions from a task
graph and a cluster to the plan that comes of it in our execution model, where messages queue.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from keras_concurrent import Cluster, TaskGraph
from keras_concurrent.planning.schedule import Plan, decode
from keras_concurrent.scoring.distribution import distribute

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Costs:
    """n tasks in topological order, p processors, and what tasks hand each other.

    Args:
        seconds: (n, p) duration of a task on a processor.
        travel_s: by (from, to): seconds between the end of one task and the start of another that
            reads it on another processor; on the same processor it is 0.

    Raises:
        ValueError: an edge that does not lead to a later task.
    """

    seconds: Array
    travel_s: Mapping[tuple[int, int], float]

    def __post_init__(self) -> None:
        for before, after in self.travel_s:
            if not 0 <= before < after < len(self.seconds):
                raise ValueError(
                    f"travel_s must lead from a task to a later one of {len(self.seconds)}, "
                    f"got {(before, after)}"
                )

    @property
    def tasks(self) -> range:
        """Their numbers."""
        return range(len(self.seconds))

    @property
    def processors(self) -> range:
        """Their numbers."""
        return range(self.seconds.shape[1])

    @cached_property
    def before(self) -> list[list[tuple[int, float]]]:
        """By task: whose results it reads, and how long they travel."""
        found: list[list[tuple[int, float]]] = [[] for _ in self.tasks]
        for (before, after), travel_s in sorted(self.travel_s.items()):
            found[after].append((before, travel_s))
        return found

    @cached_property
    def after(self) -> list[list[tuple[int, float]]]:
        """By task: who reads its result, and how long that travels."""
        found: list[list[tuple[int, float]]] = [[] for _ in self.tasks]
        for (before, after), travel_s in sorted(self.travel_s.items()):
            found[before].append((after, travel_s))
        return found


@dataclass(frozen=True)
class Timetable:
    """What a scheduler planned: by task its processor, start and end."""

    processor: tuple[int, ...]
    start_s: tuple[float, ...]
    end_s: tuple[float, ...]

    @property
    def makespan_s(self) -> float:
        """When the last task ends."""
        return max(self.end_s)


class _Draft:
    """A timetable as it is filled, task after task."""

    def __init__(self, costs: Costs) -> None:
        self._costs = costs
        self._taken: list[list[tuple[float, float]]] = [[] for _ in costs.processors]
        self._slots: dict[int, tuple[int, float, float]] = {}

    def ready_s(self, task: int) -> Array:
        """(p) when everything that a task reads is on each processor."""
        ready = np.zeros(len(self._costs.processors))
        for before, travel_s in self._costs.before[task]:
            home, _, end_s = self._slots[before]
            there = np.full_like(ready, end_s + travel_s)
            there[home] = end_s
            np.maximum(ready, there, out=ready)
        return ready

    def ends_s(self, task: int) -> Array:
        """(p) the earliest end of a task on each processor, gaps included: EFT."""
        starts = [self._gap_s(task, p, ready_s) for p, ready_s in enumerate(self.ready_s(task))]
        ends: Array = np.array(starts) + self._costs.seconds[task]
        return ends

    def put(self, task: int, processor: int) -> None:
        """Plan a task in the earliest gap of a processor."""
        start_s = self._gap_s(task, processor, self.ready_s(task)[processor])
        end_s = float(start_s + self._costs.seconds[task, processor])
        self._slots[task] = (processor, start_s, end_s)
        bisect.insort(self._taken[processor], (start_s, end_s))

    def timetable(self) -> Timetable:
        """What was planned; every task must have been."""
        processor, start_s, end_s = zip(*(self._slots[i] for i in self._costs.tasks), strict=True)
        return Timetable(processor, start_s, end_s)

    def _gap_s(self, task: int, processor: int, ready_s: float) -> float:
        duration_s = self._costs.seconds[task, processor]
        start_s = float(ready_s)
        for busy_from_s, busy_to_s in self._taken[processor]:
            if start_s + duration_s <= busy_from_s:
                break
            start_s = max(start_s, busy_to_s)
        return start_s


def _upward_ranks(costs: Costs) -> Array:
    """Mean seconds from a task's start to the end of the graph: rank_u."""
    mean_s = costs.seconds.mean(axis=1)
    rank = np.zeros(len(costs.tasks))
    for task in reversed(costs.tasks):
        behind = (travel_s + rank[after] for after, travel_s in costs.after[task])
        rank[task] = mean_s[task] + max(behind, default=0.0)
    return rank


def _downward_ranks(costs: Costs) -> Array:
    """Mean seconds from the graph's start to a task's: rank_d."""
    mean_s = costs.seconds.mean(axis=1)
    rank = np.zeros(len(costs.tasks))
    for task in costs.tasks:
        ahead = (rank[before] + mean_s[before] + t for before, t in costs.before[task])
        rank[task] = max(ahead, default=0.0)
    return rank


def _by_priority(costs: Costs, priority: Array, place: Callable[[int], None]) -> None:
    """Of the tasks whose predecessors are placed, place that of the highest priority; repeat."""
    waiting = [len(before) for before in costs.before]
    ready = [(-priority[task], task) for task in costs.tasks if not waiting[task]]
    heapq.heapify(ready)
    while ready:
        _, task = heapq.heappop(ready)
        place(task)
        for after, _ in costs.after[task]:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (-priority[after], after))


def heft(costs: Costs) -> Timetable:
    """Heterogeneous earliest finish time: by upward rank, each where it ends first."""
    draft = _Draft(costs)
    rank = _upward_ranks(costs)
    for task in sorted(costs.tasks, key=lambda task: (-rank[task], task)):
        draft.put(task, int(draft.ends_s(task).argmin()))
    return draft.timetable()


def cpop(costs: Costs) -> Timetable:
    """Critical path on a processor: the longest path on one, all else where it ends first.

    The article asks for one entry task. Of several, the path starts at that of highest priority.
    """
    priority = _upward_ranks(costs) + _downward_ranks(costs)
    entries = [task for task in costs.tasks if not costs.before[task]]
    path = [max(entries, key=lambda task: priority[task])]
    while costs.after[path[-1]]:
        path.append(max((after for after, _ in costs.after[path[-1]]), key=lambda i: priority[i]))
    for_path = int(costs.seconds[path].sum(axis=0).argmin())
    draft = _Draft(costs)

    def place(task: int) -> None:
        draft.put(task, for_path if task in path else int(draft.ends_s(task).argmin()))

    _by_priority(costs, priority, place)
    return draft.timetable()


def optimistic_costs(costs: Costs) -> Array:
    """(n, p) least seconds from a task's end on a processor to the end of the graph: OCT."""
    table = np.zeros_like(costs.seconds, dtype=float)
    for task in reversed(costs.tasks):
        for after, travel_s in costs.after[task]:
            behind = table[after] + costs.seconds[after]
            np.maximum(table[task], np.minimum(behind, behind.min() + travel_s), out=table[task])
    return table


def peft(costs: Costs) -> Timetable:
    """Predict earliest finish time: by mean optimistic cost, where end plus that cost is least."""
    table = optimistic_costs(costs)
    draft = _Draft(costs)

    def place(task: int) -> None:
        draft.put(task, int((draft.ends_s(task) + table[task]).argmin()))

    _by_priority(costs, table.mean(axis=1), place)
    return draft.timetable()


def min_min(costs: Costs) -> Timetable:
    """Of all tasks that could be next, the one that can end first, where it does.

    Ends never decrease from one choice to the next, so that no gap could have held a later task.
    """
    draft = _Draft(costs)
    waiting = [len(before) for before in costs.before]
    ready = [task for task in costs.tasks if not waiting[task]]
    while ready:
        ends_s = np.array([draft.ends_s(task) for task in ready])
        which, processor = divmod(int(ends_s.argmin()), ends_s.shape[1])
        task = ready.pop(which)
        draft.put(task, processor)
        for after, _ in costs.after[task]:
            waiting[after] -= 1
            if not waiting[after]:
                bisect.insort(ready, after)
    return draft.timetable()


def costs_of(graph: TaskGraph, cluster: Cluster) -> Costs:
    """What a textbook scheduler sees of a task graph and a cluster.

    The way of the image from the client and of the answer to it is left out: without contention
    the one delays every task that reads the image alone by the same time on every board, and the
    other comes behind all work. Between boards it sees the means over all pairs,
    what messages take of processors included.

    Args:
        graph: any.
        cluster: the boards are the processors, in the cluster's order.
    """
    seconds = [[graph.seconds_on(task, board) for board in cluster.boards] for task in graph.tasks]
    number = {task.name: i for i, task in enumerate(graph.tasks)}
    shared: dict[tuple[int, int], int] = {}
    for tensor, writer in graph.producer.items():
        for reader in graph.consumers[tensor]:
            edge = number[writer], number[reader]
            shared[edge] = shared.get(edge, 0) + graph.tensor_bytes[tensor]
    pairs = list(itertools.permutations((board.name for board in cluster.boards), 2))
    latency_s = np.mean([cluster.latency_s(*pair) for pair in pairs]) if pairs else 0.0
    byte_s = np.mean([1 / cluster.bytes_per_s(*pair) for pair in pairs]) if pairs else 0.0
    ends = [cluster.message_costs_s(board.name) for board in cluster.boards]
    latency_s += 2 * np.mean([fixed_s for fixed_s, _ in ends])
    byte_s += 2 * np.mean([each_s for _, each_s in ends])
    travel_s = {edge: float(latency_s + size * byte_s) for edge, size in shared.items()}
    return Costs(np.array(seconds), travel_s)


def simulated(graph: TaskGraph, cluster: Cluster, planned: Timetable) -> Plan:
    """What a timetable comes to where messages queue: its boards and its order, without calls."""
    names = [board.name for board in cluster.boards]
    order = sorted(range(len(graph.tasks)), key=lambda task: (planned.start_s[task], task))
    homes = {task.name: names[planned.processor[i]] for i, task in enumerate(graph.tasks)}
    in_order = replace(graph, tasks=tuple(graph.tasks[i] for i in order))
    return decode(in_order, _without_calls(cluster), homes)


def _textbook(scheduler: Callable[[Costs], Timetable]) -> Callable[[TaskGraph, Cluster], Plan]:
    return lambda graph, cluster: simulated(graph, cluster, scheduler(costs_of(graph, cluster)))


def paper(graph: TaskGraph, cluster: Cluster) -> Plan:
    """The paper's own distribution: whole components on units; tasks in the graph's own order."""
    names = [board.name for board in cluster.boards]
    unit_of = distribute(graph, len(names)).unit_of
    homes = {task: names[unit] for task, unit in unit_of.items()}
    return decode(graph, _without_calls(cluster), homes)


def _without_calls(cluster: Cluster) -> Cluster:
    return replace(cluster, boards=tuple(replace(board, call_ms=0.0) for board in cluster.boards))


SCHEDULERS: dict[str, Callable[[TaskGraph, Cluster], Plan]] = {
    "HEFT": _textbook(heft),
    "CPOP": _textbook(cpop),
    "PEFT": _textbook(peft),
    "min-min": _textbook(min_min),
    "paper": paper,
}
