"""A board's work on the images of one client: tensors come, segments run, results go.

Whose turn it is, of several clients, `keras_concurrent.edge.board.sessions` says.
"""

from __future__ import annotations

import logging
import time
from collections import deque

import numpy as np

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.board.engine import Engine, Finish, Instruction, RunSegment, Transmit
from keras_concurrent.edge.board.status import Counts
from keras_concurrent.edge.board.workshop import Workshop
from keras_concurrent.edge.complaints import Complaints
from keras_concurrent.edge.link.message_stretch import MessageStretch
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.protocol import Failed, Tensor
from keras_concurrent.edge.link.transport import Clock
from keras_concurrent.edge.timeline import Log
from keras_concurrent.interpreter import Array, bytes_of

_log = logging.getLogger(__name__)


class Work:
    """The images of one client, with one bundle: whatever changes either begins another.

    Args:
        board: its name.
        session: number by which the board knows the client.
        workshop: computes.
        outbox: sends.
        counts: what the board has done.
        complain: about tensors that are wrong.
        clock: the board's.
        messages: makes them take as long as an emulated board's.
    """

    def __init__(
        self, board: str, session: int, workshop: Workshop, outbox: Outbox, counts: Counts,
        complain: Complaints, clock: Clock, messages: MessageStretch | None = None,
    ) -> None:  # fmt: skip
        self.session = session
        """Of the client."""
        self.manifest = workshop.manifest
        """Of the bundle."""
        self.engine = Engine(workshop.manifest.segments)
        """What may be done next."""
        self.notes = Log()
        """What was done for the latest images."""
        self.held_bytes = 0
        """Of tensors that came for images that are not over."""
        self._held: dict[int, int] = {}  # of each image
        self._board, self._workshop, self._outbox = board, workshop, outbox
        self._counts, self._complain, self._clock = counts, complain, clock
        self._messages = messages
        self._tensors: dict[int, dict[str, Array]] = {}
        self._pending: deque[Instruction] = deque()
        self._took_s: dict[str, float] = {}
        self._last_s: dict[str, float] = {}

    @property
    def pending(self) -> bool:
        """Whether there is something to do."""
        return bool(self._pending)

    @property
    def following(self) -> RunSegment | None:
        """The segment that is to run now; ``None`` while there is something else to do."""
        first = self._pending[0] if self._pending else None
        return first if isinstance(first, RunSegment) else None

    def run_s(self, run: RunSegment) -> float:
        """How long a segment's latest runs took; 0 of one that has not run."""
        return self._took_s.get(run.segment, 0.0)

    def largest(self, tensor: int) -> int:
        """The bytes of a tensor by its number; 0 where there is none."""
        names = self.manifest.tensor_names
        return self.manifest.tensors[names[tensor]].bytes if tensor < len(names) else 0

    def accept(self, sender: str, tensor: Tensor, received_s: float) -> None:
        """Take a tensor that this board waits for; say once what is wrong with any other."""
        names = self.manifest.tensor_names
        name = names[tensor.tensor] if tensor.tensor < len(names) else ""
        if name not in self.engine.expected(tensor.route):
            self._complain(sender, "sent a tensor that is not mine")
            return
        if self.engine.is_over(tensor.image):
            return
        if not self.engine.sends(sender, name, tensor.image, tensor.route):
            self._complain(sender, "sent a tensor that another is to send")
            return
        spec = self.manifest.tensors[name]
        if len(tensor.content) != spec.bytes:
            self._complain(
                sender,
                f"sent {name!r} in {len(tensor.content)} bytes, expected {spec.bytes}",
                "a tensor of a wrong size",
            )
            return
        self._counts.message(spec.bytes)
        if self._messages is not None:
            self._messages.handled(spec.bytes)
        values = np.frombuffer(tensor.content, spec.dtype).reshape(spec.shape)
        self._tensors.setdefault(tensor.image, {})[name] = values
        self.held_bytes += spec.bytes
        self._held[tensor.image] = self._held.get(tensor.image, 0) + spec.bytes
        self.notes.note(tensor.image, "arrival", name, self._board, received_s, received_s)
        self._pending.extend(self.engine.arrived(tensor.image, name, tensor.route))

    def drop(self, image: int) -> None:
        """Nobody waits for an image any more."""
        self.held_bytes -= self._held.pop(image, 0)
        self._pending.extend(self.engine.drop(image))

    def end(self, image: int, cause: str) -> None:
        """An image goes no further: the client hears why."""
        self._tell(image, "", cause)
        self.drop(image)

    def step(self) -> None:
        """Do the next thing that is pending, and all that follows up to the next segment."""
        self._do(self._pending.popleft())
        self.hand_on()

    def hand_on(self) -> None:
        """Do all that is pending up to the next segment."""
        while self._pending and not isinstance(self._pending[0], RunSegment):
            self._do(self._pending.popleft())

    def _do(self, instruction: Instruction) -> None:
        if isinstance(instruction, Finish):
            self._counts.images += 1
            self.held_bytes -= self._held.pop(instruction.image, 0)
            self._tensors.pop(instruction.image, {}).clear()  # the workshop knows of them too
        elif isinstance(instruction, RunSegment):
            self._run(instruction)
        elif instruction.image in self._tensors:  # not dropped since
            self._transmit(instruction)

    def _run(self, run: RunSegment) -> None:
        tensors = self._tensors.get(run.image)
        if tensors is None:  # dropped since
            self._pending.extend(self.engine.finished(run.image, run.segment))
            return
        start, spent_s = self._clock(), time.process_time()
        try:
            self._workshop.run(run.segment, tensors)
        except Exception as error:  # whatever the interpreter raises; the client must hear of it
            _log.warning("%s: %s failed: %s", self._board, run.segment, error)
            self._tell(run.image, run.segment, str(error))
            self._pending.extend(self.engine.drop(run.image))
        end = self._clock()
        self._counts.computing_s += time.process_time() - spent_s
        # The lesser of two: what else the machine did is no part of it.
        self._took_s[run.segment] = min(end - start, self._last_s.get(run.segment, 0.0))
        self._last_s[run.segment] = end - start
        self._counts.ran(run.segment, end - start)
        self.notes.note(run.image, "run", run.segment, self._board, start, end)
        self._pending.extend(self.engine.finished(run.image, run.segment))

    def _transmit(self, transmit: Transmit) -> None:
        image, name, receiver = transmit.image, transmit.tensor, transmit.receiver
        if self._messages is not None:
            self._messages.handled(self.manifest.tensors[name].bytes)
        content = bytes_of(self._tensors[image][name])
        size = len(content)
        self._counts.message(size)

        def sent(start: float, end: float) -> None:
            self.notes.note(image, "send", name, self._board, start, end, receiver, size)

        number = self.manifest.tensor_numbers[name]
        tensor = Tensor(self.session, image, transmit.route, number, content)
        self._outbox.put(receiver, tensor, sent)

    def _tell(self, image: int, segment: str, cause: str) -> None:
        """Tell the client that an image goes no further."""
        self._outbox.put(CLIENT, Failed(self.session, image, segment, cause))
