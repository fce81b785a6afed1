"""A .tflite while it is rewritten: operators added and rewired, each with the board it is on.

Rewriting happens before planning ends and before cutting begins: what comes out is an ordinary
.tflite, so that planning, cutting and the boards know nothing of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_concurrent.interpreter import Array
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.schema import (
    aligned,
    is_numpy,
    kind_of,
    schema,
    type_of,
)


@dataclass(eq=False)
class Step:
    """An operator of the schema's, and the board it is on; ``None`` where it is on every board."""

    operator: Any
    board: str | None


class Draft:
    """An altered copy of a file.

    Args:
        file: what is altered; it stays as it is.
        homes: name of the board of every operator that is not constant, by the operator's index.

    Attributes:
        steps: the operators, in running order.
        tensors: the schema's tensors; operators refer to them by index.
    """

    def __init__(self, file: TfliteFile, homes: Mapping[int, str]) -> None:
        self.file = file
        self._model = file.copied_model()
        self._graph = self._model.subgraphs[0]
        self.tensors: list[Any] = self._graph.tensors
        self.steps = [
            Step(operator, homes.get(index)) for index, operator in enumerate(self._graph.operators)
        ]
        self._codes: dict[tuple[int, int], int] = {}  # of added operators
        self._index_of = {info: i for i, info in enumerate(file.tensors)}

    def index_of(self, name: str) -> int:
        """A tensor's index, by its name in the file."""
        return self._index_of[name]

    def kind(self, step: Step) -> str:
        """The builtin's name of an operator."""
        return kind_of(self._model, step.operator)

    def constant(self, index: int) -> Array | None:
        """A tensor's value, flat, if it lies in the file."""
        tensor = self.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or not len(data) or not is_numpy(type_of(tensor)):
            return None
        raw = np.frombuffer(data, "u1") if isinstance(data, bytes) else np.asarray(data, "u1")
        value: Array = raw.view(type_of(tensor))
        return value

    @property
    def inputs(self) -> frozenset[int]:
        """Indices of the model's inputs."""
        return frozenset(self._graph.inputs)

    @property
    def ordered_inputs(self) -> tuple[int, ...]:
        """Indices of the model's inputs, in the file's order."""
        return tuple(int(index) for index in self._graph.inputs)

    @property
    def outputs(self) -> frozenset[int]:
        """Indices of the model's outputs."""
        return frozenset(self._graph.outputs)

    def writers(self) -> dict[int, Step]:
        """The operator that writes a tensor, by the tensor's index."""
        return {index: step for step in self.steps for index in step.operator.outputs}

    def readers(self) -> dict[int, list[Step]]:
        """The operators that read a tensor, in running order, by the tensor's index."""
        readers: dict[int, list[Step]] = {}
        for step in self.steps:
            for index in dict.fromkeys(step.operator.inputs):
                readers.setdefault(index, []).append(step)
        return readers

    def add_tensor(
        self,
        like: int,
        name: str,
        kind: str | None = None,
        shape: Sequence[int] | None = None,
    ) -> int:
        """A new tensor without a value, like another.

        Args:
            like: index of the other.
            name: unless it is taken; then a number is added.
            kind: the schema's name of its type, such as ``INT8``; by default the other's.
            shape: by default the other's.

        Returns:
            Its index.
        """
        tensor = copy.copy(self.tensors[like])
        if kind is not None:
            tensor.type, tensor.quantization = getattr(schema.TensorType, kind), None
        if shape is not None:
            tensor.shape, tensor.shapeSignature = list(shape), None
        tensor.buffer = 0
        return self._append(tensor, name)

    def add_constant(self, name: str, value: Array, like: int | None = None) -> int:
        """A new tensor with a value.

        Args:
            name: unless it is taken; then a number is added.
            value: of a type that the schema has.
            like: index of a tensor whose type and quantisation it shares.

        Returns:
            Its index.
        """
        tensor = schema.TensorT() if like is None else copy.copy(self.tensors[like])
        if like is None:
            tensor.type = getattr(schema.TensorType, value.dtype.name.upper())
        tensor.shape, tensor.shapeSignature = list(value.shape), None
        tensor.buffer = len(self._model.buffers)
        self._model.buffers.append(aligned(np.ascontiguousarray(value).reshape(-1).view("u1")))
        return self._append(tensor, name)

    def _append(self, tensor: Any, name: str) -> int:
        tensor.name, number = name, 1
        while tensor.name in self._index_of:
            number += 1
            tensor.name = f"{name}#{number}"
        self._index_of[tensor.name] = len(self.tensors)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def take_inputs(self, indices: Sequence[int]) -> None:
        """Make other tensors the model's inputs; signatures, which name the old, go."""
        self._graph.inputs = list(indices)
        self._model.signatureDefs = []

    def take_input(self, index: int, other: int) -> None:
        """Make another tensor the model's input, under the name of the one that was."""
        old, new = self.tensors[index], self.tensors[other]
        old.name, new.name = new.name, old.name
        self._graph.inputs = [other if i == index else i for i in self._graph.inputs]
        for signature in self._model.signatureDefs or ():
            for entry in signature.inputs or ():
                if signature.subgraphIndex == 0 and entry.tensorIndex == index:
                    entry.tensorIndex = other

    def operator(self, kind: str, version: int, reads: list[int], writes: int) -> Any:
        """A new operator without options; it is not among the steps yet."""
        number = getattr(schema.BuiltinOperator, kind)
        if (number, version) not in self._codes:
            self._codes[number, version] = len(self._model.operatorCodes)
            code = schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode = number, min(number, 127)
            code.version = version
            self._model.operatorCodes.append(code)
        added = schema.OperatorT()
        added.opcodeIndex = self._codes[number, version]
        added.inputs, added.outputs = reads, [writes]
        return added

    def finish(self) -> tuple[TfliteFile, dict[int, str]]:
        """The rewritten file, and the board of every operator by its new index."""
        self._graph.operators = [step.operator for step in self.steps]
        homes = {i: step.board for i, step in enumerate(self.steps) if step.board is not None}
        self._model.buffers = [aligned(buffer.data) for buffer in self._model.buffers]
        return TfliteFile.of_model(self._model, self.file.origin), homes
