"""What does one thing at a time, a board or an interface: what it does, when, in compiled code.

Importing this module needs numba. What it compiles stays beside it on disk for the next time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from keras_concurrent.errors import MissingExtraError
from keras_concurrent.planning.problem import Array

try:
    import numba
except ImportError as error:
    raise MissingExtraError("numba", "design") from error

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile at the first call and keep it on disk.

    Helpers that run in the innermost loop take arrays and no tuple of them: numba counts a
    reference each time it takes an array out of a tuple, which would cost more than the work.
    """
    return cast(_Function, numba.njit(cache=True)(function))


@compiled
def earliest_gap(taken: Array, lengths: Array, line: int, ready: float, duration: float) -> float:
    """First moment from ``ready`` on at which a line does nothing for ``duration``."""
    end = lengths[line]
    if end == 0 or taken[line, end - 1, 1] <= ready:  # most often
        return ready
    first = end
    while first > 0 and (
        taken[line, first - 1, 0] > ready
        or (taken[line, first - 1, 0] == ready and taken[line, first - 1, 1] > ready)
    ):
        first -= 1
    start = ready
    for i in range(max(0, first - 1), end):
        if start + duration <= taken[line, i, 0]:
            break
        start = max(start, taken[line, i, 1])
    return start


@compiled
def take(taken: Array, lengths: Array, line: int, start: float, end: float) -> None:
    """Note what a line does."""
    i = lengths[line]
    while i > 0 and (
        taken[line, i - 1, 0] > start
        or (taken[line, i - 1, 0] == start and taken[line, i - 1, 1] > end)
    ):
        taken[line, i, 0] = taken[line, i - 1, 0]
        taken[line, i, 1] = taken[line, i - 1, 1]
        i -= 1
    taken[line, i, 0] = start
    taken[line, i, 1] = end
    lengths[line] += 1


@compiled
def release(taken: Array, lengths: Array, line: int, start: float, end: float) -> None:
    """Strike what was noted."""
    lengths[line] -= 1
    i = lengths[line]
    while taken[line, i, 0] != start or taken[line, i, 1] != end:
        i -= 1
    for j in range(i, lengths[line]):
        taken[line, j, 0] = taken[line, j + 1, 0]
        taken[line, j, 1] = taken[line, j + 1, 1]
