"""Frames: how tensors and probes travel on a direct link, see `keras_concurrent.edge.link.direct`.

A frame is a header of `HEADER_BYTES` and the content that it announces. The header is all numbers:
whose session, which image, which route, and the tensor's number, which both ends know by the
bundle's manifest. Little-endian::

    2  mark        says that this is one of ours
    1  version     of the protocol
    1  kind        tensor, probe, echo, session
    4  tensor      its number in the manifest; 0 for the other kinds
    4  route       0 for the other kinds
    4  size        bytes of content that follow
    8  session
    8  image       or the number of a probe and its echo
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from keras_concurrent.edge.link.protocol import (
    MOST_CONTENT_BYTES,
    PROTOCOL_VERSION,
    Echo,
    Probe,
    Tensor,
)
from keras_concurrent.errors import ProtocolError

_MARK = 0x634B
_LAYOUT = struct.Struct("<HBBIIIQQ")
HEADER_BYTES = _LAYOUT.size
_TENSOR, _PROBE, _ECHO, _SESSION = range(1, 5)
_MOST_NUMBER = (1 << 32) - 1


@dataclass(frozen=True)
class Session:
    """On this link go the answers of a client's session.

    Args:
        number: of the client.
    """

    number: int


Framed = Tensor | Probe | Echo | Session
"""What may travel in a frame."""


def header(message: Framed, size: int) -> bytes:
    """The header of a message whose content has so many bytes.

    Raises:
        ProtocolError: a number is too large for its place.
    """
    kind, tensor, route = _PROBE, 0, 0
    if isinstance(message, Tensor):
        kind, tensor, route = _TENSOR, message.tensor, message.route
        session, image = message.session, message.image
    elif isinstance(message, Session):
        kind, session, image = _SESSION, message.number, 0
    else:
        kind = _PROBE if isinstance(message, Probe) else _ECHO
        session, image = message.session, message.number
    try:
        return _LAYOUT.pack(
            _MARK, PROTOCOL_VERSION, kind, tensor, route, size, session, image
        )  # fmt: skip
    except struct.error:
        raise ProtocolError(f"a number of {message!r:.200} is too large for a frame") from None


def read_header(content: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Framed, int]:
    """The message that a header announces, without its content, and how many bytes of it follow.

    Raises:
        ProtocolError: it is no header of this protocol's: where the next one begins is unknown.
    """
    mark, version, kind, tensor, route, size, session, image = _LAYOUT.unpack_from(content, offset)
    if mark != _MARK or version != PROTOCOL_VERSION:
        raise ProtocolError(
            f"expected a frame of protocol {PROTOCOL_VERSION}, got mark {mark:#06x}, "
            f"version {version}"
        )
    if size > MOST_CONTENT_BYTES:
        raise ProtocolError(f"a frame with {size} bytes, at most {MOST_CONTENT_BYTES} are taken")
    if kind == _TENSOR:
        return Tensor(session, image, route, tensor), size
    if tensor or route or (size and kind != _PROBE) or (image and kind == _SESSION):
        raise ProtocolError(f"a frame of kind {kind} with what it cannot have")
    if kind == _PROBE:
        return Probe(session, image), size
    if kind == _ECHO:
        return Echo(session, image), size
    if kind == _SESSION:
        return Session(session), size
    raise ProtocolError(f"a frame of the unknown kind {kind}")
