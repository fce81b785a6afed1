"""What a client makes of what arrives, and does of what was decided.

`keras_concurrent.edge.client.requests` decides; here its instructions are carried out: messages are
sent, futures are answered, and this machine computes when no board is left.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from functools import partial

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.flights import Flights, Outputs
from keras_concurrent.edge.client.instructions import (
    Answer,
    Begin,
    Check,
    Compute,
    Forget,
    Instruction,
    Offer,
)
from keras_concurrent.edge.client.own_interpreter import OwnInterpreter
from keras_concurrent.edge.client.pace import Pace
from keras_concurrent.edge.client.questions import Questions, UnansweredError
from keras_concurrent.edge.client.requests import Requests
from keras_concurrent.edge.client.routes import Reroute
from keras_concurrent.edge.client.suspects import Suspects
from keras_concurrent.edge.complaints import Complaints
from keras_concurrent.edge.link import answers, protocol
from keras_concurrent.edge.link.message_stretch import MessageStretch
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.protocol import PROTOCOL_VERSION, new_session, version_fault
from keras_concurrent.edge.link.questions import Route, Trace
from keras_concurrent.edge.link.transport import Channel, Gone, Here, Left, Malformed, Packet
from keras_concurrent.edge.placement import Event
from keras_concurrent.edge.timeline import Record
from keras_concurrent.errors import BoardError, ProtocolError
from keras_concurrent.network import SERVER_CORE_S

_log = logging.getLogger(__name__)
_AGAIN_S, _LAST_AGAIN_S = 1.0, 16.0
"""After so long, and then twice as long, a board is told again what it does on a route."""


class Dispatch:
    """One client's hands. Whoever uses it holds its lock.

    Args:
        bundle: the one that the boards have.
        cluster: the boards; anything from others is dropped.
        channel: to them.
        outbox: sends on it.
        reroute: the placement without some boards, or ``None`` where that leaves none.
        pace: judges which boards have become slow.
        computes: compute here when no board is left.
    """

    def __init__(
        self, bundle: Bundle, cluster: Cluster, channel: Channel, outbox: Outbox, reroute: Reroute,
        pace: Pace, *, computes: bool,
    ) -> None:  # fmt: skip
        self.lock = threading.RLock()
        """Guards all of this: images are asked for in many threads."""
        self.session = new_session()
        """By which boards know this client; what answers another session's images is dropped."""
        self.flights = Flights(bundle.manifest, self.session, channel.clock)
        """The images that were asked for."""
        names = [board.name for board in cluster.boards]
        self.requests = Requests(names, self.flights.outputs, reroute, computes=computes)
        """Decides."""
        self.questions = Questions(outbox, self.session, channel.clock)
        """What can be asked of boards beside images."""
        self._cluster, self._pace = cluster, pace
        self._messages: MessageStretch | None = None
        self._bundle, self._boards, self._outbox = bundle, frozenset(names), outbox
        self._suspects = Suspects(self.questions)
        self._offered: dict[tuple[str, int], tuple[Offer, float, float]] = {}  # again when, by
        self._own = OwnInterpreter(bundle)
        self._complain = Complaints(CLIENT)
        channel.largest = self._largest

    def close(self) -> None:
        """End what was begun."""
        self._own.close()
        self.flights.close()

    def slow_messages(self, *, emulated: bool) -> None:
        """Where boards are emulated, the client's messages take what is described of it, too."""
        described = self._cluster.message_costs_s(CLIENT)
        if emulated and any(own > here for own, here in zip(described, SERVER_CORE_S, strict=True)):
            self._messages = MessageStretch(described)

    # ------------------------------------------------------------- what arrives

    def _largest(self, sender: str, message: protocol.Message) -> int | None:
        """Only outputs have content; asked before memory is taken for it."""
        if isinstance(message, protocol.Tensor) and sender in self._boards:
            if message.session != self.session:
                return None  # over Zenoh all clients get each other's
            return self.flights.largest(message.tensor)
        return 0

    def take(self, packet: Packet) -> None:
        """Do what follows from a packet; nothing from one that is none of ours."""
        board, message = packet.sender, packet.message
        if board not in self._boards:
            return
        if isinstance(message, Left):
            return  # only boards have clients
        if isinstance(message, (Here, Gone)):
            self._notice(board, message)
        elif isinstance(message, Malformed):
            self._complain(board, f"sent what was refused: {message.cause}", "a wrong message")
            self.questions.malformed(board, message.cause)
        elif isinstance(message, protocol.Links):
            self.carry_out(self.requests.links(board, message.unreached))
        elif isinstance(message, (protocol.Ask, protocol.Drop, protocol.Probe)):
            kind = type(message).__name__
            self._complain(board, f"sent a message that is not its to send: {kind}")
        elif message.session != self.session:
            return
        elif isinstance(message, protocol.Tensor):
            self._output(board, message, packet.received_s)
        elif isinstance(message, protocol.Failed):
            where = f" in {message.segment}" if message.segment else ""
            reason = f"{board} failed{where}: {message.cause}"
            self.carry_out(self.requests.failed(message.image, reason))
        elif isinstance(message, protocol.Echo):
            self.questions.echoed(message, packet.received_s)
        else:
            try:
                self.questions.answered(board, message)
            except BoardError as error:
                self._complain(board, f"sent an answer that is not its to give: {error}")

    def _notice(self, board: str, presence: Here | Gone) -> None:
        """A board has appeared or disappeared; one of another version is as if not there."""
        if presence.protocol != PROTOCOL_VERSION:
            if isinstance(presence, Here):
                self.questions.other_protocols[board] = presence.protocol
                fault = version_fault(f"board {board}", presence.protocol, CLIENT)
                self._complain(board, f"is not used: {fault}")
                self._gone(board)
            else:
                self.questions.other_protocols.pop(board, None)
        elif isinstance(presence, Here):
            self.questions.other_protocols.pop(board, None)
            self._suspects.clear(board)
            self.carry_out(self.requests.here(board))
        else:
            self._gone(board)

    def _gone(self, board: str) -> None:
        self._suspects.clear(board)
        instructions = self.requests.gone(board)
        self.questions.gone(board)  # routes that it was offered are none of its any more
        self.carry_out(instructions)

    def _output(self, board: str, tensor: protocol.Tensor, received_s: float) -> None:
        try:
            name = self.flights.take(board, tensor, received_s)
        except ProtocolError as error:  # whoever is to send it may still do so
            self._complain(board, str(error))
        except BoardError as error:
            self.carry_out(self.requests.failed(tensor.image, str(error)))
        else:
            if name is not None:
                self._handled(tensor)
                self.carry_out(self.requests.arrived(tensor.image, name))

    def look(self) -> None:
        """Do what time brings: deadlines, and boards that have done nothing for too long."""
        now = time.monotonic()
        due = self.requests.next_deadline()
        if due is not None and due <= now:
            self.carry_out(self.requests.tick(now))
        if self._pace.forgives(now):
            self.carry_out(self.requests.replan())
        self._offer_again(now)
        out, back = self._suspects.look(now)
        for board in out:
            self.carry_out(self.requests.gone(board))
        for board in back:
            self.carry_out(self.requests.here(board))

    # ------------------------------------------------------------- what is done

    def carry_out(self, instructions: list[Instruction]) -> None:
        """Do what was decided."""
        for instruction in instructions:
            if isinstance(instruction, Offer):
                self._offer(instruction)
            elif isinstance(instruction, Begin):
                placement = self.requests.placement(instruction.route)
                for receiver, tensor, sent in self.flights.begin(instruction, placement):
                    self._handled(tensor)
                    self._outbox.put(receiver, tensor, sent)
            elif isinstance(instruction, Forget):
                self.flights.forget(instruction.image)
                drop = protocol.Drop(self.session, instruction.image)
                for board in instruction.boards:
                    self._outbox.put(board, drop)
            elif isinstance(instruction, Answer):
                self.flights.answer(instruction.request, instruction.image)
                self._look_into(self.flights.last)
            elif isinstance(instruction, Check):
                self._suspects.ask(instruction.boards, time.monotonic())
            elif isinstance(instruction, Compute):
                self._compute(instruction.request)
            else:
                self.flights.fail(instruction.request, instruction.reason)

    def _handled(self, tensor: protocol.Tensor) -> None:
        if self._messages is not None:
            self._messages.handled(len(tensor.content))

    def _offer_again(self, now: float) -> None:
        """What a board has not answered may have been lost, or its answer."""
        for key, (offer, due, pause_s) in list(self._offered.items()):
            if due <= now:
                del self._offered[key]
                if offer.route in self.requests.routes():
                    self._offer(offer, min(2 * pause_s, _LAST_AGAIN_S))

    def _offer(self, offer: Offer, pause_s: float = _AGAIN_S) -> None:
        key = offer.board, offer.route
        self._offered[key] = offer, time.monotonic() + pause_s, pause_s
        routes = tuple(self.requests.routes())
        senders = self.requests.placement(offer.route).senders_to(offer.board)
        route = Route(offer.route, self._bundle.sha256, offer.program, senders, routes)
        future = self.questions.put(offer.board, route)

        def answered(future: Future[answers.RouteTaken]) -> None:  # in the thread with the lock
            self._offered.pop(key, None)
            try:
                unreached = future.result().unreached
            except UnansweredError as error:
                self._refused(offer, error.cause)
                return
            self.carry_out(self.requests.links(offer.board, unreached))
            self.carry_out(self.requests.acknowledged(offer.board, offer.route))

        future.add_done_callback(answered)

    def _look_into(self, record: Record | None) -> None:
        """If an image came late, ask its boards what they did when, and share the work anew."""
        if record is None:
            return
        placement = self.requests.placement(record.route)
        latency_s = max(record.arrived_s.values(), default=record.started_s) - record.started_s
        if not self._pace.is_late(placement, latency_s, time.monotonic()):
            return
        events: dict[str, tuple[Event, ...]] = {}

        def answered(board: str, future: Future[answers.Trace]) -> None:  # with the lock
            if future.exception() is None:
                events[board] = future.result().events
            if len(events) == len(placement.programs):
                before = dict(self._pace.slowness)
                if self._pace.judge(placement, events, time.monotonic()):
                    _log.warning("takes longer than planned, and gets less: %s", ", ".join(
                        f"{b} {times:.1f} times" for b, times in self._pace.slowness.items()
                        if times != before.get(b)
                    ))  # fmt: skip
                    self.carry_out(self.requests.replan())

        for board in placement.programs:
            asked = self.questions.put(board, Trace(record.image))
            asked.add_done_callback(partial(answered, board))

    def _refused(self, offer: Offer, reason: str) -> None:
        if self.requests.is_here(offer.board):
            _log.warning("%s does not take its part: %s", offer.board, reason)
        self.carry_out(self.requests.refused(offer.board, offer.route, reason))

    def _compute(self, request: int) -> None:
        """Recognise an image here: no board is left."""

        def done(outputs: Outputs) -> None:
            with self.lock:
                waited, following = self.requests.computed(request)
                if waited:
                    self.flights.deliver(request, outputs)
                self.carry_out(following)

        def failed(reason: str) -> None:
            with self.lock:
                waited, following = self.requests.computed(request)
                if waited:
                    self.flights.fail(request, reason)
                self.carry_out(following)

        self._own.compute(self.flights.values(request), done, failed)
