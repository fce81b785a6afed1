"""The sizes of all tensors, settled before anything is planned: as the interpreter finds them.

A file may leave sizes of its inputs open. All that follows is then open too, and the shapes that
stand in the file are placeholders. Once the inputs have sizes, the interpreter itself says what the
others are. What a file computes from shapes alone (SHAPE, STRIDED_SLICE, PACK and the like) becomes
constants: a tensor whose size then still depends on values is known only when it runs.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_concurrent.errors import BundleError, ModelFileError, TrialError
from keras_concurrent.tflite.indices import LEFT_OUT
from keras_concurrent.tflite.schema import aligned, is_numpy, kind_of, pack, shape_of, text, type_of
from keras_concurrent.tflite.wholeness import is_open, moving_tensors, reason_to_stay_whole
from keras_concurrent.trial import check_runs, true_sizes

InputShapes = Mapping[str, Sequence[int]]
"""Shapes of inputs by their names, in the file or in its signature; ``""`` is an only input's."""


def fix_inputs(model: Any, shapes: InputShapes, origin: str) -> bool:
    """Give all inputs the sizes that the file leaves open.

    An open batch, which is the first of several axes, becomes one. Where the file itself gives a
    size above one, that is taken.

    Args:
        model: the schema's ``ModelT``, its tensors' names unique. It is altered.
        shapes: what was said of them.
        origin: what to call the file in errors.

    Returns:
        Whether any was open.

    Raises:
        ModelFileError: a size that is open and was not said.
        ValueError: shapes of inputs that there are not, or other than the file's own.
    """
    graph = model.subgraphs[0]
    said = _by_index(model, shapes, origin)
    altered = False
    missing = []
    for index in dict.fromkeys(graph.inputs):
        tensor = graph.tensors[index]
        shape, signature = shape_of(tensor), _signature_of(tensor)
        wanted = said.get(index)
        if wanted is not None and not _suits(wanted, signature):
            raise ValueError(
                f"the input {text(tensor.name)!r} of {origin} must have the shape "
                f"{_spelt(signature)}, got {_spelt(wanted)}"
            )
        if -1 not in signature:
            continue
        if wanted is None:
            wanted = [
                own if size >= 0 or own > 1 else 1 if axis == 0 and len(shape) > 1 else -1
                for axis, (size, own) in enumerate(zip(signature, shape, strict=True))
            ]
            if -1 in wanted:
                missing.append(f"{text(tensor.name)}={_spelt(wanted)}")
                continue
        tensor.shape, tensor.shapeSignature = [int(size) for size in wanted], None
        altered = True
    if missing:
        raise ModelFileError(
            f"{origin} leaves sizes of its inputs open: {', '.join(missing)}; say them with "
            "--input-shape (input_shapes), such as 1x224x224x3 or name=1x224x224x3"
        )
    return altered


def settle(model: Any, origin: str) -> str | None:
    """Give all tensors their true sizes, and make constants of what follows from them alone.

    Args:
        model: the schema's ``ModelT``, see `fix_inputs`. It is altered. The signature of a tensor
            whose size is known only when it runs stays open.
        origin: what to call the file in errors.

    Returns:
        Why this machine's interpreter cannot run the file; ``None`` where it can.

    Raises:
        ModelFileError: the interpreter dies of the file.
    """
    graph = model.subgraphs[0]
    inputs = {int(i): shape_of(graph.tensors[i]) for i in dict.fromkeys(graph.inputs)}
    can_fold = reason_to_stay_whole(model, but_sizes=True) is None
    folded = _from_shapes(model) if can_fold else []
    try:
        found = true_sizes(_packed(model), inputs, _written(graph), _results(folded) or None)
        shapes, unknown = list(found.shapes), found.unknown
        if not folded and unknown:  # a run tells about how large they are
            shapes = list(true_sizes(_packed(model), inputs, _written(graph), []).shapes)
        # Behind a loop the interpreter tells no size in advance; the file's writer may have.
        promised = {i for i in _written(graph) if _signature_of(graph.tensors[i]) == [*shapes[i]]}
        unfolded = graph.operators, [copy.copy(tensor) for tensor in graph.tensors]
        if folded:
            for index in _results(folded):
                _make_constant(model, index, found.values[index], found.shapes[index])
            graph.operators = [o for o in graph.operators if not any(o is each for each in folded)]
            unknown = true_sizes(_packed(model), inputs, _written(graph)).unknown
            if unknown - promised:  # a shape that was asked for may depend on values, too
                graph.operators, graph.tensors = unfolded
        unknown = unknown - promised
    except BundleError as error:
        return None if not folded and _runs_as_it_says(model) else str(error)
    except TrialError as error:
        raise ModelFileError(f"{origin} cannot be run: {error}") from error
    for index in {*inputs, *_written(graph)}:
        tensor = graph.tensors[index]
        shape = list(shapes[index])
        if index in unknown:
            tensor.shapeSignature = [-1] * max(1, len(shape))
        elif tensor.shapeSignature is not None and list(tensor.shapeSignature) != shape:
            tensor.shapeSignature = None
        if shape_of(tensor) != tuple(shape):
            tensor.shape = shape
    return None


def _runs_as_it_says(model: Any) -> bool:
    """Whether a file of no open size runs with XNNPACK, which has operators of its own."""
    graph = model.subgraphs[0]
    if any(is_open(graph.tensors[index]) for index in _written(graph)):
        return False
    try:
        check_runs(_packed(model), "it", {})
    except BundleError:
        return False
    return True


def _by_index(model: Any, shapes: InputShapes, origin: str) -> dict[int, Sequence[int]]:
    """What was said, by the inputs' indices."""
    graph = model.subgraphs[0]
    inputs = list(dict.fromkeys(int(index) for index in graph.inputs))
    called = {text(graph.tensors[index].name): index for index in inputs}
    for signature in model.signatureDefs or ():
        if signature.subgraphIndex == 0:
            for entry in signature.inputs or ():
                called.setdefault(text(entry.name), int(entry.tensorIndex))
    if len(inputs) == 1:
        called.setdefault("", inputs[0])
    for name in shapes:
        if name not in called:
            known = ", ".join(text(graph.tensors[index].name) for index in inputs)
            raise ValueError(
                f"input_shapes must be of the inputs {known} of {origin}, got "
                f"{repr(name) if name else 'a shape without a name'}"
            )
    return {called[name]: shape for name, shape in shapes.items()}


def _signature_of(tensor: Any) -> list[int]:
    """A tensor's shape, -1 where it is open."""
    signature, shape = tensor.shapeSignature, shape_of(tensor)
    if signature is None or len(signature) != len(shape):
        return list(shape)
    return [-1 if size < 0 else own for size, own in zip(signature, shape, strict=True)]


def _suits(shape: Sequence[int], signature: Sequence[int]) -> bool:
    return len(shape) == len(signature) and all(
        size > 0 and own in (-1, size) for size, own in zip(shape, signature, strict=True)
    )


def _spelt(shape: Sequence[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape) or "of a scalar"


def _results(operators: Sequence[Any]) -> list[int]:
    return sorted({int(i) for operator in operators for i in operator.outputs} - {LEFT_OUT})


def _written(graph: Any) -> list[int]:
    """Tensors that operators write, but for handles, which have no size."""
    return [i for i in _results(graph.operators) if is_numpy(type_of(graph.tensors[i]))]


def _packed(model: Any) -> bytes:
    model.buffers = [aligned(buffer.data) for buffer in model.buffers]
    return pack(model)


def _from_shapes(model: Any) -> list[Any]:
    """The operators whose integers follow from shapes and constants alone, if any asks a shape."""
    graph = model.subgraphs[0]
    moving = moving_tensors(model)
    folded = [
        operator
        for operator in graph.operators
        if moving.isdisjoint(operator.outputs)
        and all(type_of(graph.tensors[i]) in ("int32", "int64") for i in operator.outputs)
    ]
    asks = any(kind_of(model, operator) == "SHAPE" for operator in folded)
    return folded if asks else []


def _make_constant(model: Any, index: int, value: Any, shape: Sequence[int]) -> None:
    tensor = model.subgraphs[0].tensors[index]
    tensor.shape, tensor.shapeSignature = list(shape), None
    tensor.buffer = len(model.buffers)
    model.buffers.append(
        aligned(np.ascontiguousarray(value, type_of(tensor)).reshape(-1).view("u1"))
    )
