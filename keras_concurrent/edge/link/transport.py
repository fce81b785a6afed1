"""Packets, and the channel that carries them between participants.

A packet has a small header and a payload. The header travels beside the payload as JSON; nothing
is ever unpickled. Here is the channel within one process, for tests; boards have
`keras_concurrent.edge.link.zenoh_channel`.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keras_concurrent.errors import TransportError

KINDS = ("tensor", "error", "drop", "links", "ask", "answer", "probe", "echo")
HERE, GONE = "here", "gone"
"""Kinds of packets that the channel itself makes, when a participant appears or disappears."""

LEASE_S = 0.5
"""After so long without a sign of life a participant is gone."""

MOST_HEADER_BYTES = 1024
MOST_ANSWER_BYTES = 1 << 24
MOST_PROBE_BYTES = 1 << 20
MOST_MESSAGE_BYTES = 1 << 28


@dataclass(frozen=True)
class Packet:
    """What travels.

    Args:
        kind: one of ``KINDS``, or ``HERE`` or ``GONE``.
        sender: a board, or ``"client"``.
        session: of the client that asks; a newer one makes older images stale.
        image: number of the image, or of the question, in its session.
        route: number of the route that the image takes.
        name: of the tensor, or what is asked.
        payload: the tensor's bytes, or JSON for the other kinds.
        received_s: when it came, by `time.monotonic`; set by the receiving channel.
    """

    kind: str
    sender: str
    session: int = 0
    image: int = 0
    route: int = 0
    name: str = ""
    payload: bytes = b""
    received_s: float = 0.0

    def header(self) -> bytes:
        """All but the payload, as JSON."""
        parts = [self.kind, self.sender, self.session, self.image, self.route, self.name]
        return json.dumps(parts, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, header: bytes, payload: bytes) -> Packet:
        """Read what `header` wrote.

        Raises:
            TransportError: it is something else.
        """
        try:
            if len(header) > MOST_HEADER_BYTES:
                raise ValueError("too long")
            kind, sender, *numbers, name = json.loads(header)
            if len(numbers) != 3 or not all(type(n) is int and 0 <= n < 1 << 64 for n in numbers):
                raise ValueError("three whole numbers are missing")
            if kind not in KINDS or not isinstance(sender, str) or not isinstance(name, str):
                raise ValueError("an unknown kind")
        except (ValueError, TypeError, RecursionError) as error:
            raise TransportError(f"expected a packet's header, got {header[:80]!r}") from error
        session, image, route = numbers
        return cls(kind, sender, session, image, route, name, payload, time.monotonic())


class Channel(Protocol):
    """How one participant reaches the others."""

    largest: Callable[[Packet], int]
    """The most bytes that a packet of this header may carry; asked before they are taken."""

    def send(self, receiver: str, packet: Packet) -> None:
        """Hand a packet over; it arrives in the order of sending."""

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet, or ``None`` after ``timeout_s``."""

    def unreached(self) -> tuple[str, ...]:
        """Those of the other participants who cannot be reached at the moment."""

    def refused(self) -> int:
        """How many messages were refused so far: malformed, too large, or not the sender's own."""

    def close(self) -> None:
        """End it; further calls are errors."""


def any_size(packet: Packet) -> int:
    """The largest packet that is taken from anyone before more is known."""
    return MOST_MESSAGE_BYTES if packet.kind == "tensor" else MOST_ANSWER_BYTES


class Exchange:
    """Channels within this process: what one sends is in the other's queue at once.

    It can lose participants and links, as a network does, for tests of what happens then.
    """

    def __init__(self) -> None:
        self._queues: dict[str, queue.SimpleQueue[Packet]] = {}
        self._cut: set[frozenset[str]] = set()

    def join(self, name: str) -> Channel:
        """The channel of a participant; the others see it appear."""
        own = self._queues[name] = queue.SimpleQueue()
        for other in list(self._queues):
            if other != name and self.linked(name, other):
                self._queues[other].put(Packet(HERE, name))
                own.put(Packet(HERE, other))
        return _LocalChannel(self, name, own)

    def leave(self, name: str) -> None:
        """A participant ends: the others see it disappear."""
        del self._queues[name]
        for other, box in self._queues.items():
            if self.linked(name, other):
                box.put(Packet(GONE, name))

    def cut(self, one: str, other: str, *, restore: bool = False) -> None:
        """Cut or restore the link between two; each sees the other disappear or appear."""
        (self._cut.discard if restore else self._cut.add)(frozenset((one, other)))
        for name, peer in ((one, other), (other, one)):
            self._queues[name].put(Packet(HERE if restore else GONE, peer))

    def linked(self, one: str, other: str) -> bool:
        """Whether no one has cut the link between two."""
        return frozenset((one, other)) not in self._cut

    def hand_over(self, sender: str, receiver: str, packet: Packet) -> None:
        """Put a packet where it belongs, or lose it."""
        if receiver in self._queues and self.linked(sender, receiver):
            self._queues[receiver].put(Packet.parse(packet.header(), packet.payload))

    def absent(self, name: str) -> tuple[str, ...]:
        """Whom a participant cannot reach."""
        return tuple(sorted(other for other in self._queues if not self.linked(name, other)))


class _LocalChannel:
    def __init__(self, exchange: Exchange, name: str, own: queue.SimpleQueue[Packet]) -> None:
        self.largest: Callable[[Packet], int] = any_size
        self._exchange, self._name, self._own = exchange, name, own
        self._refused = 0

    def send(self, receiver: str, packet: Packet) -> None:
        self._exchange.hand_over(self._name, receiver, packet)

    def receive(self, timeout_s: float) -> Packet | None:
        try:
            packet = self._own.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if len(packet.payload) > self.largest(packet):
            self._refused += 1
            return None
        return packet

    def unreached(self) -> tuple[str, ...]:
        return self._exchange.absent(self._name)

    def refused(self) -> int:
        return self._refused

    def close(self) -> None:
        pass
