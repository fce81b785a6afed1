"""The channel that carries messages between participants, and what arrives by it.

Here is the channel within one process, for tests; boards have `keras_concurrent.edge.link.direct`.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.link.protocol import (
    MOST_CONTENT_BYTES,
    PROTOCOL_VERSION,
    Message,
    decode,
    encode,
    with_content,
)
from keras_concurrent.errors import ProtocolError

LEASE_S = 0.5
"""After so long without a sign of life a participant is gone."""

Clock = Callable[[], float]
Largest = Callable[[str, Message], int | None]
"""The most bytes of content that a sender's message may have, judged by its text; ``None`` where
it is another client's, and forgotten."""
AtOnce = Callable[[str, Message], bool]
"""Whether a sender's message needs not wait for whoever receives."""


@dataclass(frozen=True)
class Here:
    """A participant has appeared.

    Args:
        protocol: the version that it speaks.
    """

    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Gone:
    """A participant has disappeared.

    Args:
        protocol: the version that it spoke.
    """

    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True)
class Left:
    """A client's direct link has ended: what was on its way for it nobody waits for.

    Args:
        session: the client's.
    """

    session: int


@dataclass(frozen=True)
class Malformed:
    """A participant has sent something that was refused.

    Args:
        cause: what is wrong with it.
    """

    cause: str


@dataclass(frozen=True)
class Packet:
    """What arrives: a message, or what the channel itself has to say of a participant.

    Args:
        sender: a board, or the client.
        message: what it sent, or what became of it.
        received_s: when, by the receiver's clock.
    """

    sender: str
    message: Message | Here | Gone | Left | Malformed
    received_s: float


class Channel(Protocol):
    """How one participant reaches the others."""

    largest: Largest
    """Asked before content is taken; whatever is larger is refused."""

    at_once: AtOnce
    """Asked of what comes, in the network's threads; what it takes is not received."""

    clock: Clock
    """This participant's clock, in seconds. Its zero is its own affair."""

    def send(self, receiver: str, message: Message) -> None:
        """Hand a message over; it arrives in the order of sending.

        Raises:
            TransportError: it cannot be sent.
        """

    def send_at_once(self, receiver: str, message: Message) -> bool:
        """Send a message if a direct link takes it, without ever waiting; whether it does.

        Raises:
            TransportError: it cannot be sent.
        """

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet, or ``None`` after ``timeout_s``."""

    def attended(self) -> AbstractContextManager[None]:
        """While its thread does other work for long: what comes is taken meanwhile."""

    def direct(self, receiver: str) -> bool:
        """Whether tensors to a participant go by a link of their own."""

    def unreached(self) -> tuple[str, ...]:
        """Those of the other participants who cannot be reached at the moment."""

    def refused(self) -> int:
        """How many messages were refused so far: malformed, too large, or a stranger's."""

    def close(self) -> None:
        """End it; further calls are errors."""


def any_size(sender: str, message: Message) -> int:
    """The largest content that is taken from anyone before more is known."""
    return MOST_CONTENT_BYTES


def nothing_at_once(sender: str, message: Message) -> bool:
    """All waits until it is received."""
    return False


def admitted(sender: str, text: bytes, size: int, largest: Largest) -> Message | None:
    """A message whose content is worth taking, by its text; ``None`` where it is another client's.

    Args:
        sender: whose message.
        text: all of the message but its content.
        size: how many bytes of content came with it.
        largest: says how much may be taken.

    Raises:
        ProtocolError: it is none of ours, or has too much content.
    """
    message = decode(text)
    return message if is_worth(sender, message, size, largest) else None


def is_worth(sender: str, message: Message, size: int, largest: Largest) -> bool:
    """Whether a message's content is worth taking: not where it is another client's.

    Args:
        sender: whose message.
        message: without its content.
        size: how many bytes of content came with it.
        largest: says how much may be taken.

    Raises:
        ProtocolError: it has too much content.
    """
    most = largest(sender, message) if size else 0
    if most is None:
        return False
    if size > most:
        raise ProtocolError(f"{type(message).__name__} with {size} bytes, at most {most} are taken")
    return True


class Exchange:
    """Channels within this process: what one sends is in the other's queue at once.

    Several clients may join: each of them gets what is sent to the client, as over Zenoh. It can
    lose participants and links, as a network does, for tests of what happens then.
    """

    def __init__(self) -> None:
        self._channels: list[_LocalChannel] = []
        self._cut: set[frozenset[str]] = set()

    def join(
        self, name: str, *, protocol: int = PROTOCOL_VERSION, clock: Clock = time.monotonic
    ) -> Channel:
        """The channel of a participant; the others see it appear.

        Args:
            name: a board's, which takes the place of one of this name, or the client's.
            protocol: the version that it speaks; who speaks another gets none of its messages.
            clock: the participant's.
        """
        own = _LocalChannel(self, name, protocol, clock)
        self._channels = [c for c in self._channels if c.name != name or name == CLIENT]
        for other in self._channels:
            if other.name != name and self.linked(name, other.name):
                other.notice(name, Here(protocol))
                own.notice(other.name, Here(other.protocol))
        self._channels.append(own)
        return own

    def leave(self, name: str) -> None:
        """A participant ends: the others see it disappear."""
        left = self._named(name)
        self._channels = [channel for channel in self._channels if channel.name != name]
        for other in self._channels:
            if self.linked(name, other.name):
                other.notice(name, Gone(left[0].protocol))

    def _named(self, name: str) -> list[_LocalChannel]:
        return [channel for channel in self._channels if channel.name == name]

    def cut(self, one: str, other: str, *, restore: bool = False) -> None:
        """Cut or restore the link between two; each sees the other disappear or appear."""
        (self._cut.discard if restore else self._cut.add)(frozenset((one, other)))
        for name, peer in ((one, other), (other, one)):
            protocol = self._named(peer)[0].protocol
            for channel in self._named(name):
                channel.notice(peer, Here(protocol) if restore else Gone(protocol))

    def linked(self, one: str, other: str) -> bool:
        """Whether no one has cut the link between two."""
        return frozenset((one, other)) not in self._cut

    def hand_over(
        self, sender: str, receiver: str, text: bytes, content: bytes = b"",
        protocol: int | None = None,
    ) -> None:  # fmt: skip
        """Put a message, as it travels, where it belongs, or lose it.

        Only who speaks its ``protocol`` hears it, where one is given.
        """
        for to in self._named(receiver) if self.linked(sender, receiver) else ():
            if protocol in (None, to.protocol):
                to.take(sender, text, content)

    def absent(self, name: str) -> tuple[str, ...]:
        """Whom a participant cannot reach."""
        others = {channel.name for channel in self._channels}
        return tuple(sorted(other for other in others if not self.linked(name, other)))


class _LocalChannel:
    def __init__(self, exchange: Exchange, name: str, protocol: int, clock: Clock) -> None:
        self.largest: Largest = any_size
        self.at_once: AtOnce = nothing_at_once
        self.clock = clock
        self.name, self.protocol = name, protocol
        self._exchange = exchange
        self._packets: queue.SimpleQueue[Packet] = queue.SimpleQueue()
        self._refused = 0

    def notice(self, sender: str, message: Message | Here | Gone | Malformed) -> None:
        self._packets.put(Packet(sender, message, self.clock()))

    def take(self, sender: str, text: bytes, content: bytes) -> None:
        try:
            message = admitted(sender, text, len(content), self.largest)
            if message is not None and not self.at_once(sender, message):
                self.notice(sender, with_content(message, content))
        except ProtocolError as error:
            self._refused += 1
            self.notice(sender, Malformed(str(error)))

    def send(self, receiver: str, message: Message) -> None:
        text, content = encode(message)
        self._exchange.hand_over(self.name, receiver, text, bytes(content), self.protocol)

    def send_at_once(self, receiver: str, message: Message) -> bool:
        self.send(receiver, message)
        return True

    def receive(self, timeout_s: float) -> Packet | None:
        try:
            return self._packets.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def attended(self) -> AbstractContextManager[None]:
        return nullcontext()

    def direct(self, receiver: str) -> bool:
        return True

    def unreached(self) -> tuple[str, ...]:
        return self._exchange.absent(self.name)

    def refused(self) -> int:
        return self._refused

    def close(self) -> None:
        pass
