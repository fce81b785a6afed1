"""A board's process: it runs its segments as their tensors arrive and sends the results on.

Tensors arrive in Zenoh's threads, one thread computes, one sends; so a board computes while the
network works. Which segment and which message comes next is the engine's decision; what the board
does for an image is its route, which the client tells beforehand.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from typing import Any

import numpy as np

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.board.complaints import Complaints
from keras_concurrent.edge.board.depot import Depot
from keras_concurrent.edge.board.engine import Engine, Finish, Instruction, Run, Transmit
from keras_concurrent.edge.board.status import Counts, machine
from keras_concurrent.edge.board.store import Store
from keras_concurrent.edge.board.stretch import Interface, Pacer
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.probe import Probe
from keras_concurrent.edge.link.transport import (
    GONE,
    HERE,
    MOST_ANSWER_BYTES,
    MOST_PROBE_BYTES,
    Channel,
    Packet,
)
from keras_concurrent.edge.manifest import Manifest, Program, Send
from keras_concurrent.edge.timeline import Log
from keras_concurrent.errors import BundleError, ConcurrentError
from keras_concurrent.interpreter import Array

_log = logging.getLogger(__name__)
_MOST_ROUTES = 1024


class Board:
    """One board at work.

    Args:
        name: of the board.
        bundle: the segments; ``None`` where none was deployed yet.
        channel: to the client and the other boards.
        others: names of the boards that it may send to.
        workshop: computes; by default on this machine as it is.
        pacer: of its interface, see `keras_concurrent.edge.board.stretch.pacer_of`.
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
        pacer: Pacer | Interface | None = None,
        store: Store | None = None,
    ) -> None:
        self.name = name
        self._channel = channel
        self._receivers = others | {CLIENT}
        self._workshop = workshop or Workshop()
        self._outbox = Outbox(channel, pacer)
        self._depot = Depot(name, store, self._workshop, self._take_bundle)
        self._absent = set(others)
        self._warn = Complaints(name)
        self._counts = Counts()
        self._probe: Probe | None = None
        self._session = 0
        self._forget_images()
        if bundle is not None:
            self._take_bundle(bundle)
        channel.largest = self._largest

    def _take_bundle(self, bundle: Bundle) -> None:
        self._workshop.take(bundle, self.name)
        self._counts.forget_segments()
        self._forget_images()

    def _forget_images(self) -> None:
        self._engine = Engine(self._manifest.segments)
        self._tensors: dict[int, dict[str, Array]] = {}
        self._notes = Log()
        self._pending: deque[Instruction] = deque()

    @property
    def _manifest(self) -> Manifest:
        return self._workshop.manifest

    def serve(self, stopped: threading.Event) -> None:
        """Work until told to stop."""
        try:
            while not stopped.is_set():
                packet = self._channel.receive(0.0 if self._pending else 0.1)
                if packet is not None:
                    self._handle(packet)
                if self._pending:  # however many messages come, the work goes on
                    self._carry_out(self._pending.popleft())
                elif packet is None and self._channel.refused():
                    self._warn("a stranger", "sent messages that are none of ours: refused")
        finally:
            self._outbox.close()

    # ------------------------------------------------------------- what arrives

    def _largest(self, packet: Packet) -> int:
        """The most bytes of a packet that is worth taking; called in the network's threads."""
        if packet.kind == "probe":
            return MOST_PROBE_BYTES
        if packet.kind != "tensor":
            if packet.sender != CLIENT:
                return 0
            what, _, sha256 = packet.name.partition(":")
            if what == "file":
                return self._depot.largest(sha256)
            return MOST_ANSWER_BYTES
        spec = self._manifest.tensors.get(packet.name)
        return spec.bytes if spec else 0

    def _handle(self, packet: Packet) -> None:
        if packet.kind in (HERE, GONE):
            self._notice(packet)
        elif packet.sender not in self._receivers:
            self._warn("a stranger", "sent messages that are none of ours: refused")
        elif packet.kind == "tensor":
            self._accept(packet)
        elif packet.kind == "probe":
            echo = Packet("echo", self.name, packet.session, packet.image)
            self._outbox.put(packet.sender, echo)
        elif packet.kind == "echo":
            if self._probe is not None:
                self._probe.echoed(packet)
        elif packet.sender != CLIENT:
            self._warn(
                packet.sender, f"sent a message that only the client may send: {packet.kind}"
            )
        elif packet.kind == "drop":
            if packet.session == self._session:
                self._pending.extend(self._engine.drop(packet.image))
        elif packet.kind == "ask":
            self._answer(packet)

    def _notice(self, packet: Packet) -> None:
        """Another participant has appeared or disappeared: the client plans by it."""
        if packet.sender != CLIENT:
            (self._absent.discard if packet.kind == HERE else self._absent.add)(packet.sender)
        if packet.sender != CLIENT or packet.kind == HERE:
            payload = json.dumps(sorted(self._absent)).encode()
            self._outbox.put(CLIENT, Packet("links", self.name, payload=payload))

    def _answer(self, packet: Packet) -> None:
        """Do what the client asks; whatever is wrong with it is the answer."""
        try:
            if packet.name == "ping":
                answer: object = self._identity()
            elif packet.name == "trace":
                ours = packet.session == self._session
                answer = self._notes.of(json.loads(packet.payload)) if ours else []
            elif packet.name == "status":
                answer = self._status()
            elif packet.name == "measure":
                answer = self._workshop.measure(json.loads(packet.payload or b"null"))
            elif packet.name.startswith("probe:"):
                return self._begin_probe(packet)
            elif packet.name == "route":
                answer = self._take_route(packet)
            else:
                answer = self._depot.keep(packet)
        except Exception as error:  # whatever was asked, the board goes on
            told = isinstance(error, (ConcurrentError, OSError))
            cause = str(error) if told else type(error).__name__
            self._warn(packet.sender, f"asked for what cannot be done: {cause}", "a wrong question")
            answer = {"error": cause}
        return self._tell(packet, answer)

    def _tell(self, question: Packet, answer: object) -> None:
        payload = json.dumps(answer).encode()
        session, number, what = question.session, question.image, question.name
        packet = Packet("answer", self.name, session, number, 0, what, payload)
        self._outbox.put(CLIENT, packet)

    def _identity(self) -> dict[str, Any]:
        return {
            "board": self.name,
            "bundle_sha256": self._workshop.sha256,
            "slowdown": self._workshop.slowdown,
            "clock_s": time.monotonic(),
            "session": self._session,
            "unreached": sorted({*self._absent, *self._channel.unreached()} - {CLIENT}),
        }

    def _status(self) -> dict[str, Any]:
        return {
            **self._identity(),
            **machine(),
            "refused": self._channel.refused(),
            "images": self._counts.images,
            "in_flight": len(self._engine.images),
            "compute_s": self._counts.compute_s,
            "p95_s": self._counts.p95_s(),
        }

    def _begin_probe(self, packet: Packet) -> None:
        """Measure the link to another board; the answer follows when its last echo has come."""
        other = packet.name.partition(":")[2]
        if other not in self._receivers or other == CLIENT:
            raise BundleError(f"no board is named {other[:40]!r}")
        self._probe = Probe(
            lambda number, size, sent: self._outbox.put(
                other, Packet("probe", self.name, 0, number, payload=bytes(size)), sent
            ),
            lambda found: self._tell(packet, found),
        )
        self._probe.begin()

    def _take_route(self, packet: Packet) -> object:
        """Learn what to do on a route, and load what it needs.

        Raises:
            BundleError: another bundle is meant, or the route names what is not there.
        """
        told = json.loads(packet.payload)
        if told["bundle_sha256"] != self._workshop.sha256:
            raise BundleError(f"another bundle is here: SHA-256 {self._workshop.sha256[:12]}")
        if packet.session < self._session:
            raise BundleError("a newer client has taken over")
        program = Program(tuple(told["segments"]), tuple(Send(*send) for send in told["sends"]))
        self._workshop.check_program(program, self._receivers)
        if packet.session > self._session:
            self._session = packet.session
            self._forget_images()
        self._engine.keep(told["routes"])
        if len(self._engine.routes) >= _MOST_ROUTES:
            raise BundleError(f"too many routes, at most {_MOST_ROUTES}")
        for name in program.segments:
            self._workshop.load(name)
        self._engine.learn(packet.route, program)
        return {"route": packet.route, "unreached": sorted(self._absent)}

    def _accept(self, packet: Packet) -> None:
        """Take a tensor that this board waits for; say once what is wrong with any other."""
        if packet.session != self._session:
            if packet.session < self._session and packet.sender == CLIENT:
                self._tell_error(packet, "", "a newer client has taken over")
            return None  # of a client that has gone
        if not self._engine.knows(packet.route):
            if packet.sender == CLIENT:
                self._tell_error(packet, "", "its bundle was exchanged: connect anew")
            return None
        if packet.name not in self._engine.expected(packet.route):
            return self._warn(packet.sender, "sent a tensor that is not mine")
        spec = self._manifest.tensors[packet.name]
        if len(packet.payload) != spec.bytes:
            return self._warn(
                packet.sender,
                f"sent {packet.name!r} in {len(packet.payload)} bytes, expected {spec.bytes}",
                "a tensor of a wrong size",
            )
        if self._engine.is_over(packet.image):
            return None
        array = np.frombuffer(packet.payload, spec.dtype).reshape(spec.shape)
        self._tensors.setdefault(packet.image, {})[packet.name] = array
        self._notes.note(packet.image, kind="arrival", name=packet.name, end_s=packet.received_s)
        self._pending.extend(self._engine.arrived(packet.image, packet.name, packet.route))
        return None

    # ------------------------------------------------------------- what is done

    def _carry_out(self, instruction: Instruction) -> None:
        if isinstance(instruction, Finish):
            self._counts.images += 1
            self._tensors.pop(instruction.image, None)
        elif isinstance(instruction, Run):
            self._run(instruction)
        elif instruction.image in self._tensors:  # not dropped since
            self._transmit(instruction)

    def _run(self, run: Run) -> None:
        tensors = self._tensors.get(run.image)
        if tensors is None:  # dropped since
            self._pending.extend(self._engine.finished(run.image, run.segment))
            return
        start = time.monotonic()
        try:
            tensors.update(self._workshop.run(run.segment, tensors))
        except Exception as error:  # whatever the interpreter raises; the client must hear of it
            _log.warning("%s: %s failed: %s", self.name, run.segment, error)
            self._tell_error(Packet("", "", self._session, run.image), run.segment, str(error))
            self._pending.extend(self._engine.drop(run.image))
        end = time.monotonic()
        self._counts.ran(run.segment, end - start)
        self._notes.note(run.image, kind="run", name=run.segment, start_s=start, end_s=end)
        self._pending.extend(self._engine.finished(run.image, run.segment))

    def _tell_error(self, about: Packet, segment: str, cause: str) -> None:
        payload = json.dumps({"segment": segment, "cause": cause}).encode()
        packet = Packet("error", self.name, about.session, about.image, payload=payload)
        self._outbox.put(CLIENT, packet)

    def _transmit(self, transmit: Transmit) -> None:
        array = self._tensors[transmit.image][transmit.tensor]
        packet = Packet(
            "tensor",
            self.name,
            self._session,
            transmit.image,
            transmit.route,
            transmit.tensor,
            np.ascontiguousarray(array).tobytes(),
        )

        def sent(start: float, end: float) -> None:
            self._notes.note(
                transmit.image,
                kind="send",
                name=transmit.tensor,
                receiver=transmit.receiver,
                bytes=len(packet.payload),
                start_s=start,
                end_s=end,
            )

        self._outbox.put(transmit.receiver, packet, sent)
