"""Paced links against the kernel's, and what the runtime adds a hop."""

from __future__ import annotations

import os
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
from keras_concurrent.bench import Measurement, random_images
from keras_concurrent.calibration import measure_host
from keras_concurrent.cluster import Board, Network
from keras_concurrent.emulation import slowdown_for
from keras_concurrent.local_boards import LocalBoards, free_ports
from keras_concurrent.schedule import decode
from keras_concurrent.testbed import Testbed

IMAGES = 10
ROWS = (("1gbit", 4), ("100mbit", 2), ("100mbit", 4))


def kernel_links(network: Candidate, folder: Path, kind: str, rounds: int) -> Section:
    """Median latency with paced links, and over the kernel's, in turn."""
    rows, pairs = [], []
    for link, boards in ROWS:
        found: dict[bool, list[float]] = {False: [], True: []}
        for namespaces in (False, True) * rounds:
            found[namespaces] += _latencies(network, folder, kind, link, boards, namespaces)
        # The least of what is the same every time: all above is other work on this machine.
        paced, kernel = (min(found[namespaces]) for namespaces in (False, True))
        pairs.append((paced, kernel))
        said = f"paced {paced * 1e3:.1f} ms, kernel {kernel * 1e3:.1f} ms: {boards} on {link}"
        print(said, file=sys.stderr, flush=True)
        rows.append((link, str(boards), f"{paced * 1e3:.1f}", f"{kernel * 1e3:.1f}",
                     f"{kernel / paced - 1:+.1%}"))  # fmt: skip
    gap = max(abs(kernel / paced - 1) for paced, kernel in pairs)
    return Section(
        f"Paced links against the kernel's, best median of {rounds} rounds each in turn",
        ("link", "boards", "paced ms", "kernel ms", "apart"),
        rows,
        {"kernel_s": pairs},
        [Target("kernel links against paced ones", 0.05, gap, at_least=False)],
    )


def _latencies(
    network: Candidate, folder: Path, kind: str, link: str, boards: int, namespaces: bool
) -> list[float]:
    """The median of one round; the client is in a namespace too."""
    cluster = Cluster.of(kind, boards, link)
    cluster = replace(cluster, network=replace(cluster.network, latency_ms=0.05))
    slowdown = slowdown_for(cluster, measure_host())
    with Testbed(cluster, slowdown, namespaces=namespaces) as testbed:
        path, out = folder / f"{link}-{boards}", folder / "measurement.json"
        if not path.is_dir():  # one plan for all rounds
            export_bundle(network.file, testbed.cluster, path, graph=network.graph)
        base = f"{sys.executable} -m keras_concurrent"
        script = (
            f"{base} deploy {path} >{os.devnull} && "
            f"{base} bench {path} --images {IMAGES} --out {out} >{os.devnull}"
        )
        if testbed.run(["sh", "-c", script]):
            return [float("inf")]  # a target missed, not the end of all other rows
    measured = Measurement.from_json(out.read_text(encoding="utf-8"))
    return [measured.runs["boards"].median_s]


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
