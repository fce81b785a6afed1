"""Tensors as the Open Inference Protocol names, writes and reads them: in JSON, and as bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_concurrent.edge.manifest import Manifest, TensorSpec
from keras_concurrent.interpreter import Array

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
"""The protocol's names of types, by NumPy's."""
_ONLY_BYTES = "FP16"  # JSON has no such number


def datatype(name: str, spec: TensorSpec) -> str:
    """The protocol's name of a tensor's type.

    Raises:
        ValueError: it has none.
    """
    try:
        return DATATYPES[spec.dtype]
    except KeyError:
        raise ValueError(
            f"tensor {name!r} is {spec.dtype}, which the Open Inference Protocol does not know"
        ) from None


def takes_batches(manifest: Manifest) -> bool:
    """Whether several images can be asked for at once: each tensor has a batch axis of one."""
    specs = (manifest.tensors[name] for name in (*manifest.inputs, *manifest.outputs))
    return all(spec.shape[:1] == (1,) for spec in specs)


def described(manifest: Manifest, name: str) -> dict[str, Any]:
    """An input or output as the model's metadata has it; ``-1`` stands for any number of images."""
    spec = manifest.tensors[name]
    shape = [-1, *spec.shape[1:]] if takes_batches(manifest) else list(spec.shape)
    return {"name": name, "datatype": datatype(name, spec), "shape": shape}


def from_json(name: str, data: Any, spec: TensorSpec) -> Array:
    """Numbers of a JSON text, flat or nested, as a tensor's values.

    Args:
        name: the tensor's, for errors.
        data: what the JSON holds.
        spec: the tensor's type; its shape is not looked at.

    Raises:
        ValueError: no numbers, ragged, or such as the type does not hold.
    """
    target = np.dtype(spec.dtype)
    if target == np.float16:
        raise ValueError(
            f"input {name!r} is {_ONLY_BYTES}, which JSON cannot hold: send it as binary data"
        )
    try:
        read = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"input {name!r} must be numbers in equally long rows: {error}") from None
    if target.kind == "u" and read.dtype.kind == "f":  # 0 beside 2**63, of which NumPy makes floats
        whole = np.asarray(data, object)
        if all(type(value) is int and 0 <= value < 1 << 64 for value in whole.flat):
            read = whole.astype(np.uint64)
    if read.size == 0:
        return np.zeros(read.shape, target)
    kinds = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}[target.kind]
    if read.dtype.kind not in kinds:
        came = "something else" if read.dtype.kind in "OSU" else str(read.dtype)
        raise ValueError(f"input {name!r} must hold values of {spec.dtype}, got {came}")
    if target.kind in "iu":
        limits = np.iinfo(target)
        low, high = int(read.min()), int(read.max())
        if low < limits.min or high > limits.max:
            raise ValueError(
                f"input {name!r} must hold {spec.dtype}, {limits.min} to {limits.max}, got "
                f"{low} to {high}"
            )
    with np.errstate(over="ignore"):  # too large a number is infinite in float32
        return read.astype(target)


def shaped(name: str, values: Array, shape: tuple[int, ...]) -> Array:
    """Values in the shape that a request says they have.

    Raises:
        ValueError: there are more or fewer.
    """
    if values.size != math.prod(shape):
        raise ValueError(
            f"input {name!r} must have {math.prod(shape)} values for its shape {list(shape)}, "
            f"got {values.size}"
        )
    return values.reshape(shape)


def from_bytes(name: str, content: memoryview, shape: tuple[int, ...], spec: TensorSpec) -> Array:
    """Little-endian bytes without padding as a tensor's values; they are not copied.

    Raises:
        ValueError: another number of them than the shape needs.
    """
    target = np.dtype(spec.dtype).newbyteorder("<")
    wanted = math.prod(shape) * target.itemsize
    if len(content) != wanted:
        raise ValueError(
            f"input {name!r} must have {wanted} bytes for its shape {list(shape)}, "
            f"got {len(content)}"
        )
    values: Array = np.frombuffer(content, target).reshape(shape)
    return values.astype(spec.dtype, copy=False)


def to_bytes(values: Array) -> bytes:
    """A tensor's values as little-endian bytes."""
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def to_json(name: str, values: Array) -> list[Any]:
    """A tensor's values as a flat list.

    Raises:
        ValueError: of a type that JSON cannot hold.
    """
    if values.dtype == np.float16:
        raise ValueError(f"output {name!r} is {_ONLY_BYTES}, which JSON cannot hold: ask for bytes")
    flat: list[Any] = values.ravel().tolist()
    return flat


def images_of(manifest: Manifest, values: dict[str, Array]) -> list[dict[str, Array]]:
    """The single images of a request, as the client takes them.

    Args:
        manifest: says what the model's inputs are.
        values: by input; with the batch axis, which counts the images, or without.

    Raises:
        ValueError: another shape than the model's, no image, or inputs of different numbers.
    """
    missing = [name for name in manifest.inputs if name not in values]
    unknown = sorted(values.keys() - set(manifest.inputs))
    if missing or unknown:
        raise ValueError(
            f"expected the inputs {', '.join(manifest.inputs)}, got {', '.join(values) or 'none'}"
        )
    batched = takes_batches(manifest)
    with_axis = {}
    for name in manifest.inputs:
        value, shape = values[name], manifest.tensors[name].shape
        if shape and value.shape == shape[1:]:
            value = value[np.newaxis]
        fits = value.shape[1:] == shape[1:] and value.ndim == len(shape) if batched else (
            value.shape == shape
        )  # fmt: skip
        if not fits:
            wanted = described(manifest, name)["shape"]
            raise ValueError(
                f"input {name!r} must have the shape {wanted}, got {list(values[name].shape)}"
            )
        with_axis[name] = value
    if not batched:
        return [with_axis]
    counts = {name: len(value) for name, value in with_axis.items()}
    number = next(iter(counts.values()), 0)
    if number == 0 or set(counts.values()) != {number}:
        raise ValueError(f"every input must have equally many images, at least one, got {counts}")
    return [
        {name: value[index : index + 1] for name, value in with_axis.items()}
        for index in range(number)
    ]


def together(answers: list[dict[str, Array]]) -> dict[str, Array]:
    """The answers to the images of one request, along the batch axis."""
    if len(answers) == 1:
        return answers[0]
    return {name: np.concatenate([each[name] for each in answers]) for name in answers[0]}
