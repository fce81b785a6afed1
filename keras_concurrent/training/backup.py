"""A training that survives kills: its whole state in one file, written whole or not at all.

Keras's own `BackupAndRestore` keeps weights and optimiser, but neither what an early stopping has
seen nor the history, and a kill while it writes leaves half a file.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np

from keras_concurrent.files import write_beside

_LEAST_PACE = 20  # a save may take one part in so many of a training's time


class Backup(keras.callbacks.Callback):
    """Keeps a training's state at the start of an epoch, and brings it back.

    An epoch's state is kept when the next begins, after all other callbacks have seen its end:
    always after the first epoch, and then as often as it costs little.

    Args:
        path: of the file; its folder exists.
        about: what is trained, plain JSON: a file about something else is refused.
        stopping: the early stopping, where there is one; its state is kept too.
        first: the epoch that the training begins with.
    """

    def __init__(
        self,
        path: Path,
        about,
        stopping: keras.callbacks.EarlyStopping | None = None,
        first: int = 0,
    ):
        super().__init__()
        self.first = first
        self.path = Path(path)
        self.about = json.loads(json.dumps(about))
        self.stopping = stopping
        self.logs: list[dict[str, float]] = []
        self._kept = {}
        self._not_before = 0.0

    def restore(self, model: keras.Model) -> int:
        """Bring the model and its optimiser back to where they were.

        Args:
            model: compiled, its optimiser built.

        Returns:
            The epoch to go on with.

        Raises:
            ValueError: the file is about another training.
        """
        if not self.path.exists():
            return self.first
        try:
            with open(self.path, "rb") as content:  # NumPy leaves open what it cannot read
                file = np.load(content, allow_pickle=False)
                kept = {name: file[name] for name in file.files}
        except (AttributeError, EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self.path} is no training's state: {error}") from error
        told = json.loads(str(kept.pop("told")))
        variables = [*model.variables, *model.optimizer.variables]
        arrays = [kept[f"variable_{number}"] for number in range(int(told["variables"]))]
        if told["about"] != self.about or [v.shape for v in variables] != [a.shape for a in arrays]:
            raise ValueError(
                f"{self.path} must be the state of this training, {self.about}, got one of "
                f"{told['about']}: delete it to begin anew"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.logs = told["logs"]
        self._kept = {"told": told, "arrays": kept}
        return self.first + len(self.logs)

    def on_train_begin(self, logs=None):
        """Give an early stopping its memory back, which it has just dropped."""
        stopping, told = self.stopping, self._kept.get("told")
        if stopping is None or told is None:
            return
        stopping.wait, stopping.best, stopping.best_epoch = told["stopping"]
        stopping.best_weights = [
            self._kept["arrays"][f"best_{number}"] for number in range(int(told["best"]))
        ] or None
        self._kept = {}

    def on_epoch_begin(self, epoch, logs=None):
        """Keep the state after the epochs before."""
        if self.logs and time.monotonic() >= self._not_before:
            begun = time.monotonic()
            self._save()
            now = time.monotonic()
            self._not_before = now + _LEAST_PACE * (now - begun)

    def on_epoch_end(self, epoch, logs=None):
        """Note what the epoch gave."""
        self.logs.append({name: float(value) for name, value in (logs or {}).items()})

    def _save(self):
        variables = [*self.model.variables, *self.model.optimizer.variables]
        arrays = {f"variable_{n}": np.asarray(v) for n, v in enumerate(variables)}
        told = {"about": self.about, "logs": self.logs, "variables": len(variables)}
        if self.stopping is not None:
            best = self.stopping.best_weights or []
            arrays |= {f"best_{n}": np.asarray(w) for n, w in enumerate(best)}
            best_so_far = None if self.stopping.best is None else float(self.stopping.best)
            told["stopping"] = [self.stopping.wait, best_so_far, self.stopping.best_epoch]
            told["best"] = len(best)
        content = io.BytesIO()
        np.savez(content, told=np.array(json.dumps(told)), **arrays)
        write_beside(self.path, content.getvalue())

    def done(self):
        """The training has ended: nothing is left to go on with."""
        self.path.unlink(missing_ok=True)
