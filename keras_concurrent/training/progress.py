"""How far a training is, and how long it will take: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from keras_concurrent.durations import about


class ProgressBar(keras.callbacks.Callback):
    """One rich progress bar over all batches of a training, on standard error.

    Args:
        show: ``True`` draws the bar anywhere, ``False`` nowhere, ``None`` only on a terminal.
    """

    def __init__(self, show: bool | None = None):
        super().__init__()
        self.show = sys.stderr.isatty() if show is None else show
        self._progress = None

    def on_train_begin(self, logs=None):
        """Open the bar."""
        if not self.show:
            return
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  accuracy {task.fields[accuracy]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        epochs, steps = self.params["epochs"], self.params["steps"]
        self._task = self._progress.add_task(
            "train", total=steps and epochs * steps, epoch=1, epochs=epochs, accuracy="-"
        )
        self._progress.start()

    def on_epoch_begin(self, epoch, logs=None):
        """Show which epoch runs."""
        if self._progress:
            done = epoch * (self.params["steps"] or 0)
            self._progress.update(self._task, epoch=epoch + 1, completed=done)

    def on_train_batch_end(self, batch, logs=None):
        """Move on by one batch."""
        if self._progress:
            accuracy = (logs or {}).get("accuracy")
            shown = "-" if accuracy is None else f"{accuracy:.3f}"
            self._progress.update(self._task, advance=1, accuracy=shown)

    def on_train_end(self, logs=None):
        """Close the bar."""
        self.close()

    def close(self):
        """Close the bar, also after an error, for which Keras calls no callback."""
        if self._progress:
            self._progress.stop()
            self._progress = None


class Pace(keras.callbacks.Callback):
    """Tells now and then how far a training is, and how long the rest will take.

    Args:
        tell: is given the share that is done (0..1), epochs done and of how many, the accuracy on
            the training images so far in the epoch, and the seconds that are left by the pace since
            the first batch, which is mostly compiled; from the second on, as often as said.
        every_s: seconds between two words.
    """

    def __init__(
        self, tell: Callable[[float, int, int, float, float], object], every_s: float = 10.0
    ):
        super().__init__()
        self._tell = tell
        self._every_s = every_s

    def on_train_begin(self, logs=None):
        """Forget the pace of another training."""
        self._after = self._begun = time.monotonic()
        self._first = None

    def on_epoch_begin(self, epoch, logs=None):
        """Note the epoch, which after a resumption is not the first."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Tell, when it is time."""
        now, steps = time.monotonic(), self.params["steps"] or 1
        done = self._epoch * steps + batch + 1
        if self._first is None:
            self._begun, self._first = now, done
        if now < self._after or done == self._first:
            return
        self._after = now + self._every_s
        total = self.params["epochs"] * steps
        left_s = (now - self._begun) / (done - self._first) * (total - done)
        accuracy = float((logs or {}).get("accuracy", float("nan")))
        self._tell(done / total, self._epoch, self.params["epochs"], accuracy, left_s)


def in_lines(say: Callable[[str], object], every_s: float = 10.0) -> Pace:
    """A training's pace as lines of text.

    Args:
        say: is given each line.
        every_s: seconds between two lines.
    """

    def tell(share, epoch, epochs, accuracy, left_s):
        say(
            f"epoch {epoch + 1}/{epochs}, {100 * share:.0f} % of the training, accuracy "
            f"{accuracy:.3f}, {about(left_s)} left"
        )

    return Pace(tell, every_s)
