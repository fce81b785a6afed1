"""Paced links against the kernel's, and what the runtime adds a hop."""

from __future__ import annotations

import os
import shlex
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

from board_networks import Candidate
from outcome import Section, Target

from keras_concurrent import (
    Cluster,
    TaskGraph,
    TfliteFile,
    build_model,
    export_bundle,
    generate,
    stage,
    to_tflite,
)
from keras_concurrent.board import Board
from keras_concurrent.edge.testbed.dilation import dilated
from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports, slowdown_for
from keras_concurrent.edge.testbed.namespaces import LATENCY_MS
from keras_concurrent.edge.testbed.testbed import Testbed
from keras_concurrent.edge.watch.bench import Measurement, random_images
from keras_concurrent.measured.host import measure_host
from keras_concurrent.network import Network
from keras_concurrent.planning.schedule import decode
from keras_concurrent.planning.segments import plan_segments

IMAGES = 5  # of a turn
ROWS = (("1gbit", 4), ("100mbit", 2), ("100mbit", 4))


def kernel_links(
    network: Candidate, folder: Path, kind: str, rounds: int, dilation: float
) -> Section:
    """Latency with paced links, and over the kernel's, in turn.

    Both clusters stand beside each other, and a turn of one follows a turn of the other. What goes
    over the kernel's links is encrypted, which takes the boards' processors: so a median counts
    against the prediction for its own cluster.
    """
    rows, figures = [], {}
    for link, boards in ROWS:
        predicted, pairs = _turns(network, folder, kind, link, boards, rounds, dilation)
        ratios = [tuple(m / p for m, p in zip(pair, predicted, strict=True)) for pair in pairs]
        apart = statistics.median(kernel / paced for paced, kernel in ratios) - 1
        shown = [
            f"{1e3 * seconds:.1f}"
            for own, found in zip(predicted, zip(*pairs, strict=True), strict=True)
            for seconds in (own, statistics.median(found))
        ]
        row = (link, str(boards), *shown, f"{apart:+.1%}")
        print(*row, file=sys.stderr, flush=True)
        rows.append(row)
        figures[f"{link}, {boards} boards"] = {
            "predicted_s": predicted, "measured_s": pairs, "apart": apart,
        }  # fmt: skip
    gap = max(abs(row["apart"]) for row in figures.values())
    return Section(
        f"Paced links against the kernel's, {rounds} rounds of {IMAGES} images each in turn",
        ("link", "boards", "paced: predicted ms", "measured", "kernel: predicted ms", "measured",
         "apart"),
        rows,
        {"kernel": figures},
        [Target("kernel links against paced ones", 0.05, gap, at_least=False)],
    )  # fmt: skip


def _turns(
    network: Candidate,
    folder: Path,
    kind: str,
    link: str,
    boards: int,
    rounds: int,
    dilation: float,
) -> tuple[list[float], list[tuple[float, ...]]]:
    """Paced, and over kernel links, the client's among them: predicted, and each round's median.

    Undilated, but for the latency of links: that of the kernel's is what it is.
    """
    cluster = dilated(Cluster.of(kind, boards, link), dilation)
    cluster = replace(cluster, network=replace(cluster.network, latency_ms=LATENCY_MS))
    slowdown = slowdown_for(cluster, measure_host())
    path, out = folder / f"{link}-{boards}", folder / "measurement.json"
    base = [sys.executable, "-m", "keras_concurrent"]
    with (
        Testbed(cluster, slowdown, as_described=True) as paced,
        Testbed(cluster, slowdown, as_described=True, namespaces=True) as kernel,
    ):
        plan = plan_segments(network.graph, paced.cluster)
        bundle = export_bundle(network.file, paced.cluster, path, graph=network.graph, plan=plan)
        for testbed in (paced, kernel):
            _quietly(testbed, [*base, "deploy", str(path)])
        bench = [*base, "bench", str(bundle.path), "--images", str(IMAGES), "--out", str(out)]
        rows = []
        for _ in range(rounds):
            found = []
            for testbed in (paced, kernel):
                _quietly(testbed, bench)
                measured = Measurement.from_json(out.read_text(encoding="utf-8"))
                found.append(measured.runs["boards"].median_s / dilation)
            rows.append(tuple(found))
    predicted = [
        decode(plan.graph, testbed.cluster, plan.assignment).latency_s / dilation
        for testbed in (paced, kernel)
    ]
    return predicted, rows


def _quietly(testbed: Testbed, command: list[str]) -> None:
    """Run a command in a testbed, without its table."""
    if testbed.run(["sh", "-c", f"{shlex.join(command)} >{os.devnull}"]):
        raise SystemExit(f"{shlex.join(command)} failed")


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
        Network(1e6, 0.0),
    )
    groups: dict[str, list[str]] = {}
    for task in tasks.tasks:
        groups.setdefault(task.vertices[0] if task.vertices else "head", []).append(task.name)
    merged = tasks.quotient(groups.values())
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
