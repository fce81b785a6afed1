"""Questions that a client waits to have answered, and boards that owe an answer."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Protocol, cast

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.link import answers, protocol
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.probe import CONTENT, LinkProbe
from keras_concurrent.edge.link.protocol import (
    Answer,
    Echo,
    Probe,
    version_fault,
)
from keras_concurrent.edge.link.questions import AnswerT, AnyQuestion, Ping, Question, Route
from keras_concurrent.edge.link.transport import Clock
from keras_concurrent.errors import BoardError, ProtocolError

_CLOCK_PINGS = 9


class UnansweredError(BoardError):
    """A question has no answer, and will get none.

    Args:
        board: that was asked.
        what: it did instead of answering.
        question: that it was asked.
        cause: why.
    """

    def __init__(self, board: str, what: str, question: Question[Any], cause: str) -> None:
        super().__init__(f"{board} {what} '{question}': {cause}")
        self.cause = cause


class Ask(Protocol):
    """Asks a board something and awaits its answer: `Questions.ask`."""

    def __call__(
        self, board: str, question: Question[AnswerT], *, timeout_s: float = 5.0
    ) -> AnswerT:
        """See `Questions.ask`."""


@dataclass(frozen=True)
class _Waiting:
    board: str
    question: Question[Any]
    future: Future[Any]

    def fail(self, what: str, cause: str) -> None:
        """There will be no answer."""
        self.future.set_exception(UnansweredError(self.board, what, self.question, cause))


class Questions:
    """Questions that wait for their answers.

    Args:
        outbox: sends them.
        session: number by which boards know the client.
        clock: the client's.
    """

    def __init__(self, outbox: Outbox, session: int, clock: Clock) -> None:
        self._outbox, self._session, self._clock = outbox, session, clock
        self._lock = threading.Lock()
        self._number = 0
        self._waiting: dict[int, _Waiting] = {}
        self._probe: LinkProbe | None = None
        self.other_protocols: dict[str, int] = {}
        """Boards that are there and speak another version of the protocol, and which."""

    # ------------------------------------------------------------- what is asked

    def ask(self, board: str, question: Question[AnswerT], *, timeout_s: float = 5.0) -> AnswerT:
        """Ask a board something and await its answer.

        Args:
            board: its name.
            question: what is asked.
            timeout_s: how long to wait.

        Raises:
            BoardError: no answer in time, the board says what is wrong with the question, or
                answers something else.
            ProtocolError: the board speaks another version of the protocol.
        """
        self.check_protocol(board)
        future = self.put(board, question)
        try:
            result: AnswerT = future.result(max(0.0, timeout_s))
        except FutureTimeoutError:
            self.forget(future)
            fault = f"{board} does not answer '{question}' within {timeout_s:g} s"
            raise BoardError(fault) from None
        return result

    def put(self, board: str, question: Question[AnswerT]) -> Future[AnswerT]:
        """Ask without waiting. The future holds the answer, or raises `UnansweredError`."""
        future: Future[AnswerT] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = _Waiting(board, question, future)
        asked = cast(AnyQuestion, question)  # each of them is a Question of its answer
        self._outbox.put(board, protocol.Ask(self._session, number, asked))
        return future

    def forget(self, future: Future[Any]) -> None:
        """Nobody waits for an answer any more."""
        with self._lock:
            self._waiting = {n: w for n, w in self._waiting.items() if w.future is not future}

    def loads(self, board: str) -> bool:
        """Whether a board was asked for what makes it load segments, and has not answered."""
        with self._lock:
            return any(
                waiting.board == board and isinstance(waiting.question, Route)
                for waiting in self._waiting.values()
            )

    def check_protocol(self, *boards: str) -> None:
        """Boards that are there speak this client's version of the protocol.

        Raises:
            ProtocolError: some do not; says which, and what to do.
        """
        others = self.other_protocols.copy()
        faults = [
            version_fault(f"board {board}", others[board], CLIENT)
            for board in boards
            if board in others
        ]
        if faults:
            raise ProtocolError("; ".join(faults))

    # ------------------------------------------------------------- what arrives

    def answered(self, board: str, answer: Answer) -> None:
        """An answer of this session has come.

        Raises:
            BoardError: of a board that was not asked.
        """
        with self._lock:
            waiting = self._waiting.get(answer.number)
            if waiting is None:
                return  # for too long
            if waiting.board != board:
                raise BoardError(f"{board} answers what {waiting.board} was asked")
            del self._waiting[answer.number]
        result = answer.result
        if isinstance(result, waiting.question.answer):
            waiting.future.set_result(result)
        elif isinstance(result, answers.Refusal):
            waiting.fail("refuses", result.cause)
        else:
            wanted, came = waiting.question.answer.__name__, type(result).__name__
            waiting.fail("misunderstands", f"expected {wanted}, got {came}")

    def echoed(self, echo: Echo, received_s: float) -> None:
        """An echo of this session has come."""
        if self._probe is not None:
            self._probe.echoed(echo.number, received_s)

    def gone(self, board: str) -> None:
        """A board has disappeared: whoever waits for its answers hears of it now."""
        self._fail(board, "disappeared before it answered", "its process has ended, or its link")

    def malformed(self, board: str, cause: str) -> None:
        """What a board has sent was refused; it may have been the answer that is waited for."""
        self._fail(board, "was not understood when it was asked", cause)

    def _fail(self, board: str, what: str, cause: str) -> None:
        with self._lock:
            lost = {n: waiting for n, waiting in self._waiting.items() if waiting.board == board}
            for number in lost:
                del self._waiting[number]
        for waiting in lost.values():
            waiting.fail(what, cause)

    # ------------------------------------------------------------- clocks and links

    def clock_offset_s(self, board: str) -> float:
        """How far a board's clock is ahead of ours: the quickest of a few answers tells best.

        Raises:
            BoardError: it does not answer.
        """
        offsets: list[tuple[float, float]] = []  # how long the answer took, what it says
        for _ in range(_CLOCK_PINGS):
            asked = self._clock()
            identity = self.ask(board, Ping(), timeout_s=1.0)
            now = self._clock()
            offsets.append((now - asked, identity.clock_s - (asked + now) / 2))
        return min(offsets)[1]

    def probe(self, board: str, timeout_s: float = 30.0) -> answers.LinkFigures:
        """Measure the link to a board.

        Raises:
            BoardError: no echo comes.
        """
        future: Future[answers.LinkFigures] = Future()

        def put(number: int, size: int) -> None:
            self._outbox.put(board, Probe(self._session, number, CONTENT[:size]))

        self._probe = LinkProbe(
            put,
            future.set_result,
            self._clock,
            time.process_time,
            direct=self._outbox.direct(board),
        )
        self._probe.begin()
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            raise BoardError(f"no echo from {board} within {timeout_s:g} s") from None
