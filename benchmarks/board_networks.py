"""The networks that `benchmarks/boards.py` tries on boards, all of as many FLOPs."""

from __future__ import annotations

from dataclasses import dataclass

from keras_concurrent import (
    Architecture,
    Cluster,
    TaskGraph,
    TfliteFile,
    build_model,
    generate,
    stage,
    to_tflite,
)
from keras_concurrent.planning.chains import chains_as_tasks
from keras_concurrent.planning.schedule import Plan, decode
from keras_concurrent.planning.segments import merge_segments
from keras_concurrent.scoring.distribution import distribute

VERTICES = 48
FILTERS = {96: (16, 64), 224: (16, 64)}
"""First and most channels of the DP network; the others get as many FLOPs."""

LANES = 16
"""Two for each of eight boards: a heavy one and a light one even out. With one a board the heaviest
decides: 6.8 times one board predicted from FLOPs at 224 px and 1 Gbit, against 7.2 with two."""


@dataclass(frozen=True)
class Candidate:
    """A network and its tasks; ours has an architecture."""

    name: str
    pixels: int
    architecture: Architecture | None
    file: TfliteFile
    graph: TaskGraph


def staged(kind: str, pixels: int, filters: int, cap: int) -> Architecture:
    """A network of dense convolutions."""
    parameters = {"lanes": LANES} if kind == "lanes" else {}
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


def built(kind: str, pixels: int) -> Candidate:
    """A network of as many FLOPs as the DP network, converted."""
    dp = staged("DP", pixels, *FILTERS[pixels])
    flops = TaskGraph.from_architecture(dp).flops
    architecture = dp if kind == "DP" else of_equal_flops(kind, pixels, flops)
    file = TfliteFile(to_tflite(build_model(architecture)))
    return Candidate(kind, pixels, architecture, file, chains_as_tasks(TaskGraph.from_tflite(file)))


def papers_plan(network: Candidate, cluster: Cluster) -> Plan:
    """The paper's own distribution (V-A): whole components; the rest with the first unit."""
    parts = distribute(TaskGraph.from_architecture(network.architecture), len(cluster.boards))
    names = [board.name for board in cluster.boards]
    boards = {
        task.name: names[parts.unit_of[task.vertices[0]] if task.vertices else 0]
        for task in network.graph.tasks
    }
    return merge_segments(decode(network.graph, cluster, boards), cluster)
