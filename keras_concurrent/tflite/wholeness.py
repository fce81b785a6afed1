"""Why a .tflite cannot be cut, if so: it then stays one piece, which any one board can run."""

from __future__ import annotations

from collections import Counter
from typing import Any

from keras_concurrent.tflite.indices import (
    LEFT_OUT,
    detail_tensors,
    runs_subgraphs,
    subgraphs_under,
)
from keras_concurrent.tflite.schema import is_numpy, kind_of, text, type_of

_WHAT_IT_DOES = {
    **dict.fromkeys(
        (
            "ASSIGN_VARIABLE", "CALL_ONCE", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT",
            "HASHTABLE_SIZE", "READ_VARIABLE", "VAR_HANDLE",
        ),
        "keeps a resource between runs",
    ),
    **dict.fromkeys(
        ("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"), "draws random numbers"
    ),
}  # fmt: skip


def reason_to_stay_whole(model: Any, but_sizes: bool = False) -> str | None:
    """The first reason why pieces of a model would not add up to it.

    Args:
        model: the schema's ``ModelT``, checked.
        but_sizes: whether to look away from sizes that are open, since they are not settled yet.

    Returns:
        The reason, as the end of "it stays whole because ...", or ``None`` if it can be cut.
    """
    graph = model.subgraphs[0]
    for operator in graph.operators:
        reason = _reason_of_operator(model, operator)
        if reason is not None:
            return reason
    travelling = {*graph.inputs, *graph.outputs}.union(*(o.outputs for o in graph.operators))
    constants = {
        index
        for index, tensor in enumerate(graph.tensors)
        if (data := model.buffers[tensor.buffer].data) is not None and len(data)
    }
    readers = Counter(index for o in graph.operators for index in set(o.inputs))
    for index, tensor in enumerate(graph.tensors):
        name = repr(text(tensor.name))
        if tensor.isVariable and (index in travelling or readers[index] > 1):
            return f"the tensor {name} is a variable of several operators"
        for named in detail_tensors(model, tensor).values():
            if named != LEFT_OUT and named not in constants:
                other = repr(text(graph.tensors[named].name))
                return f"the tensor {other}, by which {name} is quantised, is computed"
        if index not in travelling:
            continue
        if not is_numpy(type_of(tensor)):
            return f"the tensor {name} has the type {type_of(tensor)}"
        if not but_sizes and is_open(tensor):
            return f"the size of the tensor {name} is known only when it runs"
    return _reason_in_order(model)


def _reason_of_operator(model: Any, operator: Any) -> str | None:
    """Why an operator, or one of a subgraph that it runs, cannot be where another is not."""
    kind = kind_of(model, operator)
    if kind in _WHAT_IT_DOES:
        return f"the operator {kind} {_WHAT_IT_DOES[kind]}"
    if kind.startswith("OPERATOR_"):
        return f"the operator with the code {kind.removeprefix('OPERATOR_')} is not known"
    for index in subgraphs_under(model, operator):
        if index == 0:
            return f"the operator {kind} runs the graph that it is in"
        graph = model.subgraphs[index]
        if any(tensor.isVariable for tensor in graph.tensors):
            return f"the operator {kind} runs a subgraph with variables"
        for inner in graph.operators:
            if not runs_subgraphs(inner):  # those are looked into, too
                reason = _reason_of_operator(model, inner)
                if reason is not None:
                    return reason
    return None


def _reason_in_order(model: Any) -> str | None:
    """Whether the operators, in the file's order, hand each other every tensor once."""
    graph = model.subgraphs[0]
    written = set(graph.inputs)
    later = set().union(*(operator.outputs for operator in graph.operators)) - {LEFT_OUT}
    for operator in graph.operators:
        if not len(operator.outputs):
            return f"{kind_of(model, operator)} writes no tensor, so what it does is unknown"
        for index in later.intersection(operator.inputs) - written:
            name = repr(text(graph.tensors[index].name))
            return f"{kind_of(model, operator)} reads the tensor {name} before it is written"
        for index in written.intersection(operator.outputs):
            return f"the tensor {text(graph.tensors[index].name)!r} is written twice"
        written |= later.intersection(operator.outputs)
    if moving_tensors(model) == set(graph.inputs):
        return "no operator depends on its inputs"
    return None


def moving_tensors(model: Any) -> frozenset[int]:
    """Indices of the tensors whose values depend on the model's inputs.

    All others are the same for every image: what lies in the file, what is computed from that alone
    (the converter writes float16 weights so), and the shape of a tensor, since the batch is one.
    """
    graph = model.subgraphs[0]
    moving = set(graph.inputs)
    for operator in graph.operators:
        if kind_of(model, operator) != "SHAPE" and not moving.isdisjoint(operator.inputs):
            moving.update(operator.outputs)
    return frozenset(moving - {LEFT_OUT})


def is_open(tensor: Any) -> bool:
    """Whether a tensor has an open size."""
    signature = tensor.shapeSignature
    return signature is not None and any(size < 0 for size in signature)
