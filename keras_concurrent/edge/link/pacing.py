"""When a participant's messages go: one after another, on real links and on emulated ones.

An emulated link is narrower than loopback, without root: a message holds its sender's interface, or
the medium that all share, for ``bytes / bandwidth`` and is handed over ``latency`` later. Whatever
was measured this way says so wherever it is shown.

A shared medium between processes of one machine carries one message at a time, as WiFi does. All
emulated participants open one small file that says when the medium is free again, and lock it for
the moment in which they take their turn. The clock is the machine's monotonic one, which all its
processes share.
"""

from __future__ import annotations

import fcntl
import struct
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import needs_keys

_FREE_AT = struct.Struct("<d")


class Medium:
    """The medium that a file stands for.

    Args:
        path: the file, see `make`. It may be removed once all have opened it.

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
            ready_at: when the message is, by `time.monotonic`.
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


class Pacer(Protocol):
    """Keeps the messages of one sender in order, each in its time."""

    def pass_on(self, receiver: str, size: int, ready_at: float) -> float:
        """Wait until a message may be handed over; returns when it began, by `time.monotonic`.

        Args:
            receiver: a board, or the client.
            size: how many bytes the message has.
            ready_at: when it was handed to the interface.
        """

    def is_free(self) -> bool:
        """Whether a message that is ready now need not wait."""

    def close(self) -> None:
        """Let go of what is held."""


class EmulatedInterface:
    """One sender's emulated interface: messages queue for its bandwidth, then take the latency.

    Args:
        cluster: bandwidth and latency of the wires.
        sender: whose interface it is: a board, or the client.
        medium: what all share, where the cluster's medium is shared; otherwise not asked.
    """

    def __init__(self, cluster: Cluster, sender: str, medium: Medium | None = None) -> None:
        if cluster.network.shared and medium is None:
            raise ValueError("a shared medium needs the file that all its participants open")
        self._cluster = cluster
        self._sender = sender
        self._free_at = 0.0
        self._medium = medium if cluster.network.shared else None

    def pass_on(self, receiver: str, size: int, ready_at: float) -> float:
        """Wait until a message would have arrived; see `Pacer`."""
        hold_s = size / self._cluster.bytes_per_s(self._sender, receiver)
        if self._medium is not None:
            start = self._medium.take(ready_at, hold_s)
        else:
            start = max(ready_at, self._free_at)
        self._free_at = start + hold_s
        _sleep_until(self._free_at + self._cluster.latency_s(self._sender, receiver))
        return start

    def is_free(self) -> bool:
        """Never: the latency at least must pass; see `Pacer`."""
        return False

    def close(self) -> None:
        """Close the medium's file, if there is one."""
        if self._medium is not None:
            self._medium.close()


class RealInterface:
    """A real interface whose messages are kept in order.

    Left to itself the network would send messages to different receivers side by side, and all
    would arrive when the last one does. So the next is handed over when the one before has passed,
    by the bandwidth in the cluster file: planned orders and times hold, see `keras-concurrent
    profile` for the bandwidth.

    Args:
        cluster: bandwidth of the wires.
        sender: whose interface it is.
    """

    def __init__(self, cluster: Cluster, sender: str) -> None:
        self._cluster = cluster
        self._sender = sender
        self._free_at = 0.0

    def pass_on(self, receiver: str, size: int, ready_at: float) -> float:
        """Wait until a message may be handed over; see `Pacer`."""
        _sleep_until(self._free_at)
        start = max(ready_at, self._free_at)
        now = time.monotonic()
        self._free_at = now + size / self._cluster.bytes_per_s(self._sender, receiver)
        return start

    def is_free(self) -> bool:
        """Whether the message before has passed; see `Pacer`."""
        return time.monotonic() >= self._free_at

    def close(self) -> None:
        """Nothing is held."""


def pacer_of(cluster: Cluster, sender: str, pace: Path | None) -> Pacer | None:
    """What keeps a participant's messages in order, and an emulated one's in time.

    Args:
        cluster: bandwidth and latency of the wires.
        sender: whose interface it is.
        pace: file of `Medium` that emulated participants share; ``None`` where the links are real.

    Returns:
        ``None`` for real links within loopback, which have no bandwidth to speak of.
    """
    if pace is not None:
        return EmulatedInterface(cluster, sender, Medium(pace) if cluster.network.shared else None)
    return RealInterface(cluster, sender) if needs_keys(cluster) else None


def _sleep_until(moment: float) -> None:
    rest = moment - time.monotonic()
    if rest > 0:
        time.sleep(rest)
