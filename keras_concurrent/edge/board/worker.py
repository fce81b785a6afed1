"""A board's process: it runs its segments as their tensors arrive and sends the results on.

One thread reads what comes, computes, and sends what the network takes at once; while it computes
for long another reads, and another sends what had to wait, so a board computes while the network
works. Meanwhile a third says, when asked, that the board is there: it is busy, not dead. Which
segment and which message comes next is the engine's decision; what the board does for an image is
its route, which its client tells beforehand. What several clients of one board share says
`keras_concurrent.edge.board.sessions`.
"""

from __future__ import annotations

import threading
import time

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.board.depot import Depot
from keras_concurrent.edge.board.health import Health
from keras_concurrent.edge.board.heap import MUCH_BYTES, Heap
from keras_concurrent.edge.board.sessions import Sessions
from keras_concurrent.edge.board.status import Counts, machine
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.work import Work
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.complaints import Complaints
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.message_stretch import MessageStretch
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.pacing import Pacer
from keras_concurrent.edge.link.probe import CONTENT, LinkProbe
from keras_concurrent.edge.link.protocol import (
    MOST_MANIFEST_BYTES,
    MOST_PROBE_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Ask,
    Drop,
    Echo,
    Links,
    Message,
    Probe,
    Tensor,
    content_of,
    version_fault,
)
from keras_concurrent.edge.link.transport import Channel, Gone, Here, Left, Malformed, Packet
from keras_concurrent.errors import BundleError, ConcurrentError

_MOST_ROUTES = 1024
_TELL_AGAIN_S = 2.0  # whom it does not reach: what it told may have been lost
_LONG_S = 1e-3  # a thread costs less than waiting so long


class Board:
    """One board at work.

    Args:
        name: the board's, as in the cluster file.
        bundle: the segments; ``None`` where none was deployed yet.
        channel: to the client and the other boards.
        others: names of the boards that it may send to.
        workshop: computes; by default on this machine as it is.
        pacer: keeps its messages in order, see `keras_concurrent.edge.link.pacing.pacer_of`.
        messages: makes them take as long as an emulated board's.
        store: where deployed bundles are kept; without it none can be deployed.

    Raises:
        BundleError: a segment cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        bundle: Bundle | None,
        channel: Channel,
        others: frozenset[str],
        workshop: Workshop | None = None,
        *,
        pacer: Pacer | None = None,
        messages: MessageStretch | None = None,
        store: Store | None = None,
    ) -> None:
        self.name = name
        self._channel = channel
        self._receivers = others | {CLIENT}
        self._workshop = workshop or Workshop()
        self._outbox = Outbox(channel, pacer)
        self._messages = messages
        self._depot = Depot(name, store, self._workshop, self._take_bundle)
        self._absent = set(others)
        self._tell_again_s = 0.0
        self._heap = Heap()
        self._complain = Complaints(name)
        self._counts = Counts()
        self._probe: LinkProbe | None = None
        self._sessions = Sessions(self._begin, self._outbox, channel.clock)
        if bundle is not None:
            self._take_bundle(bundle, finish=False)
        self._health = Health(lambda ask: self._tell(ask, self._identity()))
        channel.largest, channel.at_once = self._largest, self._health.at_once

    def _begin(self, session: int) -> Work:
        return Work(
            self.name, session, self._workshop.as_it_is(), self._outbox, self._counts,
            self._complain, self._channel.clock, self._messages,
        )  # fmt: skip

    def _take_bundle(self, bundle: Bundle, *, finish: bool) -> None:
        self._sessions.end_finishing()  # there is memory for two bundles, not for three
        self._workshop.take(bundle, self.name)
        self._counts.forget_segments()
        self._sessions.exchange(finish=finish)

    def serve(self, stopped: threading.Event) -> None:
        """Work until told to stop."""
        try:
            while not stopped.is_set():
                packet = self._channel.receive(0.0 if self._sessions.pending else 0.1)
                if packet is not None:
                    self._handle(packet)
                self._sessions.look()
                if time.monotonic() >= self._tell_again_s:
                    self._tell_links()
                self._heap.look()
                if self._sessions.pending:  # however many messages come, the work goes on
                    self._step()
                elif packet is None and self._channel.refused():
                    self._complain("a stranger", "sent messages that are none of ours: refused")
        finally:
            self._health.close()
            self._outbox.close()

    def _step(self) -> None:
        """Do the next thing; while that takes long, what comes is taken meanwhile."""
        if self._sessions.next_s < _LONG_S:
            with self._health.busy():
                self._sessions.step()
            return
        with self._health.busy(), self._channel.attended():
            self._sessions.step()

    # ------------------------------------------------------------- what arrives

    def _largest(self, sender: str, message: Message) -> int:
        """The most content of a message that is worth taking; called in the network's threads."""
        if isinstance(message, Tensor):
            return self._largest_tensor(message)
        if isinstance(message, Probe):
            return MOST_PROBE_BYTES
        if isinstance(message, Ask) and sender == CLIENT:
            if isinstance(message.question, questions.File):
                return self._depot.largest(message.question.sha256)
            if isinstance(message.question, questions.Offer):
                return MOST_MANIFEST_BYTES
        return 0

    def _largest_tensor(self, tensor: Tensor) -> int:
        """The bytes of a tensor by its number; on an unknown route the most that any has.

        There the number may be of another bundle: the client is to be told, see `Sessions.accept`.
        """
        work = self._sessions.taking(tensor)
        if work is not None:
            return work.largest(tensor.tensor)
        return max((spec.bytes for spec in self._workshop.manifest.tensors.values()), default=0)

    def _handle(self, packet: Packet) -> None:
        sender, message = packet.sender, packet.message
        if isinstance(message, Malformed) or (
            isinstance(message, Ask) and len(content_of(message)) > MUCH_BYTES
        ):
            self._heap.much_was_freed()
        if isinstance(message, (Here, Gone)):
            self._notice(sender, message)
        elif isinstance(message, Left):
            self._sessions.left(message.session)
        elif sender not in self._receivers:
            self._complain("a stranger", "sent messages that are none of ours: refused")
        elif isinstance(message, Malformed):
            self._complain(sender, f"sent what was refused: {message.cause}", "a wrong message")
        elif isinstance(message, Tensor):
            self._sessions.accept(sender, message, packet.received_s)
        elif isinstance(message, Probe):
            self._handled(len(message.content))
            self._handled(0)
            self._outbox.put(sender, Echo(message.session, message.number))
        elif isinstance(message, Echo):
            self._handled(0)
            if self._probe is not None:
                self._probe.echoed(message.number, self._channel.clock())
        elif sender != CLIENT or not isinstance(message, (Ask, Drop)):
            kind = type(message).__name__
            self._complain(sender, f"sent a message that is not its to send: {kind}")
        elif isinstance(message, Ask):
            self._answer(message)
        elif (work := self._sessions.of(message.session)) is not None:
            work.drop(message.image)

    def _handled(self, size: int) -> None:
        """A message of so many bytes was taken in, or is about to be sent."""
        if self._messages is not None:
            self._messages.handled(size)

    def _notice(self, other: str, presence: Here | Gone) -> None:
        """Another participant has appeared or disappeared: the client plans by it."""
        if presence.protocol != PROTOCOL_VERSION:
            if isinstance(presence, Here):
                called = "the client" if other == CLIENT else f"board {other}"
                fault = version_fault(called, presence.protocol, "board")
                self._complain(other, f"is not heard: {fault}")
            return
        here = isinstance(presence, Here)
        if other == CLIENT and not here:
            self._depot.release()
        if other != CLIENT:
            (self._absent.discard if here else self._absent.add)(other)
        if other != CLIENT or here:
            self._tell_links()

    def _tell_links(self) -> None:
        self._tell_again_s = time.monotonic() + _TELL_AGAIN_S
        self._outbox.put(CLIENT, Links(tuple(sorted(self._absent))))

    # ------------------------------------------------------------- what is asked

    def _answer(self, ask: Ask) -> None:
        """Do what the client asks; whatever is wrong with it is the answer."""
        try:
            if isinstance(ask.question, questions.Probe):
                self._begin_probe(ask, ask.question.board)  # which answers when it is done
                return
            with self._health.busy():
                result = self._result(ask)
        except Exception as error:  # whatever was asked, the board goes on
            told = isinstance(error, (ConcurrentError, OSError))
            cause = str(error) if told else type(error).__name__
            self._complain(CLIENT, f"asked for what cannot be done: {cause}", "a wrong question")
            result = answers.Refusal(cause)
        self._tell(ask, result)

    def _result(self, ask: Ask) -> answers.Result:
        match ask.question:
            case questions.Ping():
                return self._identity()
            case questions.Status():
                return self._status()
            case questions.Trace(image):
                work = self._sessions.of(ask.session)
                return answers.Trace(work.notes.of(image) if work is not None else ())
            case questions.Measure(segments, threads):
                return answers.Measured(self._workshop.measure(segments, threads))
            case questions.Route() as route:
                return self._take_route(ask.session, route)
            case (
                questions.Offer() | questions.File() | questions.Switch() | questions.RollBack()
            ) as deployment:
                return self._depot.answer(deployment, ask.session)
        raise BundleError(f"nothing is known of {ask.question}")

    def _tell(self, ask: Ask, result: answers.Result) -> None:
        self._outbox.put(CLIENT, Answer(ask.session, ask.number, result))

    def _identity(self) -> answers.Identity:
        return answers.Identity(
            board=self.name,
            bundle_sha256=self._workshop.sha256,
            slowdown=self._workshop.slowdown,
            clock_s=self._channel.clock(),
            unreached=tuple(sorted({*self._absent, *self._channel.unreached()} - {CLIENT})),
        )

    def _status(self) -> answers.Status:
        return answers.Status(
            identity=self._identity(),
            machine=machine(),
            refused=self._channel.refused(),
            images=self._counts.images,
            in_flight=self._sessions.images,
            compute_s=self._counts.compute_s,
            p95_s=self._counts.p95_s(),
            threads=self._workshop.threads,
            messages=self._counts.messages,
            message_bytes=self._counts.message_bytes,
            beside_computing_s=self._spent_s() - self._counts.computing_s,
        )

    def _spent_s(self) -> float:
        """Processor time so far; of an emulated board, what it was made to take."""
        if self._messages is None:
            return time.process_time()
        return self._messages.taken_s() + self._counts.computing_s

    def _begin_probe(self, ask: Ask, other: str) -> None:
        """Measure the link to another board; the answer follows when its last echo has come."""
        if other not in self._receivers or other == CLIENT:
            raise BundleError(f"no board is named {other[:40]!r}")

        def put(number: int, size: int) -> None:
            self._handled(size)
            self._outbox.put(other, Probe(0, number, CONTENT[:size]))

        self._probe = LinkProbe(
            put,
            lambda figures: self._tell(ask, figures),
            self._channel.clock,
            time.process_time if self._messages is None else self._messages.taken_s,
            direct=self._channel.direct(other),
        )
        self._probe.begin()

    def _take_route(self, session: int, route: questions.Route) -> answers.RouteTaken:
        """Learn what to do on a route, and load what it needs.

        Raises:
            BundleError: another bundle is meant, or the route names what is not there.
        """
        if route.bundle_sha256 != self._workshop.sha256:
            raise BundleError(f"another bundle is here: SHA-256 {self._workshop.sha256[:12]}")
        self._workshop.check_program(route.program, self._receivers, route.senders)
        engine = self._sessions.served(session).engine
        engine.keep(route.routes)
        if len(engine.routes) >= _MOST_ROUTES:
            raise BundleError(f"too many routes, at most {_MOST_ROUTES}")
        for name in route.program.segments:
            self._workshop.load(name)
        engine.learn(route.number, route.program, route.senders)
        return answers.RouteTaken(tuple(sorted(self._absent)))
