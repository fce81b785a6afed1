"""Boards whose segments take longer than planned."""

from __future__ import annotations

from keras_concurrent.edge.client.questions import Ask
from keras_concurrent.edge.link import questions
from keras_concurrent.edge.placement import Placement
from keras_concurrent.edge.segment_costs import slowness

SLOW = 1.25
"""A board that takes so many times longer than planned is reported."""


def slow_boards(ask: Ask, placement: Placement) -> dict[str, float]:
    """Boards whose segments take longer than planned, and how many times.

    Args:
        ask: `keras_concurrent.edge.client.questions.Questions.ask` of their client.
        placement: the plan.

    Raises:
        BoardError: a board does not answer.
    """
    slow = {}
    for board in sorted(placement.programs):
        planned = {
            e.name: e.end_s - e.start_s
            for e in placement.predicted
            if e.kind == "run" and e.board == board
        }
        times = slowness(ask(board, questions.Status()).p95_s, planned)
        if times > SLOW:
            slow[board] = times
    return slow
