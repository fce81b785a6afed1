"""Where the time of each board goes while an image is recognised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras_concurrent.edge.placement import Event


@dataclass(frozen=True)
class Share:
    """Where a board's time went during one image, in seconds.

    Args:
        compute_s: it ran segments.
        wire_s: tensors that it sent were on their way, at least one at any moment.
        waiting_s: it ran nothing, from sending the image to having the answer.
    """

    compute_s: float
    wire_s: float
    waiting_s: float


def shares(events: Sequence[Event], latency_s: float) -> dict[str, Share]:
    """Where the time of every board that runs a segment went."""
    boards = sorted({event.board for event in events if event.kind == "run"})
    by_board = {}
    for board in boards:
        own = [event for event in events if event.board == board]
        compute_s = sum(e.end_s - e.start_s for e in own if e.kind == "run")
        wire_s = _covered_s([(e.start_s, e.end_s) for e in own if e.kind == "send"])
        by_board[board] = Share(compute_s, wire_s, max(0.0, latency_s - compute_s))
    return by_board


def _covered_s(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of spans of time."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
