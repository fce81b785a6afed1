"""Who computes what when boards are missing: a new assignment of the same segments.

The graph of segments has no cycle, so any assignment can run as long as every board keeps one
common order of the segments. A route is such an assignment with its orders, as a `Placement`.
Nothing is planned anew here and nothing but NumPy is needed: the client may be a small board
itself, and has a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keras_concurrent.board import CLIENT
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.manifest import Event, Manifest, Placement, Program, Send

WHOLE = "model"
"""The segment that is the uncut model."""


def avoid(absent: Collection[str], cuts: Iterable[frozenset[str]]) -> frozenset[str]:
    """The boards to leave out: those absent, and one of each two that do not reach each other.

    Of two, the one with more cut links is left out; of equals, the later by name. Who does not
    reach the client is left out anyway.
    """
    out = set(absent)
    out.update(name for cut in cuts if CLIENT in cut for name in cut - {CLIENT})
    open_cuts = [cut for cut in cuts if not cut & out and CLIENT not in cut]
    while open_cuts:
        count: dict[str, int] = {}
        for cut in open_cuts:
            for name in cut:
                count[name] = count.get(name, 0) + 1
        worst = max(count, key=lambda name: (count[name], name))
        out.add(worst)
        open_cuts = [cut for cut in open_cuts if worst not in cut]
    return frozenset(out - {CLIENT})


class Costs:
    """Seconds of segments on boards, and of tensors between them.

    Args:
        manifest: of the bundle.
        cluster: the boards and their network.
        slowness: how many times longer than described a board takes, by name.
    """

    def __init__(
        self, manifest: Manifest, cluster: Cluster, slowness: Mapping[str, float] | None = None
    ) -> None:
        self._cluster = cluster
        self._segments = manifest.segments
        self._slowness = slowness or {}
        self._planned: dict[str, tuple[str, float]] = {}
        for placement in manifest.placements.values():
            for event in placement.predicted:
                if event.kind == "run":
                    self._planned[event.name] = event.board, event.end_s - event.start_s

    def run_s(self, segment: str, board: str) -> float:
        """Seconds of a segment, from the plan's and what the boards' rates make of its work."""
        planned_on, planned_s = self._planned[segment]
        there, here = self._cluster.board(planned_on), self._cluster.board(board)
        spec = self._segments[segment]
        work = (spec.flops, spec.int8_flops) if spec.flops else (1, 0)
        work_s = max(0.0, planned_s - there.call_s) * here.seconds(*work) / there.seconds(*work)
        return (work_s + here.call_s) * self._slowness.get(board, 1.0)

    def hold_s(self, size: int, sender: str, receiver: str) -> float:
        """Seconds for which a message holds its interface."""
        return size / self._cluster.bytes_per_s(sender, receiver)

    def latency_s(self, sender: str, receiver: str) -> float:
        """Seconds from the end of that to the receiver's hands."""
        return self._cluster.latency_s(sender, receiver)

    def interface(self, sender: str) -> str:
        """What a sender's messages queue for."""
        return "medium" if self._cluster.network.shared else sender


@dataclass
class _Times:
    """The state of a plan that is made segment by segment."""

    at: dict[tuple[str, str], float]  # when a tensor is at a place
    board_free: dict[str, float] = field(default_factory=dict)
    interface_free: dict[str, float] = field(default_factory=dict)


def _order(manifest: Manifest, placement: Placement) -> list[str]:
    """A placement's segments as they start by plan: one order that suits every board."""
    return [event.name for event in placement.predicted if event.kind == "run"]


def assign(
    manifest: Manifest, cluster: Cluster, order: Sequence[str], boards: Mapping[str, str],
    costs: Costs,
) -> Placement:  # fmt: skip
    """The orders and times of an assignment.

    Args:
        manifest: of the bundle.
        cluster: the boards.
        order: of the segments; each after those whose tensors it reads.
        boards: the board of each segment.
        costs: seconds.
    """
    times = _Times({(name, CLIENT): 0.0 for name in manifest.inputs})
    events: list[Event] = []
    source = dict.fromkeys(manifest.inputs, CLIENT)

    def fetch(tensor: str, receiver: str) -> float:
        known = times.at.get((tensor, receiver))
        if known is not None:
            return known
        sender, size = source[tensor], manifest.tensors[tensor].bytes
        interface = costs.interface(sender)
        start = max(times.at[tensor, sender], times.interface_free.get(interface, 0.0))
        sent = start + costs.hold_s(size, sender, receiver)
        times.interface_free[interface] = sent
        arrival = times.at[tensor, receiver] = sent + costs.latency_s(sender, receiver)
        events.append(Event("send", tensor, sender, start, arrival, receiver, size))
        return arrival

    for name in order:
        board, segment = boards[name], manifest.segments[name]
        inputs = sorted(segment.inputs, key=lambda t: (times.at[t, source[t]], t))
        ready = max((fetch(tensor, board) for tensor in inputs), default=0.0)
        start = max(ready, times.board_free.get(board, 0.0))
        end = times.board_free[board] = start + costs.run_s(name, board)
        events.append(Event("run", name, board, start, end))
        for tensor in segment.outputs:
            source[tensor] = board
            times.at[tensor, board] = end
    outputs = sorted(manifest.outputs, key=lambda t: (times.at[t, source[t]], t))
    latency_s = max((fetch(tensor, CLIENT) for tensor in outputs), default=0.0)
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
        manifest: of the bundle.
        cluster: the boards.
        name: of the placement to start from.
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
    costs = Costs(manifest, cluster, slowness)
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


def latency_of_one(manifest: Manifest, cluster: Cluster, board: str, costs: Costs) -> float:
    """Predicted latency of the uncut model on a board."""
    return assign(manifest, cluster, [WHOLE], {WHOLE: board}, costs).predicted_latency_s
