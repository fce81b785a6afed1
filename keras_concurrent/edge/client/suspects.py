"""Boards that are there and owe an answer: asked whether they still do anything."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from keras_concurrent.edge.client.questions import Questions
from keras_concurrent.edge.link.transport import LEASE_S

_log = logging.getLogger(__name__)
_LEFT_OUT = float("-inf")  # instead of when a board's sign of life is due


class Suspects:
    """The boards under suspicion.

    Args:
        questions: to ask them.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._asked: dict[str, tuple[float, Future[Any]]] = {}

    def ask(self, boards: Iterable[str], now_s: float) -> None:
        """Boards must give a sign of life within the lease."""
        for board in boards:
            if board not in self._asked:
                self._asked[board] = now_s + LEASE_S, self._questions.put(board, "ping")

    def clear(self, board: str) -> None:
        """A board has come or gone: what it owed counts no more."""
        self._asked.pop(board, None)

    def look(self, now_s: float) -> tuple[list[str], list[str]]:
        """Boards that must be left out from now on, and those that are back."""
        out, back = [], []
        for board, (due, future) in list(self._asked.items()):
            if future.done():
                del self._asked[board]
                if due == _LEFT_OUT:
                    back.append(board)
            elif due <= now_s and due != _LEFT_OUT:
                _log.warning("%s is there and does nothing: it is left out", board)
                self._asked[board] = _LEFT_OUT, future
                out.append(board)
        return out, back
