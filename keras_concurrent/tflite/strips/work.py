"""What one strip of an operator takes: which parts of its inputs, and what is done to them.

Nothing here touches a file: rules say what would be done, `keras_concurrent.tflite.strips.builder`
does it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from keras_concurrent.interpreter import Array

ROWS, CHANNELS = "rows", "channels"
ROW_AXIS = 1  # of (batch, rows, columns, channels)


@dataclass(frozen=True, order=True)
class Span:
    """Part of a tensor's axis, from ``first`` up to but without ``end``.

    Raises:
        ValueError: it is empty, or begins before the axis does.
    """

    axis: int
    first: int
    end: int

    def __post_init__(self) -> None:
        if self.axis < 0 or not 0 <= self.first < self.end:
            raise ValueError(f"a span must hold something, got {self.first}..{self.end}")

    @property
    def size(self) -> int:
        """How long it is."""
        return self.end - self.first

    def hull(self, other: Span | None) -> Span:
        """The least span that holds both."""
        if other is None:
            return self
        return Span(self.axis, min(self.first, other.first), max(self.end, other.end))


@dataclass(frozen=True)
class Work:
    """How a strip of an operator is computed.

    Args:
        reads: by the operator's input, the part that is read; ``None`` for all of it.
        pads: (rows above, rows below, columns before, columns behind) put around the first input
            by a PAD of its own.
        options: the operator's options that change, by their name in the schema.
        constants: constants that replace inputs, by the input's position.
        skip: how many of the first rows that the operator then gives are not wanted.
        made: how many rows it gives; ``None`` where it gives what is wanted and no more.
    """

    reads: tuple[Span | None, ...]
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    options: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    skip: int = 0
    made: int | None = None


@dataclass(frozen=True)
class Rule:
    """How an operator is split.

    Args:
        axis: the axis of its outputs that is split.
        at: the work of the part of that axis from a first to an end.
        windowed: whether a row needs rows above or below it.
        moves: whether values are only moved, so that whoever needs a row makes it anew.
    """

    axis: int
    at: Callable[[int, int], Work]
    windowed: bool = False
    moves: bool = False


def spans(size: int, shares: Sequence[float], axis: int, unit: int = 1) -> tuple[Span | None, ...]:
    """Cut an axis in proportion to shares.

    Args:
        size: of the axis.
        shares: one a strip, in any unit, at least one above zero.
        axis: which one it is.
        unit: cuts lie at multiples of it.

    Returns:
        One span a share, together the axis; ``None`` where a share comes to nothing.
    """
    total, units = math.fsum(shares), size // unit
    ends = [
        math.floor(math.fsum(shares[: i + 1]) / total * units + 0.5) * unit
        for i in range(len(shares))
    ]
    last = max(i for i, share in enumerate(shares) if share > 0)
    ends[last:] = [size] * (len(shares) - last)
    firsts = [0, *ends[:-1]]
    return tuple(
        Span(axis, first, end) if first < end else None
        for first, end in zip(firsts, ends, strict=True)
    )
