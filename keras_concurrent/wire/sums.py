"""Sums regrouped to suit a plan: what sits on one board is added there, one tensor travels.

The converter writes a weighted sum of many tensors as a chain of additions that leans to the left,
``((a + b) + c) + d``, whatever board each of them is on. Additions may be grouped in any other way;
only the rounding differs.

For every pair of boards there is a choice. Of the tensors on one board that sums on the other read,
either a tensor travels, and serves all sums there, or a sum's share travels, and stands for all of
its tensors. Fewest bytes travel when those chosen are a vertex cover of least weight of the graph
of "sum reads tensor", and such a cover is a minimum cut.

The tensor that travels is the lightest on the way to the sum: what widens it (a scaling block's 1x1
convolution) then sits on the receiver, what shrinks it (its pooling) on the sender.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import networkx as nx

from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.schema import shape_of, type_of


@dataclass
class _Leaf:
    """A tensor that a sum reads.

    Args:
        index: number of the tensor that is added.
        source: number of the tensor that would travel.
        way: the operators between the two, which serve this sum alone.
        before: the operators before the source that keep or shrink what they read.
        board: where all this begins.
    """

    index: int
    source: int
    way: list[Step]
    before: list[Step]
    board: str


@dataclass
class _Sum:
    """Additions that may be grouped in any way.

    Args:
        root: the last of them, which may have an activation.
        others: those before it.
        leaves: what is added, in the file's order.
    """

    root: Step
    others: list[Step]
    leaves: list[_Leaf]

    @property
    def board(self) -> str:
        """Where the sum is finished."""
        return str(self.root.board)

    @property
    def written(self) -> set[int]:
        """What its additions write."""
        return {step.operator.outputs[0] for step in (self.root, *self.others)}


def regroup_sums(
    file: TfliteFile, homes: Mapping[int, str], pinned: Collection[str] = ()
) -> tuple[TfliteFile, dict[int, str]]:
    """Group every float32 sum by the boards its tensors are on.

    A sum is finished on the board of its last addition. The operators between a tensor and its sum
    move to the side on which fewer bytes travel.

    Args:
        file: the model.
        homes: board of every operator that is not constant, by its index.
        pinned: tensors whose operators stay on their boards.

    Returns:
        The model, equal but for rounding, and the board of every operator of it.
    """
    draft = Draft(file, homes)
    fixed = {draft.index_of(name) for name in pinned}
    sums = [each for each in _Finder(draft, fixed).sums() if fixed.isdisjoint(each.written)]
    for each in sums:
        for leaf in each.leaves:
            for step in leaf.before:
                step.board = leaf.board
    shares = _shares(draft, sums)
    for number, each in enumerate(sums):
        _regroup(draft, each, number, shares)
    return draft.finish()


class _Finder:
    """Finds the sums of a draft.

    Args:
        draft: the file.
        fixed: tensors whose operators do not move.
    """

    def __init__(self, draft: Draft, fixed: Collection[int]) -> None:
        self._draft, self._fixed = draft, fixed
        self._writers, self._readers = draft.writers(), draft.readers()

    def sums(self) -> list[_Sum]:
        """All of them, in running order."""
        additions = [step for step in self._draft.steps if self._is_addition(step)]
        inner = {i for step in additions for i in step.operator.inputs if self._is_inner(i)}
        sums = []
        for root in additions:
            if root.operator.outputs[0] in inner:
                continue
            others: list[Step] = []
            leaves: list[_Leaf | None] = []
            waiting = list(reversed(root.operator.inputs))
            while waiting:
                index = waiting.pop()
                if index in inner:
                    others.append(self._writers[index])
                    waiting.extend(reversed(self._writers[index].operator.inputs))
                else:
                    leaves.append(self._leaf(index))
            known = [leaf for leaf in leaves if leaf is not None]
            if len(known) == len(leaves):
                sums.append(_Sum(root, others, known))
        return sums

    def _is_addition(self, step: Step) -> bool:
        """An addition of two float32 tensors of one shape that depend on images."""
        if step.board is None or self._draft.kind(step) != "ADD":
            return False
        tensors = [self._draft.tensors[i] for i in (*step.operator.inputs, *step.operator.outputs)]
        one_shape = len({shape_of(tensor) for tensor in tensors}) == 1
        return one_shape and {type_of(tensor) for tensor in tensors} == {"float32"}

    def _is_inner(self, index: int) -> bool:
        """Whether a tensor is an addition's result that only one more addition reads."""
        step = self._writers.get(index)
        if step is None or not self._is_addition(step):
            return False
        return step.operator.builtinOptions.fusedActivationFunction == 0 and self._serves_one(index)

    def _serves_one(self, index: int) -> bool:
        return len(self._readers.get(index, ())) == 1 and index not in self._draft.outputs

    def _leaf(self, index: int) -> _Leaf | None:
        """What is added here; ``None`` for a constant and for what the client sends."""
        if self._writer_of(index) is None:
            return None
        source, way = index, []
        lightest, passed = index, 0
        while self._serves_one(source):
            before = self._read_by(self._writers[source], ("MUL", "LOGISTIC", "CONV_2D"))
            if before is None:
                break
            way.append(self._writers[source])
            scaled = self._draft.kind(way[-1]) == "MUL" and lightest == source
            source = before
            if scaled or self._bytes(source) < self._bytes(lightest):
                lightest, passed = source, len(way)
        first, before_it = lightest, []
        while (
            before := self._read_by(self._writers[first], ("MAX_POOL_2D", "LOGISTIC"))
        ) is not None:
            before_it.append(self._writers[first])
            first = before
        board = str(self._writers[first].board)
        return _Leaf(index, lightest, way[:passed], before_it, board)

    def _writer_of(self, index: int) -> Step | None:
        """The operator that writes a tensor, if it depends on images."""
        step = self._writers.get(index)
        return None if step is None or step.board is None else step

    def _read_by(self, step: Step, kinds: tuple[str, ...]) -> int | None:
        """The one varying tensor that an operator reads, if the operator may move.

        A product must not grow what it reads, nor a convolution look around.
        """
        kind, operator = self._draft.kind(step), step.operator
        if kind not in kinds or operator.outputs[0] in self._fixed:
            return None
        varying = [i for i in operator.inputs if self._writer_of(i) is not None]
        if len(varying) != 1 or any(i in self._draft.inputs for i in operator.inputs):
            return None
        index = int(varying[0])
        tensors = [self._draft.tensors[i] for i in (index, operator.outputs[0])]
        if {type_of(tensor) for tensor in tensors} != {"float32"}:
            return None
        shapes = [shape_of(tensor) for tensor in tensors]
        if kind == "MUL" and shapes[0] != shapes[1]:
            return None
        if kind == "CONV_2D" and (
            shape_of(self._draft.tensors[operator.inputs[1]])[1:3] != (1, 1)
            or shapes[0][1:3] != shapes[1][1:3]
        ):
            return None
        return index

    def _bytes(self, index: int) -> int:
        return math.prod(shape_of(self._draft.tensors[index]))


def _shares(draft: Draft, sums: list[_Sum]) -> set[tuple[int, str]]:
    """Sums, by number, and boards of which the sum's share travels; of all others, the tensors."""
    pairs: dict[tuple[str, str], nx.DiGraph] = {}
    for number, each in enumerate(sums):
        for leaf in each.leaves:
            if leaf.board == each.board:
                continue
            graph = pairs.setdefault((leaf.board, each.board), nx.DiGraph())
            result = each.root.operator.outputs[0]
            for end, index in ((("sum", number), result), (("tensor", leaf.source), leaf.source)):
                size = math.prod(shape_of(draft.tensors[index]))
                ends = ("all", end) if end[0] == "sum" else (end, "none")
                graph.add_edge(*ends, capacity=size)
            graph.add_edge(("sum", number), ("tensor", leaf.source))  # never cut
    chosen = set()
    for (sender, _), graph in pairs.items():
        _, (_, behind) = nx.minimum_cut(graph, "all", "none")
        numbers = {number for kind, number in behind - {"none"} if kind == "sum"}
        chosen |= {(number, sender) for number in numbers}
    return chosen


def _regroup(draft: Draft, each: _Sum, number: int, shares: set[tuple[int, str]]) -> None:
    """Add up each board's share there, then everything on the root's board."""
    there = each.board
    groups: dict[str, list[_Leaf]] = {there: []}
    for leaf in each.leaves:
        board = leaf.board if (number, leaf.board) in shares else there
        groups.setdefault(board, []).append(leaf)
        for step in leaf.way:
            step.board = board
    if not groups[there] and len(groups) == 2:  # one board's share is the whole sum
        del groups[there]
        (there,) = groups
        each.root.board = there
    if len(groups) == 1:
        for step in each.others:
            step.board = there
        return
    spare = [step.operator.outputs[0] for step in each.others]
    for step in each.others:
        draft.steps.remove(step)
    at = draft.steps.index(each.root)

    def add(a: int, b: int, board: str) -> int:
        nonlocal at
        operator = copy.copy(each.root.operator)
        operator.builtinOptions = copy.copy(operator.builtinOptions)
        operator.builtinOptions.fusedActivationFunction = 0
        operator.inputs, operator.outputs = [a, b], [spare.pop(0)]
        draft.steps.insert(at, Step(operator, board))
        at += 1
        return int(operator.outputs[0])

    def chain(terms: list[int], board: str) -> int:
        total = terms[0]
        for term in terms[1:]:
            total = add(total, term, board)
        return total

    terms = [leaf.index for leaf in groups.pop(there)]
    terms += [chain([leaf.index for leaf in groups[board]], board) for board in groups]
    each.root.operator.inputs = [chain(terms[:-1], there), terms[-1]]
