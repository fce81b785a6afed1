"""The protocol: all that a client and its boards say to each other.

::

    Tensor   anyone -> anyone   a tensor of an image, on the image's route
    Failed   board -> client    an image goes no further
    Drop     client -> board    nobody waits for an image any more
    Links    board -> client    whom the board does not reach
    Ask      client -> board    a question, see `keras_concurrent.edge.link.questions`
    Answer   board -> client    what came of it, see `keras_concurrent.edge.link.answers`
    Probe    anyone -> anyone   come back at once, to measure the link
    Echo     anyone -> anyone   that

A message is a short JSON text, and beside it the bytes of its ``content`` if it has one. The text
says all that must be known before content is taken: whose tensor, which file. Nothing is ever
unpickled, and a text that is not exactly as the classes here say is refused. On a direct link
tensors, probes and echoes travel without a text, see `keras_concurrent.edge.link.frames`.

Both ends have the same `PROTOCOL_VERSION`, or nothing to say to each other but that: participants
announce theirs when they meet. Whoever changes anything that travels raises it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any

from keras_concurrent.edge.link import codec
from keras_concurrent.edge.link.answers import Result
from keras_concurrent.edge.link.questions import AnyQuestion
from keras_concurrent.errors import ProtocolError

PROTOCOL_VERSION = 5
"""1 was spoken before participants announced a version, 2 before routes said who sends what, 3
before tensors had numbers and links of their own, 4 before boards served several clients."""

SAME_VERSION = "install the same version of keras-concurrent on both"
"""What to do where versions differ."""

MOST_IMAGES = 32
"""Images of one client that a board works on at a time; one more, and the oldest is dropped."""

MOST_TEXT_BYTES = 1 << 22
MOST_PROBE_BYTES = 1 << 20
MOST_MANIFEST_BYTES = 1 << 24
MOST_CONTENT_BYTES = 1 << 28


def new_session() -> int:
    """By what boards tell one client from the others: drawn, so that no two have the same."""
    return secrets.randbits(63) + 1


@dataclass(frozen=True)
class Tensor:
    """A tensor of an image.

    Args:
        session: number of the client whose image it is.
        image: number of the image in its session.
        route: number of the route that the image takes.
        tensor: its number: its place among the sorted names of the bundle's manifest.
        content: its values, as the bundle's manifest describes them.
    """

    session: int
    image: int
    route: int
    tensor: int
    content: bytes | memoryview = b""


@dataclass(frozen=True)
class Failed:
    """A board could not do its part of an image.

    Args:
        session: number of the client whose image it is.
        image: number of the image in its session.
        segment: that failed; empty where none was begun.
        cause: why, in words for a person.
    """

    session: int
    image: int
    segment: str
    cause: str


@dataclass(frozen=True)
class Drop:
    """Nobody waits for an image any more.

    Args:
        session: number of the client whose image it was.
        image: number of the image in its session.
    """

    session: int
    image: int


@dataclass(frozen=True)
class Links:
    """Whom a board does not reach, told whenever that changes.

    Args:
        unreached: names of the other boards.
    """

    unreached: tuple[str, ...]


@dataclass(frozen=True)
class Ask:
    """A client's question.

    Args:
        session: number of the client that asks.
        number: by which the answer is known.
        question: what is asked.
    """

    session: int
    number: int
    question: AnyQuestion


@dataclass(frozen=True)
class Answer:
    """The answer to a question.

    Args:
        session: number of the client that asked.
        number: the question's.
        result: what the question is answered by, or a refusal.
    """

    session: int
    number: int
    result: Result


@dataclass(frozen=True)
class Probe:
    """To be echoed at once.

    Args:
        session: number of the client that measures; 0 between boards.
        number: by which the echo is known.
        content: as many bytes as are to be measured.
    """

    session: int
    number: int
    content: bytes | memoryview = b""


@dataclass(frozen=True)
class Echo:
    """A probe has arrived.

    Args:
        session: the probe's.
        number: the probe's.
    """

    session: int
    number: int


Message = Tensor | Failed | Drop | Links | Ask | Answer | Probe | Echo
"""All that travels."""


def encode(message: Message) -> tuple[bytes, bytes | memoryview]:
    """A message's text, and its content."""
    return codec.to_json(Message, message), content_of(message)


def decode(text: bytes) -> Message:
    """What a text says; content, if it has any, comes by `with_content`.

    Raises:
        ProtocolError: it is none of this protocol's.
    """
    if len(text) > MOST_TEXT_BYTES:
        raise ProtocolError(f"a message's text must be at most {MOST_TEXT_BYTES} bytes")
    try:
        message: Message = codec.from_json(Message, text)
    except ValueError as error:
        raise ProtocolError(f"a message that is none of ours: {error}") from error
    return message


def content_of(message: object) -> bytes | memoryview:
    """The bytes that travel beside a message's text."""
    bearer = message.question if isinstance(message, Ask) else message
    content: bytes | memoryview = getattr(bearer, "content", b"")
    return content


def with_content(message: Message, content: bytes) -> Message:
    """A message with the bytes that came beside its text.

    Raises:
        ProtocolError: it is a message that has none.
    """
    if not content:
        return message
    bearer: Any = message.question if isinstance(message, Ask) else message
    if not hasattr(bearer, "content"):
        kind = type(bearer).__name__
        raise ProtocolError(f"{kind} has no content, and {len(content)} bytes came with it")
    whole = replace(bearer, content=content)
    return replace(message, question=whole) if isinstance(message, Ask) else whole


def version_fault(other: str, spoken: int, own: str) -> str:
    """What is wrong between two who speak different versions, and what to do about it.

    Args:
        other: who speaks another version, such as ``"board pi1"``.
        spoken: that version.
        own: who speaks this one, such as the client.
    """
    return f"{other} speaks protocol {spoken}, this {own} {PROTOCOL_VERSION}: {SAME_VERSION}"
