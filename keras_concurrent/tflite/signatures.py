"""Which of a file's graphs runs: the first, unless another signature is asked for."""

from __future__ import annotations

from typing import Any

from keras_concurrent.tflite.indices import fields_of, options_of
from keras_concurrent.tflite.schema import text


def take_signature(model: Any, key: str, origin: str) -> bool:
    """Make a signature's graph the first, which is the one that runs.

    Args:
        model: the schema's ``ModelT``. It is altered.
        key: the signature's.
        origin: what to call the file in errors.

    Returns:
        Whether it was another.

    Raises:
        ValueError: the file has no such signature.
    """
    graph_of = {text(each.signatureKey): each.subgraphIndex for each in model.signatureDefs or ()}
    if key not in graph_of:
        known = ", ".join(sorted(graph_of)) or "none"
        raise ValueError(f"signature must be one of {origin}, which has {known}, got {key!r}")
    chosen = graph_of[key]
    if chosen == 0:
        return False
    graphs = model.subgraphs
    graphs[0], graphs[chosen] = graphs[chosen], graphs[0]
    moved = {0: chosen, chosen: 0}
    holders = [
        options for graph in graphs for o in graph.operators for options in options_of(o).values()
    ]
    for holder in (*holders, *model.signatureDefs):
        for field in fields_of(holder, "subgraph"):
            value = getattr(holder, field)
            if isinstance(value, int):
                setattr(holder, field, moved.get(value, value))
            elif value is not None:
                setattr(holder, field, [moved.get(int(index), int(index)) for index in value])
    return True


def other_signatures(model: Any) -> tuple[str, ...]:
    """Keys of the signatures whose graphs do not run."""
    keys = (text(each.signatureKey) for each in model.signatureDefs or () if each.subgraphIndex)
    return tuple(sorted(keys))
