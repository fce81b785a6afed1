"""Measured latency on emulated Pi 4 boards beside the predicted, and beside other ways.

Every row is measured with board processes that compute, and then wait until a whole Pi 4 would have
done so by its published rates; what their messages take is stretched and their links are paced. As
root three rows are repeated over rate-limited kernel links. Eight such boards do not fit into two
cores at their full speed: boards, client, messages and links all take four times as long, and what
was measured is divided by four (`keras_concurrent.edge.testbed.dilation`). So a row is the same on
every machine, and what it shows beside its prediction is what the plan says of messages, queues and
waiting; what it says of computing is `benchmarks/published.py`'s and `threads.py`'s matter.

python benchmarks/boards.py           # about half an hour, most of it slow boards at work
python benchmarks/boards.py --links 1gbit --pixels 224 --rounds 0    # a part of it
python benchmarks/boards.py --quick   # one network on one and two boards, within a minute
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from board_links import hop_ms, kernel_links
from board_networks import Candidate, built, papers_plan
from outcome import Section, Target, finish_each

from keras_concurrent import Cluster, export_bundle
from keras_concurrent.edge.bundle import Bundle
from keras_concurrent.edge.client.client import Client
from keras_concurrent.edge.client.connect import connect
from keras_concurrent.edge.client.deploy import deploy
from keras_concurrent.edge.testbed.dilation import dilated
from keras_concurrent.edge.testbed.local_boards import slowdown_for
from keras_concurrent.edge.testbed.testbed import Testbed
from keras_concurrent.edge.watch.bench import random_images
from keras_concurrent.export.stripping import StripPlan
from keras_concurrent.measured.host import measure_host
from keras_concurrent.planning.bounds import lower_bound_s
from keras_concurrent.planning.schedule import Plan
from keras_concurrent.planning.segments import plan_segments

KIND = "pi4"
LINKS = ("1gbit", "100mbit", "20mbit-wifi")
BOARDS = (1, 2, 4, 8)
PAPERS = "DP, the paper's distribution"
DILATION = 4.0
"""How many times slower than described all is that is emulated."""
_ROW_S = 12.0  # of images, as far as so few are no fewer than
_LEAST_IMAGES = 6


@dataclass(frozen=True)
class Row:
    """One measurement."""

    network: str
    pixels: int
    link: str
    boards: int
    predicted_s: float
    median_s: float
    p95_s: float
    bound_s: float

    @property
    def error(self) -> float:
        """How far the measured median is from the predicted."""
        return abs(self.median_s / self.predicted_s - 1)


class Bench:
    """Eight emulated boards with one kind of link, on which networks are tried.

    They are dilated: so many times slower than the boards of which the rows tell.
    """

    def __init__(self, testbed: Testbed, folder: Path, images: int) -> None:
        self._testbed, self._folder, self._images = testbed, folder, images
        self._number = 0

    def first(self, boards: int) -> Cluster:
        """The first boards of the testbed."""
        cluster = self._testbed.cluster
        return replace(cluster, boards=cluster.boards[:boards])

    def _bundle(
        self, network: Candidate, cluster: Cluster, plan: Plan | None = None,
        strips: StripPlan | None = None,
    ) -> Bundle:  # fmt: skip
        self._number += 1
        path = self._folder / f"bundle_{self._number}"
        return export_bundle(
            network.file, cluster, path, graph=network.graph, plan=plan,
            rewritten=strips.strips.file if strips else None,
            bands=strips.strips.bands if strips else None,
        )  # fmt: skip

    @contextmanager
    def _client(self, bundle: Bundle, cluster: Cluster) -> Iterator[Client]:
        pace, keys = self._testbed.pace, self._testbed.folder / "keys"
        own = keys if keys.is_dir() else None
        names = [board.name for board in cluster.boards]
        with connect(bundle, cluster, keys=own, pace=pace, ready="none") as client:
            client.reach(names)
            deploy(client.questions.ask, bundle, names)
        with connect(bundle, cluster, keys=own, pace=pace) as client:
            yield client

    def measured(
        self, network: Candidate, link: str, cluster: Cluster, plan: Plan | None = None,
        strips: StripPlan | None = None,
    ) -> Row:  # fmt: skip
        """A network on boards, whole or in the strips that the plan is of."""
        plan = plan_segments(network.graph, cluster) if plan is None else plan
        bundle = self._bundle(network, cluster, plan, strips)
        images = random_images(bundle, 5)
        latencies = []
        count = min(self._images, max(_LEAST_IMAGES, round(_ROW_S / plan.latency_s)))
        with self._client(bundle, cluster) as client:
            for number in range(count + 2):
                start = time.monotonic()
                client.infer(images[number % 5], deadline_s=60.0)
                latencies.append(time.monotonic() - start)
        latencies = latencies[2:]
        p95_s = sorted(latencies)[int(0.95 * len(latencies))]
        bound_s = lower_bound_s(network.graph, cluster)
        times = (plan.latency_s, statistics.median(latencies), p95_s, bound_s)
        undilated = (seconds / DILATION for seconds in times)
        row = Row(network.name, network.pixels, link, len(cluster.boards), *undilated)
        say(" ".join(shown(row, [])))
        return row


def emulated(link: str, boards: int, **changed: Any) -> Testbed:
    """A dilated testbed of so many boards, changed as said."""
    cluster = Cluster.of(KIND, boards, link)
    changed_boards = tuple(replace(board, **changed) for board in cluster.boards)
    slow = dilated(replace(cluster, boards=changed_boards), DILATION)
    return Testbed(slow, slowdown_for(slow, measure_host()), as_described=True)


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--images", type=int, default=20, help="of each row, at most")
    parser.add_argument("--links", nargs="+", default=LINKS, choices=LINKS, help="by default all")
    parser.add_argument("--pixels", nargs="+", type=int, default=(96, 224), choices=(96, 224))
    parser.add_argument("--rounds", type=int, default=5, help="of paced and kernel links in turn")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        finish_each(sections(options, Path(name)), as_json=options.json)


def sections(options: argparse.Namespace, folder: Path) -> Iterator[Section]:
    """Each table as soon as it is measured."""
    quick = options.quick
    pixels = (96,) if quick else options.pixels
    kinds = ("lanes",) if quick else ("lanes", "DP", "FB", "chain")
    networks = {(k, p): built(k, p) for p in pixels for k in kinds}
    hop = hop_ms(folder, 60 if quick else 400)
    hops = [Target("what the runtime adds a hop, ms", 0.4, hop, at_least=False)]
    yield Section("The runtime", ("ms a hop",), [(f"{hop:.3f}",)], {"hop_ms": hop}, hops)
    for link in LINKS[:1] if quick else options.links:
        rows = list(of_link(networks, link, folder, 10 if quick else options.images, quick=quick))
        yield Section(
            f"One image on emulated {KIND} boards, {link}",
            ("network", "link", "boards", "predicted ms", "median ms", "p95 ms", "x", "of bound"),
            [shown(row, rows) for row in rows],
            {f"rows {link}": [vars(row) for row in rows]},
            targets(rows, link),
        )
    if not quick and os.geteuid() == 0 and options.rounds:
        yield kernel_links(networks["lanes", pixels[0]], folder, KIND, options.rounds, DILATION)


def of_link(
    networks: Mapping[tuple[str, int], Candidate], link: str, folder: Path, images: int,
    *, quick: bool,
) -> Iterator[Row]:  # fmt: skip
    """All rows of one kind of link."""
    counts = BOARDS[:2] if quick else BOARDS
    for (kind, _), network in networks.items():
        if kind in ("FB", "chain") and link != LINKS[0]:
            continue
        with emulated(link, max(counts)) as testbed:
            bench = Bench(testbed, folder, images)
            for boards in {"FB": (1, max(counts)), "chain": (1,)}.get(kind, counts):
                yield bench.measured(network, link, bench.first(boards))
            if kind == "DP" and link == LINKS[0]:
                for boards in counts[2:]:
                    there = bench.first(boards)
                    row = bench.measured(network, link, there, papers_plan(network, there))
                    yield replace(row, network=PAPERS)


def say(what: str) -> None:
    """Tell on standard error how far it is."""
    print(what, file=sys.stderr, flush=True)


def alone_of(row: Row, rows: list[Row]) -> Row | None:
    """The same network on one board."""
    kind = row.network.split(",")[0]
    same = (r for r in rows if (r.network, r.pixels, r.link) == (kind, row.pixels, row.link))
    return next((r for r in same if r.boards == 1), None)


def shown(row: Row, rows: list[Row]) -> tuple[str, ...]:
    """A row of the table."""
    alone = alone_of(row, rows)
    return (
        f"{row.network}, {row.pixels} px", row.link, str(row.boards),
        f"{row.predicted_s * 1e3:.1f}", f"{row.median_s * 1e3:.1f}", f"{row.p95_s * 1e3:.1f}",
        f"{alone.median_s / row.median_s:.2f}" if alone else "-",
        f"{row.bound_s / row.median_s:.0%}",
    )  # fmt: skip


def targets(rows: list[Row], link: str) -> list[Target]:
    """What must be reached on one kind of link."""
    gap = max(row.error for row in rows)
    found = [Target(f"largest gap between median and prediction, {link}", 0.1, gap, at_least=False)]
    large = {(r.network, r.boards): r.median_s for r in rows if r.pixels == 224}
    if link != LINKS[0] or not large:
        return found
    one, four, eight = (large["lanes", boards] for boards in (1, 4, 8))
    dp, fb = large["DP", 8], large["FB", 8]
    own = large["FB", 1] / fb
    return [
        *found,
        Target("4 boards against one, lanes, 224 px", 3.4, one / four),
        Target("8 boards against one, lanes, 224 px", 5.0, one / eight),
        Target("8 boards against 4, lanes, 224 px", 1.6, four / eight),
        Target(
            "8 boards, ours against the paper's distribution, DP, 224 px", 1.0,
            large[PAPERS, 8] / dp,
        ),
        Target(
            "DP against FB on 8 boards at equal FLOPs, 224 px "
            f"(FB itself gains {own:.2f}x from 8 boards; against FB on one: {own * fb / dp:.2f}x)",
            6.0, fb / dp,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
