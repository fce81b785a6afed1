"""Wakes a thread that waits for sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

_MUCH = 4096


class Bell:
    """Can be rung from any thread; whoever selects its ``fileno`` wakes up."""

    def __init__(self) -> None:
        self._ear, self._rope = socket.socketpair()
        self._ear.setblocking(False)
        self._rope.setblocking(False)

    def fileno(self) -> int:
        """For selectors."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Wake whoever waits, or is about to."""
        with suppress(OSError):  # full: it rings already; closed: nobody waits
            self._rope.send(b"\0")

    def silence(self) -> None:
        """It was heard."""
        with suppress(OSError):
            self._ear.recv(_MUCH)

    def close(self) -> None:
        """Let go of it."""
        self._ear.close()
        self._rope.close()
