"""The body of a request, never more of it than this server takes."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from keras_concurrent.serve.service import UnservedError

MOST_BODY_BYTES = 64 << 20
_WINDOWS = {"gzip": 31, "deflate": 15}  # as zlib names the formats of these encodings


async def read_body(request: Request) -> memoryview:
    """All of a body, decompressed.

    Raises:
        UnservedError: it is too large, or compressed in another way.
        ValueError: it is damaged.
    """
    said = request.headers.get("content-length", "0")
    if said.isdigit() and int(said) > MOST_BODY_BYTES:
        raise _too_large()
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > MOST_BODY_BYTES:
            raise _too_large()
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        body = _decompressed(body, encoding)
    return memoryview(body)


def _decompressed(body: bytes, encoding: str) -> bytes:
    if encoding not in _WINDOWS:
        raise UnservedError(
            415, f"Content-Encoding must be {' or '.join(_WINDOWS)}, got {encoding!r}"
        )
    inflating = zlib.decompressobj(_WINDOWS[encoding])
    try:
        content = inflating.decompress(body, MOST_BODY_BYTES)
    except zlib.error as error:
        raise ValueError(f"the body is not {encoding} as its header says: {error}") from error
    if inflating.unconsumed_tail:
        raise _too_large()
    if not inflating.eof:
        raise ValueError(f"the body ends before its {encoding} does")
    return content


def _too_large() -> UnservedError:
    return UnservedError(413, f"a body must be at most {MOST_BODY_BYTES} bytes")
