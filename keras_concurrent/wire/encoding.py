"""Encoders and decoders in a .tflite's own graph, where tensors pass from board to board.

The sender's piece ends with the encoder (QUANTIZE, or CAST to float16), each receiver's piece
begins with a decoder of its own; readers on the sender's board keep the float32 tensor. What
travels is the tensor between the two, and nothing but the file knows of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_concurrent.tflite.draft import Draft, Step
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.schema import schema
from keras_concurrent.wire.format import WireFormat

# The least versions that take these types; tflite-runtime 2.14 has all of them.
_QUANTIZE, _DEQUANTIZE, _CAST = 1, 2, 1


def crossing(file: TfliteFile, homes: Mapping[int, str]) -> dict[str, tuple[str, ...]]:
    """Tensors that pass from board to board, with the boards that receive them.

    Args:
        file: the model.
        homes: board of every operator that is not constant, by its index.

    Returns:
        Receivers by tensor name, in the order in which the file writes the tensors. What the
        client sends or receives is not among them.
    """
    operators = [operator for operator in file.operators if not operator.constant]
    written_on = {name: homes[o.index] for o in operators for name in o.outputs}
    receivers: dict[str, list[str]] = {name: [] for name in written_on}
    for operator in operators:
        for name in operator.inputs:
            receiver = homes[operator.index]
            if name in written_on and receiver not in (written_on[name], *receivers[name]):
                receivers[name].append(receiver)
    return {name: tuple(sorted(boards)) for name, boards in receivers.items() if boards}


def encode(
    file: TfliteFile, homes: Mapping[int, str], formats: Mapping[str, WireFormat]
) -> tuple[TfliteFile, dict[int, str]]:
    """Add encoders and decoders.

    Args:
        file: the model.
        homes: board of every operator that is not constant, by its index.
        formats: how a tensor that passes from board to board travels, by its name; any other is
            sent as it is.

    Returns:
        The model with them, and the board of every operator of it.

    Raises:
        ValueError: a format for a tensor that is not float32, or crosses no boards.
    """
    receivers = crossing(file, homes)
    draft = Draft(file, homes)
    for name, wire_format in formats.items():
        if name not in receivers:
            raise ValueError(f"formats must name tensors that pass between boards, got {name!r}")
        if file.tensors[name].dtype != "float32":
            raise ValueError(
                f"formats must name float32 tensors, got {name!r} of {file.tensors[name].dtype}"
            )
        if wire_format.dtype != "float32":
            _encode(draft, name, wire_format, receivers[name])
    return draft.finish()


def _encode(draft: Draft, name: str, wire_format: WireFormat, receivers: tuple[str, ...]) -> None:
    index = draft.index_of(name)
    sender = draft.writers()[index]
    readers = draft.readers()[index]
    sent = draft.add_tensor(index, f"{name}/{wire_format.dtype}", wire_format.dtype.upper())
    if wire_format.dtype == "int8":
        code = schema.QuantizationParametersT()
        code.scale, code.zeroPoint = [wire_format.scale], [wire_format.zero_point]
        draft.tensors[sent].quantization = code
    at = draft.steps.index(sender) + 1
    draft.steps.insert(at, Step(_encoder(draft, wire_format, index, sent), sender.board))
    for board in receivers:
        its = [step for step in readers if step.board == board]
        received = draft.add_tensor(index, f"{name}/from_{wire_format.dtype}")
        draft.tensors[received].quantization = None
        at = draft.steps.index(its[0])
        draft.steps.insert(at, Step(_decoder(draft, wire_format, sent, received), board))
        for step in its:
            step.operator.inputs = [received if i == index else i for i in step.operator.inputs]


def _encoder(draft: Draft, wire_format: WireFormat, read: int, written: int) -> Any:
    if wire_format.dtype == "int8":
        return draft.operator("QUANTIZE", _QUANTIZE, [read], written)
    return _cast(draft, read, written)


def _decoder(draft: Draft, wire_format: WireFormat, read: int, written: int) -> Any:
    if wire_format.dtype == "int8":
        return draft.operator("DEQUANTIZE", _DEQUANTIZE, [read], written)
    return _cast(draft, read, written)


def _cast(draft: Draft, read: int, written: int) -> Any:
    operator = draft.operator("CAST", _CAST, [read], written)
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = draft.tensors[read].type, draft.tensors[written].type
    operator.builtinOptionsType = schema.BuiltinOptions.CastOptions
    operator.builtinOptions = options
    return operator
