"""A .tflite file as operators and tensors, and pieces of it back as .tflite bytes.

The file itself is what gets cut: operators, tensors and buffers are copied into a new flatbuffer,
so that a piece computes exactly what the whole computes. No TensorFlow is needed; the schema's
classes come with ai-edge-litert.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent import flops
from keras_concurrent.errors import MissingExtraError, ModelFileError

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError(str(error.name), "design") from error

_IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # what the schema demands of a buffer's data
_CONTROL_FLOW = {"CALL", "CALL_ONCE", "IF", "WHILE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
_MOVES_ONLY = {
    "BROADCAST_TO", "CONCATENATION", "EXPAND_DIMS", "FILL", "GATHER", "MIRROR_PAD", "PACK", "PAD",
    "PADV2", "RESHAPE", "SHAPE", "SLICE", "SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "TILE",
    "TRANSPOSE", "UNPACK",
}  # fmt: skip
_REDUCTIONS = {"MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"}
_POOLS = {"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"}


def _constants_of(kind: type) -> dict[int, str]:
    return {value: name for name, value in vars(kind).items() if isinstance(value, int)}


_OPERATOR_NAMES = _constants_of(schema.BuiltinOperator)
_DTYPES = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.FLOAT64: "float64",
    schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.INT32: "int32",
    schema.TensorType.INT64: "int64",
    schema.TensorType.BOOL: "bool",
}


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer written at the alignment that the schema demands; the Python packer ignores it."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated classes' name
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


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the file.

    Args:
        name: unique in the file.
        shape: with a batch of one where the file leaves the batch open.
        dtype: NumPy's name of the type.
        constant: whether its value lies in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool

    @property
    def bytes(self) -> int:
        """Size of the value in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Operator:
    """An operator of the file, in the order in which the file runs them.

    Args:
        index: position in the file.
        kind: the builtin's name, such as ``CONV_2D``.
        inputs: names of the computed tensors it reads.
        outputs: names of the tensors it writes.
        flops: floating point (or integer) operations, a multiply-accumulate counting 2.
        parameter_bytes: bytes of the constants it reads.
    """

    index: int
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    flops: int
    parameter_bytes: int


class TfliteFile:
    """A .tflite model, read from bytes.

    Args:
        data: the file's content.
        origin: what to call the file in errors.

    Raises:
        ModelFileError: not a .tflite, or one that cannot be cut: several subgraphs, control flow,
            variables, or tensor types without a NumPy equivalent.
    """

    def __init__(self, data: bytes, origin: str = "the model") -> None:
        if data[4:8] != _IDENTIFIER:
            raise ModelFileError(
                f"{origin} is not a .tflite file: expected the identifier 'TFL3' at byte 4, "
                f"got {bytes(data[4:8])!r}"
            )
        self.data = data
        self.origin = origin
        try:
            self._model = schema.ModelT.InitFromPackedBuf(data, 0)
        except Exception as error:  # the generated reader raises whatever a broken offset gives
            raise ModelFileError(f"{origin} is damaged: {error}") from error
        if len(self._model.subgraphs or []) != 1:
            raise ModelFileError(
                f"{origin} must have one subgraph to be cut, got {len(self._model.subgraphs or [])}"
            )
        self._graph = self._model.subgraphs[0]
        if self._name_tensors():
            self.data = self.renamed({})
        self._check()

    @classmethod
    def read(cls, path: str | Path) -> TfliteFile:
        """Read a file.

        Raises:
            ModelFileError: as the constructor, or when the file cannot be opened.
        """
        try:
            return cls(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise ModelFileError(f"cannot read {path}: {error.strerror}") from error

    def _name_tensors(self) -> bool:
        """Make names text and unique: they are tensors' addresses. Says whether any changed."""
        seen: set[str] = set()
        changed = False
        for index, tensor in enumerate(self._graph.tensors):
            name = (tensor.name or b"").decode("utf-8", "replace") or f"tensor_{index}"
            if name in seen:
                name = f"{name}#{index}"
            seen.add(name)
            changed = changed or name.encode() != tensor.name
            tensor.name = name
        return changed

    def _check(self) -> None:
        for tensor in self._graph.tensors:
            if tensor.isVariable:
                raise ModelFileError(f"{self.origin} cannot be cut: {tensor.name!r} is a variable")
            if tensor.sparsity is not None:
                raise ModelFileError(f"{self.origin} cannot be cut: {tensor.name!r} is sparse")
            if tensor.type not in _DTYPES and not self._is_constant(tensor):
                raise ModelFileError(
                    f"{self.origin} cannot be cut: {tensor.name!r} has tensor type {tensor.type}"
                )
        for operator in self._graph.operators:
            if self._kind(operator) in _CONTROL_FLOW:
                raise ModelFileError(
                    f"{self.origin} cannot be cut: it has the operator {self._kind(operator)}"
                )

    def _is_constant(self, tensor: Any) -> bool:
        data = self._model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    def _kind(self, operator: Any) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return _OPERATOR_NAMES.get(number, f"OPERATOR_{number}")

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:
        """All tensors by name."""
        return {
            tensor.name: TensorInfo(
                tensor.name,
                tuple(int(size) for size in (tensor.shape if tensor.shape is not None else ())),
                _DTYPES.get(tensor.type, "uint8"),
                self._is_constant(tensor),
            )
            for tensor in self._graph.tensors
        }

    def _names(self, indices: Sequence[int] | None) -> tuple[str, ...]:
        return tuple(self._graph.tensors[i].name for i in (indices if indices is not None else ()))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs, in the file's order."""
        return self._names(self._graph.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, in the file's order."""
        return self._names(self._graph.outputs)

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """All operators, in running order."""
        produced = set(self.inputs)
        for operator in self._graph.operators:
            produced.update(self._names(operator.outputs))
        result = []
        for index, operator in enumerate(self._graph.operators):
            read = [i for i in (operator.inputs if operator.inputs is not None else ()) if i >= 0]
            names = self._names(read)
            result.append(
                Operator(
                    index,
                    self._kind(operator),
                    tuple(dict.fromkeys(name for name in names if name in produced)),
                    self._names(operator.outputs),
                    self._flops(operator),
                    sum(self.tensors[name].bytes for name in names if name not in produced),
                )
            )
        return tuple(result)

    def _flops(self, operator: Any) -> int:
        kind = self._kind(operator)
        if kind in _MOVES_ONLY or len(operator.outputs) == 0:
            return 0
        shapes = [
            self.tensors[self._graph.tensors[i].name].shape if i >= 0 else ()
            for i in operator.inputs
        ]
        out = self.tensors[self._graph.tensors[operator.outputs[0]].name].shape
        if kind == "CONV_2D":
            _, height, width, channels = shapes[1]
            return flops.convolution(out, (height, width), channels)
        if kind == "DEPTHWISE_CONV_2D":
            return flops.depthwise(out, shapes[1][1:3])
        if kind == "TRANSPOSE_CONV":
            filters, height, width, _ = shapes[1]
            return flops.convolution(shapes[2], (height, width), filters)
        if kind == "FULLY_CONNECTED":
            return flops.convolution(out, (), shapes[1][-1])
        if kind == "BATCH_MATMUL":
            inner = shapes[0][-2] if operator.builtinOptions.adjX else shapes[0][-1]
            return flops.convolution(out, (), inner)
        if kind in _POOLS:
            options = operator.builtinOptions
            return flops.pooling(out, (options.filterHeight, options.filterWidth))
        if kind in _REDUCTIONS:
            return flops.elementwise(shapes[0])
        return flops.elementwise(out)

    def renamed(self, names: dict[str, str]) -> bytes:
        """The whole file with some tensors under other names."""
        model = copy.copy(self._model)
        graph = copy.copy(self._graph)
        graph.tensors = [copy.copy(tensor) for tensor in self._graph.tensors]
        for tensor in graph.tensors:
            tensor.name = names.get(tensor.name, tensor.name)
        model.subgraphs = [graph]
        model.buffers = [_aligned(buffer) for buffer in self._model.buffers]
        return _pack(model, self.origin)

    def cut(self, operators: Iterable[int], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """Some of the operators as a .tflite file of their own.

        Args:
            operators: indices; they keep the file's order.
            inputs: names of the tensors that come from elsewhere, in the wanted order.
            outputs: names of the tensors to give, in the wanted order.

        Returns:
            The piece's bytes. Its tensors keep their names.

        Raises:
            ModelFileError: a tensor that is unknown, or is read or to be given but neither comes
                from elsewhere nor is computed or constant.
        """
        chosen = sorted(set(operators))
        index_of = {tensor.name: i for i, tensor in enumerate(self._graph.tensors)}
        for name in (*inputs, *outputs):
            if name not in index_of:
                raise ModelFileError(f"{self.origin} has no tensor named {name!r}")
        available = {index_of[name] for name in inputs}
        tensor_map: dict[int, int] = {}
        buffers: list[Any] = [_AlignedBuffer()]  # buffer 0 is the empty one, by convention
        buffer_map: dict[int, int] = {}
        codes: list[Any] = []
        code_map: dict[int, int] = {}
        graph = schema.SubGraphT()
        graph.name = self._graph.name
        graph.tensors, graph.operators = [], []

        def place(index: int) -> int:
            if index < 0:
                return -1  # an optional input left out
            if index not in tensor_map:
                tensor = copy.copy(self._graph.tensors[index])
                if self._is_constant(tensor):
                    if tensor.buffer not in buffer_map:
                        buffer_map[tensor.buffer] = len(buffers)
                        buffers.append(_aligned(self._model.buffers[tensor.buffer]))
                    tensor.buffer = buffer_map[tensor.buffer]
                else:
                    tensor.buffer = 0
                tensor_map[index] = len(graph.tensors)
                graph.tensors.append(tensor)
            return tensor_map[index]

        graph.inputs = [place(index_of[name]) for name in inputs]
        for position in chosen:
            operator = copy.copy(self._graph.operators[position])
            for index in operator.inputs if operator.inputs is not None else ():
                if index < 0 or index in available:
                    continue
                if not self._is_constant(self._graph.tensors[index]):
                    raise ModelFileError(
                        f"operator {position} ({self._kind(operator)}) reads "
                        f"{self._graph.tensors[index].name!r}, which the piece does not have"
                    )
            available.update(operator.outputs)
            if operator.opcodeIndex not in code_map:
                code_map[operator.opcodeIndex] = len(codes)
                codes.append(self._model.operatorCodes[operator.opcodeIndex])
            operator.opcodeIndex = code_map[operator.opcodeIndex]
            for field in ("inputs", "outputs", "intermediates"):
                indices = getattr(operator, field)
                if indices is not None:
                    setattr(operator, field, [place(index) for index in indices])
            graph.operators.append(operator)
        for name in outputs:
            if index_of[name] not in available:
                raise ModelFileError(f"the piece does not compute {name!r}, which it is to give")
        graph.outputs = [place(index_of[name]) for name in outputs]

        model = schema.ModelT()
        model.version = self._model.version
        model.description = "cut by keras_concurrent"
        model.operatorCodes, model.subgraphs, model.buffers = codes, [graph], buffers
        return _pack(model, self.origin)


def _aligned(buffer: Any) -> _AlignedBuffer:
    aligned = _AlignedBuffer()
    aligned.data = buffer.data
    return aligned


def _pack(model: Any, origin: str) -> bytes:
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    if size > 2_000_000_000:
        raise ModelFileError(f"{origin} holds {size} bytes; a .tflite can hold 2 GB at most")
    builder = flatbuffers.Builder(size + 65536)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())
