"""What a network costs before it is trained: predicted latency, FLOPs, parameters, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from keras_concurrent.cluster import Cluster
from keras_concurrent.networks.architecture import Architecture
from keras_concurrent.planning.prediction import predict
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.scoring.concurrency import concurrency_score
from keras_concurrent.scoring.efficiency import efficiency_of

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
        latency_s: predicted for one image on the boards, segments and their calls included, by the
            same costs as a bundle's plan, see `keras_concurrent.planning.prediction`; the bundle's
            plan is searched for longer.
        one_board_latency_s: predicted for one image on the best board alone, as one segment.
        flops: operations that one image takes.
        parameters: number of weights.
        efficiency: the efficiency score that these two latencies come to, from 0 to 1.
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
    """The costs of a task graph: milliseconds.

    Args:
        graph: of a whole network: from `Architecture.network_tasks`, or from a .tflite.
        parameters: number of weights.
        cluster: the boards.

    Raises:
        MissingExtraError: numba is not installed.
        ValueError: a graph without a task or without an output.
    """
    predicted = predict(graph, cluster)
    latency_s, alone_s = predicted.latency_s, predicted.one_board_latency_s
    rated = efficiency_of(latency_s, alone_s, cluster)
    return Costs(latency_s, alone_s, graph.flops, parameters, rated)


def architecture_costs(architecture: Architecture, cluster: Cluster) -> Costs:
    """The costs of an architecture; raises as `costs_of`."""
    return costs_of(architecture.network_tasks(), architecture.parameters, cluster)


def scored(graph: TaskGraph, costs: Costs, cluster: Cluster) -> dict[str, float]:
    """The costs by name, the paper's concurrency score on as many units as boards among them.

    The score's partitions take some 50 ms, so screening does without.

    Args:
        graph: that the score is of: one task a vertex, where the network has any.
        costs: see `costs_of`.
        cluster: the boards.
    """
    best = concurrency_score(graph, len(cluster.boards)).best
    return {**costs.figures(), "concurrency_score": best.concurrency_score}
