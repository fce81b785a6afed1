"""Memory that is free goes back to the system.

What Zenoh takes in comes in pieces, which glibc keeps for the next message when they are free:
after messages of 250 MB a board held 500 MB of nothing, on a machine that may have no more.
"""

from __future__ import annotations

import ctypes
import time
from contextlib import suppress

MUCH_BYTES = 1 << 20
"""After a message of more, free memory is worth giving back."""
_EVERY_S = 1.0


class Heap:
    """Gives free memory back, once in a while at most."""

    def __init__(self) -> None:
        self._due = False
        self._next_s = 0.0

    def much_was_freed(self) -> None:
        """Give it back soon."""
        self._due = True

    def look(self) -> None:
        """Give back what is free, if that is due."""
        now = time.monotonic()
        if self._due and now >= self._next_s:
            self._due, self._next_s = False, now + _EVERY_S
            with suppress(OSError, AttributeError):  # another C library
                ctypes.CDLL(None).malloc_trim(0)
