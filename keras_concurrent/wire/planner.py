"""A plan that sends less: sums regrouped, tensors encoded, and the file rewritten to do it.

Three moves, each an ordinary operator of the file that comes out:

1. A scaling block's pooling and 1x1 convolution sit on the sending board where that sends less.
   They are operators like any other, so the plan finds it by itself.
2. What one board adds to a sum is added there, see `keras_concurrent.wire.sums`.
3. A tensor travels as float32, float16 or int8, see `keras_concurrent.wire.encoding`.

Plan and file depend on each other: the plan says what crosses boards, and the regrouped file may be
planned better. So both are improved in turn, and the best pair counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from keras_concurrent.cluster import Cluster
from keras_concurrent.errors import ClusterError
from keras_concurrent.interpreter import Array
from keras_concurrent.planning.chains import chains
from keras_concurrent.planning.effort import USUAL, Effort
from keras_concurrent.planning.schedule import Plan, fits
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.wire.encoding import crossing, encode
from keras_concurrent.wire.format import BYTES, FLOAT16, FLOAT32, SENT_AS, WireFormat, int8_for
from keras_concurrent.wire.ranges import Range, measured_ranges, proven_ranges
from keras_concurrent.wire.sums import regroup_sums

_ROUNDS = 2
_EQUAL = 1.01  # latencies this close are predicted no better than that: bytes decide
_FLOATS = {"float16": FLOAT16, "float32": FLOAT32}
_SENDERS = ("_LOGISTIC", "_MAX_POOL_2D")  # kinds of operator that the sender runs
_EVERYTHING = (0.0, 1.0)  # what a sigmoid may give

Images = Sequence[Mapping[str, Array]]
Costs = Callable[[TfliteFile, TaskGraph], TaskGraph]
Homes = Mapping[int, str]


@dataclass(frozen=True)
class WirePlan:
    """A rewritten file and the plan it was rewritten for.

    Args:
        file: the model, encoders included.
        plan: what each board runs when; its tasks are segments of ``file``.
        summed: the model without encoders, its sums regrouped.
        homes: board of every operator of ``summed`` that is not constant.
        formats: how each tensor of ``summed`` that passes from board to board travels, by name.
    """

    file: TfliteFile
    plan: Plan
    summed: TfliteFile
    homes: Homes
    formats: Mapping[str, WireFormat]


@dataclass(frozen=True)
class WirePlanner:
    """Plans a model for a cluster, wire formats included.

    Args:
        file: the model.
        cluster: the boards and their network.
        sent_as: what tensors travel as: ``"float32"``; ``"float16"``; ``"int8"``: int8 where the
            range is known, float32 elsewhere; ``"auto"``: int8 where the range is known, float16
            elsewhere.
        images: a value for each of the model's inputs, by name; the ranges of tensors are measured
            on them. Without any, only ranges that follow from the graph are known.
        costs: gives a file's task graph measured seconds; without it, costs follow from FLOPs.
        pins: board of the operator that writes a tensor, by the tensor's name.
        effort: what each search for a plan may take; there are some, of differently rewritten
        files.

    Raises:
        ValueError: an unknown ``sent_as``, or a pin of a tensor that no operator writes.
    """

    file: TfliteFile
    cluster: Cluster
    sent_as: str = "auto"
    images: Images = ()
    costs: Costs | None = None
    pins: Mapping[str, str] | None = None
    effort: Effort = USUAL

    def __post_init__(self) -> None:
        if self.sent_as not in SENT_AS:
            raise ValueError(f"sent_as must be one of {', '.join(SENT_AS)}, got {self.sent_as!r}")
        written = {name for operator in self.file.operators for name in operator.outputs}
        for name in self.pins or ():
            if name not in written:
                raise ValueError(f"pins must name tensors that an operator writes, got {name!r}")

    def plan(self) -> WirePlan:
        """The best that is found: on one board, the file as it was, where that is best.

        Raises:
            ClusterError: the boards' memory is not enough.
        """
        graph = self._graph(self.file)
        candidates = [*self._candidates()] if self.file.whole_because is None else []
        alone = one_board(graph, self.cluster)
        if not self.pins and fits(alone, self.cluster):
            candidates.append(self._as_it_is(alone))
        if not candidates:
            candidates.append(self._as_it_is(self._plan(graph, self._pins_of(graph))))
        least_s = min(candidate.plan.latency_s for candidate in candidates)
        equals = [each for each in candidates if each.plan.latency_s <= least_s * _EQUAL]
        return min(equals, key=lambda each: (each.plan.wire_bytes, each.plan.latency_s))

    def _as_it_is(self, plan: Plan) -> WirePlan:
        """A plan of the file that is not rewritten."""
        return WirePlan(self.file, plan, self.file, _homes(plan), {})

    def _candidates(self) -> Iterator[WirePlan]:
        """Plans on several boards, for tensors of full weight and for lighter ones.

        Adding up and encoding take time on the sender: where that time decides, less is sent for
        nothing. So each plan is also tried without them. And a search among whole blocks finds
        more than one among their many operators, which move to where less is sent afterwards.
        What some board has not the memory for is left out.
        """
        ways = [(False, False)]
        if self.sent_as != "float32":
            ways += [(True, False), (True, True)]
        for light, whole in ways:
            current = self.file
            for _ in range(1 if whole else _ROUNDS):
                graph = self._graph(current, light=light)
                if whole:
                    blocks = whole_blocks(graph)
                    if blocks is None:
                        break
                    graph = blocks
                try:
                    plan = self._plan(graph, self._pins_of(graph))
                except ClusterError:
                    break
                if len(plan.boards) == 1:
                    break
                homes = _homes(plan)
                if not light:
                    yield WirePlan(current, plan, current, homes, {})
                if self.sent_as != "float32":
                    yield from self._encoded(current, homes)
                current, homes = regroup_sums(current, homes, tuple(self.pins or ()))
                yield from self._encoded(current, homes)

    def _encoded(self, file: TfliteFile, homes: Homes) -> Iterator[WirePlan]:
        """The plan with encoders, if the boards have the memory for them."""
        with suppress(ClusterError):
            yield self.encoded(file, homes, self.formats(file, homes))

    def formats(self, file: TfliteFile, homes: Homes) -> dict[str, WireFormat]:
        """A format for every float32 tensor that passes from board to board."""
        names = [name for name in crossing(file, homes) if file.tensors[name].dtype == "float32"]
        ranges = proven_ranges(file)
        # A sigmoid's code is the same everywhere; anything else rarely fills what it could.
        wide = [name for name in names if ranges.get(name) != _EVERYTHING]
        if self.images:
            for name, (low, high) in measured_ranges(file, wide, self.images).items():
                least, most = ranges.get(name, (low, high))
                ranges[name] = (max(low, least), min(high, most))
        chosen = {name: self._dtype(name, ranges) for name in names}
        return {
            name: int8_for(*ranges[name]) if dtype == "int8" else _FLOATS[dtype]
            for name, dtype in chosen.items()
        }

    def encoded(
        self, summed: TfliteFile, homes: Homes, formats: Mapping[str, WireFormat]
    ) -> WirePlan:
        """The plan that keeps every operator on its board and sends tensors in these formats."""
        file, on = encode(summed, homes, formats)
        graph = TaskGraph.from_tflite(file)
        pins = {task.name: on[task.operators[0]] for task in graph.tasks}
        graph = self._graph(file, pins)
        pins = {task.name: on[task.operators[0]] for task in graph.tasks}
        return WirePlan(file, self._plan(graph, pins), summed, homes, formats)

    def _graph(
        self, file: TfliteFile, pins: Mapping[str, str] | None = None, light: bool = False
    ) -> TaskGraph:
        """A file's tasks with their costs; light: its tensors as light as they will travel."""
        graph = TaskGraph.from_tflite(file)
        sizes = dict(graph.tensor_bytes)
        if light:
            ranges = proven_ranges(file)
            for name in sorted(sizes.keys() - {*graph.inputs, *graph.outputs}):
                if file.tensors[name].dtype == "float32":
                    sizes[name] = sizes[name] * BYTES[self._dtype(name, ranges)] // BYTES["float32"]
            graph = replace(graph, tensor_bytes=sizes)
        if self.costs is not None:
            pins = self._pins_of(graph) if pins is None else pins
            graph = self.costs(file, graph.quotient(chains(graph, pins)))
        return graph

    def _plan(self, graph: TaskGraph, pins: Mapping[str, str]) -> Plan:
        return plan_segments(graph, self.cluster, effort=self.effort, pins=pins)

    def _pins_of(self, graph: TaskGraph) -> dict[str, str]:
        """The user's pins by task."""
        pins = self.pins or {}
        return {t.name: pins[name] for t in graph.tasks for name in t.outputs if name in pins}

    def _dtype(self, name: str, ranges: Mapping[str, Range]) -> str:
        if self.sent_as not in ("auto", "int8"):
            return self.sent_as
        if self.images or name in ranges:
            return "int8"
        return "float16" if self.sent_as == "auto" else "float32"


def whole_blocks(graph: TaskGraph) -> TaskGraph | None:
    """The tasks of each vertex of the network as one; ``None`` where no vertices are known.

    A pool or sigmoid goes with what it reads: that is where less is sent, and the converter shares
    it among all vertices that need the same one.
    """
    group_of: dict[str, str] = {}
    for task in graph.tasks:
        before = graph.predecessors[task.name]
        if task.name.endswith(_SENDERS) and len(before) == 1:
            group_of[task.name] = group_of[before[0]]
        else:
            group_of[task.name] = task.vertices[0] if task.vertices else task.name
    groups: dict[str, list[str]] = {}
    for name, group in group_of.items():
        groups.setdefault(group, []).append(name)
    return graph.quotient(groups.values()) if any(t.vertices for t in graph.tasks) else None


def _homes(plan: Plan) -> dict[int, str]:
    """Board of every operator of a plan's tasks."""
    return {
        operator: plan.assignment[task.name]
        for task in plan.graph.tasks
        for operator in task.operators
    }
