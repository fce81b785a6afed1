"""The requests that a client has, in the order asked: which may begin, and which come too late."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from keras_concurrent.edge.client.admission import Admission

BY_HAND = -1
"""Instead of an image's number: the client computes it."""


@dataclass
class Request:
    """One image that somebody waits for.

    Args:
        asked_s: when it was asked for.
        deadline_s: until when it is to be answered.
        image: number of the image that is on its way for it; ``None`` while it waits.
        route: that the image takes.
        begun_s: when the image began.
        before: how many were on their way then.
        missing: outputs that have not come yet.
    """

    asked_s: float
    deadline_s: float
    image: int | None = None
    route: int | None = None
    begun_s: float = 0.0
    before: int = 0
    missing: set[str] = field(default_factory=set)


class Line:
    """The requests of one client."""

    def __init__(self) -> None:
        self.requests: dict[int, Request] = {}
        """By number, in the order asked."""
        self.boards, self.hand = Admission(), Admission()
        """How quickly boards answer, and how quickly the client itself does."""
        self.admission: Admission | None = None
        """Of those two, whoever computes the next image; ``None`` while nobody would."""
        self._computing_since_s: float | None = None

    def _waiting(self) -> Iterator[tuple[int, Request]]:
        return ((n, request) for n, request in self.requests.items() if request.image is None)

    def _before(self) -> int:
        """How many images are before the next one."""
        if self.admission is self.hand:
            return int(self._computing_since_s is not None)
        return sum(request.route is not None for request in self.requests.values())

    def _fits(self, within_s: float) -> bool:
        """Whether an image that begins now can be expected to be answered within so long."""
        before = self._before()
        if self.admission is None or (before and self.admission is self.hand):
            return False
        return self.admission.expected_s(before) < within_s

    def has_room(self, within_s: float) -> bool:
        """Whether an image would begin now that is to be answered within so many seconds."""
        return not any(self._waiting()) and (not self._before() or self._fits(within_s))

    def following(self, now_s: float) -> int | None:
        """The request that begins now: the first that can be answered in time.

        Where that can be said of none, and none is on its way, the latest finds out.
        """
        if self.admission is None:
            return None
        latest = None
        for number, request in self._waiting():
            if self._fits(request.deadline_s - now_s):
                return number
            latest = number if request.deadline_s > now_s else latest
        return latest if not self._before() else None

    def begin(self, request: Request, now_s: float) -> None:
        """A request is no longer waiting from now on."""
        request.begun_s, request.before = now_s, self._before()
        if self.admission is self.hand:
            request.image, self._computing_since_s = BY_HAND, now_s

    def answered(self, request: Request, now_s: float) -> None:
        """Boards have answered."""
        self.boards.answered(request.begun_s, now_s)

    def computed(self, now_s: float) -> None:
        """The client has computed what it had begun."""
        if self._computing_since_s is not None:
            self.hand.answered(self._computing_since_s, now_s)
        self._computing_since_s = None

    def too_late(self, now_s: float) -> list[int]:
        """Requests that wait and cannot be answered in time any more."""
        if self.admission is None:
            return []
        return [number for number, request in self._waiting() if self._due_s(request) <= now_s]

    def overdue(self, now_s: float) -> list[int]:
        """Requests on their way, or that nobody would begin, whose deadline has passed."""
        late = [
            (number, request)
            for number, request in self.requests.items()
            if request.deadline_s <= now_s and (request.image is not None or self.admission is None)
        ]
        for _, request in late:
            if request.image is not None:
                admission = self.hand if request.image == BY_HAND else self.boards
                admission.missed(request.begun_s, now_s, request.before)
        return [number for number, _ in late]

    def next_due_s(self) -> float | None:
        """When a request is overdue or too late next."""
        return min(map(self._due_s, self.requests.values()), default=None)

    def _due_s(self, request: Request) -> float:
        """When a request must have been answered, or begun."""
        if request.image is None and self.admission is not None:
            return request.deadline_s - self.admission.expected_s(0)
        return request.deadline_s
