"""A .tflite's bytes as the objects of its schema, checked, and back to bytes.

The schema's Python classes come with ai-edge-litert. Everything that reaches for a name of the
schema's own lies here; see `keras_concurrent.tflite.file` for what the package works with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_concurrent.errors import MissingExtraError, ModelFileError
from keras_concurrent.tflite.indices import check_indices
from keras_concurrent.tflite.outside import bring_inside

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError(str(error.name), "design") from error

__all__ = [
    "AlignedBuffer",
    "aligned",
    "check_size",
    "is_numpy",
    "kind_of",
    "pack",
    "quantization_of",
    "schema",
    "shape_of",
    "text",
    "type_of",
    "unpack",
]  # fmt: skip

LARGEST_BYTES = 2**31 - 1  # offsets within a flatbuffer are signed 32-bit numbers
_IDENTIFIER = b"TFL3"
_VERSION = 3
_ALIGNMENT = 16  # what the schema demands of a buffer's data


def _constants_of(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


_OPERATORS = _constants_of(schema.BuiltinOperator)
_TYPES = _constants_of(schema.TensorType)
_NUMPY_TYPES = {
    "BOOL", "COMPLEX64", "COMPLEX128", "FLOAT16", "FLOAT32", "FLOAT64", "INT8", "INT16", "INT32",
    "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
}  # fmt: skip


class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer written at the alignment that the schema demands; the Python packer ignores it."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated classes' name
        """Write the buffer."""
        data = None
        if self.data is not None and len(self.data):
            raw = np.ascontiguousarray(self.data, dtype=np.uint8).tobytes()
            builder.StartVector(1, len(raw), _ALIGNMENT)
            head = builder.head - len(raw)
            builder.head = head
            builder.Bytes[head : head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def aligned(data: Any) -> AlignedBuffer:
    """A buffer of these bytes."""
    buffer = AlignedBuffer()
    buffer.data = data
    return buffer


def unpack(data: bytes, origin: str) -> tuple[Any, bool]:
    """Read and check a file.

    Args:
        data: the file's content.
        origin: what to call the file in errors.

    Returns:
        The schema's ``ModelT``, all its bytes inside; whether some lay outside the flatbuffer.

    Raises:
        ModelFileError: no .tflite, one of another schema version, one whose weights lie in
            another file, one above 2 GB, or a damaged one.
    """
    check_size(len(data), origin)
    if data[4:8] != _IDENTIFIER:
        raise ModelFileError(
            f"{origin} is not a .tflite file: expected the identifier 'TFL3' at byte 4, "
            f"got {bytes(data[4:8])!r}"
        )
    try:
        version = schema.Model.GetRootAs(data, 0).Version()
        if version != _VERSION:
            raise ModelFileError(
                f"{origin} has schema version {version}; expected version {_VERSION}"
            )
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        _fill_graphs(model)
        if model.externalBuffers or any(
            t.externalBuffer for g in model.subgraphs for t in g.tensors
        ):
            raise ModelFileError(
                f"{origin} keeps weights in another file; expected all of them in its own"
            )
        check_indices(model)
        was_outside = bring_inside(model, data, LARGEST_BYTES)
    except ModelFileError:
        raise
    except Exception as error:  # the generated reader raises whatever a broken offset gives
        raise ModelFileError(f"{origin} is damaged: {error}") from error
    return model, was_outside


def check_size(size_bytes: int, origin: str) -> None:
    """Refuse what no flatbuffer can hold.

    Raises:
        ModelFileError: above 2 GB.
    """
    if size_bytes > LARGEST_BYTES:
        raise ModelFileError(
            f"{origin} has {size_bytes} bytes; a .tflite that can be cut has at most "
            f"{LARGEST_BYTES} (2 GB)"
        )


def _fill_graphs(model: Any) -> None:
    """Make lists that the file leaves out empty ones; refuse shapes that none has."""
    if not model.subgraphs:
        raise ValueError("it has no subgraph")
    for graph in model.subgraphs:
        for field in ("tensors", "operators", "inputs", "outputs"):
            if getattr(graph, field) is None:
                setattr(graph, field, [])
        for tensor in graph.tensors:
            if any(size < 0 for size in shape_of(tensor)):
                raise ValueError(f"{text(tensor.name)!r} has the shape {shape_of(tensor)}")
        for operator in graph.operators:
            for field in ("inputs", "outputs"):
                if getattr(operator, field) is None:
                    setattr(operator, field, [])


def pack(model: Any) -> bytes:
    """Write a model's bytes."""
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(size + 65536)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def text(name: bytes | str | None) -> str:
    """A name of the file as text."""
    return name if isinstance(name, str) else (name or b"").decode("utf-8", "replace")


def kind_of(model: Any, operator: Any) -> str:
    """The builtin's name; ``CUSTOM`` and its own name; ``OPERATOR_n`` if the schema has none."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    kind = _OPERATORS.get(number, f"OPERATOR_{number}")
    return f"CUSTOM {text(code.customCode)}" if kind == "CUSTOM" else kind


def type_of(tensor: Any) -> str:
    """The schema's name of a tensor's type in lower case, which is NumPy's where it has one."""
    return _TYPES.get(tensor.type, f"type_{tensor.type}").lower()


def is_numpy(dtype: str) -> bool:
    """Whether NumPy has a type of this name."""
    return dtype.upper() in _NUMPY_TYPES


def shape_of(tensor: Any) -> tuple[int, ...]:
    """A tensor's shape, ``()`` where the file gives none."""
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def quantization_of(tensor: Any) -> tuple[float, int] | None:
    """Scale and zero point of all of a tensor, ``value = scale * (code - zero_point)``.

    ``None`` where the file gives none, or one a channel as weights have.
    """
    code = tensor.quantization
    scales = [] if code is None or code.scale is None else code.scale
    if len(scales) != 1 or not (math.isfinite(scales[0]) and scales[0] > 0):
        return None
    zero_points = [] if code.zeroPoint is None else code.zeroPoint
    return float(scales[0]), int(zero_points[0]) if len(zero_points) else 0
