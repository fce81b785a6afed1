"""On how many threads a board answers soonest: fewer than it has cores may be quicker.

Small operators gain nothing from more threads, and some boards have cores of two kinds. What is
timed is the uncut model, which is what one board alone would run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keras_concurrent.edge.client.questions import Ask
from keras_concurrent.edge.link import questions
from keras_concurrent.edge.manifest import WHOLE

ROUNDS = 3
"""How often each number is measured, in turn, so that what slows a board for a while meets all."""
_AS_QUICK = 1.02  # within the noise; fewer threads leave more to the messages


@dataclass(frozen=True)
class ThreadsTried:
    """What a board took for the uncut model.

    Args:
        seconds: by number of threads; at least one.
        in_use: how many its program computes with until it is started anew.
    """

    seconds: Mapping[int, float]
    in_use: int

    @property
    def best(self) -> int:
        """The quickest number; of those within 2 % of it the fewest."""
        least_s = min(self.seconds.values())
        return min(n for n, took_s in self.seconds.items() if took_s <= _AS_QUICK * least_s)

    def __str__(self) -> str:
        """Quickest first: ``"4 threads 14.3 ms, 3 threads 15.1 ms, 1 thread 40.2 ms"``."""
        inorder = sorted(self.seconds.items(), key=lambda entry: (entry[1], entry[0]))
        return ", ".join(f"{counted(n)} {took_s * 1e3:.1f} ms" for n, took_s in inorder)


def counted(threads: int) -> str:
    """Such as ``"1 thread"``."""
    return f"{threads} thread" + "s" * (threads != 1)


def numbers_to_try(cores: int) -> tuple[int, ...]:
    """One thread, two, all cores, and all but one."""
    return tuple(n for n in sorted({1, 2, cores - 1, cores}) if 1 <= n <= cores)


def try_threads(
    ask: Ask,
    board: str,
    numbers: tuple[int, ...],
    in_use: int,
    timeout_s: float,
    told: Callable[[], None],
) -> ThreadsTried:
    """Time the uncut model on a board with each number of threads.

    Args:
        ask: `keras_concurrent.edge.client.questions.Questions.ask` of a client.
        board: its name.
        numbers: of threads.
        in_use: how many its program computes with.
        timeout_s: how long one answer may take.
        told: called after each of the ``ROUNDS * len(numbers)`` measurements.

    Raises:
        BoardError: the board does not answer, or refuses.
    """
    seconds = dict.fromkeys(numbers, float("inf"))
    for _ in range(ROUNDS):
        for threads in numbers:
            question = questions.Measure((WHOLE,), threads)
            took_s = ask(board, question, timeout_s=timeout_s).seconds[WHOLE]
            seconds[threads] = min(seconds[threads], took_s)
            told()
    return ThreadsTried(seconds, in_use)
