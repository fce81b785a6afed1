"""What a client asks boards beside images, and their answers."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.link.outbox import Outbox, Sent
from keras_concurrent.edge.link.probe import LinkFigures, Probe
from keras_concurrent.edge.link.protocol import Session
from keras_concurrent.edge.link.transport import Packet
from keras_concurrent.errors import BoardError

_CLOCK_PINGS = 9
_GONE = "its process has ended, or its link"


class Questions:
    """Questions that wait for their answers.

    Args:
        outbox: sends them.
        session: of the client.
    """

    def __init__(self, outbox: Outbox, session: Session) -> None:
        self._outbox = outbox
        self._session = session
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, tuple[str, Future[Any]]] = {}
        self._probe: Probe | None = None

    def ask(self, board: str, what: str, payload: bytes = b"", *, timeout_s: float = 5.0) -> Any:
        """Ask a board something and await its answer.

        Raises:
            BoardError: no answer in time, or the board says what is wrong with the question.
        """
        future = self.put(board, what, payload)
        try:
            answer = future.result(max(0.0, timeout_s))
        except FutureTimeoutError:
            with self._lock:
                self._waiting = {n: w for n, w in self._waiting.items() if w[1] is not future}
            raise BoardError(f"{board} does not answer '{what}' within {timeout_s:g} s") from None
        if answer == {"error": _GONE}:
            raise BoardError(f"{board} disappeared before it answered '{what}': {_GONE}")
        if isinstance(answer, dict) and "error" in answer:
            raise BoardError(f"{board} refuses '{what}': {answer['error']}")
        return answer

    def put(self, board: str, what: str, payload: bytes = b"", route: int = 0) -> Future[Any]:
        """Ask without waiting."""
        future: Future[Any] = Future()
        with self._lock:
            self._number += 1
            self._waiting[self._number] = board, future
            packet = Packet("ask", CLIENT, self._session.number, self._number, route, what, payload)
        self._outbox.put(board, packet)
        return future

    def answered(self, packet: Packet) -> None:
        """An answer or an echo of this session has come.

        Raises:
            ValueError: it is no JSON, or of a board that was not asked.
            RecursionError: it is nested too deep.
        """
        if packet.kind == "echo":
            if self._probe is not None:
                self._probe.echoed(packet)
            return
        content = json.loads(packet.payload)
        with self._lock:
            board, future = self._waiting.get(packet.image, (packet.sender, None))
            if board != packet.sender:
                raise ValueError(f"an answer to what {board} was asked")
            self._waiting.pop(packet.image, None)
        if future is not None:
            future.set_result(content)

    def gone(self, board: str) -> None:
        """A board has disappeared: whoever waits for its answers hears of it now."""
        with self._lock:
            lost = [(n, future) for n, (name, future) in self._waiting.items() if name == board]
            for number, _ in lost:
                del self._waiting[number]
        for _, future in lost:
            future.set_result({"error": _GONE})

    def clock_offset_s(self, board: str) -> float:
        """How far a board's clock is ahead of ours: the quickest of a few answers tells best.

        Raises:
            BoardError: it does not answer.
        """
        found: list[tuple[float, float]] = []
        for _ in range(_CLOCK_PINGS):
            asked = time.monotonic()
            identity = self.ask(board, "ping", timeout_s=1.0)
            now = time.monotonic()
            found.append((now - asked, identity["clock_s"] - (asked + now) / 2))
        return min(found)[1]

    def probe(self, board: str, timeout_s: float = 30.0) -> LinkFigures:
        """Measure the link to a board.

        Raises:
            BoardError: no echo comes.
        """
        future: Future[Any] = Future()

        def put(number: int, size: int, sent: Sent) -> None:
            packet = Packet("probe", CLIENT, self._session.number, number, payload=bytes(size))
            self._outbox.put(board, packet, sent)

        self._probe = Probe(put, future.set_result)
        self._probe.begin()
        try:
            return LinkFigures(**future.result(timeout_s))
        except FutureTimeoutError:
            raise BoardError(f"no echo from {board} within {timeout_s:g} s") from None
