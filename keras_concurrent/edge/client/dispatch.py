"""What a client makes of the packets that arrive."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection

from keras_concurrent.edge.client.flights import Flights
from keras_concurrent.edge.client.instructions import Instruction
from keras_concurrent.edge.client.questions import Questions, Suspects
from keras_concurrent.edge.client.requests import Requests
from keras_concurrent.edge.link.protocol import Session
from keras_concurrent.edge.link.transport import GONE, HERE, MOST_ANSWER_BYTES, Packet
from keras_concurrent.errors import BoardError

_log = logging.getLogger(__name__)


class Inbox:
    """Takes packets, and tells what follows from them.

    Args:
        boards: names of those that may send; anything from others is dropped.
        session: of the client; what answers another session's images is dropped.
        requests: told of boards that come and go, and of outputs and failures.
        flights: get the outputs' values.
        questions: get their answers.
        suspects: who comes or goes is none any more.
    """

    def __init__(
        self, boards: Collection[str], session: Session, requests: Requests, flights: Flights,
        questions: Questions, suspects: Suspects,
    ) -> None:  # fmt: skip
        self._boards, self._session = frozenset(boards), session
        self._requests, self._flights = requests, flights
        self._questions, self._suspects = questions, suspects

    def largest(self, packet: Packet) -> int:
        """Bytes that a packet's payload may have; asked before memory is taken for it."""
        return self._flights.largest(packet) if packet.kind == "tensor" else MOST_ANSWER_BYTES

    def take(self, packet: Packet) -> list[Instruction]:
        """What follows from a packet; nothing from one that is none of ours."""
        board = packet.sender
        if board not in self._boards:
            return []
        if packet.kind == HERE:
            self._suspects.clear(board)
            return self._requests.here(board)
        if packet.kind == GONE:
            self._suspects.clear(board)
            instructions = self._requests.gone(board)
            self._questions.gone(board)  # routes that it was offered are none of its any more
            return instructions
        try:
            return self._message(packet)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            _log.warning("%s sent a message that is none of ours: %r", board, error)
            return []

    def _message(self, packet: Packet) -> list[Instruction]:
        if packet.kind == "links":
            return self._requests.links(packet.sender, json.loads(packet.payload))
        if packet.session != self._session.number:
            return []
        if packet.kind == "tensor":
            return self._output(packet)
        if packet.kind == "error":
            told = json.loads(packet.payload)
            where = f" in {told['segment']}" if told["segment"] else ""
            reason = f"{packet.sender} failed{where}: {told['cause']}"
            return self._requests.failed(packet.image, reason)
        if packet.kind in ("answer", "echo"):
            self._questions.answered(packet)
        return []

    def _output(self, packet: Packet) -> list[Instruction]:
        try:
            if not self._flights.take(packet):
                return []
        except BoardError as error:
            return self._requests.failed(packet.image, str(error))
        return self._requests.arrived(packet.image, packet.name)
