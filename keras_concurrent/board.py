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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent.bundle import Bundle, Manifest, Program, Send
from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.emulation import Interface, Pacer, Stretch, pacer_of
from keras_concurrent.engine import Engine, Finish, Instruction, Run, Transmit
from keras_concurrent.errors import BundleError, ConcurrentError
from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.keys import keys_of
from keras_concurrent.outbox import Outbox
from keras_concurrent.probe import Probe
from keras_concurrent.status import Counts, machine
from keras_concurrent.store import Store
from keras_concurrent.transport import (
    GONE,
    HERE,
    MOST_ANSWER_BYTES,
    MOST_PROBE_BYTES,
    Channel,
    Packet,
    ZenohChannel,
)

_log = logging.getLogger(__name__)
READY = "is ready"
"""What a board logs once it can work."""

_WARM_UP_RUNS = 3
_MEASURED_RUNS = 5
_TIMELINES = 64  # images whose timeline a board remembers
_MOST_ROUTES = 1024
_MOST_WARNINGS = 256
_EMPTY = Manifest((), (), {}, {}, {})


class Board:
    """One board at work.

    Args:
        name: of the board.
        bundle: the segments; ``None`` where none was deployed yet.
        channel: to the client and the other boards.
        others: names of the boards that it may send to.
        stretch: makes compute as slow as an emulated board's.
        pacer: of its interface, see `keras_concurrent.emulation.pacer_of`.
        threads: of the interpreter.
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
        *,
        stretch: Stretch | None = None,
        pacer: Pacer | Interface | None = None,
        threads: int = 1,
        store: Store | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._channel = channel
        self._receivers = others | {CLIENT}
        self._stretch = stretch
        self._threads = threads
        self._outbox = Outbox(channel, pacer)
        self._absent = set(others)
        self._warned: set[tuple[str, str]] = set()
        self._counts = Counts()
        self._probe: Probe | None = None
        self._timelines_lock = threading.Lock()
        self._session = 0
        self._bundle_sha256 = ""
        self._manifest = _EMPTY
        self._segments: dict[str, Segment] = {}
        self._content: Callable[[str], bytes] = lambda name: b""
        self._forget_images()
        if bundle is not None:
            self._take_bundle(bundle)
        channel.largest = self._largest

    def _take_bundle(self, bundle: Bundle) -> None:
        """Begin anew with a bundle, once what its plan gives to this board is loaded."""
        program = bundle.placement("boards").programs.get(self.name)
        loaded = {
            name: self._loaded(bundle.manifest, bundle.content(name), name)
            for name in (program.segments if program else ())
        }
        self._bundle_sha256, self._manifest = bundle.sha256, bundle.manifest
        self._content, self._segments = bundle.content, loaded
        self._forget_images()

    def _forget_images(self) -> None:
        self._engine = Engine(self._manifest.segments)
        self._tensors: dict[int, dict[str, Array]] = {}
        self._timelines: deque[tuple[int, list[dict[str, Any]]]] = deque(maxlen=_TIMELINES)
        self._pending: deque[Instruction] = deque()

    def _loaded(self, manifest: Manifest, content: bytes, name: str) -> Segment:
        """Load a segment and run it on zeros, so that its first image is no slower than the next.

        Raises:
            BundleError: the interpreter refuses it.
        """
        segment = Segment(content, self._threads, name)
        specs = [manifest.tensors[tensor] for tensor in segment.input_names]
        step = partial(segment.run, [np.zeros(spec.shape, spec.dtype) for spec in specs])
        for _ in range(_WARM_UP_RUNS):
            step()
        if self._stretch:
            self._stretch.learn(name, step)
        return segment

    def serve(self, stopped: threading.Event) -> None:
        """Work until told to stop."""
        try:
            while not stopped.is_set():
                packet = self._channel.receive(0.0 if self._pending else 0.1)
                if packet is not None:
                    self._handle(packet)
                elif self._pending:
                    self._carry_out(self._pending.popleft())
                elif self._channel.refused():
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
                return self._store.largest(sha256) if self._store else 0
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
                answer = self._timeline(json.loads(packet.payload)) if ours else []
            elif packet.name == "status":
                answer = self._status()
            elif packet.name == "measure":
                answer = self._measure()
            elif packet.name.startswith("probe:"):
                return self._begin_probe(packet)
            elif packet.name == "route":
                answer = self._take_route(packet)
            else:
                answer = self._keep(packet)
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
            "bundle_sha256": self._bundle_sha256,
            "slowdown": self._stretch.slowdown if self._stretch else None,
            "clock_s": time.monotonic(),
            "unreached": sorted({*self._absent, *self._channel.unreached()} - {CLIENT}),
        }

    def _keep(self, packet: Packet) -> object:
        """Keep what is deployed.

        Raises:
            BundleError: this is nothing that can be asked, or there is no store, or what came is
                wrong.
        """
        what, _, sha256 = packet.name.partition(":")
        if what not in ("offer", "file", "switch", "roll_back"):
            raise BundleError(f"nothing is known of {packet.name[:40]!r}")
        if self._store is None:
            raise BundleError("this board has no --store to keep bundles in")
        if what == "offer":
            return self._store.offer(packet.payload)
        if what == "file":
            self._store.take(sha256, packet.payload)
            return {}
        bundle = self._store.assembled() if what == "switch" else self._store.before()
        if bundle.sha256 != self._bundle_sha256:
            self._take_bundle(bundle)
        self._store.use(bundle)  # what could not be loaded is never started with
        return {"bundle_sha256": bundle.sha256}

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

    def _measure(self) -> dict[str, float]:
        """Median seconds of every segment of the bundle on this board, the emulation included."""
        measured = {}
        for name in self._manifest.segments:
            segment = self._segments.get(name)
            if segment is None:
                segment = self._loaded(self._manifest, self._content(name), name)
            specs = [self._manifest.tensors[tensor] for tensor in segment.input_names]
            step = partial(segment.run, [np.zeros(spec.shape, spec.dtype) for spec in specs])
            durations = []
            for _ in range(_MEASURED_RUNS):
                start = time.monotonic()
                self._stretch.run(name, step) if self._stretch else step()
                durations.append(time.monotonic() - start)
            measured[name] = float(np.median(durations))
        return measured

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
        if told["bundle_sha256"] != self._bundle_sha256:
            raise BundleError(f"another bundle is here: SHA-256 {self._bundle_sha256[:12]}")
        if packet.session < self._session:
            raise BundleError("a newer client has taken over")
        program = Program(tuple(told["segments"]), tuple(Send(*send) for send in told["sends"]))
        self._check_program(program)
        if packet.session > self._session:
            self._session = packet.session
            self._forget_images()
        if packet.route >= _MOST_ROUTES:
            raise BundleError(f"too many routes, at most {_MOST_ROUTES}")
        for name in program.segments:
            if name not in self._segments:
                content = self._content(name)
                self._segments[name] = self._loaded(self._manifest, content, name)
        self._engine.learn(packet.route, program)
        return {"route": packet.route, "unreached": sorted(self._absent)}

    def _check_program(self, program: Program) -> None:
        have: set[str] = set()
        if len(set(program.segments)) < len(program.segments):
            raise BundleError("a route runs a segment twice")
        for name in program.segments:
            if name not in self._manifest.segments:
                raise BundleError("a route names a segment that is not there")
            have.update(self._manifest.segments[name].inputs, self._manifest.segments[name].outputs)
        if len(set(program.sends)) < len(program.sends):
            raise BundleError("a route sends a tensor twice")
        for send in program.sends:
            if send.tensor not in have or send.receiver not in self._receivers:
                raise BundleError("a route sends what is not there, or to no one")

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
        self._note(packet.image, kind="arrival", name=packet.name, end_s=packet.received_s)
        self._pending.extend(self._engine.arrived(packet.image, packet.name, packet.route))
        return None

    def _warn(self, sender: str, message: str, fault: str = "") -> None:
        """Log once for each sender and fault, however often it comes."""
        key = (sender, fault or message)
        if key not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(key)
            _log.warning("%s: %s %s", self.name, sender, message)

    # ------------------------------------------------------------- what is done

    def _note(self, image: int, **event: Any) -> None:
        with self._timelines_lock:  # the outbox notes what it has sent
            for known, log in reversed(self._timelines):
                if known == image:
                    log.append(event)
                    return
            self._timelines.append((image, [event]))

    def _timeline(self, image: int) -> list[dict[str, Any]]:
        with self._timelines_lock:
            return [
                dict(event) for known, log in self._timelines if known == image for event in log
            ]

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
        segment = self._segments[run.segment]

        def step() -> list[Array]:
            return segment.run([tensors[name] for name in segment.input_names])

        start = time.monotonic()
        try:
            results = self._stretch.run(run.segment, step) if self._stretch else step()
        except Exception as error:  # whatever the interpreter raises; the client must hear of it
            _log.warning("%s: %s failed: %s", self.name, run.segment, error)
            self._tell_error(Packet("", "", self._session, run.image), run.segment, str(error))
            self._pending.extend(self._engine.drop(run.image))
        else:
            tensors.update(zip(segment.output_names, results, strict=True))
        end = time.monotonic()
        self._counts.ran(run.segment, end - start)
        self._note(run.image, kind="run", name=run.segment, start_s=start, end_s=end)
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
            self._note(
                transmit.image,
                kind="send",
                name=transmit.tensor,
                receiver=transmit.receiver,
                bytes=len(packet.payload),
                start_s=start,
                end_s=end,
            )

        self._outbox.put(transmit.receiver, packet, sent)


def serve_board(
    name: str,
    bundle_path: Path | None,
    cluster_path: Path,
    stopped: threading.Event,
    *,
    threads: int = 1,
    slowdown: float | None = None,
    pace: Path | None = None,
    keys: Path | None = None,
    store: Path | None = None,
) -> None:
    """Run a board over Zenoh until told to stop.

    Args:
        name: of the board in the cluster file.
        bundle_path: the bundle's folder; ``None`` for the one last deployed to the store.
        cluster_path: the cluster file.
        stopped: ends it.
        threads: of the interpreter.
        slowdown: emulate a board so many times slower; ``None`` runs it as it is.
        pace: emulate the cluster's links, with this file that all participants share; ``None``
            takes them as they are.
        keys: folder of the board's keys, which it needs beyond loopback.
        store: folder of the bundles that are deployed to this board.

    Raises:
        ValueError: neither a bundle nor a store.
        ConcurrentError: a file is wrong, keys are missing, or the board's port is in use.
    """
    cluster = Cluster.read(cluster_path)
    cluster.board(name)
    if bundle_path is None and store is None:
        raise ValueError("a board needs --bundle, or --store for bundles that are deployed to it")
    kept = Store(store) if store is not None else None
    bundle = Bundle(bundle_path) if bundle_path is not None else kept.current() if kept else None
    channel = ZenohChannel(name, cluster, keys_of(name, cluster, keys))
    try:
        board = Board(
            name,
            bundle,
            channel,
            frozenset(other.name for other in cluster.boards) - {name},
            stretch=Stretch(slowdown) if slowdown is not None else None,
            pacer=pacer_of(cluster, name, pace),
            threads=threads,
            store=kept,
        )
        _log.info("%s %s", name, READY)
        board.serve(stopped)
    finally:
        channel.close()
