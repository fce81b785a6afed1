"""A .tflite file as operators and tensors, and pieces of it back as .tflite bytes.

The file itself is what gets cut: operators, tensors and buffers are copied into a new flatbuffer,
so that a piece computes exactly what the whole computes. No TensorFlow is needed.

What is the same for every image never travels between pieces: weights that operators unpack
(float16) are in every piece that needs them. All sizes are settled when a file is read, see
`keras_concurrent.tflite.settling`. What cannot be cut stays whole, see `TfliteFile.whole_because`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from keras_concurrent.errors import ModelFileError
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.operators import bytes_of, operators_of
from keras_concurrent.tflite.parts import Operator, Signature, TensorInfo
from keras_concurrent.tflite.piece import PIECE, cut_piece
from keras_concurrent.tflite.schema import (
    aligned,
    check_size,
    pack,
    quantization_of,
    shape_of,
    text,
    type_of,
    unpack,
)
from keras_concurrent.tflite.settling import InputShapes, fix_inputs, settle
from keras_concurrent.tflite.signatures import other_signatures, take_signature
from keras_concurrent.tflite.tasks import tasks_of
from keras_concurrent.tflite.wholeness import is_open, moving_tensors, reason_to_stay_whole


class TfliteFile:
    """A .tflite model, read from bytes.

    Args:
        data: the file's content.
        origin: what to call the file in errors.
        input_shapes: sizes of inputs that the file leaves open, by the inputs' names; an only
            input's may be called ``""``. An open batch is one where nothing is said of it.
        signature: key of the signature that is to run; by default the file's first graph.

    Attributes:
        origin: what to call the file in errors.
        whole_because: why the file cannot be cut (shared variables, resources, operators that this
            machine's interpreter has not, text, sizes known only at run time, random numbers), as
            the end of "it stays whole because ..."; ``None`` for one that can.

    Raises:
        ModelFileError: no .tflite, a damaged one, one of another schema version than 3, one above
            2 GB or whose weights lie in another file, one that the interpreter dies of, one that
            leaves sizes of its inputs open of which nothing is said.
        ValueError: shapes of inputs that there are not, or other than the file's own; a signature
            that there is not.
    """

    def __init__(
        self,
        data: bytes,
        origin: str = "the model",
        input_shapes: InputShapes | None = None,
        signature: str | None = None,
    ) -> None:
        self.data = data
        model, was_outside = unpack(data, origin)
        if signature is not None:
            was_outside = take_signature(model, signature, origin) or was_outside
        self._hold(model, origin)
        altered = self._name_tensors() or was_outside
        is_piece = text(model.description) == PIECE  # whose sizes are true
        refused = None
        if not is_piece or input_shapes:
            altered = fix_inputs(model, input_shapes or {}, origin) or altered
            before = _looks_of(self._graph)
            refused = settle(model, origin)
            altered = altered or _looks_of(self._graph) != before
        self.whole_because = reason_to_stay_whole(model, but_sizes=refused is not None)
        if self.whole_because is None and refused is not None:
            self.whole_because = f"this machine's interpreter refuses it: {refused}"
        if altered:
            self.data = self.renamed({})

    def _hold(self, model: Any, origin: str) -> None:
        self.origin = origin
        self._model = model
        self._graph = model.subgraphs[0]  # the one that runs; others are its subroutines

    @classmethod
    def of_model(cls, model: Any, origin: str) -> TfliteFile:
        """The file of an altered `copied_model`; its bytes are written when they are asked for.

        Args:
            model: the schema's ``ModelT``, its buffers `aligned`. It is not altered any more.
            origin: what to call the file in errors.
        """
        file = cls.__new__(cls)
        file._hold(model, origin)
        file.whole_because = reason_to_stay_whole(model)
        return file

    @cached_property
    def data(self) -> bytes:
        """The file's content, its tensors' names unique, its batch one, its weights inside."""
        return pack(self._model)

    def copied_model(self) -> Any:
        """The schema's ``ModelT``, free to be altered but for what its buffers hold.

        Reading it from the bytes again would take most of a second for a network of 40 vertices.
        """
        model, graph = copy.copy(self._model), copy.copy(self._graph)
        graph.tensors = [copy.copy(tensor) for tensor in graph.tensors]
        graph.operators = [copy.copy(operator) for operator in graph.operators]
        model.subgraphs = [graph, *model.subgraphs[1:]]
        model.operatorCodes, model.buffers = list(model.operatorCodes), list(model.buffers)
        model.signatureDefs = copy.deepcopy(model.signatureDefs)
        return model

    @classmethod
    def read(
        cls,
        path: str | Path,
        input_shapes: InputShapes | None = None,
        signature: str | None = None,
    ) -> TfliteFile:
        """Read a file.

        Args:
            path: the file.
            input_shapes: see the constructor.
            signature: see the constructor.

        Raises:
            ModelFileError: as the constructor, or when the file cannot be opened.
        """
        try:
            check_size(Path(path).stat().st_size, str(path))
            return cls(Path(path).read_bytes(), str(path), input_shapes, signature)
        except OSError as error:
            raise ModelFileError(f"cannot read {path}: {error.strerror}") from error

    def _name_tensors(self) -> bool:
        """Make names text and unique: they are tensors' addresses. Says whether any changed."""
        seen: set[str] = set()
        changed = False
        for index, tensor in enumerate(self._graph.tensors):
            name = text(tensor.name) or f"tensor_{index}"
            if name in seen:
                name = f"{name}#{index}"
            seen.add(name)
            changed = changed or name.encode() != tensor.name
            tensor.name = name
        return changed

    def _has_data(self, tensor: Any) -> bool:
        data = self._model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0

    @cached_property
    def tensors(self) -> dict[str, TensorInfo]:
        """All tensors by name."""
        return {
            tensor.name: TensorInfo(
                tensor.name,
                shape_of(tensor),
                type_of(tensor),
                self._has_data(tensor),
                *(quantization_of(tensor) or (None, 0)),
            )
            for tensor in self._graph.tensors
        }

    @cached_property
    def unsettled(self) -> frozenset[str]:
        """Names of the tensors whose size depends on values, so that it is known only by a run."""
        return frozenset(tensor.name for tensor in self._graph.tensors if is_open(tensor))

    def _names(self, indices: Iterable[int]) -> tuple[str, ...]:
        return tuple(self._graph.tensors[index].name for index in indices if index >= 0)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs, in the file's order."""
        return self._names(self._graph.inputs)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the model's outputs, in the file's order."""
        return self._names(self._graph.outputs)

    @cached_property
    def signatures(self) -> dict[str, Signature]:
        """Signatures of the graph that runs, by key; files of older converters have none."""
        return {
            text(found.signatureKey): Signature(
                {text(m.name): self._names([m.tensorIndex])[0] for m in found.inputs or ()},
                {text(m.name): self._names([m.tensorIndex])[0] for m in found.outputs or ()},
            )
            for found in self._model.signatureDefs or ()
            if found.subgraphIndex == 0
        }

    @property
    def other_signatures(self) -> tuple[str, ...]:
        """Keys of the signatures whose graphs do not run."""
        return other_signatures(self._model)

    @cached_property
    def _moving(self) -> frozenset[int]:
        """Indices of the tensors that depend on the model's inputs."""
        return moving_tensors(self._model)

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """All operators, in running order. Operators of no known cost are named in a warning."""
        folded = self.whole_because is None
        return operators_of(self._model, self._moving, self.origin, folded=folded)

    @cached_property
    def flops(self) -> int:
        """FLOPs of one image; of operators that run subgraphs, as if each ran once."""
        return sum(operator.flops for operator in self.operators)

    @cached_property
    def parameter_bytes(self) -> int:
        """Bytes of all constants."""
        buffers = {tensor.buffer for graph in self._model.subgraphs for tensor in graph.tensors}
        return bytes_of(self._model, buffers)

    def tasks(self) -> TaskGraph:
        """One task an operator that depends on the inputs, see `keras_concurrent.tflite.tasks`."""
        return tasks_of(self)

    def renamed(self, names: dict[str, str]) -> bytes:
        """The whole file with some tensors under other names."""
        model = copy.copy(self._model)
        graph = copy.copy(self._graph)
        graph.tensors = [copy.copy(tensor) for tensor in self._graph.tensors]
        for tensor in graph.tensors:
            tensor.name = names.get(tensor.name, tensor.name)
        model.subgraphs = [graph, *self._model.subgraphs[1:]]
        model.buffers = [aligned(buffer.data) for buffer in self._model.buffers]
        return pack(model)

    def cut(self, operators: Iterable[int], inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
        """Some of the operators as a .tflite file of their own.

        Args:
            operators: indices; they keep the file's order. Constant operators whose results are
                needed come along by themselves.
            inputs: names of the tensors that come from elsewhere, in the wanted order.
            outputs: names of the tensors to give, in the wanted order.

        Returns:
            The piece's bytes. Its tensors keep their names. All of a file that stays whole is
            the file itself.

        Raises:
            ModelFileError: a tensor that is unknown, or is read or to be given but neither comes
                from elsewhere nor is computed or constant; a part of a file that stays whole.
        """
        chosen = set(operators)
        if self.whole_because is not None:
            if chosen != set(range(len(self._graph.operators))):
                raise ModelFileError(f"{self.origin} cannot be cut: {self.whole_because}")
            return self.data
        index_of = {tensor.name: i for i, tensor in enumerate(self._graph.tensors)}
        for name in (*inputs, *outputs):
            if name not in index_of:
                raise ModelFileError(f"{self.origin} has no tensor named {name!r}")
        return cut_piece(
            self._model,
            self._moving,
            chosen,
            [index_of[name] for name in inputs],
            [index_of[name] for name in outputs],
        )


def _looks_of(graph: Any) -> list[Any]:
    """What settling may alter of a graph."""
    shapes = [
        (shape_of(t), None if t.shapeSignature is None else tuple(t.shapeSignature), t.buffer)
        for t in graph.tensors
    ]
    return [len(graph.operators), shapes]
