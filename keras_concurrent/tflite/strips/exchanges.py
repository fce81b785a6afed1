"""After which windows strips exchange rows.

A tensor's level is how many windows lie between the image and it. Of the levels where strips
exchange rows, each strip computes its own rows alone, and whoever reads asks the others for what it
lacks. Up to there each computes the rows that it needs, its neighbours' too.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

from keras_concurrent.tflite.strips.decisions import Decided

_WIDENED = 2  # times as many channels as are read


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
            paddings and the like, which cost nothing, are always made anew, and so is what makes
            many channels of few, as the first convolution of a MobileNetV2's block does: what it
            reads has fewer bytes.
    """
    levels, found = levels_of(decided), set[int]()
    channels: dict[int, int] = {}
    for each in decided:
        operator, rule = each.step.operator, each.rule
        if rule is None or not each.by_rows:
            continue
        channels.update(dict.fromkeys(operator.outputs, each.channels))
        read = sum(channels[i] for i in operator.inputs if i in channels)
        widened = read and not rule.windowed and each.channels > _WIDENED * read
        if not rule.moves and not widened:
            found.update(i for i in operator.outputs if levels[i] and levels[i] in after)
    return found
