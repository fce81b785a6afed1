"""The channel between boards, over Zenoh.

It carries who is there, questions and answers, and tensors where no direct link stands, see
`keras_concurrent.edge.link.direct`. Every board listens on its endpoint of the cluster file and
connects to the others; nothing is discovered by multicast. Beyond loopback both ends show a
certificate, and what a participant may send is bound to the name in its own; and who calls meets a
doorkeeper before Zenoh, see `keras_concurrent.edge.link.door`.

Participants notice each other's absence by liveliness tokens: a process that ends is gone at once,
one that is frozen or cut off after ``LEASE_S``.
"""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.door import Door
from keras_concurrent.edge.link.keys import Keys, protocol_and_host
from keras_concurrent.edge.link.protocol import (
    MOST_TEXT_BYTES,
    PROTOCOL_VERSION,
    Message,
    encode,
    with_content,
)
from keras_concurrent.edge.link.transport import (
    AtOnce,
    Clock,
    Gone,
    Here,
    Largest,
    Malformed,
    Packet,
    admitted,
    any_size,
    nothing_at_once,
)
from keras_concurrent.edge.link.zenoh_settings import ALIVE, TO, protection, settings
from keras_concurrent.errors import MissingExtraError, ProtocolError, TransportError

if TYPE_CHECKING:
    import zenoh

_TRIES = 3
_MOST_WAITING = 10_000  # packets that nobody has looked at yet


class ZenohChannel:
    """A participant's channel over Zenoh.

    Args:
        name: who takes part: a board of the cluster, or the client.
        cluster: where the boards listen.
        keys: this participant's, see `keras_concurrent.edge.link.keys.keys_of`; ``None`` within
            loopback.
        wake: called, in Zenoh's threads, when something has come.

    Raises:
        TransportError: the endpoint cannot be opened, for instance because its port is in use.
    """

    def __init__(
        self, name: str, cluster: Cluster, keys: Keys | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        try:
            import zenoh
        except ImportError as error:
            raise MissingExtraError("eclipse-zenoh", "edge") from error
        self.largest: Largest = any_size
        self.at_once: AtOnce = nothing_at_once
        self.clock: Clock = time.monotonic
        self._queue: queue.SimpleQueue[Packet | MemoryError] = queue.SimpleQueue()
        self._wake = wake
        self._refused = 0
        own = "" if name == CLIENT else cluster.board(name).endpoint
        self._others = frozenset({CLIENT, *(board.name for board in cluster.boards)} - {name})
        zenoh.init_log_from_env_or("off")  # its errors come as exceptions, told in our own words
        self._session: zenoh.Session | None = None
        self._publishers: dict[str, zenoh.Publisher] = {}
        self._door: Door | None = None
        try:
            session = self._session = self._listening(name, own, cluster, keys)
            with _in_our_words(f"{name} cannot take part"):
                self._declare(name, session)
        except BaseException:
            self.close()
            raise

    def _listening(self, name: str, own: str, cluster: Cluster, keys: Keys | None) -> zenoh.Session:
        fault = f"{name} cannot listen on {own}: is the port in use?"
        for more in reversed(range(_TRIES)):
            if keys and own:
                self._door = _door(name, own, fault)
            try:
                with _in_our_words(fault):
                    return self._open(name, own, cluster, keys)
            except TransportError:
                if self._door is None or not more:
                    raise
                self._door.close()  # another process may have taken the port of a room meanwhile
        raise AssertionError("the last try returns or raises")

    def _open(self, name: str, own: str, cluster: Cluster, keys: Keys | None) -> zenoh.Session:
        import zenoh

        listen = [own] if own else []
        if self._door is not None:
            listen = [f"tls/127.0.0.1:{port}" for port in self._door.rooms]
        config = zenoh.Config()
        for key, value in settings(name, listen, cluster).items():
            config.insert_json5(key, json.dumps(value))
        for key, value in (protection(sorted(self._others), keys) if keys else {}).items():
            config.insert_json5(key, json.dumps(value))
        return zenoh.open(config)

    def _declare(self, name: str, session: zenoh.Session) -> None:
        import zenoh

        self._subscriber = session.declare_subscriber(f"{TO}/{name}/*", self._take)
        liveliness = session.liveliness()
        self._watches = [
            liveliness.declare_subscriber(key, self._notice, history=True)
            for key in (f"{ALIVE}/*/*", f"{ALIVE}/*")  # protocol 1 does not say its version
        ]
        self._publishers = {
            receiver: session.declare_publisher(
                f"{TO}/{receiver}/{name}",
                congestion_control=zenoh.CongestionControl.BLOCK,
                express=True,  # a tensor waits for no batch to fill
            )
            for receiver in sorted(self._others)
        }
        # Last, so that whoever sees this participant can reach it.
        self._token = liveliness.declare_token(f"{ALIVE}/{name}/{PROTOCOL_VERSION}")

    def _take(self, sample: Any) -> None:
        """Queue a message of a size that is right; a stranger's, or one too many, is only counted.

        Where keys are used, the last part of the key is the name in the sender's certificate.
        """
        sender = str(sample.key_expr).rsplit("/", 1)[-1]
        if sender not in self._others or self._queue.qsize() > _MOST_WAITING:
            self._refused += 1
            return
        now = self.clock()
        try:
            text, content = sample.attachment, sample.payload
            if text is None or len(text) > MOST_TEXT_BYTES:
                raise ProtocolError("a message without a text of ours")
            message = admitted(sender, text.to_bytes(), len(content), self.largest)
            if message is None or self.at_once(sender, message):
                return
            if len(content):
                message = with_content(message, content.to_bytes())
            self._put(Packet(sender, message, now))
        except ProtocolError as error:
            self._refused += 1
            self._put(Packet(sender, Malformed(str(error)), now))
        except MemoryError as error:  # in Zenoh's thread nobody would hear of it
            self._put(error)

    def _notice(self, sample: Any) -> None:
        name, *version = str(sample.key_expr).removeprefix(f"{ALIVE}/").split("/")
        if name in self._others and all(part.isdecimal() for part in version):
            protocol = int(version[0]) if version else 1
            here = str(sample.kind).endswith("PUT")
            message = Here(protocol) if here else Gone(protocol)
            self._put(Packet(name, message, self.clock()))

    def _put(self, item: Packet | MemoryError) -> None:
        self._queue.put(item)
        self._wake()

    def send(self, receiver: str, message: Message) -> None:
        """Publish a message; see `keras_concurrent.edge.link.transport.Channel`."""
        text, content = encode(message)
        with _in_our_words(f"nothing can be sent to {receiver}"):
            self._publishers[receiver].put(bytes(content), attachment=text)

    def send_at_once(self, receiver: str, message: Message) -> bool:
        """Never: sending may wait for Zenoh."""
        return False

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet; see `keras_concurrent.edge.link.transport.Channel`.

        Raises:
            MemoryError: there was no memory for one.
        """
        if timeout_s <= 0.0 and self._queue.empty():
            return None
        try:
            item = self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, MemoryError):
            raise item
        return item

    def attended(self) -> AbstractContextManager[None]:
        """Zenoh's threads take what comes at any time."""
        return nullcontext()

    def direct(self, receiver: str) -> bool:
        """Never."""
        return False

    def unreached(self) -> tuple[str, ...]:
        """Others without a subscription that this participant knows of."""
        with _in_our_words("it cannot be told who is reached"):
            return tuple(
                name
                for name, publisher in sorted(self._publishers.items())
                if not getattr(publisher.matching_status, "matching", publisher.matching_status)
            )

    def refused(self) -> int:
        """How many messages were refused; see `keras_concurrent.edge.link.transport.Channel`."""
        return self._refused

    def close(self) -> None:
        """Close the session."""
        try:
            if self._session is not None:
                self._undeclare()
                with _in_our_words("the links cannot be closed"):
                    self._session.close()  # type: ignore[no-untyped-call] # its stub names no result
        finally:
            if self._door is not None:
                self._door.close()

    def _undeclare(self) -> None:
        """Let publishers go: closing the session leaves kilobytes of each."""
        import zenoh

        for publisher in self._publishers.values():
            with suppress(zenoh.ZError):
                publisher.undeclare()  # type: ignore[no-untyped-call] # its stub names no result


@contextmanager
def _in_our_words(fault: str) -> Iterator[None]:
    """Raise Zenoh's errors as this package's: nobody else knows of Zenoh."""
    import zenoh

    try:
        yield
    except zenoh.ZError as error:
        raise TransportError(f"{fault} ({error})") from error


def _door(name: str, own: str, fault: str) -> Door:
    try:
        return Door(name, protocol_and_host(own)[1], int(own.rpartition(":")[2]))
    except TransportError as error:
        raise TransportError(f"{fault} ({error})") from error
