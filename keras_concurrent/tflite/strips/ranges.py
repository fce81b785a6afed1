"""Which rows each strip of each operator computes: its own, or those that its readers need."""

from __future__ import annotations

from collections.abc import Sequence

from keras_concurrent.tflite.draft import Draft
from keras_concurrent.tflite.strips.decisions import Decided
from keras_concurrent.tflite.strips.work import ROW_AXIS, Span


class Ranges:
    """The spans that strips compute.

    Most tensors are exchanged: each strip computes its own rows, and readers take what they lack
    from the others. Some are made anew by each strip that needs them, halo and all: what follows
    the image without a window, for the client sends any rows; paddings and the like, which cost
    nothing; and what lies between two exchanges where ``recompute`` asks for it.

    Args:
        draft: the file.
        decided: its operators, in running order.
        recompute: after how many windows, beside the first, strips exchange rows.
    """

    def __init__(self, draft: Draft, decided: Sequence[Decided], recompute: int) -> None:
        self._exchanged = _exchanged(decided, recompute)
        self._needed: dict[int, dict[int, Span]] = {}  # by tensor and strip
        self._gathered = set(draft.outputs)
        self._by_rows = {
            index for each in decided if each.by_rows for index in each.step.operator.outputs
        }
        self._spans = {id(each): self._find(each) for each in reversed(decided)}

    def of(self, each: Decided) -> dict[int, tuple[Span, Span | None]]:
        """By strip, what it computes of an operator's outputs, and what others take of that."""
        return self._spans[id(each)]

    def _find(self, each: Decided) -> dict[int, tuple[Span, Span | None]]:
        """The spans of an operator whose readers' are known; what it reads itself is noted."""
        operator = each.step.operator
        if each.rule is None:
            self._gathered.update(operator.inputs)
            return {}
        found: dict[int, tuple[Span, Span | None]] = {}
        anew = self._by_rows.issuperset(operator.outputs) and not self._exchanged.intersection(
            operator.outputs
        )
        given = not anew or not self._gathered.isdisjoint(operator.outputs)
        for strip, own in enumerate(each.spans):
            computed = own if given else None
            if anew:
                for index in operator.outputs:
                    needed = self._needed.get(index, {}).get(strip)
                    computed = computed if needed is None else needed.hull(computed)
            if computed is not None:
                found[strip] = computed, own if given else None
        for strip, (computed, _) in found.items():
            work = each.rule.at(computed.first, computed.end)
            for index, span in zip(operator.inputs, work.reads, strict=True):
                if span is None or span.axis != ROW_AXIS or index not in self._by_rows:
                    self._gathered.add(index)
                else:
                    before = self._needed.setdefault(index, {})
                    before[strip] = span.hull(before.get(strip))
        return found


def _exchanged(decided: Sequence[Decided], recompute: int) -> set[int]:
    """Tensors of which each strip computes its own rows alone."""
    windows: dict[int, int] = {}  # before a tensor, since the image
    exchanged: set[int] = set()
    for each in decided:
        operator, rule = each.step.operator, each.rule
        passed = max((windows.get(i, 0) for i in operator.inputs), default=0)
        if rule is None or not each.by_rows:
            passed = recompute + 1  # what comes next exchanges: all of it is there already
        else:
            passed += rule.windowed
            if passed and passed % (recompute + 1) == 0 and not rule.moves:
                exchanged.update(operator.outputs)
        windows.update(dict.fromkeys(operator.outputs, passed))
    return exchanged
