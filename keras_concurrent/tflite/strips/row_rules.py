"""Which operators can be split by rows, exactly, and what a strip of each reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from keras_concurrent.tflite.strips.view import OperatorView, TensorView
from keras_concurrent.tflite.strips.windows import (
    convolution_rule,
    pad_rule,
    pool_rule,
    transposed_rule,
)
from keras_concurrent.tflite.strips.work import ROW_AXIS, Rule, Span, Work

TYPES = ("float32", "int8", "uint8")  # whose strips were found equal bit for bit
ELEMENTWISE = {
    "ABS", "ADD", "CAST", "CEIL", "DEQUANTIZE", "DIV", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH",
    "LEAKY_RELU", "LOG", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PRELU", "QUANTIZE",
    "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RSQRT", "SQRT", "SQUARE",
    "SQUARED_DIFFERENCE", "SUB", "TANH",
}  # fmt: skip
_ALONG_CHANNELS = {"L2_NORMALIZATION", "LOG_SOFTMAX", "SOFTMAX"}  # each pixel by itself
_RANK = 4
_EXACT_SCALES = (2, 4)  # of resizes; by 3 the places between rows are rounded


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a tensor has rows: (1, rows, columns, channels)."""
    return len(shape) == _RANK and shape[0] == 1


def row_rule(view: OperatorView) -> Rule | str:
    """How an operator is split by rows.

    Returns:
        The rule, or why there is none, as the end of "it stays whole because ...".
    """
    if not all(is_image(tensor.shape) for tensor in view.outputs):
        return "its output is no image"
    rule = _RULES.get(view.kind)
    if rule is None:
        return _WHOLE.get(view.kind, "strips of it are not known to be exact")
    varying = [tensor for tensor in view.inputs if tensor is not None and tensor.varies]
    for tensor in (*varying, *view.outputs):
        if tensor.dtype not in TYPES:
            return f"its values are {tensor.dtype}, expected {', '.join(TYPES)}"
    if view.kind in _OF_IMAGES and not is_image(view.input(0).shape):
        return "its input is no image"
    try:
        return rule(view)
    except LookupError as error:
        return str(error.args[0])


def _pointwise_rule(view: OperatorView) -> Rule | str:
    """A row of each input makes a row of the output; inputs of one row are read by all."""
    rows = view.shape[ROW_AXIS]

    def part(tensor: TensorView | None, first: int, end: int) -> Span | None:
        if tensor is None:
            return None
        axis = ROW_AXIS - _RANK + len(tensor.shape)  # of a shape that is spread over the others
        if axis < 0 or tensor.shape[axis] != rows:
            return None
        return Span(axis, first, end)

    def at(first: int, end: int) -> Work:
        return Work(tuple(part(tensor, first, end) for tensor in view.inputs))

    return Rule(ROW_AXIS, at)


def _concatenation_rule(view: OperatorView) -> Rule | str:
    axis = view.options.axis % _RANK
    if axis <= ROW_AXIS:
        return "it puts rows below each other"
    return _pointwise_rule(view)


def _split_rule(view: OperatorView) -> Rule | str:
    """Of SPLIT, whose axis is its first input and whose image is the second."""
    if view.integers(0)[0] % _RANK <= ROW_AXIS:
        return "it parts rows"

    def at(first: int, end: int) -> Work:
        return Work((None, Span(ROW_AXIS, first, end)))

    return Rule(ROW_AXIS, at)


def _resize_rule(view: OperatorView) -> Rule | str:
    """Of resizes by 2 and 4: the edges repeat the last row, so a strip reads one row more."""
    before, after = view.input(0).shape, view.shape
    if view.options.alignCorners:
        return "the corners are aligned, so its places are rounded otherwise in a strip"
    scale = after[ROW_AXIS] // before[ROW_AXIS]
    if scale not in _EXACT_SCALES or after[ROW_AXIS] % before[ROW_AXIS]:
        return "it makes other than 2 or 4 times as many rows"
    more = 1 if view.kind == "RESIZE_BILINEAR" else 0

    def at(first: int, end: int) -> Work:
        start = max(0, first // scale - more)
        to = min(before[ROW_AXIS], -(-end // scale) + more)
        made = (to - start) * scale
        return Work(
            (Span(ROW_AXIS, start, to), None),
            constants={1: np.array([made, after[2]], "int32")},
            skip=first - start * scale,
            made=made,
        )

    return Rule(ROW_AXIS, at, windowed=more > 0)


def _space_to_depth_rule(view: OperatorView) -> Rule | str:
    block = view.options.blockSize

    def at(first: int, end: int) -> Work:
        return Work((Span(ROW_AXIS, first * block, end * block),))

    return Rule(ROW_AXIS, at)


def _depth_to_space_rule(view: OperatorView) -> Rule | str:
    block = view.options.blockSize

    def at(first: int, end: int) -> Work:
        start, to = first // block, -(-end // block)
        return Work(
            (Span(ROW_AXIS, start, to),), skip=first - start * block, made=(to - start) * block
        )

    return Rule(ROW_AXIS, at)


def _slice_rule(view: OperatorView) -> Rule | str:
    """Of SLICE: of rows, those that it takes."""
    begin, size = view.integers(1), view.integers(2)
    shape = view.shape

    def at(first: int, end: int) -> Work:
        start = begin[ROW_AXIS] + first
        kinds = view.input(1).dtype, view.input(2).dtype
        return Work(
            (Span(ROW_AXIS, start, start + end - first), None, None),
            constants={
                1: np.array([begin[0], 0, *begin[2:]], kinds[0]),
                2: np.array([size[0], end - first, *shape[2:]], kinds[1]),
            },
        )

    return Rule(ROW_AXIS, at, moves=True)


def _strided_slice_rule(view: OperatorView) -> Rule | str:
    """Of STRIDED_SLICE that takes every row of a range, as croppings do."""
    options = view.options
    if options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask:
        return "it changes the axes"
    begin, end_of, step = (view.integers(position) for position in (1, 2, 3))
    if any(value != 1 for value in step):
        return "it leaves out rows or columns"
    size = view.input(0).shape[ROW_AXIS]
    from_first = options.beginMask >> ROW_AXIS & 1
    offset = 0 if from_first else begin[ROW_AXIS] % size
    masks = {
        "beginMask": options.beginMask | 1 << ROW_AXIS,
        "endMask": options.endMask | 1 << ROW_AXIS,
    }

    def at(first: int, end: int) -> Work:
        return Work((Span(ROW_AXIS, offset + first, offset + end), None, None, None), options=masks)

    return Rule(ROW_AXIS, at, moves=True) if len(end_of) == _RANK else "it leaves out axes"


_OF_IMAGES = {
    "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "MAX_POOL_2D", "PAD",
    "PADV2", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SLICE", "SPACE_TO_DEPTH",
    "STRIDED_SLICE",
}  # fmt: skip
_WHOLE = dict.fromkeys(
    ("MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"), "its output needs every row"
)
_RULES: dict[str, Callable[[OperatorView], Rule | str]] = {
    **dict.fromkeys(ELEMENTWISE | _ALONG_CHANNELS, _pointwise_rule),
    "AVERAGE_POOL_2D": pool_rule,
    "CONCATENATION": _concatenation_rule,
    "CONV_2D": convolution_rule,
    "DEPTHWISE_CONV_2D": convolution_rule,
    "DEPTH_TO_SPACE": _depth_to_space_rule,
    "MAX_POOL_2D": pool_rule,
    "PAD": pad_rule,
    "PADV2": pad_rule,
    "RESIZE_BILINEAR": _resize_rule,
    "RESIZE_NEAREST_NEIGHBOR": _resize_rule,
    "SLICE": _slice_rule,
    "SPACE_TO_DEPTH": _space_to_depth_rule,
    "SPLIT": _split_rule,
    "STRIDED_SLICE": _strided_slice_rule,
    "TRANSPOSE_CONV": transposed_rule,
}
