"""Which operators can be split by output channels, exactly, and what a part of each reads.

Heavy ones begin: a convolution or dense layer gives some of its filters to each part, which reads
all of its input; a mean over the image needs every row, but only of its own channels. What follows
them channel by channel goes on with the same parts, and nothing travels.
"""

from __future__ import annotations

from collections.abc import Callable

from keras_concurrent.tflite.strips.row_rules import ELEMENTWISE, TYPES
from keras_concurrent.tflite.strips.view import OperatorView, TensorView
from keras_concurrent.tflite.strips.work import Rule, Span, Work

UNIT = 8  # channels; parts of other sizes are rounded otherwise on ARM
_REDUCTIONS = {"MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"}
HEAVY = {"CONV_2D", "FULLY_CONNECTED", *_REDUCTIONS}
"""Kinds with which a split by channels may begin."""


def channel_rule(view: OperatorView) -> Rule | str:
    """How an operator is split by output channels.

    Returns:
        The rule, or why there is none, as the end of "it stays whole because ...".
    """
    rule = _RULES.get(view.kind)
    if rule is None:
        return "parts of this kind of operator's channels are not known to be exact"
    varying = [tensor for tensor in view.inputs if tensor is not None and tensor.varies]
    for tensor in (*varying, *view.outputs):
        if tensor.dtype not in TYPES:
            return f"its values are {tensor.dtype}, expected {', '.join(TYPES)}"
    if not view.shape or view.shape[-1] < 2 * UNIT:
        return f"its output {view.shape} has fewer than {2 * UNIT} channels"
    try:
        return rule(view)
    except LookupError as error:
        return str(error.args[0])


def _filters_rule(view: OperatorView) -> Rule | str:
    """Of CONV_2D and FULLY_CONNECTED, whose weights begin with their filters."""
    weights = view.input(1)
    if weights.varies:
        return "its weights depend on the image"
    if view.kind == "CONV_2D" and weights.shape[-1] != view.input(0).shape[-1]:
        return "its filters are grouped"
    if view.kind == "FULLY_CONNECTED" and view.options.weightsFormat:
        return "its weights are shuffled"

    def at(first: int, end: int) -> Work:
        own = Span(0, first, end)
        bias = [own if tensor is not None else None for tensor in view.inputs[2:]]
        return Work((None, own, *bias))

    return Rule(len(view.shape) - 1, at)


def _depthwise_rule(view: OperatorView) -> Rule | str:
    weights, channels = view.input(1), view.shape[-1]
    if weights.varies:
        return "its weights depend on the image"
    if view.input(0).shape[-1] != channels:
        return "it makes several channels of one"
    if weights.dtype != view.input(0).dtype:
        return "its values are quantised by the range of the whole tensor"

    def at(first: int, end: int) -> Work:
        bias = [Span(0, first, end) if tensor is not None else None for tensor in view.inputs[2:]]
        return Work((Span(3, first, end), Span(3, first, end), *bias))

    return Rule(3, at)


def _reduction_rule(view: OperatorView) -> Rule | str:
    """Of a mean and the like over rows and columns."""
    rank = len(view.input(0).shape)
    if any(axis % rank == rank - 1 for axis in view.integers(1)):
        return "it goes over channels"

    def at(first: int, end: int) -> Work:
        return Work((Span(rank - 1, first, end), None))

    return Rule(len(view.shape) - 1, at)


def _alike_rule(view: OperatorView) -> Rule | str:
    """Of operators that make a channel of a channel; an input of one channel is read by all."""
    channels = view.shape[-1]

    def part(tensor: TensorView | None, first: int, end: int) -> Span | None:
        if tensor is None or not tensor.shape or tensor.shape[-1] != channels:
            return None
        return Span(len(tensor.shape) - 1, first, end)

    def at(first: int, end: int) -> Work:
        return Work(tuple(part(tensor, first, end) for tensor in view.inputs))

    return Rule(len(view.shape) - 1, at)


def _pad_rule(view: OperatorView) -> Rule | str:
    if any(view.integers(1)[-2:]):
        return "it pads channels"

    def at(first: int, end: int) -> Work:
        others = (None,) * (len(view.inputs) - 1)
        return Work((Span(len(view.shape) - 1, first, end), *others))

    return Rule(len(view.shape) - 1, at)


_RULES: dict[str, Callable[[OperatorView], Rule | str]] = {
    **dict.fromkeys(ELEMENTWISE | {"AVERAGE_POOL_2D", "MAX_POOL_2D"}, _alike_rule),
    **dict.fromkeys(_REDUCTIONS, _reduction_rule),
    "CONV_2D": _filters_rule,
    "DEPTHWISE_CONV_2D": _depthwise_rule,
    "FULLY_CONNECTED": _filters_rule,
    "PAD": _pad_rule,
    "PADV2": _pad_rule,
}
