"""A piece of a .tflite: some of its operators, with what they need, as a file of their own."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from keras_concurrent.errors import ModelFileError
from keras_concurrent.tflite.indices import LEFT_OUT, detail_tensors, fields_of, options_of
from keras_concurrent.tflite.schema import AlignedBuffer, aligned, kind_of, pack, schema, text

PIECE = "cut by keras_concurrent"
"""What a piece says of itself."""
_HOW_IT_RUNS = ("reduced_precision_support",)  # whether XNNPACK may compute in float16


def cut_piece(
    model: Any,
    moving: Collection[int],
    operators: Collection[int],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> bytes:
    """Some of a model's operators as a file of their own.

    Args:
        model: the schema's ``ModelT``.
        moving: indices of the tensors that depend on the model's inputs. The operators that write
            the others are constant: those whose results are needed come along by themselves.
        operators: positions; they keep the model's order.
        inputs: indices of the tensors that come from elsewhere, in the wanted order.
        outputs: indices of the tensors to give, in the wanted order.

    Raises:
        ModelFileError: a tensor that is read or to be given but neither comes from elsewhere nor
            is computed or constant.
    """
    graph = model.subgraphs[0]
    piece = Piece(model)
    piece.graph.inputs = [piece.place(index) for index in inputs]
    available = set(inputs)
    for position in sorted(_with_constants(graph, moving, operators, available, outputs)):
        operator = graph.operators[position]
        for index in operator.inputs:
            if index in moving and index not in available:
                raise ModelFileError(
                    f"operator {position} ({kind_of(model, operator)}) reads "
                    f"{graph.tensors[index].name!r}, which the piece does not have"
                )
        available.update(operator.outputs)
        piece.add(operator)
    for index in outputs:
        if index in moving and index not in available:
            name = graph.tensors[index].name
            raise ModelFileError(f"the piece does not compute {name!r}, which it is to give")
    piece.graph.outputs = [piece.place(index) for index in outputs]
    return piece.packed()


def _with_constants(
    graph: Any,
    moving: Collection[int],
    operators: Collection[int],
    given: Collection[int],
    outputs: Iterable[int],
) -> set[int]:
    """The operators, and the constant ones that they and the outputs need."""
    writers = {i: at for at, operator in enumerate(graph.operators) for i in operator.outputs}
    chosen = set(operators)
    needed = [i for at in chosen for i in graph.operators[at].inputs]
    needed.extend(outputs)
    while needed:
        index = needed.pop()
        at = writers.get(index)
        if at is None or at in chosen or index in moving or index in given:
            continue
        chosen.add(at)
        needed.extend(graph.operators[at].inputs)
    return chosen


def _how_it_runs(model: Any) -> list[Any]:
    """A model's metadata that changes what an interpreter computes."""
    return [each for each in model.metadata or () if text(each.name) in _HOW_IT_RUNS]


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
        self._graphs: dict[int, int] = {}
        self._model = schema.ModelT()
        self._model.version = source.version
        self._model.description = PIECE
        self._model.operatorCodes = []
        self._model.buffers = [AlignedBuffer()]  # buffer 0 is the empty one, by convention
        self.graph = schema.SubGraphT()
        self.graph.name = self._from.name
        self.graph.tensors, self.graph.operators = [], []
        self._model.subgraphs = [self.graph]
        self._model.metadata = [self._with_own_buffer(each) for each in _how_it_runs(source)]

    def place(self, index: int) -> int:
        """Take a tensor over, once; its new index."""
        if index < 0:
            return LEFT_OUT  # of optional inputs
        if index not in self._tensors:
            tensor = self._with_buffer(self._from.tensors[index])
            self._tensors[index] = len(self.graph.tensors)
            self.graph.tensors.append(tensor)
            self._place_details(tensor)
        return self._tensors[index]

    def _place_details(self, tensor: Any) -> None:
        """Take the tensors over that a tensor's quantization names, as blocks' scales."""
        named = detail_tensors(self._source, tensor)
        if named:
            tensor.quantization = copy.copy(tensor.quantization)
            tensor.quantization.details = copy.copy(tensor.quantization.details)
        for field, index in named.items():
            setattr(tensor.quantization.details, field, self.place(index))

    def _with_buffer(self, tensor: Any) -> Any:
        """A copy of a tensor, its buffer taken over, once."""
        tensor = copy.copy(tensor)
        data = self._source.buffers[tensor.buffer].data
        if data is None or not len(data):
            tensor.buffer = 0
            return tensor
        if tensor.buffer not in self._buffers:
            self._buffers[tensor.buffer] = len(self._model.buffers)
            self._model.buffers.append(aligned(data))
        tensor.buffer = self._buffers[tensor.buffer]
        return tensor

    def _with_own_buffer(self, metadata: Any) -> Any:
        metadata = copy.copy(metadata)
        data = self._source.buffers[metadata.buffer].data
        metadata.buffer = len(self._model.buffers)
        self._model.buffers.append(aligned(data))
        return metadata

    def add(self, operator: Any) -> None:
        """Take an operator over, with its tensors and the subgraphs that it runs."""
        operator = self._with_code(operator)
        for field in fields_of(operator, "tensor"):
            indices = getattr(operator, field)
            if indices is not None:
                setattr(operator, field, [self.place(index) for index in indices])
        self.graph.operators.append(operator)

    def _with_code(self, operator: Any) -> Any:
        """A copy of an operator, its code and the subgraphs that it runs taken over, once."""
        operator = copy.copy(operator)
        if operator.opcodeIndex not in self._codes:
            self._codes[operator.opcodeIndex] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(self._source.operatorCodes[operator.opcodeIndex])
        operator.opcodeIndex = self._codes[operator.opcodeIndex]
        for field in fields_of(operator, "debug metadata"):
            setattr(operator, field, LEFT_OUT)  # a piece has no metadata of that kind
        for name, options in options_of(operator).items():
            options = copy.copy(options)
            setattr(operator, name, options)
            for field in fields_of(options, "subgraph"):
                value = getattr(options, field)
                if isinstance(value, int):
                    setattr(options, field, self._place_graph(value))
                elif value is not None:
                    setattr(options, field, [self._place_graph(index) for index in value])
        return operator

    def _place_graph(self, index: int) -> int:
        """Take a subgraph over, once, with all that it has; its new index."""
        if index < 0:
            return LEFT_OUT
        if index not in self._graphs:
            graph = copy.copy(self._source.subgraphs[index])
            self._graphs[index] = len(self._model.subgraphs)
            self._model.subgraphs.append(graph)
            graph.tensors = [self._with_buffer(tensor) for tensor in graph.tensors]
            graph.operators = [self._with_code(operator) for operator in graph.operators]
            for field in fields_of(graph, "debug metadata"):
                setattr(graph, field, LEFT_OUT)
        return self._graphs[index]

    def packed(self) -> bytes:
        """The piece's bytes."""
        return pack(self._model)
