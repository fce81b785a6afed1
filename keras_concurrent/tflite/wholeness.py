"""Why a .tflite cannot be cut, if so: it then stays one piece, which any one board can run."""

from __future__ import annotations

from typing import Any

from keras_concurrent.tflite.indices import LEFT_OUT, detail_tensors, runs_subgraphs
from keras_concurrent.tflite.schema import is_numpy, kind_of, text, type_of

_WHAT_IT_DOES = {
    **dict.fromkeys(
        ("CALL", "CALL_ONCE", "IF", "STABLEHLO_CASE", "STABLEHLO_WHILE", "WHILE"), "is control flow"
    ),
    **dict.fromkeys(
        (
            "ASSIGN_VARIABLE", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE",
            "READ_VARIABLE", "VAR_HANDLE",
        ),
        "keeps a resource between runs",
    ),
    **dict.fromkeys(
        ("MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"), "draws random numbers"
    ),
    **dict.fromkeys(("UNIQUE", "WHERE"), "gives as many values as it finds"),
}  # fmt: skip


def reason_to_stay_whole(model: Any) -> str | None:
    """The first reason why pieces of a model would not add up to it.

    Args:
        model: the schema's ``ModelT``, checked.

    Returns:
        The reason, as the end of "it stays whole because ...", or ``None`` if it can be cut.
    """
    graph = model.subgraphs[0]
    for operator in graph.operators:
        kind = kind_of(model, operator)
        if kind in _WHAT_IT_DOES:
            return f"the operator {kind} {_WHAT_IT_DOES[kind]}"
        if kind.startswith("CUSTOM "):
            return f"the operator {kind.removeprefix('CUSTOM ')!r} is a custom one"
        if kind.startswith("OPERATOR_"):
            return f"the operator with the code {kind.removeprefix('OPERATOR_')} is not known"
        if runs_subgraphs(operator):
            return f"the operator {kind} runs a subgraph"
    if len(model.subgraphs) > 1:
        return f"it has {len(model.subgraphs)} subgraphs"
    open_batch = any(_is_open(graph.tensors[index], slice(1)) for index in graph.inputs)
    travelling = {*graph.inputs, *graph.outputs}.union(*(o.outputs for o in graph.operators))
    constants = {
        index
        for index, tensor in enumerate(graph.tensors)
        if (data := model.buffers[tensor.buffer].data) is not None and len(data)
    }
    for index, tensor in enumerate(graph.tensors):
        name = repr(text(tensor.name))
        if tensor.isVariable:
            return f"the tensor {name} is a variable"
        if tensor.sparsity is not None:
            return f"the tensor {name} is sparse"
        for named in detail_tensors(model, tensor).values():
            if named != LEFT_OUT and named not in constants:
                other = repr(text(graph.tensors[named].name))
                return f"the tensor {other}, by which {name} is quantised, is computed"
        if index not in travelling:
            continue
        if not is_numpy(type_of(tensor)):
            return f"the tensor {name} has the type {type_of(tensor)}"
        if _is_open(tensor, slice(1 if open_batch else 0, None)):
            return f"the size of the tensor {name} is known only when it runs"
    return _reason_in_order(model)


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


def _is_open(tensor: Any, which: slice) -> bool:
    signature = tensor.shapeSignature
    return signature is not None and any(size < 0 for size in signature[which])
