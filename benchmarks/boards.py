"""Measured latency on emulated Pi 4 boards beside the predicted, and beside other ways.

Every row is measured with board processes slowed down to a Pi 4's published rate and paced links;
as root three rows are repeated over rate-limited kernel links. Predictions follow `profile`.

python benchmarks/boards.py           # about half an hour, most of it slow boards at work
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from outcome import Section, Target, finish

from keras_concurrent import (
    Architecture,
    Cluster,
    TaskGraph,
    TfliteFile,
    build_model,
    export_bundle,
    generate,
    stage,
    to_tflite,
)
from keras_concurrent.bench import Measurement, random_images
from keras_concurrent.bounds import lower_bound_s
from keras_concurrent.bundle import Bundle
from keras_concurrent.calibration import measure_host
from keras_concurrent.client import Client
from keras_concurrent.cluster import Board, Network
from keras_concurrent.connection import connect, knock
from keras_concurrent.deploy import deploy
from keras_concurrent.distribution import distribute
from keras_concurrent.emulation import slowdown_for
from keras_concurrent.local_boards import LocalBoards, free_ports
from keras_concurrent.profile import profile_tasks
from keras_concurrent.schedule import Plan, decode
from keras_concurrent.segments import merge_segments
from keras_concurrent.survey import profile_cluster
from keras_concurrent.testbed import Testbed

KIND = "pi4"
LINKS = ("1gbit", "100mbit", "20mbit-wifi")
BOARDS = (1, 2, 4, 8)
VERTICES = 48
FILTERS = {96: (16, 64), 224: (16, 64)}
"""First and most channels of the DP network; the others get as many FLOPs."""

KERNEL_ROWS = (("1gbit", 4), ("100mbit", 2), ("100mbit", 4))


@dataclass(frozen=True)
class Candidate:
    """A network with what its tasks take on this machine."""

    name: str
    pixels: int
    architecture: Architecture
    file: TfliteFile
    graph: TaskGraph
    call_s: float


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


def staged(kind: str, pixels: int, filters: int, cap: int) -> Architecture:
    """A network of dense convolutions."""
    parameters = {"lanes": 8} if kind == "lanes" else {}
    graph = generate(kind, VERTICES, seed=1, **parameters)
    staging = "merges" if kind == "FB" else "probabilistic"
    return stage(
        graph, (pixels, pixels, 3), 10,
        filters=filters, channel_cap=cap, separable=False, staging=staging, seed=1,
    )  # fmt: skip


def of_equal_flops(kind: str, pixels: int, flops: int) -> Architecture:
    """The network of a kind whose FLOPs are nearest to a number."""
    candidates = [staged(kind, pixels, filters, 4 * filters) for filters in range(2, 40)]
    return min(candidates, key=lambda a: abs(TaskGraph.from_architecture(a).flops - flops))


def built(kind: str, pixels: int, host: float) -> Candidate:
    """A network of as many FLOPs as the DP network, converted and measured on this machine."""
    dp = staged("DP", pixels, *FILTERS[pixels])
    flops = TaskGraph.from_architecture(dp).flops
    architecture = dp if kind == "DP" else of_equal_flops(kind, pixels, flops)
    file = TfliteFile(to_tflite(build_model(architecture)))
    graph = TaskGraph.from_tflite(file).chains_merged()
    found = profile_tasks(file, graph)
    return Candidate(
        kind, pixels, architecture, file, graph.timed(found.seconds, host), found.call_s
    )


class Bench:
    """Eight emulated boards with one kind of link, on which networks are tried."""

    def __init__(self, testbed: Testbed, folder: Path, host: float, images: int) -> None:
        self._testbed, self._folder, self._host, self._images = testbed, folder, host, images
        self._number = 0

    def described(self, network: Candidate, boards: int) -> Cluster:
        """The first boards of the testbed, with what a call costs them."""
        cluster = self._testbed.cluster
        found = tuple(
            replace(board, call_ms=network.call_s * 1e3 * self._host / board.flops_per_s)
            for board in cluster.boards[:boards]
        )
        return Cluster(found, cluster.network)

    def profiled(self, network: Candidate) -> Callable[[int], Cluster]:
        """Clusters of a number of boards, after `profile` of two of them."""
        two = self.described(network, 2)
        bundle = self._bundle(network, two)
        with self._client(bundle, two) as client:
            found = profile_cluster(client, bundle, two)
        rate = statistics.mean(board.gflops_per_s for board in found.boards)
        one_way_ms = found.network.message_ms
        message_ms = max(0.0, one_way_ms - two.network.latency_ms)

        def cluster_of(boards: int) -> Cluster:
            cluster = self.described(network, boards)
            return Cluster(
                tuple(replace(board, gflops_per_s=rate) for board in cluster.boards),
                replace(cluster.network, message_ms=message_ms),
            )

        return cluster_of

    def _bundle(self, network: Candidate, cluster: Cluster, plan: Plan | None = None) -> Bundle:
        self._number += 1
        path = self._folder / f"bundle_{self._number}"
        return export_bundle(network.file, cluster, path, graph=network.graph, plan=plan)

    @contextmanager
    def _client(self, bundle: Bundle, cluster: Cluster) -> Iterator[Client]:
        pace, keys = self._testbed.pace, self._testbed.folder / "keys"
        own = keys if keys.is_dir() else None
        names = [board.name for board in cluster.boards]
        with knock(bundle, cluster, keys=own, pace=pace) as client:
            client.reach(names)
            deploy(client.questions.ask, bundle, names)
        with connect(bundle, cluster, keys=own, pace=pace) as client:
            yield client

    def measured(
        self, network: Candidate, link: str, cluster: Cluster, plan: Plan | None = None
    ) -> Row:
        """A network on boards."""
        bundle = self._bundle(network, cluster, plan)
        predicted_s = bundle.placement("boards").predicted_latency_s
        images = random_images(bundle, 5)
        latencies = []
        with self._client(bundle, cluster) as client:
            for number in range(self._images + 2):
                start = time.monotonic()
                client.infer(images[number % 5], deadline_s=60.0)
                latencies.append(time.monotonic() - start)
        latencies = latencies[2:]
        row = Row(
            network.name, network.pixels, link, len(cluster.boards), predicted_s,
            statistics.median(latencies), sorted(latencies)[int(0.95 * len(latencies))],
            lower_bound_s(network.graph, cluster),
        )  # fmt: skip
        say(" ".join(shown(row, [])))
        return row


def papers_plan(network: Candidate, cluster: Cluster) -> Plan:
    """The paper's own distribution (V-A): whole components; the rest with the first unit."""
    parts = distribute(TaskGraph.from_architecture(network.architecture), len(cluster.boards))
    names = [board.name for board in cluster.boards]
    boards = {
        task.name: names[parts.unit_of[task.vertices[0]] if task.vertices else 0]
        for task in network.graph.tasks
    }
    return merge_segments(decode(network.graph, cluster, boards), cluster)


def hop_ms(folder: Path, images: int) -> float:
    """What the runtime adds for each hop of a kilobyte on loopback, compute taken off, in ms."""
    graph = generate("chain", 16, seed=1)
    architecture = stage(
        graph, (8, 8, 3), 4, filters=4, channel_cap=4, staging="uniform", seed=1
    )  # 8 * 8 * 4 floats: 1 kB
    file = TfliteFile(to_tflite(build_model(architecture)))
    tasks = TaskGraph.from_tflite(file)
    ports = free_ports(2)
    cluster = Cluster(
        tuple(Board(f"h{i}", 1.0, f"tcp/127.0.0.1:{port}", 0.0) for i, port in enumerate(ports)),
        Network(1e6, 0.0, 0.0),
    )
    groups: dict[str, list[str]] = {}
    for task in tasks.tasks:
        groups.setdefault(task.vertices[0] if task.vertices else "head", []).append(task.name)
    merged = tasks.merged(groups.values())
    boards = {task.name: f"h{i % 2}" for i, task in enumerate(merged.tasks)}
    plan = decode(merged, cluster, boards)
    bundle = export_bundle(file, cluster, folder / "hops", plan=plan)
    hops = len(plan.messages)
    image = random_images(bundle, 1)[0]
    added = []
    with LocalBoards(bundle, cluster) as running:
        for _ in range(images):
            start = time.monotonic()
            running.client.infer(image)
            latency_s = time.monotonic() - start
            runs = [e for e in running.client.timeline() if e.kind == "run"]
            added.append((latency_s - sum(e.end_s - e.start_s for e in runs)) / hops)
    return statistics.median(added[5:]) * 1e3


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="within a minute")
    parser.add_argument("--images", type=int, help="of each row")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    quick = options.quick
    host = measure_host()
    pixels = (96,) if quick else (96, 224)
    kinds = ("lanes",) if quick else ("lanes", "DP", "FB", "chain")
    networks = {(k, p): built(k, p, host) for p in pixels for k in kinds}
    rows: list[Row] = []
    kernel: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not quick and os.geteuid() == 0:
            kernel = list(over_kernel(networks["lanes", 96], folder, host))
        for link in LINKS[:1] if quick else LINKS:
            cluster = Cluster.of(KIND, 2 if quick else max(BOARDS), link)
            counts = (1, 2) if quick else BOARDS
            with Testbed(cluster, slowdown_for(cluster, host)) as testbed:
                bench = Bench(testbed, folder, host, options.images or (10 if quick else 20))
                rows += list(of_link(bench, networks, link, counts))
        hop = hop_ms(folder, 60 if quick else 400)
    section = Section(
        f"One image on emulated {KIND} boards",
        ("network", "link", "boards", "predicted ms", "median ms", "p95 ms", "x", "of bound"),
        [shown(row, rows) for row in rows],
        {
            "rows": [vars(row) for row in rows], "hop_ms": hop,
            "kernel_s": kernel,
        },
        targets(rows, kernel, hop, quick=quick),
    )  # fmt: skip
    finish(section, as_json=options.json)


def of_link(
    bench: Bench, networks: Mapping[tuple[str, int], Candidate], link: str, counts: tuple[int, ...]
) -> Iterator[Row]:
    """All rows of one kind of link."""
    for (kind, _), network in networks.items():
        cluster_of = bench.profiled(network)
        if kind in ("lanes", "DP"):
            for boards in counts:
                yield bench.measured(network, link, cluster_of(boards))
        elif link == LINKS[0]:
            boards = 1 if kind == "chain" else max(counts)
            yield bench.measured(network, link, cluster_of(boards))
        if kind == "DP" and link == LINKS[0]:
            for boards in counts[2:]:
                cluster = cluster_of(boards)
                row = bench.measured(network, link, cluster, papers_plan(network, cluster))
                yield replace(row, network="DP, the paper's distribution")


def over_kernel(network: Candidate, folder: Path, host: float) -> Iterator[tuple[float, float]]:
    """Median seconds with paced links, and over the kernel's: the client is in a namespace too."""
    for link, boards in KERNEL_ROWS:
        pair = []
        for namespaces in (False, True):
            cluster = Cluster.of(KIND, boards, link)
            cluster = replace(cluster, network=replace(cluster.network, latency_ms=0.05))
            with Testbed(cluster, slowdown_for(cluster, host), namespaces=namespaces) as testbed:
                path, out = folder / f"{link}-{boards}", folder / "measurement.json"
                bundle = export_bundle(network.file, testbed.cluster, path, graph=network.graph)
                base = f"{sys.executable} -m keras_concurrent"
                script = (
                    f"{base} deploy {bundle.path} >{os.devnull} && "
                    f"{base} bench {bundle.path} --images 20 --out {out} >{os.devnull}"
                )
                failed = testbed.run(["sh", "-c", script])
            if failed:
                pair.append(float("inf"))  # a target missed, not the end of all other rows
                continue
            measured = Measurement.from_json(out.read_text(encoding="utf-8"))
            pair.append(measured.runs["boards"].median_s)
        say(f"paced {pair[0] * 1e3:.1f} ms, kernel {pair[1] * 1e3:.1f} ms: {boards} on {link}")
        yield pair[0], pair[1]


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


def targets(
    rows: list[Row], kernel: list[tuple[float, float]], hop: float, *, quick: bool
) -> list[Target]:
    """What must be reached."""
    found = [
        Target("largest gap between median and prediction", 0.1, max(r.error for r in rows), False),
        Target("what the runtime adds a hop, ms", 0.4, hop, at_least=False),
    ]
    if quick:
        return found

    def median(network: str, pixels: int, boards: int) -> float:
        return next(
            r.median_s for r in rows
            if (r.network, r.pixels, r.link, r.boards) == (network, pixels, LINKS[0], boards)
        )  # fmt: skip

    one, four, eight = (median("lanes", 224, boards) for boards in (1, 4, 8))
    papers = "DP, the paper's distribution"
    found += [
        Target("4 boards against one, lanes, 224 px", 3.4, one / four),
        Target("8 boards against one, lanes, 224 px", 6.0, one / eight),
        Target("8 boards against 4, lanes, 224 px", 1.6, four / eight),
        Target(
            "8 boards, ours against the paper's distribution, DP, 224 px", 1.0,
            median(papers, 224, 8) / median("DP", 224, 8),
        ),
        Target(
            "DP against FB on 8 boards at equal FLOPs, 224 px", 6.0,
            median("FB", 224, 8) / median("DP", 224, 8),
        ),
    ]  # fmt: skip
    if kernel:
        gap = max(abs(theirs / ours - 1) for ours, theirs in kernel)
        found.append(Target("kernel links against paced ones", 0.05, gap, at_least=False))
    return found


if __name__ == "__main__":
    main()
