"""Int8 files that an interpreter cannot load, told before it tries.

An int8 convolution or dense layer multiplies its sums by ``input scale * weight scale / output
scale``. XNNPACK takes factors below 256. Given one above it, as of a layer whose values were all
next to zero for every calibration image, ai-edge-litert 2.3 does not refuse the file but frees
memory twice and takes the process with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_concurrent.tflite.draft import Draft
from keras_concurrent.tflite.file import TfliteFile

_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_FACTOR = 256.0


def reason_not_to_load(file: TfliteFile) -> str | None:
    """The first operator that XNNPACK cannot run.

    Args:
        file: any model.

    Returns:
        What is wrong, as a clause, or ``None``.
    """
    draft = Draft(file, {})
    names = list(file.tensors)
    for step in draft.steps:
        if draft.kind(step) not in _KINDS:
            continue
        read, weights = step.operator.inputs[:2]
        written = step.operator.outputs[0]
        scales = [_scales(draft.tensors[index]) for index in (read, weights, written)]
        if all(scale is not None for scale in scales):
            factor = float(np.max(scales[0] * scales[1] / scales[2]))
            if factor >= _FACTOR:
                return (
                    f"{names[written]!r} was next to zero for all calibration images: its scale "
                    f"asks for a factor of {factor:.4g}, and interpreters take less than 256"
                )
    return None


def _scales(tensor: Any) -> Any:
    code = tensor.quantization
    if code is None or code.scale is None or not len(code.scale):
        return None
    return np.asarray(code.scale, float)
