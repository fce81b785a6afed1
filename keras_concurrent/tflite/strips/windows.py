"""Rows of operators that slide a window over an image: convolutions and pools.

Padding is explicit, and above and below the image's own edges alone, so that every strip computes
VALID. Pools cannot be padded with a value, since an average counts what lies inside the image and
a maximum has no least int8: a strip of theirs reads some rows more, pads as the whole does (SAME),
and what the padding spoilt is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keras_concurrent.tflite.schema import schema
from keras_concurrent.tflite.strips.view import OperatorView
from keras_concurrent.tflite.strips.work import ROW_AXIS, Rule, Span, Work

_ONE_PIXEL = "a strip of one pixel is rounded otherwise"
SAME, VALID = schema.Padding.SAME, schema.Padding.VALID


@dataclass(frozen=True)
class Window:
    """A window along one axis.

    Args:
        size: of the image.
        count: how many places it takes.
        reach: from its first element to its last, dilation included.
        stride: from place to place.
        before: padding before the image.
        behind: padding behind it.
    """

    size: int
    count: int
    reach: int
    stride: int
    before: int
    behind: int

    @classmethod
    def along(cls, size: int, kernel: int, stride: int, dilation: int, padding: int) -> Window:
        """A window by an operator's options."""
        reach = (kernel - 1) * dilation + 1
        if padding == VALID:
            return cls(size, (size - reach) // stride + 1, reach, stride, 0, 0)
        count = -(-size // stride)
        total = max(0, (count - 1) * stride + reach - size)
        return cls(size, count, reach, stride, total // 2, total - total // 2)

    def read(self, first: int, end: int) -> tuple[int, int, int, int]:
        """What the places from first to end read: rows from, rows to, padding above and below."""
        top = first * self.stride - self.before
        bottom = (end - 1) * self.stride - self.before + self.reach
        at, to = max(0, top), min(self.size, bottom)
        return at, to, at - top, bottom - to


def convolution_rule(view: OperatorView) -> Rule | str:
    """Of CONV_2D and DEPTHWISE_CONV_2D."""
    options, read, weights = view.options, view.input(0), view.input(1)
    if weights.varies:
        return "its weights depend on the image"
    if weights.dtype != read.dtype:
        return (
            f"its values are {read.dtype} and its weights {weights.dtype}: they are quantised by "
            "the range of the whole tensor"
        )
    if view.shape[2] == 1:
        return _ONE_PIXEL
    rows, columns = (
        Window.along(read.shape[axis], weights.shape[axis], stride, dilation, options.padding)
        for axis, stride, dilation in (
            (1, options.strideH, options.dilationHFactor),
            (2, options.strideW, options.dilationWFactor),
        )
    )
    if options.padding == SAME and _falls_between(rows, columns):
        return "tflite-runtime pads a window that is smaller than its stride otherwise"
    others = (None,) * (len(view.inputs) - 1)

    def at(first: int, end: int) -> Work:
        start, to, above, below = rows.read(first, end)
        return Work(
            (Span(ROW_AXIS, start, to), *others),
            (above, below, columns.before, columns.behind),
            {"padding": VALID},
        )

    return Rule(ROW_AXIS, at, windowed=rows.reach > 1)


def transposed_rule(view: OperatorView) -> Rule | str:
    """Of TRANSPOSE_CONV: a strip reads what reaches into it, and cuts off the rest."""
    options, weights, read = view.options, view.input(1), view.input(2)
    if weights.varies:
        return "its weights depend on the image"
    if weights.dtype != read.dtype:
        return f"its values are {read.dtype} and its weights {weights.dtype}"
    stride, reach, rows = options.strideH, weights.shape[1], read.shape[1]
    same = options.padding == SAME
    if reach < stride or view.shape[1] != (rows * stride if same else (rows - 1) * stride + reach):
        return "its output has other rows than its input and window make"
    top = (reach - stride) // 2 if same else 0
    shape = view.integers(0)
    others = (None,) * (len(view.inputs) - 3)

    def at(first: int, end: int) -> Work:
        start = max(0, -((reach - 1 - first - top) // stride))
        to = min(rows, (end - 1 + top) // stride + 1)
        made = (to - start) * stride if same else (to - start - 1) * stride + reach
        return Work(
            (None, None, Span(ROW_AXIS, start, to), *others),
            constants={0: np.array([1, made, *shape[2:]], "int32")},
            skip=first - start * stride,
            made=made,
        )

    return Rule(ROW_AXIS, at, windowed=reach > stride)


def _falls_between(rows: Window, columns: Window) -> bool:
    """Whether tflite-runtime 2.14 takes SAME for something else than the specification does.

    It does where a window leaves out rows or columns, but for 1x1 of stride 2.
    """
    if rows.reach == columns.reach == 1 and max(rows.stride, columns.stride) <= 2:
        return False
    return any(window.reach < window.stride for window in (rows, columns))


def pool_rule(view: OperatorView) -> Rule | str:
    """Of MAX_POOL_2D and AVERAGE_POOL_2D."""
    options, shape = view.options, view.input(0).shape
    if view.kind == "AVERAGE_POOL_2D" and view.shape[2] == 1:
        return _ONE_PIXEL
    rows = Window.along(shape[1], options.filterHeight, options.strideH, 1, options.padding)
    columns = Window.along(shape[2], options.filterWidth, options.strideW, 1, options.padding)
    padded = any((rows.before, rows.behind, columns.before, columns.behind))

    def at(first: int, end: int) -> Work:
        if padded:
            return _padded_alike(rows, first, end)
        start, to, _, _ = rows.read(first, end)
        return Work((Span(ROW_AXIS, start, to),), options={"padding": VALID})

    return Rule(ROW_AXIS, at, windowed=rows.reach > 1)


def _padded_alike(rows: Window, first: int, end: int) -> Work:
    """The fewest rows around those that are needed for which SAME begins where the whole does."""
    start, to, _, _ = rows.read(first, end)
    for more in range(rows.size):
        for above in range(more + 1):
            at, until = start - above, to + more - above
            if at < 0 or until > rows.size:
                continue
            part = Window.along(until - at, rows.reach, rows.stride, 1, SAME)
            begins = at - part.before + rows.before  # in the whole, times the stride
            skip = first - begins // rows.stride
            if begins % rows.stride or skip < 0 or skip + end - first > part.count:
                continue
            return Work((Span(ROW_AXIS, at, until),), skip=skip, made=part.count)
    return Work((Span(ROW_AXIS, 0, rows.size),), skip=first, made=rows.count)


def pad_rule(view: OperatorView) -> Rule | str:
    """Of PAD and PADV2: rows of padding alone lie above the first strip and below the last."""
    size = view.input(0).shape[ROW_AXIS]
    paddings = np.array(view.integers(1)).reshape(-1, 2)
    above = int(paddings[ROW_AXIS, 0])
    if paddings[0].any():
        return "it pads the batch"
    others = (None,) * (len(view.inputs) - 1)

    def at(first: int, end: int) -> Work:
        start = min(max(first - above, 0), size - 1)
        to = min(max(end - above, start + 1), size)
        around = paddings.copy()
        around[ROW_AXIS] = max(0, above + start - first), max(0, end - above - to)
        top = above + start - around[ROW_AXIS, 0]  # of what it makes, in the whole
        made = int(to - start + around[ROW_AXIS].sum())
        return Work(
            (Span(ROW_AXIS, start, to), *others),
            constants={1: around.astype(view.input(1).dtype)},
            skip=int(first - top),
            made=made,
        )

    return Rule(ROW_AXIS, at, moves=True)
