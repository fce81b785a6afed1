"""After which windows strips should exchange rows: a dynamic program over the depth of a model.

Between two exchanges each strip computes rows of its neighbours too, the more of them the longer
that goes on; an exchange costs messages at both ends. The program knows no order of segments and
counts a block of layers as over when its slowest strip is. It finds where an exchange is worth it;
how long what comes of it takes is for the planner to say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from keras_concurrent.board import Board
from keras_concurrent.cluster import Cluster
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.draft import Draft
from keras_concurrent.tflite.strips.decisions import Decided
from keras_concurrent.tflite.strips.exchanges import exchanged, levels_of
from keras_concurrent.tflite.strips.ranges import Ranges
from keras_concurrent.tflite.strips.work import ROW_AXIS, Span

_DEEPEST = 6  # windows between two exchanges; deeper, rows computed twice outweigh any message


class Exchanging:
    """A model whose operators are decided, strip k of it on board k.

    Args:
        graph: the model's tasks, an operator each.
        cluster: the boards and their network.
        boards: one a strip.
        draft: the model.
        decided: its operators, in running order.
    """

    def __init__(
        self,
        graph: TaskGraph,
        cluster: Cluster,
        boards: Sequence[Board],
        draft: Draft,
        decided: Sequence[Decided],
    ) -> None:
        self._cluster, self._boards, self._outputs = cluster, boards, draft.outputs
        self._levels: dict[int, list[tuple[int, Decided]]] = defaultdict(list)
        self._own: dict[int, tuple[Span | None, ...]] = {}  # by tensor, what each strip has of it
        self._row_bytes: dict[int, float] = {}
        levels = levels_of(decided)
        self._kept = exchanged(decided, set(levels.values()))
        for each in decided:
            if each.decision is None or not each.by_rows:
                continue
            for index in each.step.operator.outputs:
                tensor = draft.file.tensors[draft.tensors[index].name]
                self._own[index] = each.spans
                self._row_bytes[index] = tensor.bytes / tensor.shape[ROW_AXIS]
            level = levels[each.step.operator.outputs[0]]
            self._levels[level].append((each.decision.operator, each))
        self._seconds: dict[int, list[tuple[float, float]]] = {}
        for task in graph.tasks:
            fixed_s = [board.seconds(0, 0, task.parameter_bytes, 1) for board in boards]
            self._seconds[task.operators[0]] = [
                (least_s, graph.seconds_on(task, board) - least_s)
                for least_s, board in zip(fixed_s, boards, strict=True)
            ]

    def best(self, weight: float) -> tuple[int, ...]:
        """The levels where strips should exchange rows.

        Args:
            weight: how much messages count: less than 1 where boards compute meanwhile, more where
                one that is late holds up others.
        """
        least: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
        for end, blocks in enumerate(self._blocks, start=1):
            tried = [
                (before_s + computed_s + weight * sent_s, (*before, end))
                for (before_s, before), (computed_s, sent_s) in zip(
                    reversed(least), blocks, strict=False
                )
            ]
            least.append(min(tried))
        return least[-1][1][:-1]  # what follows the last is put together

    @cached_property
    def _blocks(self) -> list[list[tuple[float, float]]]:
        """By the level at its end, the blocks of 1, 2, ... levels up to there.

        Of each, what its slowest strip computes, and what is sent at its begin, in seconds.
        """
        return [self._ending(end) for end in range(1, max(self._levels, default=0) + 1)]

    def _ending(self, end: int) -> list[tuple[float, float]]:
        last = {i for _, each in self._levels[end] for i in each.step.operator.outputs}
        ranges = Ranges(self._outputs, set(self._own), last & self._kept)
        computed_s = [0.0] * len(self._boards)
        inside: set[int] = set()
        found = []
        for level in range(end, max(0, end - _DEEPEST), -1):
            for operator, each in reversed(self._levels[level]):
                inside.update(each.step.operator.outputs)
                rows = sum(span.size for span in each.spans if span is not None)
                for strip, (span, _) in ranges.add(each).items():
                    fixed_s, rows_s = self._seconds[operator][strip]
                    computed_s[strip] += fixed_s + span.size / rows * rows_s
            needed = {i: spans for i, spans in ranges.needed.items() if i not in inside}
            found.append((max(computed_s), self._sent_s(needed)))
        return found

    def _sent_s(self, needed: Mapping[int, Mapping[int, Span]]) -> float:
        """What messages take until every strip has the rows that it lacks.

        Args:
            needed: what strips read, by tensor and strip.
        """
        handled_s, way_s = [0.0] * len(self._boards), 0.0
        for index, by_strip in needed.items():
            for strip, span in by_strip.items():
                for other, own in enumerate(self._own.get(index, ())):
                    if own is None or other == strip:
                        continue
                    rows = min(span.end, own.end) - max(span.first, own.first)
                    if rows <= 0:
                        continue
                    size = round(rows * self._row_bytes[index])
                    ends = self._boards[other].name, self._boards[strip].name
                    for place, at in zip(ends, (other, strip), strict=True):
                        handled_s[at] += self._cluster.message_s(place, size)
                    wire_s = size / self._cluster.bytes_per_s(*ends)
                    way_s = max(way_s, wire_s + self._cluster.latency_s(*ends))
        return max(handled_s) + way_s
