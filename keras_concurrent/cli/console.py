"""What commands say while they work: progress and tables, on standard error unless asked."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.interpreter import quiet

stderr = Console(stderr=True)


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Gives bars by title; each is told ``(done, total)``. Invisible without a terminal."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    ) as progress:

        def bar(title: str) -> Callable[[int, int], None]:
            task = progress.add_task(title, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def load_tensorflow() -> None:
    """Import TensorFlow without the log lines with which it greets.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with quiet():
            tensorflow = importlib.import_module("tensorflow")
            tensorflow.config.list_physical_devices()  # looks for a GPU, and says so, only once
    except ImportError as error:
        raise MissingExtraError("tensorflow", "design") from error


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table with its first column to the left and the others to the right."""
    result = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        result.add_column(column, justify="right" if index else "left")
    for row in rows:
        result.add_row(*row)
    return result
