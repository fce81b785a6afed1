"""Weights and options that a .tflite keeps behind its flatbuffer, brought inside it.

Files above 2 GB must keep them so, and ai-edge-quantizer does from 256 kB on: a buffer gives its
place and size in the file instead of its bytes. A place of 0 or 1 is none: writers put a 1 there
until they know the place. Whatever is cut or rewritten keeps its bytes inside, where interpreters
that are older than such files find them, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_FIRST_PLACE = 2  # by the schema: "only valid if > 1"
_HEADER_BYTES = 8  # where the root lies, and the identifier


def bring_inside(model: Any, data: bytes, largest_bytes: int) -> bool:
    """Fill buffers and options that lie outside the flatbuffer from the file.

    Args:
        model: the schema's ``ModelT`` of the file, its indices checked. It is altered.
        data: the file's content.
        largest_bytes: what a flatbuffer can hold.

    Returns:
        Whether there were any.

    Raises:
        ValueError: a place that is none or not in the file, a weight whose place was never
            written, more bytes than a flatbuffer can hold.
    """
    _check_places_are_known(model)
    found = 0
    for index, buffer in enumerate(model.buffers):
        if buffer.data is None or not len(buffer.data):
            content = _content(data, f"buffer {index}", buffer.offset, buffer.size)
            if content is not None:
                buffer.data = content
                found += len(content)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for index, operator in enumerate(graph.operators):
            place, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
            if operator.customOptions is None:
                content = _content(data, f"the option block of operator {index}", place, size)
                if content is not None:
                    operator.customOptions = content
                    found += len(content)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
    if found > largest_bytes:  # several buffers may name the same bytes
        raise ValueError(
            f"it names {found} bytes outside the flatbuffer, which holds at most {largest_bytes}"
        )
    return found > 0


def _content(data: bytes, what: str, place: int, size: int) -> Any:
    """The bytes at a place in the file; ``None`` where none are said to lie outside."""
    if place < _FIRST_PLACE:
        if size > 1:
            raise ValueError(
                f"{what} has {size} bytes outside the flatbuffer, but no place: expected a byte of "
                f"the file from {_HEADER_BYTES} on, got {place}"
            )
        return None
    if place < _HEADER_BYTES or size < 1 or place + size > len(data):
        raise ValueError(
            f"{what} has {size} bytes from byte {place} on; expected at least one, between byte "
            f"{_HEADER_BYTES} and the end of the file at {len(data)}"
        )
    return np.frombuffer(data, np.uint8, size, place)


def _check_places_are_known(model: Any) -> None:
    """Refuse a file whose writer stopped before it wrote where a weight lies."""
    for graph in model.subgraphs:
        known = {*graph.inputs, *(i for o in graph.operators for i in o.outputs)}
        read = {*graph.outputs, *(i for o in graph.operators for i in o.inputs)} - known
        for index in sorted(i for i in read if i >= 0):
            tensor = graph.tensors[index]
            buffer = model.buffers[tensor.buffer]
            has_bytes = buffer.data is not None and len(buffer.data)
            if buffer.offset == 1 and not has_bytes and not tensor.isVariable:
                raise ValueError(
                    f"buffer {tensor.buffer} is to lie outside the flatbuffer, but its place was "
                    "never written: it is still 1"
                )
