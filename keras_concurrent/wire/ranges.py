"""Between which bounds a tensor's values lie: proven from the graph, or measured on images.

A sigmoid lies in (0, 1), so a weighted sum of sigmoids lies between the sum of its negative and the
sum of its positive weights. No image is needed for that, and no image can leave it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.tflite.draft import Draft
from keras_concurrent.tflite.file import TfliteFile

Range = tuple[float, float]

_KEEPING = {
    "AVERAGE_POOL_2D", "CONCATENATION", "MAX_POOL_2D", "MEAN", "RESHAPE", "STRIDED_SLICE",
    "TRANSPOSE",
}  # fmt: skip
_FUSED = {0: (-np.inf, np.inf), 1: (0.0, np.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
"""What the schema's fused activations NONE, RELU, RELU_N1_TO_1 and RELU6 leave of any value."""


def proven_ranges(file: TfliteFile) -> dict[str, Range]:
    """Bounds that follow from the graph alone.

    Args:
        file: the model.

    Returns:
        Least and greatest possible value by the tensor's name; tensors of which nothing finite is
        known are left out.
    """
    draft = Draft(file, {})
    known: dict[int, Range] = {}
    for index in range(len(draft.tensors)):
        value = draft.constant(index)
        if value is not None and value.dtype == np.float32 and value.size:
            known[index] = (float(value.min()), float(value.max()))
    ranges = {}
    names = list(file.tensors)
    for step in draft.steps:
        read = [known.get(i) for i in step.operator.inputs if i >= 0]
        bounds = _result(draft.kind(step), step.operator.builtinOptions, read)
        if bounds is not None and np.isfinite(bounds).all():
            known[step.operator.outputs[0]] = bounds
            ranges[names[step.operator.outputs[0]]] = bounds
    return ranges


def _result(kind: str, options: Any, read: Sequence[Range | None]) -> Range | None:
    """Bounds of what an operator writes, from those of what it reads."""
    if kind in ("LOGISTIC", "SOFTMAX"):
        return (0.0, 1.0)
    if kind == "TANH":
        return (-1.0, 1.0)
    if kind == "RELU6":
        return (0.0, 6.0)
    bounds = [each for each in read if each is not None]
    if not bounds:
        return None
    if kind in _KEEPING and getattr(options, "fusedActivationFunction", 0) == 0:
        return bounds[0] if kind != "CONCATENATION" else _around(bounds, read)
    if kind == "RELU":
        return (max(bounds[0][0], 0.0), max(bounds[0][1], 0.0))
    if kind not in ("ADD", "MUL") or len(bounds) < len(read):
        return None
    (a, b), (c, d) = bounds
    ends = (a + c, b + d) if kind == "ADD" else (a * c, a * d, b * c, b * d)
    least, most = _FUSED.get(options.fusedActivationFunction, (-np.inf, np.inf))
    return (float(np.clip(min(ends), least, most)), float(np.clip(max(ends), least, most)))


def _around(bounds: Sequence[Range], read: Sequence[Range | None]) -> Range | None:
    if len(bounds) < len(read):
        return None
    return (min(low for low, _ in bounds), max(high for _, high in bounds))


def measured_ranges(
    file: TfliteFile, names: Sequence[str], images: Sequence[Mapping[str, Array]]
) -> dict[str, Range]:
    """Least and greatest value of some tensors on some images.

    Args:
        file: the model.
        names: which tensors.
        images: a value for each of the model's inputs, by name; at least one image.
    """
    if not names:
        return {}
    operators = [operator.index for operator in file.operators]
    segment = Segment(file.cut(operators, file.inputs, tuple(names)), name=file.origin)
    least, most = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for image in images:
        values = segment.run([image[name] for name in segment.input_names])
        least = np.minimum(least, [value.min() for value in values])
        most = np.maximum(most, [value.max() for value in values])
    by_name = zip(segment.output_names, least.tolist(), most.tolist(), strict=True)
    return {name: (low, high) for name, low, high in by_name}
