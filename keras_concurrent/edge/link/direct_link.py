"""One direct link: a TCP connection, with TLS beyond loopback, that carries frames both ways.

Nothing here waits: reading takes what has come, sending gives what the connection takes at once.
What it does not take is copied, and a thread of the link's own sends it when there is room; so two
participants may send each other megabytes while neither reads.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import numpy as np

from keras_concurrent.edge.link.frames import HEADER_BYTES, Framed, header, read_header
from keras_concurrent.errors import TransportError

MOST_UNSENT_BYTES = 1 << 26
"""A peer that is so far behind gets no more."""

_STAGE_BYTES = 1 << 14  # what is read before it is known whose it is: one TLS record
_AT_ONCE = 16  # frames that are taken before others get their turn
_PATIENCE_MS = 1  # for which sending waits for room before the link's thread does
_LOOK_MS = 200
_MOST_PARTS = 64
_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Memory = memoryview | None
"""Where content goes; ``None``: it is read and forgotten."""
Admit = Callable[["DirectLink", Framed, int], Memory]
"""Memory for a message's content, whose size it checks first."""
Take = Callable[["DirectLink", Framed, memoryview], None]
"""Is given each message that is whole, with its content."""


class DirectLink:
    """One end of a connection whose peer has said, and over TLS proved, who it is.

    Args:
        peer: the participant at the other end.
        connection: connected, greeted.
    """

    def __init__(self, peer: str, connection: socket.socket) -> None:
        self.peer = peer
        self.session = 0
        """Of the client at the other end, once it has said so."""
        connection.setblocking(False)
        self._connection = connection
        self._tls = connection if isinstance(connection, ssl.SSLSocket) else None
        self._lock = threading.Lock()
        self._sending = threading.Condition(self._lock)  # there is something for the sender
        self._unsent: deque[bytes | memoryview] = deque()
        self._unsent_bytes = 0
        self._sender: threading.Thread | None = None
        self._closed = False
        self._stage = memoryview(bytearray(_STAGE_BYTES))
        self._begin = self._end = 0  # of what is in the stage
        self._message: Framed | None = None  # whose content is being read
        self._content: Memory = None
        self._size = self._have = 0

    def fileno(self) -> int:
        """Of the connection, for selectors."""
        return self._connection.fileno()

    # ------------------------------------------------------------- reading

    def read(self, admit: Admit, take: Take) -> bool:
        """Take what has come; whether there may be more at once.

        Args:
            admit: asked for memory before content is taken.
            take: is given each whole message.

        Raises:
            ProtocolError: what came is no frame; the link is of no more use.
            OSError: the link has ended.
        """
        for _ in range(_AT_ONCE):
            staged = self._content is None
            room = self._stage_room() if staged else self._content[self._have :]  # type: ignore[index] # not staged
            count = self._receive(room)
            if not count:
                return False
            if staged:
                self._end += count
                self._use_stage(admit, take)
            else:
                self._have += count
                if self._have == self._size:
                    self._finish(take)
            # Of TLS a read gives one record; then what is there is only known by reading again.
            if count < len(room) and (
                self._tls is None or (self._message is None and not self._tls.pending())
            ):
                return False
        return True

    def _stage_room(self) -> memoryview:
        """Where the stage takes more, a whole header at least."""
        if self._begin == self._end:
            self._begin = self._end = 0
        elif _STAGE_BYTES - self._begin < HEADER_BYTES:
            rest = bytes(self._stage[self._begin : self._end])
            self._stage[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        return self._stage[self._end :]

    def _use_stage(self, admit: Admit, take: Take) -> None:
        """Give what is in the stage to whom it belongs."""
        while True:
            if self._message is None:
                if self._end - self._begin < HEADER_BYTES:
                    return
                self._message, self._size = read_header(self._stage, self._begin)
                self._begin += HEADER_BYTES
                self._have = 0
                self._content = admit(self, self._message, self._size)
            count = min(self._end - self._begin, self._size - self._have)
            if count and self._content is not None:
                self._content[self._have : self._have + count] = self._stage[
                    self._begin : self._begin + count
                ]
            self._begin += count
            self._have += count
            if self._have < self._size:
                return
            self._finish(take)

    def _finish(self, take: Take) -> None:
        message, content = self._message, self._content
        self._message = self._content = None
        if message is not None and content is not None:
            take(self, message, content)

    def _receive(self, room: memoryview) -> int:
        """How many bytes came; none where there are none yet."""
        try:
            if self._tls is None:
                count = self._connection.recv_into(room)
            else:
                with self._lock:  # OpenSSL lets one thread at a time have to do with it
                    count = self._connection.recv_into(room)
        except _NOT_NOW:
            return 0
        if not count:
            raise ConnectionResetError(f"{self.peer} has closed its end")
        return count

    # ------------------------------------------------------------- sending

    def send(self, message: Framed, content: bytes | memoryview = b"") -> None:
        """Send a message, or what of it the connection takes; the rest follows by itself.

        Args:
            message: whose content counts for nothing.
            content: is free for other use when this returns.

        Raises:
            TransportError: the link has ended, or the peer is too far behind.
        """
        start = header(message, len(content))
        with self._lock:
            if self._closed:
                raise TransportError(f"the direct link to {self.peer} has ended")
            if self._unsent_bytes > MOST_UNSENT_BYTES:
                raise TransportError(
                    f"{self.peer} has yet to take {self._unsent_bytes} bytes, at most "
                    f"{MOST_UNSENT_BYTES} may wait"
                )
            parts: deque[bytes | memoryview] = deque((start, content))
            if self._tls is not None:  # a small message is one record
                first = _STAGE_BYTES - HEADER_BYTES
                parts = deque((start + content[:first], memoryview(content)[first:]))
            if not self._unsent:
                self._put_patiently(parts)
            # What a connection was given must be given to it again, see SSL_write.
            for part in parts:
                self._unsent.append(bytes(part))
                self._unsent_bytes += len(part)
            if self._unsent:
                self._let_sender_work()

    def _put_patiently(self, parts: deque[bytes | memoryview]) -> None:
        """Send parts while the connection takes them; in all, wait for it a moment at most."""
        patience_s = _PATIENCE_MS / 1e3
        while not self._put(parts) and patience_s > 0:
            start = time.monotonic()
            self._writable(_PATIENCE_MS)
            patience_s -= time.monotonic() - start

    def _put(self, parts: deque[bytes | memoryview]) -> bool:
        """Send what is taken at once and leave the rest; whether all of it was."""
        try:
            while parts:
                if self._tls is not None:
                    count = self._connection.send(parts[0]) if parts[0] else 0
                else:
                    some = parts if len(parts) <= _MOST_PARTS else islice(parts, _MOST_PARTS)
                    count = self._connection.sendmsg(some)
                while parts and count >= len(parts[0]):
                    count -= len(parts.popleft())
                if count:
                    parts[0] = memoryview(parts[0])[count:]
        except _NOT_NOW:
            return False
        except OSError as error:
            raise TransportError(f"the direct link to {self.peer} has ended ({error})") from error
        return True

    def _writable(self, within_ms: int) -> bool:
        poll = select.poll()
        poll.register(self._connection, select.POLLOUT)
        return bool(poll.poll(within_ms))

    def _let_sender_work(self) -> None:
        if self._sender is None:
            name = f"sender to {self.peer}"
            sender = threading.Thread(target=self._send_rest, name=name, daemon=True)
            try:
                sender.start()
            except RuntimeError as error:  # then what was begun can never be ended
                self._connection.shutdown(socket.SHUT_RDWR)
                raise TransportError(f"no memory for a thread that sends to {self.peer}") from error
            self._sender = sender
        self._sending.notify()

    def _send_rest(self) -> None:
        while True:
            with self._sending:
                while not self._unsent and not self._closed:
                    self._sending.wait()
                if self._closed:
                    return
            try:
                if not self._writable(_LOOK_MS):
                    continue
                with self._sending:
                    self._put(self._unsent)
                    self._unsent_bytes = sum(map(len, self._unsent))
            except (OSError, ValueError, TransportError):  # whoever reads notices that it ended
                return

    def close(self) -> None:
        """End it; what was not sent is lost."""
        with self._sending:
            self._closed = True
            self._unsent.clear()
            self._unsent_bytes = 0
            self._sending.notify()
            self._connection.close()


def memory_of(size: int) -> memoryview:
    """Memory for content; what is in it is of no meaning."""
    return np.empty(size, np.uint8).data
