"""The channel of two planes: tensors over direct links, everything else over Zenoh.

A tensor goes straight from process to process where a direct link stands, else over Zenoh, which
takes several times as long. Who calls `receive` reads the links itself: between the network and the
engine there is no other thread. While it computes for long, `attended` lets another read.

A board is here when Zenoh says so and the direct link stands, or did not within `GRACE_S`. When a
direct link breaks, what was on it is lost: the board is gone, and here again by the same rule.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections import deque
from contextlib import AbstractContextManager, suppress

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.direct_link import DirectLink, Memory, memory_of
from keras_concurrent.edge.link.frames import Framed, Session
from keras_concurrent.edge.link.intake import Intake
from keras_concurrent.edge.link.keys import Keys
from keras_concurrent.edge.link.meeting import Meeting
from keras_concurrent.edge.link.protocol import (
    PROTOCOL_VERSION,
    Echo,
    Message,
    Probe,
    Tensor,
    content_of,
)
from keras_concurrent.edge.link.transport import (
    AtOnce,
    Clock,
    Gone,
    Here,
    Largest,
    Left,
    Malformed,
    Packet,
    any_size,
    is_worth,
)
from keras_concurrent.edge.link.zenoh_channel import ZenohChannel
from keras_concurrent.errors import ProtocolError, TransportError

_log = logging.getLogger(__name__)
_DETOUR = "tensors go over Zenoh, which takes longer"
GRACE_S = 1.0
"""For so long a board whose direct link does not stand is taken for absent."""


class DirectChannel:
    """A participant's channel: direct links for tensors and probes, Zenoh for the rest.

    Args:
        name: who takes part: a board of the cluster, or the client.
        cluster: where the boards listen.
        keys: this participant's, see `keras_concurrent.edge.link.keys.keys_of`.

    Raises:
        TransportError: the endpoint cannot be opened, for instance because its port is in use.
    """

    def __init__(self, name: str, cluster: Cluster, keys: Keys | None = None) -> None:
        self._name = name
        self._largest: Largest = any_size
        self.clock: Clock = time.monotonic
        self._refused = self._session = 0  # the session of the client that this is
        self._boards: dict[str, DirectLink] = {}
        self._clients: list[DirectLink] = []
        self._met: deque[DirectLink] = deque()
        self._here: dict[str, float] = {}  # by Zenoh; until when its direct link is waited for
        self._told: set[str] = set()
        self._due = math.inf
        self._notices: deque[Packet] = deque()
        self._control_next = self._closed = False
        self._intake = Intake(self._admit, self._packed)
        self._meeting = Meeting(name, cluster, keys, self._meet, self._stranger)
        try:
            self._control = ZenohChannel(name, cluster, keys, self._intake.wake)
        except BaseException:
            self._meeting.close()
            self._intake.close()
            raise

    @property
    def largest(self) -> Largest:
        """See `keras_concurrent.edge.link.transport.Channel`."""
        return self._largest

    @largest.setter
    def largest(self, largest: Largest) -> None:
        self._largest = self._control.largest = largest

    @property
    def at_once(self) -> AtOnce:
        """See `Channel.at_once`; it is not asked of what comes by direct links."""
        return self._control.at_once

    @at_once.setter
    def at_once(self, at_once: AtOnce) -> None:
        self._control.at_once = at_once

    # ------------------------------------------------------------- sending

    def send(self, receiver: str, message: Message) -> None:
        """Send a message; see `keras_concurrent.edge.link.transport.Channel`."""
        if self.send_at_once(receiver, message):
            return
        if self._name == CLIENT:
            self._follow(getattr(message, "session", 0))
        self._control.send(receiver, message)

    def send_at_once(self, receiver: str, message: Message) -> bool:
        """Send a tensor or a probe if a direct link stands; see `Channel.send_at_once`."""
        if not isinstance(message, (Tensor, Probe, Echo)):
            return False
        if (link := self._link_to(receiver, message.session)) is not None:
            link.send(message, content_of(message))
        return link is not None

    def direct(self, receiver: str) -> bool:
        """Whether a direct link stands; see `Channel.direct`."""
        return bool(self._clients) if receiver == CLIENT else receiver in self._boards

    def _link_to(self, receiver: str, session: int) -> DirectLink | None:
        """The link to a board, or to a session's client, of which several may be there."""
        if receiver != CLIENT:
            return self._boards.get(receiver)
        return next((link for link in self._clients if link.session == session), None)

    def _follow(self, session: int) -> None:
        """Tell boards by each link whose answers are to come by it, before anything is asked."""
        if session != self._session:
            self._session = session
            for link in list(self._boards.values()):
                self._announce(link)

    def _announce(self, link: DirectLink) -> None:
        with suppress(TransportError):  # it has ended: `receive` finds out
            if self._session:
                link.send(Session(self._session))

    # ------------------------------------------------------------- receiving

    def receive(self, timeout_s: float) -> Packet | None:
        """The next packet; see `keras_concurrent.edge.link.transport.Channel`.

        Raises:
            MemoryError: there was no memory for one.
        """
        end = time.monotonic() + timeout_s
        while (packet := self._next()) is None:
            now = time.monotonic()
            self._settle(now)
            if self._notices:
                continue
            self._intake.look(min(end, self._due) - now)
            if not self._intake.packets and now >= end:
                return self._next()
        return packet

    def attended(self) -> AbstractContextManager[None]:
        """What comes meanwhile is taken; see `keras_concurrent.edge.link.transport.Channel`."""
        return self._intake.attended()

    def _next(self) -> Packet | None:
        """The next packet that is there: by turns from the links and from Zenoh."""
        if self._notices:
            return self._notices.popleft()
        self._control_next = not self._control_next
        if self._intake.packets and not self._control_next:
            return self._intake.packets.popleft()
        while (packet := self._control.receive(0.0)) is not None:
            if not isinstance(packet.message, (Here, Gone)) or self._is_news(packet):
                return packet
        return self._intake.packets.popleft() if self._intake.packets else None

    def _admit(self, link: DirectLink, message: Framed, size: int) -> Memory:
        """Memory for a message that is worth it."""
        if isinstance(message, Session):
            link.session = message.number
            return None
        try:
            if is_worth(link.peer, message, size, self._largest):
                return memory_of(size)
        except ProtocolError as error:
            self._malformed(link.peer, error)
        return None

    def _packed(self, link: DirectLink, message: Framed, content: memoryview) -> Packet:
        if isinstance(message, Tensor):
            message = Tensor(message.session, message.image, message.route, message.tensor, content)
        elif isinstance(message, Probe):
            message = Probe(message.session, message.number, content)
        return Packet(link.peer, message, self.clock())  # type: ignore[arg-type] # no Session has content

    def _malformed(self, sender: str, error: ProtocolError) -> None:
        self._stranger()
        self._intake.packets.append(Packet(sender, Malformed(str(error)), self.clock()))

    def _stranger(self) -> None:
        self._refused += 1

    # ------------------------------------------------------------- who is there

    def _meet(self, peer: str, connection: socket.socket) -> None:
        """A link was made, in a thread of the meeting's."""
        self._met.append(DirectLink(peer, connection))
        self._intake.wake()
        if self._closed:
            self._forget_met()

    def _forget_met(self) -> None:
        with suppress(IndexError):  # two threads may be at it
            while True:
                self._met.popleft().close()

    def _settle(self, now: float) -> None:
        """Take up links that were made, let go of those that ended, and say who is there."""
        while self._intake.ended:
            link, error = self._intake.ended.popleft()
            if isinstance(error, ProtocolError):
                self._malformed(link.peer, error)
            self._lose(link)
            if link.peer in self._here and link.peer not in self._boards:
                self._await(link.peer, now)
        while self._met:
            self._use(self._met.popleft(), now)
        if now >= self._due:
            self._tell(now)

    def _use(self, link: DirectLink, now: float) -> None:
        if link.peer == CLIENT:
            self._clients.append(link)
        else:
            if link.peer in self._boards:  # whose end the peer has noticed first
                self._lose(self._boards[link.peer])
            self._boards[link.peer] = link
            self._meeting.forget(link.peer)
            self._announce(link)
        self._intake.add(link)
        self._tell(now)

    def _lose(self, link: DirectLink) -> None:
        """A link has ended: what was on it is lost, as by the loss of a board."""
        self._intake.remove(link)
        if link.peer == CLIENT:
            self._clients = [other for other in self._clients if other is not link]
            if link.session and self._link_to(CLIENT, link.session) is None:
                self._notices.append(Packet(CLIENT, Left(link.session), self.clock()))
        elif self._boards.get(link.peer) is link:
            del self._boards[link.peer]
            if link.peer in self._told:
                self._told.discard(link.peer)
                self._notices.append(Packet(link.peer, Gone(), self.clock()))

    def _await(self, board: str, now: float) -> None:
        self._here[board] = now + GRACE_S
        if board not in self._boards:
            self._meeting.seek(board)
        self._tell(now)

    def _tell(self, now: float) -> None:
        """Say of boards that they are here: those reached directly, and those waited for enough."""
        for board, due in self._here.items():
            if board not in self._told and (board in self._boards or now >= due):
                self._told.add(board)
                self._notices.append(Packet(board, Here(), self.clock()))
                if board not in self._boards:
                    _log.warning("%s has no direct link to %s: %s", self._name, board, _DETOUR)
        untold = self._here.keys() - self._told
        self._due = min((self._here[board] for board in untold), default=math.inf)

    def _is_news(self, packet: Packet) -> bool:
        """Take note of what Zenoh says of a participant; whether to pass it on now."""
        name, message, now = packet.sender, packet.message, time.monotonic()
        if name == CLIENT or getattr(message, "protocol", 0) != PROTOCOL_VERSION:
            return True
        if isinstance(message, Here):
            if name not in self._here:
                self._await(name, now)
            return False
        self._here.pop(name, None)
        self._meeting.forget(name)
        told = name in self._told
        self._told -= {name}
        if name in self._boards:
            self._lose(self._boards[name])
        self._tell(now)
        return told

    def unreached(self) -> tuple[str, ...]:
        """See `keras_concurrent.edge.link.transport.Channel`."""
        return self._control.unreached()

    def refused(self) -> int:
        """How many messages were refused, and strangers; see `Channel.refused`."""
        return self._refused + self._control.refused()

    def close(self) -> None:
        """End all links."""
        self._closed = True
        self._meeting.close()
        try:
            self._control.close()
        finally:
            self._intake.close()
            self._forget_met()
