"""Boards that are there and owe an answer: asked whether they still do anything."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from keras_concurrent.edge.client.questions import Questions
from keras_concurrent.edge.link.answers import Identity
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.link.transport import LEASE_S

_log = logging.getLogger(__name__)
_LOADS_S = 10.0
"""So long a board may say nothing while it loads segments: Python stands still meanwhile."""
_AGAIN_S, _LAST_AGAIN_S = 1.0, 8.0


@dataclass
class _Suspicion:
    """Of one board.

    Args:
        due_s: when its sign of life is due; once it is left out, when it is asked again.
        first: what it was asked, to which it may still find its way.
        latest: what it was asked since, because messages may be lost.
        out: whether it is left out.
        pause_s: until it is asked once more.
    """

    due_s: float
    first: Future[Identity]
    latest: Future[Identity] | None = None
    out: bool = False
    pause_s: float = _AGAIN_S

    @property
    def unfounded(self) -> bool:
        """Whether the board has answered."""
        return self.first.done() or (self.latest is not None and self.latest.done())


class Suspects:
    """Boards that were asked for a sign of life.

    Args:
        questions: to ask them.
    """

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        self._suspicions: dict[str, _Suspicion] = {}

    def ask(self, boards: Iterable[str], now_s: float) -> None:
        """Boards must give a sign of life within the lease, or when they have loaded segments."""
        for board in boards:
            if board not in self._suspicions:
                patience_s = _LOADS_S if self._questions.loads(board) else LEASE_S
                ping = self._questions.put(board, Ping())
                self._suspicions[board] = _Suspicion(now_s + patience_s, ping)

    def clear(self, board: str) -> None:
        """A board has come or gone: what it owed counts no more."""
        suspicion = self._suspicions.pop(board, None)
        if suspicion is not None:
            self._forget(suspicion)

    def look(self, now_s: float) -> tuple[list[str], list[str]]:
        """Boards that must be left out from now on, and those that are back."""
        out, back = [], []
        for board, suspicion in list(self._suspicions.items()):
            if suspicion.unfounded:
                del self._suspicions[board]
                self._forget(suspicion)
                if suspicion.out:
                    back.append(board)
            elif now_s >= suspicion.due_s:
                if not suspicion.out:
                    _log.warning("%s is there and does nothing: it is left out", board)
                    suspicion.out = True
                    out.append(board)
                self._ask_again(board, suspicion, now_s)
        return out, back

    def _ask_again(self, board: str, suspicion: _Suspicion, now_s: float) -> None:
        if suspicion.latest is not None:
            self._questions.forget(suspicion.latest)
        suspicion.latest = self._questions.put(board, Ping())
        suspicion.due_s = now_s + suspicion.pause_s
        suspicion.pause_s = min(2 * suspicion.pause_s, _LAST_AGAIN_S)

    def _forget(self, suspicion: _Suspicion) -> None:
        for ping in (suspicion.first, suspicion.latest):
            if ping is not None:
                self._questions.forget(ping)
