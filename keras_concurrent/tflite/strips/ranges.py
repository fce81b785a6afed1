"""Which rows each strip of each operator computes: its own, or those that its readers need."""

from __future__ import annotations

from collections.abc import Iterable, Set

from keras_concurrent.tflite.strips.decisions import Decided
from keras_concurrent.tflite.strips.work import ROW_AXIS, Span


class Ranges:
    """The spans that strips compute.

    Most tensors are exchanged: each strip computes its own rows, and readers take what they lack
    from the others. Some are made anew by each strip that needs them, halo and all: what follows
    the image without a window, for the client sends any rows; paddings and the like, which cost
    nothing; and what lies between two exchanges.

    They are found from the end of the model to its begin: `add` the last operator first.

    Args:
        outputs: the model's, which are put together.
        by_rows: tensors that are split by rows.
        exchanged: those of which each strip computes its own rows alone.

    Attributes:
        needed: rows that the operators added so far read, by tensor and strip.
    """

    def __init__(self, outputs: Set[int], by_rows: set[int], exchanged: set[int]) -> None:
        self._by_rows = by_rows
        self._exchanged = exchanged
        self._gathered = set(outputs)
        self.needed: dict[int, dict[int, Span]] = {}

    def add(self, each: Decided) -> dict[int, tuple[Span, Span | None]]:
        """The spans of an operator whose readers were added; what it reads itself is noted.

        Returns:
            By strip, what it computes of the operator's outputs, and what others take of that.
        """
        operator = each.step.operator
        if each.rule is None:
            self._gathered.update(operator.inputs)
            return {}
        found: dict[int, tuple[Span, Span | None]] = {}
        anew = self._by_rows.issuperset(operator.outputs) and self._exchanged.isdisjoint(
            operator.outputs
        )
        given = not anew or not self._gathered.isdisjoint(operator.outputs)
        for strip, own in enumerate(each.spans):
            computed = own if given else None
            if anew:
                for index in operator.outputs:
                    needed = self.needed.get(index, {}).get(strip)
                    computed = computed if needed is None else needed.hull(computed)
            if computed is not None:
                found[strip] = computed, own if given else None
        for strip, (computed, _) in found.items():
            work = each.rule.at(computed.first, computed.end)
            for index, span in zip(operator.inputs, work.reads, strict=True):
                by_rows = span is not None and span.axis == ROW_AXIS
                if not by_rows or index not in self._by_rows:
                    self._gathered.add(index)
                if span is not None and by_rows:
                    before = self.needed.setdefault(index, {})
                    before[strip] = span.hull(before.get(strip))
        return found


def made_by_rows(decided: Iterable[Decided]) -> set[int]:
    """The tensors that operators write in strips of rows."""
    return {index for each in decided if each.by_rows for index in each.step.operator.outputs}
