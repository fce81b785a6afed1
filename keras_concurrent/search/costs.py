"""What a network costs before it is trained: predicted latency, FLOPs, parameters, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.concurrency import concurrency_score
from keras_concurrent.scoring.efficiency import scheduled_efficiency

DIRECTIONS: Mapping[str, str] = {
    "latency_s": "min",
    "one_board_latency_s": "min",
    "flops": "min",
    "parameters": "min",
    "efficiency": "max",
    "concurrency_score": "min",
}
"""Which way each cost is better, other things being equal."""


@dataclass(frozen=True)
class Costs:
    """The costs of one network on one cluster.

    Args:
        latency_s: predicted for one image on all boards, by the portfolio of list schedules;
            segments and their calls, which `keras_concurrent.export.assemble` adds, move it by
            some percent.
        one_board_latency_s: predicted for one image on the best board alone.
        flops: operations that one image takes.
        parameters: number of weights.
        efficiency: the efficiency score, from 0 to 1.
    """

    latency_s: float
    one_board_latency_s: float
    flops: int
    parameters: int
    efficiency: float

    def figures(self) -> dict[str, float]:
        """The costs by name."""
        return asdict(self)


def costs_of(graph: TaskGraph, parameters: int, cluster: Cluster) -> Costs:
    """The costs of a task graph: about 0.5 ms for 40 tasks on 4 boards.

    Args:
        graph: from an architecture, or from a .tflite with its chains merged.
        parameters: number of weights.
        cluster: the boards.

    Raises:
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output.
    """
    rated = scheduled_efficiency(graph, cluster)
    return Costs(
        rated.latency_s, rated.one_board_latency_s, graph.flops, parameters, rated.efficiency
    )


def architecture_costs(architecture: Architecture, cluster: Cluster) -> Costs:
    """The costs of an architecture; raises as `costs_of`."""
    return costs_of(TaskGraph.from_architecture(architecture), architecture.parameters, cluster)


def scored(graph: TaskGraph, costs: Costs, cluster: Cluster) -> dict[str, float]:
    """The costs by name, the paper's concurrency score on as many units as boards among them.

    The score's partitions take some 50 ms, so screening does without.
    """
    best = concurrency_score(graph, len(cluster.boards)).best
    return {**costs.figures(), "concurrency_score": best.concurrency_score}
