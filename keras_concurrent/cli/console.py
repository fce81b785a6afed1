"""What commands say while they work: progress and tables, on standard error unless asked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from keras_concurrent.durations import about

stderr = Console(stderr=True)


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Gives bars by title; each is told ``(done, total)``. Invisible without a terminal.

    The first bar asked for takes the last lines of the terminal, and none leaves it as it is.
    """
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    )
    with contextlib.ExitStack() as shown:

        def bar(title: str) -> Callable[[int, int], None]:
            if not progress.live.is_started and not progress.disable:
                shown.enter_context(progress)
            task = progress.add_task(title, total=None)
            return lambda done, total: progress.update(task, completed=done, total=total)

        yield bar


def progress_lines(
    say: Callable[[str], object], every_s: float = 10.0
) -> Callable[[str], Callable[[int, int], None]]:
    """As `progress_bars` in lines, where no terminal shows a bar: the first at once.

    Args:
        say: is given each line.
        every_s: seconds between two lines.
    """

    def bar(title: str) -> Callable[[int, int], None]:
        begun = after = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal after
            now = time.monotonic()
            if now < after and done < total:
                return
            after = now + every_s
            left_s = (now - begun) / done * (total - done) if done else 0.0
            left = f", {about(left_s)} left" if 0 < done < total else ""
            say(f"{title}: {done:,} of {total:,}{left}")

        return tell

    return bar


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table with its first column to the left and the others to the right."""
    result = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        result.add_column(column, justify="right" if index else "left")
    for row in rows:
        result.add_row(*row)
    return result
