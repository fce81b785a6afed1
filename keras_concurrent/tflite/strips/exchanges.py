"""After which windows strips exchange rows.

A tensor's level is how many windows lie between the image and it. Of the levels where strips
exchange rows, each strip computes its own rows alone, and whoever reads asks the others for what it
lacks. Up to there each computes the rows that it needs, its neighbours' too.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from keras_concurrent.tflite.strips.decisions import Decided


def levels_of(decided: Sequence[Decided]) -> dict[int, int]:
    """The level of each tensor that varies; what is not split by rows counts as a window."""
    levels: dict[int, int] = {}
    for each in decided:
        if each.decision is None:
            continue
        operator, rule = each.step.operator, each.rule
        passed = max((levels.get(i, 0) for i in operator.inputs), default=0)
        passed += rule is None or not each.by_rows or rule.windowed
        levels.update(dict.fromkeys(operator.outputs, passed))
    return levels


def exchanged(decided: Sequence[Decided], after: Container[int]) -> set[int]:
    """Tensors of which each strip computes its own rows alone.

    Args:
        decided: a model's operators, in running order.
        after: levels behind which rows are exchanged. Of the image the client sends any rows, and
            paddings and the like, which cost nothing, are always made anew.
    """
    levels = levels_of(decided)
    return {
        index
        for each in decided
        if each.rule is not None and each.by_rows and not each.rule.moves
        for index in each.step.operator.outputs
        if levels[index] and levels[index] in after
    }
