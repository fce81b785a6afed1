"""What a client does about its images when boards come and go: decisions only, no I/O.

Events go in (an image is asked for, a tensor arrived, a board is gone), instructions come out
(begin an image on a route, offer a route to a board, answer, fail). A route is used when all its
boards have acknowledged it. Routes for the loss of each board are offered beforehand, so that
after a loss the images in flight begin anew at once. An image has one deadline, whatever happens:
it ends in an answer, in the client's own hands, or in an error that says what is missing. One that
cannot be answered by its deadline any more makes room for those that can.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable

from keras_concurrent.edge.client.instructions import (
    Answer,
    Begin,
    Check,
    Compute,
    Fail,
    Forget,
    Instruction,
)
from keras_concurrent.edge.client.line import BY_HAND, Line, Request
from keras_concurrent.edge.client.presence import Presence
from keras_concurrent.edge.client.routes import Reroute, Route, RouteBook
from keras_concurrent.edge.link.transport import Clock
from keras_concurrent.edge.placement import Placement

_TOO_LATE = "more is asked for than can be answered in time: it would have come later than after"


class Requests:
    """The decisions of one client.

    Args:
        boards: names of the cluster's boards; none of them is known to be there.
        outputs: names of the model's outputs that boards compute.
        reroute: the placement without some boards, or ``None`` where that leaves none.
        computes: whether the client computes when no board is left; otherwise requests wait for
            one to come back.
        clock: deadlines are by it.
    """

    def __init__(
        self,
        boards: Collection[str],
        outputs: Collection[str],
        reroute: Reroute,
        *,
        computes: bool = True,
        clock: Clock = time.monotonic,
    ) -> None:
        self._computes, self._clock = computes, clock
        self._outputs = frozenset(outputs)
        self._book = RouteBook(reroute)
        self._presence = Presence(boards)
        self.refusals: dict[str, str] = {}
        """Boards that are left out because they do not take their parts, and why."""
        self._current: Route | None = None
        self.alone = False
        """Whether no board is left."""
        self.started = False
        """Whether routes are planned: from then on the session stays what it is."""
        self._line = Line()
        self._requests = self._line.requests
        self._request_of: dict[int, int] = {}
        self._images = 0

    # ------------------------------------------------------------- what is known

    @property
    def absent(self) -> tuple[str, ...]:
        """The boards that are not there, or left out because they do not reach another."""
        return tuple(sorted(self._presence.out))

    def is_here(self, board: str) -> bool:
        """Whether a board is there."""
        return board not in self._presence.absent

    @property
    def route(self) -> int | None:
        """Number of the route that the next image takes; ``None`` while there is none."""
        return self._current.number if self._current else None

    @property
    def settled(self) -> bool:
        """Whether the best route for the boards that are there is in use."""
        return self._current is not None and self._current is self._book.known(self._presence.out)

    @property
    def waiting(self) -> int:
        """How many requests are neither answered nor failed."""
        return len(self._requests)

    def placement(self, route: int) -> Placement:
        """The placement of a route."""
        return self._book[route].placement

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._line.next_due_s()

    def has_room(self, within_s: float) -> bool:
        """Whether an image would begin now that is to be answered within so many seconds."""
        return self._line.has_room(within_s)

    # ------------------------------------------------------------- events

    def start(self) -> list[Instruction]:
        """Plan from now on: before, each board that appears would make a plan of its own."""
        self.started = True
        return self._settle()

    def ask(self, request: int, now_s: float, deadline_s: float) -> list[Instruction]:
        """An image is to be recognised until a deadline."""
        self._requests[request] = Request(now_s, deadline_s)
        return self._place_waiting()

    def here(self, board: str) -> list[Instruction]:
        """A board has appeared. It knows no route yet."""
        self._presence.here(board)
        self.refusals.pop(board, None)
        self._book.forget(board)
        self._book.readmit(board)
        return self._settle()

    def gone(self, board: str) -> list[Instruction]:
        """A board has disappeared."""
        self._presence.gone(board)
        self._book.forget(board)
        return self._settle()

    def routes(self) -> list[int]:
        """Numbers of the routes that boards must still know."""
        used = {route.number for route in self._book.standing()}
        used.update(r.route for r in self._requests.values() if r.route is not None)
        if self._current is not None:
            used.add(self._current.number)
        return sorted(used)

    def links(self, board: str, unreached: Iterable[str]) -> list[Instruction]:
        """A board tells whom it does not reach; names that are none of our boards do not count."""
        self._presence.links(board, unreached)
        return self._settle()

    def acknowledged(self, board: str, route: int) -> list[Instruction]:
        """A board has what it needs for a route."""
        if route < len(self._book) and board in self._book[route].offered:
            self._book[route].acknowledged.add(board)
        return self._settle()

    def refused(self, board: str, route: int, reason: str) -> list[Instruction]:
        """A board does not take its part of a route.

        Where the route is needed now the board is left out; otherwise it goes on, and only what
        would be done after the loss of others is planned without it.
        """
        if board in self._presence.absent:
            return []
        refused = self._book[route]
        if refused is self._current or refused is self._book.known(self._presence.out):
            self.refusals[board] = reason
            return self.gone(board)
        self._book.refuse(refused, board)
        return self._settle()

    def arrived(self, image: int, tensor: str) -> list[Instruction]:
        """An output has come."""
        number = self._request_of.get(image)
        if number is None:
            return []
        request = self._requests[number]
        request.missing.discard(tensor)
        if request.missing:
            return []
        self._line.answered(request, self._clock())
        self._end(number)
        return [Answer(number, image), *self._place_waiting()]

    def failed(self, image: int, reason: str) -> list[Instruction]:
        """A board could not compute its part of an image."""
        number = self._request_of.get(image)
        if number is None:
            return []
        return [*self._fail(number, reason), *self._place_waiting()]

    def computed(self, request: int) -> tuple[bool, list[Instruction]]:
        """The client has computed a request itself; whether anybody still waits for it."""
        waited = request in self._requests
        self._line.computed(self._clock())
        self._end(request)
        return waited, self._place_waiting()

    def tick(self, now_s: float) -> list[Instruction]:
        """Time has passed: fail what is past its deadline."""
        instructions: list[Instruction] = []
        for number in self._line.overdue(now_s):
            request = self._requests[number]
            waited_s = request.deadline_s - request.asked_s
            reason = f"no answer after {waited_s:g} s: {self._lack(request)}"
            instructions += self._checks(request)
            instructions += self._fail(number, reason)
        return instructions + self._place_waiting()

    def replan(self) -> list[Instruction]:
        """Costs have changed: plan all routes anew."""
        self._book.plan_anew()
        return self._settle()

    def prepare(self) -> list[Instruction]:
        """Offer one more route for the loss of a board; nothing when all are offered."""
        if self._current is None:
            return []
        loss = self._book.unplanned_loss(self._presence.out, self._current)
        standby = self._book.without(loss) if loss is not None else None
        return self._book.offers(standby, self._presence.absent) if standby is not None else []

    @property
    def prepared(self) -> bool:
        """Whether the loss of any one board has its route, known to all the others."""
        current = self._current
        return current is not None and self._book.outlives_loss(self._presence.out, current)

    # ------------------------------------------------------------- what follows

    def _settle(self) -> list[Instruction]:
        """Take the best route for the boards that are there, once they all know it."""
        if not self.started:
            return []
        key = self._presence.out
        best = self._book.without(key)
        self.alone = best is None
        instructions = self._book.offers(best, self._presence.absent) if best is not None else []
        if best is not None and best.ready:
            if best is not self._current:
                self._line.boards.plan(best.placement.predicted_latency_s)
            self._current = best
        elif self._current is not None and self._current.uses(key):
            self._current = None
        by_boards = self._line.boards if self._current is not None else None
        self._line.admission = self._line.hand if self.alone and self._computes else by_boards
        for standby in self._book.standing():  # a board that came back must learn them anew
            if not standby.uses(key):
                instructions += self._book.offers(standby, self._presence.absent)
        for number, request in self._requests.items():
            if request.route is not None and self._book[request.route].uses(key):
                instructions += self._abandon(number)
        return instructions + self._place_waiting()

    def _place_waiting(self) -> list[Instruction]:
        """Begin requests that can be answered in time, and end those that no longer can."""
        now_s, instructions = self._clock(), []
        while (number := self._line.following(now_s)) is not None:
            instructions += self._place(number, now_s)
        for number in self._line.too_late(now_s):
            request = self._requests[number]
            within_s = request.deadline_s - request.asked_s
            instructions += self._fail(number, f"{_TOO_LATE} {within_s:g} s")
        return instructions

    def _place(self, number: int, now_s: float) -> list[Instruction]:
        """Begin a request on the current route, or by hand."""
        request = self._requests[number]
        self._line.begin(request, now_s)
        if self._current is None or request.image == BY_HAND:
            return [Compute(number)]
        self._images += 1
        request.image, request.route = self._images, self._current.number
        request.missing = set(self._outputs)
        self._request_of[request.image] = number
        return [Begin(number, request.image, request.route)]

    def _abandon(self, number: int) -> list[Instruction]:
        """Give an image up; its request is still there."""
        request = self._requests[number]
        if request.image is None or request.route is None:
            return []
        boards = sorted(set(self._book[request.route].placement.programs) - self._presence.absent)
        image = request.image
        self._request_of.pop(image, None)
        request.image = request.route = None
        return [Forget(image, tuple(boards))]

    def _fail(self, number: int, reason: str) -> list[Instruction]:
        forgotten = self._abandon(number)
        self._end(number)
        return [*forgotten, Fail(number, reason)]

    def _end(self, number: int) -> None:
        request = self._requests.pop(number, None)
        if request is not None and request.image is not None:
            self._request_of.pop(request.image, None)

    def _checks(self, request: Request) -> list[Instruction]:
        """Who may owe a request's answer, or that a route is agreed on."""
        if request.route is not None:
            owing = set(self._book[request.route].placement.programs)
        else:
            best = self._book.known(self._presence.out)
            owing = set(best.placement.programs) - best.acknowledged if best else set()
        boards = tuple(sorted(owing - self._presence.absent))
        return [Check(boards)] if boards else []

    def _lack(self, request: Request) -> str:
        if request.route is None:
            if self.alone:
                return "no board is left"
            lost = f" ({', '.join(self.absent)} left out)" if self.absent else ""
            return f"the boards did not agree on who does what{lost}"
        writers = self._book[request.route].writers_of(request.missing)
        return f"{', '.join(sorted(request.missing))} did not come from {', '.join(writers)}"
