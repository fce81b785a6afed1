"""How long segments take: by plan, and by a board's described rate."""

from __future__ import annotations

from collections.abc import Mapping

from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.manifest import Manifest


class SegmentCosts:
    """Seconds of segments on boards, and of tensors between them.

    Args:
        manifest: the bundle's.
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
        """Seconds from the end of that to the receiver."""
        return self._cluster.latency_s(sender, receiver)

    def message_s(self, size: int, place: str) -> float:
        """Seconds of the processor at one of a message's ends."""
        return self._cluster.message_s(place, size) * self._slowness.get(place, 1.0)

    def interface(self, sender: str) -> str:
        """What a sender's messages queue for."""
        return self._cluster.interface(sender)


def slowness(p95_s: Mapping[str, float], planned_s: Mapping[str, float]) -> float:
    """How many times longer than planned a board's segments take, by their 95th percentiles.

    Args:
        p95_s: measured, by segment.
        planned_s: the plan's, by segment.

    Returns:
        1 where nothing was measured.
    """
    both = p95_s.keys() & planned_s.keys()
    planned = sum(planned_s[name] for name in both)
    return sum(p95_s[name] for name in both) / planned if planned > 0 else 1.0
