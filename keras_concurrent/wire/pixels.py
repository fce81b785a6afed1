"""Images as bytes: a model whose inputs are float32 values of 0..1 made to take bytes of 0..255.

That is what cameras and image files give, and a quarter of what the client has to send to every
board that reads the image. Values that came from bytes come back within half a millionth.
"""

from __future__ import annotations

from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.schema import schema

SCALE = 1 / 255
_DEQUANTIZE = 1  # the version that takes bytes


def take_pixels(file: TfliteFile) -> TfliteFile:
    """The model with every float32 input of rank 4 taken as bytes, ``value = byte / 255``.

    Each operator that reads such an input decodes it for itself, so that wherever it is placed,
    bytes travel there.

    Args:
        file: a model that can be cut, its images float32 in 0..1.

    Raises:
        ValueError: a model that stays whole, or one without such an input.
    """
    if file.whole_because is not None:
        raise ValueError(f"{file.origin} cannot be rewritten: {file.whole_because}")
    images = [
        name
        for name in file.inputs
        if file.tensors[name].dtype == "float32" and len(file.tensors[name].shape) == 4
    ]
    if not images:
        raise ValueError(f"{file.origin} has no float32 input of rank 4, got {file.inputs}")
    draft = Draft(file, {})
    for name in images:
        index = draft.index_of(name)
        pixels = draft.add_tensor(index, f"{name}/uint8", "UINT8")
        code = schema.QuantizationParametersT()
        code.scale, code.zeroPoint = [SCALE], [0]
        draft.tensors[pixels].quantization = code
        for step in draft.readers()[index]:
            decoded = draft.add_tensor(index, f"{name}/float32")
            decoder = draft.operator("DEQUANTIZE", _DEQUANTIZE, [pixels], decoded)
            draft.steps.insert(draft.steps.index(step), Step(decoder, None))
            read = step.operator.inputs
            step.operator.inputs = [decoded if i == index else i for i in read]
        draft.take_input(index, pixels)
    return draft.finish()[0]
