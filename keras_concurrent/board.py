"""A board's process: it runs its segments as their tensors arrive and sends the results on.

Tensors arrive in Zenoh's threads, one thread computes, one sends; so a board computes while the
network works. Which segment and which message comes next is the engine's decision.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from keras_concurrent.bundle import Bundle
from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.emulation import Pacer, Stretch
from keras_concurrent.engine import Engine, Finish, Instruction, Run, Transmit
from keras_concurrent.errors import BundleError
from keras_concurrent.interpreter import Array, Segment
from keras_concurrent.transport import Channel, Packet, ZenohChannel

_log = logging.getLogger(__name__)
READY = "is ready"
"""What a board logs once it can work."""

_WARM_UP_RUNS = 3
_TIMELINES = 64  # images whose timeline a board remembers


class Outbox:
    """Sends packets in order, in a thread of its own, at the pace of an emulated link if any.

    Args:
        channel: to send on.
        pacer: of an emulated link.
    """

    def __init__(self, channel: Channel, pacer: Pacer | None) -> None:
        self._channel = channel
        self._pacer = pacer
        self._queue: queue.SimpleQueue[
            tuple[str, Packet, float, Callable[[float, float], None] | None] | None
        ] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def put(
        self,
        receiver: str,
        packet: Packet,
        sent: Callable[[float, float], None] | None = None,
    ) -> None:
        """Queue a packet; ``sent`` is told when its sending began and ended."""
        self._queue.put((receiver, packet, time.monotonic(), sent))

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            receiver, packet, ready_at, sent = item
            start = ready_at
            if self._pacer is not None and packet.kind == "tensor":
                start = self._pacer.pass_on(receiver, len(packet.payload), ready_at)
            try:
                self._channel.send(receiver, packet)
            except Exception as error:  # a broken link must not end the thread; the client's
                # deadline tells the user
                _log.warning("cannot send %s to %s: %s", packet.name, receiver, error)
            if sent is not None:
                sent(start, time.monotonic())

    def close(self) -> None:
        """Send what is queued, then end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=5)


class Board:
    """One board at work.

    Args:
        name: of the board.
        bundle: the segments and the placement.
        placement: name of the placement to follow.
        channel: to the client and the other boards.
        stretch: makes compute as slow as an emulated board's.
        pacer: makes the link as slow as an emulated one.
        threads: of the interpreter.

    Raises:
        BundleError: the placement gives this board no work, or a segment cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        bundle: Bundle,
        placement: str,
        channel: Channel,
        *,
        stretch: Stretch | None = None,
        pacer: Pacer | None = None,
        threads: int = 1,
    ) -> None:
        program = bundle.placement(placement).programs.get(name)
        if program is None:
            raise BundleError(f"placement {placement!r} of {bundle.path} has no work for {name!r}")
        self.name = name
        self._manifest = bundle.manifest
        self._identity = {
            "board": name,
            "bundle_sha256": bundle.sha256,
            "placement": placement,
            "slowdown": stretch.slowdown if stretch else None,
        }
        self._channel = channel
        self._stretch = stretch
        self._segments = {
            segment: Segment(bundle.content(segment), threads, segment)
            for segment in program.segments
        }
        self._engine = Engine(program, self._manifest.segments)
        self._outbox = Outbox(channel, pacer)
        self._tensors: dict[int, dict[str, Array]] = {}
        self._timelines: deque[tuple[int, list[dict[str, Any]]]] = deque(maxlen=_TIMELINES)
        self._session = 0
        self._pending: deque[Instruction] = deque()
        self._warned: set[str] = set()
        self._warm_up()

    def _warm_up(self) -> None:
        """Run every segment on zeros, so that the first image is no slower than the next."""
        for segment in self._segments.values():
            specs = [self._manifest.tensors[name] for name in segment.input_names]
            step = partial(segment.run, [np.zeros(spec.shape, spec.dtype) for spec in specs])
            for _ in range(_WARM_UP_RUNS):
                step()
            if self._stretch:
                self._stretch.learn(segment.name, step)

    def serve(self, stopped: threading.Event) -> None:
        """Work until told to stop."""
        try:
            while not stopped.is_set():
                packet = self._channel.receive(0.0 if self._pending else 0.1)
                if packet is not None:
                    self._handle(packet)
                elif self._pending:
                    self._carry_out(self._pending.popleft())
        finally:
            self._outbox.close()

    def _handle(self, packet: Packet) -> None:
        if packet.session < self._session:
            return  # of a client that has given up
        if packet.session > self._session:
            self._session = packet.session
            self._engine = Engine(self._engine.program, self._manifest.segments)
            self._tensors.clear()
            self._pending.clear()
            self._timelines.clear()
        if packet.kind == "tensor":
            self._accept(packet)
        elif packet.kind == "ping":
            answer = {
                **self._identity,
                "clock_s": time.monotonic(),
                "unreached": self._channel.unreached(),
            }
            self._reply("pong", packet.image, answer)
        elif packet.kind == "trace":
            events = [
                event for image, log in self._timelines if image == packet.image for event in log
            ]
            self._reply("timeline", packet.image, events)

    def _reply(self, kind: str, image: int, content: object) -> None:
        payload = json.dumps(content).encode()
        self._outbox.put(CLIENT, Packet(kind, self.name, self._session, image, "", payload))

    def _accept(self, packet: Packet) -> None:
        """Take a tensor that this board waits for; say once what is wrong with any other."""
        if packet.name not in self._engine.expected:
            return self._warn(f"{packet.sender} sent the tensor {packet.name!r}, which is not mine")
        spec = self._manifest.tensors[packet.name]
        if len(packet.payload) != spec.bytes:
            return self._warn(
                f"{packet.sender} sent {packet.name!r} in {len(packet.payload)} bytes, "
                f"expected {spec.bytes}"
            )
        if self._engine.is_over(packet.image):
            return None
        array = np.frombuffer(packet.payload, spec.dtype).reshape(spec.shape)
        self._tensors.setdefault(packet.image, {})[packet.name] = array
        self._note(packet.image, kind="arrival", name=packet.name, end_s=packet.received_s)
        self._pending.extend(self._engine.arrived(packet.image, packet.name))
        return None

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            _log.warning("%s: %s", self.name, message)

    def _note(self, image: int, **event: Any) -> None:
        for known, log in reversed(self._timelines):
            if known == image:
                log.append(event)
                return
        self._timelines.append((image, [event]))

    def _carry_out(self, instruction: Instruction) -> None:
        if isinstance(instruction, Run):
            self._run(instruction)
        elif isinstance(instruction, Transmit):
            self._transmit(instruction)
        elif isinstance(instruction, Finish):
            self._tensors.pop(instruction.image, None)

    def _run(self, run: Run) -> None:
        segment = self._segments[run.segment]
        tensors = self._tensors[run.image]

        def step() -> list[Array]:
            return segment.run([tensors[name] for name in segment.input_names])

        start = time.monotonic()
        try:
            results = self._stretch.run(run.segment, step) if self._stretch else step()
        except Exception as error:  # whatever the interpreter raises; the client must hear of it
            _log.warning("%s: %s failed: %s", self.name, run.segment, error)
            self._reply("error", run.image, {"segment": run.segment, "cause": str(error)})
            self._engine.drop()
            self._tensors.clear()
            results = []
        self._note(run.image, kind="run", name=run.segment, start_s=start, end_s=time.monotonic())
        if results:
            tensors.update(zip(segment.output_names, results, strict=True))
        self._pending.extend(self._engine.finished(run.image, run.segment))

    def _transmit(self, transmit: Transmit) -> None:
        array = self._tensors[transmit.image][transmit.tensor]
        packet = Packet(
            "tensor",
            self.name,
            self._session,
            transmit.image,
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
    bundle_path: Path,
    cluster_path: Path,
    placement: str,
    stopped: threading.Event,
    *,
    threads: int = 1,
    slowdown: float | None = None,
) -> None:
    """Run a board over Zenoh until told to stop.

    Args:
        name: of the board in the cluster file.
        bundle_path: the bundle's folder.
        cluster_path: the cluster file.
        placement: ``"boards"`` or ``"one_board"``.
        stopped: ends it.
        threads: of the interpreter.
        slowdown: emulate a board so many times slower, and the cluster's links; ``None`` runs the
            board as it is.

    Raises:
        ConcurrentError: a file is wrong, the board has no work, or its port is in use.
    """
    cluster = Cluster.read(cluster_path)
    cluster.board(name)
    bundle = Bundle(bundle_path)
    program = bundle.placement(placement).programs.get(name)
    receivers = {send.receiver for send in program.sends} if program else set()
    channel = ZenohChannel(name, cluster, tuple(sorted(receivers | {CLIENT})))
    try:
        board = Board(
            name,
            bundle,
            placement,
            channel,
            stretch=Stretch(slowdown) if slowdown is not None else None,
            pacer=Pacer(cluster, name) if slowdown is not None else None,
            threads=threads,
        )
        _log.info("%s %s", name, READY)
        board.serve(stopped)
    finally:
        channel.close()
