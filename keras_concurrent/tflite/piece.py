"""A piece of a .tflite while it is put together."""

from __future__ import annotations

import copy
from typing import Any

from keras_concurrent.tflite.schema import AlignedBuffer, aligned, pack, schema


class Piece:
    """A model of one graph that takes over tensors, buffers and operator codes as it needs them.

    Args:
        source: the schema's ``ModelT`` to take from.

    Attributes:
        graph: the piece's graph; its inputs and outputs are set from outside.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._from = source.subgraphs[0]
        self._tensors: dict[int, int] = {}
        self._buffers: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._model = schema.ModelT()
        self._model.version = source.version
        self._model.description = "cut by keras_concurrent"
        self._model.operatorCodes = []
        self._model.buffers = [AlignedBuffer()]  # buffer 0 is the empty one, by convention
        self.graph = schema.SubGraphT()
        self.graph.name = self._from.name
        self.graph.tensors, self.graph.operators = [], []
        self._model.subgraphs = [self.graph]

    def place(self, index: int) -> int:
        """Take a tensor over, once; its new index."""
        if index < 0:
            return -1  # an optional input left out
        if index not in self._tensors:
            tensor = copy.copy(self._from.tensors[index])
            data = self._source.buffers[tensor.buffer].data
            if data is None or not len(data):
                tensor.buffer = 0
            else:
                if tensor.buffer not in self._buffers:
                    self._buffers[tensor.buffer] = len(self._model.buffers)
                    self._model.buffers.append(aligned(data))
                tensor.buffer = self._buffers[tensor.buffer]
            self._tensors[index] = len(self.graph.tensors)
            self.graph.tensors.append(tensor)
        return self._tensors[index]

    def add(self, operator: Any) -> None:
        """Take an operator over, with its tensors."""
        operator = copy.copy(operator)
        if operator.opcodeIndex not in self._codes:
            self._codes[operator.opcodeIndex] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(self._source.operatorCodes[operator.opcodeIndex])
        operator.opcodeIndex = self._codes[operator.opcodeIndex]
        for field in ("inputs", "outputs", "intermediates"):
            indices = getattr(operator, field)
            if indices is not None:
                setattr(operator, field, [self.place(index) for index in indices])
        self.graph.operators.append(operator)

    def packed(self) -> bytes:
        """The piece's bytes."""
        return pack(self._model)
