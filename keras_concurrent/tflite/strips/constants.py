"""What is the same for every image, and parts of it for strips: weights, scales, paddings."""

from __future__ import annotations

import copy
from typing import Any

from keras_concurrent.interpreter import Array
from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.schema import shape_of
from keras_concurrent.tflite.strips.work import Span


class Constants:
    """The constants of a file.

    A constant that strips read all of stays one tensor and one buffer, however many read it. A part
    of one is made once.

    Args:
        draft: the file; its steps are as they were.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._inputs = draft.inputs
        self._writers = draft.writers()
        self._parts: dict[tuple[int, Span], int] = {}
        self._values: dict[tuple[str, tuple[int, ...], bytes], int] = {}

    def of(self, value: Array) -> int:
        """A tensor of a value, the same for equal ones."""
        key = value.dtype.name, value.shape, value.tobytes()
        if key not in self._values:
            self._values[key] = self._draft.add_constant("strips", value)
        return self._values[key]

    def holds(self, index: int) -> bool:
        """Whether a tensor is the same for every image."""
        if index in self._inputs:
            return False
        writer = self._writers.get(index)
        return writer is None or writer.board is None

    def can_cut(self, index: int) -> bool:
        """Whether parts of a constant can be made."""
        writer = self._writers.get(index)
        if writer is None:
            return self._draft.constant(index) is not None
        return self._draft.kind(writer) == "DEQUANTIZE" and self.can_cut(writer.operator.inputs[0])

    def part(self, index: int, span: Span) -> int:
        """Part of a constant that can be cut; unpacked as the whole is (float16 weights).

        Raises:
            ValueError: it cannot be cut.
        """
        tensor = self._draft.tensors[index]
        shape = shape_of(tensor)
        if span.size == shape[span.axis]:
            return index
        if (index, span) in self._parts:
            return self._parts[index, span]
        name = f"{tensor.name}/{span.first}_{span.end}"
        writer, value = self._writers.get(index), self._draft.constant(index)
        if writer is not None:
            packed = self.part(writer.operator.inputs[0], span)
            shape = (*shape[: span.axis], span.size, *shape[span.axis + 1 :])
            made = self._draft.add_tensor(index, name, shape=shape)
            operator = copy.copy(writer.operator)
            operator.inputs, operator.outputs = [packed], [made]
            self._draft.steps.append(Step(operator, None))
        elif value is not None:
            where = (slice(None),) * span.axis + (slice(span.first, span.end),)
            made = self._draft.add_constant(name, value.reshape(shape)[where], index)
            self._draft.tensors[made].quantization = _quantization_part(tensor, span)
        else:
            raise ValueError(f"{tensor.name!r} must lie in the file to be cut, it does not")
        self._parts[index, span] = made
        return made


def _quantization_part(tensor: Any, span: Span) -> Any:
    """The scales of a span of weights that have one a channel."""
    code = tensor.quantization
    if code is None or code.scale is None or len(code.scale) < 2:
        return code
    if code.quantizedDimension != span.axis:
        return code
    code = copy.copy(code)
    for name in ("scale", "zeroPoint", "min", "max"):
        values = getattr(code, name)
        if values is not None and len(values) == shape_of(tensor)[span.axis]:
            setattr(code, name, values[span.first : span.end])
    return code
