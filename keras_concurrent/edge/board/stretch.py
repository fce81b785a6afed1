"""Boards slower than this machine; no root needed.

Compute is stretched: after each step the board sleeps until ``start + slowdown * CPU time of the
step``. That CPU time is measured before the first image, warm, and the least of several runs
counts: waking up, filling the caches that other processes used (about 50 us a step) and the noise
of a shared machine are this machine's own and must not be multiplied by ``slowdown``. For the same
reason one board measures at a time: two virtual processors are often one core, on which two boards
at work would each take half as long again. A step does the same work for every image. Several
emulated boards share this machine's cores truthfully as long as ``slowdown`` is at least boards /
cores, because a board that sleeps leaves its core to the others.

Or a step takes what the board is described to take for it, whatever this machine takes: the same on
every machine and at every hour, so that what is measured is messages, queues and waiting.

Messages are stretched too: the thread that computes, and so does nothing else meanwhile, sleeps for
what a message takes of the board's processor beyond what it takes of this one, see
`keras_concurrent.edge.link.message_stretch`. Whatever was measured this way says so wherever it is
shown.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import BinaryIO, TypeVar

from keras_concurrent.edge.manifest import Manifest

Result = TypeVar("Result")
_LINKS_BYTES = 32_000_000  # stacks of threads that start with them, which count in full
_MEASUREMENTS = 16  # of a step, of which the least counts
_FEW_MEASUREMENTS = 4  # are enough once they have taken
_MEASURED_S = 1.0
Described = Callable[[Manifest], Callable[[str], float]]
"""Of a bundle's manifest: the seconds of each of its segments."""


class Stretch:
    """Runs steps as a board would that is ``slowdown`` times slower than this machine.

    Args:
        slowdown: 1 or more.
        turn: a file that all emulated boards of this machine lock while they measure; left as it
            is. It may be removed once all have opened it.
        described: what the board is described to take; ``None`` where this machine's time is what
            is stretched.

    Raises:
        ValueError: below 1: nothing can run faster than this machine.
        OSError: the file cannot be opened.
    """

    def __init__(
        self, slowdown: float, turn: Path | None = None, described: Described | None = None
    ) -> None:
        if not 1.0 <= slowdown < float("inf"):
            raise ValueError(f"slowdown must be at least 1, got {slowdown!r}")
        self.slowdown = slowdown
        self._turn: BinaryIO | None = turn.open("rb") if turn is not None else None
        self._described = described
        self._described_s: Callable[[str], float] | None = None
        self._takes_s: dict[str, float] = {}

    def anew(self, manifest: Manifest) -> Stretch:
        """As slow, and nothing learned: other bundles' steps may have the same names."""
        other = copy(self)
        other._described_s = self._described(manifest) if self._described else None
        other._takes_s = {}
        return other

    def learn(self, name: str, step: Callable[[], object]) -> None:
        """Find out how long `run` takes for a step: as described, or its CPU time stretched."""
        if self._described_s is not None:
            self._takes_s[name] = self._described_s(name)
            return
        durations: list[float] = []
        with _alone(self._turn):
            while len(durations) < _MEASUREMENTS:
                start = time.thread_time()
                step()
                durations.append(time.thread_time() - start)
                if len(durations) >= _FEW_MEASUREMENTS and sum(durations) > _MEASURED_S:
                    break
        self._takes_s[name] = self.slowdown * min(durations)

    def run(self, name: str, step: Callable[[], Result]) -> Result:
        """Run a learned step in this thread, and sleep for the rest of the board's time."""
        start = time.monotonic()
        result = step()
        time.sleep(max(0.0, start + self._takes_s[name] - time.monotonic()))
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
