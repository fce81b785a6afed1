"""What a .tflite is made of: tensors, operators, signatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from keras_concurrent.tflite.schema import is_numpy


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the file.

    Args:
        name: unique in the file.
        shape: with a batch of one where the file leaves the batch open.
        dtype: NumPy's name of the type; the schema's, such as ``"string"``, where NumPy has none.
        constant: whether its value lies in the file.
        scale: what one step of its integers is worth, ``value = scale * (code - zero_point)``;
            ``None`` where the file does not say so for all of the tensor.
        zero_point: the integer that stands for 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool
    scale: float | None = None
    zero_point: int = 0

    @property
    def bytes(self) -> int:
        """Size of the value in bytes; 0 where NumPy does not have the type."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize if is_numpy(self.dtype) else 0


@dataclass(frozen=True)
class Operator:
    """An operator of the file, in the order in which the file runs them.

    Args:
        index: position in the file.
        kind: the builtin's name, such as ``CONV_2D``.
        inputs: names of the tensors it reads that depend on the model's inputs.
        outputs: names of the tensors it writes.
        flops: floating point (or integer) operations an image, a multiply-accumulate counting 2.
        parameter_bytes: bytes in the file of the constants that it needs.
        constant: whether its result is the same for every image. Then it belongs to every piece
            that reads its result, is part of no count, and is no task.
    """

    index: int
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: int
    parameter_bytes: int
    constant: bool = False


@dataclass(frozen=True)
class Signature:
    """The names by which a model's author calls inputs and outputs: name -> tensor name."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
