"""The routes that a client has planned, and which boards know them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from keras_concurrent.edge.client.instructions import Instruction, Offer
from keras_concurrent.edge.manifest import Placement

_MOST_STANDING = 256
Plan = Callable[[frozenset[str]], Placement | None]


@dataclass
class Route:
    """A placement that boards are told of.

    Args:
        number: of the route.
        placement: who does what.
        out: boards without which it was planned.
        acknowledged: boards that have what they need for it.
        offered: boards that were told of it.
    """

    number: int
    placement: Placement
    out: frozenset[str]
    acknowledged: set[str] = field(default_factory=set)
    offered: set[str] = field(default_factory=set)

    @property
    def ready(self) -> bool:
        """Whether all its boards have acknowledged it."""
        return self.acknowledged.issuperset(self.placement.programs)

    def uses(self, boards: Collection[str]) -> bool:
        """Whether any of these boards has work on it."""
        return not self.placement.programs.keys().isdisjoint(boards)


class RouteBook:
    """All routes of one client.

    Args:
        plan: the placement without some boards, or ``None`` where that leaves none.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._routes: list[Route] = []
        self._by_key: dict[frozenset[str], Route | None] = {}  # the last used is the last

    def __getitem__(self, number: int) -> Route:
        return self._routes[number]

    def __len__(self) -> int:
        return len(self._routes)

    def knows(self, out: frozenset[str]) -> bool:
        """Whether a route without these boards was planned."""
        return out in self._by_key

    def known(self, out: frozenset[str]) -> Route | None:
        """The route without these boards, if one was planned and there is one."""
        return self._by_key.get(out)

    def without(self, out: frozenset[str]) -> Route | None:
        """The route without these boards, planned if it was not; ``None`` where none is left."""
        if out in self._by_key:
            route = self._by_key.pop(out)
        else:
            placement = self._plan(out)
            route = None
            if placement is not None:
                route = Route(len(self._routes), placement, out)
                self._routes.append(route)
        self._by_key[out] = route
        if len(self._by_key) > _MOST_STANDING:
            del self._by_key[next(iter(self._by_key))]
        return route

    def standing(self) -> list[Route]:
        """The routes that are in use or stand by."""
        return [route for route in self._by_key.values() if route is not None]

    def refuse(self, route: Route, board: str) -> None:
        """A board does not take a route: for those losses there is the one without it as well."""
        instead = self.without(route.out | {board})
        for out, standing in self._by_key.items():
            if standing is route:
                self._by_key[out] = instead

    def readmit(self, board: str) -> None:
        """A board may take now what it refused before: plan that anew."""
        for out, route in list(self._by_key.items()):
            if route is None or board in route.out - out:
                del self._by_key[out]

    def plan_anew(self) -> None:
        """Costs have changed; images on their way keep their routes."""
        self._by_key.clear()

    def forget(self, board: str) -> None:
        """A board knows no route any more."""
        for route in self._routes:
            route.offered.discard(board)
            route.acknowledged.discard(board)

    def offers(self, route: Route, absent: Collection[str]) -> list[Instruction]:
        """Tell those boards of a route that are there and were not told."""
        boards = sorted(route.placement.programs.keys() - route.offered - set(absent))
        route.offered.update(boards)
        return [Offer(route.number, board, route.placement.programs[board]) for board in boards]
