"""Which fields of the schema hold an index of something else in the file, and checks of them.

A tensor that is cut out brings along whatever these fields name, under its new index. The schema
itself does not say which of its numbers are indices: ``tests/tflite/test_indices.py`` fails when a
version of it brings a number that is known neither here nor there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LEFT_OUT = -1

# Class and field -> of what it holds an index, or several. Not in this table are ids, which a file
# in pieces need not change: those of external buffers, which are refused, and of hash tables.
INDICES = {
    ("ModelT", "metadataBuffer"): "buffer",
    ("MetadataT", "buffer"): "buffer",
    ("SignatureDefT", "subgraphIndex"): "subgraph",
    ("TensorMapT", "tensorIndex"): "tensor",
    ("SubGraphT", "inputs"): "tensor",
    ("SubGraphT", "outputs"): "tensor",
    ("SubGraphT", "debugMetadataIndex"): "debug metadata",
    ("TensorT", "buffer"): "buffer",
    ("BlockwiseQuantizationT", "scales"): "tensor",
    ("BlockwiseQuantizationT", "zeroPoints"): "tensor",
    ("MultiAxisQuantizationT", "scales"): "tensor",
    ("MultiAxisQuantizationT", "zeroPoints"): "tensor",
    ("OperatorT", "opcodeIndex"): "operator code",
    ("OperatorT", "inputs"): "tensor",
    ("OperatorT", "outputs"): "tensor",
    ("OperatorT", "intermediates"): "tensor",
    ("OperatorT", "debugMetadataIndex"): "debug metadata",
    ("CallOptionsT", "subgraph"): "subgraph",
    ("CallOnceOptionsT", "initSubgraphIndex"): "subgraph",
    ("IfOptionsT", "thenSubgraphIndex"): "subgraph",
    ("IfOptionsT", "elseSubgraphIndex"): "subgraph",
    ("WhileOptionsT", "condSubgraphIndex"): "subgraph",
    ("WhileOptionsT", "bodySubgraphIndex"): "subgraph",
    ("StableHLOCompositeOptionsT", "decompositionSubgraphIndex"): "subgraph",
    ("StablehloCaseOptionsT", "branchSubgraphIndices"): "subgraph",
    ("StablehloCustomCallOptionsT", "calledComputations"): "subgraph",
    ("StablehloReduceOptionsT", "bodySubgraphIndex"): "subgraph",
    ("StablehloReduceWindowOptionsT", "bodySubgraphIndex"): "subgraph",
    ("StablehloScatterOptionsT", "updateComputationSubgraphIndex"): "subgraph",
    ("StablehloSortOptionsT", "comparatorSubgraphIndex"): "subgraph",
    ("StablehloWhileOptionsT", "condSubgraphIndex"): "subgraph",
    ("StablehloWhileOptionsT", "bodySubgraphIndex"): "subgraph",
}
_OPTIONAL = {
    *(("OperatorT", field) for field in ("inputs", "outputs", "intermediates")),
    ("BlockwiseQuantizationT", "zeroPoints"),
    ("MultiAxisQuantizationT", "zeroPoints"),
}

_FIELDS: dict[str, list[tuple[str, str]]] = {}
for (_owner, _field), _what in INDICES.items():
    _FIELDS.setdefault(_owner, []).append((_field, _what))


def fields_of(owner: Any, what: str) -> list[str]:
    """Names of an object's fields that hold indices of something, such as ``"tensor"``."""
    return [field for field, named in _FIELDS.get(type(owner).__name__, ()) if named == what]


def options_of(operator: Any) -> dict[str, Any]:
    """An operator's options that name subgraphs, by the operator's field."""
    found = {name: getattr(operator, name) for name in ("builtinOptions", "builtinOptions2")}
    return {name: owner for name, owner in found.items() if fields_of(owner, "subgraph")}


def runs_subgraphs(operator: Any) -> bool:
    """Whether an operator's options name subgraphs."""
    return bool(options_of(operator))


def subgraphs_under(model: Any, operator: Any) -> list[int]:
    """The subgraphs that an operator runs, and those that theirs run, each once."""
    found: dict[int, None] = {}
    waiting = [operator]
    while waiting:
        for owner in options_of(waiting.pop()).values():
            for field in fields_of(owner, "subgraph"):
                value = getattr(owner, field)
                for index in [value] if isinstance(value, int) else () if value is None else value:
                    if int(index) >= 0 and int(index) not in found:
                        found[int(index)] = None
                        waiting += model.subgraphs[int(index)].operators
    return list(found)


def detail_tensors(model: Any, tensor: Any) -> dict[str, int]:
    """Tensors of graph 0 that a tensor's quantization names, by the field; -1 for one left out.

    A file that does not say where its zero points are says 0, the field's default: tensor 0 is
    taken for that only if it has a value.
    """
    details = None if tensor.quantization is None else tensor.quantization.details
    named = {field: getattr(details, field) for field in fields_of(details, "tensor")}
    if named.get("zeroPoints") == 0:
        data = model.buffers[model.subgraphs[0].tensors[0].buffer].data
        if data is None or not len(data):
            named["zeroPoints"] = LEFT_OUT
    return named


def buffers_of(model: Any, tensor: Any) -> frozenset[int]:
    """Buffers of a tensor of graph 0, and of those that its quantization names."""
    named = detail_tensors(model, tensor).values()
    others = (model.subgraphs[0].tensors[index].buffer for index in named if index >= 0)
    return frozenset([tensor.buffer, *others])


def check_indices(model: Any) -> None:
    """Follow every index once, so that a broken one is found here and not while cutting.

    Args:
        model: the schema's ``ModelT``, with a subgraph.

    Raises:
        ValueError: an index of something that the file does not have.
    """
    counts = {
        "buffer": len(model.buffers),
        "operator code": len(model.operatorCodes or ()),
        "subgraph": len(model.subgraphs),
    }
    for owner, tensors in _owners(model):
        name = type(owner).__name__
        for field, what in _FIELDS.get(name, ()):
            count = tensors if what == "tensor" else counts.get(what)
            value = getattr(owner, field)
            if value is None or count is None:  # debug metadata is not looked into
                continue
            least = LEFT_OUT if (name, field) in _OPTIONAL else 0
            for index in [value] if isinstance(value, int) else value:
                if not least <= index < count:
                    raise ValueError(f"it refers to {what} {index} of {count}")


def _owners(model: Any) -> Iterator[tuple[Any, int]]:
    """All objects with indices, and how many tensors the graph has that they belong to."""
    yield model, 0
    for metadata in model.metadata or ():
        yield metadata, 0
    for signature in model.signatureDefs or ():
        yield signature, 0
        tensors = len(model.subgraphs[signature.subgraphIndex].tensors)
        for entry in (*(signature.inputs or ()), *(signature.outputs or ())):
            yield entry, tensors
    for graph in model.subgraphs:
        tensors = len(graph.tensors)
        yield graph, tensors
        for tensor in graph.tensors:
            yield tensor, tensors
            if tensor.quantization is not None:
                yield tensor.quantization.details, tensors
        for operator in graph.operators:
            for owner in (operator, operator.builtinOptions, operator.builtinOptions2):
                yield owner, tensors
