"""The clients that a board serves: each has work of its own, and they take turns.

Each client has its own session: its routes, its images and their numbers, how many of them may be
on their way (`keras_concurrent.edge.link.protocol.MOST_IMAGES`), and what is noted of them. Two
clients share what the board is: its processor, where the images of those that wait are worked on by
turns; the loaded segments of its bundle; memory for tensors, of which the client that has most gets
no more; and its links to other boards, on which tensors go in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keras_concurrent.board import CLIENT
from keras_concurrent.edge.board.work import Work
from keras_concurrent.edge.link.outbox import Outbox
from keras_concurrent.edge.link.protocol import Failed, Tensor
from keras_concurrent.edge.link.transport import Clock

MOST_CLIENTS = 64
"""For one more, the client is forgotten that was not heard of for longest."""

MOST_HELD_BYTES = 1 << 27
"""So much of tensors a board holds for all its clients, unless it is one image's."""

FINISH_S = 10.0
"""So long a bundle's images may take to finish once another is in use."""

_EXCHANGED = "its bundle was exchanged: connect anew"
_FORGOTTEN = "this board knows nothing of this client any more: connect anew"
_TOO_MANY = f"{_FORGOTTEN}; it serves {MOST_CLIENTS} at a time"
_TOO_MUCH = (
    f"this board holds {MOST_HELD_BYTES / 1e6:.0f} MB of tensors for its clients, and no more"
)


class Sessions:
    """What a board does for its clients.

    Args:
        begin: the work of a session, with the bundle that is in use.
        outbox: sends.
        clock: the board's.
    """

    def __init__(self, begin: Callable[[int], Work], outbox: Outbox, clock: Clock) -> None:
        self._begin, self._outbox, self._clock = begin, outbox, clock
        self._works: dict[int, Work] = {}
        self._finishing: dict[int, Work] = {}  # with the bundle before
        self._finish_until = 0.0
        self._heard_s: dict[int, float] = {}
        self._turns: list[Work] = []  # whose turn it was last is the last
        self._image: tuple[Work, int] | None = None  # that is worked on

    def __iter__(self) -> Iterator[Work]:
        """The work of each session."""
        return iter(self._turns)

    def of(self, session: int) -> Work | None:
        """The work of a session, if the board knows it."""
        return self._works.get(session)

    def taking(self, tensor: Tensor) -> Work | None:
        """The work that knows a tensor's route."""
        for works in (self._works, self._finishing):
            work = works.get(tensor.session)
            if work is not None and work.engine.knows(tensor.route):
                return work
        return None

    @property
    def pending(self) -> bool:
        """Whether there is something to do."""
        return any(work.pending for work in self._turns)

    @property
    def images(self) -> int:
        """How many are worked on."""
        return sum(len(work.engine.images) for work in self._turns)

    # ------------------------------------------------------------- who is served

    def served(self, session: int) -> Work:
        """The work of a session, begun if there is none."""
        self._heard_s[session] = self._clock()
        work = self._works.get(session)
        if work is None:
            if len(self._works) == MOST_CLIENTS:
                self._forget(min(self._works, key=lambda known: self._heard_s[known]))
            work = self._works[session] = self._begin(session)
            self._turns.append(work)
        return work

    def _forget(self, session: int) -> None:
        work = self._works.pop(session)
        del self._heard_s[session]
        self._end(work, _TOO_MANY)

    def left(self, session: int) -> None:
        """Nobody waits for a session's images any more."""
        for works in (self._works, self._finishing):
            for image in works[session].engine.images if session in works else ():
                works[session].drop(image)

    def exchange(self, *, finish: bool) -> None:
        """Another bundle is in use: each session's routes are forgotten.

        Args:
            finish: let images that are on their way finish, within `FINISH_S`. Those that a client
                has not sent to this board yet end in an error either way.
        """
        self.end_finishing()
        before = self._works
        self._works = {session: self._begin(session) for session in before}
        self._turns += self._works.values()
        self._finishing = before
        self._finish_until = self._clock() + FINISH_S
        if not finish:
            self.end_finishing()

    def look(self) -> None:
        """Do what time brings: what has not finished by now will not."""
        if self._finishing and self._clock() >= self._finish_until:
            self.end_finishing()

    def end_finishing(self) -> None:
        """Let go of the bundle before, whose images end in errors."""
        for work in self._finishing.values():
            self._end(work, _EXCHANGED)
        self._finishing = {}

    def _end(self, work: Work, cause: str) -> None:
        for image in work.engine.images:
            work.end(image, cause)
        work.hand_on()
        self._turns.remove(work)
        if self._image is not None and self._image[0] is work:
            self._image = None  # which would keep its segments in memory

    # ------------------------------------------------------------- what is done

    def accept(self, sender: str, tensor: Tensor, received_s: float) -> None:
        """Give a tensor to the work that it is for; tell a client why there is none."""
        work, current = self.taking(tensor), self._works.get(tensor.session)
        if sender == CLIENT and current is not None:
            self._heard_s[tensor.session] = received_s
        begins = sender == CLIENT and work is not current
        if work is None or (begins and tensor.image not in work.engine.images):
            if sender == CLIENT or (current is not None and not current.engine.routes):
                cause = _FORGOTTEN if current is None else _EXCHANGED
                failed = Failed(tensor.session, tensor.image, "", cause)
                self._outbox.put(CLIENT, failed)
        else:
            work.accept(sender, tensor, received_s)
            if sum(each.held_bytes for each in self._turns) > MOST_HELD_BYTES and self.images > 1:
                fullest = max(self._turns, key=lambda each: each.held_bytes)
                fullest.end(fullest.engine.images[-1], _TOO_MUCH)

    def step(self) -> None:
        """Do the next thing: all that can be sent, or else a segment of whose turn it is."""
        if any(work.pending and work.following is None for work in self._turns):
            for each in self._turns:
                each.hand_on()
            return
        work = self._next()
        if work is None or work.following is None:
            return
        if self._image != (work, work.following.image):
            self._image = work, work.following.image
            self._turns.remove(work)
            self._turns.append(work)
        work.step()

    @property
    def next_s(self) -> float:
        """How long the next thing will take: a segment's latest runs; 0 for all else."""
        if any(work.pending and work.following is None for work in self._turns):
            return 0.0
        work = self._next()
        return work.run_s(work.following) if work is not None and work.following else 0.0

    def _next(self) -> Work | None:
        """Whose segment runs next: the image's that is worked on, or the next in turn's."""
        if self._image is not None:
            current, image = self._image
            if current.following is not None and current.following.image == image:
                return current
        return next((work for work in self._turns if work.following is not None), None)
