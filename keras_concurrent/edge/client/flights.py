"""The images that a client has asked for: their inputs, the outputs so far, and who waits."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import numpy as np

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.client.instructions import Begin
from keras_concurrent.edge.link.outbox import Sent
from keras_concurrent.edge.link.protocol import Session
from keras_concurrent.edge.link.transport import Packet
from keras_concurrent.edge.manifest import Event, Manifest, Placement
from keras_concurrent.edge.timeline import Record
from keras_concurrent.errors import BoardError
from keras_concurrent.interpreter import Array

_RECORDS = 64  # images whose timeline can be asked for

Answers = dict[str, Array]


class Flights:
    """What belongs to requests, and to the images that are sent for them.

    Args:
        manifest: of the bundle.
        session: of the client.
    """

    def __init__(self, manifest: Manifest, session: Session) -> None:
        self._manifest = manifest
        self._session = session
        self.outputs = tuple(name for name in manifest.outputs if name not in manifest.inputs)
        """Names of the outputs that boards compute."""
        self._futures: dict[int, Future[Answers]] = {}
        self._values: dict[int, dict[str, Array]] = {}
        self._results: dict[int, Answers] = {}
        self._records: OrderedDict[int, Record] = OrderedDict()
        self.last: Record | None = None
        """The image that was answered last."""

    def add(self, request: int, values: dict[str, Array], future: Future[Answers]) -> None:
        """Somebody waits for a request's answer."""
        self._futures[request], self._values[request] = future, values

    def values(self, request: int) -> Mapping[str, Array]:
        """The inputs of a request."""
        return self._values[request]

    def largest(self, packet: Packet) -> int:
        """The bytes of an output; 0 for any other tensor."""
        known = packet.name in self.outputs
        return self._manifest.tensors[packet.name].bytes if known else 0

    def begin(self, begin: Begin, placement: Placement) -> Iterator[tuple[str, Packet, Sent]]:
        """What to send to whom for an image, each with what is to be told when it was sent."""
        record = Record(begin.image, begin.route, time.monotonic())
        self._records[begin.image] = record
        if len(self._records) > _RECORDS:
            self._records.popitem(last=False)
        self._results[begin.image] = {}
        for send in placement.client_sends:
            payload = self._values[begin.request][send.tensor].tobytes()

            def sent(
                start: float,
                end: float,
                tensor: str = send.tensor,
                receiver: str = send.receiver,
                size: int = len(payload),
            ) -> None:
                event = Event("send", tensor, CLIENT, start, end, receiver, size)
                record.sends.append(event)

            packet = Packet(
                "tensor",
                CLIENT,
                self._session.number,
                begin.image,
                begin.route,
                send.tensor,
                payload,
            )
            yield send.receiver, packet, sent

    def take(self, packet: Packet) -> bool:
        """Take an output; whether it is one that was waited for.

        Raises:
            BoardError: it has a wrong size.
        """
        if packet.name not in self.outputs or packet.image not in self._results:
            return False
        spec = self._manifest.tensors[packet.name]
        if len(packet.payload) != spec.bytes:
            raise BoardError(
                f"{packet.sender} sent {packet.name!r} in {len(packet.payload)} bytes, "
                f"expected {spec.bytes}"
            )
        value = np.frombuffer(packet.payload, spec.dtype).reshape(spec.shape)
        self._results[packet.image][packet.name] = value
        if packet.image in self._records:
            self._records[packet.image].arrived_s[packet.name] = packet.received_s
        return True

    def forget(self, image: int) -> None:
        """Nobody waits for an image any more."""
        self._results.pop(image, None)

    def answer(self, request: int, image: int) -> None:
        """All outputs of a request's image are there."""
        self.last = self._records.get(image)
        self.deliver(request, self._results.pop(image))

    def deliver(self, request: int, outputs: Answers) -> None:
        """Hand a request's answer over."""
        values = self._values.pop(request)
        answer = {
            name: outputs[name] if name in outputs else values[name]
            for name in self._manifest.outputs
        }
        self._futures.pop(request).set_result(answer)

    def fail(self, request: int, reason: str) -> None:
        """A request ends without an answer."""
        self._values.pop(request, None)
        future = self._futures.pop(request, None)
        if future is not None:
            future.set_exception(BoardError(reason))

    def close(self) -> None:
        """End all that still wait."""
        for request in list(self._futures):
            self.fail(request, "the client was closed before the answer came")
