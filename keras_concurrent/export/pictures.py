"""Whether what is said of pictures suits a model."""

from __future__ import annotations

import math
from collections.abc import Sequence

from keras_concurrent.edge.images import is_picture, misfit, settled
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.export.assemble import tensor_spec
from keras_concurrent.tflite.file import TfliteFile


def picture_remarks(
    file: TfliteFile, preprocessing: Preprocessing | None, class_names: Sequence[str]
) -> list[str]:
    """What makes it unlikely that a model sees pictures as it learnt them.

    Args:
        file: the model.
        preprocessing: how pictures become what it takes; ``None`` where nobody said it.
        class_names: its classes', if they have any.

    Raises:
        ValueError: preprocessing or class names that do not suit the model.
    """
    sizes = [math.prod(file.tensors[name].shape) for name in file.outputs]
    if class_names and len(class_names) not in sizes:
        raise ValueError(
            f"class_names must be as many as an output of the model has values, {sizes}, got "
            f"{len(class_names)}"
        )
    spec = tensor_spec(file, file.inputs[0])
    if preprocessing is None and spec.scale is None:
        return []
    if preprocessing is not None and not is_picture(spec):
        raise ValueError(
            f"preprocessing is for pictures, but the model takes an array of shape {spec.shape}"
        )
    remark = misfit(settled(preprocessing or Preprocessing(), spec), spec)
    return [] if remark is None else [remark]
