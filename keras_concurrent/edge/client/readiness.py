"""Waits for boards: until they listen, have the bundle, and reach each other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.questions import Questions
from keras_concurrent.edge.link.answers import Identity
from keras_concurrent.edge.link.questions import Ping
from keras_concurrent.edge.link.transport import Channel
from keras_concurrent.errors import BoardError, BundleError

_log = logging.getLogger(__name__)
_PING_INTERVAL_S = 0.1
_LOOK_INTERVAL_S = 0.01


class Readiness:
    """What a client knows of its boards before it asks them for images.

    Args:
        bundle: that they must have.
        boards: those that the plan uses.
        channel: to them.
        questions: to ask them.
        is_here: whether a board was seen.
        links: is told whom a board does not reach.
    """

    def __init__(
        self,
        bundle: Bundle,
        boards: tuple[str, ...],
        channel: Channel,
        questions: Questions,
        is_here: Callable[[str], bool],
        links: Callable[[str, Iterable[str]], None],
    ) -> None:
        self._bundle, self._boards = bundle, boards
        self._channel, self._questions = channel, questions
        self._is_here, self._links = is_here, links
        self.slowdowns: dict[str, float] = {}
        """How many times boards that are emulated were slowed down."""

    def wait(self, timeout_s: float, *, all_boards: bool) -> tuple[str, ...]:
        """Wait for all boards of the plan; those that are missing at the end.

        Args:
            timeout_s: how long.
            all_boards: whether a missing board is an error.

        Raises:
            BoardError: a board is not ready in time; says which and what it lacks.
            BundleError: a board has another bundle.
            ProtocolError: a board speaks another version of the protocol.
        """
        deadline = time.monotonic() + timeout_s
        state: dict[str, str] = dict.fromkeys(self._boards, "does not answer")
        while state:
            for board in list(state):
                self._questions.check_protocol(*self._boards)
                identity = self._identify(board, min(1.0, deadline - time.monotonic()))
                if identity is None:
                    continue
                unreached = set(identity.unreached).intersection(self._boards)
                if unreached and all_boards:
                    state[board] = f"does not reach {', '.join(sorted(unreached))}"
                else:
                    del state[board]
            if state and time.monotonic() > deadline:
                faults = "; ".join(f"{board} {fault}" for board, fault in state.items())
                if all_boards:
                    raise BoardError(f"not ready after {timeout_s:g} s: {faults}")
                _log.warning("goes on without some boards: %s", faults)
                break
            if state:
                time.sleep(_PING_INTERVAL_S)
        return tuple(state)

    def reach(self, boards: Iterable[str], timeout_s: float) -> tuple[str, ...]:
        """Wait for boards that listen, whatever bundle they have; those that were found.

        Those that speak another version of the protocol are not waited for.
        """
        deadline = time.monotonic() + timeout_s
        wanted = tuple(boards)
        while not all(map(self._is_known, wanted)) and time.monotonic() < deadline:
            time.sleep(_LOOK_INTERVAL_S)
        return tuple(filter(self._is_here, wanted))

    def _is_known(self, board: str) -> bool:
        return self._is_here(board) or board in self._questions.other_protocols

    def _identify(self, board: str, timeout_s: float) -> Identity | None:
        """What a board says of itself; ``None`` where it does not."""
        if board in self._channel.unreached():
            return None
        try:
            identity = self._questions.ask(board, Ping(), timeout_s=timeout_s)
        except BoardError:
            return None
        if identity.bundle_sha256 != self._bundle.sha256:
            raise BundleError(
                f"{board} has another bundle: expected SHA-256 {self._bundle.sha256[:12]}, "
                f"got {identity.bundle_sha256[:12]}"
            )
        if identity.slowdown:
            self.slowdowns[board] = identity.slowdown
        if not self._is_here(board):
            return None
        self._links(board, identity.unreached)
        return identity
