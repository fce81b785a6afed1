"""FLOPs of every operator of a .tflite, from its kind, options and shapes, by the rules of `flops`.

Where the rules leave room:

- An operator that only moves or renames values costs nothing; so does a call of another subgraph,
  whose own operators are counted.
- A transposed convolution multiplies once an input element, window element and filter.
- A bilinear resize is a weighted sum of four neighbours; the nearest neighbour only moves.
- A compound activation (softmax, GELU, hard swish) counts 1 an output element like any other.
- A Fourier transform of n real values counts 2.5 n log2 n, half of what one of complex ones does.
- The k largest of n values take a heap's log2 k comparisons for each of the n.
- Each box that may be suppressed is compared with each that is kept, by `_OVERLAP` operations.
- A recurrent layer counts the products of its gates, at every step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras_concurrent import flops

Shape = Sequence[int]

_FREE = {
    "ASSIGN_VARIABLE", "BATCH_TO_SPACE_ND", "BITCAST", "BROADCAST_ARGS", "BROADCAST_TO", "CALL",
    "CALL_ONCE", "CONCATENATION", "DENSIFY", "DEPTH_TO_SPACE", "DILATE", "DYNAMIC_UPDATE_SLICE",
    "EMBEDDING_LOOKUP", "EXPAND_DIMS", "FILL", "GATHER", "GATHER_ND", "IF", "IMAG", "MATRIX_DIAG",
    "MATRIX_SET_DIAG", "MIRROR_PAD", "ONE_HOT", "PACK", "PAD", "PADV2", "RANGE", "RANK",
    "READ_VARIABLE", "REAL", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_SEQUENCE", "REVERSE_V2",
    "SCATTER_ND", "SHAPE", "SLICE", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V",
    "SQUEEZE", "STRIDED_SLICE", "TILE", "TRANSPOSE", "UNPACK", "VAR_HANDLE", "WHILE", "ZEROS_LIKE",
}  # fmt: skip
_ELEMENTWISE = {
    "ABS", "ADD", "ATAN2", "BITWISE_XOR", "CAST", "CEIL", "COS", "CUMSUM", "DEQUANTIZE", "DIV",
    "ELU", "EQUAL", "EXP", "FAKE_QUANT", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "GELU", "GREATER",
    "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
    "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MINIMUM", "MUL", "NEG",
    "NOT_EQUAL", "POW", "PRELU", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1",
    "RIGHT_SHIFT", "ROUND", "RSQRT", "SELECT", "SELECT_V2", "SIGN", "SIN", "SOFTMAX", "SQRT",
    "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH",
}  # fmt: skip
_REDUCTIONS = {
    "ARG_MAX", "ARG_MIN", "MEAN", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN",
    "REDUCE_PROD", "SEGMENT_SUM", "SUM", "UNIQUE", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_SUM", "WHERE",
}  # fmt: skip
_OVERLAP = 12  # operations: two boxes' intersection, their union, and the quotient's comparison
_DECODED = 20  # operations: an anchor and four values make a box
_POOLS = {"AVERAGE_POOL_2D", "L2_POOL_2D", "MAX_POOL_2D"}


def _conv_2d(read: Sequence[Shape], out: Shape, options: Any) -> int:
    _, height, width, channels = read[1]  # of one group, where there are several
    return flops.convolution(out, (height, width), channels)


def _depthwise_conv_2d(read: Sequence[Shape], out: Shape, options: Any) -> int:
    _, height, width, _ = read[1]
    return flops.depthwise(out, (height, width))


def _transpose_conv(read: Sequence[Shape], out: Shape, options: Any) -> int:
    filters, height, width, _ = read[1]
    return flops.convolution(read[2], (height, width), filters)


def _conv_3d(read: Sequence[Shape], out: Shape, options: Any) -> int:
    depth, height, width, channels, _ = read[1]
    return flops.convolution(out, (depth, height, width), channels)


def _conv_3d_transpose(read: Sequence[Shape], out: Shape, options: Any) -> int:
    depth, height, width, filters, _ = read[1]
    return flops.convolution(read[2], (depth, height, width), filters)


def _fully_connected(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return flops.convolution(out, (), read[1][-1])


def _batch_matmul(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return flops.convolution(out, (), read[0][-2 if options.adjX else -1])


def _resize_bilinear(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return flops.depthwise(out, (2, 2))


def _add_n(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return (len(read) - 1) * flops.elementwise(out)


def _l2_normalization(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return flops.convolution(read[0], (), 1) + flops.elementwise(out)  # squares summed; products


def _rfft2d(read: Sequence[Shape], out: Shape, options: Any) -> int:
    height, half = out[-2:]
    values = height * max(1, 2 * (half - 1))
    transforms = math.prod(out[:-2])
    return round(transforms * 2.5 * values * math.log2(values)) if values else 0


def _complex_abs(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return 4 * flops.elementwise(out)  # two squares, their sum, its root


def _topk_v2(read: Sequence[Shape], out: Shape, options: Any) -> int:
    return flops.elementwise(read[0]) * max(1, math.ceil(math.log2(out[-1] or 1)))


def _non_max_suppression(read: Sequence[Shape], out: Shape, options: Any) -> int:
    boxes, kept = read[0][0], out[0]
    return boxes * (kept * _OVERLAP + max(1, math.ceil(math.log2(boxes or 1))))


def _detection(read: Sequence[Shape], out: Shape, options: Any) -> int:
    boxes, kept = read[0][1], out[1]
    return boxes * _DECODED + flops.elementwise(read[1]) + boxes * kept * _OVERLAP


def _sequence_lstm(read: Sequence[Shape], out: Shape, options: Any) -> int:
    gates = 4 if read[1] else 3  # without an input gate it is coupled with the forget gate
    steps = math.prod(read[0][:-1])
    products = math.prod(read[2]) + math.prod(read[6])
    return steps * (2 * gates * products)


_RULES: dict[str, Callable[[Sequence[Shape], Shape, Any], int]] = {
    "ADD_N": _add_n,
    "BATCH_MATMUL": _batch_matmul,
    "COMPLEX_ABS": _complex_abs,
    "CONV_2D": _conv_2d,
    "CONV_3D": _conv_3d,
    "CONV_3D_TRANSPOSE": _conv_3d_transpose,
    "CUSTOM TFLite_Detection_PostProcess": _detection,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "FULLY_CONNECTED": _fully_connected,
    "L2_NORMALIZATION": _l2_normalization,
    "NON_MAX_SUPPRESSION_V4": _non_max_suppression,
    "NON_MAX_SUPPRESSION_V5": _non_max_suppression,
    "RESIZE_BILINEAR": _resize_bilinear,
    "RFFT2D": _rfft2d,
    "TOPK_V2": _topk_v2,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _sequence_lstm,
}


def is_known(kind: str) -> bool:
    """Whether an operator's FLOPs follow from a rule rather than from the estimate."""
    return any(kind in kinds for kinds in (_FREE, _ELEMENTWISE, _REDUCTIONS, _POOLS, _RULES))


def flops_of(kind: str, options: Any, read: Sequence[Shape], written: Sequence[Shape]) -> int:
    """FLOPs of one run of an operator.

    Args:
        kind: the builtin's name, such as ``CONV_2D``.
        options: its options, an object of the schema's Python classes.
        read: shapes of its inputs, ``()`` for one left out.
        written: shapes of its outputs.

    Returns:
        The FLOPs; for a kind without a rule (see `is_known`) the estimate of one operation an
        output element.

    Raises:
        AttributeError, IndexError, ValueError: options or shapes that no such operator has.
    """
    if kind in _FREE:
        return 0
    if kind in _RULES:
        return _RULES[kind](read, written[0], options)
    if kind in _POOLS:
        return flops.pooling(written[0], (options.filterHeight, options.filterWidth))
    if kind in _REDUCTIONS:
        return flops.elementwise(read[0])
    return sum(math.prod(shape) for shape in written)
