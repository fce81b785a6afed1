"""The batch fixed at one: what a file computes from shapes alone becomes constants.

A file with an open batch computes the shapes of its reshapes while it runs (SHAPE, STRIDED_SLICE,
PACK and the like). tflite-runtime then runs all that follows with other, slower kernels, but a
piece that begins later would not: pieces and whole would differ in the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_concurrent.interpreter import Segment
from keras_concurrent.tflite.piece import Piece
from keras_concurrent.tflite.schema import aligned, kind_of, shape_of, type_of
from keras_concurrent.tflite.wholeness import moving_tensors


def fold_shapes(model: Any) -> bool:
    """Replace all operators that compute integers from shapes by the constants they give.

    Args:
        model: the schema's ``ModelT`` of a file that can be cut, its tensors' names unique. It is
            altered.

    Returns:
        Whether there were any.

    Raises:
        BundleError: the interpreter refuses such an operator.
    """
    graph = model.subgraphs[0]
    moving = moving_tensors(model)
    folded = [
        operator
        for operator in graph.operators
        if moving.isdisjoint(operator.outputs)
        and all(type_of(graph.tensors[i]) in ("int32", "int64") for i in operator.outputs)
    ]
    shapes = [operator for operator in folded if kind_of(model, operator) == "SHAPE"]
    if not shapes:
        return False
    for operator in shapes:
        shape = shape_of(graph.tensors[operator.inputs[0]])
        _make_constant(model, operator.outputs[0], np.array(shape))
    others = [operator for operator in folded if kind_of(model, operator) != "SHAPE"]
    if others:
        piece = Piece(model)
        for operator in others:
            piece.add(operator)
        written = [index for operator in others for index in operator.outputs]
        piece.graph.inputs, piece.graph.outputs = [], [piece.place(index) for index in written]
        for index, value in zip(written, Segment(piece.packed()).run([]), strict=True):
            _make_constant(model, index, value)
    graph.operators = [operator for operator in graph.operators if operator not in folded]
    return True


def _make_constant(model: Any, index: int, value: Any) -> None:
    tensor = model.subgraphs[0].tensors[index]
    tensor.buffer = len(model.buffers)
    model.buffers.append(
        aligned(np.ascontiguousarray(value, type_of(tensor)).reshape(-1).view("u1"))
    )
