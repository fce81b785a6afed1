"""Who computes what when boards are missing: a new assignment of the same segments.

The graph of segments has no cycle, so any assignment can run as long as every board keeps one
common order of the segments. A route is such an assignment with its orders, as a `Placement`.
Nothing is planned anew here and nothing but NumPy is needed: the client may be a small board
itself, and has a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.client.instructions import Instruction, Offer
from keras_concurrent.edge.manifest import WHOLE, Manifest
from keras_concurrent.edge.placement import Event, Placement, Program, Send
from keras_concurrent.edge.segment_costs import SegmentCosts

_MOST_STANDING = 256
Reroute = Callable[[frozenset[str]], Placement | None]


@dataclass
class _Times:
    """The state of a plan that is made segment by segment."""

    at: dict[tuple[str, str], float]  # when a tensor is at a place
    board_free: dict[str, float] = field(default_factory=dict)
    interface_free: dict[str, float] = field(default_factory=dict)
    spent_s: dict[str, float] = field(default_factory=dict)  # on sending, after each segment


def _order(manifest: Manifest, placement: Placement) -> list[str]:
    """A placement's segments as they start by plan: one order that suits every board."""
    return [event.name for event in placement.predicted if event.kind == "run"]


def _sends_s(
    manifest: Manifest, order: Sequence[str], boards: Mapping[str, str],
    writer: Mapping[str, str], costs: SegmentCosts,
) -> dict[str, float]:  # fmt: skip
    """How long each segment's board sends what the segment wrote."""
    wanted = [(tensor, boards[name]) for name in order for tensor in manifest.segments[name].inputs]
    wanted += [(tensor, CLIENT) for tensor in manifest.outputs]
    sends_s: dict[str, float] = {}
    for tensor, receiver in dict.fromkeys(wanted):
        name = writer.get(tensor)
        if name is not None and boards[name] != receiver:
            taking_s = costs.message_s(manifest.tensors[tensor].bytes, boards[name])
            sends_s[name] = sends_s.get(name, 0.0) + taking_s
    return sends_s


def assign(
    manifest: Manifest, cluster: Cluster, order: Sequence[str], boards: Mapping[str, str],
    costs: SegmentCosts,
) -> Placement:  # fmt: skip
    """The orders and times of an assignment.

    Args:
        manifest: the bundle's.
        cluster: the boards.
        order: the segments; each after those whose tensors it reads.
        boards: the board of each segment.
        costs: seconds.
    """
    times = _Times({(name, CLIENT): 0.0 for name in manifest.sources})
    events: list[Event] = []
    source = dict.fromkeys(manifest.sources, CLIENT)
    writer = {tensor: name for name in order for tensor in manifest.segments[name].outputs}
    sends_s = _sends_s(manifest, order, boards, writer, costs)

    def fetch(tensor: str, receiver: str) -> float:
        """When a tensor arrives; sends it, if it was not yet."""
        known = times.at.get((tensor, receiver))
        if known is not None:
            return known
        sender, size = source[tensor], manifest.tensors[tensor].bytes
        interface, after = costs.interface(sender), writer.get(tensor, CLIENT)
        spent_s = times.spent_s[after] = times.spent_s.get(after, 0.0) + costs.message_s(
            size, sender
        )
        ready = times.at[tensor, sender] + spent_s
        start = max(ready, times.interface_free.get(interface, 0.0))
        sent = start + costs.hold_s(size, sender, receiver)
        times.interface_free[interface] = sent
        arrival = times.at[tensor, receiver] = sent + costs.latency_s(sender, receiver)
        events.append(Event("send", tensor, sender, start, arrival, receiver, size))
        return arrival

    def take_in(tensors: Iterable[str], receiver: str) -> tuple[float, float]:
        """When a receiver has all these, and how long it takes them in."""
        coming = []
        for tensor in sorted(tensors, key=lambda t: (times.at[t, source[t]], t)):
            there = (tensor, receiver) in times.at
            taking_s = 0.0 if there else costs.message_s(manifest.tensors[tensor].bytes, receiver)
            coming.append((fetch(tensor, receiver), taking_s))
        done = 0.0
        for arrival, taking_s in sorted(coming):
            done = max(done, arrival) + taking_s
        return done, sum(taking_s for _, taking_s in coming)

    for name in order:
        board, segment = boards[name], manifest.segments[name]
        ready, taking_s = take_in(segment.inputs, board)
        start = max(ready, times.board_free.get(board, 0.0) + taking_s)
        end = start + costs.run_s(name, board)
        times.board_free[board] = end + sends_s.get(name, 0.0)
        events.append(Event("run", name, board, start, end))
        for tensor in segment.outputs:
            source[tensor] = board
            times.at[tensor, board] = end
    latency_s, _ = take_in(manifest.outputs, CLIENT)
    # Each interface serves its messages in the order in which they were given to it.
    sends: dict[str, list[Send]] = {board: [] for board in sorted(set(boards.values()))}
    sends[CLIENT] = []
    for event in events:
        if event.kind == "send":
            sends[event.board].append(Send(event.name, event.receiver))
    programs = {
        board: Program(tuple(n for n in order if boards[n] == board), tuple(sends[board]))
        for board in sends
        if board != CLIENT
    }
    events.sort(key=lambda e: (e.start_s, e.board, e.name, e.receiver))
    return Placement(programs, tuple(sends[CLIENT]), latency_s, tuple(events))


def reroute(
    manifest: Manifest, cluster: Cluster, name: str, out: Collection[str],
    slowness: Mapping[str, float] | None = None,
) -> Placement | None:  # fmt: skip
    """A placement without some boards.

    The segments of the others stay where they are. Each orphan goes, in planned order, where the
    predicted latency is least, of the boards that have the memory for it if there is one;
    everything on one board is the alternative.

    Args:
        manifest: the bundle's.
        cluster: the boards.
        name: the placement to start from.
        out: boards that must not be used.
        slowness: how many times longer than described a board takes, by name; where it is given,
            every segment may move.

    Returns:
        The placement, or ``None`` where no board is left.
    """
    living = [board.name for board in cluster.boards if board.name not in out]
    placement = manifest.placements[name]
    if not living:
        return None
    if not slowness and not any(board in out for board in placement.programs):
        return placement
    costs = SegmentCosts(manifest, cluster, slowness)
    order = _order(manifest, placement)
    boards = {s: b for b, program in placement.programs.items() for s in program.segments}
    orphans = [segment for segment in order if boards[segment] in out]
    boards.update(dict.fromkeys(orphans, min(living, key=lambda b: costs.run_s(WHOLE, b))))

    def latency(candidate: Mapping[str, str]) -> float:
        return assign(manifest, cluster, order, candidate, costs).predicted_latency_s

    for segment in order if slowness else orphans:
        roomy = [board for board in living if _fits(manifest, cluster, boards, segment, board)]
        boards[segment] = min(
            roomy or living, key=lambda board: latency({**boards, segment: board})
        )
    whole = manifest.segments[WHOLE].bytes
    alone = min(
        living,
        key=lambda board: (
            whole > cluster.board(board).memory_bytes,
            latency_of_one(manifest, cluster, board, costs),
        ),
    )
    candidates = [
        assign(manifest, cluster, order, boards, costs),
        assign(manifest, cluster, [WHOLE], {WHOLE: alone}, costs),
    ]
    return min(candidates, key=lambda candidate: candidate.predicted_latency_s)


def _fits(
    manifest: Manifest, cluster: Cluster, boards: Mapping[str, str], segment: str, board: str
) -> bool:
    """Whether a board has the memory for a segment's weights beside those of its others."""
    own = {name for name, where in boards.items() if where == board} | {segment}
    return sum(manifest.segments[n].bytes for n in own) <= cluster.board(board).memory_bytes


def latency_of_one(manifest: Manifest, cluster: Cluster, board: str, costs: SegmentCosts) -> float:
    """Predicted latency of the uncut model on a board."""
    return assign(manifest, cluster, [WHOLE], {WHOLE: board}, costs).predicted_latency_s


@dataclass
class Route:
    """A placement that boards are told of.

    Args:
        number: by which boards know the route.
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

    def writers_of(self, outputs: Collection[str]) -> list[str]:
        """The boards from which some outputs come to the client."""
        return sorted(
            board
            for board, program in self.placement.programs.items()
            if any(send.receiver == CLIENT and send.tensor in outputs for send in program.sends)
        )


class RouteBook:
    """All routes of one client.

    Args:
        reroute: the placement without some boards, or ``None`` where that leaves none.
    """

    def __init__(self, reroute: Reroute) -> None:
        self._reroute = reroute
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
            placement = self._reroute(out)
            route = None
            if placement is not None:
                route = Route(len(self._routes), placement, out)
                self._routes.append(route)
        self._by_key[out] = route
        if len(self._by_key) > _MOST_STANDING:
            del self._by_key[next(iter(self._by_key))]
        return route

    def unplanned_loss(self, out: frozenset[str], route: Route) -> frozenset[str] | None:
        """Boards, and one more of a route, for whose loss none was planned; ``None`` if all were.

        Args:
            out: boards that are left out already.
            route: in use without them.
        """
        losses = (out | {board} for board in sorted(route.placement.programs))
        return next((loss for loss in losses if not self.knows(loss)), None)

    def outlives_loss(self, out: frozenset[str], route: Route) -> bool:
        """Whether the loss of one more board of a route has its own, known to all the others."""
        if self.unplanned_loss(out, route) is not None:
            return False
        standbys = (self.known(out | {board}) for board in route.placement.programs)
        return all(standby is None or standby.ready for standby in standbys)

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
