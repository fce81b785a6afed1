"""Boards slower than this machine, links narrower than loopback; no root needed.

Compute is stretched: after each step the board sleeps until ``start + slowdown * CPU time of the
step``. That CPU time is measured before the first image, warm, and the least of several runs
counts: waking up, filling the caches that other processes used (about 50 us a step) and the noise
of a shared machine are this machine's own and must not be multiplied by ``slowdown``. For the same
reason one board measures at a time: two virtual processors are often one core, on which two boards
at work would each take half as long again. A step does the same work for every image. Several
emulated boards share this machine's cores truthfully as long as ``slowdown`` is at least boards /
cores, because a board that sleeps leaves its core to the others.

Links are paced: a message holds its sender's interface, or the medium that all share, for ``bytes /
bandwidth`` and is handed over ``latency`` later. Whatever was measured this way says so wherever it
is shown.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.link.keys import needs_keys
from keras_concurrent.edge.link.pacing import Medium

Result = TypeVar("Result")
_LINKS_BYTES = 32_000_000  # stacks of threads that start with them, which count in full
_MEASUREMENTS = 16  # of a step, of which the least counts
_FEW_MEASUREMENTS = 4  # are enough once they have taken
_MEASURED_S = 1.0


class Stretch:
    """Runs steps as a board would that is ``slowdown`` times slower than this machine.

    Args:
        slowdown: 1 or more.
        turn: a file that all emulated boards of this machine lock while they measure; left as it
            is. It may be removed once all have opened it.

    Raises:
        ValueError: below 1: nothing can run faster than this machine.
        OSError: the file cannot be opened.
    """

    def __init__(self, slowdown: float, turn: Path | None = None) -> None:
        if not 1.0 <= slowdown < float("inf"):
            raise ValueError(f"slowdown must be at least 1, got {slowdown!r}")
        self.slowdown = slowdown
        self._turn: BinaryIO | None = turn.open("rb") if turn is not None else None
        self._cpu_s: dict[str, float] = {}

    def learn(self, name: str, step: Callable[[], object]) -> None:
        """Measure a step's CPU time, so that `run` knows how long it takes."""
        durations: list[float] = []
        with _alone(self._turn):
            while len(durations) < _MEASUREMENTS:
                start = time.thread_time()
                step()
                durations.append(time.thread_time() - start)
                if len(durations) >= _FEW_MEASUREMENTS and sum(durations) > _MEASURED_S:
                    break
        self._cpu_s[name] = min(durations)

    def run(self, name: str, step: Callable[[], Result]) -> Result:
        """Run a learned step in this thread, and sleep for the rest of the board's time."""
        start = time.monotonic()
        result = step()
        _sleep_until(start + self.slowdown * self._cpu_s[name])
        return result

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._turn is not None:
            self._turn.close()


@contextmanager
def _alone(turn: BinaryIO | None) -> Iterator[None]:
    """While no other process is inside with the same file."""
    if turn is None:
        yield
        return
    fcntl.flock(turn, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)


class Pacer:
    """One sender's interface: messages queue for its bandwidth, then take the latency.

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
        """Wait until a message would have arrived; returns when it began, by `time.monotonic`.

        Args:
            receiver: a board, or the client.
            size: of the message in bytes.
            ready_at: when it was handed to the interface.
        """
        hold_s = size / self._cluster.bytes_per_s(self._sender, receiver)
        if self._medium is not None:
            start = self._medium.take(ready_at, hold_s)
        else:
            start = max(ready_at, self._free_at)
        self._free_at = start + hold_s
        _sleep_until(self._free_at + self._cluster.wire_latency_s(self._sender, receiver))
        return start

    def close(self) -> None:
        """Close the medium's file, if there is one."""
        if self._medium is not None:
            self._medium.close()


class Interface:
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
        """Wait until a message may be handed over; returns when, by `time.monotonic`."""
        _sleep_until(self._free_at)
        start = max(ready_at, self._free_at)
        now = time.monotonic()
        self._free_at = now + size / self._cluster.bytes_per_s(self._sender, receiver)
        return start

    def close(self) -> None:
        """Nothing is held."""


def pacer_of(cluster: Cluster, sender: str, medium: Path | None) -> Pacer | Interface | None:
    """What keeps a participant's messages in order, and an emulated one's in time.

    Args:
        cluster: bandwidth and latency of the wires.
        sender: whose interface it is.
        medium: file of `keras_concurrent.edge.link.pacing.Medium` that emulated participants share;
            ``None`` where the links are real.

    Returns:
        ``None`` for real links within loopback, which have no bandwidth to speak of.
    """
    if medium is not None:
        return Pacer(cluster, sender, Medium(medium) if cluster.network.shared else None)
    return Interface(cluster, sender) if needs_keys(cluster) else None


def limit_memory(more_bytes: float) -> None:
    """Give this process so many bytes beside what it has by now and what its links need.

    What is beyond is refused by the system: an allocation fails as on a board whose memory is full.

    Raises:
        ValueError: this system cannot limit it.
    """
    try:
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        used = next(int(line.split()[1]) for line in status.splitlines() if "VmData" in line)
        limit = used * 1024 + _LINKS_BYTES + round(more_bytes)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    except (ImportError, OSError, StopIteration) as error:
        raise ValueError("a board's memory can be emulated on Linux alone") from error


def _sleep_until(moment: float) -> None:
    rest = moment - time.monotonic()
    if rest > 0:
        time.sleep(rest)


def slowdown_for(cluster: Cluster, host_flops_per_s: float) -> dict[str, float]:
    """How many times slower than this machine each board is.

    Args:
        cluster: described boards.
        host_flops_per_s: from `keras_concurrent.measured.host.measure_host`.

    Raises:
        ValueError: a board faster than this machine's share for it: its emulation would lie.
    """
    cores = os.cpu_count() or 1
    least = max(1.0, len(cluster.boards) / cores)
    factors = {board.name: host_flops_per_s / board.flops_per_s for board in cluster.boards}
    for name, factor in factors.items():
        if factor < least:
            raise ValueError(
                f"{name} cannot be emulated truthfully: {len(cluster.boards)} boards on {cores} "
                f"cores need boards at least {least:.1f} times slower than one core, and it is "
                f"{factor:.1f} times slower"
            )
    return factors
