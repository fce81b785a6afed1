"""The images that a client has asked for: their inputs, the outputs so far, and who waits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.client.instructions import Begin
from keras_concurrent.edge.link.outbox import Sent
from keras_concurrent.edge.link.protocol import Tensor
from keras_concurrent.edge.link.transport import Clock
from keras_concurrent.edge.manifest import Manifest
from keras_concurrent.edge.placement import Event, Placement, Send
from keras_concurrent.edge.timeline import Record
from keras_concurrent.errors import BoardError, ProtocolError
from keras_concurrent.interpreter import Array, bytes_of

_RECORDS = 64  # images whose timeline can be asked for

Outputs = dict[str, Array]


@dataclass
class _Flight:
    """An image on its way: who sends which of its outputs, and those that have come."""

    route: int
    senders: Mapping[str, str]
    outputs: Outputs = field(default_factory=dict)


class Flights:
    """What belongs to requests, and to the images that are sent for them.

    Args:
        manifest: the bundle's.
        session: number by which boards know the client.
        clock: the client's.
    """

    def __init__(self, manifest: Manifest, session: int, clock: Clock) -> None:
        self._manifest = manifest
        self._session, self._clock = session, clock
        self.outputs = tuple(name for name in manifest.outputs if name not in manifest.inputs)
        """Names of the outputs that boards compute."""
        self._futures: dict[int, Future[Outputs]] = {}
        self._values: dict[int, dict[str, Array]] = {}
        self._flights: dict[int, _Flight] = {}
        self._records: OrderedDict[int, Record] = OrderedDict()
        self.last: Record | None = None
        """The image that was answered last."""

    def add(self, request: int, values: dict[str, Array], future: Future[Outputs]) -> None:
        """Somebody waits for a request's answer."""
        self._futures[request], self._values[request] = future, values

    def values(self, request: int) -> Mapping[str, Array]:
        """The inputs of a request."""
        return self._values[request]

    def largest(self, tensor: int) -> int:
        """The bytes of an output, by its number; 0 for any other tensor."""
        name = self._name(tensor)
        return self._manifest.tensors[name].bytes if name in self.outputs else 0

    def _name(self, tensor: int) -> str:
        """A tensor's name by its number; empty where there is none."""
        names = self._manifest.tensor_names
        return names[tensor] if tensor < len(names) else ""

    def begin(self, begin: Begin, placement: Placement) -> Iterator[tuple[str, Tensor, Sent]]:
        """What to send to whom for an image, each with what is to be told when it was sent."""
        record = Record(begin.image, begin.route, self._clock())
        self._records[begin.image] = record
        if len(self._records) > _RECORDS:
            self._records.popitem(last=False)
        self._flights[begin.image] = _Flight(begin.route, placement.senders_to(CLIENT))
        for send in placement.client_sends:
            content = bytes_of(self._manifest.sent(send.tensor, self._values[begin.request]))

            def sent(start: float, end: float, send: Send = send, size: int = len(content)) -> None:
                event = Event("send", send.tensor, CLIENT, start, end, send.receiver, size)
                record.sends.append(event)

            number = self._manifest.tensor_numbers[send.tensor]
            tensor = Tensor(self._session, begin.image, begin.route, number, content)
            yield send.receiver, tensor, sent

    def take(self, board: str, tensor: Tensor, received_s: float) -> str | None:
        """Take an output from a board; its name, or ``None`` where nobody waited for it.

        Raises:
            ProtocolError: another board sends it, by the image's route.
            BoardError: it has a wrong size.
        """
        flight, name = self._flights.get(tensor.image), self._name(tensor.tensor)
        if name not in self.outputs or flight is None:
            return None
        if tensor.route != flight.route or flight.senders.get(name) != board:
            raise ProtocolError("sent an output that another board is to send")
        spec = self._manifest.tensors[name]
        if len(tensor.content) != spec.bytes:
            raise BoardError(
                f"{board} sent {name!r} in {len(tensor.content)} bytes, expected {spec.bytes}"
            )
        values = np.frombuffer(tensor.content, spec.dtype).reshape(spec.shape)
        flight.outputs[name] = values
        if tensor.image in self._records:
            self._records[tensor.image].arrived_s[name] = received_s
        return name

    def forget(self, image: int) -> None:
        """Nobody waits for an image any more."""
        self._flights.pop(image, None)

    def answer(self, request: int, image: int) -> None:
        """All outputs of a request's image are there."""
        self.last = self._records.get(image)
        self.deliver(request, self._flights.pop(image).outputs)

    def deliver(self, request: int, outputs: Outputs) -> None:
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
