"""Which segment may run now, and what may be sent: decisions only, no I/O.

Events go in (a tensor arrived, a segment finished), instructions come out (run this, send that).
The planned orders are kept: a segment runs only after those before it in the board's program, a
tensor is sent only after those before it. Images are worked on one after another, in the order in
which their first tensors arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keras_concurrent.bundle import Program, SegmentSpec


@dataclass(frozen=True)
class Run:
    """Run a segment for an image."""

    image: int
    segment: str


@dataclass(frozen=True)
class Transmit:
    """Send a tensor of an image to a receiver."""

    image: int
    tensor: str
    receiver: str


@dataclass(frozen=True)
class Finish:
    """All is done for an image: its tensors can go."""

    image: int


Instruction = Run | Transmit | Finish


@dataclass
class _Progress:
    present: set[str] = field(default_factory=set)
    ran: int = 0
    sent: int = 0


class Engine:
    """The decisions of one board.

    Args:
        program: what the board does for an image.
        segments: of the bundle, by name.
    """

    def __init__(self, program: Program, segments: Mapping[str, SegmentSpec]) -> None:
        self.program = program
        self._segments = {name: segments[name] for name in program.segments}
        written = {t for s in self._segments.values() for t in s.outputs}
        read = {t for s in self._segments.values() for t in s.inputs}
        self.expected = frozenset(read - written)
        """Names of the tensors that must come from elsewhere."""
        self._images: dict[int, _Progress] = {}
        self._running = False
        self._last_done = -1

    def arrived(self, image: int, tensor: str) -> list[Instruction]:
        """A tensor has come from elsewhere. One of an image that is done is ignored."""
        if self.is_over(image):
            return []
        self._images.setdefault(image, _Progress()).present.add(tensor)
        return self._decide()

    def is_over(self, image: int) -> bool:
        """Whether an image is done or dropped, so that its tensors come too late."""
        return image <= self._last_done

    def finished(self, image: int, segment: str) -> list[Instruction]:
        """A segment has run."""
        self._running = False
        progress = self._images.get(image)
        if progress is None:  # dropped while it ran
            return self._decide()
        progress.present.update(self._segments[segment].outputs)
        progress.ran += 1
        return self._decide()

    def drop(self) -> None:
        """Forget every image, also what may still come of it: nobody waits for it any more."""
        self._last_done = max(self._images, default=self._last_done)
        self._images.clear()

    def _decide(self) -> list[Instruction]:
        """Instructions for the oldest image; later ones wait until it is finished."""
        instructions: list[Instruction] = []
        while self._images and not self._running:
            image = next(iter(self._images))
            progress = self._images[image]
            sends = self.program.sends
            while progress.sent < len(sends) and sends[progress.sent].tensor in progress.present:
                send = sends[progress.sent]
                instructions.append(Transmit(image, send.tensor, send.receiver))
                progress.sent += 1
            if progress.ran < len(self.program.segments):
                name = self.program.segments[progress.ran]
                if progress.present.issuperset(self._segments[name].inputs):
                    instructions.append(Run(image, name))
                    self._running = True
                break
            if progress.sent < len(sends):
                break
            instructions.append(Finish(image))
            del self._images[image]
            self._last_done = image
        return instructions
