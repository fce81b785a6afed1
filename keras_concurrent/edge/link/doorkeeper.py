"""Stands before a board's Zenoh, in a process of its own, and lets in who is of the cluster.

Zenoh's TLS listener takes every caller in, keeps those that say nothing, and pauses for a tenth of
a second after each whose handshake failed (zenoh #2685): a thousand strangers take a board out for
good. So callers wait here. Few wait at a time, the latest rather than the earliest, and those of an
address whose callers failed last of all. Who has said what begins a handshake is shown to one of
several listeners of Zenoh's, its room, and only what that makes of the caller counts: who has been
answered three times has proved a certificate, and is passed on without end; who has not in time is
sent away. The bytes are passed on as they are: both ends still prove to each other who they are.

Run as ``python -m keras_concurrent.edge.link.doorkeeper HOST PORT ROOM...``, the rooms being ports
of the loopback interface. It says ``open``, or why it cannot be, and ends with its parent.
"""

from __future__ import annotations

import resource
import selectors
import socket
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

from keras_concurrent.children import end_with_parent

OPEN = "open"
"""What is said once it listens."""

_MOST_GUESTS = 256  # who have no room yet
_GUEST_S = 2.0  # for a guest to say something, and to be given a room
_ROOM_S = 3.0  # for a handshake
_HURRIED_S = 0.5  # for a handshake while others wait
_PAUSE_S = 0.15  # for which a listener rests after a handshake that failed
_TURNS = (
    3  # answers from the room: of the handshake, to the certificate, to the opening of a session
)
_MOST_BUFFERED = 1 << 20
_READ = 1 << 16
_TICK_S = 0.02
_MOST_ADDRESSES = 1024
_BACKLOG = 1024
_HANDSHAKE = b"\x16\x03"  # by which TLS begins


@dataclass
class _Room:
    port: int
    caller: _Caller | None = None
    free_s: float = 0.0


@dataclass(eq=False)
class _End:
    """One of the two connections of a caller."""

    connection: socket.socket
    unsent: bytearray = field(default_factory=bytearray)
    over: bool = False  # it says nothing more
    mask: int = 0


@dataclass(eq=False)
class _Caller:
    address: str
    since_s: float  # that it is where it is
    outside: _End
    inside: _End | None = None
    said: bytearray = field(default_factory=bytearray)  # before it had a room
    room: _Room | None = None  # until that has let it in
    spoke_outside: bool = True
    turns: int = 0

    @property
    def knocked(self) -> bool:
        """Whether what begins a handshake has come whole."""
        return len(self.said) > 5 and len(self.said) >= 5 + int.from_bytes(self.said[3:5], "big")

    @property
    def babbles(self) -> bool:
        """Whether what has come begins no handshake."""
        return not _HANDSHAKE.startswith(bytes(self.said[: len(_HANDSHAKE)]))


class Doorkeeper:
    """Passes callers on to rooms.

    Args:
        listener: on which they call.
        rooms: ports of the loopback interface.
    """

    def __init__(self, listener: socket.socket, rooms: list[int]) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._rooms = [_Room(port) for port in rooms]
        self._guests: dict[_Caller, None] = {}  # the earliest first
        self._failures: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._deaf_until_s = 0.0

    def serve(self) -> None:
        """Work for ever."""
        while True:
            self.look()

    def look(self) -> None:
        """Do what is to be done now, or wait for a moment."""
        busy = self._guests or any(room.caller for room in self._rooms) or self._deaf_until_s
        for key, events in self._selector.select(_TICK_S if busy else None):
            if key.data is None:
                self._take_in()
            else:
                caller, end = key.data
                self._pass_on(caller, end, events)
        now = time.monotonic()
        self._send_away(now)
        self._give_rooms(now)
        if self._deaf_until_s and now >= self._deaf_until_s:
            self._deaf_until_s = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ)

    # ------------------------------------------------------------- guests

    def _take_in(self) -> None:
        for _ in range(_MOST_GUESTS):
            try:
                connection, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor is left
                self._selector.unregister(self._listener)
                self._deaf_until_s = time.monotonic() + _PAUSE_S
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = _Caller(str(address[0]), time.monotonic(), _End(connection))
            self._guests[caller] = None
            self._watch(caller, caller.outside, selectors.EVENT_READ)
            if len(self._guests) > _MOST_GUESTS:
                self._end(next(iter(self._guests)))

    def _send_away(self, now: float) -> None:
        """Those who have taken too long."""
        for caller in list(self._guests):
            if caller.since_s > now - _GUEST_S:
                break
            self._end(caller)
        patience_s = _HURRIED_S if any(guest.knocked for guest in self._guests) else _ROOM_S
        for room in self._rooms:
            if room.caller is not None and room.caller.since_s <= now - patience_s:
                self._end(room.caller)

    def _give_rooms(self, now: float) -> None:
        free = [room for room in self._rooms if room.caller is None and room.free_s <= now]
        if not free or not self._guests:
            return
        latest = [guest for guest in reversed(self._guests) if guest.knocked]
        latest.sort(key=lambda guest: self._failures[guest.address])
        for room, guest in zip(free, latest, strict=False):
            try:
                inside = socket.create_connection(("127.0.0.1", room.port), timeout=_HURRIED_S)
            except OSError:
                room.free_s = now + _PAUSE_S
                continue
            inside.setblocking(False)
            inside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            del self._guests[guest]
            guest.room, room.caller, guest.since_s = room, guest, now
            guest.inside = _End(inside, guest.said)
            self._refresh(guest)

    # ------------------------------------------------------------- bytes

    def _pass_on(self, caller: _Caller, end: _End, events: int) -> None:
        if end.mask == 0:  # ended meanwhile
            return
        try:
            if events & selectors.EVENT_WRITE:
                del end.unsent[: end.connection.send(end.unsent)]
            if events & selectors.EVENT_READ:
                self._hear(caller, end)
        except BlockingIOError:
            pass
        except OSError:
            self._end(caller)
            return
        self._refresh(caller)

    def _hear(self, caller: _Caller, end: _End) -> None:
        said = end.connection.recv(_READ)
        if not said:
            end.over = True
        elif caller.inside is None:
            caller.said += said
            if caller.babbles or len(caller.said) > _READ:
                raise ConnectionAbortedError("no caller of ours")
        else:
            outside = end is caller.outside
            if caller.room is not None:
                self._count_turn(caller, outside)
            other = caller.inside if outside else caller.outside
            if not other.unsent:
                with suppress(BlockingIOError):
                    said = said[other.connection.send(said) :]
            other.unsent += said

    def _count_turn(self, caller: _Caller, outside: bool) -> None:
        """A room answers a stranger once, a second time to send him away, and then no more."""
        caller.turns += caller.spoke_outside and not outside
        caller.spoke_outside = outside
        if caller.turns >= _TURNS and caller.room is not None:
            caller.room.caller = None
            caller.room = None
            self._failures.pop(caller.address, None)

    def _refresh(self, caller: _Caller) -> None:
        """Watch for what can be done with a caller; end it when nothing is left."""
        outside, inside = caller.outside, caller.inside
        if inside is None:
            if outside.over:
                self._end(caller)
            return
        if (outside.over and not inside.unsent) or (inside.over and not outside.unsent):
            self._end(caller)
            return
        for end, other in ((outside, inside), (inside, outside)):
            mask = selectors.EVENT_WRITE if end.unsent else 0
            if not end.over and len(other.unsent) < _MOST_BUFFERED:
                mask |= selectors.EVENT_READ
            self._watch(caller, end, mask)

    def _watch(self, caller: _Caller, end: _End, mask: int) -> None:
        if mask == end.mask:
            return
        if not end.mask:
            self._selector.register(end.connection, mask, (caller, end))
        elif not mask:
            self._selector.unregister(end.connection)
        else:
            self._selector.modify(end.connection, mask, (caller, end))
        end.mask = mask

    def _end(self, caller: _Caller) -> None:
        self._guests.pop(caller, None)
        if caller.room is not None:  # which has not let it in
            caller.room.caller, caller.room.free_s = None, time.monotonic() + _PAUSE_S
            caller.room = None
        if caller.turns < _TURNS:
            if len(self._failures) >= _MOST_ADDRESSES:
                self._failures.clear()
            self._failures[caller.address] += 1
        for end in (caller.outside, caller.inside):
            if end is not None:
                self._watch(caller, end, 0)
                end.connection.close()


def allow_descriptors() -> None:
    """As many open connections as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(host: str, port: str, *rooms: str) -> None:
    """Listen, say so, and serve."""
    end_with_parent()
    allow_descriptors()
    address = (host, int(port))
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        print(error.strerror or error, flush=True)
        return
    print(OPEN, flush=True)
    Doorkeeper(listener, [int(room) for room in rooms]).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
