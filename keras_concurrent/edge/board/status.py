"""What a board tells of itself: its machine, and how long its segments take."""

from __future__ import annotations

import os
import platform
from collections import deque
from pathlib import Path

import numpy as np

from keras_concurrent._version import __version__
from keras_concurrent.edge.link.answers import Machine
from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import interpreter_package

_REMEMBERED = 64  # runs of each segment


class Counts:
    """What a board has done since it began."""

    def __init__(self) -> None:
        self._runs: dict[str, deque[float]] = {}
        self.compute_s = 0.0
        """Seconds of all runs."""
        self.images = 0
        """Images of which this board has done its part."""
        self.messages = 0
        """Tensors that it has sent or taken in."""
        self.message_bytes = 0
        """Of these."""
        self.computing_s = 0.0
        """Processor time of all runs, on however many cores."""

    def ran(self, segment: str, seconds: float) -> None:
        """A segment has run."""
        self.compute_s += seconds
        self._runs.setdefault(segment, deque(maxlen=_REMEMBERED)).append(seconds)

    def message(self, size: int) -> None:
        """A tensor was sent, or taken in."""
        self.messages += 1
        self.message_bytes += size

    def forget_segments(self) -> None:
        """Another bundle has come: segments of the same names are others."""
        self._runs.clear()

    def p95_s(self) -> dict[str, float]:
        """95th percentile of the latest runs of every segment."""
        return {name: float(np.percentile(list(runs), 95)) for name, runs in self._runs.items()}


def machine() -> Machine:
    """Versions, memory and cores of this machine."""
    try:
        interpreter = interpreter_package()
    except MissingExtraError as error:
        interpreter = f"none: {error}"
    return Machine(
        version=__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        interpreter=interpreter,
        resident_bytes=_kilobytes("/proc/self/status", "VmRSS:") * 1024,
        free_bytes=_kilobytes("/proc/meminfo", "MemAvailable:") * 1024,
        cores=os.cpu_count() or 1,
    )


def _kilobytes(path: str, key: str) -> int:
    try:
        for line in Path(path).read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(key):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
