"""Says that a board is there while the thread that does its work is busy."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.link.protocol import Ask, Message
from keras_concurrent.edge.link.questions import Ping

STUCK_S = 60.0
"""A board that does one thing for longer says no more that it is well."""


class Health:
    """Answers pings in a thread of its own, while the board's is busy.

    Otherwise that one answers: where it is stuck in anything else, nobody does.

    Args:
        answer: answers a ping.
    """

    def __init__(self, answer: Callable[[Ask], None]) -> None:
        self._answer = answer
        self._since_s: float | None = None
        self._asked: queue.SimpleQueue[Ask | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="health", daemon=True)
        self._thread.start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Meanwhile the board's thread answers nobody."""
        self._since_s = time.monotonic()
        try:
            yield
        finally:
            self._since_s = None

    def at_once(self, sender: str, message: Message) -> bool:
        """Whether a message is answered here; called in the network's threads."""
        since_s = self._since_s
        if since_s is None or time.monotonic() - since_s > STUCK_S or sender != CLIENT:
            return False
        if not isinstance(message, Ask) or not isinstance(message.question, Ping):
            return False
        self._asked.put(message)
        return True

    def _work(self) -> None:
        while (ask := self._asked.get()) is not None:
            self._answer(ask)

    def close(self) -> None:
        """Answer nobody any more."""
        self._asked.put(None)
        self._thread.join(timeout=5)
