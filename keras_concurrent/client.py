"""Sends an image to the boards and awaits the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from keras_concurrent.bundle import Bundle, Event, TensorSpec
from keras_concurrent.cluster import CLIENT, Cluster
from keras_concurrent.emulation import Pacer
from keras_concurrent.errors import BoardError, BundleError
from keras_concurrent.interpreter import Array
from keras_concurrent.transport import Channel, Packet, ZenohChannel

_PING_INTERVAL_S = 0.1
_CLOCK_PINGS = 9


class Client:
    """Asks the boards of a placement.

    Args:
        bundle: the same that the boards have.
        placement: ``"boards"`` or ``"one_board"``, the same that the boards follow.
        channel: to the boards.
        pacer: makes the client's link as slow as an emulated one.
    """

    def __init__(
        self, bundle: Bundle, placement: str, channel: Channel, *, pacer: Pacer | None = None
    ) -> None:
        self._bundle = bundle
        self._placement = bundle.placement(placement)
        self._placement_name = placement
        self._channel = channel
        self._pacer = pacer
        self._session = time.time_ns()
        self._image = 0
        self._sent: list[Event] = []
        self._arrived: dict[str, float] = {}
        self._started = 0.0
        self._offsets: dict[str, float] = {}
        self.boards = tuple(sorted(self._placement.programs))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def wait_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until every board is there, follows this plan, and reaches whom it sends to.

        Raises:
            BoardError: a board is not ready in time; says which and what it lacks.
            BundleError: a board has another bundle or follows another placement.
        """
        deadline = time.monotonic() + timeout_s
        state: dict[str, str] = dict.fromkeys(self.boards, "does not answer")
        while state:
            absent = self._channel.unreached()
            for board in list(state):
                if board in absent:
                    continue
                answer, _, _ = self._ping(board, min(1.0, deadline - time.monotonic()))
                if answer is None:
                    continue
                self._check_identity(board, answer)
                if answer["unreached"]:
                    state[board] = f"does not reach {', '.join(answer['unreached'])}"
                else:
                    del state[board]
            if state and time.monotonic() > deadline:
                faults = "; ".join(f"{board} {fault}" for board, fault in state.items())
                raise BoardError(f"not ready after {timeout_s:g} s: {faults}")
            if state:
                time.sleep(_PING_INTERVAL_S)
        for board in self.boards:
            # The quickest of a few answers tells best how far a board's clock is ahead of ours.
            answers = [self._ping(board, 1.0) for _ in range(_CLOCK_PINGS)]
            self._offsets[board] = min(answers, key=lambda answer: answer[1])[2]

    def _ping(self, board: str, timeout_s: float) -> tuple[dict[str, Any] | None, float, float]:
        """A board's answer, the round trip, and how far its clock is ahead of ours, in seconds."""
        asked = time.monotonic()
        self._image += 1
        self._channel.send(board, Packet("ping", CLIENT, self._session, self._image))
        while (rest := asked + timeout_s - time.monotonic()) > 0:
            packet = self._channel.receive(rest)
            if packet is not None and (packet.kind, packet.image) == ("pong", self._image):
                now = time.monotonic()
                answer = json.loads(bytes(packet.payload))
                return answer, now - asked, answer["clock_s"] - (asked + now) / 2
        return None, float("inf"), 0.0

    def _check_identity(self, board: str, answer: Mapping[str, Any]) -> None:
        if answer["bundle_sha256"] != self._bundle.sha256:
            raise BundleError(
                f"{board} has another bundle: expected SHA-256 {self._bundle.sha256[:12]}, "
                f"got {str(answer['bundle_sha256'])[:12]}"
            )
        if answer["placement"] != self._placement_name:
            raise BundleError(
                f"{board} follows another placement: expected {self._placement_name!r}, "
                f"got {answer['placement']!r}"
            )

    def infer(
        self, images: Array | Mapping[str, Array], *, timeout_s: float = 10.0
    ) -> dict[str, Array]:
        """Recognise one image.

        Args:
            images: the model's input, with or without its batch axis of one; a mapping by input
                name where the model has several.
            timeout_s: how long to wait for the answer.

        Returns:
            The model's outputs by name, each with its batch axis of one.

        Raises:
            ValueError: a wrong shape or dtype.
            BoardError: a board failed, or the answer did not come in time.
        """
        values = self._checked(images)
        self._image += 1
        self._sent, self._arrived = [], {}
        self._started = time.monotonic()
        for send in self._placement.client_sends:
            payload = values[send.tensor].tobytes()
            start = time.monotonic()
            if self._pacer is not None:
                start = self._pacer.pass_on(send.receiver, len(payload), self._started)
            packet = Packet("tensor", CLIENT, self._session, self._image, send.tensor, payload)
            self._channel.send(send.receiver, packet)
            self._sent.append(
                Event(
                    "send", send.tensor, CLIENT, start, time.monotonic(),
                    send.receiver, len(payload),
                )
            )  # fmt: skip
        return self._await_outputs(values, timeout_s)

    def _checked(self, images: Array | Mapping[str, Array]) -> dict[str, Array]:
        names = self._bundle.manifest.inputs
        if not isinstance(images, Mapping):
            if len(names) != 1:
                raise ValueError(f"images must map the inputs {', '.join(names)}, got one array")
            images = {names[0]: images}
        if set(images) != set(names):
            raise ValueError(
                f"images must have the inputs {', '.join(names)}, got {', '.join(images)}"
            )
        return {
            name: check_image(name, images[name], self._bundle.manifest.tensors[name])
            for name in names
        }

    def _await_outputs(self, values: dict[str, Array], timeout_s: float) -> dict[str, Array]:
        manifest = self._bundle.manifest
        missing = [name for name in manifest.outputs if name not in values]
        result = {name: values[name] for name in manifest.outputs if name in values}
        deadline = self._started + timeout_s
        while missing:
            packet = self._channel.receive(max(0.0, deadline - time.monotonic()))
            if packet is None:
                self._give_up()
                raise BoardError(
                    f"no answer after {timeout_s:g} s: {', '.join(missing)} did not come from "
                    f"{', '.join(self._writers(missing))}"
                )
            if packet.session != self._session or packet.image != self._image:
                continue
            if packet.kind == "error":
                cause = json.loads(bytes(packet.payload))
                self._give_up()
                raise BoardError(f"{packet.sender} failed in {cause['segment']}: {cause['cause']}")
            if packet.kind != "tensor" or packet.name not in missing:
                continue
            spec = manifest.tensors[packet.name]
            if len(packet.payload) != spec.bytes:
                raise BoardError(
                    f"{packet.sender} sent {packet.name!r} in {len(packet.payload)} bytes, "
                    f"expected {spec.bytes}"
                )
            self._arrived[packet.name] = packet.received_s
            result[packet.name] = np.frombuffer(packet.payload, spec.dtype).reshape(spec.shape)
            missing.remove(packet.name)
        return {name: result[name] for name in manifest.outputs}

    def _give_up(self) -> None:
        """Begin a new session: the boards drop what is left of the old one's images."""
        self._session = max(self._session + 1, time.time_ns())

    def _writers(self, tensors: list[str]) -> list[str]:
        return sorted(
            board
            for board, program in self._placement.programs.items()
            if any(send.tensor in tensors for send in program.sends)
        )

    def timeline(self, timeout_s: float = 5.0) -> tuple[Event, ...]:
        """What happened to the last image, in seconds after it was sent.

        Raises:
            BoardError: a board does not tell.
        """
        logs: dict[str, list[dict[str, Any]]] = {}
        for board in self.boards:
            packet = Packet("trace", CLIENT, self._session, self._image)
            self._channel.send(board, packet)
        deadline = time.monotonic() + timeout_s
        while len(logs) < len(self.boards):
            answer = self._channel.receive(max(0.0, deadline - time.monotonic()))
            if answer is None:
                silent = ", ".join(board for board in self.boards if board not in logs)
                raise BoardError(f"no timeline from {silent} after {timeout_s:g} s")
            if answer.kind == "timeline" and answer.image == self._image:
                logs[answer.sender] = json.loads(bytes(answer.payload))
        return self._merged(logs)

    def _merged(self, logs: Mapping[str, list[dict[str, Any]]]) -> tuple[Event, ...]:
        """One clock, and a send ends when its receiver has the tensor."""
        arrivals = {(name, CLIENT): at - self._started for name, at in self._arrived.items()}
        for board, log in logs.items():
            shift = self._offsets.get(board, 0.0) + self._started
            for event in log:
                for key in ("start_s", "end_s"):
                    if key in event:
                        event[key] -= shift
                if event["kind"] == "arrival":
                    arrivals[event["name"], board] = event["end_s"]
        events = [
            Event(board=board, **event)
            for board, log in logs.items()
            for event in log
            if event["kind"] != "arrival"
        ]
        events += [
            Event(e.kind, e.name, e.board, e.start_s - self._started, e.end_s - self._started,
                  e.receiver, e.bytes)
            for e in self._sent
        ]  # fmt: skip
        finished = [
            event
            if event.kind == "run"
            else Event(
                event.kind, event.name, event.board, event.start_s,
                arrivals.get((event.name, event.receiver), event.end_s),
                event.receiver, event.bytes,
            )
            for event in events
        ]  # fmt: skip
        return tuple(sorted(finished, key=lambda e: (e.start_s, e.board, e.name)))


def connect(bundle: Bundle, cluster: Cluster, placement: str = "boards") -> Client:
    """A client of boards that run already, once they are ready.

    Raises:
        BoardError: a board is not ready in time.
        BundleError: a board has another bundle.
    """
    channel = ZenohChannel(CLIENT, cluster, tuple(bundle.placement(placement).programs))
    client = Client(bundle, placement, channel)
    try:
        client.wait_ready()
    except BaseException:
        channel.close()
        raise
    return client


def check_image(name: str, image: Array, spec: TensorSpec) -> Array:
    """An image with its batch axis, as the model takes it.

    Raises:
        ValueError: a wrong shape or dtype; says what was expected.
    """
    image = np.asarray(image)
    if image.shape == spec.shape[1:]:
        image = image[np.newaxis]
    if image.shape != spec.shape or image.dtype != np.dtype(spec.dtype):
        raise ValueError(
            f"input {name!r} must be {spec.dtype} of shape {spec.shape[1:]}, "
            f"got {image.dtype} of shape {image.shape}"
        )
    return np.ascontiguousarray(image)
