"""Sums regrouped to suit a plan: what sits on one board is added there, one tensor travels.

The converter writes a weighted sum of many tensors as a chain of additions that leans to the left,
``((a + b) + c) + d``, whatever board each of them is on. Additions may be grouped in any other way;
only the rounding differs.

For every pair of boards there is a choice. Of the tensors on one board that sums on the other read,
either a tensor travels, and serves all sums there, or a sum's share travels, and stands for all of
its tensors. Fewest tensors travel when those chosen are a minimum vertex cover of the graph of
"sum reads tensor", which by Koenig's theorem follows from a maximum matching.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import networkx as nx

from keras_concurrent.tflite_draft import Draft, Step
from keras_concurrent.tflite_file import TfliteFile
from keras_concurrent.tflite_schema import shape_of, type_of


@dataclass
class _Leaf:
    """A tensor that a sum reads.

    Args:
        index: of the tensor that is added.
        source: of the tensor that it is a multiple of; its own where it is none.
        product: the operator that multiplies, if there is one.
        board: where the source is.
    """

    index: int
    source: int
    product: Step | None
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
    def written(self) -> set[int]:
        """What its additions and products write."""
        steps = [self.root, *self.others, *(leaf.product for leaf in self.leaves)]
        return {step.operator.outputs[0] for step in steps if step is not None}


def regroup_sums(
    file: TfliteFile, homes: Mapping[int, str], pinned: Collection[str] = ()
) -> tuple[TfliteFile, dict[int, str]]:
    """Group every float32 sum by the boards its tensors are on.

    A sum is finished on the board of its last addition. A product with a constant moves to where
    its tensor is added.

    Args:
        file: the model.
        homes: board of every operator that is not constant, by its index.
        pinned: tensors whose operators stay on their boards; their sums are left alone.

    Returns:
        The model, equal but for rounding, and the board of every operator of it.
    """
    draft = Draft(file, homes)
    fixed = {draft.index_of(name) for name in pinned}
    sums = [each for each in _sums(draft) if fixed.isdisjoint(each.written)]
    shares = _shares(sums)
    for number, each in enumerate(sums):
        _regroup(draft, each, number, shares)
    return draft.finish()


def _sums(draft: Draft) -> list[_Sum]:
    writers, readers = draft.writers(), draft.readers()

    def addable(index: int) -> bool:
        step = writers.get(index)
        return (
            step is not None
            and _is_plain(draft, step, "ADD")
            and step.operator.builtinOptions.fusedActivationFunction == 0
            and len(readers[index]) == 1
            and index not in draft.outputs
        )

    found = []
    inner = {
        i
        for step in draft.steps
        if _is_plain(draft, step, "ADD")
        for i in step.operator.inputs
        if addable(i)
    }
    for root in draft.steps:
        if not _is_plain(draft, root, "ADD") or root.operator.outputs[0] in inner:
            continue
        others: list[Step] = []
        leaves: list[_Leaf | None] = []
        waiting = list(reversed(root.operator.inputs))
        while waiting:
            index = waiting.pop()
            if index in inner:
                others.append(writers[index])
                waiting.extend(reversed(writers[index].operator.inputs))
            else:
                leaves.append(_leaf(draft, index, writers, readers))
        known = [leaf for leaf in leaves if leaf is not None]
        if len(known) == len(leaves):
            found.append(_Sum(root, others, known))
    return found


def _is_plain(draft: Draft, step: Step, kind: str) -> bool:
    """Whether an operator is of a kind, depends on images, and reads and writes float32 tensors."""
    if step.board is None or draft.kind(step) != kind:
        return False
    tensors = [draft.tensors[i] for i in (*step.operator.inputs, *step.operator.outputs)]
    one_shape = len({shape_of(tensor) for tensor in tensors}) == 1
    return {type_of(tensor) for tensor in tensors} == {"float32"} and (one_shape or kind != "ADD")


def _leaf(
    draft: Draft, index: int, writers: Mapping[int, Step], readers: Mapping[int, list[Step]]
) -> _Leaf | None:
    """What is added here; ``None`` for a constant and for what the client sends."""
    step = writers.get(index)
    if step is None or step.board is None:
        return None
    if _is_plain(draft, step, "MUL") and len(readers[index]) == 1 and index not in draft.outputs:
        varying = [i for i in step.operator.inputs if i in writers and writers[i].board is not None]
        if len(step.operator.inputs) - len(varying) == 1:
            (source,) = varying
            if shape_of(draft.tensors[source]) == shape_of(draft.tensors[index]):
                return _Leaf(index, source, step, str(writers[source].board))
    return _Leaf(index, index, None, step.board)


def _shares(sums: list[_Sum]) -> set[tuple[int, str]]:
    """Sums, by number, and boards of which the sum's share travels; of all others, the tensors."""
    pairs: dict[tuple[str, str], nx.Graph] = {}
    for number, each in enumerate(sums):
        there = str(each.root.board)
        for leaf in each.leaves:
            if leaf.board != there:
                graph = pairs.setdefault((leaf.board, there), nx.Graph())
                graph.add_edge(("tensor", leaf.source), ("sum", number))
    chosen = set()
    for (sender, _), graph in pairs.items():
        tensors = [node for node in graph if node[0] == "tensor"]
        matching = nx.bipartite.hopcroft_karp_matching(graph, tensors)
        cover = nx.bipartite.to_vertex_cover(graph, matching, tensors)
        chosen |= {(number, sender) for kind, number in cover if kind == "sum"}
    return chosen


def _regroup(draft: Draft, each: _Sum, number: int, shares: set[tuple[int, str]]) -> None:
    """Add up each board's share there, then everything on the root's board."""
    there = str(each.root.board)
    groups: dict[str, list[_Leaf]] = {there: []}
    for leaf in each.leaves:
        board = leaf.board if (number, leaf.board) in shares else there
        groups.setdefault(board, []).append(leaf)
        if leaf.product is not None:
            leaf.product.board = board
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

    terms: list[int] = []

    def chain(terms: list[int], board: str) -> int:
        total = terms[0]
        for term in terms[1:]:
            total = add(total, term, board)
        return total

    terms = [leaf.index for leaf in groups.pop(there)]
    terms += [chain([leaf.index for leaf in groups[board]], board) for board in groups]
    each.root.operator.inputs = [chain(terms[:-1], there), terms[-1]]
