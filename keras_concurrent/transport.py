"""The channel between boards: in this process for tests, over Zenoh for boards.

A packet has a small header and a payload. The header travels beside the payload as JSON; nothing
is ever unpickled. With Zenoh every board listens on its endpoint of the cluster file and connects
to the others, so tensors go straight from board to board; nothing is discovered by multicast.
"""

from __future__ import annotations

import json
import queue
import time
from dataclasses import dataclass
from typing import Any, Protocol

from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.errors import MissingExtraError, TransportError

KINDS = ("tensor", "ping", "pong", "trace", "timeline", "error")
_PREFIX = "keras_concurrent"


@dataclass(frozen=True)
class Packet:
    """What travels.

    Args:
        kind: one of ``KINDS``.
        sender: a board, or ``"client"``.
        session: of the client that asks; a newer one makes older images stale.
        image: number of the image in its session.
        name: of the tensor.
        payload: the tensor's bytes, or JSON for the other kinds.
        received_s: when it came, by `time.monotonic`; set by the receiving channel.
    """

    kind: str
    sender: str
    session: int
    image: int = 0
    name: str = ""
    payload: bytes = b""
    received_s: float = 0.0

    def header(self) -> bytes:
        """All but the payload, as JSON."""
        return json.dumps(
            [self.kind, self.sender, self.session, self.image, self.name], separators=(",", ":")
        ).encode()

    @classmethod
    def parse(cls, header: bytes, payload: bytes) -> Packet:
        """Read what `header` wrote.

        Raises:
            TransportError: it is something else.
        """
        try:
            kind, sender, session, image, name = json.loads(header)
        except (ValueError, TypeError) as error:
            raise TransportError(f"expected a packet's header, got {header[:80]!r}") from error
        numbers = isinstance(session, int) and isinstance(image, int)
        if kind not in KINDS or not isinstance(sender, str) or not isinstance(name, str):
            raise TransportError(f"expected a packet's header, got {header[:80]!r}")
        if not numbers:
            raise TransportError(f"expected a packet's header, got {header[:80]!r}")
        return cls(kind, sender, session, image, name, payload, time.monotonic())


class Channel(Protocol):
    """How one participant reaches the others."""

    def send(self, receiver: str, packet: Packet) -> None:
        """Hand a packet over; it arrives in the order of sending."""

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet, or ``None`` after ``timeout_s``."""

    def unreached(self) -> tuple[str, ...]:
        """Those of the receivers who cannot be reached at the moment."""

    def close(self) -> None:
        """End it; further calls are errors."""


class Exchange:
    """Channels within this process: what one sends is in the other's queue at once."""

    def __init__(self) -> None:
        self._queues: dict[str, queue.SimpleQueue[Packet]] = {}

    def join(self, name: str) -> Channel:
        """The channel of a participant."""
        self._queues.setdefault(name, queue.SimpleQueue())
        return _LocalChannel(self._queues, name)


class _LocalChannel:
    def __init__(self, queues: dict[str, queue.SimpleQueue[Packet]], name: str) -> None:
        self._queues = queues
        self._own = queues[name]

    def send(self, receiver: str, packet: Packet) -> None:
        self._queues[receiver].put(Packet.parse(packet.header(), packet.payload))

    def receive(self, timeout_s: float) -> Packet | None:
        try:
            return self._own.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def unreached(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


class ZenohChannel:
    """A participant's channel over Zenoh.

    Args:
        name: of this participant: a board of the cluster, or ``"client"``.
        cluster: where the boards listen.
        receivers: whom this participant sends to.

    Raises:
        TransportError: the endpoint cannot be opened, for instance because its port is in use.
    """

    def __init__(self, name: str, cluster: Cluster, receivers: tuple[str, ...]) -> None:
        try:
            import zenoh
        except ImportError as error:
            raise MissingExtraError("eclipse-zenoh", "edge") from error
        self._queue: queue.SimpleQueue[Packet] = queue.SimpleQueue()
        own = "" if name == CLIENT else cluster.board(name).endpoint
        # One link a pair: each board connects to those before it, the client to all.
        known = [board.name for board in cluster.boards]
        connect = known if name == CLIENT else known[: known.index(name)]
        settings: dict[str, Any] = {
            "mode": "peer",
            "listen/endpoints": [own] if own else [],
            "listen/exit_on_failure": True,
            "connect/endpoints": [cluster.board(other).endpoint for other in connect],
            "connect/timeout_ms": -1,
            "connect/exit_on_failure": False,
            "connect/retry": {"period_init_ms": 50, "period_max_ms": 500},
            "scouting/multicast/enabled": False,
            "scouting/gossip/enabled": False,
            "transport/shared_memory/enabled": False,
        }
        config = zenoh.Config()
        for key, value in settings.items():
            config.insert_json5(key, json.dumps(value))
        zenoh.init_log_from_env_or("off")  # its errors come as exceptions, told in our own words
        try:
            self._session = zenoh.open(config)
        except zenoh.ZError as error:
            raise TransportError(
                f"{name} cannot listen on {own}: is the port in use? ({error})"
            ) from error
        self._publishers = {
            receiver: self._session.declare_publisher(
                f"{_PREFIX}/{receiver}",
                congestion_control=zenoh.CongestionControl.BLOCK,
                express=True,  # a tensor waits for no batch to fill
            )
            for receiver in receivers
        }
        self._subscriber = self._session.declare_subscriber(f"{_PREFIX}/{name}", self._take)

    def _take(self, sample: Any) -> None:
        header = sample.attachment.to_bytes() if sample.attachment is not None else b""
        try:
            self._queue.put(Packet.parse(header, sample.payload.to_bytes()))
        except TransportError:
            return  # a stranger's message is no reason to stop

    def send(self, receiver: str, packet: Packet) -> None:
        """Publish a packet; see `Channel`."""
        self._publishers[receiver].put(packet.payload, attachment=packet.header())

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet; see `Channel`."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def unreached(self) -> tuple[str, ...]:
        """Receivers without a subscription that this participant knows of."""
        return tuple(
            name
            for name, publisher in sorted(self._publishers.items())
            if not getattr(publisher.matching_status, "matching", publisher.matching_status)
        )

    def close(self) -> None:
        """Close the session."""
        self._session.close()  # type: ignore[no-untyped-call] # its stub names no result
