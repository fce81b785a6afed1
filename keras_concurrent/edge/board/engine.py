"""Which segment may run now, and what may be sent: decisions only, no I/O.

Events go in (a tensor arrived, a segment finished), instructions come out (run this, send that).
For each image the planned orders are kept: a segment runs only after those before it in the
program of the image's route, a tensor is sent only after those before it. Several images may be in
flight: the oldest whose next segment has its tensors goes first, so that a younger one only fills
the time in which an older one waits.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from keras_concurrent.edge.link.protocol import MOST_IMAGES
from keras_concurrent.edge.manifest import SegmentSpec
from keras_concurrent.edge.placement import Program

_REMEMBERED = 1024  # images that are over, so that a late tensor does not begin them anew


@dataclass(frozen=True)
class RunSegment:
    """Run a segment for an image."""

    image: int
    segment: str


@dataclass(frozen=True)
class Transmit:
    """Send a tensor of an image to a receiver, who learns the image's route with it."""

    image: int
    tensor: str
    receiver: str
    route: int = 0


@dataclass(frozen=True)
class Finish:
    """All is done for an image: its tensors can go."""

    image: int


Instruction = RunSegment | Transmit | Finish


@dataclass
class _Progress:
    route: int
    program: Program
    present: set[str] = field(default_factory=set)
    ran: int = 0
    sent: int = 0


class Engine:
    """The decisions of one board.

    Args:
        segments: what the bundle's segments read and write, by name.
        program: what to do on route 0; others are told by `learn`.
    """

    def __init__(self, segments: Mapping[str, SegmentSpec], program: Program | None = None) -> None:
        self._segments = segments
        self._senders: dict[int, Mapping[str, str]] = {}
        self._programs: dict[int, Program] = {}
        self._expected: dict[int, frozenset[str]] = {}
        self._images: dict[int, _Progress] = {}  # the oldest first
        self._running: int | None = None
        self._over: dict[int, None] = {}  # the first to end is the first
        self._floor = -1
        if program is not None:
            self.learn(0, program)

    def learn(self, route: int, program: Program, senders: Mapping[str, str] | None = None) -> None:
        """From now on images may take a route, on which this board follows a program.

        Args:
            route: its number.
            program: what this board does.
            senders: who sends the tensors that must come from elsewhere, by name.
        """
        own = [self._segments[name] for name in program.segments]
        written = {tensor for segment in own for tensor in segment.outputs}
        self._programs[route] = program
        self._senders[route] = senders or {}
        self._expected[route] = frozenset(t for s in own for t in s.inputs) - written

    def keep(self, routes: Collection[int]) -> None:
        """Forget all other routes: no image takes them any more."""
        for route in self._programs.keys() - set(routes):
            del self._programs[route], self._expected[route], self._senders[route]

    @property
    def routes(self) -> tuple[int, ...]:
        """The routes that are known."""
        return tuple(self._programs)

    def expected(self, route: int) -> frozenset[str]:
        """Names of the tensors that must come from elsewhere on a route; none on an unknown one."""
        return self._expected.get(route, frozenset())

    def sends(self, sender: str, tensor: str, image: int, route: int) -> bool:
        """Whether a tensor of an image is a sender's to send, and the image on that route."""
        progress = self._images.get(image)
        on_it = progress is None or progress.route == route
        return on_it and self._senders.get(route, {}).get(tensor) == sender

    def knows(self, route: int) -> bool:
        """Whether a route was learned."""
        return route in self._programs

    @property
    def images(self) -> tuple[int, ...]:
        """The images that are worked on, the oldest first."""
        return tuple(self._images)

    def arrived(self, image: int, tensor: str, route: int = 0) -> list[Instruction]:
        """A tensor has come from elsewhere. One of an image that is over is ignored."""
        if self.is_over(image) or route not in self._programs:
            return []
        dropped: list[Instruction] = []
        if image not in self._images:
            if len(self._images) >= MOST_IMAGES:
                dropped = self._end(next(iter(self._images)))
            self._images[image] = _Progress(route, self._programs[route])
        self._images[image].present.add(tensor)
        return dropped + self._decide()

    def is_over(self, image: int) -> bool:
        """Whether an image is done or dropped, so that its tensors come too late."""
        return image <= self._floor or image in self._over

    def finished(self, image: int, segment: str) -> list[Instruction]:
        """A segment has run."""
        self._running = None
        progress = self._images.get(image)
        if progress is not None:  # not dropped while it ran
            progress.present.update(self._segments[segment].outputs)
            progress.ran += 1
        return self._decide()

    def drop(self, image: int) -> list[Instruction]:
        """Forget an image, also what may still come of it: nobody waits for it any more."""
        if self.is_over(image):
            return []
        return self._end(image) + self._decide()

    def _end(self, image: int) -> list[Instruction]:
        self._images.pop(image, None)
        if len(self._over) == _REMEMBERED:
            first = next(iter(self._over))
            self._floor = max(self._floor, first)
            del self._over[first]
        self._over[image] = None
        return [Finish(image)]

    def _decide(self) -> list[Instruction]:
        """Sends of all images before the next run, so that a tensor that is ready does not wait."""
        instructions: list[Instruction] = []
        run: RunSegment | None = None
        for image, progress in list(self._images.items()):
            program = progress.program
            while (
                progress.sent < len(program.sends)
                and program.sends[progress.sent].tensor in progress.present
            ):
                send = program.sends[progress.sent]
                instructions.append(Transmit(image, send.tensor, send.receiver, progress.route))
                progress.sent += 1
            if progress.ran < len(program.segments):
                name = program.segments[progress.ran]
                free = run is None and self._running is None
                if free and progress.present.issuperset(self._segments[name].inputs):
                    run = RunSegment(image, name)
            elif progress.sent == len(program.sends):
                instructions += self._end(image)
        if run is not None:
            self._running = run.image
            instructions.append(run)
        return instructions
