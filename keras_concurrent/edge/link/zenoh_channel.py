"""The channel between boards, over Zenoh.

Every board listens on its endpoint of the cluster file and connects to the others, so tensors go
straight from board to board; nothing is discovered by multicast. Beyond loopback both ends show a
certificate, and what a participant may send is bound to the name in its own.

Participants notice each other's absence by liveliness tokens: a process that ends is gone at once,
one that is frozen or cut off after ``LEASE_S``.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import AUTHORITY, CERTIFICATE, KEY, Keys
from keras_concurrent.edge.link.transport import (
    GONE,
    HERE,
    LEASE_S,
    MOST_HEADER_BYTES,
    MOST_MESSAGE_BYTES,
    Packet,
    any_size,
)
from keras_concurrent.errors import MissingExtraError, TransportError

_MOST_WAITING = 10_000  # packets that nobody has looked at yet
_PREFIX = "keras_concurrent"


class ZenohChannel:
    """A participant's channel over Zenoh.

    Args:
        name: of this participant: a board of the cluster, or ``"client"``.
        cluster: where the boards listen.
        keys: this participant's, see `keras_concurrent.edge.link.keys.keys_of`; ``None`` within
        loopback.

    Raises:
        TransportError: the endpoint cannot be opened, for instance because its port is in use.
    """

    def __init__(self, name: str, cluster: Cluster, keys: Keys | None = None) -> None:
        try:
            import zenoh
        except ImportError as error:
            raise MissingExtraError("eclipse-zenoh", "edge") from error
        self.largest: Callable[[Packet], int] = any_size
        self._queue: queue.SimpleQueue[Packet | MemoryError] = queue.SimpleQueue()
        self._refused = 0
        own = "" if name == CLIENT else cluster.board(name).endpoint
        others = tuple(sorted({CLIENT, *(board.name for board in cluster.boards)} - {name}))
        self._others = frozenset(others)
        config = zenoh.Config()
        for key, value in _settings(name, own, cluster).items():
            config.insert_json5(key, json.dumps(value))
        for key, value in (_protection(others, keys) if keys else {}).items():
            config.insert_json5(key, json.dumps(value))
        zenoh.init_log_from_env_or("off")  # its errors come as exceptions, told in our own words
        try:
            self._session = zenoh.open(config)
        except zenoh.ZError as error:
            raise TransportError(
                f"{name} cannot listen on {own}: is the port in use? ({error})"
            ) from error
        self._subscriber = self._session.declare_subscriber(f"{_PREFIX}/to/{name}/*", self._take)
        liveliness = self._session.liveliness()
        self._watch = liveliness.declare_subscriber(
            f"{_PREFIX}/alive/*", self._notice, history=True
        )
        self._publishers = {
            receiver: self._session.declare_publisher(
                f"{_PREFIX}/to/{receiver}/{name}",
                congestion_control=zenoh.CongestionControl.BLOCK,
                express=True,  # a tensor waits for no batch to fill
            )
            for receiver in others
        }
        # Last, so that whoever sees this participant can reach it.
        self._token = liveliness.declare_token(f"{_PREFIX}/alive/{name}")

    def _take(self, sample: Any) -> None:
        """Queue a message whose header, sender and size are right; a stranger's is only counted."""
        try:
            header = sample.attachment
            if header is None or len(header) > MOST_HEADER_BYTES:
                raise TransportError("a message without a header of ours")
            packet = Packet.parse(header.to_bytes(), b"")
            # Where keys are used, the key's last part is the name in the sender's certificate.
            if packet.sender != str(sample.key_expr).rsplit("/", 1)[-1]:
                raise TransportError(f"a message in the name of {packet.sender}")
            if len(sample.payload) > self.largest(packet):
                raise TransportError(f"{packet.sender} sent too many bytes")
            if self._queue.qsize() > _MOST_WAITING:
                raise TransportError("more messages than anyone looks at")
        except TransportError:
            self._refused += 1
            return
        parts = packet.kind, packet.sender, packet.session, packet.image, packet.route, packet.name
        try:
            self._queue.put(Packet(*parts, sample.payload.to_bytes(), packet.received_s))
        except MemoryError as error:  # in Zenoh's thread nobody would hear of it
            self._queue.put(error)

    def _notice(self, sample: Any) -> None:
        name = str(sample.key_expr).rsplit("/", 1)[-1]
        if name in self._others:
            kind = HERE if str(sample.kind).endswith("PUT") else GONE
            self._queue.put(Packet(kind, name, received_s=time.monotonic()))

    def send(self, receiver: str, packet: Packet) -> None:
        """Publish a packet; see `Channel`."""
        self._publishers[receiver].put(packet.payload, attachment=packet.header())

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet; see `Channel`.

        Raises:
            MemoryError: there was no memory for one.
        """
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, MemoryError):
            raise item
        return item

    def unreached(self) -> tuple[str, ...]:
        """Others without a subscription that this participant knows of."""
        return tuple(
            name
            for name, publisher in sorted(self._publishers.items())
            if not getattr(publisher.matching_status, "matching", publisher.matching_status)
        )

    def refused(self) -> int:
        """How many messages were refused; see `Channel`."""
        return self._refused

    def close(self) -> None:
        """Close the session."""
        self._session.close()  # type: ignore[no-untyped-call] # its stub names no result


def _settings(name: str, own: str, cluster: Cluster) -> dict[str, Any]:
    """Zenoh's settings for a participant that listens on ``own``, if on anything."""
    # One link a pair: each board connects to those before it, the client to all.
    known = [board.name for board in cluster.boards]
    connect = known if name == CLIENT else known[: known.index(name)]
    return {
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
        "transport/link/tx/lease": round(LEASE_S * 1e3),
        "transport/link/rx/max_message_size": MOST_MESSAGE_BYTES + MOST_HEADER_BYTES,
    }


def _protection(others: tuple[str, ...], keys: Keys) -> dict[str, Any]:
    """Zenoh's settings for mutual TLS, and what each of the others may do by its certificate."""
    everything = ["put", "declare_subscriber", "liveliness_token", "declare_liveliness_subscriber",
                  "liveliness_query"]  # fmt: skip
    rules = [_rule("out", "egress", everything, f"{_PREFIX}/**")]
    policies = []
    for other in others:
        own = [
            _rule(f"send {other}", "ingress", ["put"], f"{_PREFIX}/to/*/{other}"),
            _rule(f"hear {other}", "ingress", ["declare_subscriber"], f"{_PREFIX}/to/{other}/*"),
            _rule(f"live {other}", "ingress", ["liveliness_token"], f"{_PREFIX}/alive/{other}"),
            _rule(f"watch {other}", "ingress", everything[3:], f"{_PREFIX}/alive/*"),
        ]
        rules += own
        policies.append({"rules": ["out", *(rule["id"] for rule in own)], "subjects": [other]})
    folder = keys.folder
    tls = "transport/link/tls"
    return {
        f"{tls}/enable_mtls": True,
        f"{tls}/verify_name_on_connect": True,
        f"{tls}/close_link_on_expiration": True,
        f"{tls}/root_ca_certificate": str(folder / AUTHORITY),
        f"{tls}/listen_certificate": str(folder / CERTIFICATE),
        f"{tls}/listen_private_key": str(folder / KEY),
        f"{tls}/connect_certificate": str(folder / CERTIFICATE),
        f"{tls}/connect_private_key": str(folder / KEY),
        "access_control": {
            "enabled": True,
            "default_permission": "deny",
            "rules": rules,
            "subjects": [{"id": other, "cert_common_names": [other]} for other in others],
            "policies": policies,
        },
    }


def _rule(name: str, flow: str, messages: list[str], key: str) -> dict[str, Any]:
    return {
        "id": name,
        "permission": "allow",
        "flows": [flow],
        "messages": messages,
        "key_exprs": [key],
    }
