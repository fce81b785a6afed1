"""A table of what the boards do, drawn anew as long as somebody looks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live

from keras_concurrent.board import CLIENT
from keras_concurrent.cli.console import table
from keras_concurrent.cluster import Cluster
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import version_fault
from keras_concurrent.edge.segment_costs import SegmentCosts, slowness
from keras_concurrent.errors import BoardError, ProtocolError

COLUMNS = ("board", "state", "images/s", "busy", "in flight", "p95 / plan", "memory MB", "refused")
Row = tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """A board's own figures at a moment.

    Args:
        at_s: the moment.
        status: what it told; ``None`` where it did not answer.
        protocol: the version that it speaks, where it is not ours.
    """

    at_s: float
    status: answers.Status | None
    protocol: int | None = None


def row(name: str, before: Sample | None, now: Sample, planned_s: Mapping[str, float],
        sha256: str) -> Row:  # fmt: skip
    """A board's line: what it did since the sample before.

    Args:
        name: the board's name.
        before: the sample before, if there is one.
        now: the latest sample.
        planned_s: seconds of its segments by plan.
        sha256: the digest of the bundle that it should have.
    """
    status = now.status
    if status is None:
        state = "gone" if now.protocol is None else f"protocol {now.protocol}"
        return (name, state, *["-"] * (len(COLUMNS) - 2))
    state = "ready" if status.identity.bundle_sha256 == sha256 else "another bundle"
    per_s = busy = "-"
    last = before.status if before is not None else None
    if before is not None and last is not None and last.images <= status.images:
        passed_s = now.at_s - before.at_s
        per_s = f"{(status.images - last.images) / passed_s:.1f}"
        busy = f"{(status.compute_s - last.compute_s) / passed_s:.0%}"
    ratio = slowness(status.p95_s, planned_s)
    return (
        name, state, per_s, busy, str(status.in_flight),
        f"{ratio:.2f}" if status.p95_s else "-",
        f"{status.machine.resident_bytes / 1e6:.0f}", str(status.refused),
    )  # fmt: skip


def watch(
    client: Client, bundle: Bundle, cluster: Cluster, every_s: float, times: int | None = None
) -> None:
    """Draw the table again and again.

    Args:
        client: the one that is connected to the boards.
        bundle: the one that they should have.
        cluster: the boards.
        every_s: how often.
        times: end after so many; ``None`` goes on until Ctrl-C.
    """
    names = [board.name for board in cluster.boards]
    costs = SegmentCosts(bundle.manifest, cluster)
    planned = {
        name: {segment: costs.run_s(segment, name) for segment in bundle.manifest.segments}
        for name in names
    }
    before: dict[str, Sample] = {}
    client.reach(names, min(every_s, 2.0))
    with Live(console=Console(), auto_refresh=False) as live:
        while times is None or times > 0:
            now = {name: _sample(client, name, every_s) for name in names}
            rows = [
                row(name, before.get(name), now[name], planned[name], bundle.sha256)
                for name in names
            ]
            faults = [
                version_fault(f"board {name}", sample.protocol, CLIENT)
                for name, sample in now.items()
                if sample.protocol is not None
            ]
            live.update(Group(table(str(bundle.path), COLUMNS, rows), *faults), refresh=True)
            before = now
            if times is not None:
                times -= 1
            if times != 0:
                time.sleep(every_s)


def _sample(client: Client, name: str, timeout_s: float) -> Sample:
    status = None
    if name in client.reach([name], 0.0):
        try:
            status = client.questions.ask(name, questions.Status(), timeout_s=timeout_s)
        except (BoardError, ProtocolError):
            status = None
    return Sample(time.monotonic(), status, client.questions.other_protocols.get(name))
