"""The operators of a .tflite graph with what each reads, writes, weighs and costs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Set
from typing import Any

from keras_concurrent.errors import ModelFileError, UnknownOperatorWarning
from keras_concurrent.tflite.indices import buffers_of, subgraphs_under
from keras_concurrent.tflite.operator_cost import flops_of, is_known
from keras_concurrent.tflite.parts import Operator
from keras_concurrent.tflite.schema import kind_of, shape_of


def operators_of(
    model: Any, moving: Set[int], origin: str, *, folded: bool
) -> tuple[Operator, ...]:
    """All operators of the graph that runs, in running order.

    Operators of no known cost are named in a warning.

    Args:
        model: the schema's ``ModelT``, its tensors' names unique.
        moving: indices of the tensors that depend on the model's inputs.
        origin: what to call the file in errors.
        folded: whether operators that depend on no input cost nothing, as in pieces.

    Raises:
        ModelFileError: an operator's cost does not follow from the shapes that it is given.
    """
    _warn_of_unknown(model, origin)
    graph = model.subgraphs[0]
    written = {index for operator in graph.operators for index in operator.outputs}
    # Buffers from which the value of a tensor follows that is the same for every image.
    under = {
        index: frozenset() if index in written else buffers_of(model, tensor)
        for index, tensor in enumerate(graph.tensors)
    }
    result = []
    for index, operator in enumerate(graph.operators):
        constant = folded and moving.isdisjoint(operator.outputs)
        read = [i for i in operator.inputs if i >= 0]
        inside = (
            tensor.buffer
            for number in subgraphs_under(model, operator)
            for tensor in model.subgraphs[number].tensors
        )
        own = frozenset().union(*(under[i] for i in read if i not in moving))
        buffers = own.union(inside)
        under.update(dict.fromkeys(operator.outputs, buffers))
        result.append(
            Operator(
                index,
                kind_of(model, operator),
                tuple(dict.fromkeys(graph.tensors[i].name for i in read if i in moving)),
                tuple(graph.tensors[i].name for i in operator.outputs if i >= 0),
                0 if constant else _flops(model, operator, origin),
                bytes_of(model, buffers),
                constant,
            )
        )
    return tuple(result)


def bytes_of(model: Any, buffers: Iterable[int]) -> int:
    """How much some buffers hold."""
    contents = (model.buffers[buffer].data for buffer in buffers)
    return sum(len(data) for data in contents if data is not None)


def _warn_of_unknown(model: Any, origin: str) -> None:
    kinds = {kind_of(model, o) for graph in model.subgraphs for o in graph.operators}
    unknown = sorted(kind for kind in kinds if not is_known(kind))
    if unknown:
        warnings.warn(
            f"{origin} has operators of unknown cost, {', '.join(unknown)}: one operation an "
            "output element is assumed",
            UnknownOperatorWarning,
            stacklevel=4,
        )


def _flops(model: Any, operator: Any, origin: str) -> int:
    """An operator's FLOPs; of one that runs subgraphs, as if each ran once."""
    own = _own_flops(model, model.subgraphs[0], operator, origin)
    inner = (model.subgraphs[i] for i in subgraphs_under(model, operator))
    return own + sum(
        _own_flops(model, graph, o, origin) for graph in inner for o in graph.operators
    )


def _own_flops(model: Any, graph: Any, operator: Any, origin: str) -> int:
    kind = kind_of(model, operator)
    read = [shape_of(graph.tensors[i]) if i >= 0 else () for i in operator.inputs]
    written = [shape_of(graph.tensors[i]) for i in operator.outputs if i >= 0]
    try:
        return flops_of(kind, operator.builtinOptions, read, written)
    except (AttributeError, IndexError, ValueError) as error:
        raise ModelFileError(
            f"{origin} is damaged: no {kind} reads tensors of shapes {read} and writes {written}"
        ) from error
