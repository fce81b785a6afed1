"""How far the trials are that train just now, told from process to process by small files."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

_SUFFIX = ".pace"


@dataclass(frozen=True)
class TrialPace:
    """A trial that trains.

    Args:
        trial: its id.
        share: of its training that is done, 0..1.
        epoch: the one that runs, from 1.
        epochs: of the training.
        accuracy: on the training images, so far in the epoch.
        left_s: seconds to the end of the training, by its pace.
    """

    trial: str
    share: float
    epoch: int
    epochs: int
    accuracy: float
    left_s: float

    @property
    def whole_s(self) -> float:
        """Seconds that the whole training takes by its pace."""
        return self.left_s / max(1 - self.share, 1e-9)

    def write(self, folder: Path, process: str) -> None:
        """Tell it, as the pace of a process; it need not outlive a power cut."""
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder / f".{process}{_SUFFIX}-{os.getpid()}"
        beside.write_text(json.dumps(asdict(self)), encoding="utf-8")
        beside.replace(folder / f"{process}{_SUFFIX}")


def read_paces(folder: Path) -> tuple[TrialPace, ...]:
    """Of all processes, by name."""
    paces = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with contextlib.suppress(OSError, ValueError, TypeError):  # its trial has just ended
            paces.append(TrialPace(**json.loads(path.read_text(encoding="utf-8"))))
    return tuple(paces)


def forget_paces(folder: Path, process: str | None = None) -> None:
    """Forget that of a process, or those that killed ones have left."""
    for path in folder.glob(f"{process or '*'}{_SUFFIX}"):
        path.unlink(missing_ok=True)
