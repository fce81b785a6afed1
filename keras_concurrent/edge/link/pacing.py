"""A shared medium between processes of one machine: one message at a time, as on WiFi.

All emulated participants open one small file that says when the medium is free again, and lock it
for the moment in which they take their turn. The clock is the machine's monotonic one, which all
its processes share.
"""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from typing import BinaryIO

_FREE_AT = struct.Struct("<d")


class Medium:
    """The medium that a file stands for.

    Args:
        path: of the file, see `make`. It may be removed once all have opened it.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("r+b", buffering=0)

    @staticmethod
    def make(path: Path) -> Path:
        """Write the file of a medium that is free."""
        path.write_bytes(_FREE_AT.pack(0.0))
        return path

    def take(self, ready_at: float, hold_s: float) -> float:
        """Take a turn of ``hold_s``; when it begins: when the message is ready and others are done.

        Args:
            ready_at: of the message, by `time.monotonic`.
            hold_s: how long it takes.
        """
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._file.seek(0)
            free_at: float = _FREE_AT.unpack(self._file.read(_FREE_AT.size))[0]
            start = max(ready_at, free_at)
            self._file.seek(0)
            self._file.write(_FREE_AT.pack(start + hold_s))
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return start

    def close(self) -> None:
        """Close the file."""
        self._file.close()
