"""Which strips of a model its boards should compute: tried, not chosen by hand.

Each way to split is rewritten, strip k is put on board k, and what then takes least is kept: how
many strips, down to how many rows an image is split, from how many FLOPs a layer is split by
channels, how much larger the first and the last strip are, which have one neighbour alone, and how
much messages count where a program chooses after which windows strips exchange rows. One of these
is changed at a time, for as long as that helps. From the best ways a search goes on, which may put
any part on any board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from keras_concurrent.cluster import Cluster
from keras_concurrent.export.exchanging import Exchanging
from keras_concurrent.planning.effort import USUAL, Effort
from keras_concurrent.planning.given import segments_on
from keras_concurrent.planning.problem import fastest_first
from keras_concurrent.planning.schedule import Plan, decode, fits, schedule
from keras_concurrent.planning.segments import merge_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.strips.decisions import Choice
from keras_concurrent.tflite.strips.rewriting import Strips, decided_for, strips
from keras_concurrent.tflite.strips.work import CHANNELS, ROWS

_AXES = (ROWS, CHANNELS)
_CHANNELS_FROM_FLOPS = (math.inf, 2e7, 5e6, 1e6)
_MESSAGES = (0.0, 0.5, 1.0, 2.0)
_EDGES = (1.0, 1.2, 1.4)
_HOPELESS = 1.3  # times the best latency: no search makes up for that
_EVALUATIONS = 20_000  # of a search; it starts near its end
_SEARCHED_WAYS = 3  # the best, before any search
_SEARCHED = 400  # segments; of more, the search finds too little in its time
_MERGED = 1_200  # tasks; of more, merging them one by one takes longer than planning may


@dataclass(frozen=True)
class Way:
    """One way to split a model.

    Args:
        count: strips, on the fastest boards.
        least_rows: see `keras_concurrent.tflite.strips.rewriting.strips`.
        least_flops: see there.
        messages: how much messages count where exchanges are chosen, see
            `keras_concurrent.export.exchanging`; where they do not, strips exchange rows after
            each window.
        edge: times as large as its board's share are the first and the last strip.
    """

    count: int
    least_rows: int = 2
    least_flops: float = math.inf
    messages: float = 1.0
    edge: float = 1.0

    def to_json(self) -> dict[str, float | None]:
        """The settings as JSON has them, without infinity."""
        none = math.isinf(self.least_flops)
        return {**asdict(self), "least_flops": None if none else self.least_flops}


@dataclass(frozen=True)
class StripPlan:
    """A model in strips, on boards.

    Args:
        way: how it was split.
        strips: the rewritten model.
        plan: of its segments.
    """

    way: Way
    strips: Strips
    plan: Plan

    @property
    def sentence(self) -> str:
        """How many operators were split, and why the others were not."""
        by = {axis: sum(each.axis == axis for each in self.strips.split) for axis in _AXES}
        split = " and ".join(f"{number} by {axis}" for axis, number in by.items() if number)
        whole = "; ".join(f"{n} {why}" for why, n in self.strips.reasons.items())
        return (
            f"{self.way.count} strips: of {len(self.strips.decisions)} operators {split}"
            f"{f'. Whole: {whole}' if whole else ''}."
        )


@dataclass(frozen=True)
class StripPlanner:
    """Finds the best strips of a model.

    Args:
        file: the model; one that can be cut.
        cluster: the boards and their network.
        counts: how many strips to try.
        effort: what the search from the best of them may take.

    Raises:
        ValueError: no count, one below 2, or above the number of boards.
    """

    file: TfliteFile
    cluster: Cluster
    counts: Sequence[int]
    effort: Effort = USUAL
    _exchanging: dict[Choice, Exchanging] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        boards = len(self.cluster.boards)
        if not self.counts or not all(2 <= count <= boards for count in self.counts):
            raise ValueError(
                f"strips must be 2 to as many as there are boards, {boards}, got "
                f"{', '.join(map(str, self.counts))}"
            )

    @cached_property
    def _graph(self) -> TaskGraph:
        return TaskGraph.from_tflite(self.file)

    def plan(self) -> StripPlan | None:
        """The best that is found; ``None`` where no way splits anything or fits into memory."""
        tried: dict[Way, StripPlan | None] = {}

        def latency_s(way: Way) -> float:
            if way not in tried:
                tried[way] = self.tried(way)
            found = tried[way]
            return math.inf if found is None else found.plan.latency_s

        best = Way(max(self.counts))
        before = None
        while best != before:
            before = best
            for values in self._values():
                for value in values:
                    way = replace(best, **value)
                    if latency_s(way) > latency_s(best) * _HOPELESS:
                        break  # and the next is worse
                    best = min(best, way, key=latency_s)
        found: dict[float, StripPlan] = {}  # one of each latency: some ways come to the same
        for each in tried.values():
            if each is not None:
                found.setdefault(each.plan.latency_s, each)
        searched = (self._searched(found[least]) for least in sorted(found)[:_SEARCHED_WAYS])
        return min(searched, key=lambda each: each.plan.latency_s, default=None)

    def _values(self) -> list[list[dict[str, Any]]]:
        """What may be changed at a time: values, each further away than the one before."""
        heights = sorted(
            {
                tensor.shape[1]
                for operator in self.file.operators
                for tensor in (self.file.tensors[name] for name in operator.outputs)
                if len(tensor.shape) == 4 and tensor.shape[1] > 1
            }
        )
        # Rows between two heights split the same operators: those of the greater height.
        least_rows = [2, *(lower + 1 for lower, _ in pairwise(heights))]
        return [
            *(
                [{"least_rows": rows, "least_flops": flops} for rows in dict.fromkeys(least_rows)]
                for flops in (math.inf, 5e6)
            ),
            [{"least_flops": flops} for flops in _CHANNELS_FROM_FLOPS],
            [{"count": count} for count in sorted(self.counts, reverse=True)],
            [{"messages": weight} for weight in _MESSAGES],
            [{"edge": times} for times in _EDGES],
        ]

    def tried(self, way: Way) -> StripPlan | None:
        """One way, strip k on board k, every operator a segment whose call costs nothing.

        So it takes about what it takes once the operators are merged into segments. ``None`` where
        nothing is split or some board is full.
        """
        boards = fastest_first(self.cluster)[: way.count]
        shares = [board.flops_per_s for board in boards]
        shares[0], shares[-1] = shares[0] * way.edge, shares[-1] * way.edge
        split = strips(
            self.file,
            shares,
            least_rows=way.least_rows,
            least_flops=way.least_flops,
            exchange_after=self._exchanges(way, shares),
        )
        if not split.split:
            return None
        graph, assignment = self._given(way, split)
        plan = decode(graph, _without_calls(self.cluster), assignment)
        return StripPlan(way, split, plan) if fits(plan, self.cluster) else None

    def _exchanges(self, way: Way, shares: Sequence[float]) -> tuple[int, ...]:
        """After which windows strips exchange rows."""
        choice = Choice(tuple(shares), way.least_rows, way.least_flops)
        if choice not in self._exchanging:
            draft, _, decided = decided_for(self.file, choice)
            boards = fastest_first(self.cluster)[: way.count]
            self._exchanging[choice] = Exchanging(self._graph, self.cluster, boards, draft, decided)
        return self._exchanging[choice].best(way.messages)

    def _given(self, way: Way, split: Strips) -> tuple[TaskGraph, dict[str, str]]:
        """The tasks of strips, and strip k on board k."""
        boards = fastest_first(self.cluster)[: way.count]
        graph = TaskGraph.from_tflite(split.file)
        # What is of no strip alone is the fastest board's.
        home = {i: boards[strip].name for i, strip in split.strip_of.items()}
        return graph, {t.name: home.get(t.operators[0], boards[0].name) for t in graph.tasks}

    def _searched(self, found: StripPlan) -> StripPlan:
        """In segments, on boards that a search may change."""
        graph, assignment = self._given(found.way, found.strips)
        plan = segments_on(graph, self.cluster, assignment)
        if len(graph.tasks) <= _MERGED:
            merged = merge_segments(decode(graph, self.cluster, assignment), self.cluster)
            plan = min(plan, merged, key=lambda plan: plan.latency_s)
        if self.effort.evaluations and len(plan.graph.tasks) <= _SEARCHED:
            start: Mapping[str, str] = plan.assignment
            effort = replace(self.effort, evaluations=min(_EVALUATIONS, self.effort.evaluations))
            searched = schedule(plan.graph, self.cluster, effort=effort, start=start)
            merged = merge_segments(searched, self.cluster)
            if merged.latency_s < plan.latency_s and fits(merged, self.cluster):
                plan = merged
        return replace(found, plan=plan)


def _without_calls(cluster: Cluster) -> Cluster:
    """The same boards, where calling a segment costs nothing."""
    return replace(cluster, boards=tuple(replace(b, call_ms=0.0) for b in cluster.boards))
